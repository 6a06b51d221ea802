// What the page says of its connection, and what is typed into it, while events come and go.

import assert from "node:assert/strict";
import { test } from "node:test";
import { close, open, until } from "./cluster.mjs";
import { browser, demo, dialog } from "./demo.mjs";

/** @import { Page, Route } from "playwright-core" */

/** Streams that the page has opened, the newest last; and a switch that lets nothing of them arrive any more. */
const watched = () => {
  const Real = window.EventSource;
  window.streams = [];
  window.EventSource = class extends Real {
    /** @param {string | URL} path */
    constructor(path) {
      super(path);
      window.streams.push(this);
    }
    /**
     * @override
     * @param {string} name
     * @param {((event: MessageEvent) => void) | EventListenerObject} told
     */
    addEventListener(name, told) {
      super.addEventListener(name, (event) => window.dropped || (typeof told === "function" && told(event)));
    }
  };
};

/** @param {Page} page */
const openStreams = (page) => page.evaluate(() => window.streams.filter((one) => one.readyState !== 2).length);

/** @type {(page: Page, hidden: boolean) => Promise<void>} */
const hide = (page, hidden) =>
  page.evaluate((is) => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => is });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);

/** @param {Page} page */
const live = (page) => page.getByText("Live", { exact: true });

test("a page that nobody sees gives its connection back, and takes one when it is seen", async () => {
  const page = await open(browser, demo, { first: watched });
  await live(page).waitFor();
  assert.equal(await openStreams(page), 1);
  await hide(page, true);
  await until("no stream", async () => (await openStreams(page)) === 0);
  await hide(page, false);
  await live(page).waitFor();
  assert.equal(await openStreams(page), 1);
  await close(page);
});

test("what is shown from before is not called live", async () => {
  const page = await open(browser, demo, { first: watched });
  await live(page).waitFor();
  await hide(page, true);
  /** @type {Route[]} */
  const held = [];
  await page.route("**/api/v1/status", (route) => held.push(route));
  await hide(page, false);
  await until("a stream", async () => (await openStreams(page)) === 1);
  await until("the question", () => held.length > 0);
  await page.waitForTimeout(1500);
  assert.equal(await live(page).count(), 0);
  // What is held goes on with it.
  await page.unroute("**/api/v1/status");
  await Promise.allSettled(held.map((route) => route.continue()));
  await live(page).waitFor();
  await close(page);
});

test("what was asked before the connection was back does not make it live", async () => {
  const page = await open(browser, demo, { first: watched });
  await live(page).waitFor();
  /** @type {Route[]} */
  const held = [];
  await page.route("**/api/v1/status", (route) => held.push(route));
  // A round asks.
  await until("a question", () => held.length === 1);
  await hide(page, true);
  await hide(page, false);
  await until("a stream", async () => (await openStreams(page)) === 1);
  await held[0].continue();
  await until("the next question", () => held.length === 2);
  await page.waitForTimeout(500);
  assert.equal(await live(page).count(), 0);
  await page.unroute("**/api/v1/status");
  await Promise.allSettled(held.slice(1).map((route) => route.continue()));
  await live(page).waitFor();
  await close(page);
});

test("of seven windows of one browser the one that is seen is live, and can edit", async () => {
  const first = await open(browser, demo, { first: watched });
  /** @type {Page} */
  let last = first;
  for (let count = 1; count < 7; count += 1) {
    await hide(last, true);
    const page = await first.context().newPage();
    await page.addInitScript(watched);
    await page.goto(first.url());
    await live(page).waitFor();
    last = page;
  }
  await hide(last, true);
  await hide(first, false);
  await live(first).waitFor();
  await first.getByRole("link", { name: "Models" }).click();
  await first.getByRole("button", { name: "Serve large" }).click();
  await dialog(first).getByText("+model: large").waitFor();
  await close(first);
});

test("a connection that says nothing any more is not live, and is opened again", async () => {
  const page = await open(browser, demo, { first: watched });
  await live(page).waitFor();
  await page.evaluate(() => {
    window.dropped = true;
  });
  await live(page).waitFor({ state: "hidden", timeout: 30_000 });
  await page.evaluate(() => {
    window.dropped = false;
  });
  await live(page).waitFor({ timeout: 30_000 });
  await close(page);
});

test("a form keeps what is typed while the page is kept up to date, and says at its field what is wrong", async () => {
  const page = await open(browser, demo, { first: watched });
  await page.getByRole("link", { name: "Models" }).click();
  await page.getByRole("button", { name: /Add model/ }).click();
  const form = dialog(page).first();
  await form.getByLabel("Path on the Sparks").check();
  await form.locator("input[name=name]").fill("mine");
  await form.locator("input[name=place]").fill("not a path");
  // Several looks later.
  await page.waitForTimeout(8_000);
  assert.equal(await form.locator("input[value=local_path]").isChecked(), true);
  assert.equal(await form.locator("input[name=place]").inputValue(), "not a path");
  await form.getByRole("button", { name: "See what would happen" }).or(form.locator("button.primary")).first().click();
  await form.getByRole("alert").first().waitFor();
  assert.match(await form.getByRole("alert").first().innerText(), /path/);
  await close(page);
});

test("a log is followed from its first lines on", async () => {
  const page = await open(browser, demo, {
    path: "/#/logs/vllm",
    first: () => {
      // A box that a few lines fill.
      const sheet = new CSSStyleSheet();
      sheet.replaceSync("pre.log { min-height: 0 !important; max-height: 3rem !important; }");
      document.adoptedStyleSheets = [sheet];
    },
  });
  const log = page.getByRole("log");
  await until("lines", async () => (await log.innerText()).split("\n").length > 4);
  const overflows = await log.evaluate((element) => element.scrollHeight - element.clientHeight);
  assert.ok(overflows > 20, `${overflows}`);
  const fromEnd = () => log.evaluate((element) => element.scrollHeight - element.scrollTop - element.clientHeight);
  assert.ok((await fromEnd()) < 2, "the end is in sight at once");
  await close(page);
});

test("the ends of lines of the file stay as they are when it is edited", async () => {
  const before = demo.file;
  demo.file = `\ufeff${before.replaceAll("\n", "\r\n")}`;
  const page = await open(browser, demo, { first: watched });
  await page.getByRole("link", { name: "File" }).click();
  const area = page.locator("textarea.file");
  await until("the file", async () => (await area.inputValue()).includes("model:"));
  await area.fill(`${await area.inputValue()}# a word\n`);
  await page.locator("main button.primary").click();
  await dialog(page).getByText("+# a word").waitFor();
  const told = await dialog(page).innerText();
  assert.equal(told.split("\n").filter((line) => /^-[^-]/.test(line)).length, 0, told);
  await close(page);
});
