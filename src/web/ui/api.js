// Asks the API, and follows its events. Decides nothing.

import { words } from "./words.js";

/** What the API answered instead: RFC 9457. */
class Problem extends Error {
  constructor(body) {
    super(body.detail ?? words.error.unknown);
    this.code = body.code ?? "unknown";
    this.status = body.status ?? 0;
    this.fields = body.fields ?? [];
    this.body = body;
  }
}

/** Answers with `{ value, tag, status, at }`, `at` by the controller's clock; throws a `Problem`. */
export async function ask(method, path, { body, type, headers = {}, accept } = {}) {
  const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
  const kind = text === undefined ? {} : { "content-type": type ?? "application/json" };
  let response;
  try {
    response = await fetch(path, {
      method,
      body: text,
      headers: { ...kind, ...(accept ? { accept } : {}), ...headers },
      signal: AbortSignal.timeout(60_000),
    });
  } catch {
    throw new Problem({ code: "offline", detail: words.error.offline });
  }
  const answered = await response.text();
  const isJson = (response.headers.get("content-type") ?? "").includes("json");
  const value = isJson ? parsed(answered) : answered;
  if (!response.ok) throw new Problem(value && typeof value === "object" ? value : { status: response.status });
  const { headers: told, status } = response;
  return { value, tag: told.get("etag"), status, at: new Date(told.get("date") ?? Date.now()) };
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Problem({ code: "unknown" });
  }
}

export const get = async (path) => (await ask("GET", path)).value;

/** An edit, in one of the forms that the API has. The tag is the revision that it was made from. */
export function edit(change, tag, dryRun) {
  const query = dryRun ? "?dry_run=true" : "";
  const headers = { "if-match": tag ?? "*" };
  if (change.merge) {
    return ask("PATCH", `/api/v1/desired${query}`, { body: change.merge, type: "application/merge-patch+json", headers });
  }
  if (change.text !== undefined) {
    return ask("PUT", `/api/v1/desired${query}`, { body: change.text, type: "application/yaml", headers });
  }
  return ask("POST", `/api/v1/desired/revert/${change.revert}${query}`, { headers });
}

/** Agree to a plan, or to a file that takes much out. */
export const approve = (id) => ask("POST", `/api/v1/plans/${part(id)}/approve`);

/** Forget what failed with an object, so that it is tried again; answers with the plan. */
export const retry = (object, dryRun) => ask("POST", `/api/v1/retry/${part(object)}${dryRun ? "?dry_run=true" : ""}`);

/** Everything that a name may hold, as one part of a path. */
export const part = (name) => encodeURIComponent(name);

const AGAIN_MS = 3000;

/** Follows a stream until the returned function is called. `on` has a function for each event, and `state`. */
export function follow(path, on) {
  let source;
  let timer;
  let ended = false;
  const open = () => {
    on.state?.("connecting");
    source = new EventSource(path);
    source.onopen = () => on.state?.("live");
    source.onerror = () => {
      on.state?.("broken");
      // A browser tries again by itself, except after an answer that is no stream.
      if (source.readyState === EventSource.CLOSED && !ended) {
        timer = setTimeout(() => {
          open();
          // It does not know what came meanwhile.
          on.again?.();
        }, AGAIN_MS);
      }
    };
    for (const [name, told] of Object.entries(on)) {
      if (name !== "state" && name !== "again") source.addEventListener(name, (event) => told(JSON.parse(event.data)));
    }
  };
  open();
  return () => {
    ended = true;
    clearTimeout(timer);
    source.close();
  };
}
