// Every operation of the API, out of the description that the program itself gives.

import { render } from "./vendor/preact.js";
import { get } from "./api.js";
import { Trouble, html, useAsked } from "./parts.js";
import { words } from "./words.js";

const says = words.reference;

/** @typedef {Record<string, { schema?: { $ref?: string } }>} Bodies By their kind. */
/**
 * What is read of an operation.
 * @typedef {object} Operation
 * @property {string} operationId
 * @property {string} [summary]
 * @property {string} [description]
 * @property {{ name: string, in: string, required?: boolean, description?: string }[]} parameters
 * @property {{ content?: Bodies }} [requestBody]
 * @property {Record<string, { description: string, content?: Bodies }>} responses
 */

function Reference() {
  const { value, problem } = useAsked(() => get("/api/v1/openapi.json"), []);
  // What describes everything else is not described itself.
  const description = /** @type {{ paths: Record<string, Record<string, Operation>> } | null} */ (value);
  const operations = Object.entries(description?.paths ?? {}).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), ...operation })),
  );
  return html`<main id="content"><h1>${says.heading}</h1><p>${says.help} <a href="/">${says.back}</a> <a href="/api/v1/openapi.json">openapi.json</a></p>
    <${Trouble} problem=${problem} />
    ${operations.map((operation) => html`<${Operation} key=${operation.operationId} operation=${operation} />`)}</main>`;
}

/** @param {{ operation: Operation & { path: string, method: string } }} props */
function Operation({ operation }) {
  const bodies = Object.entries(operation.requestBody?.content ?? {});
  return html`<section class="card" aria-labelledby=${operation.operationId}>
    <h2 id=${operation.operationId}><code>${operation.method} ${operation.path}</code></h2>
    <p>${operation.summary} <small>${operation.description}</small></p>
    ${operation.parameters.length > 0 && html`<h3>${says.parameters}</h3><ul>${operation.parameters.map((one) => html`<li><code>${one.name}</code> (${one.in}${one.required ? `, ${says.required}` : ""}) ${one.description ?? ""}</li>`)}</ul>`}
    ${bodies.length > 0 && html`<h3>${says.body}</h3><ul>${bodies.map(([kind, body]) => html`<li><code>${kind}</code> ${nameOf(body.schema)}</li>`)}</ul>`}
    <h3>${says.answers}</h3>
    <ul>${Object.entries(operation.responses).map(([status, answer]) => html`<li><code>${status}</code> ${answer.description} ${Object.entries(answer.content ?? {}).map(([kind, body]) => html`<small>${kind} ${nameOf(body.schema)} </small>`)}</li>`)}</ul>
  </section>`;
}

/** @param {{ $ref?: string } | undefined} schema */
const nameOf = (schema) => (schema?.$ref ? schema.$ref.split("/").pop() : "");

render(html`<${Reference} />`, /** @type {HTMLElement} */ (document.getElementById("page")));
