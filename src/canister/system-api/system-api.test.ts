// What each system call does in the modes that allow it. One canister per pointer width exports a
// small program for every call; the programs' inputs come through the argument.

import { deepEqual, equal, ok } from "node:assert/strict";
import { describe, test } from "node:test";
import { SYSTEM_CALL_NAMES, ic0Names } from "gyrotron/canister";
import {
  CANISTER_ID,
  TestCanister,
  context,
  importsOf,
  replyNumber,
  replyOf,
  trapOf,
} from "../../../test/canister/fixture.ts";
import type { ExecutionContext, ExecutionResult } from "../contract.ts";

type Width = "i32" | "i64";

/** Calls of the form size() and copy(dst, offset, size): what they show. */
const BYTE_STRINGS = [
  "msg_arg_data",
  "msg_caller",
  "msg_caller_info_data",
  "msg_caller_info_signer",
  "msg_reject_msg",
  "msg_method_name",
  "canister_self",
  "subnet_self",
  "root_key",
  "data_certificate",
];

/** Programs: name → body; `I` stands for the address type, the argument lies at 1000. */
const PROGRAMS: Readonly<Record<string, string>> = {
  "append twice": `(call $append (I.const 1000) (I.const 2)) (call $append (I.const 1002) (I.const 1)) (call $msg_reply)`,
  "reply twice": `(call $msg_reply) (call $msg_reply)`,
  "append after reply": `(call $msg_reply) (call $append (I.const 0) (I.const 1))`,
  "append only": `(call $append (I.const 1000) (I.const 2))`,
  "append too much": `(call $append (I.const 0) (I.const 2097153))`,
  "append 2 MiB": `(call $append (I.const 0) (I.const 2097152)) (call $msg_reply)`,
  reject: `(call $msg_reject (I.const 1000) (call $msg_arg_data_size))`,
  "reject code": `(call $reply_word (i64.extend_i32_u (call $msg_reject_code)))`,
  deadline: `(call $reply_word (call $msg_deadline))`,
  "accept twice": `(call $accept_message) (call $accept_message)`,
  accept: `(call $accept_message)`,
  "cycles available": `(call $msg_cycles_available128 (I.const 0)) (call $reply16)`,
  "cycles refunded": `(call $msg_cycles_refunded128 (I.const 0)) (call $reply16)`,
  "cycles accept": `(call $msg_cycles_accept128 (i64.load (I.const 1008)) (i64.load (I.const 1000)) (I.const 0)) (call $reply16)`,
  "accept, reply, accept": `(call $msg_cycles_accept128 (i64.const 0) (i64.const 5) (I.const 0)) (call $append (I.const 0) (I.const 16)) (call $msg_reply)
     (call $msg_cycles_accept128 (i64.const 0) (i64.const 5) (I.const 16)) (if (i64.ne (i64.load (I.const 16)) (i64.const 0)) (then unreachable))`,
  "cycles burn": `(call $cycles_burn128 (i64.load (I.const 1008)) (i64.load (I.const 1000)) (I.const 0)) (call $reply16)`,
  balance: `(call $canister_cycle_balance128 (I.const 0)) (call $reply16)`,
  "liquid balance": `(call $canister_liquid_cycle_balance128 (I.const 0)) (call $reply16)`,
  mint: `(call $mint_cycles128 (i64.const 0) (i64.const 1) (I.const 0))`,
  status: `(call $reply_word (i64.extend_i32_u (call $canister_status)))`,
  version: `(call $reply_word (call $canister_version))`,
  time: `(call $reply_word (call $time))`,
  "timer twice": `(drop (call $global_timer_set (i64.const 77))) (call $reply_word (call $global_timer_set (i64.load (I.const 1000))))`,
  counter: `(call $reply_word (call $performance_counter (i32.load (I.const 1000))))`,
  replicated: `(call $reply_word (i64.extend_i32_u (call $in_replicated_execution)))`,
  controller: `(call $reply_word (i64.extend_i32_u (call $is_controller (I.const 1000) (call $msg_arg_data_size))))`,
  "certified data": `(call $certified_data_set (I.const 1000) (call $msg_arg_data_size))`,
  "certificate present": `(call $reply_word (i64.extend_i32_u (call $data_certificate_present)))`,
  "environment count": `(call $reply_index (call $env_var_count))`,
  "environment name": `(call $env_var_name_copy (I.load (I.const 1000)) (I.const 0) (I.const 0) (call $env_var_name_size (I.load (I.const 1000)))) (call $append (I.const 0) (call $env_var_name_size (I.load (I.const 1000)))) (call $msg_reply)`,
  "environment exists": `(call $reply_word (i64.extend_i32_u (call $env_var_name_exists (I.const 1000) (call $msg_arg_data_size))))`,
  "environment value": `(call $env_var_value_copy (I.const 1000) (call $msg_arg_data_size) (I.const 0) (I.const 0) (call $env_var_value_size (I.const 1000) (call $msg_arg_data_size)))
     (call $append (I.const 0) (call $env_var_value_size (I.const 1000) (call $msg_arg_data_size))) (call $msg_reply)`,
  "cost of a call": `(call $cost_call (i64.const 10) (i64.const 90) (I.const 0)) (call $reply16)`,
  "cost of a canister": `(call $cost_create_canister (I.const 0)) (call $reply16)`,
  "cost of an outcall": `(call $cost_http_request (i64.const 1) (i64.const 2) (I.const 0)) (call $reply16)`,
  "cost of a signature": `(i64.store (I.const 0) (i64.const 0)) (call $reply_word (i64.or (i64.shl (i64.extend_i32_u (call $cost_sign_with_ecdsa (I.const 1004) (I.sub (call $msg_arg_data_size) (I.const 4)) (i32.load (I.const 1000)) (I.const 0))) (i64.const 60)) (i64.load (I.const 0))))`,
  "cost of a Schnorr signature": `(i64.store (I.const 0) (i64.const 0)) (call $reply_word (i64.or (i64.shl (i64.extend_i32_u (call $cost_sign_with_schnorr (I.const 1004) (I.sub (call $msg_arg_data_size) (I.const 4)) (i32.load (I.const 1000)) (I.const 0))) (i64.const 60)) (i64.load (I.const 0))))`,
  "cost of a derived key": `(i64.store (I.const 0) (i64.const 0)) (call $reply_word (i64.or (i64.shl (i64.extend_i32_u (call $cost_vetkd_derive_key (I.const 1004) (I.sub (call $msg_arg_data_size) (I.const 4)) (i32.load (I.const 1000)) (I.const 0))) (i64.const 60)) (i64.load (I.const 0))))`,
  print: `(call $debug_print (I.const 1000) (call $msg_arg_data_size)) (call $debug_print (I.const -1) (I.const 9))`,
  trap: `(call $trap (I.const 1000) (call $msg_arg_data_size))`,
  "trap out of bounds": `(call $trap (I.const -1) (I.const 10))`,
};

