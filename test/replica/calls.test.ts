// Goal: calls between canisters keep the IC's promises: commit points, one answer, refunds, cleanup.
// Method: small text canisters on a replica without a node; the cycles of all holders are added up.

import { deepEqual, equal, match, ok } from "node:assert/strict";
import { suite, test } from "node:test";
import { utf8Bytes } from "gyrotron/base";
import { formatPrincipal } from "gyrotron/crypto";
import { ReplicaHarness, wat } from "./harness.ts";

/** Text of a canister that keeps a number and answers with its four bytes. */
const COUNTER = `(module
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "trap" (func $trap (param i32 i32)))
  (memory 1)
  (data (i32.const 100) "out of order")
  (func $answer (call $append (i32.const 0) (i32.const 4)) (call $reply))
  (func (export "canister_update inc")
    (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
    (call $answer))
  (func (export "canister_update inc_and_trap")
    (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
    (call $trap (i32.const 100) (i32.const 12)))
  (func (export "canister_update silent"))
  (func (export "canister_query read") (call $answer))
  (func (export "canister_query write")
    (i32.store (i32.const 0) (i32.const 77)) (call $answer)))`;

/** Text of a canister whose method \`go\` calls the canister whose 10-byte id is its argument. */
function caller(
  method: string,
  onReply: string,
  options: { cleanup?: string; cycles?: number } = {},
): Uint8Array {
  return wat(`(module
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
    (import "ic0" "msg_arg_data_copy" (func $arg (param i32 i32 i32)))
    (import "ic0" "msg_arg_data_size" (func $arg_size (result i32)))
    (import "ic0" "msg_reject_msg_size" (func $reject_size (result i32)))
    (import "ic0" "msg_reject_msg_copy" (func $reject_copy (param i32 i32 i32)))
    (import "ic0" "trap" (func $trap (param i32 i32)))
    (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "ic0" "call_on_cleanup" (func $on_cleanup (param i32 i32)))
    (import "ic0" "call_cycles_add" (func $cycles (param i64)))
    (import "ic0" "call_perform" (func $perform (result i32)))
    (memory 1)
    (table funcref (elem $on_reply $on_reject $cleanup))
    (data (i32.const 200) "${method}")
    (func $on_reply (param i32) ${onReply})
    (func $on_reject (param i32)
      (call $reject_copy (i32.const 1000) (i32.const 0) (call $reject_size))
      (call $append (i32.const 1000) (call $reject_size)) (call $reply))
    (func $cleanup (param i32) ${options.cleanup ?? ""})
    (func (export "canister_update go")
      (i32.store (i32.const 0) (i32.const 1))
      (call $arg (i32.const 300) (i32.const 0) (i32.const 10))
      (call $new (i32.const 300) (i32.const 10) (i32.const 200) (i32.const ${method.length})
        (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
      ${options.cleanup === undefined ? "" : "(call $on_cleanup (i32.const 2) (i32.const 0))"}
      ${options.cycles === undefined ? "" : `(call $cycles (i64.const ${options.cycles}))`}
      (drop (call $perform)))
    (func (export "canister_query state") (call $append (i32.const 0) (i32.const 8)) (call $reply)))`);
}

const PASS_ON = `(call $arg (i32.const 400) (i32.const 0) (call $arg_size))
  (call $append (i32.const 400) (call $arg_size)) (call $reply)`;

const bytesOf = (result: { kind: string; reply?: Uint8Array }): number[] => {
  equal(result.kind, "replied");
  return [...result.reply!];
};

