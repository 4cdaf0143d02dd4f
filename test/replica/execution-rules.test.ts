// Goal: the rules of message execution that canister developers build on hold to the letter: order,
// one answer, best-effort calls, full queues, frozen canisters, what cleanup may rely on, and texts.
// Method: text canisters made of the same few system calls, on a replica without a node.

import { deepEqual, equal, match } from "node:assert/strict";
import { suite, test } from "node:test";
import { encodeCandid, IDL, toIdlPrincipal } from "gyrotron/candid";
import { formatPrincipal, MANAGEMENT_CANISTER } from "gyrotron/crypto";
import type { IngressStatus } from "gyrotron/replica";
import { ONLY_ID, ReplicaHarness, wat } from "./harness.ts";

const SECOND = 1_000_000_000n;

/**
 * A canister. `$call slot method length` starts a call of the canister whose id stands at 100 with
 * callbacks `slot` and `slot + 1` of the table; `callees` are written there at installation.
 */
function canister(code: string, options: { callee?: Uint8Array; table?: string } = {}): Uint8Array {
  const callee = [...(options.callee ?? [])];
  const id = callee.map((byte) => `\\${byte.toString(16).padStart(2, "0")}`).join("");
  return wat(`(module
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "msg_reject" (func $reject (param i32 i32)))
    (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
    (import "ic0" "msg_arg_data_copy" (func $arg (param i32 i32 i32)))
    (import "ic0" "msg_arg_data_size" (func $arg_size (result i32)))
    (import "ic0" "msg_reject_code" (func $reject_code (result i32)))
    (import "ic0" "msg_reject_msg_size" (func $reject_size (result i32)))
    (import "ic0" "msg_reject_msg_copy" (func $reject_copy (param i32 i32 i32)))
    (import "ic0" "msg_cycles_refunded" (func $refunded (result i64)))
    (import "ic0" "msg_deadline" (func $deadline (result i64)))
    (import "ic0" "time" (func $time (result i64)))
    (import "ic0" "global_timer_set" (func $timer (param i64) (result i64)))
    (import "ic0" "env_var_count" (func $env_count (result i32)))
    (import "ic0" "env_var_value_size" (func $env_size (param i32 i32) (result i32)))
    (import "ic0" "env_var_value_copy" (func $env_copy (param i32 i32 i32 i32 i32)))
    (import "ic0" "trap" (func $trap (param i32 i32)))
    (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "ic0" "call_data_append" (func $data (param i32 i32)))
    (import "ic0" "call_on_cleanup" (func $on_cleanup (param i32 i32)))
    (import "ic0" "call_cycles_add" (func $cycles (param i64)))
    (import "ic0" "call_with_best_effort_response" (func $best_effort (param i32)))
    (import "ic0" "call_perform" (func $perform (result i32)))
    (memory 2)
    ${options.table ?? ""}
    (data (i32.const 100) "${id}")
    (data (i32.const 200) "take")
    (data (i32.const 210) "raw_rand")
    (data (i32.const 220) "oops")
    (data (i32.const 230) "COLOUR")
    (func $call (param $slot i32) (param $method i32) (param $length i32)
      (call $new (i32.const 100) (i32.const ${callee.length})
        (local.get $method) (local.get $length)
        (local.get $slot) (i32.const 0) (i32.add (local.get $slot) (i32.const 1)) (i32.const 0)))
    (func $answer_reject
      (i32.store8 (i32.const 999) (call $reject_code))
      (call $reject_copy (i32.const 1000) (i32.const 0) (call $reject_size))
      (call $append (i32.const 999) (i32.add (i32.const 1) (call $reject_size))) (call $reply))
    (func (export "canister_query state")
      (call $append (i32.const 0) (i32.const 16)) (call $reply))
    ${code})`);
}

const TAKE = `(i32.const 200) (i32.const 4)`;
const RAW_RAND = `(i32.const 210) (i32.const 8)`;
const bytesOf = (result: { kind: string; reply?: Uint8Array }): number[] => {
  equal(result.kind, "replied", JSON.stringify(result));
  return [...result.reply!];
};
const rejectSeen = (status: IngressStatus): [code: number, text: string] => {
  const [code, ...text] = bytesOf(status);
  return [code!, String.fromCharCode(...text)];
};
const rejection = (status: { kind: string; errorCode?: string; message?: string }): string => {
  equal(status.kind, "rejected");
  return `${status.errorCode} ${status.message}`;
};
const NO_ARGUMENT = new Uint8Array();

