// What should serve and why, what does, what happens next, what is stuck on what.

import { useState } from "./vendor/hooks.js";
import { approve, get, part, retry } from "./api.js";
import { clock, duration } from "./format.js";
import { Log } from "./logs.js";
import { Dialog, Health, Section, Sync, Text, Trouble, When, Why, html, useAsked, useNow } from "./parts.js";
import { Costs, Plan, itemText } from "./plan.js";
import { words } from "./words.js";

const says = words.slots;

export function Slots({ status, events, may, open, say }) {
  const slots = status.objects.filter((object) => object.sort === "slot");
  return html`<${Section} title=${says.heading}>
    <div class="cards slots">${slots.map((slot) => html`<${Slot} key=${slot.object} slot=${slot} status=${status} events=${events} may=${may} open=${open} say=${say} />`)}</div>
  <//>`;
}

export const nameOf = (object) => (object === "vllm" ? says.main : says.further(object));

function Slot({ slot, status, events, may, open, say }) {
  const [dialog, setDialog] = useState(null);
  const outlook = slot.outlook ?? {};
  const work = slot.work;
  const isMain = slot.object === "vllm";
  const suspend = (value) => (isMain ? { vllm: { suspend: value } } : { services: { [slot.object]: { suspend: value } } });
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
      ${needsYes && html`<button class="primary" disabled=${!may("approve")} onClick=${() => setDialog("approve")}>${says.approve}</button>`}
      ${outlook.failure && html`<${Again} object=${slot.object} may=${may} say=${say} />`}
      ${isMain
        ? html`<a class="button" href="#/models">${says.choose}</a>`
        : html`<button disabled=${!may("edit")} onClick=${() => setDialog("choose")}>${says.choose}</button>`}
      ${outlook.hold
        ? html`<button disabled=${!may("edit")} onClick=${() => open({ title: says.release(outlook.hold.name), change: { merge: { holds: { [outlook.hold.name]: null } } } })}>${says.release(outlook.hold.name)}</button>`
        : html`<button disabled=${!may("edit")} onClick=${() => setDialog("hold")}>${says.hold}</button>`}
      <button disabled=${!may("edit")} onClick=${() => open({ title: slot.suspended ? says.resume : says.suspend, note: slot.suspended ? null : says.suspendHelp, change: { merge: suspend(slot.suspended ? null : true) } })}>${slot.suspended ? says.resume : says.suspend}</button>
      <a class="button" href=${`#/logs/${part(slot.object)}`}>${says.logs}</a>
    </div>
    ${dialog === "approve" && html`<${Approve} id=${status.plan} onClose=${() => setDialog(null)} say=${say} />`}
    ${dialog === "choose" && html`<${Choose} slot=${slot} onClose=${() => setDialog(null)} open=${open} />`}
    ${dialog === "hold" && html`<${Hold} object=${slot.object} onClose=${() => setDialog(null)} open=${open} />`}
  </article>`;
}

function desired(slot) {
  if (slot.desired === "none") return says.nothing;
  return slot.desired === "watched" ? says.watched : slot.desired;
}

function because({ wish, hold, fallback }) {
  if (fallback) return says.because.fallback(fallback);
  if (hold) return says.because.hold(hold.name, hold.owner, hold.until && clock(hold.until));
  if (wish?.by === "window") return says.because.window(wish.window, clock(wish.until));
  return says.because.file;
}

const isRunning = ({ work, outlook, reason }) =>
  Boolean(outlook?.load) || (work && work.verdict !== "blocked" && (work.items.length > 0 || reason));

/** Steps that were done, what happens now, what comes then. */
function Progress({ slot, events }) {
  const now = useNow();
  const load = slot.outlook?.load;
  const done = doneSince(events, slot.object);
  const items = slot.work?.items ?? [];
  const elapsed = load ? (now - new Date(load.since).getTime()) / 1000 : 0;
  const deadline = load ? (new Date(load.deadline) - new Date(load.since)) / 1000 : 0;
  const percent = load?.expected_secs ? Math.min(99, Math.round((100 * elapsed) / load.expected_secs)) : null;
  const says = words.progress;
  return html`<div class="progress" role="group" aria-label=${says.heading}>
    <h4>${says.heading}</h4>
    <ol class="timeline">
      ${done.map((event) => html`<li key=${event.number} class="done"><span class="mark">${says.done}</span> <${Text}>${event.message}<//> <small><${When} at=${event.at} /></small></li>`)}
      ${load && html`<li class="now"><span class="mark">${says.now}</span> ${says.loads(load.model)}
        <progress aria-label=${says.loads(load.model)} max="100" value=${percent}></progress>
        <small>${percent === null ? "" : `${percent} %, `}${says.elapsed(duration(elapsed))}; ${load.expected_secs ? says.expected(duration(load.expected_secs)) : says.unexpected}; ${says.deadline(duration(deadline))}</small>
        <ul>${load.ranks.map((rank) => html`<li>${says.rank(rank.spark, rank.phase ? says.phase[rank.phase] : says.silent)}${rank.shards ? `, ${says.shards(rank.shards)}` : ""}</li>`)}</ul>
      </li>`}
      ${items.map((item, index) => html`<li key=${item.key ?? index} class="later"><span class="mark">${index === 0 && !load ? says.now : says.later}</span> <${Text}>${itemText(item)}<//></li>`)}
    </ol>
    ${load && html`<details><summary>${says.log}</summary><${Log} object=${slot.object} lines=${12} /></details>`}
  </div>`;
}

/** Steps for the object since something served there last. */
function doneSince(events, object) {
  const about = events.filter((event) => event.object === object);
  const begin = about.map((event) => event.kind).lastIndexOf("ready");
  return about.slice(begin + 1).filter((event) => ["done", "failed", "refused", "unknown"].includes(event.kind)).slice(-20);
}

/** What failed is tried once more. */
export function Again({ object, may, say }) {
  const [problem, setProblem] = useState(null);
  const again = async () => {
    try {
      await retry(object);
      setProblem(null);
      say(says.retried);
    } catch (error) {
      setProblem(error);
    }
  };
  return html`<${Trouble} problem=${problem} /><button disabled=${!may("edit")} onClick=${again}>${says.retry}</button>`;
}

/** Another model for a further slot: one that runs on its Spark alone. */
function Choose({ slot, onClose, open }) {
  const { value, problem } = useAsked(() => get("/api/v1/models"), []);
  const [spark] = slot.sparks;
  const fitting = (value?.models ?? []).filter((model) => model.sparks.length === 1 && model.sparks[0] === spark && model.name !== slot.desired);
  const choose = (event, name) => {
    event.target.closest("dialog").close();
    open({ title: words.models.choose(name), change: { merge: { services: { [slot.object]: { model: name } } } } });
  };
  return html`<${Dialog} title=${says.choose} onClose=${onClose}>
    <${Trouble} problem=${problem} />
    <p>${says.fitting(spark)}</p>
    <div class="actions">${fitting.map((model) => html`<button onClick=${(event) => choose(event, model.name)}>${words.models.choose(model.name)}</button>`)}</div>
  <//>`;
}

