// Inter-canister calls: what call_perform queues, what it sets aside, and when it refuses.

import { deepEqual, equal, ok } from "node:assert/strict";
import { describe, test } from "node:test";
import { formatPrincipal } from "gyrotron/crypto";
import {
  CANISTER_ID,
  TestCanister,
  context,
  importsOf,
  trapOf,
} from "../../../test/canister/fixture.ts";
import type { ExecutionContext, ExecutionResult, OutgoingCall } from "../contract.ts";

const CALLS = importsOf(
  "i32",
  "call_new",
  "call_on_cleanup",
  "call_data_append",
  "call_with_best_effort_response",
  "call_cycles_add",
  "call_cycles_add128",
  "call_perform",
  "canister_cycle_balance128",
  "msg_reply_data_append",
  "msg_reply",
);

/** Each program reports the result of call_perform and the balance after it. */
const PROGRAMS: Readonly<Record<string, string>> = {
  plain: "(call $new) (call $perform)",
  full: `(call $new) (call $call_data_append (i32.const 20) (i32.const 3)) (call $call_data_append (i32.const 23) (i32.const 2))
    (call $call_on_cleanup (i32.const 5) (i32.const 6)) (call $call_with_best_effort_response (i32.const 30))
    (call $call_cycles_add (i64.const 1000)) (call $call_cycles_add128 (i64.const 0) (i64.const 7)) (call $perform)`,
  "long timeout":
    "(call $new) (call $call_with_best_effort_response (i32.const -1)) (call $perform)",
  "dropped by the next": `(call $new) (call $call_cycles_add (i64.const 1000)) (call $new) (call $perform)`,
  "never performed": "(call $new) (call $call_cycles_add (i64.const 1000))",
  "three times":
    "(call $new) (call $perform) (call $new) (call $perform) (call $new) (call $perform)",
  "cleanup twice":
    "(call $new) (call $call_on_cleanup (i32.const 5) (i32.const 6)) (call $call_on_cleanup (i32.const 5) (i32.const 6))",
  "best effort twice":
    "(call $new) (call $call_with_best_effort_response (i32.const 1)) (call $call_with_best_effort_response (i32.const 1))",
  "too many cycles": "(call $new) (call $call_cycles_add128 (i64.const 1) (i64.const 0))",
  "long name":
    "(call $call_new (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 20001) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))",
  "long id":
    "(call $call_new (i32.const 0) (i32.const 30) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))",
  "out of bounds":
    "(call $call_new (i32.const -1) (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))",
  "large payload":
    "(call $new) (call $call_data_append (i32.const 0) (i32.const 10485755)) (call $perform)",
  "too large payload": "(call $new) (call $call_data_append (i32.const 0) (i32.const 10485756))",
  "no call: append": "(call $call_data_append (i32.const 0) (i32.const 0))",
  "no call: cleanup": "(call $call_on_cleanup (i32.const 0) (i32.const 0))",
  "no call: best effort": "(call $call_with_best_effort_response (i32.const 0))",
  "no call: cycles": "(call $call_cycles_add (i64.const 0))",
  "no call: perform": "(drop (call $call_perform))",
  "trap after perform": "(call $new) (call $perform) unreachable",
};

const canister = TestCanister.install(`(module ${CALLS}
  (memory 170) (data (i32.const 0) "\\80\\00\\00\\00\\00\\00\\00\\02\\01\\01greet") (data (i32.const 20) "hello")
  (func $new (call $call_new (i32.const 0) (i32.const 10) (i32.const 10) (i32.const 5)
    (i32.const 1) (i32.const -2) (i32.const 3) (i32.const 4)))
  (func $perform
    (i32.store (i32.const 100) (call $call_perform))
    (call $canister_cycle_balance128 (i32.const 104))
    (call $msg_reply_data_append (i32.const 100) (i32.const 20)))
  ${Object.entries(PROGRAMS)
    .map(([name, body]) => `(func (export "canister_update ${name}") ${body} (call $msg_reply))`)
    .join("\n")})`);

/** Results of each call_perform with the balance after it, and the calls queued. */
function performed(
  name: string,
  overrides: Partial<ExecutionContext> = {},
): { results: [number, bigint][]; calls: readonly OutgoingCall[] } {
  const result: ExecutionResult = canister.update(name, overrides);
  ok(result.kind === "finished", result.kind === "trapped" ? result.trap.message : "");
  const { response, calls } = result.changes;
  ok(response?.kind === "reply");
  const view = new DataView(response.bytes.buffer, response.bytes.byteOffset);
  const results: [number, bigint][] = [];
  for (let at = 0; at < response.bytes.length; at += 20) {
    results.push([view.getUint32(at, true), view.getBigUint64(at + 4, true)]);
  }
  return { results, calls };
}

const { cyclesBalance, prices } = context();
const reserved = prices.responseReservation + prices.callbackReservation;

