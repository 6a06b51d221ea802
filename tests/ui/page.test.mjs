// Every flow of the page, in a real browser against the demo: as somebody would do it who has read nothing.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { Demo, accessible, close, launch, open, pressing, until } from "./cluster.mjs";

let browser;
let demo;
/** The file that each test begins with. */
let base;

before(async () => {
  browser = await launch();
  demo = await Demo.start();
  base = demo.file;
  await serves("small");
});

beforeEach(async () => {
  // What a test before left behind.
  if (demo.file !== base) await put(base);
  await serves("small");
});

after(async () => {
  await browser?.close();
  await demo?.end();
});

const slot = () => demo.object("vllm");
const serves = (model) => demo.serves(model, 60_000);
const card = (page) => page.getByRole("article", { name: "Main model" });
// The one in front: a form stays open behind its preview.
const dialog = (page) => page.getByRole("dialog").last();

/** The file says this, and so does the main slot. */
async function put(text) {
  demo.file = text;
  await until("the file is in force", async () => {
    const { revision, file_error } = await demo.api("/api/v1/status");
    const inForce = await (await fetch(`${demo.url}/api/v1/desired/${revision}`)).text();
    return file_error === null && inForce === text;
  });
}

test("the first screen answers in one look", async () => {
  const page = await open(browser, demo);
  await page.getByText("Everything is as the file says.").waitFor();
  await card(page).getByText("the file says so").waitFor();
  assert.equal(await card(page).locator("dd strong").first().innerText(), "small");
  assert.equal(await card(page).locator("dd strong").nth(1).innerText(), "small");
  await page.getByText("Live", { exact: true }).waitFor();
  await page.getByText(/as of \d/).waitFor();
  await page.getByText("Nothing differs.").waitFor();
  const spark = page.getByRole("article", { name: "spark1" });
  await spark.getByRole("img", { name: /free\..*vllm/ }).waitFor();
  await spark.getByText(/GB10, \d+ °C, \d+ W/).waitFor();
  await spark.getByRole("img", { name: /^Free memory in the last hours: from .* to / }).waitFor();
  await spark.getByText(/up \d/).waitFor();
  await spark.getByText(/huggingface: .* of .* free/).waitFor();
  await page.getByRole("article", { name: "spark2" }).getByText("VPN 192.0.2.12").waitFor();
  await page.getByRole("article", { name: "kokoro" }).getByText("healthy").waitFor();
  await close(page);
});

