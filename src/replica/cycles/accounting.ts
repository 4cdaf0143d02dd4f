// What is kept in step with canister records at the end of each block: the subnet's totals, and the
// index of when a canister that does nothing runs out of cycles. Costs by the canisters that a block
// changed, never by how many there are.

import { codec, type Codec, decodeWith, encodeWith, equalBytes } from "gyrotron/base";
import type { BlockContext } from "../block-context.ts";
import type { SubnetMetrics } from "../certification/index.ts";
import { payStorage } from "../management/storage.ts";
import { KEY_PREFIX, subnetMetricsKey } from "../state/keys.ts";
import { canisterCodec, type CanisterRecord } from "../state/records.ts";
import { idleBurnPerDay, memoryUsage } from "./balance.ts";

const { record, u64, u128 } = codec;
const DAY_NS = 86_400_000_000_000n;
/** Between two looks at a canister that is about to run out. */
const SWEEP_INTERVAL_NS = 10_000_000_000n;
/** Times beyond this are never: a u64 of nanoseconds ends in the year 2554. */
const SWEEP_NS_MAX = 1n << 63n;

export const subnetMetricsCodec: Codec<SubnetMetrics> = record<{
  [K in keyof SubnetMetrics]: SubnetMetrics[K];
}>({
  canisterCount: u64,
  canisterStateBytes: u64,
  consumedCyclesTotal: u128,
  updateTransactionsTotal: u64,
});

const NO_METRICS: SubnetMetrics = {
  canisterCount: 0n,
  canisterStateBytes: 0n,
  consumedCyclesTotal: 0n,
  updateTransactionsTotal: 0n,
};

/** Uninstalls the canisters whose cycles have run out while nobody looked. */
export function sweepIdleCanisters(context: BlockContext): void {
  for (const id of context.state.dueSweeps(context.timeNs)) {
    const canister = context.state.canister(id);
    if (canister === undefined) continue;
    payStorage(context, canister);
    context.state.setSweep(canister, 0n);
    context.state.putCanister(canister);
  }
}

/** Brings totals and sweep times up to date with what the block changed. Runs after everything else. */
export function accountForBlock(context: BlockContext, updateCount: number): void {
  const { overlay } = context.state;
  const key = subnetMetricsKey(context.network.subnetId);
  const metrics = { ...(overlay.get(subnetMetricsCodec, key) ?? NO_METRICS) };
  const before = encodeWith(subnetMetricsCodec, metrics);
  metrics.updateTransactionsTotal += BigInt(updateCount);
  for (const change of overlay.changes<CanisterRecord>(KEY_PREFIX.canister)) {
    const old = change.before && decodeWith(canisterCodec, change.before);
    const now = change.value;
    if (now !== undefined) scheduleSweep(context, now);
    const [was, is] = [measure(old), measure(now)];
    metrics.canisterCount += BigInt(is.count - was.count);
    metrics.canisterStateBytes += is.bytes - was.bytes;
    // What a deleted canister has consumed stays consumed, and so are the cycles that it took along.
    const lost = now === undefined ? (old?.cycles ?? 0n) : is.consumed - was.consumed;
    metrics.consumedCyclesTotal += lost;
  }
  if (!equalBytes(before, encodeWith(subnetMetricsCodec, metrics)))
    overlay.put(subnetMetricsCodec, key, metrics);
}

/**
 * Only ever moves a look to an earlier time: one that comes too early finds cycles left and is put
 * off, which is cheaper than moving it with every message.
 */
function scheduleSweep(context: BlockContext, canister: CanisterRecord): void {
  const wanted = depletionNs(context, canister);
  const { sweepNs } = canister;
  if (wanted === 0n || (sweepNs !== 0n && sweepNs <= wanted)) return;
  context.state.setSweep(canister, wanted);
  context.state.putCanister(canister);
}

/** When the balance will not suffice any more if nothing happens; 0: never. */
function depletionNs(context: BlockContext, canister: CanisterRecord): bigint {
  const perDay = idleBurnPerDay(canister, context.prices);
  if (perDay === 0n) return 0n;
  const left = (canister.cycles * DAY_NS) / perDay;
  const time = canister.chargedUntilNs + left + SWEEP_INTERVAL_NS;
  const soonest = context.timeNs + SWEEP_INTERVAL_NS;
  if (time > SWEEP_NS_MAX) return 0n;
  return time > soonest ? time : soonest;
}

function measure(canister: CanisterRecord | undefined): {
  count: number;
  bytes: bigint;
  consumed: bigint;
} {
  if (canister === undefined) return { count: 0, bytes: 0n, consumed: 0n };
  const consumed = Object.values(canister.consumed).reduce((sum, amount) => sum + amount, 0n);
  return { count: 1, bytes: memoryUsage(canister).total, consumed };
}
