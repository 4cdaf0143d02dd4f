// What the management canister tells about a canister: status, metrics, logs, metadata. Whatever can
// be asked by a query only reads.

import { fromIdlPrincipal, type IdlPrincipal } from "gyrotron/candid";
import { formatPrincipal } from "gyrotron/crypto";
import type { BlockContext } from "../block-context.ts";
import type { ReadContext } from "../block-context.ts";
import { idleBurnPerDay, memoryUsage } from "../cycles/balance.ts";
import { logBytes } from "../execution/logs.ts";
import { ErrorCode, type Reject, reject } from "../reject.ts";
import type { LogRecord, Response } from "../state/records.ts";
import {
  findCanister,
  findControlled,
  findManaged,
  isController,
  isReject,
  isSubnetAdmin,
  type ManagementCall,
  type MethodResult,
  replyWith,
} from "./call.ts";
import { showSettings } from "./settings.ts";
import { maySee, maySeeStatus } from "./visibility.ts";

/** canister_status: for controllers, the canister itself and whom the setting lets see it. */
export function canisterStatus(
  context: ReadContext,
  sender: Uint8Array,
  argument: { canister_id: IdlPrincipal },
): Response {
  const canister = findCanister(context, argument.canister_id);
  if (isReject(canister)) return canister;
  if (!maySeeStatus(canister, sender) && !isSubnetAdmin(context, sender)) {
    const refused = findControlled(context, { sender }, argument.canister_id);
    if (isReject(refused)) return refused;
  }
  const usage = memoryUsage(canister);
  const { queryStats } = canister;
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
      canister_history_size: usage.history,
      wasm_chunk_store_size: usage.chunkStore,
      snapshots_size: usage.snapshots,
      log_memory_store_size: logBytes(context.state.log(canister.id)),
    },
    cycles: canister.cycles,
    reserved_cycles: canister.reservedCycles,
    idle_cycles_burned_per_day: idleBurnPerDay(canister, context.prices),
    query_stats: {
      num_calls_total: queryStats.calls,
      num_instructions_total: queryStats.instructions,
      request_payload_bytes_total: queryStats.requestBytes,
      response_payload_bytes_total: queryStats.responseBytes,
    },
  });
}

/** canister_metrics: what a canister has paid, by use; for controllers and the subnet's administrators. */
export function canisterMetrics(
  context: ReadContext,
  sender: Uint8Array,
  argument: { canister_id: IdlPrincipal },
): Response {
  const canister = findManaged(context, { sender }, argument.canister_id);
  if (isReject(canister)) return canister;
  const { consumed } = canister;
  return replyWith("canisterMetrics", {
    cycles_consumed: {
      memory: consumed.memory,
      compute_allocation: consumed.computeAllocation,
      ingress_induction: consumed.ingressInduction,
      instructions: consumed.instructions,
      request_and_response_transmission: consumed.transmission,
      uninstall: consumed.uninstall,
      canister_creation: consumed.creation,
      http_outcalls: consumed.httpOutcalls,
      burned_cycles: consumed.burned,
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

/** Which records of a log are wanted; an end is exclusive. */
type LogFilter =
  | { by_idx: { start: bigint; end: bigint } }
  | { by_timestamp_nanos: { start: bigint; end: bigint } };

/** fetch_canister_logs: a query; the setting log_visibility decides who may. */
export function fetchCanisterLogs(
  context: Pick<BlockContext, "state">,
  sender: Uint8Array,
  argument: { canister_id: IdlPrincipal; filter: [] | [LogFilter] },
): Response {
  const canister = findCanister(context, argument.canister_id);
  if (isReject(canister)) return canister;
  if (!maySee(canister, canister.settings.logVisibility, sender)) {
    return reject(
      ErrorCode.canisterRejected,
      `Caller ${formatPrincipal(sender)} is not allowed to query ic00 method fetch_canister_logs`,
    );
  }
  const [filter] = argument.filter;
  const records = context.state.log(fromIdlPrincipal(argument.canister_id));
  return replyWith("logs", {
    canister_log_records: records
      .filter((record) => filter === undefined || isWanted(record, filter))
      .map(({ index, timeNs, content }) => ({ idx: index, timestamp_nanos: timeNs, content })),
  });
}

function isWanted({ index, timeNs }: LogRecord, filter: LogFilter): boolean {
  const [value, { start, end }] =
    "by_idx" in filter ? [index, filter.by_idx] : [timeNs, filter.by_timestamp_nanos];
  return start <= value && value < end;
}

function notAuthorized(): Reject {
  return reject(ErrorCode.canisterRejected, "The caller is not authorized to call this method.");
}
