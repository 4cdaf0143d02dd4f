// What the management canister tells about the subnet: its version, its nodes' metrics, its canisters.

import { equalBytes } from "gyrotron/base";
import { fromIdlPrincipal, type IdlPrincipal, toIdlPrincipal } from "gyrotron/candid";
import { canisterIdToU64, formatPrincipal } from "gyrotron/crypto";
import type { BlockContext } from "../block-context.ts";
import type { ReadContext } from "../block-context.ts";
import type { NetworkConfig } from "../contract.ts";
import { nodeMetricsSince } from "../node-metrics.ts";
import { ErrorCode, type Reject, reject } from "../reject.ts";
import type { Response } from "../state/records.ts";
import {
  isSubnetAdmin,
  type ManagementCall,
  type MethodResult,
  notSubnetAdmin,
  replyWith,
} from "./call.ts";

/** What subnet_info calls this replica: it changes when replicated behaviour does. */
const REPLICA_VERSION = "gyrotron-1";

/** subnet_info: of the only subnet there is. */
export function subnetInfo(
  context: BlockContext,
  _call: ManagementCall,
  argument: { subnet_id: IdlPrincipal },
): MethodResult {
  return (
    otherSubnet(context, argument.subnet_id) ??
    replyWith("subnetInfo", { replica_version: REPLICA_VERSION, registry_version: 1n })
  );
}

/** node_metrics_history: a sample for each day; no block fails, since only decided blocks are known. */
export function nodeMetricsHistory(
  context: BlockContext,
  _call: ManagementCall,
  argument: { subnet_id: IdlPrincipal; start_at_timestamp_nanos: bigint },
): MethodResult {
  const samples = nodeMetricsSince(context.state, argument.start_at_timestamp_nanos);
  const shown = samples.map(({ timeNs, nodes }) => ({
    timestamp_nanos: timeNs,
    node_metrics: nodes.map(({ nodeId, blocksProposed }) => ({
      node_id: toIdlPrincipal(nodeId),
      num_blocks_proposed_total: blocksProposed,
      num_block_failures_total: 0n,
    })),
  }));
  return otherSubnet(context, argument.subnet_id) ?? replyWith("nodeMetrics", shown);
}

/** Why a call at the subnet's endpoint is refused, where only administrators create; undefined: accept. */
export function subnetCallRejection(
  network: NetworkConfig,
  sender: Uint8Array,
  methodName: string,
): Reject | undefined {
  return isSubnetAdmin({ network }, sender)
    ? undefined
    : notSubnetAdmin({ network }, sender, methodName);
}

/** list_canisters: a query of the subnet's administrators; ids without a gap are one range. */
export function listCanisters(context: ReadContext, sender: Uint8Array): Response {
  if (!isSubnetAdmin(context, sender)) {
    if (context.network.subnetAdmins.length > 0)
      return notSubnetAdmin(context, sender, "list_canisters");
    const text = `Caller ${formatPrincipal(sender)} is not allowed to query ic00 method list_canisters`;
    return reject(ErrorCode.canisterRejected, text);
  }
  const ranges: { start: Uint8Array; end: Uint8Array }[] = [];
  for (const id of context.state.canisterIds()) {
    const last = ranges.at(-1);
    const isNext = last !== undefined && canisterIdToU64(id) === next(last.end);
    if (isNext) last.end = id;
    else ranges.push({ start: id, end: id });
  }
  return replyWith("canisterList", {
    canisters: ranges.map(({ start, end }) => ({
      start: toIdlPrincipal(start),
      end: toIdlPrincipal(end),
    })),
  });
}

function next(id: Uint8Array): bigint | undefined {
  const number = canisterIdToU64(id);
  return number === undefined ? undefined : number + 1n;
}

function otherSubnet(context: BlockContext, id: IdlPrincipal): Reject | undefined {
  if (equalBytes(fromIdlPrincipal(id), context.network.subnetId)) return undefined;
  return reject(ErrorCode.subnetNotFound, `The subnet ${id.toText()} is not known here.`);
}