/** Programs for the old 64-bit calls, which exist with 32-bit pointers only. */
const NARROW_PROGRAMS: Readonly<Record<string, string>> = {
  "narrow available": `(call $reply_word (call $msg_cycles_available))`,
  "narrow refunded": `(call $reply_word (call $msg_cycles_refunded))`,
  "narrow accept": `(call $reply_word (call $msg_cycles_accept (i64.const -1)))`,
  "narrow balance": `(call $reply_word (call $canister_cycle_balance))`,
};

function canisterOf(width: Width): TestCanister {
  const programs: Record<string, string> = { ...PROGRAMS };
  if (width === "i32") Object.assign(programs, NARROW_PROGRAMS);
  for (const name of BYTE_STRINGS) {
    programs[name] =
      `(call $${name}_copy (I.const 500) (I.const 1) (I.sub (call $${name}_size) (I.const 1)))
      (call $append (I.const 500) (I.sub (call $${name}_size) (I.const 1))) (call $msg_reply)`;
    programs[`${name} past end`] =
      `(call $${name}_copy (I.const 0) (I.const 1) (call $${name}_size))`;
  }
  const load = `(if (i32.const 1) (then (call $load)))`;
  const functions = Object.entries(programs).map(([name, body]) => {
    const withArgument = body.includes("1000") || body.includes("1004");
    return `(func (export "canister_update ${name}") ${withArgument ? load : ""} ${body})`;
  });
  return TestCanister.install(
    `(module ${importsOf(width, ...ic0Names(width))}
      (memory ${width} 40)
      (func $append (param I I) (call $msg_reply_data_append (local.get 0) (local.get 1)))
      (func $load (call $msg_arg_data_copy (I.const 1000) (I.const 0) (call $msg_arg_data_size)))
      (func $reply_word (param i64) (i64.store (I.const 0) (local.get 0))
        (call $append (I.const 0) (I.const 8)) (call $msg_reply))
      (func $reply_index (param I) (I.store (I.const 0) (local.get 0))
        (call $append (I.const 0) (I.const 8)) (call $msg_reply))
      (func $reply16 (call $append (I.const 0) (I.const 16)) (call $msg_reply))
      ${functions.join("\n")})`.replaceAll(/\bI\b/g, width),
  );
}

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

