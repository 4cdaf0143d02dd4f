// Measures the memory of an idle node: a fresh one, and one with the example canister after a few
// calls. Counts the launcher too.
//
//   node --conditions=source bench/memory.ts [--keep]

import { resolve } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { assert, present } from "gyrotron/base";
import { runCli, startNode, temporaryFolder } from "../test/e2e/running-node.ts";
import { appendResult, describeRun } from "./record.ts";
import { residentMiB } from "./resident.ts";

/** Time for start-up garbage to be collected. */
const SETTLE_MS = 5_000;
const COUNTER = resolve(import.meta.dirname, "../examples/counter/main.mo");

const { values: flags } = parseArgs({ options: { keep: { type: "boolean" } } });
const run = describeRun();
const folder = temporaryFolder();
const node = await startNode(folder);
try {
  const address = ["--port", String(node.port), "--data", folder];
  await sleep(SETTLE_MS);
  const fresh = residentMiB(present(node.child.pid));
  for (const args of [
    ["deploy", COUNTER],
    ["canister", "call", "counter", "increment"],
  ]) {
    const { status, stderr } = await runCli([...args, ...address]);
    assert(status === 0, stderr);
  }
  await sleep(SETTLE_MS);
  const used = residentMiB(present(node.child.pid));
  const result = { ...run, freshMiB: fresh, withCanisterMiB: used };
  process.stdout.write(`${JSON.stringify(result, undefined, 2)}\n`);
  if (flags.keep === true) appendResult("memory", result);
} finally {
  await node.stop();
}
