// Measures install_code of large modules up to the reply, on a node that has just started: nothing
// is compiled, nothing is in a cache. The modules are Azle's: its larger template as npm ships it,
// and the example in its smaller one, whose init runs a JavaScript engine.
//
//   (cd test/azle && npm ci --ignore-scripts)
//   node --conditions=source bench/install.ts [runs] [--only template|example] [--keep]

import { createHash } from "node:crypto";
import { copyFileSync, readFileSync, symlinkSync } from "node:fs";
import { join, resolve } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { HttpAgent } from "@icp-sdk/core/agent";
import { IDL } from "@icp-sdk/core/candid";
import { Ed25519KeyIdentity } from "@icp-sdk/core/identity";
import { Principal } from "@icp-sdk/core/principal";
import { assert, present } from "gyrotron/base";
import { compileFile } from "gyrotron/node";
import { type RunningNode, startNode, temporaryFolder } from "../test/e2e/running-node.ts";
import { appendResult, describeRun, percentile } from "./record.ts";
import { processorMs } from "./resident.ts";

interface Sample {
  readonly moduleBytes: number;
  /** From the request to its verified certificate, ms. */
  readonly installMs: number;
  /** Processor time of the node meanwhile, ms. */
  readonly processorMs: number;
  /** The first query after it, which another thread answers, ms. */
  readonly queryMs: number;
}

const ROOT = resolve(import.meta.dirname, "..");
const PACKAGES = join(ROOT, "test/azle/node_modules");
const TEMPLATE = join(PACKAGES, "azle/dist/canister_templates/experimental.wasm");
const EXAMPLE = join(ROOT, "examples/azle-chat/index.ts");
const MANAGEMENT = Principal.managementCanister();
const CHUNK_BYTES = 1_048_576;

const hash = IDL.Record({ hash: IDL.Vec(IDL.Nat8) });
const ARGUMENTS: Readonly<Record<string, IDL.Type>> = {
  provisional_create_canister_with_cycles: IDL.Record({ amount: IDL.Opt(IDL.Nat) }),
  upload_chunk: IDL.Record({ canister_id: IDL.Principal, chunk: IDL.Vec(IDL.Nat8) }),
  install_chunked_code: IDL.Record({
    mode: IDL.Variant({ install: IDL.Null }),
    target_canister: IDL.Principal,
    chunk_hashes_list: IDL.Vec(hash),
    wasm_module_hash: IDL.Vec(IDL.Nat8),
    arg: IDL.Vec(IDL.Nat8),
  }),
};

const { values: flags, positionals } = parseArgs({
  options: { keep: { type: "boolean" }, only: { type: "string" } },
  allowPositionals: true,
});
const runs = Number(positionals[0] ?? 3);
assert(Number.isSafeInteger(runs) && runs > 0, "the number of runs is a positive number");

const run = describeRun();
const modules = [
  {
    name: "template",
    read: () => Promise.resolve(readFileSync(TEMPLATE)),
    query: "_azle_actions_len",
  },
  { name: "example", read: compileExample, query: "history" },
];
const figures = [];
for (const { name, read, query } of modules) {
  if (flags.only !== undefined && flags.only !== name) continue;
  const wasm = await read();
  const samples: Sample[] = [];
  for (let index = 0; index < runs; index++) samples.push(await measure(wasm, query));
  const median = (field: keyof Sample): number => {
    const sorted = samples.map((sample) => sample[field]).toSorted((a, b) => a - b);
    return percentile(sorted, 0.5);
  };
  figures.push({
    module: name,
    moduleBytes: wasm.length,
    installMs: median("installMs"),
    processorMs: median("processorMs"),
    firstQueryMs: median("queryMs"),
    installMsOfRuns: samples.map(({ installMs }) => installMs),
  });
}
const result = { ...run, runs, figures };
process.stdout.write(`${JSON.stringify(result, undefined, 2)}\n`);
if (flags.keep === true) appendResult("install", result);

async function compileExample(): Promise<Uint8Array> {
  const folder = temporaryFolder();
  symlinkSync(PACKAGES, join(folder, "node_modules"));
  const file = join(folder, "index.ts");
  copyFileSync(EXAMPLE, file);
  const { wasm } = await compileFile(file);
  return wasm;
}

async function measure(wasm: Uint8Array, query: string): Promise<Sample> {
  const node = await startNode(temporaryFolder());
  try {
    return await measureOn(node, wasm, query);
  } finally {
    await node.stop();
  }
}

async function measureOn(node: RunningNode, wasm: Uint8Array, query: string): Promise<Sample> {
  const identity = Ed25519KeyIdentity.generate(new Uint8Array(32).fill(7));
  const agent = await HttpAgent.create({ host: node.url, shouldFetchRootKey: true, identity });
  const created = await manage(agent, "provisional_create_canister_with_cycles", { amount: [] });
  const [{ canister_id: canister }] = IDL.decode(
    [IDL.Record({ canister_id: IDL.Principal })],
    created,
  ) as unknown as [{ canister_id: Principal }];
  const hashes: unknown[] = [];
  for (let start = 0; start < wasm.length; start += CHUNK_BYTES) {
    const chunk = wasm.subarray(start, start + CHUNK_BYTES);
    const reply = await manage(agent, "upload_chunk", { canister_id: canister, chunk }, canister);
    hashes.push(IDL.decode([hash], reply)[0]);
  }
  const installation = {
    mode: { install: null },
    target_canister: canister,
    chunk_hashes_list: hashes,
    wasm_module_hash: createHash("sha256").update(wasm).digest(),
    arg: IDL.encode([], []),
  };
  const pid = present(node.child.pid);
  const processorBeforeMs = processorMs(pid) ?? 0;
  const startedMs = performance.now();
  await manage(agent, "install_chunked_code", installation, canister);
  const installMs = performance.now() - startedMs;
  const installProcessorMs = (processorMs(pid) ?? 0) - processorBeforeMs;
  const askedMs = performance.now();
  const arg = IDL.encode([], []);
  // What it answers does not matter: the template without a program traps.
  await agent.query(canister, { methodName: query, arg });
  const queryMs = performance.now() - askedMs;
  return {
    moduleBytes: wasm.length,
    installMs: Math.round(installMs),
    processorMs: installProcessorMs,
    queryMs: Math.round(queryMs),
  };
}

async function manage(
  agent: HttpAgent,
  method: string,
  argument: object,
  effectiveCanister: Principal = MANAGEMENT,
): Promise<Uint8Array> {
  const arg = IDL.encode([present(ARGUMENTS[method])], [argument]);
  const effectiveTarget = { canisterId: effectiveCanister };
  const { reply } = await agent.update(MANAGEMENT, { methodName: method, arg, effectiveTarget });
  return reply;
}
