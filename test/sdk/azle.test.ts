// A TypeScript canister through npm azle: deployed, asked, upgraded, and what a program with mistakes is
// told. Skipped by name where azle is not installed: run `npm ci --ignore-scripts` in test/azle.

import { equal, match, ok } from "node:assert/strict";
import { existsSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { compileFile } from "gyrotron/node";
import { runCli, startNode, temporaryFolder } from "../e2e/running-node.ts";

const PACKAGES = resolve(import.meta.dirname, "../azle/node_modules");
const EXAMPLE = resolve(import.meta.dirname, "../../examples/azle-chat/index.ts");
const NOT_INSTALLED = "run `npm ci --ignore-scripts` in test/azle to test Azle";
const skip = existsSync(join(PACKAGES, "azle")) ? false : NOT_INSTALLED;
const WAIT_MS_MAX = 30_000;

/** A project folder with azle, and a program in it. */
function project(text: string): string {
  const folder = temporaryFolder();
  symlinkSync(PACKAGES, join(folder, "node_modules"));
  const file = join(folder, "chat.ts");
  writeFileSync(file, text);
  return file;
}

test(
  "the example: deployed in chunks, asks the model, timers, memory kept over an upgrade",
  { skip },
  async (context) => {
    const data = temporaryFolder();
    const node = await startNode(data);
    context.after(() => node.stop());
    const flags = ["--port", String(node.port), "--data", data];
    const run = async (...args: string[]): Promise<string> => {
      const { status, stdout, stderr } = await runCli([...args, ...flags]);
      equal(status, 0, `${args.join(" ")}: ${stderr}`);
      return stdout;
    };
    const call = (...args: string[]): Promise<string> => run("canister", "call", "chat", ...args);
    const text = readFileSync(EXAMPLE, "utf8");
    const file = project(text);
    match(await run("deploy", file), /^chat installed as [a-z0-9-]+ \(\d{4} KiB/);
    const answer = await call("ask", '("The Fox and the Crow")');
    ok(answer.length > 100, answer);
    match(await call("history"), /question = "The Fox and the Crow";\s+text = "/);
    await call("remind", '("to stop", 1 : nat32)');
    await until(async () => (await call("reminded")) === '(vec { "to stop" })\n');
    match(await run("deploy", file), /^chat unchanged/);
    writeFileSync(file, text.replace("history()", "past()"));
    match(await run("deploy", file), /^chat upgraded/);
    match(await call("past"), /question = "The Fox and the Crow"/);
    equal(await call("reminded"), "(vec {})\n");
  },
);

test("a program that is not a canister is refused with azle's message", { skip }, async () => {
  const { info } = await compileFile(project("export const nothing = 1;\n")).then(
    () => ({ info: undefined }),
    (error: { info: { code: string; message?: string } }) => error,
  );
  equal(info?.code, "compiler/refused");
  match(info.message ?? "", /A class or an array of classes must be the default export/);
});

test("a project without azle is told how to install it", async () => {
  const file = join(temporaryFolder(), "index.ts");
  writeFileSync(file, "export default class {}\n");
  const { info } = await compileFile(file).then(
    () => ({ info: undefined }),
    (error: { info: { code: string; install?: string } }) => error,
  );
  equal(info?.code, "compiler/not-installed");
  match(info.install ?? "", /^npm install --ignore-scripts azle@\d/);
});

async function until(holds: () => Promise<boolean>): Promise<void> {
  const startedMs = performance.now();
  while (!(await holds())) {
    ok(performance.now() - startedMs < WAIT_MS_MAX, "the timer did not fire");
    await wait(200);
  }
}