describe("call_perform", () => {
  test("queues a plain call and sets its cost aside", () => {
    const { results, calls } = performed("plain");
    const transmissionCharge = prices.callBase + 5n * prices.callPerByte;
    deepEqual(results, [[0, cyclesBalance - transmissionCharge - reserved]]);
    deepEqual(calls, [
      {
        callee: Uint8Array.of(0x80, 0, 0, 0, 0, 0, 0, 2, 1, 1),
        method: "greet",
        argument: new Uint8Array(0),
        cycles: 0n,
        onReply: { tableIndex: 1n, environment: 0xffff_fffen },
        onReject: { tableIndex: 3n, environment: 4n },
        onCleanup: undefined,
        timeoutSeconds: undefined,
        transmissionCharge,
        responseReserved: prices.responseReservation,
        callbackReserved: prices.callbackReservation,
      },
    ]);
  });

  test("queues arguments, cleanup, cycles and a timeout", () => {
    const { results, calls } = performed("full");
    const [call] = calls;
    equal(Buffer.from(call!.argument).toString(), "hello");
    deepEqual(call!.onCleanup, { tableIndex: 5n, environment: 6n });
    equal(call!.timeoutSeconds, 30);
    equal(call!.cycles, 1007n);
    equal(call!.transmissionCharge, prices.callBase + 10n * prices.callPerByte);
    equal(results[0]![1], cyclesBalance - 1007n - call!.transmissionCharge - reserved);
  });

  test("caps the timeout", () => {
    equal(performed("long timeout").calls[0]!.timeoutSeconds, 300);
  });

  test("call_new drops the call before it and its cycles return", () => {
    const { results, calls } = performed("dropped by the next");
    equal(calls.length, 1);
    equal(calls[0]!.cycles, 0n);
    equal(results[0]![1], performed("plain").results[0]![1]);
  });

  test("a call that is not performed is not queued", () => {
    const result = canister.update("never performed");
    deepEqual(result.kind === "finished" && result.changes.calls, []);
  });

  test("gives 2 when the queue is full, counting this execution's own calls", () => {
    const { results, calls } = performed("three times", { queueCapacity: () => 2 });
    deepEqual(
      results.map(([result]) => result),
      [0, 0, 2],
    );
    equal(calls.length, 2);
    equal(results[2]![1], results[1]![1]);
  });

  test("gives 2 when it would freeze the canister, and returns the cycles", () => {
    const { results, calls } = performed("full", { freezingLimit: cyclesBalance - reserved });
    deepEqual(results, [[2, cyclesBalance]]);
    deepEqual(calls, []);
    const exact = cyclesBalance - reserved - prices.callBase - 5n * prices.callPerByte;
    equal(performed("plain", { freezingLimit: exact }).results[0]![0], 0);
    equal(performed("plain", { freezingLimit: exact + 1n }).results[0]![0], 2);
  });

  test("costs nothing in composite queries", () => {
    const { results, calls } = performed("plain", { mode: "compositeQuery", cyclesBalance: 3n });
    deepEqual(results, [[0, 3n]]);
    equal(calls[0]!.transmissionCharge, 0n);
  });

  test("a trap drops what was performed", () => {
    equal(trapOf(canister.update("trap after perform")).errorCode, 502);
  });

  test("takes 10 MiB with the name", () => {
    equal(performed("large payload").calls[0]!.argument.length, 10_485_755);
  });
});

describe("violations", () => {
  for (const [name, message] of [
    [
      "cleanup twice",
      "Canister violated contract: ic0.call_on_cleanup can be called at most once between `ic0.call_new` and `ic0.call_perform`",
    ],
    [
      "best effort twice",
      "Canister violated contract: ic0.call_with_best_effort_response can be called at most once between `ic0.call_new` and `ic0.call_perform`",
    ],
    [
      "too many cycles",
      `Canister ${formatPrincipal(CANISTER_ID)} is out of cycles: please top up the canister with at least `,
    ],
    [
      "long name",
      "Canister violated contract: ic0.call_new: Size of method_name 20001 exceeds the allowed limit of 20000.",
    ],
    ["long id", "Canister provided invalid principal id"],
    [
      "out of bounds",
      "Canister violated contract: ic0.call_new callee_src: src=4294967295 + length=1 exceeds the slice size=11141120",
    ],
    [
      "too large payload",
      "has a payload size of 10485761, which exceeds the allowed limit of 10485760.",
    ],
    ["no call: append", "ic0.call_data_append called when no call is under construction."],
    ["no call: cleanup", "ic0.call_on_cleanup called when no call is under construction."],
    [
      "no call: best effort",
      "ic0.call_with_best_effort_response called when no call is under construction.",
    ],
    ["no call: cycles", "ic0.call_cycles_add called when no call is under construction."],
    ["no call: perform", "ic0.call_perform called when no call is under construction."],
  ] as const) {
    test(name, () => {
      const trap = trapOf(canister.update(name));
      equal(trap.errorCode, 504);
      ok(trap.message.includes(message), trap.message);
    });
  }
});