test("another model: pick, preview, confirm, watch; and the same from an editor", async () => {
  const page = await open(browser, demo);
  await card(page).getByRole("link", { name: "Choose another model" }).click();
  await page.getByRole("button", { name: "Serve large" }).click();
  const preview = dialog(page);
  await preview.getByText("Nothing is written yet.").waitFor();
  await preview.getByText(/stop and remove/).first().waitFor();
  await preview.getByText(/waits until memory is back/).waitFor();
  await preview.getByRole("columnheader", { name: "Stays free" }).waitFor();
  await preview.getByText(/Nothing serves/).waitFor();
  await preview.getByText("+model: large").waitFor();
  assert.match(demo.file, /^model: small/m, "a preview writes nothing");
  await preview.getByRole("button", { name: "Write it, and stop what serves" }).click();
  await page.getByText(/revision 2 is in force/).first().waitFor();
  await page.getByRole("link", { name: "Overview" }).click();
  await card(page).getByText("large loads").first().waitFor();
  await card(page).getByText(/so far/).waitFor();
  await card(page).getByText("Its log, live").click();
  await card(page).getByRole("log").getByText(/\w/).waitFor();
  await card(page).getByText(/loading the weights|capturing graphs|compiling/).first().waitFor();
  await serves("large");
  await page.getByText("Everything is as the file says.").waitFor();
  assert.match(demo.file, /^model: large/m);
  assert.match(demo.file, /# What should be serving\. Try/, "comments stay");
  // A swap that an editor started looks the same.
  demo.file = demo.file.replace("model: large", "model: small");
  await card(page).getByText("What happens now").waitFor();
  await card(page).getByText("small loads").first().waitFor();
  // It was loaded before: how far it is, and how long it takes, by that.
  await card(page).getByText(/\d+ %, .* so far; about .* in all, by its loads before/).waitFor();
  await page.getByRole("row", { name: /^vllm (model|state) .* (model|missing|stopped) / }).first().waitFor();
  await serves("small");
  await page.getByText("Nothing differs.").waitFor();
  await page.getByRole("link", { name: "Models" }).click();
  await page.getByRole("row", { name: /^large/ }).getByRole("img").waitFor();
  await close(page);
});

test("it is small", async () => {
  const page = await open(browser, demo);
  await card(page).waitFor();
  const kib = await page.evaluate(() => performance.getEntriesByType("resource").concat(performance.getEntriesByType("navigation")).reduce((sum, one) => sum + one.transferSize, 0) / 1024);
  assert.ok(kib > 20 && kib < 150, `${kib} KiB`);
  await close(page);
});

test("with the keyboard alone, and beside somebody who edits at the same time", async () => {
  const page = await open(browser, demo);
  await card(page).waitFor();
  const press = pressing(page);
  await press("Skip to the content");
  await press("Choose another model");
  await page.getByRole("button", { name: "Serve large" }).waitFor();
  await press("Serve large");
  await dialog(page).getByText("Nothing is written yet.").waitFor();
  assert.equal(await page.evaluate(() => Boolean(document.activeElement.closest("dialog"))), true, "focus is in the dialog");
  await page.keyboard.press("Escape");
  await dialog(page).waitFor({ state: "detached" });
  assert.match(await page.evaluate(() => document.activeElement.textContent), /Serve large/, "focus goes back");
  await page.keyboard.press("Enter");
  await dialog(page).getByText("Nothing is written yet.").waitFor();
  await press("Write it, and stop what serves");
  await page.getByText(/is in force/).first().waitFor();
  await serves("large");
  // Somebody else's edit in between is not lost.
  await page.getByRole("button", { name: "Serve small" }).click();
  await dialog(page).getByText("Nothing is written yet.").waitFor();
  await put(demo.file.replace("interval: 5s", "interval: 6s"));
  await dialog(page).getByRole("button", { name: "Write it, and stop what serves" }).click();
  await dialog(page).getByText(/Somebody changed the file meanwhile \(.*interval/).waitFor();
  await dialog(page).getByRole("button", { name: "Look again" }).click();
  await dialog(page).getByText("+model: small").waitFor();
  await dialog(page).getByRole("button", { name: "Write it, and stop what serves" }).click();
  await dialog(page).waitFor({ state: "detached" });
  assert.match(demo.file, /interval: 6s/);
  await serves("small");
  await close(page);
});

test("hold, and release", async () => {
  const page = await open(browser, demo);
  await card(page).getByRole("button", { name: "Hold" }).click();
  await dialog(page).getByLabel("Name", { exact: true }).fill("talk");
  await dialog(page).getByLabel("Your name").fill("alice");
  await dialog(page).getByLabel("Why").fill("a talk at noon");
  await dialog(page).getByRole("button", { name: "Look at what would happen" }).click();
  await dialog(page).getByText(/\+.*talk/).first().waitFor();
  await dialog(page).getByRole("button", { name: "Write it to the file" }).click();
  await card(page).getByText("kept by alice’s hold “talk”").waitFor();
  demo.file = demo.file.replace("model: small", "model: large");
  await card(page).getByText(/a hold keeps it as it is.*Held: the hold talk of alice/).first().waitFor();
  await page.getByText("One thing is left as it is, as you asked.").waitFor();
  await card(page).getByRole("button", { name: "Release hold “talk”" }).click();
  await dialog(page).getByText(/Nothing serves/).waitFor();
  await dialog(page).getByRole("button", { name: "Write it, and stop what serves" }).click();
  await serves("large");
  await close(page);
});

test("the public key is shown, and copied", async () => {
  const page = await open(browser, demo, { permissions: ["clipboard-read", "clipboard-write"] });
  await page.getByRole("button", { name: "Public SSH key" }).click();
  await dialog(page).getByText("no key of its own").waitFor();
  await page.keyboard.press("Escape");
  const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample alice@example.com";
  demo.write(".spark-control-demo/id_ed25519.pub", `${key}\n`);
  await page.getByRole("button", { name: "Public SSH key" }).click();
  await dialog(page).getByText("authorized_keys").waitFor();
  await dialog(page).getByRole("button", { name: "Copy" }).click();
  await dialog(page).getByRole("button", { name: "Copied" }).waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), key);
  await close(page);
});

