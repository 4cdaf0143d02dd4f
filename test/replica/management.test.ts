// Goal: the management canister does what the IC's does, with its codes and texts, and a refused
// request changes nothing but what the attempt costs.

import { deepEqual, equal, match, ok } from "node:assert/strict";
import { suite, test } from "node:test";
import { utf8Bytes } from "gyrotron/base";
import { decodeCandid, encodeCandid, IDL, toIdlPrincipal } from "gyrotron/candid";
import { MANAGEMENT_CANISTER, sha256 } from "gyrotron/crypto";
import type { IngressStatus } from "gyrotron/replica";
import { ANONYMOUS, ONLY_ID, ReplicaHarness, wat } from "./harness.ts";

const answerWith = (text: string): string => `(module
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (memory 1)
  (global $runs (mut i32) (i32.const 0))
  (data (i32.const 0) "${text}")
  (func (export "canister_query read") (call $append (i32.const 0) (i32.const ${text.length})) (call $reply)))`;

const VERSION_1 = wat(answerWith("one"));
const VERSION_2 = wat(answerWith("two"));
const TRAPS_IN_INIT = wat(`(module (import "ic0" "trap" (func $trap (param i32 i32))) (memory 1)
  (func (export "canister_init") (i32.store (i32.const 0) (i32.const 5)) (call $trap (i32.const 0) (i32.const 0))))`);
const TRAPS_IN_UPGRADE = wat(
  `(module (memory 1) (func (export "canister_post_upgrade") unreachable))`,
);
/** Keeps what it is told in stable memory, and counts upgrades there. */
const STABLE = wat(`(module
  (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
  (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
  (import "ic0" "stable64_read" (func $read (param i64 i64 i64)))
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (memory 1)
  (func $answer (call $append (i32.const 0) (i32.const 8)) (call $reply))
  (func (export "canister_init") (drop (call $grow (i64.const 1))))
  (func (export "canister_pre_upgrade")
    (call $read (i64.const 0) (i64.const 100) (i64.const 1))
    (i32.store8 (i32.const 0) (i32.add (i32.load8_u (i32.const 0)) (i32.const 1)))
    (call $write (i64.const 100) (i64.const 0) (i64.const 1)))
  (func (export "canister_update note")
    (i32.store8 (i32.const 4) (i32.const 42))
    (call $write (i64.const 101) (i64.const 4) (i64.const 1)) (call $answer))
  (func (export "canister_query stable")
    (call $read (i64.const 0) (i64.const 100) (i64.const 8)) (call $answer)))`);

const rejection = (status: IngressStatus): string => {
  ok(status.kind === "rejected", `expected a reject, got ${status.kind}`);
  return `${status.errorCode} ${status.message}`;
};
const text = (result: { kind: string; reply?: Uint8Array }): string => {
  equal(result.kind, "replied");
  return String.fromCharCode(...result.reply!);
};
const onlyId = (id: Uint8Array): { canister_id: unknown } => ({ canister_id: toIdlPrincipal(id) });

