// Measures a restart with much state: how long after its start a node answers, and how long the first
// messages to a small and to a large canister take. The state is made by the node itself, by calls.
//
//   node --conditions=source bench/restart.ts [--canisters 1000] [--data FOLDER] [--keep]
//
// With --data a folder that was made before is started again: making it takes most of the time. The
// operating system forgets what it holds of the file, so that the disk is read.

import { execFileSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { HttpAgent } from "@icp-sdk/core/agent";
import { Principal } from "@icp-sdk/core/principal";
import { assert, present } from "gyrotron/base";
import { canisterIdFromU64 } from "gyrotron/crypto";
import { callAnonymously, createNode, type NodeCore } from "gyrotron/node";
import { startNode, temporaryFolder } from "../test/e2e/running-node.ts";
import {
  createCall,
  fillCalls,
  FIRST_BYTE,
  installCall,
  type PagesCall,
  pagesModule,
  readCall,
  touchCall,
} from "./pages-canister.ts";
import { appendResult, describeRun } from "./record.ts";
import { processorMs, residentMiB } from "./resident.ts";

const MIB = 1024 * 1024;
/** Of the canisters, so many are large. */
const LARGE_COUNT = 3;
const LARGE_BYTES = 256 * MIB;
/** With 1,000 canisters: 2 GiB in all. */
const SMALL_BYTES = 21 * 65_536;
const CALLS_AT_A_TIME = 16;

const { values: flags } = parseArgs({
  options: {
    canisters: { type: "string", default: "1000" },
    data: { type: "string" },
    keep: { type: "boolean" },
  },
});
const count = Number(flags.canisters);
assert(Number.isSafeInteger(count) && count > LARGE_COUNT, "a number of canisters");
const folder = flags.data ?? temporaryFolder();
const ids = Array.from({ length: count }, (_, index) =>
  canisterIdFromU64(2n ** 63n + BigInt(index)),
);
const large = present(ids[0]);
const small = present(ids[count - 1]);

const run = describeRun();
if (!existsSync(join(folder, "format"))) await fill();
const dataFile = join(folder, "state", "data.mdb");
// Reading with this flag and nothing to read drops the pages of the file from the system's cache.
execFileSync("dd", [`if=${dataFile}`, "iflag=nocache", "count=0", "status=none"]);

const startedMs = performance.now();
const node = await startNode(folder);
try {
  const status = await fetch(`${node.url}/api/v2/status`);
  assert(status.status === 200, "the node answers");
  const readyMs = Math.round(performance.now() - startedMs);
  const pid = present(node.child.pid);
  const ready = { readyMs, processorMs: processorMs(pid), residentMiB: residentMiB(pid) };
  const agent = await HttpAgent.create({ host: node.url, shouldFetchRootKey: true });
  const result = {
    ...run,
    canisters: count,
    stateMiB: Math.round((LARGE_COUNT * LARGE_BYTES + (count - LARGE_COUNT) * SMALL_BYTES) / MIB),
    fileMiB: Math.round(statSync(dataFile).size / MIB),
    ...ready,
    firstQueryMs: await query(agent, small),
    nextSmallQueryMs: await query(agent, present(ids[count - 2])),
    largeQueryMs: await query(agent, large),
    smallCallMs: await call(agent, small),
    largeCallMs: await call(agent, large),
  };
  process.stdout.write(`${JSON.stringify(result, undefined, 2)}\n`);
  if (flags.keep === true) appendResult("restart", result);
} finally {
  await node.stop();
}

async function fill(): Promise<void> {
  const core = await createNode({ dataDir: folder, provisional: true });
  const module = await pagesModule();
  await callAll(core, ids.map(createCall));
  await callAll(
    core,
    ids.map((id) => installCall(id, module)),
  );
  await callAll(
    core,
    ids.slice(LARGE_COUNT).flatMap((id) => fillCalls(id, SMALL_BYTES)),
  );
  await callAll(
    core,
    ids.slice(0, LARGE_COUNT).flatMap((id) => fillCalls(id, LARGE_BYTES)),
  );
  await core.close();
}

/** Makes all calls, some at a time. */
async function callAll(core: NodeCore, calls: readonly PagesCall[]): Promise<void> {
  let next = 0;
  const work = async (): Promise<void> => {
    for (let call = calls[next++]; call !== undefined; call = calls[next++]) {
      const answer = await callAnonymously(core, call, () => true);
      assert(answer.kind === "replied", `${call.methodName}: ${answer.kind}`);
    }
  };
  await Promise.all(Array.from({ length: CALLS_AT_A_TIME }, work));
}

async function query(agent: HttpAgent, id: Uint8Array): Promise<number> {
  const { methodName, argument: arg } = readCall(id, FIRST_BYTE);
  const sentMs = performance.now();
  const answer = await agent.query(Principal.fromUint8Array(id), { methodName, arg });
  assert(answer.status === "replied", `the query was ${answer.status}`);
  return Math.round(performance.now() - sentMs);
}

async function call(agent: HttpAgent, id: Uint8Array): Promise<number> {
  const { methodName, argument: arg } = touchCall(id, FIRST_BYTE);
  const sentMs = performance.now();
  await agent.update(Principal.fromUint8Array(id), { methodName, arg });
  return Math.round(performance.now() - sentMs);
}
