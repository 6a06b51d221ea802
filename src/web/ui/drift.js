// Every difference between the file and the Sparks.

import { Section, Text, When, html } from "./parts.js";
import { words } from "./words.js";

/** @import { Difference } from "../../../tests/ui/types" */

/** @param {{ drift: Difference[] }} props */
export function Drift({ drift }) {
  const says = words.drift;
  return html`<${Section} title=${says.heading}>
    ${
      drift.length === 0
        ? html`<p>${says.none}</p>`
        : html`<div class="wide" tabindex="0" role="region" aria-label=${says.caption}><table class="drift">
          <caption>${says.caption}</caption>
          <thead><tr><th scope="col">${says.object}</th><th scope="col">${says.field}</th><th scope="col">${says.desired}</th><th scope="col">${says.observed}</th><th scope="col">${says.since}</th><th scope="col">${says.class}</th><th scope="col">${says.response}</th></tr></thead>
          <tbody>${drift.map((one) => html`<tr><th scope="row">${says.on(one.object, one.spark)}</th><td>${says.fields[one.class] ?? one.class}</td><td><${Text}>${one.desired}<//></td><td><${Text}>${one.observed}<//></td><td><${When} at=${one.since} /></td><td>${one.class}</td><td><${Text}>${one.response}<//></td></tr>`)}</tbody>
        </table></div>`
    }
  <//>`;
}
