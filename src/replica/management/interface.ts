// Candid types of the management canister (ic-interface, ic.did 0.66). Owns types only.

import { IDL } from "gyrotron/candid";
import { INFORMATION_ARGUMENTS, INFORMATION_RESULTS } from "./interface-information.ts";
import { OUTSIDE_ARGUMENTS, OUTSIDE_RESULTS } from "./interface-outside.ts";
import { SNAPSHOT_ARGUMENTS, SNAPSHOT_RESULTS } from "./interface-snapshots.ts";

const { Nat, Nat64, Text, Bool, Principal } = IDL;
const blob: IDL.Type = IDL.Vec(IDL.Nat8);
const ids = IDL.Vec(Principal);
const record = IDL.Record;
const variant = IDL.Variant;
const opt = IDL.Opt;
const vec = IDL.Vec;

const visibility = variant({ controllers: IDL.Null, public: IDL.Null, allowed_viewers: ids });

/** Settings as one gives them: absent means unchanged. */
export const settingsType: IDL.Type = record({
  controllers: opt(ids),
  compute_allocation: opt(Nat),
  memory_allocation: opt(Nat),
  freezing_threshold: opt(Nat),
  reserved_cycles_limit: opt(Nat),
  minimum_incoming_canister_call_cycles: opt(Nat),
  log_visibility: opt(visibility),
  snapshot_visibility: opt(visibility),
  status_visibility: opt(visibility),
  wasm_memory_limit: opt(Nat),
  wasm_memory_threshold: opt(Nat),
  environment_variables: opt(vec(record({ name: Text, value: Text }))),
  log_memory_limit: opt(Nat),
});

const definiteSettings = record({
  controllers: ids,
  compute_allocation: Nat,
  memory_allocation: Nat,
  freezing_threshold: Nat,
  reserved_cycles_limit: Nat,
  minimum_incoming_canister_call_cycles: Nat,
  log_visibility: visibility,
  snapshot_visibility: visibility,
  status_visibility: visibility,
  wasm_memory_limit: Nat,
  wasm_memory_threshold: Nat,
  environment_variables: vec(record({ name: Text, value: Text })),
  log_memory_limit: Nat,
});

const scv = { sender_canister_version: opt(Nat64) };
const upgradeOptions = record({
  skip_pre_upgrade: opt(Bool),
  wasm_memory_persistence: opt(variant({ keep: IDL.Null, replace: IDL.Null })),
});
const installMode = variant({
  install: IDL.Null,
  reinstall: IDL.Null,
  upgrade: opt(upgradeOptions),
});
const onlyCanisterId = record({ canister_id: Principal });

/** A method that this node knows. */
export type ManagementMethod =
  | "create_canister"
  | "provisional_create_canister_with_cycles"
  | "provisional_top_up_canister"
  | "update_settings"
  | "install_code"
  | "install_chunked_code"
  | "upload_chunk"
  | "clear_chunk_store"
  | "stored_chunks"
  | "uninstall_code"
  | "start_canister"
  | "stop_canister"
  | "delete_canister"
  | "canister_status"
  | "deposit_cycles"
  | "raw_rand"
  | keyof typeof INFORMATION_ARGUMENTS
  | keyof typeof OUTSIDE_ARGUMENTS
  | keyof typeof SNAPSHOT_ARGUMENTS;

/** Argument types by method; undefined: no argument. */
export const ARGUMENT_TYPES: Readonly<Record<ManagementMethod, IDL.Type | undefined>> = {
  create_canister: record({ settings: opt(settingsType), ...scv }),
  provisional_create_canister_with_cycles: record({
    amount: opt(Nat),
    settings: opt(settingsType),
    specified_id: opt(Principal),
    ...scv,
  }),
  provisional_top_up_canister: record({ canister_id: Principal, amount: Nat }),
  update_settings: record({ canister_id: Principal, settings: settingsType, ...scv }),
  install_code: record({
    mode: installMode,
    canister_id: Principal,
    wasm_module: blob,
    arg: blob,
    ...scv,
  }),
  install_chunked_code: record({
    mode: installMode,
    target_canister: Principal,
    store_canister: opt(Principal),
    chunk_hashes_list: vec(record({ hash: blob })),
    wasm_module_hash: blob,
    arg: blob,
    ...scv,
  }),
  upload_chunk: record({ canister_id: Principal, chunk: blob }),
  clear_chunk_store: onlyCanisterId,
  stored_chunks: onlyCanisterId,
  uninstall_code: record({ canister_id: Principal, ...scv }),
  start_canister: onlyCanisterId,
  stop_canister: onlyCanisterId,
  delete_canister: onlyCanisterId,
  canister_status: onlyCanisterId,
  deposit_cycles: onlyCanisterId,
  raw_rand: undefined,
  ...INFORMATION_ARGUMENTS,
  ...OUTSIDE_ARGUMENTS,
  ...SNAPSHOT_ARGUMENTS,
};

/** Result types of the methods that return something. */
export const RESULT_TYPES: Readonly<Record<ResultName, IDL.Type>> = {
  canisterId: record({ canister_id: Principal }),
  rawRand: blob,
  uploadedChunk: record({ hash: blob }),
  storedChunks: vec(record({ hash: blob })),
  ...INFORMATION_RESULTS,
  ...OUTSIDE_RESULTS,
  ...SNAPSHOT_RESULTS,
  status: record({
    status: variant({ running: IDL.Null, stopping: IDL.Null, stopped: IDL.Null }),
    ready_for_migration: Bool,
    version: Nat64,
    settings: definiteSettings,
    module_hash: opt(blob),
    memory_size: Nat,
    memory_metrics: record({
      wasm_memory_size: Nat,
      stable_memory_size: Nat,
      global_memory_size: Nat,
      wasm_binary_size: Nat,
      custom_sections_size: Nat,
      canister_history_size: Nat,
      wasm_chunk_store_size: Nat,
      snapshots_size: Nat,
      log_memory_store_size: Nat,
    }),
    cycles: Nat,
    reserved_cycles: Nat,
    idle_cycles_burned_per_day: Nat,
    query_stats: record({
      num_calls_total: Nat,
      num_instructions_total: Nat,
      request_payload_bytes_total: Nat,
      response_payload_bytes_total: Nat,
    }),
  }),
};

type ResultName =
  | "canisterId"
  | "rawRand"
  | "uploadedChunk"
  | "storedChunks"
  | "status"
  | keyof typeof INFORMATION_RESULTS
  | keyof typeof OUTSIDE_RESULTS
  | keyof typeof SNAPSHOT_RESULTS;
