// What should serve and why, what does, what happens next, what is stuck on what.

import { useState } from "./vendor/hooks.js";
import { get, part } from "./api.js";
import { Again, Approve } from "./consent.js";
import { clock } from "./format.js";
import { Dialog, Health, Section, Sync, Text, Trouble, Why, byField, html, shut, typed, useAsked } from "./parts.js";
import { Progress, isRunning } from "./progress.js";
import { words } from "./words.js";

/** @import { Hold as HoldOfFile, ObjectStatus, On, Shared, SlotSummary } from "../../../tests/ui/types" */

const says = words.slots;

/** @param {Shared} props */
export function Slots({ status, events, may, open, say }) {
  const slots = status.objects.filter((object) => object.type === "slot");
  return html`<${Section} title=${says.heading}>
    <div class="cards slots">${slots.map((slot) => html`<${Slot} key=${slot.object} slot=${slot} status=${status} events=${events} may=${may} open=${open} say=${say} />`)}</div>
  <//>`;
}

/** @param {string} object */
export const nameOf = (object) => (object === "vllm" ? says.main : says.further(object));

/** @param {{ slot: ObjectStatus } & Shared} props */
function Slot({ slot, status, events, may, open, say }) {
  const [dialog, setDialog] = useState(/** @type {"choose" | "hold" | null} */ (null));
  const [approving, setApproving] = useState(/** @type {string | null} */ (null));
  /** @type {Partial<SlotSummary>} */
  const outlook = slot.outlook ?? {};
  const { hold } = outlook;
  const work = slot.work;
  const isMain = slot.object === "vllm";
  /** @param {true | null} value */
  const suspend = (value) =>
    isMain ? { vllm: { suspend: value } } : { services: { [slot.object]: { suspend: value } } };
  const needsYes = slot.reason === "ApprovalNeeded" && status.plan;
  return html`<article class="card slot" aria-label=${nameOf(slot.object)}>
    <div class="head"><h3>${nameOf(slot.object)}</h3><span><${Sync} sync=${slot.sync} /> <${Health} health=${slot.health} /></span></div>
    <dl>
      <dt>${says.should}</dt><dd><strong>${desired(slot)}</strong> <small>${because(outlook)}</small></dd>
      <dt>${says.does}</dt><dd><strong>${slot.observed === "nothing" ? says.nothing : slot.observed}</strong></dd>
    </dl>
    ${slot.reason && html`<${Why} reason=${slot.reason} message=${slot.message} verdict=${work?.verdict} />`}
    ${outlook.failure && html`<p class="blocked"><${Text}>${says.failed(outlook.failure.what, outlook.failure.loads)}<//></p>`}
    ${outlook.next && html`<p>${says.next(outlook.next.model, clock(outlook.next.at), outlook.next.window)}${outlook.next.held_by ? says.nextHeld(outlook.next.held_by) : ""}</p>`}
    ${isRunning(slot) && html`<${Progress} slot=${slot} events=${events} />`}
    <div class="actions">
      ${needsYes && html`<button class="primary" disabled=${!may("approve")} onClick=${() => setApproving(status.plan)}>${says.approve}</button>`}
      ${outlook.failure && html`<${Again} object=${slot.object} may=${may} say=${say} />`}
      ${
        isMain
          ? html`<a class="button" href="#/models">${says.choose}</a>`
          : html`<button disabled=${!may("edit")} onClick=${() => setDialog("choose")}>${says.choose}</button>`
      }
      ${
        hold
          ? html`<button disabled=${!may("edit")} onClick=${() => open({ title: says.release(hold.name), change: { merge: { holds: { [hold.name]: null } }, owner: hold.owner } })}>${says.release(hold.name)}</button>`
          : html`<button disabled=${!may("edit")} onClick=${() => setDialog("hold")}>${says.hold}</button>`
      }
      <button disabled=${!may("edit")} onClick=${() => open({ title: slot.suspended ? says.resume : says.suspend, note: slot.suspended ? null : says.suspendHelp, change: { merge: suspend(slot.suspended ? null : true) } })}>${slot.suspended ? says.resume : says.suspend}</button>
      <a class="button" href=${`#/logs/${part(slot.object)}`}>${says.logs}</a>
    </div>
    ${approving && html`<${Approve} id=${approving} onClose=${() => setApproving(null)} say=${say} />`}
    ${dialog === "choose" && html`<${Choose} slot=${slot} onClose=${() => setDialog(null)} open=${open} />`}
    ${dialog === "hold" && html`<${Hold} object=${slot.object} onClose=${() => setDialog(null)} open=${open} />`}
  </article>`;
}

/** @param {ObjectStatus} slot */
function desired(slot) {
  if (slot.desired === "none") return says.nothing;
  return slot.desired === "watched" ? says.watched : slot.desired;
}

/** @param {Partial<SlotSummary>} outlook */
function because({ wish, hold, fallback }) {
  if (fallback) return says.because.fallback(fallback);
  if (hold) return says.because.hold(hold.name, hold.owner, hold.until && clock(hold.until));
  if (wish?.by === "window") return says.because.window(wish.window, clock(wish.until));
  return says.because.file;
}

/**
 * Another model for a further slot: one that runs on its Spark alone.
 * @param {{ slot: ObjectStatus, onClose: () => void, open: Shared["open"] }} props
 */
function Choose({ slot, onClose, open }) {
  const { value, problem } = useAsked(() => get("/api/v1/models"), []);
  const [spark] = slot.sparks;
  const fitting = (value?.models ?? []).filter(
    (model) => model.sparks.length === 1 && model.sparks[0] === spark && model.name !== slot.desired,
  );
  /** @type {(event: On, name: string) => void} */
  const choose = (event, name) => {
    shut(event.target);
    open({ title: words.models.choose(name), change: { merge: { services: { [slot.object]: { model: name } } } } });
  };
  return html`<${Dialog} title=${says.choose} onClose=${onClose}>
    <${Trouble} problem=${problem} />
    <p>${says.fitting(spark)}</p>
    <div class="actions">${fitting.map((model) => html`<button onClick=${(event) => choose(event, model.name)}>${words.models.choose(model.name)}</button>`)}</div>
  <//>`;
}

