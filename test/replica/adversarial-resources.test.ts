// Goal: one message, or one block of them, takes a bounded amount of memory and time of every node,
// whatever it does for its price.
// Method: programs that would take gigabytes or hours; each test has a limit of time.

import { deepEqual, equal, ok } from "node:assert/strict";
import { suite, test } from "node:test";
import { encodeCandid, IDL, toIdlPrincipal } from "gyrotron/candid";
import { MANAGEMENT_CANISTER, sha256 } from "gyrotron/crypto";
import { KEY_PREFIX } from "gyrotron/replica";
import { ReplicaHarness, wat } from "./harness.ts";

const MINUTES_2 = { timeout: 120_000 };
const RICH = 10n ** 20n;
/** A module whose update `go` runs `body` `times` times, counting in $i, and answers with $answer. */
const loop = (times: number, body: string, answer = ""): Uint8Array =>
  wat(`(module
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
    (import "ic0" "debug_print" (func $print (param i32 i32)))
    (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
    (import "ic0" "stable64_read" (func $read (param i64 i64 i64)))
    (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "ic0" "call_data_append" (func $data (param i32 i32)))
    (import "ic0" "call_perform" (func $perform (result i32)))
    (memory 200)
    (table funcref (elem $ignore))
    (data (i32.const 100) "method")
    (func $ignore (param i32))
    (func (export "canister_init") (drop (call $grow (i64.const 4000000))))
    (func (export "canister_update nothing") (call $reply))
    (func (export "canister_update go") (local $i i32) (local $n i32)
      (loop $again
        ${body}
        (br_if $again
          (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const ${times}))))
      ${answer} (call $reply)))`);
const ANSWER_N = `(i32.store (i32.const 0) (local.get $n)) (call $append (i32.const 0) (i32.const 4))`;
const PERFORM = "(local.set $n (i32.add (local.get $n) (i32.eqz (call $perform))))";
const numberOf = (status: { kind: string; reply?: Uint8Array }): number => {
  equal(status.kind, "replied");
  return new DataView(status.reply!.buffer, status.reply!.byteOffset).getUint32(0, true);
};

suite("one message", () => {
  test("prints a million empty lines", MINUTES_2, () => {
    const network = new ReplicaHarness();
    const id = network.install(loop(1_000_000, "(call $print (i32.const 0) (i32.const 0))"));
    equal(network.call(id, "go").kind, "replied");
    ok(network.console.length <= 110_000, `${network.console.length} lines`);
  });

  test("prints a million short lines", MINUTES_2, () => {
    const network = new ReplicaHarness();
    const id = network.install(loop(1_000_000, "(call $print (i32.const 0) (i32.const 1))"));
    equal(network.call(id, "go").kind, "replied");
    ok(network.console.length <= 110_000, `${network.console.length} lines`);
  });

  test("appends nothing to its reply a million times", MINUTES_2, () => {
    const network = new ReplicaHarness();
    const id = network.install(
      loop(1_000_000, "(call $append (i32.const 0) (i32.const 0))", ANSWER_N),
    );
    const heapBefore = process.memoryUsage().heapUsed;
    equal(network.call(id, "go").kind, "replied");
    ok(process.memoryUsage().heapUsed - heapBefore < 60e6);
  });

  test("reads a byte of every chunk of a large stable memory", MINUTES_2, () => {
    const network = new ReplicaHarness();
    const at = "(i64.mul (i64.extend_i32_u (local.get $i)) (i64.const 16384))";
    const id = network.install(
      loop(200_000, `(call $read (i64.const 0) ${at} (i64.const 1))`),
      new Uint8Array(),
      RICH,
    );
    const heapBefore = process.memoryUsage().heapUsed;
    const before = network.canister(id).consumed.instructions;
    equal(network.call(id, "go").kind, "replied");
    ok(process.memoryUsage().heapUsed - heapBefore < 60e6, "nothing of it is kept");
    ok(network.canister(id).consumed.instructions - before > 200_000n * 2_000n, "and it is paid");
  });

  test("calls ten thousand canisters that do not exist", MINUTES_2, () => {
    const network = new ReplicaHarness();
    const call = `(i32.store (i32.const 8) (local.get $i))
      (call $new (i32.const 0) (i32.const 12) (i32.const 100) (i32.const 6)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)) ${PERFORM}`;
    const id = network.install(loop(10_000, call, ANSWER_N), new Uint8Array(), RICH);
    const status = network.call(id, "go");
    equal(numberOf(status), 5_000);
    deepEqual(network.canister(id).outstandingCalls, []);
    equal(network.canister(id).openContexts, 0);
  });

  test("sends 500 arguments of ten mebibytes", MINUTES_2, () => {
    const network = new ReplicaHarness();
    const call = `(call $new (i32.const 0) (i32.const 12) (i32.const 100) (i32.const 6)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (call $data (i32.const 0) (i32.const 10000000)) ${PERFORM}`;
    const id = network.install(loop(500, call, ANSWER_N), new Uint8Array(), RICH);
    const status = network.call(id, "go");
    equal(numberOf(status), 6);
  });
});

