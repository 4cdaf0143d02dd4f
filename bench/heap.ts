// Measures what a large heap costs: 1 KiB written in a warm canister of 1 GiB, and the first message to
// one that was never loaded. Executes, hashes and commits blocks of one call, as the execution thread
// does, without the door and the certificate.
//
//   node --conditions=source bench/heap.ts [--mib 1024] [--state FOLDER] [--keep]
//
// With --state a folder that was filled before is measured again: filling takes most of the time.

import { deepEqual } from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { assert, decodeWith, present } from "gyrotron/base";
import { ANONYMOUS_PRINCIPAL, canisterIdFromU64, encodeSelfDescribedCbor } from "gyrotron/crypto";
import { nodeKeysFromEntropy, openLmdbStore } from "gyrotron/node";
import { decodeEnvelope, ingressCodec, ingressKey } from "gyrotron/replica";
import type { Store } from "gyrotron/store";
import { configOf } from "../src/node/keys.ts";
import { createNodeReplica } from "../src/node/replica-factory.ts";
import { bootStateMachine, type StateMachine } from "../src/node/state-machine.ts";
import { temporaryFolder } from "../test/e2e/running-node.ts";
import {
  createCall,
  createdId,
  fillCalls,
  FIRST_BYTE,
  installCall,
  type PagesCall,
  pagesModule,
  touchCall,
} from "./pages-canister.ts";
import { appendResult, describeRun, percentile } from "./record.ts";

const TOUCHES = 200;
/** Between two touched places: each lies in another chunk. */
const STEP_BYTES = 1_000_003 & ~7;
const NS_PER_MS = 1_000_000n;

/** One state machine in this thread: a call is a block. */
class Chain {
  readonly #store: Store;
  readonly #machine: StateMachine;
  readonly #proposer: Uint8Array;
  #height: bigint;

  private constructor(store: Store, machine: StateMachine, proposer: Uint8Array) {
    this.#store = store;
    this.#machine = machine;
    this.#proposer = proposer;
    this.#height = machine.booted.header.height;
  }

  static async open(path: string): Promise<Chain> {
    const store = openLmdbStore(path);
    const keys = nodeKeysFromEntropy(new Uint8Array(80).fill(7));
    const genesis = { config: configOf(keys, {}), timeNs: nowNs() };
    const machine = bootStateMachine(await createNodeReplica(true), store, genesis);
    return new Chain(store, machine, keys.nodeId);
  }

  /** Whether nothing has been done on it yet. */
  get isNew(): boolean {
    return this.#height === 0n;
  }

  /** Executes and commits the call in a block of its own; the time that took in ms, and the reply. */
  call({ canisterId, methodName, argument }: PagesCall): { ms: number; reply: Uint8Array } {
    const timeNs = nowNs();
    const envelope = encodeSelfDescribedCbor({
      content: {
        request_type: "call",
        canister_id: canisterId,
        method_name: methodName,
        arg: argument,
        sender: ANONYMOUS_PRINCIPAL,
        ingress_expiry: timeNs + 240_000n * NS_PER_MS,
        nonce: new Uint8Array(randomBytes(16)),
      },
    });
    const decoded = decodeEnvelope(envelope, "call");
    assert(decoded.ok, "an envelope of our own is well-formed");
    const block = {
      height: ++this.#height,
      timeNs,
      randomness: new Uint8Array(randomBytes(32)),
      proposer: this.#proposer,
      transactions: [envelope],
    };
    const startedMs = performance.now();
    this.#machine.execute(block);
    const ms = performance.now() - startedMs;
    const record = present(this.#store.view.get(ingressKey(decoded.requestId)));
    const { status } = decodeWith(ingressCodec, record);
    assert(status?.kind === "replied", `${methodName}: ${status?.kind}`);
    return { ms, reply: status.reply };
  }

  close(): Promise<void> {
    return this.#store.close();
  }
}

const { values: flags } = parseArgs({
  options: {
    mib: { type: "string", default: "1024" },
    state: { type: "string" },
    keep: { type: "boolean" },
  },
});
const heapBytes = Number(flags.mib) * 1024 * 1024;
const run = describeRun();
const path = join(flags.state ?? temporaryFolder(), "state");
/** The first that users make. */
const canisterId = canisterIdFromU64(2n ** 63n);

await fill();
const startedMs = performance.now();
const chain = await Chain.open(path);
const openMs = performance.now() - startedMs;
const [cold, ...touchMs] = addresses(TOUCHES).map((at) => chain.call(touchCall(canisterId, at)).ms);
await chain.close();

const sorted = touchMs.toSorted((a, b) => a - b);
const result = {
  ...run,
  heapMiB: heapBytes / 1024 / 1024,
  openMs: Math.round(openMs),
  coldMessageMs: Math.round(present(cold)),
  warmMessageMs: { p50: percentile(sorted, 0.5), p95: percentile(sorted, 0.95) },
};
process.stdout.write(`${JSON.stringify(result, undefined, 2)}\n`);
if (flags.keep === true) appendResult("heap", result);

/** Makes the canister, unless it is there. */
async function fill(): Promise<void> {
  const chain = await Chain.open(path);
  if (chain.isNew) {
    deepEqual(createdId(chain.call(createCall()).reply), canisterId);
    chain.call(installCall(canisterId, await pagesModule()));
    for (const call of fillCalls(canisterId, heapBytes)) chain.call(call);
  }
  await chain.close();
}

function addresses(count: number): number[] {
  return Array.from(
    { length: count },
    (_, index) => FIRST_BYTE + ((index * STEP_BYTES) % (heapBytes - STEP_BYTES)),
  );
}

function nowNs(): bigint {
  return BigInt(Date.now()) * NS_PER_MS;
}
