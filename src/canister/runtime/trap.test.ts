// Every way in which an execution can end badly, with code, text and charge, on a runtime that has
// run before and on a fresh one.

import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { describe, test } from "node:test";
import { TestCanister, importsOf, trapOf } from "../../../test/canister/fixture.ts";
import { AssertionError } from "gyrotron/base";
import { backtraceOf, checkEngineTraps, engineTrapCause } from "./engine-trap.ts";
import { CanisterError } from "./error.ts";

const CASES: readonly [name: string, code: number, text: string, body: string][] = [
  ["unreachable", 502, "Canister trapped: unreachable", "unreachable"],
  [
    "div",
    502,
    "Canister trapped: integer division by 0",
    "(drop (i32.div_s (i32.const 1) (i32.const 0)))",
  ],
  [
    "rem",
    502,
    "Canister trapped: integer division by 0",
    "(drop (i64.rem_u (i64.const 1) (i64.const 0)))",
  ],
  [
    "overflow",
    502,
    "Canister trapped: unknown",
    "(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))",
  ],
  ["truncate", 502, "Canister trapped: unknown", "(drop (i32.trunc_f32_s (f32.const nan)))"],
  ["load", 502, "Canister trapped: heap out of bounds", "(drop (i32.load (i32.const 65533)))"],
  [
    "store",
    502,
    "Canister trapped: heap out of bounds",
    "(i32.store (i32.const 65533) (i32.const 1))",
  ],
  [
    "store far",
    502,
    "Canister trapped: heap out of bounds",
    "(i32.store offset=8 (i32.const -4) (i32.const 1))",
  ],
  [
    "fill",
    502,
    "Canister trapped: heap out of bounds",
    "(memory.fill (i32.const 65530) (i32.const 1) (i32.const 7))",
  ],
  [
    "copy",
    502,
    "Canister trapped: heap out of bounds",
    "(memory.copy (i32.const 0) (i32.const 65530) (i32.const 7))",
  ],
  ["table get", 502, "Canister trapped: table out of bounds", "(drop (table.get (i32.const 9)))"],
  ["indirect index", 502, "Canister trapped: table out of bounds", "(call_indirect (i32.const 9))"],
  ["indirect null", 502, "Canister trapped: unknown", "(call_indirect (i32.const 3))"],
  [
    "indirect type",
    502,
    "Canister trapped: unknown",
    "(call_indirect (param i64) (i64.const 1) (i32.const 0))",
  ],
  [
    "trap",
    503,
    "Canister called `ic0.trap` with message: 'hello'",
    "(call $trap (i32.const 0) (i32.const 5))",
  ],
  [
    "bounds",
    504,
    "Canister violated contract: ic0.is_controller: src=65536 + length=1 exceeds the slice size=65536",
    "(drop (call $is_controller (i32.const 65536) (i32.const 1)))",
  ],
  [
    "mode",
    504,
    'Canister violated contract: "ic0_accept_message" cannot be executed in update mode',
    "(call $accept_message)",
  ],
];

const MODULE = `(module
  ${importsOf("i32", "trap", "is_controller", "accept_message")}
  (memory 1) (data (i32.const 0) "hello")
  (table 4 funcref)
  (elem (i32.const 0) $good $bad_type $uses_table)
  (global $changes (mut i32) (i32.const 0))
  (func $good (param i32) (i32.store (i32.const 100) (local.get 0)))
  (func $bad_type (param i64))
  (func $uses_table (param i32) (call_indirect (i32.const 3)))
  (func $deep (call $deep) (drop (i32.const 1)))
  (func (export "canister_update stack") (call $deep))
  ${CASES.map(
    ([name, , , body]) => `(func $f_${name.replaceAll(" ", "_")} (export "canister_update ${name}")
      (i32.store (i32.const 8) (i32.const 7))
      (global.set $changes (i32.const 1))
      ${body})`,
  ).join("\n")})`;

describe("traps", () => {
  const canister = TestCanister.install(MODULE);
  const before = canister.image;
  for (const [name, code, text] of CASES) {
    test(name, () => {
      const first = canister.update(name);
      const trap = trapOf(first);
      equal(trap.errorCode, code);
      equal(trap.message.split(".\n")[0], text);
      deepEqual(canister.image, before);
      deepEqual([...(canister.lastDelta?.heap ?? [])], []);
      const log = new TextDecoder().decode(first.logs[0]);
      ok(log.startsWith("[TRAP]: "), log);
      const fresh = canister.freshCopy().update(name);
      deepEqual(withoutBacktrace(fresh), withoutBacktrace(first));
      deepEqual(withoutBacktrace(canister.update(name)), withoutBacktrace(first));
    });
  }

  test("backtraces name the canister's functions", () => {
    deepEqual(trapOf(canister.update("div")).backtrace, ["f_div"]);
    deepEqual(trapOf(canister.update("trap")).backtrace, ["f_trap"]);
  });

  test("a missing method is IC0536", () => {
    const trap = trapOf(canister.update("no such\nthing"));
    equal(trap.errorCode, 536);
    equal(
      trap.message.split(".\n")[0] + ".\n",
      "Canister has no update method 'no such\nthing'..\n",
    );
  });
});

describe("callbacks", () => {
  const canister = TestCanister.install(MODULE);

  test("run with their environment", () => {
    equal(canister.callback(0n).kind, "finished");
    equal(canister.store.heap.get(0)?.[100], 42);
  });

  for (const [what, index] of [
    ["a null entry", 3n],
    ["a function of another type", 1n],
    ["an index past the table", 4n],
    ["an index past 32 bits", 1n << 40n],
  ] as const) {
    test(`${what} is IC0513`, () => {
      const trap = trapOf(canister.callback(index));
      equal(trap.errorCode, 513);
      const text = `Canister requested to invoke a non-existent Wasm function ${index} from table 0`;
      ok(trap.message.startsWith(text));
    });
  }

  test("a failing indirect call inside of a callback is IC0502", () => {
    equal(trapOf(canister.callback(2n)).errorCode, 502);
  });

  test("a module without a table has no callbacks", () => {
    const bare = TestCanister.install(`(module (func (export "canister_update x")))`);
    equal(trapOf(bare.callback(0n)).errorCode, 513);
  });
});

describe("the table of V8's traps", () => {
  test("agrees with this V8", () => checkEngineTraps());

  test("knows nothing else", () => {
    equal(engineTrapCause(new WebAssembly.RuntimeError("out of luck")), undefined);
    equal(engineTrapCause(new RangeError("Maximum call stack size exceeded")), undefined);
    deepEqual(backtraceOf("no error"), []);
  });

  test("an overflow of V8's own stack stops the runtime and is no trap", () => {
    // The main thread's stack is smaller than the logical one; tier.test.ts has a worker's.
    const canister = TestCanister.install(MODULE);
    const { stackTraceLimit } = Error;
    throws(
      () => canister.update("stack"),
      (error) => error instanceof CanisterError && error.info.code === "canister/host-failure",
    );
    equal(Error.stackTraceLimit, stackTraceLimit);
    throws(() => canister.update("div"), AssertionError);
  });
});

function withoutBacktrace(result: ReturnType<TestCanister["update"]>): unknown {
  if (result.kind === "finished") return result;
  return { ...result, trap: { ...result.trap, backtrace: [] } };
}
