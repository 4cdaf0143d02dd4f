// Goal: what clients and canisters rely on holds in the corners too: timers over a stop, stop calls
// that nobody answers, cycles accepted by queries, frozen canisters that must be rescued.

import { deepEqual, equal, match, ok } from "node:assert/strict";
import { suite, test } from "node:test";
import { IDL, toIdlPrincipal } from "gyrotron/candid";
import { MANAGEMENT_CANISTER } from "gyrotron/crypto";
import { type IngressStatus, KEY_PREFIX } from "gyrotron/replica";
import { ONLY_ID, ReplicaHarness, wat } from "./harness.ts";

const SECOND = 1_000_000_000n;
const rejection = (status: IngressStatus): string => {
  ok(status.kind === "rejected", `expected a reject, got ${status.kind}`);
  return `${status.errorCode} ${status.message}`;
};
const onlyId = (id: Uint8Array): { canister_id: unknown } => ({ canister_id: toIdlPrincipal(id) });
const escaped = (id: Uint8Array): string =>
  [...id].map((byte) => `\\${byte.toString(16).padStart(2, "0")}`).join("");
const numberOf = (status: { kind: string; reply?: Uint8Array }): number => {
  equal(status.kind, "replied");
  return new DataView(status.reply!.buffer, status.reply!.byteOffset).getUint32(0, true);
};

/** Counts its timer's and heartbeat's runs. */
const TICKER = wat(`(module
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "time" (func $time (result i64)))
  (import "ic0" "global_timer_set" (func $set (param i64) (result i64)))
  (memory 1)
  (func (export "canister_init")
    (drop (call $set (i64.add (call $time) (i64.const 10000000000)))))
  (func (export "canister_global_timer")
    (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1))))
  (func (export "canister_query ticks") (call $append (i32.const 0) (i32.const 4)) (call $reply)))`);
/** Calls \`method\` of \`callee\` with cycles and answers with what comes back of them. */
const payer = (callee: Uint8Array, method: string): Uint8Array =>
  wat(`(module
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
    (import "ic0" "msg_cycles_refunded" (func $refunded (result i64)))
    (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "ic0" "call_cycles_add" (func $cycles (param i64)))
    (import "ic0" "call_perform" (func $perform (result i32)))
    (memory 1) (table funcref (elem $done))
    (data (i32.const 0) "${escaped(callee)}") (data (i32.const 32) "${method}")
    (func $done (param i32) (i64.store (i32.const 64) (call $refunded))
      (call $append (i32.const 64) (i32.const 4)) (call $reply))
    (func (export "canister_update go")
      (call $new (i32.const 0) (i32.const ${callee.length}) (i32.const 32) (i32.const ${method.length})
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (call $cycles (i64.const 1000))
      (drop (call $perform))))`);

suite("timers and heartbeats", () => {
  test("a timer that comes due while its canister is stopped runs once it is started", () => {
    const network = new ReplicaHarness();
    const id = network.install(TICKER);
    network.manage("stop_canister", ONLY_ID, onlyId(id));
    network.timeNs += 20n * SECOND;
    network.settle();
    equal(network.replica.wakeup(network.view), undefined, "nothing is due meanwhile");
    network.manage("start_canister", ONLY_ID, onlyId(id));
    network.settle();
    equal(numberOf(network.query(id, "ticks")), 1);
    network.settle();
    equal(numberOf(network.query(id, "ticks")), 1);
  });

  test("heartbeats that cannot keep up do not pile up", () => {
    const network = new ReplicaHarness();
    const busy = wat(`(module (memory 1) (data $none "")
      (func (export "canister_heartbeat") (local $i i32)
        (loop $again
          ${"(data.drop $none)".repeat(10)}
          (br_if $again (i32.lt_u
            (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 3000000))))))`);
    const ids = [network.install(busy), network.install(busy)];
    for (let i = 0; i < 4; i++) network.block();
    const waiting = [...network.view.range(KEY_PREFIX.message)].length;
    ok(waiting <= ids.length, `${waiting} messages wait`);
  });
});