test("everything is suspended, and resumed", async () => {
  const page = await open(browser, demo);
  await page.getByRole("button", { name: "Suspend everything" }).click();
  await dialog(page).getByText(/looks on and does nothing/).waitFor();
  await dialog(page).getByRole("button", { name: "Write it to the file" }).click();
  await page.getByText("Everything is suspended").waitFor();
  await page.getByRole("button", { name: "Resume" }).first().click();
  await dialog(page).getByRole("button", { name: "Write it to the file" }).click();
  await page.getByText("Everything is as the file says.").waitFor();
  await close(page);
});

test("a further slot gets another model, of those that run where it is", async () => {
  const more = "  mini: { repo: demo/mini, sparks: [spark2] }\n  micro: { repo: demo/micro, sparks: [spark2] }\n";
  const service = "  second: { kind: vllm, spark: spark2, port: 8890, container: second, model: mini, suspend: true }\n";
  await put(base.replace("models:\n", `models:\n${more}`).replace("services:\n", `services:\n${service}`));
  const page = await open(browser, demo);
  const second = page.getByRole("article", { name: "Model of second" });
  await second.getByRole("button", { name: "Choose another model" }).click();
  await dialog(page).getByText("Models of the catalog that run on spark2 alone:").waitFor();
  assert.deepEqual(await dialog(page).getByRole("button", { name: /^Serve/ }).allInnerTexts(), ["Serve micro"]);
  await dialog(page).getByRole("button", { name: "Serve micro" }).click();
  await dialog(page).getByText(/\+.*model: micro/).waitFor();
  await dialog(page).getByRole("button", { name: "Write it to the file" }).click();
  await second.getByText("micro").first().waitFor();
  assert.match(demo.file, /second: .*model: micro/);
  await close(page);
});

test("suspend, and resume", async () => {
  const page = await open(browser, demo);
  await card(page).getByRole("button", { name: "Suspend" }).click();
  await dialog(page).getByRole("button", { name: "Write it to the file" }).click();
  await card(page).getByRole("button", { name: "Resume" }).click();
  await dialog(page).getByText("suspend").first().waitFor();
  await dialog(page).getByRole("button", { name: "Write it to the file" }).click();
  await card(page).getByRole("button", { name: "Suspend" }).waitFor();
  await close(page);
});

test("a plan that waits is agreed to", async () => {
  await put(demo.file.replace("reconcile: {", "reconcile: { on_edit: approve,").replace("model: small", "model: large"));
  const page = await open(browser, demo);
  await card(page).getByRole("button", { name: "Look at the plan and approve" }).click();
  await dialog(page).getByText(/needs your yes/).first().waitFor();
  await dialog(page).getByRole("button", { name: "Approve this plan" }).click();
  await page.getByText("Approved; it begins with the next look.").waitFor();
  await serves("large");
  await close(page);
});

test("a service that waits for a yes is agreed to on its tile", async () => {
  await put(base.replace("reconcile: {", "reconcile: { on_edit: approve,").replace("container: kokoro-tts, state: running", "container: kokoro-tts, state: stopped"));
  const page = await open(browser, demo);
  const tile = page.getByRole("article", { name: "kokoro" });
  await page.getByText("One change waits for your approval. kokoro").waitFor();
  await tile.getByRole("button", { name: "Look at the plan and approve" }).click();
  await dialog(page).getByText(/Nothing serves until it is started again/).waitFor();
  await dialog(page).getByRole("button", { name: "Approve this plan" }).click();
  await tile.getByText(/stopped → stopped/).waitFor();
  await close(page);
});

test("what failed is shown, and tried again", async () => {
  const page = await open(browser, demo);
  demo.command("demo", "fault", "spark1", "load-fails", "60s");
  await put(demo.file.replace("model: small", "model: large"));
  await card(page).getByText(/It failed/).waitFor({ timeout: 90_000 });
  await card(page).getByText(/takes over|tried again|failed too often|is loading|memory back/).first().waitFor();
  // Something else serves again by then, or nothing does.
  await card(page).getByRole("button", { name: "Try again" }).click();
  const stops = dialog(page).getByRole("button", { name: "Try again, and stop what serves" });
  await page.getByText("It is tried again.").or(stops).first().waitFor();
  if (await stops.isVisible()) await stops.click();
  await page.getByText("It is tried again.").waitFor();
  const { events } = await demo.api("/api/v1/history");
  assert.ok(events.some((event) => event.kind === "retry"), "it is in the history");
  await put(demo.file.replace("model: large", "model: small"));
  await until("the fault is over", async () => (await slot()).sync === "InSync", 120_000);
  await close(page);
});