function change(network: ReplicaHarness, id: Uint8Array, settings: object): void {
  const fields = {
    freezing_threshold: IDL.Opt(IDL.Nat),
    wasm_memory_limit: IDL.Opt(IDL.Nat),
    environment_variables: IDL.Opt(IDL.Vec(IDL.Record({ name: IDL.Text, value: IDL.Text }))),
  };
  const all = { freezing_threshold: [], wasm_memory_limit: [], environment_variables: [] };
  const type = IDL.Record({ canister_id: IDL.Principal, settings: IDL.Record(fields) });
  const value = { canister_id: toIdlPrincipal(id), settings: { ...all, ...settings } };
  equal(network.manage("update_settings", type, value).kind, "replied");
}

suite("answers", () => {
  test("texts: no answer, and a reject of the callee's own as its caller sees it", () => {
    const network = new ReplicaHarness();
    const callee = network.install(
      canister(`(func (export "canister_update silent"))
        (func (export "canister_update take") (call $reject (i32.const 220) (i32.const 4)))`),
    );
    equal(
      rejection(network.call(callee, "silent")),
      `IC0506 Canister ${formatPrincipal(callee)} did not reply to the call`,
    );
    const id = network.install(
      canister(
        `(func $done (param i32)) (func $failed (param i32) (call $answer_reject))
        (func (export "canister_update go")
          (call $call (i32.const 0) ${TAKE}) (drop (call $perform)))`,
        { callee, table: "(table funcref (elem $done $failed))" },
      ),
    );
    deepEqual(rejectSeen(network.call(id, "go")), [4, "oops"], "no code before it");
    network.manage("stop_canister", ONLY_ID, { canister_id: toIdlPrincipal(callee) });
    deepEqual(rejectSeen(network.call(id, "go")), [
      5,
      `IC0508: Canister ${formatPrincipal(callee)} is not running`,
    ]);
    equal(
      rejection(network.query(callee, "state")),
      `IC0508 Canister ${formatPrincipal(callee)} is stopped and therefore does not have a CallContextManager`,
    );
  });

  test("cycles of a call that is not answered come back", () => {
    const network = new ReplicaHarness();
    const callee = network.install(canister(`(func (export "canister_update take"))`));
    const id = network.install(
      canister(
        `(func $done (param i32) (i64.store (i32.const 0) (call $refunded))
          (call $append (i32.const 0) (i32.const 8)) (call $reply))
        (func (export "canister_update go")
          (call $call (i32.const 0) ${TAKE}) (call $cycles (i64.const 77)) (drop (call $perform)))`,
        { callee, table: "(table funcref (elem $done $done))" },
      ),
    );
    const before = network.worthOf(callee);
    deepEqual(bytesOf(network.call(id, "go")), [77, 0, 0, 0, 0, 0, 0, 0]);
    equal(network.worthOf(callee), before);
  });

  test("calls of one execution to one callee start in their order", () => {
    const network = new ReplicaHarness();
    const callee = network.install(
      canister(`(func (export "canister_update take")
        (i64.store (i32.const 0) (i64.shl (i64.load (i32.const 0)) (i64.const 8)))
        (call $arg (i32.const 0) (i32.const 0) (i32.const 1)) (call $reply))`),
    );
    const one = (n: number): string =>
      `(i32.store8 (i32.const 50) (i32.const ${n})) (call $call (i32.const 0) ${TAKE})
      (call $data (i32.const 50) (i32.const 1)) (drop (call $perform))`;
    const id = network.install(
      canister(
        `(func $done (param i32)) (func (export "canister_update go")
          ${[1, 2, 3, 4].map(one).join("")} (call $reply))`,
        { callee, table: "(table funcref (elem $done $done))" },
      ),
    );
    network.call(id, "go");
    deepEqual(bytesOf(network.query(callee, "state")).slice(0, 4), [4, 3, 2, 1]);
  });

  test("a trap in one callback leaves the answer to another; if all trap, the caller learns of the last", () => {
    const network = new ReplicaHarness();
    const callee = network.install(
      canister(`(func (export "canister_update take") (call $reply))`),
    );
    const caller = (second: string): Uint8Array =>
      network.install(
        canister(
          `(func $first (param i32) (call $trap (i32.const 220) (i32.const 4)))
          (func $second (param i32) ${second})
          (func (export "canister_update go")
            (call $call (i32.const 0) ${TAKE}) (drop (call $perform))
            (call $call (i32.const 1) ${TAKE}) (drop (call $perform)))`,
          { callee, table: "(table funcref (elem $first $second $second))" },
        ),
      );
    deepEqual(bytesOf(network.call(caller("(call $reply)"), "go")), []);
    match(rejection(network.call(caller("unreachable"), "go")), /^IC0502 .*unreachable/);
    match(rejection(network.call(caller(""), "go")), /^IC0506 Canister \S+ did not reply/);
  });

  test("code uninstalled while a call waits: the caller is told, the answer finds nobody", () => {
    const network = new ReplicaHarness();
    const callee = network.install(
      canister(
        `(func $done (param i32) (call $reply)) (func (export "canister_update take")
          (call $call (i32.const 0) ${RAW_RAND}) (drop (call $perform)))`,
        { table: "(table funcref (elem $done $done))" },
      ),
    );
    const envelope = network.envelope(callee, "take", NO_ARGUMENT);
    const argument = encodeCandid([ONLY_ID], [{ canister_id: toIdlPrincipal(callee) }]);
    const uninstall = network.envelope(MANAGEMENT_CANISTER, "uninstall_code", argument);
    network.block(envelope, uninstall);
    equal(network.moreWork, true, "the answer comes with the next block");
    match(rejection(network.status(envelope)), /^IC0406 Canister has been uninstalled\.?$/);
    network.settle();
    equal(network.canister(callee).openContexts, 0);
  });
});

