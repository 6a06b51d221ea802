// The page on real Sparks: a controller that somebody else started, whose file is edited from here and by nobody else.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Running, accessible, close, launch, open, until } from "./cluster.mjs";

const { SPARK_CONTROL_URL: url, SPARK_CONTROL_FILE: path, SPARK_CONTROL_COMMIT: commit } = process.env;
assert.ok(url && path && commit, "the test that starts this says where the controller is, and what the bot is brought to");
const lab = new Running(url, path);
/** Real engines, builds and stops, on a machine that does other things. */
const LONG = 90_000;
let browser;

before(async () => {
  browser = await launch();
});

after(async () => {
  await browser?.close();
});

async function on(path) {
  const page = await open(browser, lab, { path });
  page.setDefaultTimeout(LONG);
  return page;
}

const dialog = (page) => page.getByRole("dialog").last();
const write = (page) => dialog(page).getByRole("button", { name: /^Write it/ }).click();
const card = (page) => page.getByRole("article", { name: "Main model" });

test("a model is chosen, and serves", async () => {
  const page = await on("/");
  await page.getByText("Everything is as the file says.").waitFor();
  await page.getByRole("article", { name: "spark1" }).getByText("reachable").waitFor();
  await accessible(page, "the overview of a real Spark");
  await card(page).getByRole("link", { name: "Choose another model" }).click();
  await page.getByRole("button", { name: "Serve beta" }).click();
  await dialog(page).getByText(/stop and remove vllm_node/).first().waitFor();
  await dialog(page).getByText(/No request is in flight|0 requests are in flight|in flight/).waitFor();
  await write(page);
  await page.getByRole("link", { name: "Overview" }).click();
  await card(page).getByText("beta loads").first().waitFor();
  await until("beta serves", async () => {
    const { sync, observed } = await lab.object("vllm");
    return sync === "InSync" && observed === "beta";
  }, LONG);
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
  await until("alpha serves", async () => {
    const { sync, observed } = await lab.object("vllm");
    return sync === "InSync" && observed === "alpha";
  }, LONG);
  lab.file = lab.file.replace(", on_edit: approve", "");
  await close(page);
});

test("a service is stopped and started, and a bot is brought to its branch", async () => {
  const page = await on("/");
  const web = page.getByRole("article", { name: "web" });
  await web.getByRole("button", { name: "Stop" }).click();
  await dialog(page).getByText(/Nothing serves until it is started again/).waitFor();
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