suite("stopping", () => {
  test("a stop call that nobody answers times out, although nothing happens on the canister", () => {
    const network = new ReplicaHarness();
    // A canister that stops itself: its own call stays open as long as the stop call does.
    const argument = [0x44, 0x49, 0x44, 0x4c, 1, 0x6c, 1, 0xb3, 0xc4, 0xb1, 0xf2, 0x04, 0x68, 1, 0];
    const bytes = Uint8Array.from([...argument, 1, 10]);
    const suicidal = wat(`(module
      (import "ic0" "msg_reply" (func $reply))
      (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
      (import "ic0" "msg_reject_msg_size" (func $size (result i32)))
      (import "ic0" "msg_reject_msg_copy" (func $copy (param i32 i32 i32)))
      (import "ic0" "canister_self_copy" (func $self (param i32 i32 i32)))
      (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
      (import "ic0" "call_data_append" (func $data (param i32 i32)))
      (import "ic0" "call_perform" (func $perform (result i32)))
      (memory 1) (table funcref (elem $done $failed))
      (data (i32.const 0) "stop_canister") (data (i32.const 32) "${escaped(bytes)}")
      (func $done (param i32) (call $reply))
      (func $failed (param i32) (call $copy (i32.const 100) (i32.const 0) (call $size))
        (call $append (i32.const 100) (call $size)) (call $reply))
      (func (export "canister_update go")
        (call $self (i32.const ${32 + bytes.length}) (i32.const 0) (i32.const 10))
        (call $new (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 13)
          (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
        (call $data (i32.const 32) (i32.const ${bytes.length + 10}))
        (drop (call $perform))))`);
    const id = network.install(suicidal);
    const settings = IDL.Record({
      canister_id: IDL.Principal,
      settings: IDL.Record({ controllers: IDL.Opt(IDL.Vec(IDL.Principal)) }),
    });
    network.manage("update_settings", settings, {
      ...onlyId(id),
      settings: { controllers: [[toIdlPrincipal(id)]] },
    });
    const go = network.envelope(id, "go", new Uint8Array());
    network.settle(go);
    equal(network.status(go).kind, "processing");
    equal(network.canister(id).status, "stopping");
    const due = network.replica.wakeup(network.view);
    ok(due !== undefined && due <= network.timeNs + 301n * SECOND, "a block is due for it");
    network.timeNs = due;
    network.settle();
    const status = network.status(go);
    ok(status.kind === "replied");
    match(String.fromCharCode(...status.reply), /IC0206: Stop canister request timed out/);
    equal(network.canister(id).status, "stopped");
    equal(network.replica.wakeup(network.view), undefined);
  });
});

suite("cycles", () => {
  test("what a query accepts in a replicated call stays accepted", () => {
    const network = new ReplicaHarness();
    const shop = network.install(
      wat(`(module
        (import "ic0" "msg_reply" (func $reply))
        (import "ic0" "msg_cycles_accept" (func $accept (param i64) (result i64)))
        (func (export "canister_query buy") (drop (call $accept (i64.const 300))) (call $reply)))`),
    );
    const id = network.install(payer(shop, "buy"));
    const before = network.cyclesTotal();
    const worth = network.worthOf(shop);
    equal(numberOf(network.call(id, "go")), 700);
    equal(network.worthOf(shop), worth + 300n);
    equal(network.cyclesTotal(), before);
  });

  test("a canister with a freezing threshold of ages can be rescued by its settings", () => {
    const network = new ReplicaHarness();
    const id = network.install(TICKER);
    const settings = IDL.Record({
      canister_id: IDL.Principal,
      settings: IDL.Record({ freezing_threshold: IDL.Opt(IDL.Nat) }),
    });
    const threshold = (seconds: bigint): IngressStatus =>
      network.manage("update_settings", settings, {
        ...onlyId(id),
        settings: { freezing_threshold: [seconds] },
      });
    equal(threshold((1n << 64n) - 1n).kind, "replied");
    match(rejection(network.call(id, "ticks")), /^IC0207/);
    equal(threshold(2_592_000n).kind, "replied");
    equal(network.call(id, "ticks").kind, "replied");
  });

  test("others cannot make a canister pay for showing a status that they may not see", () => {
    const network = new ReplicaHarness();
    const id = network.install(TICKER);
    const content = network.content(MANAGEMENT_CANISTER, "canister_status", statusArgument(id));
    equal(network.replica.precheck(network.view, network.timeNs, content), undefined);
    const stranger = { ...content, sender: Uint8Array.of(1, 2, 3) };
    const refused = network.replica.precheck(network.view, network.timeNs, stranger);
    ok(refused?.kind === "rejected");
    deepEqual(refused.errorCode, "IC0512");
  });
});

function statusArgument(id: Uint8Array): Uint8Array {
  const head = [0x44, 0x49, 0x44, 0x4c, 1, 0x6c, 1, 0xb3, 0xc4, 0xb1, 0xf2, 0x04, 0x68, 1, 0];
  return Uint8Array.from([...head, 1, id.length, ...id]);
}
