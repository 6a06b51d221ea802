// What containers say, as they say it, or what was saved before they were stopped.

import { useEffect, useRef, useState } from "./vendor/hooks.js";
import { follow, get, part } from "./api.js";
import { Section, Trouble, html } from "./parts.js";
import { words } from "./words.js";

const says = words.logs;
/** More is read nowhere but in a file. */
const KEPT_LINES = 2000;

export function Logs({ object, status }) {
  const [saved, setSaved] = useState(false);
  const objects = status.objects.filter((one) => one.sort !== "weights").map((one) => one.object);
  return html`<${Section} title=${says.heading}>
    <div class="row">
      <label>${says.object} <select value=${object} onChange=${(event) => { location.hash = `#/logs/${part(event.target.value)}`; }}>
        ${objects.map((name) => html`<option value=${name} selected=${name === object}>${name}</option>`)}</select></label>
      <label>${says.which} <select onChange=${(event) => setSaved(event.target.value === "saved")}>
        <option value="live">${says.liveNow}</option><option value="saved">${says.saved}</option></select></label>
    </div>
    ${saved ? html`<${Saved} key=${object} object=${object} />` : html`<${Log} key=${object} object=${object} lines=${KEPT_LINES} />`}
  <//>`;
}

/** The last lines, live. */
export function Log({ object, lines }) {
  const [state, set] = useState({ lines: [], live: "connecting" });
  const box = useRef(null);
  useEffect(
    () =>
      follow(`/api/v1/logs/${part(object)}`, {
        state: (live) => set((before) => ({ lines: live === "broken" ? before.lines : [], live })),
        lines: ({ lines: more }) => set((before) => ({ ...before, lines: before.lines.concat(more).slice(-lines) })),
      }),
    [object],
  );
  useEffect(() => {
    const element = box.current;
    // Whoever scrolled up reads.
    if (element && element.scrollHeight - element.scrollTop - element.clientHeight < 80) element.scrollTop = element.scrollHeight;
  }, [state.lines]);
  const several = new Set(state.lines.map((line) => line.spark)).size > 1;
  return html`<div>
    ${state.live === "broken" && html`<p class="trouble">${says.broken}</p>`}
    ${state.lines.length === 0 && state.live !== "broken" && html`<p>${state.live === "live" ? says.nothing : says.connecting}</p>`}
    <pre ref=${box} class="log" role="log" aria-label=${says.label(object)} tabindex="0">${state.lines.map((one) => `${several ? `${one.spark} | ` : ""}${one.line}\n`).join("")}</pre>
  </div>`;
}

function Saved({ object }) {
  const [state, set] = useState({ logs: null, problem: null });
  useEffect(() => {
    get(`/api/v1/logs/${part(object)}?saved=true`).then(
      (value) => set({ logs: value.logs, problem: null }),
      (problem) => set({ logs: null, problem }),
    );
  }, [object]);
  return html`<div>
    <${Trouble} problem=${state.problem} />
    ${state.logs?.length === 0 && html`<p>${says.noSaved}</p>`}
    ${state.logs?.map((log) => html`<h3>${log.container}</h3><pre class="log" tabindex="0" aria-label=${log.container}>${log.text ?? log.error}</pre>`)}
  </div>`;
}
