// Goal: people can use the Candid page in a browser. Method: headless Chromium opens the page of a
// canister on a real node, fills in forms, presses buttons and reads what the page shows. Skipped by name
// where Chromium is not installed.

import assert from "node:assert/strict";
import { resolve } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { HttpAgent } from "@icp-sdk/core/agent";
import { IDL } from "@icp-sdk/core/candid";
import { Principal } from "@icp-sdk/core/principal";
import { compileFile } from "gyrotron/node";
import {
  CHROMIUM,
  NO_CHROMIUM,
  PLAYWRIGHT,
  SWIFTSHADER_ICD,
  vulkanEnvironment,
} from "../gpu/hosts-fixture.ts";
import { startNode, temporaryFolder } from "./running-node.ts";

const SECONDS_MAX = 60;

/** As much of Playwright as is used here. */
interface Locator {
  locator(selector: string): Locator;
  fill(text: string): Promise<void>;
  click(): Promise<void>;
  textContent(): Promise<string | null>;
  getAttribute(name: string): Promise<string | null>;
  waitFor(options: { timeout: number }): Promise<void>;
}
interface Page extends Locator {
  goto(url: string): Promise<unknown>;
  title(): Promise<string>;
  on(event: "pageerror" | "request", listener: (what: { url?(): string }) => void): void;
}
interface Browser {
  newPage(): Promise<Page>;
  close(): Promise<void>;
}

async function openBrowser(): Promise<Browser> {
  const { chromium } = (await import(pathToFileURL(PLAYWRIGHT).href)) as {
    chromium: { launch(options: object): Promise<Browser> };
  };
  return chromium.launch({
    executablePath: CHROMIUM,
    args: ["--no-sandbox"],
    env: { ...process.env, ...vulkanEnvironment(SWIFTSHADER_ICD) },
  });
}

/** Presses the button of a method's form and waits for what the page says. */
async function submit(form: Locator): Promise<{ state: string | null; text: string }> {
  await form.locator("button").click();
  const output = form.locator("output:not([data-state=''])");
  await output.waitFor({ timeout: SECONDS_MAX * 1000 });
  return {
    state: await output.getAttribute("data-state"),
    text: (await output.textContent()) ?? "",
  };
}

test("the Candid page works in a browser", { skip: NO_CHROMIUM ?? false }, async () => {
  const source = resolve(import.meta.dirname, "site/main.mo");
  const [node, module, browser] = await Promise.all([
    startNode(temporaryFolder()),
    compileFile(source),
    openBrowser(),
  ]);
  try {
    const agent = await HttpAgent.create({ host: node.url, shouldFetchRootKey: true });
    const manage = async (method: string, type: IDL.Type, value: object): Promise<Uint8Array> => {
      const { canister_id = Principal.managementCanister() } = value as { canister_id?: Principal };
      const arg = IDL.encode([type], [value]);
      const call = { methodName: method, arg, effectiveCanisterId: canister_id };
      return (await agent.update(Principal.managementCanister(), call)).reply;
    };
    const CREATE = IDL.Record({ amount: IDL.Opt(IDL.Nat) });
    const created = await manage("provisional_create_canister_with_cycles", CREATE, { amount: [] });
    const [{ canister_id }] = IDL.decode(
      [IDL.Record({ canister_id: IDL.Principal })],
      created,
    ) as unknown as [{ canister_id: Principal }];
    const blob = IDL.Vec(IDL.Nat8);
    const INSTALL = IDL.Record({
      mode: IDL.Variant({ install: IDL.Null }),
      canister_id: IDL.Principal,
      wasm_module: blob,
      arg: blob,
    });
    await manage("install_code", INSTALL, {
      mode: { install: null },
      canister_id,
      wasm_module: module.wasm,
      arg: IDL.encode([], []),
    });

    const page = await browser.newPage();
    const problems: unknown[] = [];
    const elsewhere: string[] = [];
    page.on("pageerror", (error) => problems.push(error));
    page.on("request", (request) => {
      const url = request.url?.() ?? "";
      if (!url.startsWith(node.url)) elsewhere.push(url);
    });
    // The overview leads to the canister.
    await page.goto(`${node.url}/_/candid`);
    await page.locator("input[name=canisterId]").fill(canister_id.toText());
    await page.locator("button").click();
    await page
      .locator(`body[data-canister='${canister_id.toText()}']`)
      .waitFor({ timeout: SECONDS_MAX * 1000 });
    assert.equal(await page.title(), canister_id.toText());

    // A query, with text that needs quoting.
    const greet = page.locator("form[data-method=greet]");
    await greet.locator("textarea").fill('a "b" \\ ü\n');
    await greet.locator("input").fill("1");
    const greeting = await submit(greet);
    assert.equal(greeting.state, "good", greeting.text);
    assert.match(greeting.text, /^\("hello a \\"b\\" \\\\ ü\\n; "\)\n\n\d+ ms$/);

    // An update changes the state, once for each press.
    const add = page.locator("form[data-method=add]");
    const totals: number[] = [];
    for (const amount of ["40", "2"]) {
      await add.locator("input").fill(amount);
      const added = await submit(add);
      assert.equal(added.state, "good", added.text);
      totals.push(Number(/total = (\d+) : int/.exec(added.text)?.[1]));
    }
    assert.equal(totals[1]! - totals[0]!, 2);

    // A trap is shown as what it is.
    await add.locator("input").fill("-1000");
    const trapped = await submit(add);
    assert.equal(trapped.state, "bad");
    assert.match(trapped.text, /^rejected \(IC0503\): .*less than nothing/);
    assert.deepEqual(problems, []);
    assert.deepEqual(elsewhere, [], "nothing is loaded from elsewhere");
  } finally {
    await Promise.allSettled([browser.close(), node.stop()]);
  }
});
