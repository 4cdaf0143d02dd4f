// Goal: nothing that a user or a canister can send breaks an invariant of the state machine: a broken
// one stops every node of the network at the same block.

import { deepEqual, equal, match, ok } from "node:assert/strict";
import { suite, test } from "node:test";
import { encodeCandid, IDL, toIdlPrincipal } from "gyrotron/candid";
import { canisterIdFromU64, MANAGEMENT_CANISTER } from "gyrotron/crypto";
import {
  createReplica,
  type IngressStatus,
  LLM_CANISTER_ID,
  publicInfoKey,
} from "gyrotron/replica";
import { asker, JobNetwork } from "./job-network.ts";
import { ONLY_ID, ReplicaHarness, wat } from "./harness.ts";

const rejection = (status: IngressStatus): string => {
  ok(status.kind === "rejected", `expected a reject, got ${status.kind}`);
  return `${status.errorCode} ${status.message}`;
};
const onlyId = (id: Uint8Array): { canister_id: unknown } => ({ canister_id: toIdlPrincipal(id) });

const EMPTY = wat("(module)");
const HEARTBEAT = wat('(module (func (export "canister_heartbeat")))');
const PROVISIONAL_CREATE = IDL.Record({
  amount: IDL.Opt(IDL.Nat),
  specified_id: IDL.Opt(IDL.Principal),
});
const TOP_UP = IDL.Record({ canister_id: IDL.Principal, amount: IDL.Nat });
const createAt = (network: ReplicaHarness, id: Uint8Array, amount = 10n ** 14n): IngressStatus =>
  network.manage("provisional_create_canister_with_cycles", PROVISIONAL_CREATE, {
    amount: [amount],
    specified_id: [toIdlPrincipal(id)],
  });

suite("cycles", () => {
  test("more cycles than a balance can hold are refused", () => {
    const network = new ReplicaHarness();
    for (const amount of [1n << 128n, 1n << 200n, (1n << 128n) - 1n]) {
      match(rejection(createAt(network, canisterIdFromU64(77n), amount)), /^IC0408 .*cycles/);
    }
    const id = network.install(EMPTY);
    const before = network.canister(id).cycles;
    const argument = { ...onlyId(id), amount: 1n << 128n };
    match(rejection(network.manage("provisional_top_up_canister", TOP_UP, argument)), /^IC0408/);
    ok(network.canister(id).cycles <= before);
  });
});

suite("tasks", () => {
  test("a heartbeat that is queued when an upgrade takes the heartbeat away is dropped", () => {
    const network = new ReplicaHarness();
    const id = network.install(HEARTBEAT);
    equal(network.installOn(id, EMPTY, { upgrade: [] }).kind, "replied");
    network.block();
    deepEqual(network.canister(id).status, "running");
  });

  test("a heartbeat that is queued when the canister is reinstalled is dropped", () => {
    const network = new ReplicaHarness();
    const id = network.install(HEARTBEAT);
    equal(network.installOn(id, EMPTY, { reinstall: null }).kind, "replied");
    network.block();
  });

  test("a deleted canister's heartbeat is forgotten", () => {
    const network = new ReplicaHarness();
    const id = network.install(HEARTBEAT);
    network.manage("stop_canister", ONLY_ID, onlyId(id));
    equal(network.manage("delete_canister", ONLY_ID, onlyId(id)).kind, "replied");
    equal(network.replica.wakeup(network.view), undefined);
  });
});

suite("code and memory", () => {
  test("a reinstalled canister leaves nothing of its old memory in the state", () => {
    const old = wat(`(module (memory 4) (data (i32.const 200000) "old")
      (func (export "canister_query get")))`);
    const small = wat(`(module
      (import "ic0" "msg_reply" (func $reply))
      (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
      (memory 1)
      (func (export "canister_update size") (i32.store (i32.const 0) (memory.size))
        (call $append (i32.const 0) (i32.const 4)) (call $reply)))`);
    const warm = new ReplicaHarness();
    const id = warm.install(old);
    equal(warm.installOn(id, small, { reinstall: null }).kind, "replied");
    const status = warm.replica.query(warm.view, warm.timeNs, warm.content(id, "size"));
    equal(status.kind, "rejected");
    const cold = createReplica();
    const block = {
      height: warm.height + 1n,
      timeNs: warm.timeNs + 1n,
      randomness: new Uint8Array(32),
      proposer: warm.proposer,
      transactions: [warm.envelope(id, "size", new Uint8Array())],
    };
    deepEqual(cold.execute(warm.view, block).writes, warm.replica.execute(warm.view, block).writes);
  });

  test("a callback after an upgrade to wasm64 costs at most what was set aside for it", () => {
    const body = (index: string): string => `(module
      (import "ic0" "msg_reply" (func $reply))
      (import "ic0" "canister_self_copy" (func $self (param ${index} ${index} ${index})))
      (import "ic0" "call_new" (func $new (param ${`${index} `.repeat(8)})))
      (import "ic0" "call_perform" (func $perform (result i32)))
      (memory ${index === "i64" ? "i64 " : ""}1100)
      (table funcref (elem $heavy))
      (data (${index}.const 100) "answer")
      (func $heavy (param ${index}) (local $i i32)
        (loop $again
          (memory.fill (${index}.const 0) (i32.const 0) (${index}.const 67108864))
          (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 320))))
        (call $reply))
      (func (export "canister_update go")
        (call $self (${index}.const 0) (${index}.const 0) (${index}.const 10))
        (call $new (${index}.const 0) (${index}.const 10) (${index}.const 100) (${index}.const 6)
          (${index}.const 0) (${index}.const 0) (${index}.const 0) (${index}.const 0))
        (drop (call $perform)))
      (func (export "canister_update answer") (call $reply)))`;
    const network = new ReplicaHarness();
    const id = network.install(wat(body("i32")), new Uint8Array(), 10n ** 15n);
    const upgrade = network.envelope(
      MANAGEMENT_CANISTER,
      "install_code",
      encodeCandid(
        [INSTALL_CODE],
        [{ mode: { upgrade: [] }, ...onlyId(id), wasm_module: wat(body("i64")), arg: [] }],
      ),
    );
    // The call is sent, then its target's code changes, then the answer arrives.
    const go = network.envelope(id, "go", new Uint8Array());
    network.settle(go, upgrade);
    equal(network.status(upgrade).kind, "replied");
    equal(network.status(go).kind, "replied");
    equal(network.canister(id).code?.keepsMainMemory, false);
  });
});

