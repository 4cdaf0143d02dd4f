// Growth of the linear memory: limits, roll-back, and the gap between logical and physical size,
// which a restarted node must see as one that never stopped.

import { deepEqual, equal, ok } from "node:assert/strict";
import { describe, test } from "node:test";
import {
  REPLY_WAT,
  TestCanister,
  context,
  importsOf,
  replyNumber,
  trapOf,
} from "../../../test/canister/fixture.ts";

function growing(limits: string): string {
  return `(module ${importsOf("i32", "msg_arg_data_copy")} ${REPLY_WAT}
    (memory ${limits})
    (func $argument (result i32)
      (call $msg_arg_data_copy (i32.const 16) (i32.const 0) (i32.const 4))
      (i32.load (i32.const 16)))
    (func (export "canister_update grow") (call $reply32 (memory.grow (call $argument))))
    (func (export "canister_update size") (call $reply32 (memory.size)))
    (func (export "canister_update grow, write, trap")
      (drop (memory.grow (i32.const 3)))
      (i32.store (i32.const 200000) (i32.const -1))
      unreachable)
    (func (export "canister_update load") (call $reply32 (i32.load (call $argument))))
    (func (export "canister_update store") (i32.store (call $argument) (i32.const 9)))
    (func (export "canister_update fill")
      (memory.fill (call $argument) (i32.const 1) (i32.const 1))))`;
}

function u32(value: number): { argument: Uint8Array } {
  return { argument: new Uint8Array(Uint32Array.of(value).buffer) };
}

describe("memory.grow", () => {
  test("gives the old size, or -1 past the maximum", () => {
    const canister = TestCanister.install(growing("1 5"));
    equal(replyNumber(canister.update("grow", u32(2))), 1n);
    equal(replyNumber(canister.update("size")), 3n);
    equal(replyNumber(canister.update("grow", u32(3))), 0xffff_ffffn);
    equal(replyNumber(canister.update("grow", u32(0))), 3n);
    equal(replyNumber(canister.update("grow", u32(2))), 3n);
    equal(canister.image?.heapPages, 5);
    equal(replyNumber(canister.freshCopy().update("size")), 5n);
  });

  test("gives -1 past 4 GiB and when the replica has no room", () => {
    const canister = TestCanister.install(growing("1"));
    equal(replyNumber(canister.update("grow", u32(65_536))), 0xffff_ffffn);
    equal(replyNumber(canister.update("grow", u32(-1))), 0xffff_ffffn);
    const growableBytes = 131_071n;
    equal(replyNumber(canister.update("grow", { ...u32(2), growableBytes })), 0xffff_ffffn);
    equal(replyNumber(canister.update("grow", { ...u32(1), growableBytes })), 1n);
  });

  test("reaches 4 GiB", () => {
    const canister = TestCanister.install(growing("1"));
    equal(replyNumber(canister.update("grow", u32(65_535))), 1n);
    equal(replyNumber(canister.update("load", u32(-4))), 0n);
    equal(canister.update("store", u32(-4)).kind, "finished");
    equal(replyNumber(canister.update("load", u32(-4))), 9n);
    deepEqual([...(canister.store.heap.keys() ?? [])], [0, 262_143]);
  });

  test("traps at the limit of the canister's settings", () => {
    const canister = TestCanister.install(growing("1"));
    const wasmMemoryLimitBytes = 196_608n;
    equal(replyNumber(canister.update("grow", { ...u32(2), wasmMemoryLimitBytes })), 1n);
    const trap = trapOf(canister.update("grow", { ...u32(1), wasmMemoryLimitBytes }));
    equal(trap.errorCode, 539);
    ok(
      trap.message.startsWith(
        "Canister exceeded its current Wasm memory limit of 196608 bytes. The peak Wasm memory usage was 262144 bytes.",
      ),
    );
  });

  test("reaches 6 GiB in a 64-bit memory and no more", () => {
    const canister = TestCanister.install(`(module
      ${importsOf("i64", "msg_reply", "msg_reply_data_append")}
      (memory i64 1)
      (func (export "canister_update grow")
        (if (i64.ne (memory.grow (i64.const 98303)) (i64.const 1)) (then unreachable))
        (if (i64.ne (memory.grow (i64.const 1)) (i64.const -1)) (then unreachable))
        (if (i64.ne (memory.grow (i64.const -1)) (i64.const -1)) (then unreachable))
        (if (i64.ne (memory.size) (i64.const 98304)) (then unreachable))
        (i64.store (i64.const 6442450936) (i64.const 77)))
      (func (export "canister_update far store")
        (i64.store (i64.const 0x100000000008) (i64.const 77)))
      (func (export "canister_update reply")
        (call $msg_reply_data_append (i64.const 6442450936) (i64.const 8))
        (call $msg_reply)))`);
    equal(canister.update("grow").kind, "finished");
    equal(replyNumber(canister.freshCopy().update("reply")), 77n);
    // An address whose page number wraps to a valid one.
    equal(trapOf(canister.update("far store")).errorCode, 502);
    deepEqual([...canister.store.heap.keys()], [393_215]);
  });
});

describe("a growth that is rolled back", () => {
  const canister = TestCanister.install(growing("2"));
  equal(trapOf(canister.update("grow, write, trap")).errorCode, 502);

  test("leaves the logical size, zeroes, and the physical size in state", () => {
    equal(canister.image?.heapPages, 2);
    equal(canister.image?.heapPagesPhysical, 5);
    equal(canister.lastDelta?.heap.size, 0);
  });

  test("is the same for a node that restarted", () => {
    for (const node of [canister, canister.freshCopy()]) {
      equal(replyNumber(node.update("load", u32(200_000))), 0n);
      equal(
        trapOf(node.update("store", u32(200_000))).message.slice(0, 36),
        "Canister trapped: heap out of bounds",
      );
      equal(trapOf(node.update("fill", u32(200_000))).errorCode, 502);
      equal(trapOf(node.update("load", u32(327_680))).errorCode, 502);
      equal(replyNumber(node.update("size")), 2n);
    }
  });

  test("may grow again over the gap", () => {
    equal(replyNumber(canister.update("grow", u32(3))), 2n);
    equal(replyNumber(canister.update("load", u32(200_000))), 0n);
    equal(canister.update("store", u32(200_000)).kind, "finished");
    equal(canister.image?.heapPagesPhysical, 5);
    equal(replyNumber(canister.freshCopy().update("load", u32(200_000))), 9n);
  });

  test("of a dropped query is not seen by the next update", () => {
    const node = canister.freshCopy();
    const session = node.open();
    session.run({ kind: "export", name: "canister_update grow" }, context(u32(10)));
    const image = session.discard();
    equal(image?.heapPages, 5);
    equal(image?.heapPagesPhysical, 15);
    // The replica did not store the new size, so the memory must not be reused.
    equal(trapOf(node.update("load", u32(327_680))).errorCode, 502);
  });
});
