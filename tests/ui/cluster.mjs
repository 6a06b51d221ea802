// A demo of its own for a test, and a browser in front of it. What the page may not do fails the test.

import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

/** @import { ChildProcessByStdio } from "node:child_process" */
/** @import { AddressInfo } from "node:net" */
/** @import { Readable } from "node:stream" */
/** @import { Browser, Page } from "playwright-core" */
/** @import { Address, Answer, Watched } from "./types" */

const program = process.env.SPARK_CONTROL_PROGRAM ?? "";

async function freePort() {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  // A socket of the network has one.
  const { port } = /** @type {AddressInfo} */ (server.address());
  await new Promise((done) => server.close(done));
  return port;
}

/** A controller that runs, and the file that it keeps. */
export class Running {
  /**
   * @param {string} url
   * @param {string} path
   */
  constructor(url, path) {
    this.url = url;
    this.path = path;
  }

  get file() {
    return readFileSync(this.path, "utf8");
  }

  set file(text) {
    writeFileSync(this.path, text);
  }

  /**
   * @template {Address<"GET">} P
   * @param {P} path
   * @returns {Promise<Answer<"GET", P>>}
   */
  async api(path) {
    return (await fetch(`${this.url}${path}`)).json();
  }

  /** @param {string} name */
  async object(name) {
    const found = (await this.api("/api/v1/status")).objects.find((object) => object.object === name);
    assert.ok(found, `${name} is there`);
    return found;
  }

  /**
   * The main slot serves this model, as the file says.
   * @param {string} model
   * @param {number} ms
   */
  serves(model, ms) {
    return until(
      `${model} serves`,
      async () => {
        const { sync, observed } = await this.object("vllm");
        return sync === "InSync" && observed === model;
      },
      ms,
    );
  }
}

/** The program's demo in a directory of its own. */
export class Demo extends Running {
  /**
   * @param {string} directory
   * @param {number} port
   */
  constructor(directory, port) {
    super(`http://127.0.0.1:${port}`, join(directory, "cluster.yaml"));
    this.directory = directory;
    this.port = port;
    this.said = "";
    /** @type {ChildProcessByStdio<null, Readable, Readable> | undefined} */
    this.process = undefined;
  }

  static async start() {
    assert.ok(program, "SPARK_CONTROL_PROGRAM names the program");
    const demo = new Demo(mkdtempSync(join(tmpdir(), "spark-control-page-")), await freePort());
    await demo.run();
    return demo;
  }

  async run() {
    const environment = {
      ...process.env,
      XDG_STATE_HOME: join(this.directory, "state"),
      RUST_LOG: "spark_control=warn",
    };
    const child = spawn(program, ["demo", "--listen", `127.0.0.1:${this.port}`], {
      cwd: this.directory,
      env: environment,
      stdio: ["ignore", "pipe", "pipe"],
    });
    // Also when a test dies.
    process.once("exit", () => child.kill("SIGTERM"));
    this.process = child;
    this.said = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (text) => {
        this.said += text;
      });
    await until(
      "the demo answers",
      async () => (await fetch(`${this.url}/readyz`)).ok,
      30_000,
      () => this.said,
    );
  }

  /**
   * A file below its directory.
   * @param {string} name
   * @param {string} text
   */
  write(name, text) {
    writeFileSync(join(this.directory, name), text);
  }

  /**
   * A command beside the running demo.
   * @param {string[]} words
   */
  command(...words) {
    return execFileSync(program, words, {
      cwd: this.directory,
      env: { ...process.env, XDG_STATE_HOME: join(this.directory, "state") },
      encoding: "utf8",
    });
  }

  async stop() {
    assert.ok(this.process, "it runs");
    const ended = once(this.process, "exit");
    this.process.kill("SIGTERM");
    await ended;
  }

  async end() {
    await this.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/**
 * Go with Tab to what begins with a name, and press Enter there.
 * @param {Page} page
 */
export const pressing =
  (page) =>
  /** @param {string} name */
  async (name, most = 80) => {
    for (let tries = 0; tries < most; tries += 1) {
      const focused = await page.evaluate(() => document.activeElement?.textContent?.trim() ?? "");
      if (focused.startsWith(name)) return page.keyboard.press("Enter");
      await page.keyboard.press("Tab");
    }
    return assert.fail(`no way to “${name}” with Tab`);
  };

/**
 * @param {string} what
 * @param {() => boolean | Promise<boolean>} holds
 */
export async function until(what, holds, ms = 20_000, more = () => "") {
  const deadline = Date.now() + ms;
  for (;;) {
    try {
      if (await holds()) return;
    } catch {
      // Not yet.
    }
    assert.ok(Date.now() < deadline, `${what}: not within ${ms} ms ${more()}`);
    await new Promise((done) => setTimeout(done, 100));
  }
}

export const launch = () =>
  chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox"],
  });

/**
 * How a page is looked at.
 * @typedef {object} Looks
 * @property {string} [path]
 * @property {number} [width]
 * @property {number} [height]
 * @property {"light" | "dark"} [scheme]
 * @property {string[]} [permissions]
 * @property {() => void} [first] What the browser runs before the page.
 */

/**
 * A page that fails the test when it breaks its own policy, throws, or asks for something outside.
 * @param {Browser} browser
 * @param {Running} running
 * @param {Looks} [looks]
 * @returns {Promise<Watched>}
 */
export async function open(
  browser,
  running,
  { path = "/", width = 1280, height = 900, scheme = "light", permissions = [], first = () => {} } = {},
) {
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme: scheme,
    reducedMotion: "reduce",
    locale: "en-GB",
    permissions,
  });
  const page = Object.assign(await context.newPage(), { wrong: /** @type {string[]} */ ([]) });
  page.on("pageerror", (error) => page.wrong.push(`threw ${error.message}`));
  page.on("console", (message) => {
    const text = message.text();
    // An answer that is an error is a part of the flow; what the policy forbids is not.
    if (message.type() === "error" && !text.startsWith("Failed to load resource")) page.wrong.push(text);
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(running.url)) page.wrong.push(`asked for ${request.url()}`);
  });
  await page.addInitScript(() => {
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (event) =>
      window.violations.push(`${event.violatedDirective} ${event.blockedURI}`),
    );
  });
  await page.addInitScript(first);
  await page.goto(`${running.url}${path}`);
  page.setDefaultTimeout(20_000);
  return page;
}

/** @param {Watched} page */
export async function close(page) {
  const violations = await page.evaluate(() => window.violations);
  assert.deepEqual([...page.wrong, ...violations], [], "the page does what it may not, or fails");
  await page.context().close();
}

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/**
 * No finding of the checker that is serious or critical.
 * @param {Page} page
 * @param {string} where
 */
export async function accessible(page, where) {
  // The policy forbids scripts from elsewhere; a test's own goes around it.
  const found = await page
    .evaluate(async (source) => {
      if (!window.axe) (0, eval)(source);
      // Its text has made it.
      const checker = /** @type {typeof import("axe-core")} */ (window.axe);
      const result = await checker.run(document, { resultTypes: ["violations"] });
      return result.violations
        .filter((one) => ["serious", "critical"].includes(one.impact ?? ""))
        .map(
          (one) =>
            `${one.id}: ${one.nodes
              .map((node) => `${node.html.slice(0, 120)} ${node.failureSummary?.split("\n")[1] ?? ""}`)
              .slice(0, 3)
              .join(" | ")}`,
        );
    }, axe)
    .catch(async () => {
      throw new Error("the checker could not run");
    });
  assert.deepEqual(found, [], `${where}: what a reader cannot use`);
}
