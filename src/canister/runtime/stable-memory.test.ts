// Stable memory: sparse, bounded, rolled back, persistent; 64-bit and 32-bit calls.

import { deepEqual, equal, ok } from "node:assert/strict";
import { describe, test } from "node:test";
import { CHUNK_BYTES } from "gyrotron/base";
import {
  REPLY_WAT,
  TestCanister,
  importsOf,
  moduleFromWat,
  replyNumber,
  trapOf,
} from "../../../test/canister/fixture.ts";
import { StableImage } from "./stable-image.ts";

const MODULE = `(module
  ${importsOf("i32", "stable64_grow", "stable64_size", "stable64_read", "stable64_write", "stable_grow", "stable_size", "stable_read", "stable_write", "msg_arg_data_copy")}
  ${REPLY_WAT}
  (memory 2)
  (func $argument (result i64)
    (call $msg_arg_data_copy (i32.const 16) (i32.const 0) (i32.const 8))
    (i64.load (i32.const 16)))
  (func (export "canister_update grow") (call $reply64 (call $stable64_grow (call $argument))))
  (func (export "canister_update size") (call $reply64 (call $stable64_size)))
  (func (export "canister_update put")
    (i64.store (i32.const 32) (i64.const 0x1122334455667788))
    (call $stable64_write (call $argument) (i64.const 32) (i64.const 8)))
  (func (export "canister_update clear")
    (i64.store (i32.const 32) (i64.const 0))
    (call $stable64_write (call $argument) (i64.const 32) (i64.const 8)))
  (func (export "canister_update get")
    (call $stable64_read (i64.const 40) (call $argument) (i64.const 8))
    (call $reply64 (i64.load (i32.const 40))))
  (func (export "canister_update grow, put, trap")
    (drop (call $stable64_grow (i64.const 3)))
    (call $stable64_write (i64.const 0) (i64.const 40) (i64.const 100))
    unreachable)
  (func (export "canister_update bulk")
    (call $stable64_write (i64.const 100) (i64.const 0) (i64.const 100000)))
  (func (export "canister_update narrow")
    (drop (call $stable_grow (i32.const 1)))
    (i32.store (i32.const 8) (i32.const 77))
    (call $stable_write (i32.const 65532) (i32.const 8) (i32.const 4))
    (call $stable_read (i32.const 12) (i32.const 65532) (i32.const 4))
    (call $reply32 (i32.add (i32.load (i32.const 12)) (call $stable_size))))
  (func (export "canister_update narrow size") (call $reply32 (call $stable_size)))
  (func (export "canister_update narrow past end")
    (call $stable_read (i32.const 0) (i32.const 65533) (i32.const 4))))`;

function u64(value: bigint): { argument: Uint8Array } {
  return { argument: new Uint8Array(BigUint64Array.of(value).buffer) };
}

const VALUE = 0x1122334455667788n;

