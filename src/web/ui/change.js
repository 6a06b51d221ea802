// One dialog for every edit: ask what would happen, show it, and write when somebody says so. What is written is the file.

import { useEffect, useState } from "./vendor/hooks.js";
import { ask, edit, problemOf } from "./api.js";
import { Dialog, Diff, Trouble, html, shut } from "./parts.js";
import { Costs, Plan, costs } from "./plan.js";
import { words } from "./words.js";

/** @import { Edited, On, Wish } from "../../../tests/ui/types" */
/** @import { Problem } from "./api.js" */

const says = words.change;

/** @param {Omit<Wish, "onWritten"> & { onClose: () => void, onWritten?: (text: string) => void }} props */
export function Change({ title, note, change, tag, onClose, onWritten, onInvalid }) {
  const [state, set] = useState(
    /** @type {{ preview: Edited | null, tag: string | null, problem: Problem | null, busy: boolean }} */ ({
      preview: null,
      tag: null,
      problem: null,
      busy: true,
    }),
  );
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let wanted = true;
    (async () => {
      try {
        // The text has a tag also while it is not valid, and is to be put back.
        const known =
          turn === 0 && tag !== undefined
            ? tag
            : (await ask("GET", "/api/v1/desired", { accept: "application/yaml" })).tag;
        const preview = (await edit(change, known, true)).value;
        if (wanted) set({ preview, tag: known, problem: null, busy: false });
      } catch (thrown) {
        const problem = problemOf(thrown);
        // A form that asked shows what is wrong where it was typed.
        if (wanted && problem.code === "invalid" && onInvalid) {
          onInvalid(problem.body.problems ?? []);
          onClose();
        } else if (wanted) set({ preview: null, tag: null, problem, busy: false });
      }
    })();
    return () => {
      wanted = false;
    };
  }, [turn]);

  /** @param {() => void} close */
  const write = async (close) => {
    set({ ...state, busy: true });
    try {
      const written = (await edit(change, state.tag, false)).value;
      // In front of what it was opened from: that gets the focus back first.
      close();
      onWritten?.(written.pending_approval ? says.writtenWaits : says.written(written.revision));
    } catch (thrown) {
      set({ ...state, problem: problemOf(thrown), busy: false });
    }
  };

  const { preview, problem, busy } = state;
  const lost = costs(preview?.plan);
  const isConflict = problem?.code === "conflict" || problem?.code === "concurrent_edit";
  const isNothing = preview && preview.diff === "";
  /** @param {On} event */
  const close = (event) => shut(event.target);
  return html`<${Dialog} title=${title} onClose=${onClose}>
    ${note && html`<p>${note}</p>`}
    <p role="status">${busy ? says.reading : preview && !isNothing ? says.preview : ""}</p>
    <div aria-busy=${busy}>
      ${problem && !isConflict && html`<${Trouble} problem=${problem} />`}
      ${isConflict && html`<p class="trouble" role="alert">${says.conflict(problem.fields)}</p>`}
      ${isNothing && html`<p>${says.nothing}</p>`}
      ${
        preview &&
        !isNothing &&
        html`
        <${Costs} plan=${preview.plan} />
        ${preview.pending_reason && html`<p class="cost">${preview.pending_reason}</p>`}
        ${preview.warnings.length > 0 && html`<h3>${says.warnings}</h3><ul>${preview.warnings.map((warning) => html`<li>${warning}</li>`)}</ul>`}
        <h3>${words.plan.heading}</h3>
        <${Plan} plan=${preview.plan} />
        <h3>${says.diff}</h3>
        <${Diff} text=${preview.diff} />
      `
      }
    </div>
    <div class="actions">
      ${(isConflict || (problem && !preview)) && html`<button onClick=${() => setTurn(turn + 1)}>${says.again}</button>`}
      ${
        preview &&
        !isNothing &&
        !isConflict &&
        html`<button class="primary" disabled=${busy} onClick=${(event) => write(() => close(event))}>
        ${lost.length > 0 ? says.applyStops : says.apply}</button>`
      }
      <button onClick=${close}>${words.cancel}</button>
    </div>
  <//>`;
}