function u128(value: bigint): Uint8Array {
  return new Uint8Array(BigUint64Array.of(value & ((1n << 64n) - 1n), value >> 64n).buffer);
}

for (const width of ["i32", "i64"] as const) {
  const canister = canisterOf(width);
  const run = (name: string, overrides: Partial<ExecutionContext> = {}): ExecutionResult =>
    canister.update(name, overrides);
  const number = (name: string, overrides: Partial<ExecutionContext> = {}): bigint =>
    replyNumber(run(name, overrides));
  const violation = (name: string, overrides: Partial<ExecutionContext> = {}): string => {
    const trap = trapOf(run(name, overrides));
    equal(trap.errorCode, 504);
    return trap.message.split(".\n")[0]!;
  };

  describe(`system calls with ${width} pointers`, () => {
    test("byte strings of the message and the world", () => {
      const given: Partial<ExecutionContext> = {
        argument: text("argument"),
        caller: text("caller"),
        callerInfo: { data: text("data"), signer: text("signer") },
        reject: { code: 4, message: "rejected" },
        methodName: "method",
        subnetId: text("subnet"),
        rootKey: text("root key"),
        dataCertificate: text("certificate"),
      };
      const shown: readonly [string, ExecutionContext["mode"], string][] = [
        ["msg_arg_data", "update", "argument"],
        ["msg_caller", "update", "caller"],
        ["msg_caller_info_data", "update", "data"],
        ["msg_caller_info_signer", "update", "signer"],
        ["msg_reject_msg", "rejectCallback", "rejected"],
        ["subnet_self", "update", "subnet"],
        ["root_key", "update", "root key"],
        ["data_certificate", "query", "certificate"],
      ];
      for (const [name, mode, value] of shown) {
        equal(Buffer.from(replyOf(run(name, { ...given, mode }))).toString(), value.slice(1), name);
        const past = violation(`${name} past end`, { ...given, mode });
        const size = value.length;
        equal(
          past,
          `Canister violated contract: ic0.${name}_copy payload: offset=1 + length=${size} exceeds the slice size=${size}`,
        );
      }
      deepEqual(replyOf(run("canister_self")), CANISTER_ID.subarray(1));
      equal(trapOf(run("msg_method_name", { ...given, mode: "inspectMessage" })).errorCode, 504);
      equal(violation("data_certificate", { mode: "query" }).includes("no data certificate"), true);
    });

    test("replies and rejects", () => {
      equal(Buffer.from(replyOf(run("append twice", { argument: text("xyz") }))).toString(), "xyz");
      ok(violation("reply twice").endsWith("ic0.msg_reply: the call is already replied"));
      ok(
        violation("append after reply").endsWith(
          "ic0.msg_reply_data_append: the call is already replied",
        ),
      );
      ok(
        violation("append twice", { argument: text("xyz"), responded: true }).endsWith(
          "already replied",
        ),
      );
      const unsent = run("append only", { argument: text("xyz") });
      equal(unsent.kind === "finished" && unsent.changes.response, undefined);
      const rejected = run("reject", { argument: text("näh") });
      deepEqual(rejected.kind === "finished" && rejected.changes.response, {
        kind: "reject",
        message: "näh",
      });
      ok(
        violation("reject", { argument: Uint8Array.of(0xff) }).endsWith(
          "invalid UTF-8 string provided",
        ),
      );
    });

    test("reply sizes are limited by mode", () => {
      equal(replyOf(run("append 2 MiB")).length, 2_097_152);
      const text =
        "ic0.msg_reply_data_append: application payload size (2097153) cannot be larger than 2097152.";
      equal(violation("append too much"), `Canister violated contract: ${text}`);
      equal(run("append too much", { mode: "query" }).kind, "finished");
    });

    test("rejects of calls, deadlines", () => {
      const reject = { code: 5, message: "" };
      equal(number("reject code", { mode: "rejectCallback", reject }), 5n);
      equal(number("reject code", { mode: "replyCallback" }), 0n);
      equal(number("deadline", { deadlineNs: 123n }), 123n);
    });

    test("inspect_message accepts once", () => {
      const accepted = run("accept", { mode: "inspectMessage" });
      equal(accepted.kind === "finished" && accepted.changes.accepted, true);
      ok(violation("accept twice", { mode: "inspectMessage" }).includes("already called"));
    });

    test("cycles: available, accepted, refunded, burned", () => {
      const big = (1n << 70n) + 3n;
      equal(number("cycles available", { cyclesAvailable: big }), big);
      equal(number("cycles refunded", { mode: "replyCallback", cyclesRefunded: big }), big);
      const some = run("cycles accept", { cyclesAvailable: 10n, argument: u128(4n) });
      equal(replyNumber(some), 4n);
      equal(some.kind === "finished" && some.changes.cyclesAccepted, 4n);
      const all = run("cycles accept", { cyclesAvailable: big, argument: u128(1n << 100n) });
      equal(replyNumber(all), big);
      equal(all.kind === "finished" && all.changes.cyclesAccepted, big);
      equal(replyNumber(run("accept, reply, accept", { cyclesAvailable: 10n })), 5n);
      const burned = run("cycles burn", {
        cyclesBalance: 1500n,
        freezingLimit: 1000n,
        argument: u128(1n << 90n),
      });
      equal(replyNumber(burned), 500n);
      equal(burned.kind === "finished" && burned.changes.cyclesBurned, 500n);
      equal(replyNumber(run("cycles burn", { cyclesBalance: 5n, argument: u128(9n) })), 0n);
      equal(number("balance", { cyclesBalance: big }), big);
      equal(number("liquid balance", { cyclesBalance: big, freezingLimit: 3n }), 1n << 70n);
      equal(number("liquid balance", { cyclesBalance: 2n, freezingLimit: 3n }), 0n);
      ok(violation("mint").includes("non Cycles Minting Canister"));
    });

    test("status, version, time, timer, counters", () => {
      equal(number("status"), 1n);
      equal(number("status", { status: "stopping" }), 2n);
      equal(number("status", { status: "stopped" }), 3n);
      equal(number("version"), 3n);
      equal(number("time"), context().timeNs);
      const timer = run("timer twice", { argument: u128((1n << 64n) - 1n), globalTimerNs: 5n });
      equal(replyNumber(timer), 77n);
      equal(timer.kind === "finished" && timer.changes.globalTimerNs, (1n << 64n) - 1n);
      const used = number("counter", { argument: u128(0n) });
      ok(used > 1000n && used < 10_000n);
      equal(
        number("counter", { argument: u128(1n), contextInstructions: 1n << 40n }),
        (1n << 40n) + used,
      );
      ok(violation("counter", { argument: u128(2n) }).includes("performance counter type 2"));
      equal(number("replicated"), 1n);
      equal(number("replicated", { mode: "replicatedQuery" }), 1n);
      equal(number("replicated", { mode: "query" }), 0n);
      equal(number("replicated", { mode: "compositeReplyCallback" }), 0n);
    });

    test("controllers and certified data", () => {
      equal(number("controller", { argument: Uint8Array.of(4) }), 1n);
      equal(number("controller", { argument: Uint8Array.of(5) }), 0n);
      equal(number("controller", { argument: new Uint8Array(29) }), 0n);
      equal(
        trapOf(run("controller", { argument: new Uint8Array(30) })).message,
        "Canister provided invalid principal id",
      );
      const set = run("certified data", { argument: text("hash") });
      deepEqual(set.kind === "finished" && set.changes.certifiedData, text("hash"));
      ok(
        violation("certified data", { argument: new Uint8Array(33) }).includes(
          "exceeds the maximum of 32 bytes",
        ),
      );
      equal(number("certificate present", { mode: "query" }), 0n);
      equal(number("certificate present", { mode: "query", dataCertificate: text("c") }), 1n);
    });

    test("environment variables", () => {
      const environment = [
        { name: "a", value: "first" },
        { name: "ü", value: "" },
      ];
      const value = (argument: Uint8Array): string =>
        Buffer.from(replyOf(run("environment value", { environment, argument }))).toString();
      equal(number("environment count", { environment }), 2n);
      equal(number("environment count"), 0n);
      deepEqual(replyOf(run("environment name", { environment, argument: u128(1n) })), text("ü"));
      const trap = trapOf(run("environment name", { environment, argument: u128(2n) }));
      equal(trap.errorCode, 504);
      equal(
        trap.message,
        "Environment variable index 2 is out of bounds. The number of environment variables is 2.",
      );
      equal(number("environment exists", { environment, argument: text("ü") }), 1n);
      equal(number("environment exists", { environment, argument: text("b") }), 0n);
      equal(value(text("a")), "first");
      equal(value(text("ü")), "");
      equal(
        trapOf(run("environment value", { environment, argument: text("b") })).message,
        "Environment variable b not found.",
      );
      ok(
        violation("environment exists", { argument: new Uint8Array(129).fill(97) }).includes(
          "Given 129 bytes, limit is 128 bytes",
        ),
      );
      ok(
        violation("environment exists", { argument: Uint8Array.of(0xff) }).includes(
          "not valid UTF-8",
        ),
      );
    });

    test("quotes", () => {
      const { prices } = context();
      equal(
        number("cost of a call"),
        prices.callBase + 100_000n + prices.responseReservation + prices.callbackReservation,
      );
      equal(number("cost of a canister"), prices.createCanister);
      equal(number("cost of an outcall"), prices.httpRequest(1n, 2n));
      const signature = (algorithm: number, name: string, of = "a signature"): bigint =>
        number(`cost of ${of}`, {
          argument: Uint8Array.of(algorithm, 0, 0, 0, ...text(name)),
        });
      equal(signature(0, "key_1"), 26_153_846_153n);
      equal(signature(7, "key_1"), 1n << 60n);
      equal(signature(0, "key_2"), 2n << 60n);
      equal(signature(1, "key_1", "a Schnorr signature"), 26_153_846_153n);
      equal(signature(2, "key_1", "a Schnorr signature"), 1n << 60n);
      equal(signature(0, "key_1", "a derived key"), 26_153_846_153n);
      equal(signature(1, "key_1", "a derived key"), 1n << 60n);
    });

    test("printing and trapping", () => {
      const printed = run("print", { argument: text("hello") });
      const lines = printed.logs.map((line) => Buffer.from(line).toString());
      deepEqual(lines, ["hello", "(debug_print message out of memory bounds)"]);
      const result = run("trap", { argument: Uint8Array.of(0x61, 0xff) });
      const trap = trapOf(result);
      equal(trap.errorCode, 503);
      equal(trap.message.split(".\n")[0], "Canister called `ic0.trap` with message: 'a\ufffd'");
      equal(Buffer.from(result.logs[0]!).toString(), "[TRAP]: a\ufffd");
      equal(Buffer.from(run("trap").logs[0]!).toString(), "[TRAP]: (no message)");
      ok(trapOf(run("trap out of bounds")).message.includes("(trap message out of memory bounds)"));
    });
  });

  if (width === "i32") {
    test("the old 64-bit cycle calls trap on what they cannot show", () => {
      equal(number("narrow available", { cyclesAvailable: 9n }), 9n);
      equal(number("narrow accept", { cyclesAvailable: 1n << 80n }), (1n << 64n) - 1n);
      equal(number("narrow balance"), context().cyclesBalance);
      equal(number("narrow refunded", { mode: "replyCallback", cyclesRefunded: 8n }), 8n);
      const message = "Canister trapped: cycles amount exceeds 64-bit representation";
      for (const [name, overrides] of [
        ["narrow available", { cyclesAvailable: 1n << 64n }],
        ["narrow refunded", { mode: "replyCallback", cyclesRefunded: 1n << 64n }],
        ["narrow balance", { cyclesBalance: 1n << 64n }],
      ] as const) {
        equal(trapOf(run(name, overrides)).message.split(".\n")[0], message);
      }
    });
  }
}

test("every system call is in some program", () => {
  const programs = Object.values({ ...PROGRAMS, ...NARROW_PROGRAMS }).join(" ");
  const elsewhere = /^(call_|stable|msg_reply|cost_sign_with_schnorr|cost_vetkd)/;
  const missing = SYSTEM_CALL_NAMES.filter(
    (name) =>
      !programs.includes(`$${name} `) &&
      !programs.includes(`$${name})`) &&
      !elsewhere.test(name) &&
      !BYTE_STRINGS.some((prefix) => name === `${prefix}_size` || name === `${prefix}_copy`),
  );
  deepEqual(missing, []);
});
