// How many blocks each node has proposed, a sample for each UTC day: what node_metrics_history tells.
// Counts the blocks that order something, since an idle block must not change the state.

import { codec, type Codec, compareBytes, equalBytes, present } from "gyrotron/base";
import type { Block } from "./contract.ts";
import { KEY_PREFIX, nodeMetricsKey } from "./state/keys.ts";
import type { ReplicaState } from "./state/replica-state.ts";

/** What one node has done, since it last did nothing for a day. */
export interface NodeMetrics {
  nodeId: Uint8Array;
  blocksProposed: bigint;
}

/** The metrics at the end of a day, or so far. Holds the nodes that proposed a block on that day. */
export interface NodeMetricsSample {
  /** Of the last block that was counted. */
  timeNs: bigint;
  nodes: NodeMetrics[];
}

/** Days that are kept. */
export const NODE_METRICS_DAYS_MAX = 60;

const DAY_NS = 86_400_000_000_000n;
const { bytes, list, record, u64 } = codec;

const sampleCodec: Codec<NodeMetricsSample> = record<{ timeNs: bigint; nodes: NodeMetrics[] }>({
  timeNs: u64,
  nodes: list(
    record<{ nodeId: Uint8Array; blocksProposed: bigint }>({ nodeId: bytes, blocksProposed: u64 }),
    12,
  ),
});

/** Counts a block for its proposer. */
export function countProposedBlock(state: ReplicaState, block: Block): void {
  if (block.transactions.length === 0) return;
  const { overlay } = state;
  const key = nodeMetricsKey(block.timeNs / DAY_NS);
  const nodes = overlay.get(sampleCodec, key)?.nodes ?? [];
  const isProposer = ({ nodeId }: NodeMetrics): boolean => equalBytes(nodeId, block.proposer);
  const known = nodes.find(isProposer) ?? sampleBefore(state, key)?.nodes.find(isProposer);
  const counted = {
    nodeId: block.proposer,
    blocksProposed: (known?.blocksProposed ?? 0n) + 1n,
  };
  const others = nodes.filter((node) => !isProposer(node));
  overlay.put(sampleCodec, key, { timeNs: block.timeNs, nodes: [...others, counted] });
  if (nodes.length === 0) forgetOldest(state);
}

/** The samples taken at `startNs` or later, oldest first. */
export function nodeMetricsSince(state: ReplicaState, startNs: bigint): NodeMetricsSample[] {
  return state.overlay
    .keys(KEY_PREFIX.nodeMetrics)
    .map((key) => present(state.overlay.get(sampleCodec, key)))
    .filter(({ timeNs }) => timeNs >= startNs);
}

/** The last sample of a day before that of `key`. */
function sampleBefore(state: ReplicaState, key: Uint8Array): NodeMetricsSample | undefined {
  const isEarlier = (other: Uint8Array): boolean => compareBytes(other, key) < 0;
  const last = state.overlay.keys(KEY_PREFIX.nodeMetrics, isEarlier).at(-1);
  return last && state.overlay.get(sampleCodec, last);
}

function forgetOldest({ overlay }: ReplicaState): void {
  const days = overlay.keys(KEY_PREFIX.nodeMetrics);
  for (const day of days.slice(0, -NODE_METRICS_DAYS_MAX)) overlay.delete(day);
}
