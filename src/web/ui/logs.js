// What containers say, as they say it, or what was saved before they were stopped.

import { useEffect, useLayoutEffect, useRef, useState } from "./vendor/hooks.js";
import { follow, get, part, problemOf } from "./api.js";
import { Section, Trouble, html } from "./parts.js";
import { words } from "./words.js";

/** @import { Address, Link, LogTold, On, SavedLog, Status } from "../../../tests/ui/types" */
/** @import { Problem } from "./api.js" */

const says = words.logs;
/** More is read nowhere but in a file. */
const KEPT_LINES = 2000;

/**
 * `[object]`, or `[spark, container]`.
 * @typedef {string[]} Whose
 */

/**
 * Where the words of an object are, or of one container.
 * @param {Whose} whose
 * @returns {Address<"GET">}
 */
const pathOf = (whose) =>
  whose.length === 1
    ? `/api/v1/logs/${part(whose[0])}`
    : `/api/v1/sparks/${part(whose[0])}/containers/${part(whose[1])}/logs`;

/** @param {{ whose: Whose, status: Status }} props */
export function Logs({ whose, status }) {
  const [which, setWhich] = useState("live");
  const objects = status.objects.filter((one) => one.type !== "weights").map((one) => [one.object]);
  const containers = status.sparks.flatMap((spark) => spark.containers.map((one) => [spark.name, one.name]));
  /** @param {Whose} one */
  const addressOf = (one) => `#/logs/${one.map(part).join("/")}`;
  const now = addressOf(whose);
  /** @param {Whose[]} all */
  const options = (all) =>
    all.map(
      (one) => html`<option value=${addressOf(one)} selected=${addressOf(one) === now}>${says.whose(one)}</option>`,
    );
  const saved = which === "saved" && whose.length === 1;
  return html`<${Section} title=${says.heading}>
    <div class="row">
      <label>${says.object} <select value=${now} onChange=${(/** @type {On<HTMLSelectElement>} */ event) => {
        location.hash = event.target.value;
      }}>
        <optgroup label=${says.ofFile}>${options(objects)}</optgroup><optgroup label=${says.ofContainers}>${options(containers)}</optgroup></select></label>
      ${
        whose.length === 1 &&
        html`<label>${says.which} <select value=${which} onChange=${(/** @type {On<HTMLSelectElement>} */ event) => setWhich(event.target.value)}>
        <option value="live">${says.liveNow}</option><option value="saved">${says.saved}</option></select></label>`
      }
    </div>
    ${saved ? html`<${Saved} key=${now} object=${whose[0]} />` : html`<${Log} key=${now} whose=${whose} lines=${KEPT_LINES} />`}
  <//>`;
}

/**
 * The last lines, live.
 * @param {{ whose: Whose, lines: number }} props
 */
export function Log({ whose, lines }) {
  const [state, set] = useState(
    /** @type {LogTold & { live: Link }} */ ({ lines: [], errors: [], live: "connecting" }),
  );
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  // Whoever scrolled up reads. Judged when they scroll: what is appended since would move the end away.
  const follows = useRef(true);
  useEffect(
    () =>
      follow(pathOf(whose), {
        state: (live) => set((before) => ({ ...before, live })),
        // A new connection begins with the last lines: what stands there is not put before them.
        lines: ({ lines: more, errors }, isFirst) =>
          set((before) => ({ ...before, errors, lines: (isFirst ? [] : before.lines).concat(more).slice(-lines) })),
      }),
    whose,
  );
  useLayoutEffect(() => {
    if (box.current && follows.current) box.current.scrollTop = box.current.scrollHeight;
  }, [state.lines]);
  /** @param {On} event */
  const scrolled = ({ target }) => {
    follows.current = target.scrollHeight - target.scrollTop - target.clientHeight < 80;
  };
  const several = new Set(state.lines.map((line) => line.spark)).size > 1;
  return html`<div>
    ${state.live === "broken" && html`<p class="trouble">${says.broken}</p>`}
    ${state.errors.map((one) => html`<p class="trouble">${says.unread(one.container, one.spark, one.error)}</p>`)}
    ${state.lines.length === 0 && state.errors.length === 0 && state.live !== "broken" && html`<p>${state.live === "live" ? says.nothing : says.connecting}</p>`}
    <pre ref=${box} onScroll=${scrolled} class="log" role="log" aria-label=${says.label(says.whose(whose))} tabindex="0">${state.lines.map((one) => `${several ? `${one.spark} | ` : ""}${one.line}\n`).join("")}</pre>
  </div>`;
}

/** @param {{ object: string }} props */
function Saved({ object }) {
  const [state, set] = useState(
    /** @type {{ logs: SavedLog[] | null, problem: Problem | null }} */ ({ logs: null, problem: null }),
  );
  useEffect(() => {
    get(`/api/v1/logs/${part(object)}?saved=true`).then(
      (value) => set({ logs: value.logs, problem: null }),
      (problem) => set({ logs: null, problem: problemOf(problem) }),
    );
  }, [object]);
  return html`<div>
    <${Trouble} problem=${state.problem} />
    ${state.logs?.length === 0 && html`<p>${says.noSaved}</p>`}
    ${state.logs?.map((log) => html`<h3>${log.container}</h3><pre class="log" tabindex="0" aria-label=${log.container}>${log.text ?? log.error}</pre>`)}
  </div>`;
}
