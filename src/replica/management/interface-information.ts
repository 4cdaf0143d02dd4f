// Candid types of the management canister's methods that tell about canisters and the subnet (ic.did
// 0.66). Owns types only.

import { IDL } from "gyrotron/candid";
import { sourceType } from "./interface-snapshots.ts";

const { Nat, Nat64, Null, Principal, Text } = IDL;
const blob: IDL.Type = IDL.Vec(IDL.Nat8);
const ids = IDL.Vec(Principal);

const changeOrigin = IDL.Variant({
  from_user: IDL.Record({ user_id: Principal }),
  from_canister: IDL.Record({ canister_id: Principal, canister_version: IDL.Opt(Nat64) }),
});
const changeDetails = IDL.Variant({
  creation: IDL.Record({ controllers: ids, environment_variables_hash: IDL.Opt(blob) }),
  code_uninstall: Null,
  code_deployment: IDL.Record({
    mode: IDL.Variant({ install: Null, reinstall: Null, upgrade: Null }),
    module_hash: blob,
  }),
  load_snapshot: IDL.Record({
    from_canister_id: IDL.Opt(Principal),
    snapshot_id: blob,
    canister_version: Nat64,
    taken_at_timestamp: Nat64,
    source: sourceType,
  }),
  controllers_change: IDL.Record({ controllers: ids }),
});
const change = IDL.Record({
  timestamp_nanos: Nat64,
  canister_version: Nat64,
  origin: changeOrigin,
  details: changeDetails,
});
const range = IDL.Record({ start: Nat64, end: Nat64 });

export const INFORMATION_ARGUMENTS = {
  canister_info: IDL.Record({
    canister_id: Principal,
    num_requested_changes: IDL.Opt(Nat64),
  }) as IDL.Type,
  canister_metadata: IDL.Record({ canister_id: Principal, name: Text }) as IDL.Type,
  canister_metrics: IDL.Record({ canister_id: Principal }) as IDL.Type,
  fetch_canister_logs: IDL.Record({
    canister_id: Principal,
    filter: IDL.Opt(IDL.Variant({ by_idx: range, by_timestamp_nanos: range })),
  }) as IDL.Type,
  list_canisters: undefined,
  node_metrics_history: IDL.Record({
    subnet_id: Principal,
    start_at_timestamp_nanos: Nat64,
  }) as IDL.Type,
  subnet_info: IDL.Record({ subnet_id: Principal }) as IDL.Type,
};

export const INFORMATION_RESULTS = {
  canisterInfo: IDL.Record({
    total_num_changes: Nat64,
    recent_changes: IDL.Vec(change),
    module_hash: IDL.Opt(blob),
    controllers: ids,
  }) as IDL.Type,
  canisterMetrics: IDL.Record({
    cycles_consumed: IDL.Record({
      memory: Nat,
      compute_allocation: Nat,
      ingress_induction: Nat,
      instructions: Nat,
      request_and_response_transmission: Nat,
      uninstall: Nat,
      canister_creation: Nat,
      http_outcalls: Nat,
      burned_cycles: Nat,
    }),
  }) as IDL.Type,
  metadata: IDL.Record({ value: blob }) as IDL.Type,
  logs: IDL.Record({
    canister_log_records: IDL.Vec(
      IDL.Record({ idx: Nat64, timestamp_nanos: Nat64, content: blob }),
    ),
  }) as IDL.Type,
  canisterList: IDL.Record({
    canisters: IDL.Vec(IDL.Record({ start: Principal, end: Principal })),
  }) as IDL.Type,
  nodeMetrics: IDL.Vec(
    IDL.Record({
      timestamp_nanos: Nat64,
      node_metrics: IDL.Vec(
        IDL.Record({
          node_id: Principal,
          num_blocks_proposed_total: Nat64,
          num_block_failures_total: Nat64,
        }),
      ),
    }),
  ) as IDL.Type,
  subnetInfo: IDL.Record({ replica_version: Text, registry_version: Nat64 }) as IDL.Type,
};
