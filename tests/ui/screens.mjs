// Takes the pictures of the page that are checked in, and weighs it: `just screenshots`.

import { mkdirSync } from "node:fs";
import { Demo, launch, open, until } from "./cluster.mjs";

const folder = new URL("../../docs/pictures/", import.meta.url).pathname;
mkdirSync(folder, { recursive: true });
const browser = await launch();
const demo = await Demo.start();
const serves = (model) => until(`${model} serves`, async () => {
  const { objects } = await demo.api("/api/v1/status");
  const slot = objects.find((object) => object.object === "vllm");
  return slot.sync === "InSync" && slot.observed === model;
}, 60_000);

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
await page.getByText(/loading the weights|capturing graphs/).first().waitFor();
await page.screenshot({ path: `${folder}overview.png` });
await page.context().close();
page = await open(browser, demo, { width: 390, height: 844, scheme: "dark" });
await page.getByRole("article", { name: "Main model" }).waitFor();
await page.screenshot({ path: `${folder}phone.png` });
await browser.close();
await demo.end();

/** What a first visit loads and how long it takes until it can be read and used: a median of nine. */
async function weigh() {
  const visits = [];
  for (let visit = 0; visit < 9; visit += 1) {
    const context = await browser.newContext();
    const fresh = await context.newPage();
    const client = await context.newCDPSession(fresh);
    await client.send("Network.enable");
    let bytes = 0;
    client.on("Network.loadingFinished", (event) => { bytes += event.encodedDataLength; });
    await fresh.goto(demo.url);
    await fresh.getByRole("article", { name: "Main model" }).waitFor();
    const times = await fresh.evaluate(() => ({
      painted: performance.getEntriesByName("first-contentful-paint")[0].startTime,
      usable: performance.now(),
    }));
    visits.push({ ...times, bytes });
    await context.close();
  }
  const median = (name) => visits.map((one) => one[name]).sort((a, b) => a - b)[4];
  console.log(`first contentful paint ${median("painted").toFixed(0)} ms, usable ${median("usable").toFixed(0)} ms, ${(median("bytes") / 1024).toFixed(1)} KiB over the wire`);
}
