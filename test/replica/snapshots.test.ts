// Goal: a snapshot brings back all of a canister, is paid for, and can be moved over the network.
// Method: a canister with state in a global, the heap, stable memory and certified data.

import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { decodeWith } from "gyrotron/base";
import { decodeCandid, encodeCandid, IDL, toIdlPrincipal } from "gyrotron/candid";
import { MANAGEMENT_CANISTER } from "gyrotron/crypto";
import {
  canisterPublicInfoCodec,
  type IngressStatus,
  KEY_PREFIX,
  publicInfoKey,
} from "gyrotron/replica";
import { ONLY_ID, ReplicaHarness, wat } from "./harness.ts";

/** Each `step` counts in a global, the heap and stable memory; `get` answers the three. */
const COUNTER = wat(`(module
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
  (import "ic0" "stable64_read" (func $read (param i64 i64 i64)))
  (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
  (import "ic0" "certified_data_set" (func $certify (param i32 i32)))
  (memory 2)
  (global $count (mut i32) (i32.const 0))
  (global $wide (mut v128) (v128.const i64x2 7 -1))
  (func (export "canister_init") (drop (call $grow (i64.const 1))))
  (func (export "canister_update step")
    (global.set $count (i32.add (global.get $count) (i32.const 1)))
    (i32.store8 (i32.const 70000) (i32.add (i32.load8_u (i32.const 70000)) (i32.const 1)))
    (call $write (i64.const 20000) (i64.const 70000) (i64.const 1))
    (call $certify (i32.const 70000) (i32.const 1))
    (call $reply))
  (func (export "canister_query get")
    (i32.store8 (i32.const 0) (global.get $count))
    (i32.store8 (i32.const 1) (i32.load8_u (i32.const 70000)))
    (call $read (i64.const 2) (i64.const 20000) (i64.const 1))
    (i32.store8 (i32.const 3) (i8x16.extract_lane_u 8 (global.get $wide)))
    (call $append (i32.const 0) (i32.const 4)) (call $reply)))`);

const blob = IDL.Vec(IDL.Nat8);
const SNAPSHOT = IDL.Record({ id: blob, taken_at_timestamp: IDL.Nat64, total_size: IDL.Nat64 });
const TAKE = IDL.Record({
  canister_id: IDL.Principal,
  replace_snapshot: IDL.Opt(blob),
  uninstall_code: IDL.Opt(IDL.Bool),
});
const ONE = IDL.Record({ canister_id: IDL.Principal, snapshot_id: blob });
const GLOBALS = IDL.Vec(
  IDL.Variant({
    i32: IDL.Int32,
    i64: IDL.Int64,
    f32: IDL.Float32,
    f64: IDL.Float64,
    v128: IDL.Nat,
  }),
);
const METADATA_FIELDS = {
  wasm_module_size: IDL.Nat64,
  globals: GLOBALS,
  wasm_memory_size: IDL.Nat64,
  stable_memory_size: IDL.Nat64,
  certified_data: blob,
  global_timer: IDL.Opt(IDL.Variant({ inactive: IDL.Null, active: IDL.Nat64 })),
};
const METADATA = IDL.Record({
  ...METADATA_FIELDS,
  wasm_chunk_store: IDL.Vec(IDL.Record({ hash: blob })),
});
const UPLOAD_METADATA = IDL.Record({ canister_id: IDL.Principal, ...METADATA_FIELDS });
const SLICE = IDL.Record({ offset: IDL.Nat64, size: IDL.Nat64 });
const START = IDL.Record({ offset: IDL.Nat64 });
const READ = IDL.Record({
  canister_id: IDL.Principal,
  snapshot_id: blob,
  kind: IDL.Variant({
    wasm_module: SLICE,
    wasm_memory: SLICE,
    stable_memory: SLICE,
    wasm_chunk: IDL.Record({ hash: blob }),
  }),
});
const UPLOAD = IDL.Record({
  canister_id: IDL.Principal,
  snapshot_id: blob,
  kind: IDL.Variant({
    wasm_module: START,
    wasm_memory: START,
    stable_memory: START,
    wasm_chunk: IDL.Null,
  }),
  chunk: blob,
});

type Snapshot = { id: Uint8Array; total_size: bigint };

