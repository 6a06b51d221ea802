// The file as text: checked while it is written, and shown with what would happen before it is kept.

import { useEffect, useState } from "./vendor/hooks.js";
import { Problem, ask, edit, problemOf } from "./api.js";
import { Section, Trouble, html } from "./parts.js";
import { words } from "./words.js";

/** @import { On, Shared } from "../../../tests/ui/types" */

const says = words.file;
const QUIET_MS = 500;
/**
 * A text area knows one end of line: what is written goes back with the ends that the file has.
 * @type {(text: string, known: string | undefined) => string}
 */
const asFile = (text, known) => {
  const ends = known?.includes("\r\n") ? text.replaceAll("\n", "\r\n") : text;
  return known?.startsWith("\ufeff") && !ends.startsWith("\ufeff") ? `\ufeff${ends}` : ends;
};
/** @param {string} text */
const asShown = (text) => text.replace(/^\ufeff/, "").replaceAll("\r\n", "\n");
/**
 * The revision that a tag names; `null`: what the file holds is not in force. Proxies that pack answers make tags weak.
 * @param {string} tag
 */
const revisionOf = (tag) => Number.parseInt(tag.replace(/^W\//, "").replaceAll('"', ""), 10) || null;
/**
 * What is known of the file: nothing yet, or why not; or its text as it is shown and as it is.
 * @typedef {{ text: null, raw?: undefined, tag: undefined, problem: Problem | null, revision?: undefined }
 *   | { text: string, raw: string, tag: string, problem: null, revision: number | null }} FileKnown
 */

/**
 * What is known of what was written.
 * @typedef {{ state: "reading" | "same" | "checking" }
 *   | { state: "valid", warnings: string[] }
 *   | { state: "invalid", problem: Problem }} FileChecked
 */

/**
 * What was written and is not in the file yet: it outlives a look at another view.
 * @type {{ text: string, known: FileKnown } | null}
 */
let draft = null;

/** @param {Pick<Shared, "status" | "may" | "open">} props */
export function File({ status, may, open }) {
  const [known, setKnown] = useState(/** @type {FileKnown} */ ({ text: null, tag: undefined, problem: null }));
  const [text, setText] = useState("");
  const [checked, setChecked] = useState(/** @type {FileChecked} */ ({ state: "reading" }));
  const read = async () => {
    try {
      const { value, tag } = await ask("GET", "/api/v1/desired", { accept: "application/yaml" });
      // An edit would not say what it was made from, and could undo somebody else's.
      if (tag === null) throw new Problem({ code: "unknown" });
      // What is not in force has no number: it is as new as the revision that was in force when it was read.
      setKnown({ text: asShown(value), raw: value, tag, problem: null, revision: revisionOf(tag) ?? status.revision });
      setText(asShown(value));
      draft = null;
    } catch (thrown) {
      setKnown({ text: null, tag: undefined, problem: problemOf(thrown) });
    }
  };
  /** @param {string} written */
  const write = (written) => {
    setText(written);
    draft = written === known.text ? null : { text: written, known };
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
        const { value } = await edit({ text: asFile(text, known.raw) }, known.tag, true);
        if (wanted) setChecked({ state: "valid", warnings: value.warnings });
      } catch (thrown) {
        if (wanted) setChecked({ state: "invalid", problem: problemOf(thrown) });
      }
    }, QUIET_MS);
    return () => {
      wanted = false;
      clearTimeout(timer);
    };
  }, [text, known]);
  // Somebody else's edit while nothing was written here is simply read.
  // A look may be older than what was just read: only a newer revision counts.
  const isStale =
    known.text !== null && known.revision !== null && status.revision !== null && known.revision < status.revision;
  useEffect(() => {
    if (isStale && text === known.text) read();
  }, [isStale, text, known, status.revision]);
  return html`<${Section} title=${says.heading}>
    <p>${says.help}</p>
    <${Trouble} problem=${known.problem} />
    ${isStale && text !== known.text && html`<p class="trouble">${says.changed}</p>`}
    <label class="block">${says.label(status.file)}
      <textarea class="file" spellcheck=${false} rows="28" value=${text} readonly=${!may("edit") || known.text === null}
        aria-describedby="file-checked" onInput=${(/** @type {On<HTMLTextAreaElement>} */ event) => write(event.target.value)}></textarea></label>
    <div id="file-checked" aria-live="polite">
      ${checked.state === "reading" && !known.problem && html`<p>${words.loading}</p>`}
      ${checked.state === "same" && html`<p>${says.same}</p>`}
      ${checked.state === "checking" && html`<p>${says.checking}</p>`}
      ${checked.state === "valid" && html`<p class="good">${says.valid}</p>`}
      ${checked.state === "valid" && checked.warnings.length > 0 && html`<ul>${checked.warnings.map((warning) => html`<li>${warning}</li>`)}</ul>`}
      ${checked.state === "invalid" && html`<pre class="trouble" tabindex="0">${checked.problem.message}</pre>`}
    </div>
    <div class="actions">
      <button class="primary" disabled=${checked.state !== "valid" || !may("edit")} onClick=${() => open({ title: says.heading, change: { text: asFile(text, known.raw) }, tag: known.tag, onWritten: read })}>${says.preview}</button>
      <button onClick=${read}>${says.reload}</button>
    </div>
  <//>`;
}
