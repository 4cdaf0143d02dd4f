// Goal: what canisters and users learn of canisters is what happened.
// Method: the proxy for what only canisters may ask, queries for the rest.

import { deepEqual, equal, match, ok } from "node:assert/strict";
import { test } from "node:test";
import {
  decodeCandid,
  encodeCandid,
  IDL,
  type IdlPrincipal,
  toIdlPrincipal,
} from "gyrotron/candid";
import { ed25519PublicKeyDer, MANAGEMENT_CANISTER, sha256, signEd25519 } from "gyrotron/crypto";
import {
  createReplica,
  encodeQueryReport,
  KEY_PREFIX,
  type QueryResult,
  statsOf,
  treeChangesOfState,
} from "gyrotron/replica";
import { ANONYMOUS, INSTALL_CODE, ONLY_ID, ReplicaHarness, wat } from "./harness.ts";
import { forward, PROXY } from "./proxy.ts";

const blob = IDL.Vec(IDL.Nat8);
const EMPTY = wat(`(module)`);
const TRILLION = 1_000_000_000_000n;
const onlyId = (id: Uint8Array): Uint8Array =>
  encodeCandid([ONLY_ID], [{ canister_id: toIdlPrincipal(id) }]);
const textOf = (bytes: Uint8Array): string => String.fromCharCode(...bytes);

const ORIGIN = IDL.Variant({
  from_user: IDL.Record({ user_id: IDL.Principal }),
  from_canister: IDL.Record({
    canister_id: IDL.Principal,
    canister_version: IDL.Opt(IDL.Nat64),
  }),
});
const DETAILS = IDL.Variant({
  creation: IDL.Record({ controllers: IDL.Vec(IDL.Principal) }),
  code_uninstall: IDL.Null,
  code_deployment: IDL.Record({
    mode: IDL.Variant({ install: IDL.Null, reinstall: IDL.Null, upgrade: IDL.Null }),
    module_hash: blob,
  }),
  load_snapshot: IDL.Record({ snapshot_id: blob, canister_version: IDL.Nat64 }),
  controllers_change: IDL.Record({ controllers: IDL.Vec(IDL.Principal) }),
});
const INFO = IDL.Record({
  total_num_changes: IDL.Nat64,
  recent_changes: IDL.Vec(
    IDL.Record({
      timestamp_nanos: IDL.Nat64,
      canister_version: IDL.Nat64,
      origin: ORIGIN,
      details: DETAILS,
    }),
  ),
  module_hash: IDL.Opt(blob),
  controllers: IDL.Vec(IDL.Principal),
});
const ASK_INFO = IDL.Record({
  canister_id: IDL.Principal,
  num_requested_changes: IDL.Opt(IDL.Nat64),
});
const SETTINGS = IDL.Record({
  canister_id: IDL.Principal,
  settings: IDL.Record({
    controllers: IDL.Opt(IDL.Vec(IDL.Principal)),
    minimum_incoming_canister_call_cycles: IDL.Opt(IDL.Nat),
    wasm_memory_limit: IDL.Opt(IDL.Nat),
    wasm_memory_threshold: IDL.Opt(IDL.Nat),
    compute_allocation: IDL.Opt(IDL.Nat),
  }),
  sender_canister_version: IDL.Opt(IDL.Nat64),
});
const NO_SETTINGS = {
  controllers: [],
  minimum_incoming_canister_call_cycles: [],
  wasm_memory_limit: [],
  wasm_memory_threshold: [],
  compute_allocation: [],
};

interface Info {
  total_num_changes: bigint;
  recent_changes: {
    timestamp_nanos: bigint;
    canister_version: bigint;
    origin: Record<string, unknown>;
    details: Record<string, { module_hash?: Uint8Array; mode?: object }>;
  }[];
  module_hash: [] | [Uint8Array];
  controllers: IdlPrincipal[];
}

function infoOf(network: ReplicaHarness, proxy: Uint8Array, id: Uint8Array, count: bigint): Info {
  const argument = { canister_id: toIdlPrincipal(id), num_requested_changes: [count] };
  const reply = forward(network, proxy, "canister_info", encodeCandid([ASK_INFO], [argument]));
  return decodeCandid([INFO], reply)[0] as Info;
}

