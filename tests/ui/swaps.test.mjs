// The main model on the page: what serves, another one, holds, approvals, failures, and what is kept of them. In a real browser
// against the demo, as somebody would do it who has read nothing.

import assert from "node:assert/strict";
import { test } from "node:test";
import { close, open, pressing, until } from "./cluster.mjs";
import { base, browser, card, demo, dialog, put, serves, slot } from "./demo.mjs";

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
  await preview
    .getByText(/stop and remove/)
    .first()
    .waitFor();
  await preview.getByText(/waits until memory is back/).waitFor();
  await preview.getByRole("columnheader", { name: "Stays free" }).waitFor();
  await preview.getByText(/Nothing serves/).waitFor();
  await preview.getByText("+model: large").waitFor();
  assert.match(demo.file, /^model: small/m, "a preview writes nothing");
  await preview.getByRole("button", { name: "Write it, and stop what serves" }).click();
  await page
    .getByText(/revision 2 is in force/)
    .first()
    .waitFor();
  await page.getByRole("link", { name: "Overview" }).click();
  await card(page).getByText("large loads").first().waitFor();
  await card(page)
    .getByText(/so far/)
    .waitFor();
  await card(page).getByText("Its log, live").click();
  await card(page).getByRole("log").getByText(/\w/).waitFor();
  await card(page)
    .getByText(/loading the weights|capturing graphs|compiling/)
    .first()
    .waitFor();
  await serves("large");
  await page.getByText("Everything is as the file says.").waitFor();
  assert.match(demo.file, /^model: large/m);
  assert.match(demo.file, /# What should be serving\. Try/, "comments stay");
  // A swap that an editor started looks the same.
  demo.file = demo.file.replace("model: large", "model: small");
  await card(page).getByText("What happens now").waitFor();
  await card(page).getByText("small loads").first().waitFor();
  // It was loaded before: how far it is, and how long it takes, by that.
  await card(page)
    .getByText(/\d+ %, .* so far; usually .*/)
    .waitFor();
  await page
    .getByRole("row", { name: /^vllm (model|state) .* (model|missing|stopped) / })
    .first()
    .waitFor();
  await serves("small");
  await page.getByText("Nothing differs.").waitFor();
  await page.getByRole("link", { name: "Models" }).click();
  await page
    .getByRole("row", { name: /^large/ })
    .getByRole("img")
    .waitFor();
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
  assert.equal(
    await page.evaluate(() => Boolean(document.activeElement?.closest("dialog"))),
    true,
    "focus is in the dialog",
  );
  // Who is quicker than the browser tells that a dialog closed gets the next one all the same.
  await page.evaluate(async () => {
    /** @type {HTMLElement} */ (document.querySelector("dialog[open] .quiet")).click();
    // Between two presses the page draws, and the browser has not told anything yet.
    await Promise.resolve();
    await Promise.resolve();
    const again = [...document.querySelectorAll("button")].find((button) => button.textContent === "Serve large");
    /** @type {HTMLElement} */ (again).click();
  });
  await dialog(page).getByText("Nothing is written yet.").waitFor();
  await page.keyboard.press("Escape");
  await dialog(page).waitFor({ state: "detached" });
  assert.match(await page.evaluate(() => document.activeElement?.textContent ?? ""), /Serve large/, "focus goes back");
  await page.keyboard.press("Enter");
  await dialog(page).getByText("Nothing is written yet.").waitFor();
  await press("Write it, and stop what serves");
  await page
    .getByText(/is in force/)
    .first()
    .waitFor();
  await serves("large");
  // Somebody else's edit in between is not lost.
  await page.getByRole("button", { name: "Serve small" }).click();
  await dialog(page).getByText("Nothing is written yet.").waitFor();
  await put(demo.file.replace("interval: 5s", "interval: 6s"));
  await dialog(page).getByRole("button", { name: "Write it, and stop what serves" }).click();
  await dialog(page)
    .getByText(/Somebody changed the file meanwhile \(.*interval/)
    .waitFor();
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
  await dialog(page)
    .getByText(/\+.*talk/)
    .first()
    .waitFor();
  await dialog(page).getByRole("button", { name: "Write it to the file" }).click();
  await card(page).getByText("kept by alice’s hold “talk”").waitFor();
  demo.file = demo.file.replace("model: small", "model: large");
  await card(page)
    .getByText(/a hold keeps it as it is.*Held: the hold talk of alice/)
    .first()
    .waitFor();
  await page.getByText("One thing is left as it is, as you asked.").waitFor();
  await card(page).getByRole("button", { name: "Release hold “talk”" }).click();
  await dialog(page)
    .getByText(/Nothing serves/)
    .waitFor();
  await dialog(page).getByRole("button", { name: "Write it, and stop what serves" }).click();
  await serves("large");
  await close(page);
});

