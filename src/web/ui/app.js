// The page: what the API tells, kept up to date by its events, in one of a few views. Begin with `App`.

import { render } from "./vendor/preact.js";
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "./vendor/hooks.js";
import { ask, follow, get, problemOf } from "./api.js";
import { Change } from "./change.js";
import { Sparks } from "./cluster.js";
import { Drift } from "./drift.js";
import { File } from "./file.js";
import { clock } from "./format.js";
import { Headline } from "./headline.js";
import { History } from "./history.js";
import { Logs } from "./logs.js";
import { Models } from "./models.js";
import { Section, Text, Trouble, When, html } from "./parts.js";
import { Services } from "./services.js";
import { SignIn } from "./sign.js";
import { Slots } from "./slots.js";
import { Times } from "./times.js";
import { words } from "./words.js";

/** @import { Difference, HistoryEvent, Link, Role, Session, Shared, Status, Wish } from "../../../tests/ui/types" */
/** @import { Problem } from "./api.js" */

/**
 * What is known of everything.
 * @typedef {object} Seen
 * @property {Session | null} session
 * @property {Status | null} status
 * @property {Difference[]} drift
 * @property {Problem | null} problem
 * @property {boolean} isOld
 */

/** @type {Role[]} */
const ROLES = ["nobody", "read", "edit", "approve"];
/** @type {Session} */
const NOBODY = { needs_token: true, name: null, role: "nobody", until: null };
const VIEWS = /** @type {const} */ (["overview", "models", "times", "history", "logs", "file"]);
/** @typedef {{ name: (typeof VIEWS)[number], rest: string[] }} Place */
/** Of the history, for the timelines; the view of the history asks for more. */
const KEPT_EVENTS = 200;
/** What is known already is answered at once: a connection that died meanwhile is not waited for. */
const SOON_MS = 10_000;

function App() {
  const [seen, setSeen] = useState(
    /** @type {Seen} */ ({ session: null, status: null, drift: [], problem: null, isOld: false }),
  );
  const [events, setEvents] = useState(/** @type {HistoryEvent[]} */ ([]));
  const [live, setLive] = useState(/** @type {Link} */ ("connecting"));
  const [change, setChange] = useState(/** @type {Wish | null} */ (null));
  const [said, setSaid] = useState("");
  const view = useView();
  const reading = useRef({ busy: false, again: false, breaks: 0 });

  const refresh = useCallback(async () => {
    const now = reading.current;
    if (now.busy) {
      now.again = true;
      return;
    }
    now.busy = true;
    do {
      now.again = false;
      const { breaks } = now;
      try {
        const [status, drift] = await Promise.all([get("/api/v1/status", SOON_MS), get("/api/v1/drift", SOON_MS)]);
        // What was asked before the stream broke tells nothing of what came while nobody listened.
        setSeen((before) => ({
          ...before,
          status,
          drift: drift.drift,
          problem: null,
          isOld: before.isOld && breaks !== now.breaks,
        }));
      } catch (thrown) {
        const problem = problemOf(thrown);
        // Somebody made a first token, or took ours away.
        const session = problem.code === "unauthorized" ? NOBODY : undefined;
        setSeen((before) => ({ ...before, problem, session: session ?? before.session }));
      }
    } while (now.again);
    now.busy = false;
  }, []);

  const begin = useCallback(async () => {
    try {
      // What is does not wait for who asks, and neither for what was.
      const looked = refresh();
      const session = await get("/api/v1/session");
      setSeen((before) => ({ ...before, session, problem: null }));
      await looked;
      const { events: lines } = await get(`/api/v1/history?last=${KEPT_EVENTS}`);
      setEvents((before) =>
        lines
          .concat(before.filter((event) => !lines.some((known) => known.number === event.number)))
          .slice(-KEPT_EVENTS),
      );
    } catch (thrown) {
      const problem = problemOf(thrown);
      setSeen((before) => ({ ...before, session: problem.code === "unauthorized" ? NOBODY : before.session, problem }));
    }
  }, []);

  // Until it is known who asks; at once, not after the first paint.
  useLayoutEffect(() => {
    if (seen.session) return undefined;
    begin();
    const timer = setInterval(begin, 5000);
    return () => clearInterval(timer);
  }, [Boolean(seen.session)]);
  const isIn = seen.session && seen.session.role !== "nobody";
  useEffect(() => {
    if (!isIn) return undefined;
    return follow("/api/v1/events", {
      state: setLive,
      // The stream is back, and what is shown is of before until it was asked for.
      again: () => {
        reading.current.breaks += 1;
        setSeen((before) => ({ ...before, isOld: true }));
        begin();
      },
      seen: refresh,
      history: (event) =>
        setEvents((before) =>
          before.some((known) => known.number === event.number) ? before : before.concat(event).slice(-KEPT_EVENTS),
        ),
    });
  }, [isIn]);
  useEffect(() => {
    // While nothing comes by itself, ask now and then.
    if (live === "live" || !isIn) return undefined;
    const timer = setInterval(refresh, 5000);
    return () => clearInterval(timer);
  }, [live, isIn]);

  useEffect(() => {
    document.title = `${words.nav[view.name]} – ${words.title}`;
    setSaid("");
  }, [view.name]);
  /** @param {Role} role */
  const may = (role) => ROLES.indexOf(seen.session?.role ?? "nobody") >= ROLES.indexOf(role);
  const { status, session } = seen;
  if (session?.role === "nobody") return html`<${SignIn} onDone=${begin} />`;
  return html`
    <a class="skip" href="#content" onClick=${(event) => {
      event.preventDefault();
      document.getElementById("content")?.focus();
    }}>${words.skip}</a>
    <header>
      <div class="brand"><strong>${words.title}</strong> ${status?.cluster && html`<span>${status.cluster}</span>`}</div>
      <nav aria-label=${words.nav.label}>${VIEWS.map(
        (name) =>
          html`<a href=${name === "overview" ? "#/" : `#/${name}`} aria-current=${view.name === name ? "page" : undefined}>${words.nav[name]}</a>`,
      )}<a href="/api">${words.nav.api}</a></nav>
      <${Live} live=${live === "live" && seen.isOld ? "connecting" : live} at=${status?.at} />
      ${
        session?.needs_token &&
        html`<span class="who"><small>${words.sign.as(session.name, session.role)}</small> <button class="quiet" onClick=${async () => {
          await ask("DELETE", "/api/v1/session");
          location.reload();
        }}>${words.sign.out}</button></span>`
      }
    </header>
    <main id="content" tabindex="-1">
      <h1 class="unseen">${words.title}: ${words.nav[view.name]}</h1>
      <${Trouble} problem=${seen.problem} />
      <p class="said" role="status">${said}</p>
      ${!status && !seen.problem && html`<p>${words.loading}</p>`}
      ${status && html`<${View} view=${view} shared=${{ status, events, may, open: setChange, say: setSaid }} drift=${seen.drift} />`}
    </main>
    ${
      change &&
      html`<${Change} key=${JSON.stringify(change.change)} ...${change} onClose=${() => setChange(null)}
      onWritten=${(/** @type {string} */ text) => {
        setSaid(text);
        change.onWritten?.();
        refresh();
      }} />`
    }`;
}

