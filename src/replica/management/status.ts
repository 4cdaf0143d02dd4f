// What the management canister tells about a canister: status, logs, metadata.

import { equalBytes } from "gyrotron/base";
import { fromIdlPrincipal, type IdlPrincipal } from "gyrotron/candid";
import { formatPrincipal } from "gyrotron/crypto";
import type { BlockContext } from "../block-context.ts";
import { idleBurnPerDay, memoryUsage } from "../cycles/balance.ts";
import { ErrorCode, type Reject, reject } from "../reject.ts";
import type { CanisterRecord, Visibility } from "../state/records.ts";
import {
  findCanister,
  findControlled,
  isController,
  isReject,
  type ManagementCall,
  type MethodResult,
  replyWith,
} from "./call.ts";
import { showSettings } from "./settings.ts";

/** canister_status: for controllers, the canister itself and whom the setting lets see it. */
export function canisterStatus(
  context: BlockContext,
  call: ManagementCall,
  argument: { canister_id: IdlPrincipal },
): MethodResult {
  const canister = findCanister(context, argument.canister_id);
  if (isReject(canister)) return canister;
  if (!maySeeStatus(canister, call.sender)) {
    const refused = findControlled(context, call, argument.canister_id);
    if (isReject(refused)) return refused;
  }
  const usage = memoryUsage(canister);
  return replyWith("status", {
    status: { [canister.status]: null },
    ready_for_migration: canister.status === "stopped" && canister.openContexts === 0,
    version: canister.version,
    settings: showSettings(canister.settings),
    module_hash: canister.code === undefined ? [] : [canister.code.moduleHash],
    memory_size: usage.total,
    memory_metrics: {
      wasm_memory_size: usage.heap,
      stable_memory_size: usage.stable,
      global_memory_size: usage.globals,
      wasm_binary_size: usage.code,
      custom_sections_size: BigInt(canister.code?.customSectionsBytes ?? 0),
      canister_history_size: 0n,
      wasm_chunk_store_size: usage.chunkStore,
      snapshots_size: 0n,
      log_memory_store_size: logBytes(context, canister),
    },
    cycles: canister.cycles,
    reserved_cycles: canister.reservedCycles,
    idle_cycles_burned_per_day: idleBurnPerDay(canister, context.prices),
    query_stats: {
      num_calls_total: 0n,
      num_instructions_total: 0n,
      request_payload_bytes_total: 0n,
      response_payload_bytes_total: 0n,
    },
  });
}

/** canister_metadata: the content of an icp: custom section. */
export function canisterMetadata(
  context: BlockContext,
  call: ManagementCall,
  argument: { canister_id: IdlPrincipal; name: string },
): MethodResult {
  const canister = findCanister(context, argument.canister_id);
  if (isReject(canister)) return canister;
  const metadata = context.state.publicInfo(canister.id)?.metadata ?? [];
  const section = metadata.find(({ name }) => name === argument.name);
  if (section === undefined) {
    const text = `The canister ${argument.canister_id.toText()} has no metadata section with the name ${argument.name}.`;
    return reject(ErrorCode.canisterRejected, text);
  }
  if (section.visibility === "private" && !isController(canister, call.sender))
    return notAuthorized();
  return replyWith("metadata", { value: section.content });
}

/** fetch_canister_logs: a query; the setting log_visibility decides who may. */
export function fetchCanisterLogs(
  context: Pick<BlockContext, "state">,
  sender: Uint8Array,
  argument: { canister_id: IdlPrincipal },
): MethodResult {
  const canister = findCanister(context, argument.canister_id);
  if (isReject(canister)) return canister;
  if (!maySee(canister, canister.settings.logVisibility, sender)) {
    return reject(
      ErrorCode.canisterRejected,
      `Caller ${formatPrincipal(sender)} is not allowed to query ic00 method fetch_canister_logs`,
    );
  }
  const records = context.state.log(fromIdlPrincipal(argument.canister_id));
  return replyWith("logs", {
    canister_log_records: records.map(({ index, timeNs, content }) => ({
      idx: index,
      timestamp_nanos: timeNs,
      content,
    })),
  });
}

/** Whether the status of a canister may be shown to somebody. */
export function maySeeStatus(canister: CanisterRecord, principal: Uint8Array): boolean {
  return (
    equalBytes(canister.id, principal) ||
    maySee(canister, canister.settings.statusVisibility, principal)
  );
}

function maySee(canister: CanisterRecord, visibility: Visibility, principal: Uint8Array): boolean {
  if (visibility.kind === "public" || isController(canister, principal)) return true;
  return (
    visibility.kind === "allowedViewers" &&
    visibility.viewers.some((viewer) => equalBytes(viewer, principal))
  );
}

function logBytes(context: Pick<BlockContext, "state">, canister: CanisterRecord): bigint {
  return BigInt(
    context.state.log(canister.id).reduce((sum, entry) => sum + entry.content.length, 0),
  );
}

function notAuthorized(): Reject {
  return reject(ErrorCode.canisterRejected, "The caller is not authorized to call this method.");
}
