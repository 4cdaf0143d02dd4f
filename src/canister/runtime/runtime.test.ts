// Goal: a canister behaves the same on a runtime that has lived long and on one that starts from
// stored chunks. Method: run the same messages on both and compare results, chunks and globals.

import { deepEqual, equal, ok } from "node:assert/strict";
import { describe, test } from "node:test";
import { TestCanister, replyNumber, replyOf, trapOf } from "../../../test/canister/fixture.ts";

const COUNTER = `(module
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (memory 2)
  (global $count (mut i32) (i32.const 5))
  (func (export "canister_update add")
    (global.set $count (i32.add (global.get $count) (i32.const 1)))
    (i32.store (i32.const 70000) (global.get $count))
    (call $append (i32.const 70000) (i32.const 4))
    (call $reply))
  (func (export "canister_query get")
    (i32.store (i32.const 8) (i32.load (i32.const 70000)))
    (call $append (i32.const 8) (i32.const 4))
    (call $reply))
  (func (export "canister_update fail")
    (global.set $count (i32.const 99))
    (i32.store (i32.const 70000) (i32.const 99))
    unreachable))`;

describe("sessions", () => {
  test("globals and memory persist; queries and traps leave no trace", () => {
    const canister = TestCanister.install(COUNTER);
    equal(replyNumber(canister.update("add")), 6n);
    equal(replyNumber(canister.update("add")), 7n);
    equal(replyNumber(canister.query("get")), 7n);
    const trap = trapOf(canister.update("fail"));
    equal(trap.errorCode, 502);
    ok(trap.message.startsWith("Canister trapped: unreachable.\n"));
    equal(canister.lastDelta?.heap.size, 0);
    equal(replyNumber(canister.update("add")), 8n);
    const fresh = canister.freshCopy();
    equal(replyNumber(fresh.query("get")), 8n);
    equal(replyNumber(fresh.update("add")), 9n);
    equal(replyNumber(canister.update("add")), 9n);
    deepEqual(fresh.image, canister.image);
    deepEqual(fresh.store, canister.store);
  });

  test("a commit holds the changed chunks only", () => {
    const canister = TestCanister.install(COUNTER);
    canister.update("add");
    deepEqual([...(canister.lastDelta?.heap.keys() ?? [])], [4]);
    equal(canister.lastDelta?.dirtyPages, 1);
    equal(replyOf(canister.query("get")).length, 4);
  });
});
