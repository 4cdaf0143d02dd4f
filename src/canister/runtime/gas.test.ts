// Instructions: exact charges, the limit, slices, system calls, dirty pages.

import { deepEqual, equal } from "node:assert/strict";
import { describe, test } from "node:test";
import {
  REPLY_WAT,
  TestCanister,
  importsOf,
  replyNumber,
  trapOf,
} from "../../../test/canister/fixture.ts";
import { GasMeter } from "./gas-meter.ts";
import { TrapSignal } from "./trap.ts";

const MODULE = `(module
  ${importsOf("i32", "performance_counter", "msg_arg_data_size", "msg_arg_data_copy", "trap")}
  ${REPLY_WAT}
  (memory 400)
  (func (export "canister_update nothing"))
  (func $spin (param i32)
    (loop $again
      (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
  (func (export "canister_update spin") (call $spin (i32.const 1000000)))
  (func (export "canister_update forever") (loop $again (br $again)))
  (func (export "canister_update two pages")
    (i32.store (i32.const 4094) (i32.const 1)))
  (func (export "canister_update copy")
    (call $msg_arg_data_copy (i32.const 8) (i32.const 0) (call $msg_arg_data_size)))
  (func (export "canister_update counter")
    (call $reply64 (call $performance_counter (i32.const 0))))
  (func (export "canister_update context counter")
    (call $reply64 (call $performance_counter (i32.const 1))))
  (func (export "canister_update spin then trap")
    (call $spin (i32.const 1000000)) unreachable)
  (func (export "canister_update spin then divide")
    (call $spin (i32.const 1000000)) (drop (i32.div_u (i32.const 1) (i32.const 0))))
  (func (export "canister_update fill")
    (memory.fill (i32.const 0) (i32.const 1) (i32.const 20000000))))`;

describe("instructions", () => {
  const canister = TestCanister.install(MODULE);
  const cost = (name: string, overrides = {}): bigint =>
    canister.update(name, overrides).instructionsUsed;
  // A loop turn is local.get, const, sub, tee, br_if = 1 + 1 + 1 + 1 + 2.
  const spin = 6_000_000n;

  test("straight code costs the sum of its weights", () => {
    equal(cost("nothing"), 0n);
    equal(cost("spin"), spin + 1n + 5n);
  });

  test("a dirtied page costs 1000", () => {
    equal(cost("two pages"), 1n + 1n + 1n + 2000n);
    equal(canister.lastDelta?.dirtyPages, 2);
  });

  test("system calls cost a fixed part and a byte each", () => {
    const argument = new Uint8Array(100);
    const empty = cost("copy");
    equal(cost("copy", { argument }), empty + 100n + 1000n);
  });

  test("the limit is exact", () => {
    const exact = cost("spin");
    equal(cost("spin", { instructionLimit: exact }), exact);
    equal(canister.update("spin", { instructionLimit: exact }).kind, "finished");
    const short = canister.update("spin", { instructionLimit: exact - 1n });
    equal(trapOf(short).errorCode, 522);
    equal(short.instructionsUsed, exact - 1n);
  });

  test("dirty pages count towards the limit", () => {
    const exact = cost("two pages");
    equal(canister.update("two pages", { instructionLimit: exact }).kind, "finished");
    const short = canister.update("two pages", { instructionLimit: exact - 1n });
    equal(trapOf(short).errorCode, 522);
  });

  test("an endless loop is charged the whole limit", () => {
    for (const instructionLimit of [0n, 1n, 999_999n, 1_000_000n, 1_000_001n, 123_456_789n]) {
      const result = canister.update("forever", { instructionLimit });
      const text = `Canister exceeded the limit of ${instructionLimit} instructions for single message execution.`;
      equal(trapOf(result).message.split(".\n")[0], text);
      equal(result.instructionsUsed, instructionLimit);
    }
  });

  test("a bulk operation larger than a slice is paid in full", () => {
    const used = cost("fill");
    equal(used > 20_000_000n + 4882n * 1000n, true);
    const short = canister.update("fill", { instructionLimit: 20_000_000n });
    equal(trapOf(short).errorCode, 522);
    equal(short.instructionsUsed, 20_000_000n);
  });

  test("counters see what was used before the call", () => {
    const result = canister.update("counter");
    const seen = replyNumber(result);
    equal(seen, 1n + 5n + 200n);
    const inContext = canister.update("context counter", { contextInstructions: 1_000_000n });
    equal(replyNumber(inContext), 1_000_000n + seen);
  });

  test("a trap is charged alike on a long-lived and on a fresh runtime", () => {
    for (const name of ["spin then trap", "spin then divide", "forever"]) {
      const limit = { instructionLimit: 50_000_000n };
      const used = cost(name, limit);
      equal(cost(name, limit), used);
      equal(canister.freshCopy().update(name, limit).instructionsUsed, used);
    }
    equal(cost("spin then trap"), spin + 1n + 5n + 1n);
  });
});

describe("the meter", () => {
  test("hands out slices and never more than the limit", () => {
    const counter = new WebAssembly.Global({ value: "i64", mutable: true }, 0n);
    const meter = new GasMeter(counter, 2_500_000n, () => 0);
    equal(counter.value, 1_000_000n);
    equal(meter.isUntouched, true);
    deepEqual([meter.refill(-1n), meter.used()], [1_000_000n, 1_000_001n]);
    equal(meter.refill(-10n), 499_989n);
    equal(meter.isUntouched, false);
    let thrown: unknown;
    try {
      meter.refill(-1n);
    } catch (error) {
      thrown = error;
    }
    equal(thrown instanceof TrapSignal && thrown.reason.errorCode, 522);
    equal(meter.used(), 2_500_000n);
  });
});