suite("messages", () => {
  test("an update persists, a trap in one does not, a query never does", () => {
    const network = new ReplicaHarness();
    const id = network.install(wat(COUNTER));
    deepEqual(bytesOf(network.call(id, "inc")), [1, 0, 0, 0]);
    const trapped = network.call(id, "inc_and_trap");
    ok(trapped.kind === "rejected");
    deepEqual([trapped.rejectCode, trapped.errorCode], [5, "IC0503"]);
    match(
      trapped.message,
      /^Error from Canister \S+: Canister called `ic0.trap` with message: 'out of order'/,
    );
    deepEqual(bytesOf(network.query(id, "write")), [77, 0, 0, 0]);
    deepEqual(
      bytesOf(network.call(id, "write")),
      [77, 0, 0, 0],
      "a query called as an update runs",
    );
    deepEqual(bytesOf(network.query(id, "read")), [1, 0, 0, 0], "and leaves nothing behind");
  });

  test("a method that does not answer is rejected with IC0506, a missing one with IC0536", () => {
    const network = new ReplicaHarness();
    const id = network.install(wat(COUNTER));
    const silent = network.call(id, "silent");
    ok(silent.kind === "rejected" && silent.errorCode === "IC0506", JSON.stringify(silent));
    const missing = network.call(id, "nothing");
    ok(missing.kind === "rejected" && missing.errorCode === "IC0536", JSON.stringify(missing));
    equal(missing.rejectCode, 5);
  });

  test("a known request id is not executed again", () => {
    const network = new ReplicaHarness();
    const id = network.install(wat(COUNTER));
    const envelope = network.envelope(id, "inc", new Uint8Array());
    network.settle(envelope, envelope);
    network.settle(envelope);
    deepEqual(bytesOf(network.status(envelope) as never), [1, 0, 0, 0]);
    deepEqual(bytesOf(network.query(id, "read")), [1, 0, 0, 0]);
  });
});

suite("calls between canisters", () => {
  test("the reply reaches the callback", () => {
    const network = new ReplicaHarness();
    const callee = network.install(wat(COUNTER));
    const id = network.install(caller("inc", PASS_ON));
    deepEqual(bytesOf(network.call(id, "go", callee)), [1, 0, 0, 0]);
  });

  test("a failure of the callee reaches the reject callback with its code in the text", () => {
    const network = new ReplicaHarness();
    const callee = network.install(wat(COUNTER));
    const id = network.install(caller("inc_and_trap", PASS_ON));
    const text = String.fromCharCode(...bytesOf(network.call(id, "go", callee)));
    match(text, /^IC0503: Error from Canister .*out of order/);
  });

  test("a call to nobody is rejected with IC0301", () => {
    const network = new ReplicaHarness();
    const id = network.install(caller("inc", PASS_ON));
    const nobody = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 9, 1, 1);
    const text = String.fromCharCode(...bytesOf(network.call(id, "go", nobody)));
    equal(text, `IC0301: Canister ${formatPrincipal(nobody)} not found`);
  });

  test("a trap in the callback undoes the callback only, runs cleanup, and rejects the caller", () => {
    const network = new ReplicaHarness();
    const callee = network.install(wat(COUNTER));
    const onReply = `(i32.store (i32.const 4) (i32.const 9)) (call $trap (i32.const 200) (i32.const 3))`;
    const cleanup = `(i32.store (i32.const 4) (i32.add (i32.load (i32.const 4)) (i32.const 5)))`;
    const id = network.install(caller("inc", onReply, { cleanup }));
    const status = network.call(id, "go", callee);
    ok(status.kind === "rejected" && status.errorCode === "IC0503", JSON.stringify(status));
    deepEqual(bytesOf(network.query(id, "state")), [1, 0, 0, 0, 5, 0, 0, 0]);
    deepEqual(bytesOf(network.query(callee, "read")), [1, 0, 0, 0], "the callee's commit stays");
  });

  test("cycles that are not accepted come back", () => {
    const network = new ReplicaHarness();
    const callee = network.install(wat(COUNTER));
    const id = network.install(caller("inc", PASS_ON, { cycles: 1_000_000 }));
    const before = network.cyclesTotal();
    deepEqual(bytesOf(network.call(id, "go", callee)), [1, 0, 0, 0]);
    deepEqual(network.cyclesTotal(), before, "held and consumed cycles add up to the same");
  });
});

test("the same blocks give the same state on a fresh replica and on one with warm caches", () => {
  const network = new ReplicaHarness();
  const callee = network.install(wat(COUNTER));
  const id = network.install(caller("inc", PASS_ON, { cycles: 5 }));
  for (let i = 0; i < 5; i++) network.call(id, "go", callee);
  network.call(callee, "inc_and_trap");
  network.call(callee, "inc", utf8Bytes("ignored"));
  const replay = new ReplicaHarness();
  for (const { transactions } of network.blocks) replay.block(...transactions);
  equal(replay.digest(), network.digest());
});