function valueOf<T>(status: IngressStatus, type: IDL.Type): T {
  ok(status.kind === "replied", status.kind === "rejected" ? status.message : status.kind);
  return decodeCandid([type], status.reply)[0] as T;
}

function codeOf(status: IngressStatus): string | undefined {
  return status.kind === "rejected" ? status.errorCode : undefined;
}

function take(
  network: ReplicaHarness,
  id: Uint8Array,
  options: { replace?: Uint8Array; uninstall?: boolean } = {},
): IngressStatus {
  return network.manage("take_canister_snapshot", TAKE, {
    canister_id: toIdlPrincipal(id),
    replace_snapshot: options.replace === undefined ? [] : [options.replace],
    uninstall_code: options.uninstall === undefined ? [] : [options.uninstall],
  });
}

function on(
  network: ReplicaHarness,
  method: string,
  id: Uint8Array,
  snapshot: Uint8Array,
): IngressStatus {
  return network.manage(method, ONE, { canister_id: toIdlPrincipal(id), snapshot_id: snapshot });
}

function list(network: ReplicaHarness, id: Uint8Array): Snapshot[] {
  const argument = { canister_id: toIdlPrincipal(id) };
  return valueOf(network.manage("list_canister_snapshots", ONLY_ID, argument), IDL.Vec(SNAPSHOT));
}

function values(network: ReplicaHarness, id: Uint8Array): number[] {
  const answer = network.query(id, "get");
  ok(answer.kind === "replied", JSON.stringify(answer));
  return [...answer.reply];
}

function certified(network: ReplicaHarness, id: Uint8Array): number[] {
  const bytes = network.view.get(publicInfoKey(id));
  ok(bytes);
  return [...(decodeWith(canisterPublicInfoCodec, bytes).certifiedData ?? [])];
}

/** A canister that has made `steps` steps. */
function stepped(network: ReplicaHarness, steps: number): Uint8Array {
  const id = network.install(COUNTER);
  for (let step = 0; step < steps; step++) equal(network.call(id, "step").kind, "replied");
  return id;
}

test("a snapshot brings back globals, heap, stable memory and certified data", () => {
  const network = new ReplicaHarness();
  const id = stepped(network, 2);
  const before = network.canister(id);
  const snapshot = valueOf<Snapshot>(take(network, id), SNAPSHOT);
  equal(network.canister(id).snapshotBytes, snapshot.total_size);
  ok(snapshot.total_size > 3n * 65_536n);
  network.call(id, "step");
  deepEqual(values(network, id), [3, 3, 3, 255]);
  equal(on(network, "load_canister_snapshot", id, snapshot.id).kind, "replied");
  deepEqual(values(network, id), [2, 2, 2, 255]);
  deepEqual(certified(network, id), [2]);
  ok(network.canister(id).version > before.version);
  network.call(id, "step");
  deepEqual(values(network, id), [3, 3, 3, 255], "and goes on from there");
});

test("taking with uninstall_code empties the canister, and loading fills it again", () => {
  const network = new ReplicaHarness();
  const id = stepped(network, 1);
  const snapshot = valueOf<Snapshot>(take(network, id, { uninstall: true }), SNAPSHOT);
  equal(network.canister(id).code, undefined);
  equal(codeOf(take(network, id)), "IC0406", "there is nothing to take");
  equal(on(network, "load_canister_snapshot", id, snapshot.id).kind, "replied");
  deepEqual(values(network, id), [1, 1, 1, 255]);
});

test("at most ten, each listed, replaced and deleted by its id", () => {
  const network = new ReplicaHarness();
  const id = stepped(network, 1);
  const ids = Array.from({ length: 10 }, () => valueOf<Snapshot>(take(network, id), SNAPSHOT).id);
  equal(codeOf(take(network, id)), "IC0406");
  const replacing = valueOf<Snapshot>(take(network, id, { replace: ids[0]! }), SNAPSHOT);
  const left = list(network, id).map((snapshot) => snapshot.id.toHex());
  deepEqual(
    left,
    [...ids.slice(1), replacing.id].map((one) => one.toHex()),
  );
  equal(codeOf(on(network, "load_canister_snapshot", id, ids[0]!)), "IC0305");
  equal(codeOf(on(network, "delete_canister_snapshot", id, Uint8Array.of(1))), "IC0305");
  for (const one of [...ids.slice(1), replacing.id])
    equal(on(network, "delete_canister_snapshot", id, one).kind, "replied");
  equal(network.canister(id).snapshotBytes, 0n);
  equal([...network.view.range(KEY_PREFIX.snapshotContent)].length, 0);
});

