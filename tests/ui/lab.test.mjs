// The page on real Sparks: a controller that somebody else started, whose file is edited from here and by nobody else.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, before, test } from "node:test";
import { Running, accessible, close, launch, open, pressing, until } from "./cluster.mjs";

/** @import { Browser, Page } from "playwright-core" */

const { SPARK_CONTROL_PROGRAM: program, SPARK_CONTROL_URL: url, SPARK_CONTROL_FILE: path } = process.env;
const { SPARK_CONTROL_DATA: data, SPARK_CONTROL_COMMIT: commit } = process.env;
assert.ok(program && url && path && data && commit, "the test that starts this says what it has started");
const lab = new Running(url, path);
/** Real engines, builds and stops, on a machine that does other things. */
const LONG = 90_000;
/** @type {Browser} */
let browser;

before(async () => {
  browser = await launch();
});

after(async () => {
  await browser?.close();
});

/**
 * @param {string} view
 * @param {import("./cluster.mjs").Looks} [looks]
 */
async function on(view, looks = {}) {
  const page = await open(browser, lab, { path: view, ...looks });
  page.setDefaultTimeout(LONG);
  return page;
}

/** @param {Page} page */
const dialog = (page) => page.getByRole("dialog").last();
/** @param {Page} page */
const write = (page) =>
  dialog(page)
    .getByRole("button", { name: /^Write it/ })
    .click();
/** @param {Page} page */
const card = (page) => page.getByRole("article", { name: "Main model" });
/** @param {string} model */
const serves = (model) => lab.serves(model, LONG);

test("a model is chosen, and serves", async () => {
  const page = await on("/");
  await page.getByText("Everything is as the file says.").waitFor();
  await page.getByRole("article", { name: "spark1" }).getByText("reachable").waitFor();
  await accessible(page, "the overview of a real Spark");
  await card(page).getByRole("link", { name: "Choose another model" }).click();
  await page.getByRole("button", { name: "Serve beta" }).click();
  await dialog(page)
    .getByText(/stop and remove vllm_node/)
    .first()
    .waitFor();
  await dialog(page)
    .getByText(/No request is in flight|0 requests are in flight|in flight/)
    .waitFor();
  await write(page);
  await page.getByRole("link", { name: "Overview" }).click();
  await card(page).getByText("beta loads").first().waitFor();
  await serves("beta");
  await page.getByText("Everything is as the file says.").waitFor();
  await card(page).getByRole("link", { name: "Logs" }).click();
  await page.getByRole("log", { name: "Log of vllm" }).getByText(/\w/).waitFor();
  await close(page);
});

test("a hold keeps it, and what waits for a yes gets it", async () => {
  const page = await on("/");
  await card(page).getByRole("button", { name: "Hold" }).click();
  await dialog(page).getByLabel("Your name").fill("alice");
  await dialog(page).getByLabel("Why").fill("a talk");
  await dialog(page).getByRole("button", { name: "Look at what would happen" }).click();
  await write(page);
  await card(page).getByText("kept by alice’s hold “hold”").waitFor();
  await card(page).getByRole("button", { name: "Release hold “hold”" }).click();
  await write(page);
  await card(page).getByText("the file says so").waitFor();
  lab.file = lab.file.replace("interval: 2s", "interval: 2s, on_edit: approve").replace("model: beta", "model: alpha");
  await card(page).getByRole("button", { name: "Look at the plan and approve" }).click();
  await dialog(page).getByRole("button", { name: "Approve this plan" }).click();
  await serves("alpha");
  lab.file = lab.file.replace(", on_edit: approve", "");
  await close(page);
});

test("a service is stopped and started, and a bot is brought to its branch", async () => {
  const page = await on("/");
  const web = page.getByRole("article", { name: "web" });
  await web.getByRole("button", { name: "Stop" }).click();
  await dialog(page)
    .getByText(/Nothing serves until it is started again/)
    .waitFor();
  await write(page);
  await web.getByText(/stopped → stopped/).waitFor();
  await web.getByRole("button", { name: "Start", exact: true }).click();
  await write(page);
  await web.getByText(/running → up/).waitFor();
  const helper = page.getByRole("article", { name: "helper" });
  await helper.getByText("running").first().waitFor();
  await helper.getByRole("button", { name: "Update" }).click();
  await write(page);
  await helper.getByText("Log of the update").click();
  await helper.getByRole("log").getByText("== building").waitFor();
  await page.getByText(`update: main is at ${commit}`, { exact: false }).first().waitFor();
  const spark = page.getByRole("article", { name: "spark1" });
  await spark.getByText(/\d containers/).click();
  await spark.getByRole("link", { name: "Logs of stranger" }).click();
  await page.getByRole("log", { name: "Log of stranger on spark1" }).getByText("words of nobody").waitFor();
  await close(page);
});

