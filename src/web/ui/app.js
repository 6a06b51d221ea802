// The page: what the API tells, kept up to date by its events, in one of a few views. Begin with `App`.

import { render } from "./vendor/preact.js";
import { useCallback, useEffect, useRef, useState } from "./vendor/hooks.js";
import { approve, ask, follow, get } from "./api.js";
import { Change } from "./change.js";
import { Sparks } from "./cluster.js";
import { File } from "./file.js";
import { clock } from "./format.js";
import { History } from "./history.js";
import { Logs } from "./logs.js";
import { Models } from "./models.js";
import { Section, Text, Trouble, When, html } from "./parts.js";
import { Services } from "./services.js";
import { Slots, nameOf as nameOfSlot } from "./slots.js";
import { Times } from "./times.js";
import { words } from "./words.js";

const ROLES = ["nobody", "read", "edit", "approve"];
const NOBODY = { needs_token: true, role: "nobody" };
/** Of the history, for the timelines; the view of the history asks for more. */
const KEPT_EVENTS = 200;

function App() {
  const [seen, setSeen] = useState({ session: null, status: null, drift: [], problem: null });
  const [events, setEvents] = useState([]);
  const [live, setLive] = useState("connecting");
  const [change, setChange] = useState(null);
  const [said, setSaid] = useState("");
  const view = useView();
  const reading = useRef({ busy: false, again: false });

  const refresh = useCallback(async () => {
    const now = reading.current;
    if (now.busy) {
      now.again = true;
      return;
    }
    now.busy = true;
    do {
      now.again = false;
      try {
        const [status, drift] = await Promise.all([get("/api/v1/status"), get("/api/v1/drift")]);
        setSeen((before) => ({ ...before, status, drift: drift.drift, problem: null }));
      } catch (problem) {
        // Somebody made a first token, or took ours away.
        const session = problem.code === "needs_token" ? NOBODY : undefined;
        setSeen((before) => ({ ...before, problem, session: session ?? before.session }));
      }
    } while (now.again);
    now.busy = false;
  }, []);

  const begin = useCallback(async () => {
    try {
      const session = await get("/api/v1/session");
      setSeen((before) => ({ ...before, session, problem: null }));
      // What is does not wait for what was.
      refresh();
      const { events: lines } = await get(`/api/v1/history?last=${KEPT_EVENTS}`);
      setEvents((before) => lines.concat(before.filter((event) => !lines.some((known) => known.number === event.number))).slice(-KEPT_EVENTS));
    } catch (problem) {
      setSeen((before) => ({ ...before, session: problem.code === "needs_token" ? NOBODY : before.session, problem }));
    }
  }, []);

  // Until it is known who asks.
  useEffect(() => {
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
      again: begin,
      seen: refresh,
      history: (event) => setEvents((before) => (before.some((known) => known.number === event.number) ? before : before.concat(event).slice(-KEPT_EVENTS))),
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
  const may = (role) => ROLES.indexOf(seen.session?.role ?? "nobody") >= ROLES.indexOf(role);
  const { status, session } = seen;
  if (session?.role === "nobody") return html`<${SignIn} onDone=${begin} />`;
  const shared = { status, events, may, open: setChange, say: setSaid };
  return html`
    <a class="skip" href="#content" onClick=${(event) => { event.preventDefault(); document.getElementById("content").focus(); }}>${words.skip}</a>
    <header>
      <div class="brand"><strong>${words.title}</strong> ${status?.cluster && html`<span>${status.cluster}</span>`}</div>
      <nav aria-label=${words.nav.label}>${["overview", "models", "times", "history", "logs", "file"].map(
        (name) => html`<a href=${name === "overview" ? "#/" : `#/${name}`} aria-current=${view.name === name ? "page" : undefined}>${words.nav[name]}</a>`,
      )}<a href="/api">${words.nav.api}</a></nav>
      <${Live} live=${live} at=${status?.at} />
      ${session?.needs_token && html`<span class="who"><small>${words.sign.as(session.name, session.role)}</small> <button class="quiet" onClick=${async () => { await ask("DELETE", "/api/v1/session"); location.reload(); }}>${words.sign.out}</button></span>`}
    </header>
    <main id="content" tabindex="-1">
      <h1 class="unseen">${words.title}: ${words.nav[view.name]}</h1>
      <${Trouble} problem=${seen.problem} />
      <p class="said" role="status">${said}</p>
      ${!status && !seen.problem && html`<p>${words.loading}</p>`}
      ${status && html`<${View} view=${view} shared=${shared} drift=${seen.drift} />`}
    </main>
    ${change && html`<${Change} key=${JSON.stringify(change.change)} ...${change} onClose=${() => setChange(null)}
      onWritten=${(text) => { setSaid(text); change.onWritten?.(); refresh(); }} />`}`;
}

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
      return html`<${Logs} object=${view.rest ?? "vllm"} status=${status} />`;
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
          <ul class="events">${events.slice(-8).reverse().map((event) => html`<li key=${event.number}><${When} at=${event.at} /> ${event.object && html`<strong>${event.object}</strong>`} <${Text}>${event.message}<//></li>`)}</ul>
        <//>`;
  }
}