/** Agree to the plan that waits. */
export function Approve({ id, onClose, say }) {
  const { value, problem } = useAsked(() => get(`/api/v1/plans/${part(id)}`), [id]);
  const [refused, setRefused] = useState(null);
  const agree = async (event) => {
    const dialog = event.target.closest("dialog");
    try {
      await approve(id);
      say(words.plan.agreed);
      dialog.close();
    } catch (error) {
      setRefused(error);
    }
  };
  const changed = refused?.body?.changed ?? value?.changed ?? [];
  return html`<${Dialog} title=${`${words.plan.heading} ${id}`} onClose=${onClose}>
    <${Trouble} problem=${problem ?? refused} />
    ${changed.length > 0 && html`<p class="trouble">${words.plan.stale} ${changed.join("; ")}</p>`}
    ${value && html`<${Costs} plan=${value.plan} /><${Plan} plan=${value.plan} />`}
    <div class="actions">
      <button class="primary" disabled=${!value || changed.length > 0} onClick=${agree}>${words.plan.agree}</button>
      <button onClick=${(event) => event.target.closest("dialog").close()}>${words.cancel}</button>
    </div>
  <//>`;
}

function Hold({ object, onClose, open }) {
  const says = words.hold;
  const submit = (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    const until = form.get("until");
    const hold = { owner: form.get("owner"), reason: form.get("reason") };
    if (until) hold.until = new Date(until).toISOString();
    // A hold of that name that is about something else becomes one about this.
    hold.object = object === "vllm" ? null : object;
    const dialog = event.target.closest("dialog");
    open({ title: says.heading, change: { merge: { holds: { [form.get("name")]: hold } } }, onWritten: () => dialog.close() });
  };
  return html`<${Dialog} title=${says.heading} onClose=${onClose}>
    <p>${says.help}</p>
    <form onSubmit=${submit}>
      <label>${says.name} <input name="name" required pattern="[A-Za-z0-9][A-Za-z0-9_.\\-]*" defaultValue=${object === "vllm" ? "hold" : `hold-${object.replace("/", "-")}`} autofocus /></label>
      <label>${says.owner} <input name="owner" required autocomplete="name" /></label>
      <label>${says.reason} <input name="reason" required /></label>
      <label>${says.until} <input name="until" type="datetime-local" /></label>
      <div class="actions"><button class="primary">${says.preview}</button></div>
    </form>
  <//>`;
}
