// What happens with a slot now: steps that were done, the load with its phases, what comes then.

import { duration } from "./format.js";
import { Log } from "./logs.js";
import { Text, When, html, useNow } from "./parts.js";
import { itemText } from "./plan.js";
import { words } from "./words.js";

/** @import { HistoryEvent, LoadSummary, ObjectStatus } from "../../../tests/ui/types" */

/** @param {ObjectStatus} slot */
export const isRunning = ({ work, outlook, reason }) =>
  Boolean(outlook?.load) || (work && work.verdict !== "blocked" && (work.items.length > 0 || reason));

/**
 * Steps that were done, what happens now, what comes then.
 * @param {{ slot: ObjectStatus, events: HistoryEvent[] }} props
 */
export function Progress({ slot, events }) {
  const now = useNow();
  const load = slot.outlook?.load;
  const done = doneSince(events, slot.object);
  const items = slot.work?.items ?? [];
  const elapsed = load ? (now - new Date(load.since).getTime()) / 1000 : 0;
  const deadline = load ? (Date.parse(load.deadline) - Date.parse(load.since)) / 1000 : 0;
  const percent = load?.expected_secs ? Math.min(99, Math.round((100 * elapsed) / load.expected_secs)) : ofFiles(load);
  const says = words.progress;
  return html`<div class="progress" role="group" aria-label=${says.heading}>
    <h4>${says.heading}</h4>
    <ol class="timeline">
      ${done.map((event) => html`<li key=${event.number} class="done"><span class="mark">${says.done}</span> <${Text}>${event.message}<//> <small><${When} at=${event.at} /></small></li>`)}
      ${
        load &&
        html`<li class="now"><span class="mark">${says.now}</span> ${says.loads(load.model)}
        <progress aria-label=${says.loads(load.model)} max="100" value=${percent}></progress>
        <small>${load.expected_secs ? `${percent} %, ` : ""}${says.elapsed(duration(elapsed))}; ${load.expected_secs ? says.expected(duration(load.expected_secs)) : says.unexpected}; ${says.deadline(duration(deadline))}</small>
        <ul>${load.ranks.map((rank) => html`<li>${says.rank(rank.spark, rank.phase ? says.phase[rank.phase] : says.silent)}${rank.shards ? `, ${says.shards(rank.shards)}` : ""}</li>`)}</ul>
      </li>`
      }
      ${items.map((item, index) => html`<li key=${item.kind === "step" ? item.key : index} class="later"><span class="mark">${index === 0 && !load ? says.now : says.later}</span> <${Text}>${itemText(item)}<//></li>`)}
    </ol>
    ${load && html`<details><summary>${says.log}</summary><${Log} whose=${[slot.object]} lines=${12} /></details>`}
  </div>`;
}

/**
 * How far a first load is, of which nobody knows how long it takes: by the files that its slowest rank has read.
 * @param {LoadSummary | null | undefined} load
 */
function ofFiles(load) {
  const parts = (load?.ranks ?? []).flatMap(({ shards }) => (shards ? [shards[0] / shards[1]] : []));
  return parts.length > 0 ? Math.round(100 * Math.min(...parts)) : null;
}

/**
 * Steps for the object since something served there last.
 * @param {HistoryEvent[]} events
 * @param {string} object
 */
function doneSince(events, object) {
  const about = events.filter((event) => event.object === object);
  const begin = about.map((event) => event.kind).lastIndexOf("ready");
  return about
    .slice(begin + 1)
    .filter((event) => ["done", "failed", "refused", "unknown"].includes(event.kind))
    .slice(-20);
}
