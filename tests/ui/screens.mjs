// Takes the pictures of the page that are checked in, and weighs it: `just screenshots`.

import { mkdirSync } from "node:fs";
import { Demo, launch, open } from "./cluster.mjs";

/** @import { Page } from "playwright-core" */

const folder = new URL("../../docs/pictures/", import.meta.url).pathname;
mkdirSync(folder, { recursive: true });
const browser = await launch();
const demo = await Demo.start();
/** @param {string} model */
const serves = (model) => demo.serves(model, 60_000);

await serves("small");
await weigh();
let page = await open(browser, demo, { height: 1000 });
await page.getByText("Everything is as the file says.").waitFor();
await page.goto(`${demo.url}/#/models`);
await page.getByRole("button", { name: "Serve large" }).click();
await page.getByText("Nothing is written yet.").waitFor();
await page.screenshot({ path: `${folder}preview.png` });
await page.getByRole("button", { name: "Write it, and stop what serves" }).click();
await page.getByRole("link", { name: "Overview" }).click();
await serves("large");
await page.getByText("Everything is as the file says.").waitFor();
await page.screenshot({ path: `${folder}overview.png` });
await page.context().close();
page = await open(browser, demo, { width: 390, height: 844, scheme: "dark" });
await page.getByRole("article", { name: "Main model" }).waitFor();
await page.screenshot({ path: `${folder}phone.png` });
await browser.close();
await demo.end();

/** What a first visit loads, and how long it takes until it can be read and used: a median of nine. */
async function weigh() {
  const bytes = await visit(async (fresh) => {
    // Counting slows what is counted: it has a visit of its own.
    let sum = 0;
    const client = await fresh.context().newCDPSession(fresh);
    await client.send("Network.enable");
    client.on("Network.loadingFinished", (event) => {
      sum += event.encodedDataLength;
    });
    return () => sum;
  });
  /** @type {{ painted: number, usable: number }[]} */
  const times = [];
  for (let turn = 0; turn < 9; turn += 1) {
    times.push(
      await visit(async (fresh) => {
        // When the first thing to press is there, by the page's own clock.
        await fresh.addInitScript(() => {
          new MutationObserver((_, observer) => {
            if (!document.querySelector("article.slot .actions")) return;
            window.usable = performance.now();
            observer.disconnect();
          }).observe(document, { childList: true, subtree: true });
        });
        return () =>
          fresh.evaluate(() => ({
            painted: performance.getEntriesByName("first-contentful-paint")[0].startTime,
            usable: window.usable ?? Number.NaN,
          }));
      }),
    );
  }
  /** @param {"painted" | "usable"} name */
  const median = (name) => times.map((one) => one[name]).sort((a, b) => a - b)[4];
  console.log(
    `first contentful paint ${median("painted").toFixed(0)} ms, usable ${median("usable").toFixed(0)} ms, ${(bytes / 1024).toFixed(1)} KiB over the wire`,
  );
}

/**
 * One visit with nothing kept from before; `prepare` tells how it is read.
 * @template T
 * @param {(fresh: Page) => Promise<() => T | Promise<T>>} prepare
 */
async function visit(prepare) {
  const context = await browser.newContext();
  const fresh = await context.newPage();
  const read = await prepare(fresh);
  await fresh.goto(demo.url);
  await fresh.getByRole("article", { name: "Main model" }).waitFor();
  const told = await read();
  await context.close();
  return told;
}
