// Asks the API, and follows its events. Decides nothing.

import { words } from "./words.js";

/** @import { Address, Answer, Edit, Heard, Method, Refusal } from "../../../tests/ui/types" */

/** What the API answered instead: RFC 9457. */
export class Problem extends Error {
  /** @param {Refusal} body */
  constructor(body) {
    super(body.detail ?? words.error.unknown);
    this.code = body.code ?? "unknown";
    this.status = body.status ?? 0;
    this.fields = body.fields ?? [];
    this.body = body;
  }
}

/**
 * Whatever was thrown, as it is shown.
 * @param {unknown} thrown
 */
export const problemOf = (thrown) =>
  thrown instanceof Problem
    ? thrown
    : new Problem({ detail: thrown instanceof Error ? thrown.message : String(thrown) });

/**
 * Throws a `Problem`; `at` is by the controller's clock.
 * @template {Method} M
 * @template {Address<M>} P
 * @template {string} [A="application/json"]
 * @param {M} method
 * @param {P} path
 * @param {{ body?: unknown, type?: string, headers?: Record<string, string>, accept?: A, limit?: number }} [wishes]
 * @returns {Promise<{ value: Answer<M, P, A>, tag: string | null, status: number, at: Date }>}
 */
export async function ask(method, path, { body, type, headers = {}, accept, limit = 60_000 } = {}) {
  const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
  /** @type {Record<string, string>} */
  const kind = text === undefined ? {} : { "content-type": type ?? "application/json" };
  let response;
  try {
    response = await fetch(path, {
      method,
      body: text,
      headers: { ...kind, ...(accept ? { accept } : {}), ...headers },
      signal: AbortSignal.timeout(limit),
    });
  } catch {
    throw new Problem({ code: "offline", detail: words.error.offline });
  }
  // What a file begins with is part of it, be it a mark that nobody sees.
  const answered = new TextDecoder("utf-8", { ignoreBOM: true }).decode(await response.arrayBuffer());
  const isJson = (response.headers.get("content-type") ?? "").includes("json");
  const value = isJson ? parsed(answered) : answered;
  if (!response.ok) throw new Problem(value && typeof value === "object" ? value : { status: response.status });
  const { headers: told, status } = response;
  return { value, tag: told.get("etag"), status, at: new Date(told.get("date") ?? Date.now()) };
}

/** @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Problem({ code: "unknown" });
  }
}

/**
 * @template {Address<"GET">} P
 * @param {P} path
 * @param {number} [limit]
 * @returns {Promise<Answer<"GET", P>>}
 */
export const get = async (path, limit) => (await ask("GET", path, { limit })).value;

/**
 * The tag is the revision that the edit was made from.
 * @param {Edit} change
 * @param {string | null | undefined} tag
 * @param {boolean} dryRun
 */
export function edit(change, tag, dryRun) {
  const wishes = new URLSearchParams({
    ...(dryRun && { dry_run: "true" }),
    ...(change.owner && { owner: change.owner }),
  });
  /** @type {"" | `?${string}`} */
  const query = wishes.size > 0 ? `?${wishes}` : "";
  const headers = { "if-match": tag ?? "*" };
  if (change.merge) {
    return ask("PATCH", `/api/v1/desired${query}`, {
      body: change.merge,
      type: "application/merge-patch+json",
      headers,
    });
  }
  if (change.text !== undefined) {
    return ask("PUT", `/api/v1/desired${query}`, { body: change.text, type: "application/yaml", headers });
  }
  return ask("POST", `/api/v1/desired/revert/${change.revert}${query}`, { headers });
}

/**
 * Agree to a plan, or to a file that takes much out.
 * @param {string} id
 */
export const approve = (id) => ask("POST", `/api/v1/plans/${part(id)}/approve`);

/**
 * Forget what failed with an object, so that it is tried again; answers with the plan.
 * @param {string} object
 * @param {boolean} dryRun
 */
export const retry = (object, dryRun) => ask("POST", `/api/v1/retry/${part(object)}${dryRun ? "?dry_run=true" : ""}`);

/**
 * Everything that a name may hold, as one part of a path.
 * @param {string} name
 */
export const part = (name) => encodeURIComponent(name);

const AGAIN_MS = 3000;
/** The server beats every five seconds: after three of them without a word nobody is there any more, whatever the browser thinks. */
const SILENT_MS = 16_000;

/**
 * Follows a stream until the returned function is called. `on` has a function for each event, which is told whether it is the first
 * of its connection; `state`, for `connecting`, `live` and `broken`; and `again`, for what came while nobody listened.
 *
 * A browser opens six connections to one server: a page that nobody sees gives its own back.
 * @param {Address<"GET">} path
 * @param {Heard} on
 */
export function follow(path, on) {
  /** @type {EventSource | undefined} */
  let source;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  let heard = 0;
  const close = () => {
    clearTimeout(timer);
    source?.close();
    source = undefined;
  };
  const broken = () => {
    close();
    on.state?.("broken");
    timer = setTimeout(() => open(true), AGAIN_MS);
  };
  /** @param {boolean} isAgain */
  const open = (isAgain) => {
    close();
    if (document.hidden) return;
    on.state?.("connecting");
    if (isAgain) on.again?.();
    const mine = new EventSource(path);
    let isFirst = true;
    source = mine;
    heard = Date.now();
    mine.onopen = () => {
      heard = Date.now();
      on.state?.("live");
    };
    mine.onerror = broken;
    for (const [name, told] of Object.entries({ beat: () => {}, ...on })) {
      if (name === "state" || name === "again") continue;
      mine.addEventListener(name, (event) => {
        heard = Date.now();
        if (name === "beat") return;
        told(JSON.parse(event.data), isFirst);
        isFirst = false;
      });
    }
  };
  const watch = setInterval(() => {
    if (source && Date.now() - heard > SILENT_MS) broken();
  }, 2000);
  const seen = () => (document.hidden ? close() : open(true));
  const online = () => open(true);
  // A page that the browser kept whole, with a connection that it did not.
  /** @param {PageTransitionEvent} event */
  const restored = (event) => event.persisted && open(true);
  document.addEventListener("visibilitychange", seen);
  window.addEventListener("online", online);
  window.addEventListener("pageshow", restored);
  open(false);
  return () => {
    close();
    clearInterval(watch);
    document.removeEventListener("visibilitychange", seen);
    window.removeEventListener("online", online);
    window.removeEventListener("pageshow", restored);
  };
}