suite("keys", () => {
  test("a model with a long name is not looked for in the store, which refuses long keys", () => {
    const network = new JobNetwork(1);
    network.register();
    const id = network.install(asker(0n));
    const { view } = network;
    const get = view.get.bind(view);
    view.get = (key) => {
      ok(key.length <= 500, `a key of ${key.length} bytes`);
      return get(key);
    };
    const envelope = network.ask(id, "Hello", "m".repeat(9_000));
    match(rejection(network.status(envelope)), /^IC0406 Model 'mmm/);
  });
});

suite("deleted canisters", () => {
  test("a canister is not deleted while a job of a call that timed out is pending", () => {
    const network = new JobNetwork(1);
    network.register();
    const id = canisterIdFromU64(1_000n);
    equal(createAt(network, id).kind, "replied");
    network.installOn(id, impatientAsker(), { install: null });
    network.ask(id, "Hello");
    network.block();
    network.settle();
    network.settle();
    equal(network.pending().length, 1);
    equal(network.canister(id).openContexts, 0, "the call has timed out");
    network.manage("stop_canister", ONLY_ID, onlyId(id));
    const deleted = network.manage("delete_canister", ONLY_ID, onlyId(id));
    match(rejection(deleted), /^IC0203/);
    network.timeNs += 400n * 1_000_000_000n;
    network.settle();
    equal(network.pending().length, 0);
    equal(network.manage("delete_canister", ONLY_ID, onlyId(id)).kind, "replied");
  });

  test("the id of a deleted canister is never given again", () => {
    const network = new ReplicaHarness();
    const id = canisterIdFromU64(5n);
    equal(createAt(network, id).kind, "replied");
    network.manage("stop_canister", ONLY_ID, onlyId(id));
    equal(network.manage("delete_canister", ONLY_ID, onlyId(id)).kind, "replied");
    match(rejection(createAt(network, id)), /^IC0205/);
  });

  test("nobody can create a canister over the LLM canister", () => {
    const network = new ReplicaHarness();
    const before = network.view.get(publicInfoKey(LLM_CANISTER_ID));
    match(rejection(createAt(network, LLM_CANISTER_ID)), /^IC0205/);
    deepEqual(network.view.get(publicInfoKey(LLM_CANISTER_ID)), before);
  });
});

const INSTALL_CODE = IDL.Record({
  mode: IDL.Variant({ upgrade: IDL.Opt(IDL.Record({})) }),
  canister_id: IDL.Principal,
  wasm_module: IDL.Vec(IDL.Nat8),
  arg: IDL.Vec(IDL.Nat8),
});

/** Asks the LLM canister and waits one second for the answer. */
function impatientAsker(): Uint8Array {
  const callee = [...LLM_CANISTER_ID].map((byte) => `\\${byte.toString(16).padStart(2, "0")}`);
  return wat(`(module
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "msg_arg_data_copy" (func $arg (param i32 i32 i32)))
    (import "ic0" "msg_arg_data_size" (func $arg_size (result i32)))
    (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "ic0" "call_data_append" (func $data (param i32 i32)))
    (import "ic0" "call_with_best_effort_response" (func $best_effort (param i32)))
    (import "ic0" "call_perform" (func $perform (result i32)))
    (memory 2)
    (table funcref (elem $done))
    (data (i32.const 0) "${callee.join("")}")
    (data (i32.const 32) "v0_chat")
    (func $done (param i32) (call $reply))
    (func (export "canister_update ask")
      (call $arg (i32.const 1000) (i32.const 0) (call $arg_size))
      (call $new (i32.const 0) (i32.const ${LLM_CANISTER_ID.length}) (i32.const 32) (i32.const 7)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (call $data (i32.const 1000) (call $arg_size))
      (call $best_effort (i32.const 1))
      (drop (call $perform))))`);
}