function change(
  network: ReplicaHarness,
  id: Uint8Array,
  settings: Partial<Record<keyof typeof NO_SETTINGS, unknown[]>>,
): void {
  const status = network.manage("update_settings", SETTINGS, {
    canister_id: toIdlPrincipal(id),
    settings: { ...NO_SETTINGS, ...settings },
    sender_canister_version: [],
  });
  equal(status.kind, "replied");
}

function valueOf<T>(result: QueryResult, type: IDL.Type): T {
  ok(result.kind === "replied", JSON.stringify(result));
  return decodeCandid([type], result.reply)[0] as T;
}

test("canister_info: every change with its author and version, the last twenty kept", () => {
  const network = new ReplicaHarness();
  const proxy = network.install(PROXY);
  const id = network.create();
  const controllers = [[toIdlPrincipal(ANONYMOUS), toIdlPrincipal(proxy)]];
  change(network, id, { controllers });
  network.installOn(id, EMPTY, { install: null });
  const byProxy = { mode: { reinstall: null }, canister_id: toIdlPrincipal(id), arg: [] };
  const install = encodeCandid([INSTALL_CODE], [{ ...byProxy, wasm_module: EMPTY }]);
  equal(textOf(forward(network, proxy, "install_code", install)).slice(0, 4), "DIDL");
  network.call(MANAGEMENT_CANISTER, "uninstall_code", onlyId(id));
  const info = infoOf(network, proxy, id, 100n);
  equal(info.total_num_changes, 5n);
  deepEqual(
    info.recent_changes.map(({ details }) => Object.keys(details)[0]),
    ["creation", "controllers_change", "code_deployment", "code_deployment", "code_uninstall"],
  );
  const [created, , installed, reinstalled] = info.recent_changes;
  equal(created!.canister_version, 0n);
  deepEqual(installed!.details["code_deployment"]!.module_hash, sha256(EMPTY));
  deepEqual(installed!.details["code_deployment"]!.mode, { install: null });
  ok("from_user" in installed!.origin && "from_canister" in reinstalled!.origin);
  equal(info.recent_changes.at(-1)!.canister_version, network.canister(id).version);
  deepEqual(info.module_hash, []);
  equal(infoOf(network, proxy, id, 2n).recent_changes.length, 2);
  for (let round = 0; round < 20; round++) change(network, id, { controllers });
  const later = infoOf(network, proxy, id, 100n);
  equal(later.total_num_changes, 25n);
  equal(later.recent_changes.length, 20);
  ok(network.canister(id).historyBytes > 500);
});

test("a canister cannot lie about its version to the management canister", () => {
  const network = new ReplicaHarness();
  const proxy = network.install(PROXY);
  change(network, proxy, { controllers: [[toIdlPrincipal(ANONYMOUS), toIdlPrincipal(proxy)]] });
  const argument = (version: bigint): Uint8Array =>
    encodeCandid(
      [SETTINGS],
      [
        {
          canister_id: toIdlPrincipal(proxy),
          settings: { ...NO_SETTINGS, controllers: [[toIdlPrincipal(ANONYMOUS)]] },
          sender_canister_version: [version],
        },
      ],
    );
  const { version } = network.canister(proxy);
  const before = infoOf(network, proxy, proxy, 1n).total_num_changes;
  const now = network.canister(proxy).version;
  ok(now > version);
  const status = network.call(proxy, "forward", forwardOf(argument(now + 1n)));
  ok(status.kind === "rejected" && status.errorCode === "IC0504");
  match(status.message, /does not match the actual sender canister version/);
  equal(
    network.call(proxy, "forward", forwardOf(argument(network.canister(proxy).version))).kind,
    "replied",
  );
  const after = infoOf(network, proxy, proxy, 1n);
  equal(after.total_num_changes, before + 1n);
  deepEqual(after.recent_changes[0]!.origin, {
    from_canister: { canister_id: toIdlPrincipal(proxy), canister_version: [now] },
  });
});

function forwardOf(argument: Uint8Array): Uint8Array {
  const name = new TextEncoder().encode("update_settings");
  return Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, name.length, ...name, ...argument);
}

