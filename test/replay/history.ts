// A history worth replaying: two canisters, one of them Motoko's, with calls, traps, queries in
// between, a timer, an upgrade and a stop. Made on an inline node with the real replica.

import assert from "node:assert/strict";
import { join } from "node:path";
import { encodeCandid, IDL, toIdlPrincipal } from "gyrotron/candid";
import { MANAGEMENT_CANISTER } from "gyrotron/crypto";
import {
  blockLogOf,
  compileFile,
  createInlineNode,
  type NodeCore,
  nodeKeysFromEntropy,
} from "gyrotron/node";
import { createReplica } from "gyrotron/replica";
import { createMemoryStore } from "gyrotron/store";
import {
  callEnvelope,
  certifiedReply,
  counterWasm,
  install,
  requestOf,
} from "../crash/canister-client.ts";
import { ManualHost, settle } from "../crash/manual-host.ts";

const COUNTER_SOURCE = join(import.meta.dirname, "../../examples/counter/main.mo");

/** A recorded history: the block log, and the root after each entry. */
export interface History {
  entries: Uint8Array[];
  roots: string[];
  /** The last value of the Motoko counter. */
  count: bigint;
}

/** Lives through the history once. */
export async function recordHistory(): Promise<History> {
  const store = createMemoryStore();
  const host = new ManualHost();
  const keys = nodeKeysFromEntropy(new Uint8Array(80).fill(3));
  const node = createInlineNode({
    keys,
    host,
    createReplica: (replicated) => createReplica({ replicated }),
    store,
  });
  const roots = [node.status().stateRoot.toHex()];
  node.onBlock(({ stateRoot }) => roots.push(stateRoot.toHex()));
  await settle();
  const count = await live(node, host);
  await node.close();
  return { entries: [...blockLogOf(store)], roots, count };
}

async function live(node: NodeCore, host: ManualHost): Promise<bigint> {
  const client = {
    submit: (envelope: Uint8Array) => node.submitCall(requestOf(envelope)),
    async call(
      id: Uint8Array,
      method: string,
      ...args: [] | [IDL.Type, unknown]
    ): Promise<Uint8Array | undefined> {
      const [type, value] = args;
      const argument = encodeCandid(
        type === undefined ? [] : [type],
        type === undefined ? [] : [value],
      );
      const envelope = callEnvelope(id, method, argument, host.nowNs());
      const outcome = await client.submit(envelope);
      try {
        return certifiedReply(outcome, requestOf(envelope).content.requestId);
      } catch {
        return undefined;
      }
    },
  };
  const { wasm } = await compileFile(COUNTER_SOURCE);
  const plain = await install(client, await counterWasm(), host.nowNs());
  const motoko = await install(client, wasm, host.nowNs());
  await client.call(plain, "increment");
  await Promise.all(Array.from({ length: 5 }, () => client.call(motoko, "increment")));
  await client.call(motoko, "greet", IDL.Text, "Ada");
  assert.equal(await client.call(motoko, "fail"), undefined, "the trap is a reject");
  // A query in between leaves no trace, or the replay would differ.
  await node.query(
    requestOf(callEnvelope(motoko, "get", encodeCandid([], []), host.nowNs())).content,
  );
  await client.call(motoko, "later", IDL.Nat, 3n);
  for (let second = 0; second < 5; second++) {
    host.pass(1);
    await settle();
  }
  await client.call(MANAGEMENT_CANISTER, "stop_canister", ONLY_ID, {
    canister_id: toIdlPrincipal(motoko),
  });
  await client.call(MANAGEMENT_CANISTER, "install_code", UPGRADE, {
    mode: { upgrade: [{ skip_pre_upgrade: [], wasm_memory_persistence: [{ keep: null }] }] },
    canister_id: toIdlPrincipal(motoko),
    wasm_module: wasm,
    arg: encodeCandid([], []),
  });
  await client.call(MANAGEMENT_CANISTER, "start_canister", ONLY_ID, {
    canister_id: toIdlPrincipal(motoko),
  });
  await client.call(plain, "increment");
  const last = await client.call(motoko, "increment");
  assert.ok(last, "the upgraded canister runs");
  return BigInt(last.at(-1)!);
}

const ONLY_ID = IDL.Record({ canister_id: IDL.Principal });
const KEEP = IDL.Variant({ keep: IDL.Null, replace: IDL.Null });
const UPGRADE = IDL.Record({
  mode: IDL.Variant({
    upgrade: IDL.Opt(
      IDL.Record({ skip_pre_upgrade: IDL.Opt(IDL.Bool), wasm_memory_persistence: IDL.Opt(KEEP) }),
    ),
  }),
  canister_id: IDL.Principal,
  wasm_module: IDL.Vec(IDL.Nat8),
  arg: IDL.Vec(IDL.Nat8),
});