test("everything is suspended, and resumed", async () => {
  const page = await open(browser, demo);
  await page.getByRole("button", { name: "Suspend everything" }).click();
  await dialog(page)
    .getByText(/looks on and does nothing/)
    .waitFor();
  await dialog(page).getByRole("button", { name: "Write it to the file" }).click();
  await page.getByText("Everything is suspended").waitFor();
  await page.getByRole("button", { name: "Resume" }).first().click();
  await dialog(page).getByRole("button", { name: "Write it to the file" }).click();
  await page.getByText("Everything is as the file says.").waitFor();
  await close(page);
});

test("a further slot gets another model, of those that run where it is", async () => {
  const more = "  mini: { repo: demo/mini, sparks: [spark2] }\n  micro: { repo: demo/micro, sparks: [spark2] }\n";
  const service =
    "  second: { kind: vllm, spark: spark2, port: 8890, container: second, model: mini, suspend: true }\n";
  await put(base.replace("models:\n", `models:\n${more}`).replace("services:\n", `services:\n${service}`));
  const page = await open(browser, demo);
  const second = page.getByRole("article", { name: "Model of second" });
  await second.getByRole("button", { name: "Choose another model" }).click();
  await dialog(page).getByText("Models of the catalog that run on spark2 alone:").waitFor();
  assert.deepEqual(
    await dialog(page)
      .getByRole("button", { name: /^Serve/ })
      .allInnerTexts(),
    ["Serve micro"],
  );
  await dialog(page).getByRole("button", { name: "Serve micro" }).click();
  await dialog(page)
    .getByText(/\+.*model: micro/)
    .waitFor();
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
  await put(
    demo.file.replace("reconcile: {", "reconcile: { on_edit: approve,").replace("model: small", "model: large"),
  );
  const page = await open(browser, demo);
  await card(page).getByRole("button", { name: "Look at the plan and approve" }).click();
  await dialog(page)
    .getByText(/needs your yes/)
    .first()
    .waitFor();
  await dialog(page).getByRole("button", { name: "Approve this plan" }).click();
  await page.getByText("Approved; it begins with the next look.").waitFor();
  await serves("large");
  await close(page);
});

test("what failed is shown, and tried again", async () => {
  const page = await open(browser, demo);
  demo.command("demo", "fault", "spark1", "load-fails", "60s");
  await put(demo.file.replace("model: small", "model: large"));
  await card(page)
    .getByText(/It failed/)
    .waitFor({ timeout: 90_000 });
  await card(page)
    .getByText(/takes over|tried again|failed too often|is loading|memory back/)
    .first()
    .waitFor();
  // Something else serves again by then, or nothing does.
  await card(page).getByRole("button", { name: "Try again" }).click();
  const stops = dialog(page).getByRole("button", { name: "Try again, and stop what serves" });
  await page.getByText("It is tried again.").or(stops).first().waitFor();
  if (await stops.isVisible()) await stops.click();
  await page.getByText("It is tried again.").waitFor();
  const { events } = await demo.api("/api/v1/history");
  assert.ok(
    events.some((event) => event.kind === "retry"),
    "it is in the history",
  );
  await put(demo.file.replace("model: large", "model: small"));
  await until("the fault is over", async () => (await slot()).sync === "InSync", 120_000);
  await close(page);
});

test("logs, live and saved", async () => {
  const page = await open(browser, demo, { path: "/#/logs/vllm" });
  await page.getByRole("log", { name: "Log of vllm" }).getByText(/\w/).waitFor();
  await page.getByLabel("Show").selectOption("saved");
  await page
    .getByRole("heading", { name: /vllm-.*log/ })
    .first()
    .waitFor();
  await page.getByRole("combobox", { name: /^Log of/ }).selectOption("kokoro");
  await page
    .getByText("Nothing is saved.")
    .or(page.getByRole("heading", { name: /^kokoro-.*log/ }))
    .first()
    .waitFor();
  await close(page);
});

test("history with differences, and back to a revision", async () => {
  await put(`${base}# a note\n`);
  await put(base);
  const page = await open(browser, demo, { path: "/#/history" });
  await page.getByLabel("Show only lines with").fill("in force");
  await page
    .getByRole("cell", { name: /revision \d+ is in force/ })
    .first()
    .waitFor();
  const first = page.getByRole("listitem").filter({ hasText: /Revision \d+ / });
  await first.first().getByText("What changed").click();
  await first.first().getByText(/[+-]/).first().waitFor();
  await first.nth(1).getByRole("button", { name: "Make the file this again" }).click();
  await dialog(page).getByRole("heading", { name: "Change of the file" }).waitFor();
  await dialog(page).getByRole("button", { name: "Write it to the file" }).click();
  await page.getByText(/Written: revision/).waitFor();
  assert.ok(demo.file.endsWith("# a note\n"));
  await close(page);
});