test("a model is added, from a repository and from a path", async () => {
  const page = await open(browser, demo, { path: "/#/models" });
  await page.getByRole("button", { name: "+ Add model" }).click();
  await dialog(page).getByLabel("Name in the file").fill("tiny");
  await dialog(page).getByLabel("Repository or path").fill("demo/tiny");
  await dialog(page).getByRole("button", { name: "Look at what would happen" }).click();
  await dialog(page).getByText("demo/tiny").first().waitFor();
  await dialog(page).getByRole("button", { name: "Write it to the file" }).click();
  await page.getByRole("row", { name: /tiny.*demo\/tiny/ }).waitFor();
  await page.getByRole("button", { name: "+ Add model" }).click();
  await dialog(page).getByLabel("Name in the file").fill("own");
  await dialog(page).getByLabel("Path on the Sparks").check();
  await dialog(page).getByLabel("Repository or path").fill("/srv/models/own");
  await dialog(page).getByRole("button", { name: "Look at what would happen" }).click();
  await dialog(page).getByRole("button", { name: "Write it to the file" }).click();
  await page.getByRole("row", { name: /own \/srv\/models\/own local/ }).waitFor();
  // What cannot be is said, and nothing is written.
  await page.getByRole("button", { name: "+ Add model" }).click();
  await dialog(page).getByLabel("Name in the file").fill("bad");
  await dialog(page).getByLabel("Repository or path").fill("no repository; rm");
  await dialog(page).getByRole("button", { name: "Look at what would happen" }).click();
  await dialog(page).getByRole("alert").getByText(/repo/).waitFor();
  await dialog(page).getByRole("button", { name: "Cancel" }).click();
  assert.equal(await dialog(page).getByLabel("Name in the file").inputValue(), "bad", "what was typed stays");
  await dialog(page).getByRole("button", { name: "Close" }).click();
  assert.doesNotMatch(demo.file, /bad:/);
  await page.getByRole("button", { name: "Remove tiny" }).click();
  await dialog(page).getByRole("button", { name: "Write it to the file" }).click();
  await page.getByRole("row", { name: /tiny/ }).waitFor({ state: "detached" });
  await close(page);
});

test("the file is edited in the page", async () => {
  const page = await open(browser, demo, { path: "/#/file" });
  const text = page.getByRole("textbox", { name: /Text of/ });
  await page.getByText("This is what the file holds.").waitFor();
  const before = await text.inputValue();
  await text.fill(before.replace("port: 8880", "port: 99999"));
  await page.locator("#file-checked .trouble").getByText(/port/).waitFor();
  assert.equal(await page.getByRole("button", { name: "Look at what would happen" }).isDisabled(), true);
  await text.fill(before.replace("interval: 5s", "interval: 7s"));
  await page.getByText("This is valid.").waitFor();
  await page.getByRole("button", { name: "Look at what would happen" }).click();
  await dialog(page).getByText("+reconcile: { interval: 7s }").waitFor();
  await dialog(page).getByRole("button", { name: "Write it to the file" }).click();
  await page.getByText("This is what the file holds.").waitFor();
  assert.match(demo.file, /interval: 7s/);
  await close(page);
});

test("services are kept running, stopped and suspended by edits", async () => {
  const page = await open(browser, demo);
  const tile = page.getByRole("article", { name: "kokoro" });
  await tile.getByRole("button", { name: "Stop" }).click();
  await dialog(page).getByText(/Nothing serves until it is started again\..*in flight/).waitFor();
  await dialog(page).getByRole("button", { name: /Write it/ }).click();
  await tile.getByText(/stopped → stopped/).waitFor();
  await tile.getByRole("button", { name: "Start", exact: true }).click();
  await dialog(page).getByRole("button", { name: /Write it/ }).click();
  await tile.getByText(/running → up/).waitFor();
  // A disabled one is not shown at all.
  await put(`${base}\ndisabled_services: [qdrant]\n`);
  await page.getByRole("article", { name: "qdrant" }).waitFor({ state: "detached" });
  assert.equal((await demo.api("/api/v1/status")).objects.some((object) => object.object === "qdrant"), false);
  await put(base);
  await page.getByRole("article", { name: "qdrant" }).waitFor();
  await close(page);
});

