// What happened, and what the file was.

import { useState } from "./vendor/hooks.js";
import { get, problemOf } from "./api.js";
import { lineDiff } from "./format.js";
import { Badge, Diff, Section, Text, Trouble, When, html, useAsked } from "./parts.js";
import { words } from "./words.js";

/** @import { DiffLine, On, Shared } from "../../../tests/ui/types" */
/** @import { Problem } from "./api.js" */

const says = words.history;

/** @param {Pick<Shared, "status" | "events" | "may" | "open">} props */
export function History({ status, events, may, open }) {
  const [filter, setFilter] = useState("");
  const all = useAsked(() => get("/api/v1/history?last=1000"), [status.revision]);
  const known = all.value?.events ?? [];
  const last = known.length ? known[known.length - 1].number : -1;
  const lines = [...known, ...events.filter((event) => event.number > last)].reverse();
  const shown = lines.filter((event) =>
    `${event.kind} ${event.object} ${event.message}`.toLowerCase().includes(filter.toLowerCase()),
  );
  return html`
    <${Section} title=${says.events}>
      <${Trouble} problem=${all.problem} />
      <label>${says.filter} <input type="search" value=${filter} onInput=${(/** @type {On<HTMLInputElement>} */ event) => setFilter(event.target.value)} /></label>
      <div class="wide tall" tabindex="0" role="region" aria-label=${says.events}><table>
        <thead><tr><th scope="col">${says.when}</th><th scope="col">${says.kind}</th><th scope="col">${says.object}</th><th scope="col">${says.events}</th></tr></thead>
        <tbody>${shown.slice(0, 300).map((event) => html`<tr key=${event.number}><td><${When} at=${event.at} /></td><td>${event.kind}</td><td>${event.object}</td><td><${Text}>${event.message}<//></td></tr>`)}</tbody>
      </table></div>
    <//>
    <${Revisions} status=${status} may=${may} open=${open} />`;
}

/** @param {Pick<Shared, "status" | "may" | "open">} props */
function Revisions({ status, may, open }) {
  const { value, problem } = useAsked(() => get("/api/v1/desired/history"), [status.revision]);
  const [count, setCount] = useState(10);
  const revisions = value?.revisions ?? [];
  return html`<${Section} title=${says.revisions}>
    <${Trouble} problem=${problem} />
    <ul class="revisions">${revisions.slice(0, count).map(
      (one, index) => html`<li key=${one.revision}>
        <strong>${says.revision(one.revision)}</strong> <${When} at=${one.at} />
        ${one.revision === status.revision && html` <${Badge} tone="good">${says.current}<//>`}
        <${Changes} revision=${one.revision} before=${revisions[index + 1]?.revision} />
        ${one.revision !== status.revision && html`<button class="quiet" disabled=${!may("edit")} onClick=${() => open({ title: `${says.revert}: ${says.revision(one.revision)}`, change: { revert: one.revision } })}>${says.revert}</button>`}
      </li>`,
    )}</ul>
    ${revisions.length > count && html`<button onClick=${() => setCount(count + 20)}>${says.more}</button>`}
  <//>`;
}

/**
 * Read when somebody wants to see it.
 * @param {{ revision: number, before?: number }} props
 */
function Changes({ revision, before }) {
  const [state, set] = useState(
    /** @type {{ lines: DiffLine[] | null, problem: Problem | null }} */ ({ lines: null, problem: null }),
  );
  /** @param {On<HTMLDetailsElement>} event */
  const read = async (event) => {
    if (!event.target.open || state.lines) return;
    try {
      const [now, then] = await Promise.all([
        get(`/api/v1/desired/${revision}`),
        before ? get(`/api/v1/desired/${before}`) : "",
      ]);
      set({ lines: lineDiff(then, now), problem: null });
    } catch (problem) {
      set({ lines: null, problem: problemOf(problem) });
    }
  };
  return html`<details onToggle=${read}><summary>${says.diff}</summary>
    <${Trouble} problem=${state.problem} />
    ${!before && html`<p>${says.first}</p>`}
    ${state.lines && html`<${Diff} lines=${state.lines} />`}
  </details>`;
}
