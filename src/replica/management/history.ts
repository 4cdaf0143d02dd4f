// The history of a canister: which changes of code and controllers there were, who made them, and
// what canister_info tells of them.

import { CANISTER_HISTORY_CHANGES_MAX, encodeWith } from "gyrotron/base";
import { type IdlPrincipal, toIdlPrincipal } from "gyrotron/candid";
import { hashOfMap, type HashableValue } from "gyrotron/crypto";
import type { BlockContext } from "../block-context.ts";
import { historyKey } from "../state/keys.ts";
import {
  type CanisterChange,
  type CanisterHistory,
  type ChangeDetails,
  type ChangeOrigin,
  historyCodec,
} from "../state/history-record.ts";
import type { CanisterRecord } from "../state/records.ts";
import {
  findCanister,
  isReject,
  type ManagementCall,
  type MethodResult,
  replyWith,
} from "./call.ts";

const NO_HISTORY: CanisterHistory = { total: 0n, changes: [] };

/** Adds a change by the caller; the canister's version is the one after it. The caller saves the record. */
export function recordChange(
  context: BlockContext,
  canister: CanisterRecord,
  call: Pick<ManagementCall, "origin" | "sender" | "senderVersion">,
  details: ChangeDetails,
): void {
  const origin: ChangeOrigin =
    call.origin.kind === "canister"
      ? { kind: "canister", id: call.sender, version: call.senderVersion }
      : { kind: "user", id: call.sender };
  const { total, changes } = historyOf(context, canister);
  const change = { timeNs: context.timeNs, version: canister.version, origin, details };
  putHistory(context, canister, {
    total: total + 1n,
    changes: [...changes, change].slice(-CANISTER_HISTORY_CHANGES_MAX),
  });
}

/** Forgets what happened, but not how often: what a canister without cycles loses. */
export function dropHistory(context: BlockContext, canister: CanisterRecord): void {
  const { total } = historyOf(context, canister);
  if (total > 0n) putHistory(context, canister, { total, changes: [] });
}

/** The details of a creation. */
export function creationOf({ settings }: CanisterRecord): ChangeDetails {
  const { controllers, environment } = settings;
  const environmentHash =
    environment.length === 0
      ? undefined
      : hashOfMap(
          new Map<string, HashableValue>(environment.map(({ name, value }) => [name, value])),
        );
  return { kind: "creation", controllers, environmentHash };
}

/** canister_info: for canisters. */
export function canisterInfo(
  context: BlockContext,
  _call: ManagementCall,
  argument: { canister_id: IdlPrincipal; num_requested_changes: [] | [bigint] },
): MethodResult {
  const canister = findCanister(context, argument.canister_id);
  if (isReject(canister)) return canister;
  const { total, changes } = historyOf(context, canister);
  const [requested = 0n] = argument.num_requested_changes;
  const count = requested < BigInt(changes.length) ? Number(requested) : changes.length;
  return replyWith("canisterInfo", {
    total_num_changes: total,
    recent_changes: changes.slice(changes.length - count).map(showChange),
    module_hash: canister.code === undefined ? [] : [canister.code.moduleHash],
    controllers: canister.settings.controllers.map(toIdlPrincipal),
  });
}

function historyOf(context: Pick<BlockContext, "state">, { id }: CanisterRecord): CanisterHistory {
  return context.state.overlay.get(historyCodec, historyKey(id)) ?? NO_HISTORY;
}

function putHistory(
  context: BlockContext,
  canister: CanisterRecord,
  history: CanisterHistory,
): void {
  context.state.overlay.put(historyCodec, historyKey(canister.id), history);
  canister.historyBytes =
    history.changes.length === 0 ? 0 : encodeWith(historyCodec, history).length;
}

function showChange({ timeNs, version, origin, details }: CanisterChange): unknown {
  const shownOrigin =
    origin.kind === "user"
      ? { from_user: { user_id: toIdlPrincipal(origin.id) } }
      : {
          from_canister: {
            canister_id: toIdlPrincipal(origin.id),
            canister_version: optional(origin.version),
          },
        };
  return {
    timestamp_nanos: timeNs,
    canister_version: version,
    origin: shownOrigin,
    details: showDetails(details),
  };
}

function showDetails(details: ChangeDetails): unknown {
  switch (details.kind) {
    case "creation":
      return {
        creation: {
          controllers: details.controllers.map(toIdlPrincipal),
          environment_variables_hash: optional(details.environmentHash),
        },
      };
    case "codeUninstall":
      return { code_uninstall: null };
    case "codeDeployment":
      return {
        code_deployment: { mode: { [details.mode]: null }, module_hash: details.moduleHash },
      };
    case "controllersChange":
      return { controllers_change: { controllers: details.controllers.map(toIdlPrincipal) } };
    case "loadSnapshot":
      return {
        load_snapshot: {
          from_canister_id: details.fromCanister ? [toIdlPrincipal(details.fromCanister)] : [],
          snapshot_id: details.snapshotId,
          canister_version: details.version,
          taken_at_timestamp: details.takenAtNs,
          source: showSource(details.source),
        },
      };
  }
}

/** Where a snapshot comes from, as Candid says it. */
export function showSource(source: "taken" | "uploaded"): Record<string, null> {
  return source === "taken" ? { taken_from_canister: null } : { metadata_upload: null };
}

/** An optional value as Candid's opt. */
export function optional<T>(value: T | undefined): [] | [T] {
  return value === undefined ? [] : [value];
}
