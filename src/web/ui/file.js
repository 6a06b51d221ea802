// The file as text: checked while it is written, and shown with what would happen before it is kept.

import { useEffect, useState } from "./vendor/hooks.js";
import { ask, edit } from "./api.js";
import { Section, Trouble, html } from "./parts.js";
import { words } from "./words.js";

const says = words.file;
const QUIET_MS = 500;
/** What was written and is not in the file yet: it outlives a look at another view. */
let draft = null;

export function File({ status, may, open }) {
  const [known, setKnown] = useState({ text: null, tag: undefined, problem: null });
  const [text, setText] = useState("");
  const [checked, setChecked] = useState({ state: "reading" });
  const read = async () => {
    try {
      const { value, tag } = await ask("GET", "/api/v1/desired", { accept: "application/yaml" });
      setKnown({ text: value, tag, problem: null });
      setText(value);
      draft = null;
    } catch (problem) {
      setKnown({ text: null, tag: undefined, problem });
    }
  };
  const write = (text) => {
    setText(text);
    draft = text === known.text ? null : { text, known };
  };
  useEffect(() => {
    if (draft) {
      setKnown(draft.known);
      setText(draft.text);
    } else read();
  }, []);
  useEffect(() => {
    if (known.text === null || text === known.text) {
      setChecked({ state: known.text === null ? "reading" : "same" });
      return undefined;
    }
    setChecked({ state: "checking" });
    let wanted = true;
    const timer = setTimeout(async () => {
      try {
        const { value } = await edit({ text }, known.tag, true);
        if (wanted) setChecked({ state: "valid", warnings: value.warnings });
      } catch (problem) {
        if (wanted) setChecked({ state: "invalid", problem });
      }
    }, QUIET_MS);
    return () => {
      wanted = false;
      clearTimeout(timer);
    };
  }, [text, known]);
  // Somebody else's edit while nothing was written here is simply read.
  // A look may be older than what was just read: only a newer revision counts.
  const isStale = Boolean(known.tag) && status.revision !== null && Number(known.tag.replaceAll('"', "")) < status.revision;
  useEffect(() => {
    if (isStale && text === known.text) read();
  }, [isStale, text, known, status.revision]);
  return html`<${Section} title=${says.heading}>
    <p>${says.help}</p>
    <${Trouble} problem=${known.problem} />
    ${isStale && text !== known.text && html`<p class="trouble">${says.changed}</p>`}
    <label class="block">${says.label(status.file)}
      <textarea class="file" spellcheck="false" rows="28" value=${text} readonly=${!may("edit") || known.text === null}
        aria-describedby="file-checked" onInput=${(event) => write(event.target.value)}></textarea></label>
    <div id="file-checked" aria-live="polite">
      ${checked.state === "reading" && !known.problem && html`<p>${words.loading}</p>`}
      ${checked.state === "same" && html`<p>${says.same}</p>`}
      ${checked.state === "checking" && html`<p>${says.checking}</p>`}
      ${checked.state === "valid" && html`<p class="good">${says.valid}</p>`}
      ${checked.warnings?.length > 0 && html`<ul>${checked.warnings.map((warning) => html`<li>${warning}</li>`)}</ul>`}
      ${checked.state === "invalid" && html`<pre class="trouble" tabindex="0">${checked.problem.message}</pre>`}
    </div>
    <div class="actions">
      <button class="primary" disabled=${checked.state !== "valid" || !may("edit")} onClick=${() => open({ title: says.heading, change: { text }, tag: known.tag, onWritten: read })}>${says.preview}</button>
      <button onClick=${read}>${says.reload}</button>
    </div>
  <//>`;
}
