// Candid types of the management canister's methods on snapshots (ic.did 0.66). Owns types only.

import { IDL } from "gyrotron/candid";

const { Nat, Nat64, Null, Principal, Reserved } = IDL;
const blob: IDL.Type = IDL.Vec(IDL.Nat8);
const scv = { sender_canister_version: IDL.Opt(Nat64) };
const one = { canister_id: Principal, snapshot_id: blob };
const range = IDL.Record({ offset: Nat64, size: Nat64 });
const start = IDL.Record({ offset: Nat64 });

const snapshot = IDL.Record({ id: blob, taken_at_timestamp: Nat64, total_size: Nat64 });
/** Where a snapshot comes from. */
export const sourceType: IDL.Type = IDL.Variant({
  taken_from_canister: Reserved,
  metadata_upload: Reserved,
});
const globals = IDL.Vec(
  IDL.Variant({
    i32: IDL.Int32,
    i64: IDL.Int64,
    f32: IDL.Float32,
    f64: IDL.Float64,
    v128: Nat,
  }),
);
const timer = IDL.Opt(IDL.Variant({ inactive: Null, active: Nat64 }));
const hook = IDL.Opt(IDL.Variant({ condition_not_satisfied: Null, ready: Null, executed: Null }));
const sizes = {
  wasm_module_size: Nat64,
  globals,
  wasm_memory_size: Nat64,
  stable_memory_size: Nat64,
  certified_data: blob,
  global_timer: timer,
  on_low_wasm_memory_hook_status: hook,
};

export const SNAPSHOT_ARGUMENTS = {
  take_canister_snapshot: IDL.Record({
    canister_id: Principal,
    replace_snapshot: IDL.Opt(blob),
    uninstall_code: IDL.Opt(IDL.Bool),
    ...scv,
  }) as IDL.Type,
  load_canister_snapshot: IDL.Record({ ...one, ...scv }) as IDL.Type,
  list_canister_snapshots: IDL.Record({ canister_id: Principal }) as IDL.Type,
  delete_canister_snapshot: IDL.Record(one) as IDL.Type,
  read_canister_snapshot_metadata: IDL.Record(one) as IDL.Type,
  read_canister_snapshot_data: IDL.Record({
    ...one,
    kind: IDL.Variant({
      wasm_module: range,
      wasm_memory: range,
      stable_memory: range,
      wasm_chunk: IDL.Record({ hash: blob }),
    }),
  }) as IDL.Type,
  upload_canister_snapshot_metadata: IDL.Record({
    canister_id: Principal,
    replace_snapshot: IDL.Opt(blob),
    ...sizes,
  }) as IDL.Type,
  upload_canister_snapshot_data: IDL.Record({
    ...one,
    kind: IDL.Variant({
      wasm_module: start,
      wasm_memory: start,
      stable_memory: start,
      wasm_chunk: Null,
    }),
    chunk: blob,
  }) as IDL.Type,
};

export const SNAPSHOT_RESULTS = {
  snapshot: snapshot as IDL.Type,
  snapshots: IDL.Vec(snapshot) as IDL.Type,
  snapshotId: IDL.Record({ snapshot_id: blob }) as IDL.Type,
  snapshotData: IDL.Record({ chunk: blob }) as IDL.Type,
  snapshotMetadata: IDL.Record({
    source: sourceType,
    taken_at_timestamp: Nat64,
    ...sizes,
    wasm_chunk_store: IDL.Vec(IDL.Record({ hash: blob })),
    canister_version: Nat64,
  }) as IDL.Type,
};