test("canister_status and canister_metrics answer queries too", () => {
  const network = new ReplicaHarness();
  const id = network.install(PROXY);
  network.call(id, "say");
  const STATUS = IDL.Record({ version: IDL.Nat64, cycles: IDL.Nat, memory_size: IDL.Nat });
  const status = valueOf<{ version: bigint; cycles: bigint }>(
    network.query(MANAGEMENT_CANISTER, "canister_status", onlyId(id)),
    STATUS,
  );
  const record = network.canister(id);
  equal(status.version, record.version);
  equal(status.cycles, record.cycles);
  const METRICS = IDL.Record({
    cycles_consumed: IDL.Record({ instructions: IDL.Nat, ingress_induction: IDL.Nat }),
  });
  const metrics = valueOf<{ cycles_consumed: { instructions: bigint } }>(
    network.query(MANAGEMENT_CANISTER, "canister_metrics", onlyId(id)),
    METRICS,
  );
  equal(metrics.cycles_consumed.instructions, record.consumed.instructions);
  change(network, id, { controllers: [[toIdlPrincipal(id)]] });
  for (const method of ["canister_status", "canister_metrics"]) {
    const refused = network.query(MANAGEMENT_CANISTER, method, onlyId(id));
    ok(refused.kind === "rejected" && refused.errorCode === "IC0512", method);
  }
});

test("logs: filtered by index and time, and gone with a reinstallation", () => {
  const network = new ReplicaHarness();
  const id = network.install(PROXY);
  const times = [0, 1, 2, 3].map(() => {
    network.call(id, "say");
    return network.timeNs;
  });
  const range = IDL.Record({ start: IDL.Nat64, end: IDL.Nat64 });
  const FILTER = IDL.Record({
    canister_id: IDL.Principal,
    filter: IDL.Opt(IDL.Variant({ by_idx: range, by_timestamp_nanos: range })),
  });
  const indexes = (filter: unknown): bigint[] =>
    valueOf<{ canister_log_records: { idx: bigint }[] }>(
      network.query(
        MANAGEMENT_CANISTER,
        "fetch_canister_logs",
        encodeCandid([FILTER], [{ canister_id: toIdlPrincipal(id), filter: [filter] }]),
      ),
      IDL.Record({ canister_log_records: IDL.Vec(IDL.Record({ idx: IDL.Nat64 })) }),
    ).canister_log_records.map(({ idx }) => idx);
  deepEqual(indexes({ by_idx: { start: 1n, end: 3n } }), [1n, 2n]);
  deepEqual(indexes({ by_timestamp_nanos: { start: times[3]!, end: 1n << 63n } }), [3n]);
  network.installOn(id, PROXY, { upgrade: [] });
  equal(indexes({ by_idx: { start: 0n, end: 100n } }).length, 4, "an upgrade keeps the log");
  network.installOn(id, Uint8Array.of(1), { reinstall: null });
  equal(indexes({ by_idx: { start: 0n, end: 100n } }).length, 4, "and so does what fails");
  network.installOn(id, PROXY, { reinstall: null });
  deepEqual(indexes({ by_idx: { start: 0n, end: 100n } }), []);
  network.call(id, "say");
  deepEqual(indexes({ by_idx: { start: 0n, end: 100n } }), [4n], "indexes go on");
});

test("minimum_incoming_canister_call_cycles binds canisters, not users", () => {
  const network = new ReplicaHarness();
  const proxy = network.install(CALLER);
  const id = network.install(ECHO);
  change(network, id, { minimum_incoming_canister_call_cycles: [1000n] });
  equal(network.call(id, "echo").kind, "replied");
  const call = (cycles: number): string => {
    const status = network.call(proxy, "call", Uint8Array.of(cycles, ...id));
    ok(status.kind === "replied");
    return textOf(status.reply);
  };
  match(call(9), /^IC0406.*at least 1000 cycles, but 900 cycles/);
  equal(call(10), "echo");
});

const ECHO = wat(`(module
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (memory 1) (data (i32.const 0) "echo")
  (func (export "canister_update echo")
    (call $append (i32.const 0) (i32.const 4)) (call $reply)))`);

