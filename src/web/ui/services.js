// Services as tiles, bots with what can be wished of them, and files of models. A disabled service is not here at all.

import { useState } from "./vendor/hooks.js";
import { ask, part } from "./api.js";
import { Again, Approve } from "./consent.js";
import { Log } from "./logs.js";
import { Health, Section, Sync, Why, html } from "./parts.js";
import { words } from "./words.js";

/** @import { ObjectStatus, Shared } from "../../../tests/ui/types" */
/** @import { ComponentChildren as Children } from "./vendor/preact.js" */

const says = words.services;

/** @param {Omit<Shared, "events">} props */
export function Services({ status, may, open, say }) {
  const services = status.objects.filter((object) => object.type === "service");
  const bots = services.filter((object) => object.kind === "bot");
  const others = services.filter((object) => object.kind !== "bot");
  const files = status.objects.filter((object) => object.type === "weights");
  /** @param {ObjectStatus[]} objects */
  const tiles = (objects) =>
    html`<div class="tiles">${objects.map((object) => html`<${Tile} key=${object.object} object=${object} plan=${status.plan} may=${may} open=${open} say=${say} />`)}</div>`;
  return html`
    <${Section} title=${says.heading}>${others.length ? tiles(others) : html`<p>${says.none}</p>`}<//>
    ${bots.length > 0 && html`<${Section} title=${says.bots}>${tiles(bots)}<//>`}
    ${files.length > 0 && html`<${Section} title=${words.weights.heading}>${tiles(files)}<//>`}`;
}

/** @param {{ object: ObjectStatus, plan: string | null } & Pick<Shared, "may" | "open" | "say">} props */
function Tile({ object, plan, may, open, say }) {
  const [approving, setApproving] = useState(/** @type {string | null} */ (null));
  const name = object.object;
  const isService = object.type === "service";
  /** @param {object} fields */
  const patch = (fields) =>
    isService ? { services: { [name]: fields } } : { models: { [name.replace(/^weights\//, "")]: fields } };
  /** @type {(title: string, fields: () => object | Promise<object>, note?: string | null) => Children} */
  const wish = (title, fields, note) =>
    html`<button class="quiet" disabled=${!may("edit")} onClick=${async () => open({ title: `${title}: ${name}`, note, change: { merge: patch(await fields()) } })}>${title}</button>`;
  const isKept = object.desired === "running" || object.desired === "stopped";
  // By the clock of the controller, not of this browser.
  const now = async () => (await ask("GET", "/api/v1/session")).at.toISOString().replace(/\.\d+/, "");
  return html`<article class="tile" aria-label=${name}>
    <div class="head"><h3>${name}</h3><${Health} health=${object.health} /></div>
    <p><small>${isService && object.kind ? says.kind[object.kind] : ""} ${object.sparks.length ? says.on(object.sparks.join(", ")) : says.elsewhere}</small></p>
    <p>${object.desired} → ${object.observed} ${object.desired !== "watched" && html`<${Sync} sync=${object.sync} />`}</p>
    ${object.reason && html`<${Why} reason=${object.reason} message=${object.message} verdict=${object.work?.verdict} />`}
    ${object.reason === "Updating" && html`<details><summary>${says.updateLog}</summary><${Log} whose=${[name]} lines=${40} /></details>`}
    ${object.reason === "Stalled" && html`<${Again} object=${name} may=${may} say=${say} />`}
    <div class="actions">
      ${object.reason === "ApprovalNeeded" && plan && html`<button class="primary" disabled=${!may("approve")} onClick=${() => setApproving(plan)}>${words.slots.approve}</button>`}
      ${isService && isKept && (object.desired === "running" ? wish(says.stop, () => ({ state: "stopped" })) : wish(says.start, () => ({ state: "running" })))}
      ${object.kind === "bot" && !isKept && wish(says.start, () => ({ state: "running" }))}
      ${object.kind === "bot" && !isKept && wish(says.stop, () => ({ state: "stopped" }))}
      ${isService && (isKept || object.kind === "bot") && wish(says.restart, async () => ({ restart_after: await now() }))}
      ${object.kind === "bot" && wish(says.update, async () => ({ update_after: await now() }))}
      ${(isKept || !isService) && wish(object.suspended ? says.resume : says.suspend, () => ({ suspend: object.suspended ? null : true }), object.suspended ? null : words.slots.suspendHelp)}
      ${isService && html`<a class="button quiet" href=${`#/logs/${part(name)}`}>${says.logs}</a>`}
    </div>
    ${approving && html`<${Approve} id=${approving} onClose=${() => setApproving(null)} say=${say} />`}
  </article>`;
}
