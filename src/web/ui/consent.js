// What is agreed to or asked for without an edit: a plan that waits, a file that takes much out, another try. Each says first
// what it costs.

import { useState } from "./vendor/hooks.js";
import { approve, ask, edit, get, part, problemOf, retry } from "./api.js";
import { lineDiff } from "./format.js";
import { Dialog, Diff, Trouble, html, shut, useAsked } from "./parts.js";
import { Costs, Plan, costs } from "./plan.js";
import { words } from "./words.js";

/** @import { On, Plan as Planned, Shared } from "../../../tests/ui/types" */
/** @import { Problem } from "./api.js" */

/** @param {On} event */
const closeOf = (event) => shut(event.target);

/**
 * Cancel, and the one button that does it. `agreed` is said when it is done.
 * @param {object} props
 * @param {string} props.label
 * @param {boolean} [props.disabled]
 * @param {() => Promise<unknown>} props.does
 * @param {string} props.agreed
 * @param {(problem: Problem) => void} props.setProblem
 * @param {(text: string) => void} props.say
 */
function Agree({ label, disabled, does, agreed, setProblem, say }) {
  /** @param {On} event */
  const agree = async (event) => {
    const dialog = event.target.closest("dialog");
    try {
      await does();
      say(agreed);
      shut(dialog);
    } catch (thrown) {
      setProblem(problemOf(thrown));
    }
  };
  return html`<div class="actions">
    <button class="primary" disabled=${disabled} onClick=${agree}>${label}</button>
    <button onClick=${closeOf}>${words.cancel}</button>
  </div>`;
}

/**
 * Agree to the plan that waits.
 * @param {{ id: string, onClose: () => void, say: Shared["say"] }} props
 */
export function Approve({ id: asked, onClose, say }) {
  // The one that is shown is the one that is agreed to, whatever is planned meanwhile.
  const [id] = useState(asked);
  const { value, problem } = useAsked(() => get(`/api/v1/plans/${part(id)}`), [id]);
  const [refused, setRefused] = useState(/** @type {Problem | null} */ (null));
  const changed = refused?.body?.changed ?? value?.changed ?? [];
  return html`<${Dialog} title=${`${words.plan.heading} ${id}`} onClose=${onClose}>
    <${Trouble} problem=${problem ?? refused} />
    ${changed.length > 0 && html`<p class="trouble">${words.plan.stale} ${changed.join("; ")}</p>`}
    ${value && html`<${Costs} plan=${value.plan} /><${Plan} plan=${value.plan} />`}
    <${Agree} label=${words.plan.agree} disabled=${!value || changed.length > 0} does=${() => approve(id)} agreed=${words.plan.agreed} setProblem=${setRefused} say=${say} />
  <//>`;
}

/**
 * Agree to a file that takes much out; `revision` is the one in force.
 * @param {{ id: string, revision: number | null, onClose: () => void, say: Shared["say"] }} props
 */
export function Removal({ id: asked, revision, onClose, say }) {
  const says = words.headline;
  const [id] = useState(asked);
  const [refused, setRefused] = useState(/** @type {Problem | null} */ (null));
  const { value, problem } = useAsked(async () => {
    const { value: now } = await ask("GET", "/api/v1/desired", { accept: "application/yaml" });
    const [before, preview] = await Promise.all([get(`/api/v1/desired/${revision}`), edit({ text: now }, null, true)]);
    return { lines: lineDiff(before, now), plan: preview.value.plan };
  }, [id]);
  return html`<${Dialog} title=${says.removal} onClose=${onClose}>
    <p>${says.waits}</p>
    <${Trouble} problem=${problem ?? refused} />
    ${value && html`<${Costs} plan=${value.plan} /><h3>${words.plan.heading}</h3><${Plan} plan=${value.plan} /><h3>${words.change.diff}</h3><${Diff} lines=${value.lines} />`}
    <${Agree} label=${says.approveRemoval} disabled=${!value} does=${() => approve(id)} agreed=${words.plan.agreed} setProblem=${setRefused} say=${say} />
  <//>`;
}

/**
 * What failed is tried once more; when that stops something, after it was said.
 * @param {{ object: string } & Pick<Shared, "may" | "say">} props
 */
export function Again({ object, may, say }) {
  const says = words.slots;
  const [problem, setProblem] = useState(/** @type {Problem | null} */ (null));
  const [plan, setPlan] = useState(/** @type {Planned | null} */ (null));
  const again = async () => {
    try {
      const { value } = await retry(object, true);
      setProblem(null);
      const own = { ...value, work: value.work.filter((work) => work.object === object) };
      if (costs(own).length > 0) {
        setPlan(own);
        return;
      }
      await retry(object, false);
      say(says.retried);
    } catch (error) {
      setProblem(problemOf(error));
    }
  };
  return html`<${Trouble} problem=${problem} /><button disabled=${!may("edit")} onClick=${again}>${says.retry}</button>
    ${
      plan &&
      html`<${Dialog} title=${`${says.retry}: ${object}`} onClose=${() => setPlan(null)}>
      <${Costs} plan=${plan} /><${Plan} plan=${plan} />
      <${Agree} label=${says.retryStops} does=${() => retry(object, false)} agreed=${says.retried} setProblem=${setProblem} say=${say} />
    <//>`
    }`;
}