suite("one block", () => {
  test("of installations from chunks with a wrong hash ends after a few of them", MINUTES_2, () => {
    const network = new ReplicaHarness();
    const id = network.create();
    const chunk = new Uint8Array(1_048_576).fill(1);
    const upload = IDL.Record({ canister_id: IDL.Principal, chunk: IDL.Vec(IDL.Nat8) });
    const canister = toIdlPrincipal(id);
    equal(network.manage("upload_chunk", upload, { canister_id: canister, chunk }).kind, "replied");
    const install = encodeCandid(
      [INSTALL_CHUNKED],
      [
        {
          mode: { install: null },
          target_canister: canister,
          chunk_hashes_list: Array.from({ length: 100 }, () => ({ hash: sha256(chunk) })),
          wasm_module_hash: new Uint8Array(32),
          arg: [],
        },
      ],
    );
    const calls = Array.from({ length: 30 }, () =>
      network.envelope(MANAGEMENT_CANISTER, "install_chunked_code", install),
    );
    network.block(...calls);
    const done = calls.filter((call) => network.status(call).kind === "rejected").length;
    ok(done >= 1 && done <= 10, `${done} done in one block`);
    ok(network.moreWork);
  });

  test("of timers far ahead does not read all of them to find the next", () => {
    const network = new ReplicaHarness();
    const timer = wat(`(module
      (import "ic0" "global_timer_set" (func $set (param i64) (result i64)))
      (func (export "canister_global_timer"))
      (func (export "canister_init") (drop (call $set (i64.const -1)))))`);
    for (let i = 0; i < 5; i++) network.install(timer);
    let read = 0;
    const counting = {
      get: (key: Uint8Array) => network.view.get(key),
      peek: (key: Uint8Array) => network.view.peek(key),
      first: (prefix: Uint8Array, from?: Uint8Array) => network.view.first(prefix, from),
      *range(prefix: Uint8Array) {
        for (const entry of network.view.range(prefix)) {
          if (entry[0][0] === KEY_PREFIX.timer[0]) read++;
          yield entry;
        }
      },
      *keys(prefix: Uint8Array) {
        for (const [key] of this.range(prefix)) yield key;
      },
    };
    equal(network.replica.wakeup(counting), (1n << 64n) - 1n);
    ok(read <= 1, `${read} timers read`);
  });
});

const INSTALL_CHUNKED = IDL.Record({
  mode: IDL.Variant({ install: IDL.Null }),
  target_canister: IDL.Principal,
  chunk_hashes_list: IDL.Vec(IDL.Record({ hash: IDL.Vec(IDL.Nat8) })),
  wasm_module_hash: IDL.Vec(IDL.Nat8),
  arg: IDL.Vec(IDL.Nat8),
});
