// Signing in, where the controller asks for tokens.

import { useState } from "./vendor/hooks.js";
import { ask, problemOf } from "./api.js";
import { Trouble, html } from "./parts.js";
import { words } from "./words.js";

/** @import { On } from "../../../tests/ui/types" */
/** @import { Problem } from "./api.js" */

/** @param {{ onDone: () => void }} props */
export function SignIn({ onDone }) {
  const says = words.sign;
  const [problem, setProblem] = useState(/** @type {Problem | null} */ (null));
  /** @param {On<HTMLFormElement>} event */
  const submit = async (event) => {
    event.preventDefault();
    try {
      await ask("POST", "/api/v1/session", { body: { token: new FormData(event.target).get("token") } });
      onDone();
    } catch (error) {
      setProblem(problemOf(error));
    }
  };
  return html`<main id="content" class="sign"><h1>${words.title}</h1><h2>${says.heading}</h2>
    <p>${says.help} <code>${says.command}</code></p>
    <${Trouble} problem=${problem} />
    <form onSubmit=${submit}><label>${says.token} <input name="token" type="password" required autocomplete="current-password" autofocus /></label>
      <div class="actions"><button class="primary">${says.submit}</button></div></form></main>`;
}