suite("code", () => {
  test("install, reinstall and upgrade", () => {
    const network = new ReplicaHarness();
    const id = network.install(VERSION_1);
    equal(text(network.query(id, "read")), "one");
    match(
      rejection(network.installOn(id, VERSION_2, { install: null })),
      /^IC0514 .*not empty.*reinstall/,
    );
    equal(text(network.query(id, "read")), "one");
    equal(network.installOn(id, VERSION_2, { upgrade: [] }).kind, "replied");
    equal(text(network.query(id, "read")), "two");
    equal(network.installOn(id, VERSION_1, { reinstall: null }).kind, "replied");
    equal(text(network.query(id, "read")), "one");
    deepEqual(network.canister(id).code?.moduleHash, sha256(VERSION_1));
  });

  test("stable memory outlives upgrades and not reinstalls; pre_upgrade runs on the old code", () => {
    const network = new ReplicaHarness();
    const id = network.install(STABLE);
    network.call(id, "note");
    network.installOn(id, STABLE, { upgrade: [] });
    network.installOn(id, STABLE, { upgrade: [] });
    const result = network.query(id, "stable");
    ok(result.kind === "replied");
    deepEqual([...result.reply.slice(0, 2)], [2, 42]);
    network.installOn(id, STABLE, { reinstall: null });
    const empty = network.query(id, "stable");
    ok(empty.kind === "replied");
    deepEqual([...empty.reply.slice(0, 2)], [0, 0]);
  });

  test("a failing installation or upgrade leaves the canister as it was", () => {
    const network = new ReplicaHarness();
    const empty = network.create();
    match(rejection(network.installOn(empty, TRAPS_IN_INIT, { install: null })), /^IC0503 /);
    equal(network.canister(empty).code, undefined);
    const id = network.install(VERSION_1);
    match(
      rejection(network.installOn(id, TRAPS_IN_UPGRADE, { upgrade: [] })),
      /^IC0502 .*unreachable/,
    );
    equal(text(network.query(id, "read")), "one");
    deepEqual(network.canister(id).code?.moduleHash, sha256(VERSION_1));
  });

  test("an invalid module is refused with what is wrong and where", () => {
    const network = new ReplicaHarness();
    const id = network.create();
    const truncated = VERSION_1.slice(0, 60);
    match(
      rejection(network.installOn(id, truncated, { install: null })),
      /^IC0505 .*not valid: .*offset \d+/,
    );
    const foreign = wat(`(module (import "env" "print" (func)))`);
    match(
      rejection(network.installOn(id, foreign, { install: null })),
      /^IC0505 .*invalid import section/,
    );
    equal(network.canister(id).code, undefined);
  });

  test("a module arrives in chunks", () => {
    const network = new ReplicaHarness();
    const id = network.create();
    const parts = [VERSION_2.slice(0, 100), VERSION_2.slice(100)];
    const upload = IDL.Record({ canister_id: IDL.Principal, chunk: IDL.Vec(IDL.Nat8) });
    for (const chunk of parts)
      equal(network.manage("upload_chunk", upload, { ...onlyId(id), chunk }).kind, "replied");
    const hash = IDL.Record({ hash: IDL.Vec(IDL.Nat8) });
    const install = IDL.Record({
      mode: IDL.Variant({ install: IDL.Null }),
      target_canister: IDL.Principal,
      chunk_hashes_list: IDL.Vec(hash),
      wasm_module_hash: IDL.Vec(IDL.Nat8),
      arg: IDL.Vec(IDL.Nat8),
    });
    const request = {
      mode: { install: null },
      target_canister: toIdlPrincipal(id),
      chunk_hashes_list: parts.map((part) => ({ hash: sha256(part) })),
      arg: new Uint8Array(),
    };
    const wrong = { ...request, wasm_module_hash: sha256(VERSION_1) };
    match(
      rejection(network.manage("install_chunked_code", install, wrong)),
      /^IC0504 Error from Wasm chunk store/,
    );
    const right = { ...request, wasm_module_hash: sha256(VERSION_2) };
    equal(network.manage("install_chunked_code", install, right).kind, "replied");
    equal(text(network.query(id, "read")), "two");
  });
});

