// What every view is made of.

import { h } from "./vendor/preact.js";
import { useEffect, useRef, useState } from "./vendor/hooks.js";
import htm from "./vendor/htm.js";
import { problemOf } from "./api.js";
import { ago, clock } from "./format.js";
import { words } from "./words.js";

/** @import { DiffLine, FileProblem, Html, ObjectStatus, Reason, Verdict } from "../../../tests/ui/types" */
/** @import { Problem } from "./api.js" */
/** @import { ComponentChildren as Children } from "./vendor/preact.js" */

/** @type {Html} */
export const html = htm.bind(h);

/**
 * A message with its names in it: what stands in backticks is a name.
 * @param {{ children?: string | null }} props
 */
export function Text({ children }) {
  return String(children ?? "")
    .split("`")
    .map((piece, index) => (index % 2 ? html`<code>${piece}</code>` : piece));
}

/**
 * Why nothing is done: in plain words, with the reason's own name and what is known of it.
 * @param {{ reason: Reason, message: string | null, verdict?: Verdict }} props
 */
export function Why({ reason, message, verdict }) {
  return html`<p class=${verdict ?? "waiting"}>${words.reasons[reason] ?? reason} <small>(${reason}: <${Text}>${message}<//>)</small></p>`;
}

/** @typedef {"plain" | "good" | "moving" | "bad" | "odd"} Tone */

/**
 * A word in a colour that repeats what it says.
 * @param {{ tone?: Tone, children?: Children }} props
 */
export function Badge({ tone, children }) {
  return html`<span class="badge ${tone ?? "plain"}">${children}</span>`;
}

/** @type {Record<ObjectStatus["health"], Tone>} */
const toneOfHealth = {
  Healthy: "good",
  Progressing: "moving",
  Degraded: "bad",
  Missing: "bad",
  Suspended: "plain",
  Unknown: "odd",
};
/** @type {Record<ObjectStatus["sync"], Tone>} */
const toneOfSync = { InSync: "good", Drifted: "moving", Unknown: "odd" };

/** @param {Pick<ObjectStatus, "health">} props */
export function Health({ health }) {
  return html`<${Badge} tone=${toneOfHealth[health]}>${words.health[health] ?? health}<//>`;
}

/** @param {Pick<ObjectStatus, "sync">} props */
export function Sync({ sync }) {
  return html`<${Badge} tone=${toneOfSync[sync]}>${words.sync[sync] ?? sync}<//>`;
}

/**
 * The moment, and how long ago on hover and for readers.
 * @param {{ at: string }} props
 */
export function When({ at }) {
  return html`<time datetime=${at} title=${`${at} (${ago(at)})`}>${clock(at)}</time>`;
}

/** @param {{ title: string, actions?: Children, children?: Children, id?: string }} props */
export function Section({ title, actions, children, id }) {
  const name = id ?? `s-${title.toLowerCase().replace(/[^a-z]+/g, "-")}`;
  return html`<section aria-labelledby=${name}>
    <div class="head"><h2 id=${name}>${title}</h2>${actions}</div>
    ${children}
  </section>`;
}

/**
 * What is wrong with an edit, by the field of a form where it was typed.
 * @param {FileProblem[]} problems
 * @param {[place: RegExp, field: string][]} fields
 */
export function byField(problems, fields) {
  /** @type {Record<string, string[]>} */
  const at = {};
  for (const { pointer, message, hint } of problems) {
    const field = fields.find(([place]) => place.test(pointer))?.[1] ?? "all";
    at[field] = [...(at[field] ?? []), hint ? `${message}: ${hint}` : message];
  }
  return at;
}

/**
 * What was typed into a field of a form; empty: nothing, or there is no such field.
 * @param {FormData} form
 * @param {string} name
 */
export const typed = (form, name) => String(form.get(name) ?? "");

/** @param {{ problem?: { message: string } | null }} props */
export function Trouble({ problem }) {
  if (!problem) return null;
  return html`<div class="trouble" role="alert"><strong>${words.error.heading}.</strong> <span class="detail">${problem.message}</span></div>`;
}

/**
 * Closes the dialog that an element is in, and tells its owner at once. By itself the browser tells only in a task of its own: a dialog
 * that was opened in between would be taken for the closed one.
 * @param {Element | null} element
 */
export function shut(element) {
  const dialog = element?.closest("dialog");
  if (!dialog) return;
  dialog.close();
  dialog.dispatchEvent(new Event("close"));
}

/**
 * In front of everything until it is closed; focus goes back to where it was.
 * @param {{ title: string, onClose: () => void, children?: Children }} props
 */
export function Dialog({ title, onClose, children }) {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  useEffect(() => {
    const element = dialog.current;
    if (!element) return undefined;
    element.showModal();
    element.addEventListener("close", onClose, { once: true });
    const escaped = () => shut(element);
    element.addEventListener("cancel", escaped);
    return () => {
      element.removeEventListener("close", onClose);
      element.removeEventListener("cancel", escaped);
    };
  }, []);
  return html`<dialog ref=${dialog} aria-labelledby="dialog-title">
    <div class="head">
      <h2 id="dialog-title">${title}</h2>
      <button class="quiet" onClick=${() => shut(dialog.current)}>${words.close}</button>
    </div>
    ${children}
  </dialog>`;
}

/**
 * A unified diff as text, or as lines.
 * @param {{ text: string, lines?: undefined } | { text?: undefined, lines: DiffLine[] }} props
 */
export function Diff({ text, lines }) {
  const rows =
    lines ??
    text
      .split("\n")
      .filter((line) => line !== "" && !/^(---|\+\+\+) cluster\.yaml/.test(line))
      .map((line) => [line[0], line.slice(1)]);
  /** @type {Record<string, string>} */
  const kind = { "+": "add", "-": "take", "@": "place" };
  return html`<pre class="diff" tabindex="0">${rows.map(([sign, line]) => html`<span class=${kind[sign] ?? "same"}>${sign}${line}${"\n"}</span>`)}</pre>`;
}

/**
 * Asks once, and again whenever one of `inputs` changes.
 * @template T
 * @param {() => Promise<T>} asked
 * @param {unknown[]} inputs
 */
export function useAsked(asked, inputs) {
  const [state, set] = useState(
    /** @type {{ value: T | null, problem: Problem | null }} */ ({ value: null, problem: null }),
  );
  useEffect(() => {
    let wanted = true;
    asked().then(
      (value) => wanted && set({ value, problem: null }),
      (problem) => wanted && set((before) => ({ value: before.value, problem: problemOf(problem) })),
    );
    return () => {
      wanted = false;
    };
  }, inputs);
  return state;
}

/** The time, every so often, for what says how long ago something was. */
export function useNow(everyMs = 1000) {
  const [now, set] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => set(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}

/** @param {{ text: string }} props */
export function Copy({ text }) {
  const [copied, set] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      set(true);
    } catch {
      // Without https a page may not; what stands beside can be selected.
      const beside = button.current?.previousElementSibling;
      if (beside) getSelection()?.selectAllChildren(beside);
    }
  };
  const button = useRef(/** @type {HTMLButtonElement | null} */ (null));
  return html`<button ref=${button} class="quiet" onClick=${copy}>${copied ? words.copied : words.copy}</button>`;
}