test("with the keyboard alone, on a phone in the dark", async () => {
  const page = await on("/", { width: 390, height: 844, scheme: "dark" });
  await card(page).waitFor();
  await accessible(page, "the overview on a phone in the dark");
  const press = pressing(page);
  await press("Skip to the content");
  await press("Choose another model");
  await press("Serve beta");
  await dialog(page).getByText("Nothing is written yet.").waitFor();
  await page.keyboard.press("Escape");
  await dialog(page).waitFor({ state: "detached" });
  await close(page);
});

test("a model is added, fails, is tried again, and is taken out", async () => {
  const page = await on("/#/models");
  await page.getByRole("button", { name: "+ Add model" }).click();
  await dialog(page).getByLabel("Name in the file").fill("broken");
  await dialog(page).getByLabel("Repository or path").fill("lab/beta");
  await dialog(page).getByLabel("Memory it needs").fill("1");
  await dialog(page).getByRole("button", { name: "Look at what would happen" }).click();
  await write(page);
  await page.getByRole("row", { name: /^broken lab\/beta/ }).waitFor();
  await page.getByRole("link", { name: "File" }).click();
  const text = page.getByRole("textbox", { name: /Text of/ });
  await page.getByText("This is what the file holds.").waitFor();
  const whole = await text.inputValue();
  const between = /broken: *\{/.test(whole) ? ", " : "\n    ";
  // Without a share the engine takes nine tenths of this machine, and it waits for what other programs hold of them.
  const fields = ["env: { LAB_FAIL: load }", "args: { gpu-memory-utilization: 0.02 }"].join(between);
  await text.fill(whole.replace(/broken:[^]*?repo: lab\/beta/, (entry) => `${entry}${between}${fields}`));
  await page.getByText("This is valid.").waitFor();
  await page.getByRole("button", { name: "Look at what would happen" }).click();
  await dialog(page)
    .getByText(/\+.*LAB_FAIL/)
    .waitFor();
  await write(page);
  await page.getByText("This is what the file holds.").waitFor();
  await page.getByRole("link", { name: "Models" }).click();
  await page.getByRole("button", { name: "Serve broken" }).click();
  await write(page);
  await page.getByRole("link", { name: "Overview" }).click();
  await card(page)
    .getByText(/It failed/)
    .waitFor();
  await card(page).getByRole("button", { name: "Try again" }).click();
  const stops = dialog(page).getByRole("button", { name: "Try again, and stop what serves" });
  await page.getByText("It is tried again.").or(stops).first().waitFor();
  if (await stops.isVisible()) await stops.click();
  await page.getByText("It is tried again.").waitFor();
  await page.getByRole("link", { name: "Models" }).click();
  await page.getByRole("button", { name: "Serve alpha" }).click();
  await write(page);
  await serves("alpha");
  await page.getByRole("button", { name: "Remove broken" }).click();
  await write(page);
  await page.getByRole("row", { name: /^broken/ }).waitFor({ state: "detached" });
  await page.getByRole("link", { name: "History" }).click();
  await page
    .getByRole("cell", { name: /a retry was asked for by somebody over HTTP/ })
    .first()
    .waitFor();
  const revision = page.getByRole("listitem").filter({ hasText: /Revision \d+ / });
  await revision.first().getByText("What changed").click();
  await revision
    .first()
    .getByText(/-.*broken/)
    .first()
    .waitFor();
  await revision.nth(1).getByRole("button", { name: "Make the file this again" }).click();
  await write(page);
  await until("the file is what it was", () => lab.file.includes("LAB_FAIL"));
  await page.getByRole("link", { name: "Times" }).click();
  await page.getByRole("img", { name: /^vllm in the last day: .*up/ }).waitFor();
  await close(page);
});

test("everything is suspended, and a file that takes much out is agreed to", async () => {
  const page = await on("/");
  await page.getByRole("button", { name: "Suspend everything" }).click();
  await write(page);
  await page.getByText("Everything is suspended").waitFor();
  await page.getByRole("button", { name: "Resume" }).first().click();
  await write(page);
  await page.getByText("Everything is as the file says.").waitFor();
  await page.getByText("Live", { exact: true }).waitFor();
  const whole = lab.file;
  lab.file = whole.replace(/services:\n( {2}.*\n)+/, "");
  await page.getByRole("button", { name: "Look at what it takes out and approve" }).click();
  await dialog(page)
    .getByText(/^-services:$/m)
    .waitFor();
  await dialog(page).getByRole("button", { name: "Approve it" }).click();
  await page.getByText("The file names no services.").waitFor();
  lab.file = whole;
  await page.getByRole("article", { name: "web" }).waitFor();
  await close(page);
});

test("with a token, a browser signs in", async () => {
  /** @param {string[]} words */
  const command = (...words) => execFileSync(program, ["--file", path, "--data", data, ...words], { encoding: "utf8" });
  const token = command("token", "create", "reader", "--role", "read").trim();
  const page = await on("/");
  await page.getByLabel("Token").fill(token);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText("reader may read").waitFor();
  assert.equal(await card(page).getByRole("button", { name: "Suspend" }).isDisabled(), true);
  command("token", "revoke", "reader");
  await close(page);
});