suite("instructions", () => {
  test("updates, queries and inspect_message have their own limits", () => {
    const network = new ReplicaHarness();
    const fill = "(memory.fill (i32.const 0) (i32.const 1) (i32.const 131072))".repeat(8);
    const endless = `(loop $again ${fill} (br $again))`;
    const id = network.install(
      canister(
        ["update go", "query ask", "inspect_message"]
          .map((name) => `(func (export "canister_${name}") ${endless})`)
          .join(""),
      ),
    );
    const text = (limit: string): string =>
      `IC0522 Error from Canister ${formatPrincipal(id)}: Canister exceeded the limit of ${limit} instructions for single message execution.`;
    const startsWith = (answer: string, expected: string): void =>
      equal(answer.slice(0, expected.length), expected);
    startsWith(rejection(network.call(id, "go")), text("40000000000"));
    startsWith(rejection(network.query(id, "ask")), text("5000000000"));
    const content = network.content(id, "go");
    const refused = network.replica.precheck(network.view, network.timeNs, content);
    startsWith(rejection(refused!), text("200000000"));
  });
});

suite("cleanup", () => {
  const failing = (onReply: string, cleanup: string): Uint8Array =>
    canister(
      `(func $done (param i32) (local $i i32) ${onReply})
      (func $cleanup (param i32) (i32.store (i32.const 0) (i32.const 7)) ${cleanup})
      (func (export "canister_update go")
        (call $call (i32.const 0) ${RAW_RAND}) (call $on_cleanup (i32.const 2) (i32.const 0))
        (drop (call $perform)))`,
      { table: "(table funcref (elem $done $done $cleanup))" },
    );

  test("it runs after a callback that used up its instructions", () => {
    const network = new ReplicaHarness();
    const id = network.install(
      failing(
        `(loop $again
          ${"(memory.fill (i32.const 0) (i32.const 1) (i32.const 131072))".repeat(8)}
          (br $again))`,
        "",
      ),
    );
    match(rejection(network.call(id, "go")), /^IC0522 .*exceeded the limit of 38000000000 instr/);
    equal(bytesOf(network.query(id, "state"))[0], 7);
  });

  test("if it traps too, both are told and its effects are dropped", () => {
    const network = new ReplicaHarness();
    const id = network.install(
      failing("(call $trap (i32.const 220) (i32.const 4))", "(unreachable)"),
    );
    const [first, second] = rejection(network.call(id, "go")).split(
      "\n\ncall_on_cleanup also failed:\n\n",
    );
    match(first!, /^IC0503 .*with message: 'oops'/);
    match(second!, /unreachable/);
    equal(bytesOf(network.query(id, "state"))[0], 0);
  });
});

