// The catalog: choose what serves, add a model, take one out. Each is an edit of the file, shown before it is made.

import { useState } from "./vendor/hooks.js";
import { get } from "./api.js";
import { Columns } from "./charts.js";
import { duration } from "./format.js";
import { Badge, Dialog, Section, Trouble, byField, html, shut, typed, useAsked } from "./parts.js";
import { words } from "./words.js";

/** @import { On, Shared } from "../../../tests/ui/types" */

const says = words.models;

/** @param {Pick<Shared, "status" | "may" | "open">} props */
export function Models({ status, may, open }) {
  const { value, problem } = useAsked(() => get("/api/v1/models"), [status.revision]);
  const figures = useAsked(() => get("/api/v1/figures"), [status.revision]).value;
  const [adding, setAdding] = useState(false);
  const models = value?.models ?? [];
  const main = status.objects.find((object) => object.object === "vllm");
  /** @type {(name: string, title: string) => void} */
  const choose = (name, title) => open({ title, change: { merge: { model: name } } });
  const actions = html`<button disabled=${!may("edit")} onClick=${() => setAdding(true)}>${says.add}</button>
    ${main && main.desired !== "none" && html`<button class="quiet" disabled=${!may("edit")} onClick=${() => choose("none", says.nothing)}>${says.nothing}</button>`}`;
  return html`<${Section} title=${says.heading} actions=${actions}>
    <${Trouble} problem=${problem} />
    <div class="wide" tabindex="0" role="region" aria-label=${says.caption}><table>
      <caption>${says.caption}</caption>
      <thead><tr><th scope="col">${says.name}</th><th scope="col">${says.source}</th><th scope="col">${says.sparks}</th><th scope="col">${says.served}</th><th scope="col">${says.loads}</th><td></td></tr></thead>
      <tbody>${models.map((model) => {
        const secs = figures?.loads[model.name];
        const isWanted = model.wanted_in.includes("vllm");
        return html`<tr key=${model.name}>
          <th scope="row">${model.name} ${isWanted && html`<${Badge} tone="good">${says.wanted}<//>`}</th>
          <td>${model.source} ${model.local && html`<${Badge} tone="plain">${says.local}<//>`} ${model.weights && html`<small>${says.weights[model.weights]}</small>`}</td>
          <td>${model.sparks.join(", ")}</td><td>${model.served_as.join(", ")}</td>
          <td>${secs ? html`<${Columns} values=${secs} label=${secs.map(duration).join(", ")} name=${duration} /> <small>${duration(secs[secs.length - 1])}</small>` : says.noLoads}</td>
          <td class="actions">
            ${!isWanted && html`<button disabled=${!may("edit")} onClick=${() => choose(model.name, says.choose(model.name))}>${says.choose(model.name)}</button>`}
            ${model.wanted_in.length === 0 && html`<button class="quiet" disabled=${!may("edit")} onClick=${() => open({ title: says.remove(model.name), change: { merge: { models: { [model.name]: null } } } })}>${says.remove(model.name)}</button>`}
          </td></tr>`;
      })}</tbody>
    </table></div>
    ${adding && html`<${Add} sparks=${status.sparks.map((spark) => spark.name)} onClose=${() => setAdding(false)} open=${open} />`}
  <//>`;
}

/**
 * Where in the form each place of the file is typed.
 * @type {[RegExp, string][]}
 */
const FIELDS = [
  [/^\/models\/[^/]+\/(repo|local_path)/, "place"],
  [/^\/models\/[^/]+\/sparks/, "sparks"],
  [/^\/models\/[^/]+\/args\/tensor-parallel-size/, "tensor"],
  [/^\/models\/[^/]+\/memory_gib/, "memory"],
  [/^\/models\/[^/]+$/, "name"],
];

/** @param {{ sparks: string[], onClose: () => void, open: Shared["open"] }} props */
function Add({ sparks, onClose, open }) {
  const form = says.form;
  const [wrong, setWrong] = useState(/** @type {Record<string, string[]>} */ ({}));
  /** @param {string} field */
  const told = (field) => wrong[field]?.map((message) => html`<span class="trouble" role="alert">${message}</span>`);
  /** @param {On<HTMLFormElement>} event */
  const submit = (event) => {
    event.preventDefault();
    const fields = new FormData(event.target);
    const head = typed(fields, "head");
    const others = fields
      .getAll("sparks")
      .map(String)
      .filter((name) => name !== head);
    /** @type {Record<string, unknown>} */
    const model = { [typed(fields, "from")]: typed(fields, "place"), sparks: [head, ...others] };
    if (typed(fields, "memory")) model.memory_gib = Number(typed(fields, "memory"));
    const split = Number(typed(fields, "tensor"));
    if (split > 1) model.args = { "tensor-parallel-size": split };
    const name = typed(fields, "name");
    const merge = { models: { [name]: model }, ...(typed(fields, "serve") ? { model: name } : {}) };
    // What was typed stays until it is in the file.
    const dialog = event.target.closest("dialog");
    setWrong({});
    open({
      title: says.adding,
      change: { merge },
      onWritten: () => shut(dialog),
      onInvalid: (problems) => setWrong(byField(problems, FIELDS)),
    });
  };
  return html`<${Dialog} title=${says.adding} onClose=${onClose}>
    <form onSubmit=${submit}>
      ${told("all")}
      <label>${form.name} <input name="name" required pattern="[A-Za-z0-9][A-Za-z0-9_.\\-]*" autofocus /></label>${told("name")}
      <fieldset><legend>${form.from}</legend>
        <label><input type="radio" name="from" value="repo" defaultChecked /> ${form.repo}</label>
        <label><input type="radio" name="from" value="local_path" /> ${form.local}</label>
      </fieldset>
      <label>${form.place} <input name="place" required /></label>${told("place")}
      <fieldset><legend>${form.sparks}</legend>
        <label>${form.head} <select name="head">${sparks.map((name) => html`<option value=${name}>${name}</option>`)}</select></label>
        ${sparks.length > 1 && sparks.map((name) => html`<label><input type="checkbox" name="sparks" value=${name} /> ${name}</label>`)}
        ${told("sparks")}
      </fieldset>
      <label>${form.tensor} <input name="tensor" type="number" min="1" max="8" /></label>${told("tensor")}
      <label>${form.memory} <input name="memory" type="number" min="1" step="any" /></label>${told("memory")}
      <label><input type="checkbox" name="serve" value="yes" /> ${form.serve}</label>
      <div class="actions"><button class="primary">${form.preview}</button></div>
    </form>
  <//>`;
}