suite("lifecycle", () => {
  test("stop, call, start, delete", () => {
    const network = new ReplicaHarness();
    const id = network.install(VERSION_1);
    equal(network.manage("stop_canister", ONLY_ID, onlyId(id)).kind, "replied");
    match(rejection(network.call(id, "read")), /^IC0508 Canister \S+ is stopped$/);
    const query = network.query(id, "read");
    ok(query.kind === "rejected" && query.errorCode === "IC0508");
    equal(network.manage("start_canister", ONLY_ID, onlyId(id)).kind, "replied");
    equal(text(network.query(id, "read")), "one");
    match(
      rejection(network.manage("delete_canister", ONLY_ID, onlyId(id))),
      /^IC0510 .*must be stopped/,
    );
    network.manage("stop_canister", ONLY_ID, onlyId(id));
    equal(network.manage("delete_canister", ONLY_ID, onlyId(id)).kind, "replied");
    match(rejection(network.call(id, "read")), /^IC0301 /);
  });

  test("deleting leaves nothing of the canister in state", () => {
    const network = new ReplicaHarness();
    const id = network.install(STABLE);
    network.call(id, "note");
    network.manage("stop_canister", ONLY_ID, onlyId(id));
    network.manage("delete_canister", ONLY_ID, onlyId(id));
    const name = id.toHex();
    const ofCanister = [...network.view.range(new Uint8Array())].filter(([key]) =>
      key.toHex().includes(name),
    );
    deepEqual(ofCanister, []);
    const modules = [...network.view.range(utf8Bytes("m"))];
    deepEqual(modules, []);
  });

  test("only controllers may control", () => {
    const network = new ReplicaHarness();
    const id = network.install(VERSION_1);
    const settings = IDL.Record({
      canister_id: IDL.Principal,
      settings: IDL.Record({ controllers: IDL.Opt(IDL.Vec(IDL.Principal)) }),
    });
    const other = toIdlPrincipal(Uint8Array.of(1, 2, 3, 2));
    network.manage("update_settings", settings, {
      ...onlyId(id),
      settings: { controllers: [[other]] },
    });
    match(
      rejection(network.installOn(id, VERSION_2, { upgrade: [] })),
      /^IC0512 Only the controllers of the canister/,
    );
    match(
      rejection(network.manage("stop_canister", ONLY_ID, onlyId(id))),
      /^IC0512 .*\nCanister's controllers: .*\nSender's ID: 2vxsx-fae/,
    );
    const content = network.content(
      MANAGEMENT_CANISTER,
      "stop_canister",
      encodeCandid([ONLY_ID], [onlyId(id)]),
    );
    const refused = network.replica.precheck(network.view, network.timeNs, content);
    ok(refused?.kind === "rejected");
    match(refused.message, /^Only controllers of canister \S+ can call ic00 method stop_canister$/);
  });

  test("status has every field that clients decode", () => {
    const network = new ReplicaHarness();
    const id = network.install(STABLE, new Uint8Array(), 5_000_000_000_000n);
    const status = network.manage("canister_status", ONLY_ID, onlyId(id));
    ok(status.kind === "replied");
    const nat = IDL.Nat;
    const type = IDL.Record({
      status: IDL.Variant({ running: IDL.Null, stopping: IDL.Null, stopped: IDL.Null }),
      cycles: nat,
      memory_size: nat,
      settings: IDL.Record({
        controllers: IDL.Vec(IDL.Principal),
        log_memory_limit: nat,
        freezing_threshold: nat,
      }),
      memory_metrics: IDL.Record({ stable_memory_size: nat, log_memory_store_size: nat }),
      idle_cycles_burned_per_day: nat,
      query_stats: IDL.Record({ num_calls_total: nat }),
    });
    const [record] = decodeCandid([type], status.reply) as [Record<string, never>];
    const shown = record as unknown as {
      status: object;
      cycles: bigint;
      settings: { controllers: { toUint8Array(): Uint8Array }[]; log_memory_limit: bigint };
      memory_metrics: { stable_memory_size: bigint };
      idle_cycles_burned_per_day: bigint;
    };
    deepEqual(shown.status, { running: null });
    deepEqual(
      shown.settings.controllers.map((principal) => [...principal.toUint8Array()]),
      [[...ANONYMOUS]],
    );
    equal(shown.settings.log_memory_limit, 4096n);
    equal(shown.memory_metrics.stable_memory_size, 65_536n);
    equal(shown.cycles, network.canister(id).cycles);
    ok(shown.idle_cycles_burned_per_day > 0n);
  });
});

suite("bad requests", () => {
  test("wrong Candid, unknown methods, methods for canisters only", () => {
    const network = new ReplicaHarness();
    const id = network.create();
    const before = network.canister(id);
    match(
      rejection(network.call(MANAGEMENT_CANISTER, "start_canister", utf8Bytes("DIDL"))),
      /^IC0408 Error decoding candid/,
    );
    match(
      rejection(network.call(MANAGEMENT_CANISTER, "no_such")),
      /^IC0536 Management canister has no method 'no_such'$/,
    );
    match(
      rejection(network.call(MANAGEMENT_CANISTER, "raw_rand")),
      /^IC0406 Only canisters can call ic00 method raw_rand$/,
    );
    deepEqual(network.canister(id), before);
  });

  test("a canister without cycles is frozen: calls, queries and installs say how much is missing", () => {
    const network = new ReplicaHarness();
    const id = network.create(1_000_000n);
    match(
      rejection(network.installOn(id, VERSION_1, { install: null })),
      /^IC0207 .*at least \d+ additional cycles/,
    );
  });
});

test("storage is paid up to the moment at which it is looked at or changed", () => {
  const network = new ReplicaHarness();
  const id = network.install(STABLE);
  const before = network.canister(id);
  network.timeNs += 30n * 86_400n * 1_000_000_000n;
  network.manage("canister_status", ONLY_ID, onlyId(id));
  const after = network.canister(id);
  ok(after.consumed.memory > before.consumed.memory);
  equal(after.chargedUntilNs, network.timeNs);
});

test("a canister that cannot pay for its storage is uninstalled and keeps its controllers", () => {
  const network = new ReplicaHarness();
  const id = network.install(STABLE, new Uint8Array(), 1_000_000_000_000n);
  const type = IDL.Record({
    canister_id: IDL.Principal,
    settings: IDL.Record({ memory_allocation: IDL.Opt(IDL.Nat) }),
  });
  const settings = { memory_allocation: [100n * 2n ** 30n] };
  equal(network.manage("update_settings", type, { ...onlyId(id), settings }).kind, "replied");
  network.timeNs += 30n * 86_400n * 1_000_000_000n;
  network.manage("canister_status", ONLY_ID, onlyId(id));
  equal(network.canister(id).code, undefined);
  equal(network.canister(id).cycles, 0n);
  deepEqual(network.canister(id).settings.controllers, [ANONYMOUS]);
});