suite("best-effort calls", () => {
  test("the caller gives up at the deadline; what comes later is dropped, its cycles are lost", () => {
    const network = new ReplicaHarness();
    const callee = network.install(
      canister(
        `(func $done (param i32) (call $append (i32.const 220) (i32.const 4)) (call $reply))
        (func (export "canister_update take")
          (i64.store (i32.const 0) (call $deadline)) (i64.store (i32.const 8) (call $time))
          (call $call (i32.const 0) ${RAW_RAND}) (drop (call $perform)))`,
        { table: "(table funcref (elem $done $done))" },
      ),
    );
    const id = network.install(
      canister(
        `(func $done (param i32) (unreachable))
        (func $failed (param i32) (i64.store (i32.const 0) (call $refunded)) (call $answer_reject))
        (func (export "canister_update go")
          (call $call (i32.const 0) ${TAKE}) (call $best_effort (i32.const 1))
          (call $cycles (i64.const 1000)) (drop (call $perform)))`,
        { callee, table: "(table funcref (elem $done $failed))" },
      ),
    );
    const before = network.cyclesTotal();
    deepEqual(rejectSeen(network.call(id, "go")), [6, "Call has timed out."]);
    deepEqual(bytesOf(network.query(id, "state")).slice(0, 8), [0, 0, 0, 0, 0, 0, 0, 0]);
    const { buffer } = Uint8Array.from(bytesOf(network.query(callee, "state")));
    const [deadline, time] = new BigUint64Array(buffer);
    equal(deadline, time! + SECOND, "the callee knows until when it is waited for");
    equal(network.cyclesTotal(), before - 1000n);
    equal(network.canister(id).openContexts, 0);
    equal(network.canister(callee).openContexts, 0);
  });
});

suite("queues", () => {
  test("500 calls may be open to one callee; the next call_perform gives 2", () => {
    const network = new ReplicaHarness();
    const callee = network.install(
      canister(`(func (export "canister_update take") (call $reply))`),
    );
    const id = network.install(
      canister(
        `(func $done (param i32)) (func (export "canister_update go") (local $made i32)
          (loop $again
            (call $call (i32.const 0) ${TAKE})
            (i32.store (i32.const 4) (call $perform))
            (if (i32.eqz (i32.load (i32.const 4))) (then
              (local.set $made (i32.add (local.get $made) (i32.const 1))) (br $again))))
          (i32.store (i32.const 0) (local.get $made))
          (call $append (i32.const 0) (i32.const 8)) (call $reply))`,
        { callee, table: "(table funcref (elem $done $done))" },
      ),
    );
    for (let again = 0; again < 2; again++)
      deepEqual(bytesOf(network.call(id, "go")), [500 & 255, 500 >> 8, 0, 0, 2, 0, 0, 0]);
  });
});

