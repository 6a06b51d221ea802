// A plan as it is shown before anybody agrees to it: steps, gates, what it costs, who gets which memory.

import { duration, gib } from "./format.js";
import { Badge, Text, Why, html } from "./parts.js";
import { words } from "./words.js";

/** @import { ArgumentsCheck, Gate, MemoryRow, Occupant, PlanItem, Plan, Work } from "../../../tests/ui/types" */
/** @import { Tone } from "./parts.js" */

const says = words.plan;

/** @param {{ plan: Plan | null | undefined }} props */
export function Plan({ plan }) {
  const work = plan?.work ?? [];
  if (work.length === 0) return html`<p>${words.change.noPlan}</p>`;
  return html`<div class="plan">${work.map((one) => html`<${Work} key=${one.object} work=${one} />`)}</div>`;
}

/** @param {{ work: Work }} props */
function Work({ work }) {
  const mark = { open: null, blocked: says.blocked, waiting: says.waiting }[work.verdict];
  return html`<article class="work">
    <h3>${work.object}: <${Text}>${work.goal}<//></h3>
    ${mark && html`<${Badge} tone=${work.verdict === "blocked" ? "bad" : "moving"}>${mark}<//>`}
    ${work.reason && html`<${Why} reason=${work.reason} message=${work.message} verdict=${work.verdict} />`}
    ${work.objections.slice(1).map(({ reason, message }) => html`<${Why} reason=${reason} message=${message} verdict="blocked" />`)}
    <${Items} items=${work.items} />
    ${work.arguments && html`<p><${Text}>${argumentsText(work.arguments)}<//></p>`}
    ${work.memory.length > 0 && html`<${Memory} rows=${work.memory} />`}
    ${work.notes.map((note) => html`<p class="note"><${Text}>${note}<//></p>`)}
  </article>`;
}

/** @type {(known: ArgumentsCheck) => string} */
const argumentsText = (known) => {
  // Which of them it is says what it holds; the compiler sees only that each of the four wants another.
  const text = /** @type {(known: ArgumentsCheck) => string} */ (says.arguments[known.is]);
  return text?.(known) ?? known.is;
};

/** @param {{ items: PlanItem[] }} props */
function Items({ items }) {
  if (items.length === 0) return null;
  return html`<ol class="items">${items.map(
    (item) => html`<li class=${item.kind}><${Text}>${itemText(item)}<//>
      ${item.kind === "step" && item.consent && html` <${Badge} tone="moving">${says.consent[item.consent] ?? item.consent}<//>`}</li>`,
  )}</ol>`;
}

/** @param {PlanItem} item */
export function itemText(item) {
  if (item.kind === "step") return item.text;
  // As above.
  const gate = /** @type {(gate: Gate, duration: (secs: number) => string) => string} */ (says.gates[item.gate]);
  return `${says.gate} ${gate ? gate(item, duration) : item.gate}`;
}

/**
 * The same, to be read before anybody says yes.
 * @param {{ plan: Plan | null | undefined }} props
 */
export function Costs({ plan }) {
  const lost = costs(plan);
  if (lost.length === 0) return null;
  return html`<div class="cost" role="note"><h3>${words.change.lost}</h3>${lost.map(({ object, text }) => html`<p><strong>${object}</strong>: ${text}</p>`)}</div>`;
}

/**
 * Its steps are taken now, or as soon as somebody agrees.
 * @param {Work} work
 */
const isToBeDone = (work) =>
  work.items.some((item) => item.kind === "step") && (work.verdict !== "blocked" || work.reason === "ApprovalNeeded");

/**
 * What is lost while nothing serves: in the words of whoever is asked.
 * @param {Plan | null | undefined} plan
 */
export function costs(plan) {
  return (plan?.work ?? []).flatMap((work) => {
    const { object, outage } = work;
    if (!outage || !isToBeDone(work)) return [];
    const length =
      outage.expected_secs === null
        ? says.outage.unknown(outage.basis)
        : says.outage.known(duration(outage.expected_secs), outage.basis);
    const requests = outage.requests === null ? says.outage.requestsUnknown : says.outage.requests(outage.requests);
    const drain = outage.requests === 0 || !outage.drain_secs ? "" : says.outage.drain(duration(outage.drain_secs));
    return [{ object, text: [length, requests, drain].filter(Boolean).join(" ") }];
  });
}

/** @type {Record<MemoryRow["fit"]["is"], Tone>} */
const fitTone = { fits: "good", too_large: "bad", unknown: "moving" };

/** @param {{ rows: MemoryRow[] }} props */
function Memory({ rows }) {
  const head = says.memory;
  return html`<div class="wide" tabindex="0" role="region" aria-label=${head.caption}><table>
    <caption>${head.caption}</caption>
    <thead><tr><th scope="col">${head.spark}</th><th scope="col">${head.verdict}</th><th scope="col">${head.total}</th><th scope="col">${head.available}</th><th scope="col">${head.needed}</th><th scope="col">${head.floor}</th><th scope="col">${head.holders}</th></tr></thead>
    <tbody>${rows.map(
      (row) => html`<tr>
        <th scope="row">${row.spark}</th><td><${Badge} tone=${fitTone[row.fit.is]}><${Text}>${row.verdict}<//><//></td><td>${gib(row.total_bytes)}</td><td>${gib(row.available_bytes)}</td>
        <td>${row.needed_bytes === null ? says.unknown : gib(row.needed_bytes)}<br /><small>${row.basis}</small></td><td>${gib(row.floor_bytes)}</td>
        <td>${row.holders.map((holder) => html`<div>${holderName(holder)} ${gib(holder.bytes)}${holder.goes ? ` (${says.goes})` : ""}</div>`)}</td>
      </tr>`,
    )}</tbody>
  </table></div>`;
}

/** @param {Occupant} holder */
export function holderName(holder) {
  const of = holder.of;
  if (typeof of === "object") return "slot" in of ? of.slot : of.service;
  return `${holder.name} (${of === "desktop" ? words.sparks.desktop : words.sparks.unmanaged})`;
}