/** Calls \`echo\` of the canister in its argument with the first byte times 100 cycles. */
const CALLER = wat(`(module
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_arg_data_copy" (func $arg (param i32 i32 i32)))
  (import "ic0" "msg_arg_data_size" (func $arg_size (result i32)))
  (import "ic0" "msg_reject_msg_size" (func $reject_size (result i32)))
  (import "ic0" "msg_reject_msg_copy" (func $reject_copy (param i32 i32 i32)))
  (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "ic0" "call_cycles_add" (func $cycles (param i64)))
  (import "ic0" "call_perform" (func $perform (result i32)))
  (memory 1)
  (table funcref (elem $on_reply $on_reject))
  (data (i32.const 50) "echo")
  (func $on_reply (param i32)
    (call $arg (i32.const 1000) (i32.const 0) (call $arg_size))
    (call $append (i32.const 1000) (call $arg_size)) (call $reply))
  (func $on_reject (param i32)
    (call $reject_copy (i32.const 1000) (i32.const 0) (call $reject_size))
    (call $append (i32.const 1000) (call $reject_size)) (call $reply))
  (func (export "canister_update call")
    (call $arg (i32.const 100) (i32.const 0) (call $arg_size))
    (call $new (i32.const 101) (i32.sub (call $arg_size) (i32.const 1)) (i32.const 50) (i32.const 4)
      (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
    (call $cycles (i64.mul (i64.load8_u (i32.const 100)) (i64.const 100)))
    (drop (call $perform))))`);

test("on_low_wasm_memory runs once, ahead of the next message, and again after relief", () => {
  const network = new ReplicaHarness();
  const id = network.install(GROWER);
  const log = (): string[] =>
    network.console
      .filter(({ canisterId }) => canisterId.toHex() === id.toHex())
      .map(({ text }) => text);
  change(network, id, {
    wasm_memory_limit: [10n * 65_536n],
    wasm_memory_threshold: [5n * 65_536n],
  });
  network.call(id, "grow");
  network.call(id, "grow");
  deepEqual(log(), [], "five pages are left");
  network.settle(
    network.envelope(id, "grow", new Uint8Array()),
    network.envelope(id, "grow", new Uint8Array()),
  );
  deepEqual(log(), ["low"]);
  network.call(id, "grow");
  deepEqual(log(), ["low"], "once");
  change(network, id, { wasm_memory_limit: [100n * 65_536n] });
  change(network, id, { wasm_memory_limit: [10n * 65_536n] });
  network.settle();
  deepEqual(log(), ["low", "low"]);
});

const GROWER = wat(`(module
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "debug_print" (func $print (param i32 i32)))
  (memory 3) (data (i32.const 0) "low")
  (func (export "canister_on_low_wasm_memory") (call $print (i32.const 0) (i32.const 3)))
  (func (export "canister_update grow") (drop (memory.grow (i32.const 1))) (call $reply)))`);

test("a canister that runs out of cycles while nobody looks is uninstalled, and its allocations end", () => {
  const network = new ReplicaHarness();
  const id = network.install(PROXY, new Uint8Array(), 400_000_000_000n);
  change(network, id, { compute_allocation: [1n] });
  const total = network.cyclesTotal();
  const { cycles } = network.canister(id);
  network.block();
  const wakeup = network.replica.wakeup(network.view);
  ok(wakeup !== undefined && wakeup > network.timeNs, "the network wakes up for it");
  network.timeNs += (cycles / 10_000_000n - 100n) * 1_000_000_000n;
  network.block();
  ok(network.canister(id).code !== undefined, "not yet");
  network.timeNs += 200_000_000_000n;
  network.settle();
  const left = network.canister(id);
  equal(left.code, undefined);
  equal(left.cycles, 0n);
  equal(left.settings.computeAllocation, 0);
  equal(left.historyBytes, 0);
  equal(network.cyclesTotal(), total, "all of it is counted as consumed");
  network.block();
  equal(network.replica.wakeup(network.view), undefined, "and nothing more is to be done");
});

test("an idle block leaves the state as it is, with canisters that pay for storage", () => {
  const network = new ReplicaHarness();
  network.install(PROXY);
  network.block();
  const before = network.digest();
  network.block();
  equal(network.digest(), before);
});