suite("settings", () => {
  test("a frozen canister refuses calls and queries and skips timers, but takes answers", () => {
    const network = new ReplicaHarness();
    const id = network.install(
      canister(
        `(func $done (param i32) (i32.store (i32.const 0) (i32.const 1)) (call $reply))
        (func (export "canister_global_timer") (i32.store (i32.const 4) (i32.const 1)))
        (func (export "canister_update go")
          (drop (call $timer (i64.add (call $time) (i64.const 5000000000))))
          (call $call (i32.const 0) ${RAW_RAND}) (drop (call $perform)))`,
        { table: "(table funcref (elem $done $done))" },
      ),
    );
    const envelope = network.envelope(id, "go", NO_ARGUMENT);
    network.block(envelope);
    equal(network.status(envelope).kind, "processing");
    change(network, id, { freezing_threshold: [1n << 62n] });
    network.settle();
    deepEqual(bytesOf(network.status(envelope) as never), []);
    const name = formatPrincipal(id);
    match(
      rejection(network.call(id, "go")),
      /^IC0207 Canister \S+ is out of cycles: please top up the canister with at least \d+ additional cycles$/,
    );
    equal(
      rejection(network.query(id, "state")),
      `IC0207 Canister ${name} is unable to process query calls because it's frozen. Please top up the canister with cycles and try again.`,
    );
    network.timeNs += 10n * SECOND;
    network.settle();
    change(network, id, { freezing_threshold: [1n] });
    network.settle();
    deepEqual(bytesOf(network.query(id, "state")).slice(0, 8), [1, 0, 0, 0, 0, 0, 0, 0]);
  });

  test("wasm_memory_limit binds updates, not callbacks and timers", () => {
    const network = new ReplicaHarness();
    const grow = "(drop (memory.grow (i32.const 1)))";
    const id = network.install(
      canister(
        `(func $done (param i32) ${grow} (call $reply))
        (func (export "canister_global_timer") ${grow})
        (func (export "canister_update grow") ${grow} (call $reply))
        (func (export "canister_update size")
          (i32.store (i32.const 0) (memory.size)) (call $append (i32.const 0) (i32.const 1))
          (drop (call $timer (i64.add (call $time) (i64.const 1)))) (call $reply))
        (func (export "canister_update go")
          (call $call (i32.const 0) ${RAW_RAND}) (drop (call $perform)))`,
        { table: "(table funcref (elem $done $done))" },
      ),
    );
    change(network, id, { wasm_memory_limit: [2n * 65_536n] });
    match(
      rejection(network.call(id, "grow")),
      /^IC0539 .*limit of 131072 bytes\. The peak Wasm memory usage was 196608 bytes/,
    );
    equal(network.call(id, "go").kind, "replied");
    deepEqual(bytesOf(network.call(id, "size")), [3]);
    network.settle();
    deepEqual(bytesOf(network.call(id, "size")), [4], "the timer grew it");
  });

  test("environment variables are read by the code, and a missing one is told by name", () => {
    const network = new ReplicaHarness();
    const id = network.install(
      canister(`(func (export "canister_query colour") (local $size i32)
        (i32.store (i32.const 0) (call $env_count))
        (local.set $size (call $env_size (i32.const 230) (i32.const 6)))
        (call $env_copy (i32.const 230) (i32.const 6) (i32.const 1) (i32.const 0)
          (local.get $size))
        (call $append (i32.const 0) (i32.add (i32.const 1) (local.get $size))) (call $reply))`),
    );
    match(
      rejection(network.query(id, "colour")),
      /^IC0504 Error from Canister \S+: Environment variable COLOUR not found\./,
    );
    const variable = (name: string, value: string): object => ({ name, value });
    change(network, id, {
      environment_variables: [[variable("SIZE", "10"), variable("COLOUR", "red")]],
    });
    equal(String.fromCharCode(...bytesOf(network.query(id, "colour"))), "\x02red");
  });
});

suite("memory access limits", () => {
  /** Writes one byte more than so many GiB into stable memory, out of a heap that nobody has touched. */
  const writer = (gib: number): Uint8Array => {
    const pages = gib * 16_384 + 1;
    const write = `(drop (call $grow (i64.const ${pages})))
      (call $write (i64.const 0) (i64.const 0) (i64.const ${gib * 2 ** 30 + 1}))`;
    return wat(`(module
      (import "ic0" "msg_reply" (func $reply))
      (import "ic0" "stable64_size" (func $size (result i64)))
      (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
      (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
      (memory ${pages})
      (func (export "canister_update go") ${write} (call $reply))
      (func (export "canister_query go, local") ${write} (call $reply))
      (func (export "canister_update unchanged")
        (if (i64.ne (call $size) (i64.const 0)) (then unreachable)) (call $reply)))`);
  };
  const refused = (kib: number): RegExp =>
    new RegExp(
      "^IC0524 Error from Canister \\S+: Canister exceeded memory access limits: Exceeded the limit " +
        "for the number of modified pages in the stable memory in a single message execution: " +
        `limit: ${kib} KB\\.`,
    );

  test("more than 2 GiB of changed stable memory stop an update, and nothing changes", () => {
    const network = new ReplicaHarness();
    const id = network.install(writer(2));
    match(rejection(network.call(id, "go")), refused(2 * 1_048_576));
    equal(network.call(id, "unchanged").kind, "replied");
  });

  test("more than 1 GiB stop a query", () => {
    const network = new ReplicaHarness();
    const id = network.install(writer(1));
    match(rejection(network.query(id, "go, local")), refused(1_048_576));
  });
});