/**
 * Where in the form each place of the file is typed.
 * @type {[RegExp, string][]}
 */
const FIELDS = [
  [/^\/holds\/[^/]+\/owner/, "owner"],
  [/^\/holds\/[^/]+\/reason/, "reason"],
  [/^\/holds\/[^/]+\/until/, "until"],
  [/^\/holds\/[^/]+$/, "name"],
];

/** @param {{ object: string, onClose: () => void, open: Shared["open"] }} props */
function Hold({ object, onClose, open }) {
  const labels = words.hold;
  const [wrong, setWrong] = useState(/** @type {Record<string, string[]>} */ ({}));
  /** @param {string} field */
  const told = (field) => wrong[field]?.map((message) => html`<span class="trouble" role="alert">${message}</span>`);
  /** @param {On<HTMLFormElement>} event */
  const submit = (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    const until = typed(form, "until");
    /** @type {HoldOfFile} */
    const hold = { owner: typed(form, "owner"), reason: typed(form, "reason") };
    if (until) hold.until = new Date(until).toISOString();
    // A hold of that name that is about something else becomes one about this.
    hold.object = object === "vllm" ? null : object;
    const dialog = event.target.closest("dialog");
    setWrong({});
    open({
      title: labels.heading,
      change: { merge: { holds: { [typed(form, "name")]: hold } } },
      onWritten: () => shut(dialog),
      onInvalid: (problems) => setWrong(byField(problems, FIELDS)),
    });
  };
  return html`<${Dialog} title=${labels.heading} onClose=${onClose}>
    <p>${labels.help}</p>
    <form onSubmit=${submit}>
      <label>${labels.name} <input name="name" required pattern="[A-Za-z0-9][A-Za-z0-9_.\\-]*" defaultValue=${object === "vllm" ? "hold" : `hold-${object.replace("/", "-")}`} autofocus /></label>${told("name")}
      <label>${labels.owner} <input name="owner" required autocomplete="name" /></label>${told("owner")}
      <label>${labels.reason} <input name="reason" required /></label>${told("reason")}
      <label>${labels.until} <input name="until" type="datetime-local" /></label>${told("until")}
      ${told("all")}
      <div class="actions"><button class="primary">${labels.preview}</button></div>
    </form>
  <//>`;
}
