// What an instance holds besides memory: tables and segments start anew with each execution, globals
// persist bit by bit, NaNs are canonical. Each on a long-lived and on a fresh runtime.

import { deepEqual, equal } from "node:assert/strict";
import { describe, test } from "node:test";
import {
  REPLY_WAT,
  TestCanister,
  importsOf,
  moduleFromWat,
  replyNumber,
  replyOf,
  trapOf,
} from "../../../test/canister/fixture.ts";

/** Runs the same update on the canister and on a copy that starts from storage. */
function onBoth(canister: TestCanister, name: string): string {
  const copy = canister.freshCopy();
  const expected = copy.update(name);
  const actual = canister.update(name);
  deepEqual(actual, expected);
  deepEqual(canister.image, copy.image);
  deepEqual(canister.store, copy.store);
  return Buffer.from(replyOf(actual)).toString("hex");
}

describe("what does not persist", () => {
  test("table entries", () => {
    const canister = TestCanister.install(`(module ${REPLY_WAT} (memory 1)
      (table 2 4 funcref) (elem (i32.const 0) $one $two)
      (func $one (result i32) (i32.const 1)) (func $two (result i32) (i32.const 2))
      (func (export "canister_update first")
        (call $reply32 (call_indirect (result i32) (i32.const 0)))
        (table.set (i32.const 0) (table.get (i32.const 1)))
        (drop (table.grow (ref.null func) (i32.const 1))))
      (func (export "canister_update size") (call $reply32 (table.size))))`);
    equal(canister.module?.mutatesInstance, true);
    for (let i = 0; i < 3; i++) equal(onBoth(canister, "first"), "01000000");
    equal(onBoth(canister, "size"), "02000000");
  });

  test("dropped segments", () => {
    const canister = TestCanister.install(`(module ${REPLY_WAT} (memory 1)
      (data $text "abcd")
      (func (export "canister_update use")
        (memory.init $text (i32.const 64) (i32.const 0) (i32.const 4))
        (data.drop $text)
        (call $reply32 (i32.load (i32.const 64)))))`);
    for (let i = 0; i < 3; i++) equal(onBoth(canister, "use"), "61626364");
  });

  test("an instance that nothing can change is reused", () => {
    const canister = TestCanister.install(`(module ${REPLY_WAT} (memory 1)
      (global $n (mut i32) (i32.const 1))
      (func (export "canister_update next")
        (global.set $n (i32.mul (global.get $n) (i32.const 3)))
        (call $reply32 (global.get $n))))`);
    equal(canister.module?.mutatesInstance, false);
    deepEqual(
      [1, 2, 3].map(() => onBoth(canister, "next")),
      ["03000000", "09000000", "1b000000"],
    );
  });
});

describe("globals", () => {
  test("keep all bits of every type", () => {
    const canister = TestCanister.install(`(module ${REPLY_WAT} (memory 1)
      (global $a (mut i32) (i32.const -1)) (global $b (mut i64) (i64.const -2))
      (global $constant i32 (i32.const 5))
      (global $c (mut f32) (f32.const nan:0x200001)) (global $d (mut f64) (f64.const -nan:0x4000000000001))
      (global $e (mut v128) (v128.const i32x4 1 2 3 4))
      (func (export "canister_update set")
        (global.set $c (f32.reinterpret_i32 (i32.const 0xffa00001)))
        (global.set $e (v128.const i32x4 -1 0 0x7fa00001 5)))
      (func (export "canister_update get")
        (i32.store (i32.const 16) (global.get $a)) (i64.store (i32.const 24) (global.get $b))
        (f32.store (i32.const 32) (global.get $c)) (f64.store (i32.const 40) (global.get $d))
        (v128.store (i32.const 48) (global.get $e))
        (call $msg_reply_data_append (i32.const 16) (i32.const 48)) (call $msg_reply)))`);
    equal(onBoth(canister, "get").slice(0, 32), "ffffffff00000000feffffffffffffff");
    equal(onBoth(canister, "get").slice(32, 40), "0100a07f");
    equal(onBoth(canister, "get").slice(48, 64), "010000000000f4ff");
    equal(onBoth(canister, "get").slice(64), "01000000020000000300000004000000");
    canister.update("set");
    equal(onBoth(canister, "get").slice(32, 40), "0100a0ff");
    equal(onBoth(canister, "get").slice(64), "ffffffff000000000100a07f05000000");
    equal(canister.image?.globals.length, 5 * 16);
  });
});

describe("NaN", () => {
  test("results are canonical, moves keep bits", () => {
    const canister = TestCanister.install(`(module ${REPLY_WAT} (memory 1)
      (func (export "canister_update sum")
        (call $reply32 (i32.reinterpret_f32
          (f32.add (f32.reinterpret_i32 (i32.const 0xffa00001)) (f32.const 1)))))
      (func (export "canister_update quotient")
        (call $reply64 (i64.reinterpret_f64 (f64.div (f64.const 0) (f64.const 0)))))
      (func (export "canister_update lanes")
        (call $reply64 (i64x2.extract_lane 0
          (f32x4.sqrt (v128.const f32x4 -1 -nan:0x200001 1 1)))))
      (func (export "canister_update move")
        (f32.store (i32.const 64) (f32.reinterpret_i32 (i32.const 0x7fa00001)))
        (call $reply32 (i32.reinterpret_f32
          (f32.neg (f32.copysign (f32.load (i32.const 64)) (f32.const 1)))))))`);
    equal(onBoth(canister, "sum"), "0000c07f");
    equal(onBoth(canister, "quotient"), "000000000000f87f");
    equal(onBoth(canister, "lanes"), "0000c07f0000c07f");
    equal(onBoth(canister, "move"), "0100a0ff");
  });
});

