// Everything else on the page: the catalog, services, bots, the file, access, and what is said when a Spark or the stream is silent. In
// a real browser against the demo, as somebody would do it who has read nothing.

import assert from "node:assert/strict";
import { test } from "node:test";
import { accessible, close, open, until } from "./cluster.mjs";
import { base, browser, card, demo, dialog, put, serves } from "./demo.mjs";

test("it is small", async () => {
  const page = await open(browser, demo);
  await card(page).waitFor();
  const kib = await page.evaluate(() => {
    const entries = performance.getEntriesByType("resource").concat(performance.getEntriesByType("navigation"));
    const loads = /** @type {PerformanceResourceTiming[]} */ (entries);
    return loads.reduce((sum, one) => sum + one.transferSize, 0) / 1024;
  });
  assert.ok(kib > 20 && kib < 150, `${kib} KiB`);
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

test("a service that waits for a yes is agreed to on its tile", async () => {
  await put(
    base
      .replace("reconcile: {", "reconcile: { on_edit: approve,")
      .replace("container: kokoro-tts, state: running", "container: kokoro-tts, state: stopped"),
  );
  const page = await open(browser, demo);
  const tile = page.getByRole("article", { name: "kokoro" });
  await page.getByText("One change waits for your approval. kokoro").waitFor();
  await tile.getByRole("button", { name: "Look at the plan and approve" }).click();
  await dialog(page)
    .getByText(/Nothing serves until it is started again/)
    .waitFor();
  await dialog(page).getByRole("button", { name: "Approve this plan" }).click();
  await tile.getByText(/stopped → stopped/).waitFor();
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
  // At its field, in the form itself.
  await dialog(page).getByRole("alert").getByText(/repo/).waitFor();
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
  assert.equal(await text.getAttribute("spellcheck"), "false", "names of the file are no words of a language");
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

test("a file that is broken is mended in the page, and what is typed stays", async () => {
  const before = demo.file;
  demo.file = `${before}\nmodels: [\n`;
  const page = await open(browser, demo, { path: "/#/file" });
  let reads = 0;
  page.on("request", (request) => {
    if (request.method() === "GET" && request.url().endsWith("/api/v1/desired")) reads += 1;
  });
  const text = page.getByRole("textbox", { name: /Text of/ });
  await page.getByText("This is what the file holds.").waitFor();
  await text.fill(`${before}# mended\n`);
  await page.getByText("This is valid.").waitFor();
  await page.waitForTimeout(3000);
  assert.equal(await text.inputValue(), `${before}# mended\n`);
  assert.ok(reads <= 3, `read ${reads} times`);
  await page.getByRole("button", { name: "Look at what would happen" }).click();
  await dialog(page).getByRole("button", { name: "Write it to the file" }).click();
  await page.getByText("This is what the file holds.").waitFor();
  assert.match(demo.file, /# mended/);
  await put(before);
  await close(page);
});

test("services are kept running, stopped and suspended by edits", async () => {
  const page = await open(browser, demo);
  const tile = page.getByRole("article", { name: "kokoro" });
  await tile.getByRole("button", { name: "Stop" }).click();
  await dialog(page)
    .getByText(/Nothing serves until it is started again\..*in flight/)
    .waitFor();
  await dialog(page)
    .getByRole("button", { name: /Write it/ })
    .click();
  await tile.getByText(/stopped → stopped/).waitFor();
  await tile.getByRole("button", { name: "Start", exact: true }).click();
  await dialog(page)
    .getByRole("button", { name: /Write it/ })
    .click();
  await tile.getByText(/running → up/).waitFor();
  // A disabled one is not shown at all.
  await put(`${base}\ndisabled_services: [qdrant]\n`);
  await page.getByRole("article", { name: "qdrant" }).waitFor({ state: "detached" });
  assert.equal(
    (await demo.api("/api/v1/status")).objects.some((object) => object.object === "qdrant"),
    false,
  );
  await put(base);
  await page.getByRole("article", { name: "qdrant" }).waitFor();
  await close(page);
});

test("a bot is restarted and brought to its branch, with its log", async () => {
  const page = await open(browser, demo);
  const tile = page.getByRole("article", { name: "helper" });
  await tile.getByRole("button", { name: "Restart" }).click();
  await dialog(page)
    .getByText(/stop helper/)
    .waitFor();
  await dialog(page).getByText("Nothing serves while it stops and starts.").waitFor();
  await dialog(page).getByRole("button", { name: "Write it, and stop what serves" }).click();
  await until("the restart", async () =>
    (await demo.api("/api/v1/history")).events.some((event) => /start `helper`/.test(event.message)),
  );
  await tile.getByRole("button", { name: "Update" }).click();
  await dialog(page)
    .getByText(/as helper on spark2: bring helper to main, build it, and recreate helper/)
    .waitFor();
  await dialog(page)
    .getByRole("button", { name: /^Write it/ })
    .click();
  await tile.getByText(/Updating: job/).waitFor();
  await tile.getByText("Log of the update").click();
  await tile.getByRole("log").getByText("== building").waitFor();
  await page
    .getByText(/update: main is at 1c0ffee/)
    .first()
    .waitFor();
  // One that fails says why, and is tried again.
  demo.command("demo", "fault", "spark2", "transfer-fails", "1s");
  await tile.getByRole("button", { name: "Update" }).click();
  await dialog(page)
    .getByRole("button", { name: /^Write it/ })
    .click();
  await tile.getByText(/Stalled: .*Permission denied/).waitFor({ timeout: 30_000 });
  await tile.getByRole("button", { name: "Try again" }).click();
  await dialog(page).getByText("Nothing serves while it is made anew, after it is built.").waitFor();
  await dialog(page).getByRole("button", { name: "Try again, and stop what serves" }).click();
  await tile.getByText(/Updating: job/).waitFor();
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

test("times: the schedule as a picture, and when each endpoint was up", async () => {
  await put(
    `${demo.file}\nschedule:\n  nights: { days: [mon, tue, wed, thu, fri, sat, sun], from: "00:00", to: "23:59", timezone: UTC, model: small }\n`,
  );
  const page = await open(browser, demo, { path: "/#/times" });
  await page
    .getByRole("img", { name: /nights: small/ })
    .nth(6)
    .waitFor();
  await page.getByRole("img", { name: /kokoro in the last day: .*up/ }).waitFor();
  await page.getByRole("link", { name: "Overview" }).click();
  await card(page).getByText("window “nights” is open until").waitFor();
  await put(demo.file.replace(/\nschedule:\n.*\n/, ""));
  await close(page);
});

test("a file that takes much out waits, and is agreed to", async () => {
  const page = await open(browser, demo);
  const before = demo.file;
  demo.file = before.replace(/services:\n( {2}.*\n)+/, "");
  await page.getByText("it waits for approval", { exact: false }).first().waitFor();
  // Put back, nothing of it is left; agreed to, it is in force.
  demo.file = before;
  await page.getByText("Everything is as the file says.").waitFor();
  demo.file = before.replace(/services:\n( {2}.*\n)+/, "");
  await page.getByRole("button", { name: "Look at what it takes out and approve" }).click();
  await dialog(page)
    .getByText(/^-services:$/m)
    .waitFor();
  await dialog(page)
    .getByText(/Nothing would be done on the Sparks/)
    .waitFor();
  await dialog(page).getByRole("button", { name: "Approve it" }).click();
  await page.getByText("The file names no services.").waitFor();
  await close(page);
});

test("a Spark that falls silent is said to be silent", async () => {
  const page = await open(browser, demo);
  demo.command("demo", "fault", "spark2", "silent", "15s");
  await page.getByText(/^spark2 cannot be looked at: /).waitFor({ timeout: 60_000 });
  await page
    .getByRole("listitem")
    .filter({ hasText: /spark2 cannot be looked at any more: / })
    .waitFor();
  await page
    .getByRole("article", { name: "spark2" })
    .getByText(/What follows is from/)
    .waitFor();
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
  const token = demo.command("--data", ".spark-control-demo", "token", "create", "reader", "--role", "read").trim();
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
  for (const [width, height] of [
    [390, 844],
    [1280, 900],
  ]) {
    for (const scheme of /** @type {const} */ (["light", "dark"])) {
      const page = await open(browser, demo, { width, height, scheme });
      for (const view of ["", "models", "times", "history", "logs/vllm", "file"]) {
        await page.goto(`${demo.url}/#/${view}`);
        await page.getByRole("main").getByRole("heading", { level: 2 }).first().waitFor();
        await page.waitForTimeout(300);
        const over = await page.evaluate(
          () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
        );
        assert.ok(over <= 0, `${view || "overview"} at ${width}: ${over} px wider than the screen`);
        await accessible(page, `${view || "overview"} at ${width}, ${scheme}`);
      }
      await page.goto(`${demo.url}/#/models`);
      const serve = page.getByRole("button", { name: "Serve large" });
      await serve.waitFor();
      const box = await serve.boundingBox();
      assert.ok(
        box && box.x >= 0 && box.x + box.width <= width,
        `"Serve" is off the screen at ${width}: ${JSON.stringify(box)}`,
      );
      await serve.click();
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
