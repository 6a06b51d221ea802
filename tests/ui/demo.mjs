// What the tests of the page on a demo share: the demo, a browser, and the names of what they press.

import { after, before, beforeEach } from "node:test";
import { Demo, launch, until } from "./cluster.mjs";

/** @import { Browser, Page } from "playwright-core" */

/** @type {Browser} */
export let browser;
/** @type {Demo} */
export let demo;
/**
 * The file that each test begins with.
 * @type {string}
 */
export let base;

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

export const slot = () => demo.object("vllm");
/** @param {string} model */
export const serves = (model) => demo.serves(model, 60_000);
/** @param {Page} page */
export const card = (page) => page.getByRole("article", { name: "Main model" });
/**
 * The one in front: a form stays open behind its preview.
 * @param {Page} page
 */
export const dialog = (page) => page.getByRole("dialog").last();

/**
 * The file says this, and so does the main slot.
 * @param {string} text
 */
export async function put(text) {
  demo.file = text;
  await until("the file is in force", async () => {
    const { revision, file_error } = await demo.api("/api/v1/status");
    const inForce = await (await fetch(`${demo.url}/api/v1/desired/${revision}`)).text();
    return file_error === null && inForce === text;
  });
}