test("a bot is restarted and brought to its branch, with its log", async () => {
  const page = await open(browser, demo);
  const tile = page.getByRole("article", { name: "helper" });
  await tile.getByRole("button", { name: "Restart" }).click();
  await dialog(page).getByText(/stop helper/).waitFor();
  await dialog(page).getByText("Nothing serves while it stops and starts.").waitFor();
  await dialog(page).getByRole("button", { name: "Write it, and stop what serves" }).click();
  await until("the restart", async () => (await demo.api("/api/v1/history")).events.some((event) => /start `helper`/.test(event.message)));
  await tile.getByRole("button", { name: "Update" }).click();
  await dialog(page).getByText(/as helper on spark2: bring helper to main, build it, and recreate helper/).waitFor();
  await dialog(page).getByRole("button", { name: /^Write it/ }).click();
  await tile.getByText(/Updating: job/).waitFor();
  await tile.getByText("Log of the update").click();
  await tile.getByRole("log").getByText("== building").waitFor();
  await page.getByText(/update: main is at 1c0ffee/).first().waitFor();
  // One that fails says why, and is tried again.
  demo.command("demo", "fault", "spark2", "transfer-fails", "1s");
  await tile.getByRole("button", { name: "Update" }).click();
  await dialog(page).getByRole("button", { name: /^Write it/ }).click();
  await tile.getByText(/Stalled: .*Permission denied/).waitFor({ timeout: 30_000 });
  await tile.getByRole("button", { name: "Try again" }).click();
  await dialog(page).getByText("Nothing serves while it is made anew, after it is built.").waitFor();
  await dialog(page).getByRole("button", { name: "Try again, and stop what serves" }).click();
  await tile.getByText(/Updating: job/).waitFor();
  await close(page);
});

test("logs, live and saved", async () => {
  const page = await open(browser, demo, { path: "/#/logs/vllm" });
  await page.getByRole("log", { name: "Log of vllm" }).getByText(/\w/).waitFor();
  await page.getByLabel("Show").selectOption("saved");
  await page.getByRole("heading", { name: /vllm-.*log/ }).first().waitFor();
  await page.getByRole("combobox", { name: /^Log of/ }).selectOption("kokoro");
  await page.getByText("Nothing is saved.").or(page.getByRole("heading", { name: /^kokoro-.*log/ })).first().waitFor();
  await close(page);
});

test("the log of any container, also of one that nobody's file names", async () => {
  const page = await open(browser, demo);
  const spark = page.getByRole("article", { name: "spark2" });
  await spark.getByText(/\d containers/).click();
  await spark.getByRole("link", { name: "Logs of qdrant" }).click();
  await page.getByRole("log", { name: "Log of qdrant on spark2" }).waitFor();
  await page.getByText("Nothing is said.").or(page.getByRole("log").getByText(/\w/)).first().waitFor();
  assert.equal(await page.getByLabel("Show").count(), 0, "nothing is saved of a container");
  await page.getByRole("combobox", { name: /^Log of/ }).selectOption({ label: "vllm" });
  await page.getByRole("log", { name: "Log of vllm" }).getByText(/\w/).waitFor();
  await close(page);
});

test("history with differences, and back to a revision", async () => {
  const page = await open(browser, demo, { path: "/#/history" });
  await page.getByLabel("Show only lines with").fill("launch");
  await page.getByRole("cell", { name: /launch large/ }).first().waitFor();
  const first = page.getByRole("listitem").filter({ hasText: /Revision \d+ / });
  await first.first().getByText("What changed").click();
  await first.first().getByText(/[+-]/).first().waitFor();
  await first.nth(1).getByRole("button", { name: "Make the file this again" }).click();
  await dialog(page).getByRole("heading", { name: "Change of the file" }).waitFor();
  await dialog(page).getByRole("button", { name: "Write it to the file" }).click();
  await page.getByText(/Written: revision/).waitFor();
  await close(page);
});

test("times: the schedule as a picture, and when each endpoint was up", async () => {
  await put(`${demo.file}\nschedule:\n  nights: { days: [mon, tue, wed, thu, fri, sat, sun], from: "00:00", to: "23:59", timezone: UTC, model: small }\n`);
  const page = await open(browser, demo, { path: "/#/times" });
  await page.getByRole("img", { name: /nights: small/ }).nth(6).waitFor();
  await page.getByRole("img", { name: /kokoro in the last day: .*up/ }).waitFor();
  await page.getByRole("link", { name: "Overview" }).click();
  await card(page).getByText("window “nights” is open until").waitFor();
  await put(demo.file.replace(/\nschedule:\n.*\n/, ""));
  await close(page);
});