/** @param {{ view: Place, shared: Shared, drift: Difference[] }} props */
function View({ view, shared, drift }) {
  const { status, open, may, events } = shared;
  switch (view.name) {
    case "models":
      return html`<${Models} ...${shared} />`;
    case "times":
      return html`<${Times} status=${status} />`;
    case "history":
      return html`<${History} ...${shared} />`;
    case "logs":
      return html`<${Logs} whose=${view.rest.length ? view.rest : ["vllm"]} status=${status} />`;
    case "file":
      return html`<${File} ...${shared} />`;
    default:
      return html`
        <${Headline} status=${status} may=${may} open=${open} say=${shared.say} />
        <${Slots} ...${shared} />
        <${Drift} drift=${drift} />
        <${Services} status=${status} may=${may} open=${open} say=${shared.say} />
        <${Sparks} status=${status} />
        <${Section} title=${words.history.events}>
          <ul class="events">${events
            .slice(-8)
            .reverse()
            .map(
              (event) =>
                html`<li key=${event.number}><${When} at=${event.at} /> ${event.object && html`<strong>${event.object}</strong>`} <${Text}>${event.message}<//></li>`,
            )}</ul>
        <//>`;
  }
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/**
 * `#/logs/vllm` is the view `logs` of `vllm`, `#/logs/spark1/tts` that of a container.
 * @returns {Place}
 */
function useView() {
  /** @returns {Place} */
  const read = () => {
    const [, name = "", ...rest] = location.hash.split("/");
    return { name: VIEWS.find((known) => known === name) ?? "overview", rest: rest.filter(Boolean).map(decoded) };
  };
  const [view, set] = useState(read);
  useEffect(() => {
    const changed = () => {
      set(read());
      document.getElementById("content")?.focus({ preventScroll: true });
      window.scrollTo(0, 0);
    };
    window.addEventListener("hashchange", changed);
    return () => window.removeEventListener("hashchange", changed);
  }, []);
  return view;
}

/** @param {{ live: Link, at?: string | null }} props */
function Live({ live, at }) {
  return html`<div class=${`live ${live}`}><span role="status">${words.live[live]}</span> ${at && html`<small>${words.live.asOf(clock(at))}</small>`}</div>`;
}

render(html`<${App} />`, /** @type {HTMLElement} */ (document.getElementById("page")));