test("a snapshot of another canister loads where both have the same controller", () => {
  const network = new ReplicaHarness();
  const [first, second] = [stepped(network, 3), stepped(network, 1)];
  const snapshot = valueOf<Snapshot>(take(network, first), SNAPSHOT);
  equal(codeOf(on(network, "delete_canister_snapshot", second, snapshot.id)), "IC0406");
  equal(on(network, "load_canister_snapshot", second, snapshot.id).kind, "replied");
  deepEqual(values(network, second), [3, 3, 3, 255]);
});

test("a downloaded snapshot, uploaded to another canister, is the same canister", () => {
  const network = new ReplicaHarness();
  const [from, to] = [stepped(network, 2), network.create()];
  const chunk = IDL.Record({ canister_id: IDL.Principal, chunk: blob });
  network.manage("upload_chunk", chunk, { canister_id: toIdlPrincipal(from), chunk: [1, 2, 3] });
  const taken = valueOf<Snapshot>(take(network, from), SNAPSHOT);
  const metadata = valueOf<Record<string, never> & { wasm_chunk_store: { hash: Uint8Array }[] }>(
    on(network, "read_canister_snapshot_metadata", from, taken.id),
    METADATA,
  );
  deepEqual(metadata["globals"], [{ i32: 2 }, { v128: 7n | (((1n << 64n) - 1n) << 64n) }]);
  const uploaded = network.manage("upload_canister_snapshot_metadata", UPLOAD_METADATA, {
    ...metadata,
    canister_id: toIdlPrincipal(to),
  });
  const { snapshot_id } = valueOf<{ snapshot_id: Uint8Array }>(
    uploaded,
    IDL.Record({ snapshot_id: blob }),
  );
  const move = (kind: string, size: bigint): void => {
    for (let offset = 0n; offset < size; offset += 100_000n) {
      const length = size - offset < 100_000n ? size - offset : 100_000n;
      const read = network.manage("read_canister_snapshot_data", READ, {
        canister_id: toIdlPrincipal(from),
        snapshot_id: taken.id,
        kind: { [kind]: { offset, size: length } },
      });
      const data = valueOf<{ chunk: Uint8Array }>(read, IDL.Record({ chunk: blob }));
      const written = network.manage("upload_canister_snapshot_data", UPLOAD, {
        canister_id: toIdlPrincipal(to),
        snapshot_id,
        kind: { [kind]: { offset } },
        chunk: data.chunk,
      });
      equal(written.kind, "replied");
    }
  };
  move("wasm_module", metadata["wasm_module_size"]!);
  move("wasm_memory", metadata["wasm_memory_size"]!);
  move("stable_memory", metadata["stable_memory_size"]!);
  const stored = network.manage("upload_canister_snapshot_data", UPLOAD, {
    canister_id: toIdlPrincipal(to),
    snapshot_id,
    kind: { wasm_chunk: null },
    chunk: [1, 2, 3],
  });
  equal(stored.kind, "replied");
  const copy = list(network, to)[0]!;
  equal(copy.total_size, taken.total_size);
  equal(on(network, "load_canister_snapshot", to, snapshot_id).kind, "replied");
  deepEqual(values(network, to), [2, 2, 2, 255]);
  deepEqual(certified(network, to), [2]);
  equal(network.canister(to).storedChunks, 1);
  const onTaken = network.manage("upload_canister_snapshot_data", UPLOAD, {
    canister_id: toIdlPrincipal(from),
    snapshot_id: taken.id,
    kind: { wasm_memory: { offset: 0n } },
    chunk: [1],
  });
  equal(codeOf(onTaken), "IC0409", "only uploaded ones can be written");
});