test("a file that takes much out waits, and is agreed to", async () => {
  const page = await open(browser, demo);
  const before = demo.file;
  demo.file = before.replace(/services:\n(  .*\n)+/, "");
  await page.getByText("it waits for approval", { exact: false }).first().waitFor();
  // Put back, nothing of it is left; agreed to, it is in force.
  demo.file = before;
  await page.getByText("Everything is as the file says.").waitFor();
  demo.file = before.replace(/services:\n(  .*\n)+/, "");
  await page.getByRole("button", { name: "Look at what it takes out and approve" }).click();
  await dialog(page).getByText(/^-services:$/m).waitFor();
  await dialog(page).getByText(/Nothing would be done on the Sparks/).waitFor();
  await dialog(page).getByRole("button", { name: "Approve it" }).click();
  await page.getByText("The file names no services.").waitFor();
  await close(page);
});

test("a Spark that falls silent is said to be silent", async () => {
  const page = await open(browser, demo);
  demo.command("demo", "fault", "spark2", "silent", "15s");
  await page.getByText("spark2 does not answer.").waitFor({ timeout: 60_000 });
  await page.getByRole("article", { name: "spark2" }).getByText(/What follows is from/).waitFor();
  await page.getByText("Everything is as the file says.").waitFor({ timeout: 90_000 });
  await close(page);
});

test("a stream that breaks is said to be broken, and comes back", async () => {
  const page = await open(browser, demo);
  await page.getByText("Live", { exact: true }).waitFor();
  await demo.stop();
  await page.getByText(/Not connected/).waitFor();
  await demo.run();
  await page.getByText("Live", { exact: true }).waitFor();
  page.wrong.length = 0;
  await serves("small");
  await page.getByText("Everything is as the file says.").waitFor();
  await close(page);
});

test("with tokens, a browser signs in, and may what its token may", async () => {
  const before = await open(browser, demo);
  await before.getByText("Live", { exact: true }).waitFor();
  const token = demo.command("--data", ".spark-control-demo", "token", "new", "reader", "--role", "read").trim();
  // A page that was open already is asked, too.
  await before.getByRole("heading", { name: "Sign in" }).waitFor();
  await close(before);
  const page = await open(browser, demo);
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  await page.getByLabel("Token").fill("sc_00000000_wrong");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("alert").waitFor();
  await page.getByLabel("Token").fill(token);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText("reader may read").waitFor();
  await page.getByText("Everything is as the file says.").waitFor();
  assert.equal(await card(page).getByRole("button", { name: "Suspend" }).isDisabled(), true);
  assert.deepEqual(await page.evaluate(() => document.cookie), "", "no script can read the cookie");
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  demo.command("--data", ".spark-control-demo", "token", "revoke", "reader");
  await close(page);
});

test("every view can be used by everybody, narrow and wide, light and dark", async () => {
  for (const [width, height] of [[390, 844], [1280, 900]]) {
    for (const scheme of ["light", "dark"]) {
      const page = await open(browser, demo, { width, height, scheme });
      for (const view of ["", "models", "times", "history", "logs/vllm", "file"]) {
        await page.goto(`${demo.url}/#/${view}`);
        await page.getByRole("main").getByRole("heading", { level: 2 }).first().waitFor();
        await page.waitForTimeout(300);
        const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.ok(over <= 0, `${view || "overview"} at ${width}: ${over} px wider than the screen`);
        await accessible(page, `${view || "overview"} at ${width}, ${scheme}`);
      }
      await page.goto(`${demo.url}/#/models`);
      await page.getByRole("button", { name: "Serve large" }).click();
      await dialog(page).getByText("Nothing is written yet.").waitFor();
      await accessible(page, `the preview at ${width}, ${scheme}`);
      await page.keyboard.press("Escape");
      await page.goto(`${demo.url}/api`);
      await page.getByRole("heading", { name: "GET /api/v1/status" }).waitFor();
      await accessible(page, `the reference at ${width}, ${scheme}`);
      await close(page);
    }
  }
});
