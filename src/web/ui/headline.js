// The whole in a sentence or two, and what is about all of it.

import { useState } from "./vendor/hooks.js";
import { Removal } from "./consent.js";
import { html } from "./parts.js";
import { nameOf as nameOfSlot } from "./slots.js";
import { words } from "./words.js";

/** @import { ObjectStatus, Shared } from "../../../tests/ui/types" */

/** @param {ObjectStatus} object */
const nameOf = (object) => (object.type === "slot" ? nameOfSlot(object.object) : object.object);

/** @param {Pick<Shared, "status" | "may" | "open" | "say">} props */
export function Headline({ status, may, open, say }) {
  const says = words.headline;
  const [approving, setApproving] = useState(false);
  // Whom each concerns is said by the controller; here it is only put into words.
  /** @param {ObjectStatus["concern"]} concern */
  const of = (concern) => status.objects.filter((object) => object.concern === concern);
  const [stuck, asks, passing, kept, unseen] = /** @type {ObjectStatus["concern"][]} */ ([
    "needs_you",
    "asks_for_approval",
    "passing",
    "as_wished",
    "out_of_sight",
  ]).map(of);
  // What failed and is tried again is no change that somebody made.
  const again = passing.filter((object) => object.outlook?.failure);
  const moving = passing.filter((object) => !object.outlook?.failure);
  const silent = status.headline.silent;
  const tone = {
    fine: "good",
    as_wished: "good",
    passing: "moving",
    asks_for_approval: "moving",
    out_of_sight: "bad",
    needs_you: "bad",
  }[status.headline.concern];
  // What keeps it where it is; of what nothing is done about, how it is.
  /** @param {ObjectStatus} object */
  const why = (object) =>
    `${nameOf(object)}: ${(object.reason && (words.reasons[object.reason] ?? object.reason)) ?? words.health[object.health]}`;
  /** @param {ObjectStatus[]} objects */
  const names = (objects) => objects.map((object) => nameOf(object)).join(", ");
  return html`<div class=${`headline ${tone}`}>
    <div role="status">
      ${status.suspended && html`<p>${says.suspended}</p>`}
      ${status.fenced && html`<p>${says.fenced(status.fenced)}</p>`}
      ${silent.map((name) => html`<p>${says.silent(name, status.sparks.find((spark) => spark.name === name)?.why)}</p>`)}
      ${stuck.length > 0 && html`<p>${says.stuck(stuck.length)} <span>${stuck.map(why).join("; ")}</span></p>`}
      ${silent.length === 0 && unseen.length > 0 && html`<p>${says.unseen(unseen.length)} <span>${unseen.map(why).join("; ")}</span></p>`}
      ${asks.length > 0 && html`<p>${says.asks(asks.length)} <span>${names(asks)}</span></p>`}
      ${again.length > 0 && html`<p>${says.again(again.length)} <span>${again.map((object) => `${nameOf(object)}: ${object.outlook?.failure?.what}`).join("; ")}</span></p>`}
      ${moving.length > 0 && html`<p>${says.moving(moving.length)} <span>${names(moving)}</span></p>`}
      ${kept.length > 0 && !status.suspended && html`<p>${says.kept(kept.length)} <span>${kept.map(why).join("; ")}</span></p>`}
      ${tone === "good" && kept.length === 0 && !status.suspended && html`<p>${says.good}</p>`}
    </div>
    ${status.file_error && html`<p>${status.pending_approval ? says.waits : says.fileError}</p><details open=${Boolean(status.pending_approval)}><summary>${words.file.heading}</summary><pre tabindex="0">${status.file_error}</pre></details>`}
    ${status.pending_approval && html`<button class="primary" disabled=${!may("approve")} onClick=${() => setApproving(true)}>${says.lookRemoval}</button>`}
    ${approving && status.pending_approval && html`<${Removal} id=${status.pending_approval} revision=${status.revision} onClose=${() => setApproving(false)} say=${say} />`}
    ${status.warnings.length > 0 && html`<details><summary>${says.warnings(status.warnings.length)}</summary><ul>${status.warnings.map((warning) => html`<li>${warning}</li>`)}</ul></details>`}
    <button class="quiet" disabled=${!may("edit")} onClick=${() => open({ title: status.suspended ? says.resume : says.suspendAll, note: status.suspended ? null : says.suspendHelp, change: { merge: { reconcile: { suspend: status.suspended ? null : true } } } })}>${status.suspended ? says.resume : says.suspendAll}</button>
  </div>`;
}