describe("stable memory", () => {
  test("is sparse: a byte at 400 GiB costs a chunk", () => {
    const canister = TestCanister.install(MODULE);
    equal(replyNumber(canister.update("grow", u64(7_000_000n))), 0n);
    const far = 400n * (1n << 30n) - 4n;
    equal(canister.update("put", u64(far)).kind, "finished");
    deepEqual([...canister.store.stable.keys()], [26_214_399, 26_214_400]);
    equal(canister.lastDelta?.dirtyPages, 3);
    equal(replyNumber(canister.update("get", u64(far))), VALUE);
    equal(replyNumber(canister.freshCopy().update("get", u64(far))), VALUE);
    equal(replyNumber(canister.update("get", u64(5n))), 0n);
    canister.update("clear", u64(far));
    equal(canister.store.stable.size, 0);
    equal(replyNumber(canister.freshCopy().update("get", u64(far))), 0n);
  });

  test("grows up to 500 GiB and what the replica allows", () => {
    const canister = TestCanister.install(MODULE);
    const minusOne = (1n << 64n) - 1n;
    equal(replyNumber(canister.update("grow", u64(8_192_001n))), minusOne);
    equal(replyNumber(canister.update("grow", u64(minusOne))), minusOne);
    equal(replyNumber(canister.update("grow", { ...u64(2n), growableBytes: 131_071n })), minusOne);
    equal(replyNumber(canister.update("grow", u64(8_192_000n))), 0n);
    equal(replyNumber(canister.update("size")), 8_192_000n);
    equal(
      trapOf(canister.update("put", u64(500n * (1n << 30n) - 7n))).message.split(".\n")[0],
      "Canister trapped: stable memory out of bounds",
    );
    equal(canister.update("put", u64(500n * (1n << 30n) - 8n)).kind, "finished");
    equal(trapOf(canister.update("put", u64(minusOne))).errorCode, 502);
  });

  test("a trap undoes writes and growth", () => {
    const canister = TestCanister.install(MODULE);
    canister.update("grow", u64(2n));
    canister.update("put", u64(8n));
    equal(trapOf(canister.update("grow, put, trap")).errorCode, 502);
    equal(canister.lastDelta?.stable.size, 0);
    equal(replyNumber(canister.update("size")), 2n);
    equal(replyNumber(canister.update("get", u64(8n))), VALUE);
  });

  test("writing what is there already changes no chunk", () => {
    const canister = TestCanister.install(MODULE);
    canister.update("grow", u64(2n));
    canister.update("put", u64(8n));
    equal(canister.lastDelta?.stable.size, 1);
    canister.update("put", u64(8n));
    equal(canister.lastDelta?.stable.size, 0);
  });

  test("dirty pages are counted once and charged", () => {
    const canister = TestCanister.install(MODULE);
    canister.update("grow", u64(2n));
    const result = canister.update("bulk");
    equal(canister.lastDelta?.dirtyPages, 25);
    // The call, 100,000 bytes, 25 pages, 7 chunks.
    const expected = 1_500n + 100_000n + 25_000n + 14_000n;
    ok(result.instructionsUsed > expected && result.instructionsUsed < expected + 1_000n);
  });

  test("chunks kept between sessions count towards the bytes of a cache", () => {
    const image = new StableImage(100, () => new Uint8Array(CHUNK_BYTES).fill(1));
    equal(image.keptBytes, 0);
    image.begin(() => new Uint8Array(CHUNK_BYTES).fill(1));
    image.read(CHUNK_BYTES - 1, new Uint8Array(2));
    equal(image.keptBytes, 2 * CHUNK_BYTES);
    image.rollback();
    image.adopt(100);
    equal(image.keptBytes, 0);
  });

  test("has the old 32-bit calls", () => {
    const canister = TestCanister.install(MODULE);
    equal(replyNumber(canister.update("narrow")), 78n);
    equal(trapOf(canister.update("narrow past end")).errorCode, 502);
    canister.update("grow", u64(65_535n));
    equal(replyNumber(canister.update("narrow size")), 65_536n);
    canister.update("grow", u64(1n));
    const trap = trapOf(canister.update("narrow size"));
    ok(
      trap.message.startsWith(
        "Canister trapped: 32 bit stable memory api used on a memory larger than 4GB",
      ),
    );
  });

  test("survives an upgrade and not a reinstallation", () => {
    const canister = TestCanister.install(MODULE);
    canister.update("grow", u64(1n));
    canister.update("put", u64(0n));
    canister.install(moduleFromWat(MODULE), "keepStable");
    equal(replyNumber(canister.update("get", u64(0n))), VALUE);
    canister.install(moduleFromWat(MODULE), "fresh");
    equal(canister.lastDelta?.stableReset, true);
    equal(replyNumber(canister.update("size")), 0n);
    canister.update("grow", u64(1n));
    equal(replyNumber(canister.update("get", u64(0n))), 0n);
    equal(replyNumber(canister.freshCopy().update("get", u64(0n))), 0n);
  });
});
