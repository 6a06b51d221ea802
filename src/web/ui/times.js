// When: the schedule of the next week, and when each endpoint was up in the last day.

import { get } from "./api.js";
import { Stretches } from "./charts.js";
import { clock, duration } from "./format.js";
import { Section, Trouble, When, html, useAsked } from "./parts.js";
import { words } from "./words.js";

/** @import { Shared } from "../../../tests/ui/types" */

const says = words.times;
const DAY_MS = 24 * 3600 * 1000;

/** @param {Pick<Shared, "status">} props */
export function Times({ status }) {
  return html`<${Schedule} status=${status} /><${Connectivity} status=${status} />`;
}

/** @param {Pick<Shared, "status">} props */
function Schedule({ status }) {
  const { value, problem } = useAsked(() => get("/api/v1/schedule"), [status.revision]);
  const now = Date.now();
  const openings = value?.openings ?? [];
  const models = [...new Set(openings.map((one) => one.model))];
  // A row for each day, from its midnight to the next.
  const midnight = new Date(now);
  midnight.setHours(0, 0, 0, 0);
  const days = Array.from({ length: 7 }, (_, day) => {
    const from = new Date(midnight);
    from.setDate(from.getDate() + day);
    const to = new Date(midnight);
    to.setDate(to.getDate() + day + 1);
    return { from, to };
  });
  return html`<${Section} title=${says.schedule}>
    <${Trouble} problem=${problem} />
    ${value && value.windows.length === 0 && html`<p>${says.noSchedule}</p>`}
    ${
      value &&
      value.windows.length > 0 &&
      html`
      <div class="week">${days.map(({ from, to }) => {
        const name = from.toLocaleDateString([], { weekday: "short", day: "numeric" });
        const stretches = openings
          .map((one) => ({
            from: Date.parse(one.from),
            to: Date.parse(one.to),
            tone: `held${models.indexOf(one.model) % 4}`,
            name: `${one.window}: ${one.model}`,
          }))
          .filter((one) => one.to > +from && one.from < +to);
        const told = stretches.map((one) => `${one.name}, ${clock(one.from)} – ${clock(one.to)}`).join("; ") || "–";
        return html`<div class="day"><span>${name}</span><${Stretches} from=${+from} to=${+to} now=${now >= +from && now < +to ? now : null} stretches=${stretches} label=${`${name}: ${says.schedulePicture(told)}`} /></div>`;
      })}</div>
      <ul class="legend">${models.map((model, index) => html`<li><span class=${`dot held${index % 4}`}></span>${model}</li>`)}</ul>
      <ol class="turns">${value.turns.slice(0, 10).map((turn) => html`<li>${words.slots.next(turn.model, clock(turn.at), turn.window)}${turn.held_by ? words.slots.nextHeld(turn.held_by) : ""}</li>`)}</ol>`
    }
  <//>`;
}

/** @param {Pick<Shared, "status">} props */
function Connectivity({ status }) {
  const { value, problem } = useAsked(() => get("/api/v1/connectivity"), [Math.floor(status.round / 6)]);
  const to = Date.now();
  const from = to - DAY_MS;
  const endpoints = value?.endpoints ?? [];
  return html`<${Section} title=${says.connectivity}>
    <${Trouble} problem=${problem} />
    ${endpoints.length > 0 && html`<ul class="legend">${/** @type {const} */ (["up", "down", "silent"]).map((link) => html`<li><span class=${`dot ${link}`}></span>${says.link[link]}</li>`)}</ul>`}
    ${value && endpoints.length === 0 && html`<p>${says.none}</p>`}
    ${endpoints.map(({ object, spells, up_percent, outages, down_secs }) => {
      const told = says.summary(up_percent, outages, duration(down_secs));
      const stretches = spells.map((spell) => ({
        from: Date.parse(spell.since),
        to: Date.parse(spell.until),
        tone: spell.link,
        name: says.link[spell.link],
      }));
      const down = spells
        .filter((spell) => spell.link !== "up")
        .slice(-20)
        .reverse();
      return html`<div class="endpoint" key=${object}>
        <div class="row"><strong>${object}</strong> <span>${told}</span></div>
        <${Stretches} from=${from} to=${to} stretches=${stretches} label=${says.picture(object, told)} />
        ${down.length > 0 && html`<details><summary>${object}: ${told}</summary><ul>${down.map((spell) => html`<li><${When} at=${spell.since} /> ${says.outage(says.link[spell.link], clock(spell.since), duration((Date.parse(spell.until) - Date.parse(spell.since)) / 1000))}</li>`)}</ul></details>`}
      </div>`;
    })}
  <//>`;
}