const nameOf = (object) => (object.sort === "slot" ? nameOfSlot(object.object) : object.object);

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** `#/logs/vllm` is the view `logs` of `vllm`. */
function useView() {
  const read = () => {
    const [, name = "", rest] = location.hash.split("/");
    return { name: words.nav[name] && name !== "label" ? name : "overview", rest: rest && decoded(rest) };
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

function Live({ live, at }) {
  return html`<div class=${`live ${live}`}><span role="status">${words.live[live]}</span> ${at && html`<small>${words.live.asOf(clock(at))}</small>`}</div>`;
}

/** The whole in a sentence or two. */
function Headline({ status, may, open, say }) {
  const says = words.headline;
  const [problem, setProblem] = useState(null);
  // What somebody asked to be left alone is no trouble; what waits for a yes is asked for by itself.
  const blocked = status.objects.filter((object) => object.work?.verdict === "blocked");
  const asks = blocked.filter((object) => object.reason === "ApprovalNeeded");
  const kept = blocked.filter((object) => ["Suspended", "Held", "ReportOnly"].includes(object.reason));
  const stuck = blocked.filter((object) => !asks.includes(object) && !kept.includes(object));
  const moving = status.objects.filter((object) => object.sync === "Drifted" && !blocked.includes(object) && object.health !== "Suspended");
  const silent = status.sparks.filter((spark) => !spark.reachable).map((spark) => spark.name);
  const sick = status.objects.filter((object) => object.sync === "InSync" && ["Degraded", "Missing"].includes(object.health));
  const tone = stuck.length || silent.length || sick.length || status.fenced || status.file_error ? "bad" : moving.length || asks.length ? "moving" : "good";
  const agree = async () => {
    try {
      await approve(status.waits);
      say(words.plan.agreed);
    } catch (error) {
      setProblem(error);
    }
  };
  const names = (objects) => objects.map((object) => nameOf(object)).join(", ");
  return html`<div class=${`headline ${tone}`}>
    <div role="status">
      ${status.suspended && html`<p>${says.suspended}</p>`}
      ${status.fenced && html`<p>${says.fenced(status.fenced)}</p>`}
      ${silent.length > 0 && html`<p>${says.silent(silent)}</p>`}
      ${stuck.length > 0 && html`<p>${says.stuck(stuck.length)} <span>${stuck.map((object) => `${nameOf(object)}: ${words.reasons[object.reason] ?? object.reason}`).join("; ")}</span></p>`}
      ${asks.length > 0 && html`<p>${says.asks(asks.length)} <span>${names(asks)}</span></p>`}
      ${moving.length > 0 && html`<p>${says.moving(moving.length)} <span>${names(moving)}</span></p>`}
      ${kept.length > 0 && !status.suspended && html`<p>${says.kept(kept.length)} <span>${kept.map((object) => `${nameOf(object)}: ${words.reasons[object.reason]}`).join("; ")}</span></p>`}
      ${sick.length > 0 && html`<p>${sick.map((object) => `${nameOf(object)}: ${words.health[object.health]}`).join("; ")}</p>`}
      ${tone === "good" && kept.length === 0 && !status.suspended && html`<p>${says.good}</p>`}
    </div>
    ${status.file_error && html`<p>${status.waits ? says.waits : says.fileError}</p><details open=${Boolean(status.waits)}><summary>${words.file.heading}</summary><pre tabindex="0">${status.file_error}</pre></details>`}
    ${status.waits && html`<button class="primary" disabled=${!may("approve")} onClick=${agree}>${says.approveRemoval}</button>`}
    <${Trouble} problem=${problem} />
    ${status.warnings.length > 0 && html`<details><summary>${says.warnings(status.warnings.length)}</summary><ul>${status.warnings.map((warning) => html`<li>${warning}</li>`)}</ul></details>`}
    <button class="quiet" disabled=${!may("edit")} onClick=${() => open({ title: status.suspended ? says.resume : says.suspendAll, note: status.suspended ? null : says.suspendHelp, change: { merge: { reconcile: { suspend: status.suspended ? null : true } } } })}>${status.suspended ? says.resume : says.suspendAll}</button>
  </div>`;
}

function Drift({ drift }) {
  const says = words.drift;
  return html`<${Section} title=${says.heading}>
    ${drift.length === 0
      ? html`<p>${says.none}</p>`
      : html`<div class="wide" tabindex="0" role="region" aria-label=${says.caption}><table class="drift">
          <caption>${says.caption}</caption>
          <thead><tr><th scope="col">${says.object}</th><th scope="col">${says.field}</th><th scope="col">${says.desired}</th><th scope="col">${says.observed}</th><th scope="col">${says.since}</th><th scope="col">${says.response}</th></tr></thead>
          <tbody>${drift.map((one) => html`<tr><th scope="row">${[one.object, one.spark].filter(Boolean).join(" on ")}</th><td>${one.class}</td><td><${Text}>${one.desired}<//></td><td><${Text}>${one.observed}<//></td><td><${When} at=${one.since} /></td><td><${Text}>${one.response}<//></td></tr>`)}</tbody>
        </table></div>`}
  <//>`;
}

function SignIn({ onDone }) {
  const says = words.sign;
  const [problem, setProblem] = useState(null);
  const submit = async (event) => {
    event.preventDefault();
    try {
      await ask("POST", "/api/v1/session", { body: { token: new FormData(event.target).get("token") } });
      onDone();
    } catch (error) {
      setProblem(error);
    }
  };
  return html`<main id="content" class="sign"><h1>${words.title}</h1><h2>${says.heading}</h2>
    <p>${says.help} <code>${says.command}</code></p>
    <${Trouble} problem=${problem} />
    <form onSubmit=${submit}><label>${says.token} <input name="token" type="password" required autocomplete="current-password" autofocus /></label>
      <div class="actions"><button class="primary">${says.submit}</button></div></form></main>`;
}

render(html`<${App} />`, document.getElementById("page"));