test("slices past the end, too long ones and metadata of no memory are refused", () => {
  const network = new ReplicaHarness();
  const id = stepped(network, 1);
  const { id: snapshot_id } = valueOf<Snapshot>(take(network, id), SNAPSHOT);
  const read = (kind: unknown): string | undefined =>
    codeOf(
      network.manage("read_canister_snapshot_data", READ, {
        canister_id: toIdlPrincipal(id),
        snapshot_id,
        kind,
      }),
    );
  equal(read({ wasm_memory: { offset: 0n, size: 2_000_001n } }), "IC0408");
  equal(read({ wasm_memory: { offset: 131_072n, size: 1n } }), "IC0408");
  equal(read({ wasm_memory: { offset: (1n << 64n) - 1n, size: 2n } }), "IC0408");
  equal(read({ wasm_memory: { offset: 131_072n, size: 0n } }), undefined);
  equal(read({ wasm_chunk: { hash: [1, 2] } }), "IC0408");
  const metadata = {
    canister_id: toIdlPrincipal(id),
    wasm_module_size: 10n,
    globals: [],
    wasm_memory_size: 65_537n,
    stable_memory_size: 0n,
    certified_data: [],
    global_timer: [],
  };
  const upload = (change: object): IngressStatus =>
    network.manage("upload_canister_snapshot_metadata", UPLOAD_METADATA, {
      ...metadata,
      ...change,
    });
  equal(codeOf(upload({})), "IC0408");
  equal(codeOf(upload({ wasm_memory_size: 1n << 40n })), "IC0408");
  equal(
    codeOf(upload({ wasm_memory_size: 0n, certified_data: Array.from({ length: 33 }, () => 1) })),
    "IC0408",
  );
  const empty = valueOf<{ snapshot_id: Uint8Array }>(
    upload({ wasm_memory_size: 0n }),
    IDL.Record({ snapshot_id: blob }),
  );
  equal(codeOf(on(network, "load_canister_snapshot", id, empty.snapshot_id)), "IC0505");
  deepEqual(values(network, id), [1, 1, 1, 255], "what failed to load changed nothing");
});

test("a snapshot costs cycles, and a canister that cannot keep it gets none", () => {
  const network = new ReplicaHarness();
  const id = network.install(COUNTER, new Uint8Array(), 400_000_000_000n);
  const total = network.cyclesTotal();
  equal(codeOf(take(network, id)), undefined);
  equal(network.cyclesTotal(), total);
  const huge = network.manage("upload_canister_snapshot_metadata", UPLOAD_METADATA, {
    canister_id: toIdlPrincipal(id),
    wasm_module_size: 10n,
    globals: [],
    wasm_memory_size: 0n,
    stable_memory_size: 400n << 30n,
    certified_data: [],
    global_timer: [],
  });
  equal(codeOf(huge), "IC0532");
  equal(list(network, id).length, 1);
});

test("others read a snapshot only where the setting lets them, and deletion leaves none", () => {
  const network = new ReplicaHarness();
  const id = stepped(network, 1);
  take(network, id);
  const settings = IDL.Record({
    canister_id: IDL.Principal,
    settings: IDL.Record({ controllers: IDL.Opt(IDL.Vec(IDL.Principal)) }),
  });
  const argument = encodeCandid([ONLY_ID], [{ canister_id: toIdlPrincipal(id) }]);
  const precheck = (): unknown =>
    network.replica.precheck(
      network.view,
      network.timeNs,
      network.content(MANAGEMENT_CANISTER, "list_canister_snapshots", argument),
    );
  equal(precheck(), undefined);
  network.manage("stop_canister", ONLY_ID, { canister_id: toIdlPrincipal(id) });
  const keysBefore = [...network.view.range(KEY_PREFIX.snapshot)].length;
  equal(keysBefore, 1);
  const other = toIdlPrincipal(Uint8Array.of(9));
  const second = stepped(network, 1);
  network.manage("update_settings", settings, {
    canister_id: toIdlPrincipal(second),
    settings: { controllers: [[other]] },
  });
  const foreign = encodeCandid([ONLY_ID], [{ canister_id: toIdlPrincipal(second) }]);
  const refused = network.replica.precheck(
    network.view,
    network.timeNs,
    network.content(MANAGEMENT_CANISTER, "list_canister_snapshots", foreign),
  );
  ok(refused?.kind === "rejected" && refused.errorCode === "IC0512");
  network.manage("delete_canister", ONLY_ID, { canister_id: toIdlPrincipal(id) });
  for (const prefix of [KEY_PREFIX.snapshot, KEY_PREFIX.snapshotContent])
    equal([...network.view.range(prefix)].length, 0);
});