test("provisional methods exist only where the network has them", () => {
  const network = new ReplicaHarness(createReplica(), undefined, { provisional: false });
  const type = IDL.Record({ amount: IDL.Opt(IDL.Nat) });
  const created = network.manage("provisional_create_canister_with_cycles", type, {
    amount: [TRILLION],
  });
  ok(created.kind === "rejected" && created.errorCode === "IC0536");
});

test("the subnet's totals are certified, and follow canisters, cycles and calls", () => {
  const network = new ReplicaHarness();
  const metrics = (): {
    canisterCount: bigint;
    consumedCyclesTotal: bigint;
    updateTransactionsTotal: bigint;
  } => {
    const found = treeChangesOfState(network.view).find(({ kind }) => kind === "subnetMetrics");
    ok(found?.kind === "subnetMetrics" && found.metrics !== undefined);
    return found.metrics;
  };
  const id = network.install(PROXY);
  equal(metrics().canisterCount, 1n);
  const { updateTransactionsTotal } = metrics();
  network.call(id, "say");
  equal(metrics().updateTransactionsTotal, updateTransactionsTotal + 1n);
  const consumed = network.worthOf(id) - network.canister(id).cycles;
  equal(metrics().consumedCyclesTotal, consumed);
  network.call(MANAGEMENT_CANISTER, "stop_canister", onlyId(id));
  network.call(MANAGEMENT_CANISTER, "delete_canister", onlyId(id));
  equal(metrics().canisterCount, 0n);
  equal(metrics().consumedCyclesTotal, 100n * TRILLION, "deleted cycles count as consumed");
  equal([...network.view.range(KEY_PREFIX.sweep)].length, 0);
});

test("query statistics: what nodes report is added up, each report once", () => {
  const seed = new Uint8Array(32).fill(1);
  const network = new ReplicaHarness(createReplica(), [ed25519PublicKeyDer(seed)]);
  const id = network.install(ECHO_QUERY);
  const { usage } = network.replica.query(
    network.view,
    network.timeNs,
    network.content(id, "outer", Uint8Array.of(1, 2, 3)),
  );
  ok(usage !== undefined);
  deepEqual(
    usage.map(({ requestBytes, responseBytes }) => [requestBytes, responseBytes]),
    [
      [0, 4],
      [3, 4],
    ],
  );
  const [inner, outer] = usage;
  ok(inner!.instructions > 0n && outer!.instructions > inner!.instructions);
  const report = (number: bigint, key = seed): Uint8Array =>
    encodeQueryReport(
      { number, canisters: usage.map((one) => ({ canisterId: id, stats: statsOf(one) })) },
      ed25519PublicKeyDer(key),
      (message) => signEd25519(key, message),
    );
  const first = report(5n);
  network.settle(first, first, report(4n), report(9n, new Uint8Array(32).fill(2)));
  const STATS = IDL.Record({
    query_stats: IDL.Record({
      num_calls_total: IDL.Nat,
      num_instructions_total: IDL.Nat,
      request_payload_bytes_total: IDL.Nat,
      response_payload_bytes_total: IDL.Nat,
    }),
  });
  const { query_stats } = valueOf<{ query_stats: Record<string, bigint> }>(
    network.query(MANAGEMENT_CANISTER, "canister_status", onlyId(id)),
    STATS,
  );
  deepEqual(query_stats, {
    num_calls_total: 2n,
    num_instructions_total: inner!.instructions + outer!.instructions,
    request_payload_bytes_total: 3n,
    response_payload_bytes_total: 8n,
  });
  network.settle(report(6n));
  equal(network.canister(id).queryStats.calls, 4n);
});

/** A composite query that asks the plain one of the same canister. */
const ECHO_QUERY = wat(`(module
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "canister_self_copy" (func $self (param i32 i32 i32)))
  (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "ic0" "call_perform" (func $perform (result i32)))
  (memory 1)
  (table funcref (elem $done))
  (data (i32.const 0) "inner")
  (func $done (param i32) (call $append (i32.const 0) (i32.const 4)) (call $reply))
  (func (export "canister_query inner") (call $append (i32.const 0) (i32.const 4)) (call $reply))
  (func (export "canister_composite_query outer")
    (call $self (i32.const 100) (i32.const 0) (i32.const 10))
    (call $new (i32.const 100) (i32.const 10) (i32.const 0) (i32.const 5)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
    (drop (call $perform))))`);
