// The whole in a sentence or two, and what is about all of it.

import { useState } from "./vendor/hooks.js";
import { Removal } from "./consent.js";
import { html } from "./parts.js";
import { nameOf as nameOfSlot } from "./slots.js";
import { words } from "./words.js";

const nameOf = (object) => (object.sort === "slot" ? nameOfSlot(object.object) : object.object);

export function Headline({ status, may, open, say }) {
  const says = words.headline;
  const [approving, setApproving] = useState(false);
  // What somebody asked to be left alone is no trouble; what waits for a yes is asked for by itself.
  const blocked = status.objects.filter((object) => object.work?.verdict === "blocked");
  const asks = blocked.filter((object) => object.reason === "ApprovalNeeded");
  const kept = blocked.filter((object) => ["Suspended", "Held", "ReportOnly"].includes(object.reason));
  const stuck = blocked.filter((object) => !asks.includes(object) && !kept.includes(object));
  const moving = status.objects.filter((object) => object.sync === "Drifted" && !blocked.includes(object) && object.health !== "Suspended");
  const silent = status.sparks.filter((spark) => !spark.reachable).map((spark) => spark.name);
  const sick = status.objects.filter((object) => object.sync === "InSync" && ["Degraded", "Missing"].includes(object.health));
  const tone = stuck.length || silent.length || sick.length || status.fenced || status.file_error ? "bad" : moving.length || asks.length ? "moving" : "good";
  const names = (objects) => objects.map((object) => nameOf(object)).join(", ");
  return html`<div class=${`headline ${tone}`}>
    <div role="status">
      ${status.suspended && html`<p>${says.suspended}</p>`}
      ${status.fenced && html`<p>${says.fenced(status.fenced)}</p>`}
      ${silent.length > 0 && html`<p>${says.silent(silent)}</p>`}
      ${stuck.length > 0 && html`<p>${says.stuck(stuck.length)} <span>${stuck.map((object) => `${nameOf(object)}: ${words.reasons[object.reason] ?? object.reason}`).join("; ")}</span></p>`}
      ${asks.length > 0 && html`<p>${says.asks(asks.length)} <span>${names(asks)}</span></p>`}
      ${moving.length > 0 && html`<p>${says.moving(moving.length)} <span>${names(moving)}</span></p>`}
      ${kept.length > 0 && !status.suspended && html`<p>${says.kept(kept.length)} <span>${kept.map((object) => `${nameOf(object)}: ${words.reasons[object.reason]}`).join("; ")}</span></p>`}
      ${sick.length > 0 && html`<p>${sick.map((object) => `${nameOf(object)}: ${words.health[object.health]}`).join("; ")}</p>`}
      ${tone === "good" && kept.length === 0 && !status.suspended && html`<p>${says.good}</p>`}
    </div>
    ${status.file_error && html`<p>${status.waits ? says.waits : says.fileError}</p><details open=${Boolean(status.waits)}><summary>${words.file.heading}</summary><pre tabindex="0">${status.file_error}</pre></details>`}
    ${status.waits && html`<button class="primary" disabled=${!may("approve")} onClick=${() => setApproving(true)}>${says.lookRemoval}</button>`}
    ${approving && status.waits && html`<${Removal} id=${status.waits} revision=${status.revision} onClose=${() => setApproving(false)} say=${say} />`}
    ${status.warnings.length > 0 && html`<details><summary>${says.warnings(status.warnings.length)}</summary><ul>${status.warnings.map((warning) => html`<li>${warning}</li>`)}</ul></details>`}
    <button class="quiet" disabled=${!may("edit")} onClick=${() => open({ title: status.suspended ? says.resume : says.suspendAll, note: status.suspended ? null : says.suspendHelp, change: { merge: { reconcile: { suspend: status.suspended ? null : true } } } })}>${status.suspended ? says.resume : says.suspendAll}</button>
  </div>`;
}