describe("installing", () => {
  const DATA = `(memory 2) (data (i32.const 65530) "abcdefgh") (data (i32.const 65532) "XY")
    (global $g (mut i32) (i32.const 1))`;
  const READ = `(func (export "canister_query read")
      (call $msg_reply_data_append (i32.const 65530) (i32.const 8)) (call $msg_reply))
    (func (export "canister_update write") (i32.store (i32.const 65530) (i32.const 0x7a7a7a7a))
      (global.set $g (i32.const 9)))
    (func (export "canister_query global") (call $reply32 (global.get $g)))`;
  const text = (canister: TestCanister): string =>
    Buffer.from(replyOf(canister.query("read"))).toString();

  test("applies active data in order, then runs start and init", () => {
    const canister = TestCanister.install(`(module ${REPLY_WAT} ${DATA} ${READ}
      (start $start)
      (func $start (i32.store8 (i32.const 65530) (i32.const 65)))
      (func (export "canister_init") (i32.store8 (i32.const 65531) (i32.load8_u (i32.const 65530)))))`);
    equal(text(canister), "AAXYefgh");
    equal(text(canister.freshCopy()), "AAXYefgh");
    deepEqual([...(canister.lastDelta?.heap.keys() ?? [])], [3, 4]);
  });

  test("data past the end traps and leaves nothing", () => {
    const canister = new TestCanister();
    const result = canister.install(
      moduleFromWat(`(module (memory 1) (data (i32.const 65534) "abcd"))`),
      "fresh",
    );
    equal(
      result?.kind === "trapped" && result.trap.message.slice(0, 36),
      "Canister trapped: heap out of bounds",
    );
    equal(canister.image, undefined);
    const again = canister.install(moduleFromWat(`(module ${REPLY_WAT} ${DATA} ${READ})`), "fresh");
    equal(again, undefined);
    equal(text(canister), "abXYefgh");
  });

  test("an upgrade that traps in post_upgrade leaves the old code and memory", () => {
    const canister = TestCanister.install(`(module ${REPLY_WAT} ${DATA} ${READ})`);
    canister.update("write");
    const before = canister.image;
    for (const memory of ["fresh", "keepStable", "keep"] as const) {
      const failing =
        moduleFromWat(`(module ${importsOf("i32", "stable_grow")} (memory 7) (data (i32.const 65530) "0123")
        (func (export "canister_post_upgrade") (drop (call $stable_grow (i32.const 1)))
          (i32.store (i32.const 65530) (i32.const 0)) (i32.store (i32.const 400000) (i32.const 1)) unreachable))`);
      const result = canister.install(failing, memory, { mode: "postUpgrade" });
      equal(result?.kind, "trapped");
      const { heapPagesPhysical, ...rest } = canister.image!;
      deepEqual({ ...rest, heapPagesPhysical: 2 }, before);
      equal(heapPagesPhysical, memory === "keep" ? 7 : 2);
      equal(text(canister), "zzzzefgh");
      equal(text(canister.freshCopy()), "zzzzefgh");
      equal(replyNumber(canister.query("global")), 9n);
    }
  });

  test("keep keeps memory but not globals, and applies no data", () => {
    const canister = TestCanister.install(`(module ${REPLY_WAT} ${DATA} ${READ})`);
    canister.update("write");
    canister.install(moduleFromWat(`(module ${REPLY_WAT} ${DATA} ${READ})`), "keep");
    equal(canister.lastDelta?.heapReset, false);
    equal(text(canister), "zzzzefgh");
    equal(replyNumber(canister.query("global")), 1n);
    canister.install(moduleFromWat(`(module ${REPLY_WAT} ${DATA} ${READ})`), "keepStable");
    equal(canister.lastDelta?.heapReset, true);
    equal(text(canister), "abXYefgh");
    equal(text(canister.freshCopy()), "abXYefgh");
  });

  test("keep of a memory with another address type traps", () => {
    const canister = TestCanister.install(`(module ${REPLY_WAT} ${DATA} ${READ})`);
    const result = canister.install(moduleFromWat("(module (memory i64 1))"), "keep");
    equal(result?.kind === "trapped" && result.trap.errorCode, 504);
    equal(text(canister), "abXYefgh");
  });

  test("a second session sees what pre_upgrade wrote only if it is kept", () => {
    const canister = TestCanister.install(`(module ${REPLY_WAT} ${DATA} ${READ})`);
    equal(trapOf(canister.update("absent")).errorCode, 536);
    equal(text(canister), "abXYefgh");
  });
});
