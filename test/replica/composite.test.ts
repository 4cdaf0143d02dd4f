// Goal: composite queries call other queries, see their own memory between callbacks, and leave
// nothing behind. Method: a canister that adds up what another answers.

import { deepEqual, equal, match, ok } from "node:assert/strict";
import { test } from "node:test";
import { encodeCandid, toIdlPrincipal } from "gyrotron/candid";
import { ONLY_ID, ReplicaHarness, wat } from "./harness.ts";

/** Answers with its number; \`bump\` is an update. */
const LEAF = wat(`(module
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (memory 1)
  (data (i32.const 0) "\\07\\00\\00\\00")
  (func (export "canister_query get")
    (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
    (call $append (i32.const 0) (i32.const 4)) (call $reply))
  (func (export "canister_update bump") (call $reply)))`);

/** Calls a method of the canister in its argument \`times\` times and adds up the answers. */
const summing = (method: string, times: number): Uint8Array =>
  wat(`(module
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_arg_data_copy" (func $arg (param i32 i32 i32)))
  (import "ic0" "msg_arg_data_size" (func $arg_size (result i32)))
  (import "ic0" "msg_reject_msg_size" (func $reject_size (result i32)))
  (import "ic0" "msg_reject_msg_copy" (func $reject_copy (param i32 i32 i32)))
  (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "ic0" "call_data_append" (func $data (param i32 i32)))
  (import "ic0" "call_perform" (func $perform (result i32)))
  (memory 1)
  (table funcref (elem $on_reply $on_reject))
  (data (i32.const 64) "${method}")
  (func $call
    (call $new (i32.const 32) (i32.const 10) (i32.const 64) (i32.const ${method.length})
      (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
    (call $data (i32.const 32) (i32.const 10))
    (drop (call $perform)))
  (func $on_reply (param i32)
    (call $arg (i32.const 16) (i32.const 0) (i32.const 4))
    (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.load (i32.const 16))))
    (i32.store (i32.const 4) (i32.add (i32.load (i32.const 4)) (i32.const 1)))
    (if (i32.lt_u (i32.load (i32.const 4)) (i32.const ${times}))
      (then (call $call))
      (else (call $append (i32.const 0) (i32.const 8)) (call $reply))))
  (func $on_reject (param i32)
    (call $reject_copy (i32.const 1000) (i32.const 0) (call $reject_size))
    (call $append (i32.const 1000) (call $reject_size)) (call $reply))
  (func (export "canister_composite_query sum")
    (call $arg (i32.const 32) (i32.const 0) (i32.const 10)) (call $call))
  (func (export "canister_query state") (call $append (i32.const 0) (i32.const 8)) (call $reply)))`);

test("answers are added up in memory that lasts as long as the evaluation", () => {
  const network = new ReplicaHarness();
  const leaf = network.install(LEAF);
  const id = network.install(summing("get", 3));
  for (let again = 0; again < 2; again++) {
    const result = network.query(id, "sum", leaf);
    ok(result.kind === "replied", JSON.stringify(result));
    // Each call is a query of its own: the callee's own changes are dropped.
    deepEqual([...result.reply], [24, 0, 0, 0, 3, 0, 0, 0]);
    const state = network.query(id, "state");
    ok(state.kind === "replied");
    deepEqual([...state.reply], [0, 0, 0, 0, 0, 0, 0, 0]);
  }
});

test("updates cannot be called, missing canisters are rejects with their code", () => {
  const network = new ReplicaHarness();
  const leaf = network.install(LEAF);
  const id = network.install(summing("bump", 1));
  const text = (argument: Uint8Array): string => {
    const result = network.query(id, "sum", argument);
    ok(result.kind === "replied", JSON.stringify(result));
    return String.fromCharCode(...result.reply);
  };
  match(text(leaf), /^IC0536: .*Canister has no query method 'bump'/);
  match(text(Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 9, 1, 1)), /^IC0301: /);
});

test("calls nested too deep end the whole query with IC0525", () => {
  const network = new ReplicaHarness();
  const id = network.install(summing("sum", 1));
  const result = network.query(id, "sum", id);
  ok(result.kind === "rejected", JSON.stringify(result));
  deepEqual(
    [result.rejectCode, result.errorCode, result.message],
    [5, "IC0525", "Composite query calls exceeded the maximum call depth."],
  );
});

test("a tree of calls has the instructions of one query: IC0526", () => {
  const network = new ReplicaHarness();
  const leaf = network.install(LEAF);
  // Each call counts for 50 million instructions besides what it runs.
  const tree = network.query(network.install(summing("get", 200)), "sum", leaf);
  ok(tree.kind === "rejected", JSON.stringify(tree));
  deepEqual(
    [tree.rejectCode, tree.errorCode, tree.message],
    [5, "IC0526", "Composite query calls exceeded the instruction limit."],
  );
  const smaller = network.query(network.install(summing("get", 90)), "sum", leaf);
  ok(smaller.kind === "replied", JSON.stringify(smaller));
  equal(smaller.reply[4], 90);
});

test("a composite query is not for replicated calls", () => {
  const network = new ReplicaHarness();
  const id = network.install(summing("get", 1));
  const status = network.call(id, "sum", id);
  ok(status.kind === "rejected");
  equal(status.errorCode, "IC0527");
  equal(status.message, "Composite query cannot be called in replicated mode");
});

test("a composite query asks the management canister for the status of its own canister", () => {
  const network = new ReplicaHarness();
  const argument = (id: Uint8Array): Uint8Array =>
    encodeCandid([ONLY_ID], [{ canister_id: toIdlPrincipal(id) }]);
  // The argument of the query is that of canister_status.
  const id = network.install(
    wat(`(module
      (import "ic0" "msg_reply" (func $reply))
      (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
      (import "ic0" "msg_arg_data_copy" (func $arg (param i32 i32 i32)))
      (import "ic0" "msg_arg_data_size" (func $arg_size (result i32)))
      (import "ic0" "msg_reject_msg_size" (func $reject_size (result i32)))
      (import "ic0" "msg_reject_msg_copy" (func $reject_copy (param i32 i32 i32)))
      (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
      (import "ic0" "call_data_append" (func $data (param i32 i32)))
      (import "ic0" "call_perform" (func $perform (result i32)))
      (memory 1)
      (table funcref (elem $on_reply $on_reject))
      (data (i32.const 0) "canister_status")
      (func $on_reply (param i32)
        (call $arg (i32.const 1000) (i32.const 0) (call $arg_size))
        (call $append (i32.const 1000) (call $arg_size)) (call $reply))
      (func $on_reject (param i32)
        (call $reject_copy (i32.const 1000) (i32.const 0) (call $reject_size))
        (call $append (i32.const 1000) (call $reject_size)) (call $reply))
      (func (export "canister_composite_query go")
        (call $arg (i32.const 100) (i32.const 0) (call $arg_size))
        (call $new (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 15)
          (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
        (call $data (i32.const 100) (call $arg_size))
        (drop (call $perform))))`),
  );
  const own = network.query(id, "go", argument(id));
  ok(own.kind === "replied");
  equal(String.fromCharCode(...own.reply.subarray(0, 4)), "DIDL");
  const other = network.query(id, "go", argument(network.create()));
  ok(other.kind === "replied");
  match(String.fromCharCode(...other.reply), /^IC05\d\d: /);
});
