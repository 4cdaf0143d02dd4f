// Changes of a canister's cycles balance: charges with their use case, freezing limit, prepayment of
// executions, storage over time. Every cycle that leaves a balance is counted in `consumed` or moves
// to another holder, so cycles are conserved. Owns balances; prices are in prices.ts.

import { assert, CHUNK_BYTES, WASM_PAGE_BYTES } from "gyrotron/base";
import type { CanisterRecord, ConsumedCycles } from "../state/records.ts";
import type { PriceTable } from "./prices.ts";

const NS_PER_SECOND = 1_000_000_000n;
const DAY_NS = 86_400n * NS_PER_SECOND;

/** Bytes that a canister's storage charge is computed from. */
export function memoryUsage(canister: CanisterRecord): MemoryUsage {
  const heap = BigInt(canister.image.heapPages) * BigInt(WASM_PAGE_BYTES);
  const stable = BigInt(canister.image.stablePages) * BigInt(WASM_PAGE_BYTES);
  const code = BigInt(canister.code?.moduleBytes ?? 0);
  const globals = BigInt(canister.image.globals.length);
  const chunkStore = BigInt(canister.storedChunks) * BigInt(64 * CHUNK_BYTES);
  const snapshots = canister.snapshotBytes;
  const history = BigInt(canister.historyBytes);
  return {
    heap,
    stable,
    code,
    globals,
    chunkStore,
    snapshots,
    history,
    total: heap + stable + code + globals + chunkStore + snapshots + history,
  };
}

/** Bytes by what they hold. */
export interface MemoryUsage {
  heap: bigint;
  stable: bigint;
  code: bigint;
  globals: bigint;
  chunkStore: bigint;
  snapshots: bigint;
  history: bigint;
  total: bigint;
}

/** Cycles burned in a day by doing nothing. */
export function idleBurnPerDay(canister: CanisterRecord, prices: PriceTable): bigint {
  return idleCharge(canister, prices, DAY_NS).total;
}

/** Balance below which the canister is frozen. */
export function freezingLimit(canister: CanisterRecord, prices: PriceTable): bigint {
  const limit =
    (idleBurnPerDay(canister, prices) * canister.settings.freezingThresholdSeconds) / 86_400n;
  return limit > canister.reservedCycles ? limit - canister.reservedCycles : 0n;
}

/** Cycles still missing to pay `amount` without falling below the freezing limit; 0 if there are enough. */
export function missingFor(canister: CanisterRecord, amount: bigint, prices: PriceTable): bigint {
  const needed = freezingLimit(canister, prices) + amount;
  return needed > canister.cycles ? needed - canister.cycles : 0n;
}

/** Takes `amount` from the balance and counts it. The caller has made sure that it is there. */
export function charge(canister: CanisterRecord, use: keyof ConsumedCycles, amount: bigint): void {
  assert(amount >= 0n, "charge is not negative");
  assert(amount <= canister.cycles, "charge exceeds the balance");
  canister.cycles -= amount;
  canister.consumed[use] += amount;
}

/** Gives back part of an earlier charge. */
export function refundCharge(
  canister: CanisterRecord,
  use: keyof ConsumedCycles,
  amount: bigint,
): void {
  assert(amount >= 0n && amount <= canister.consumed[use], "refund exceeds what was charged");
  canister.cycles += amount;
  canister.consumed[use] -= amount;
}

/** Adds cycles that came from elsewhere. */
export function deposit(canister: CanisterRecord, amount: bigint): void {
  assert(amount >= 0n, "deposit is not negative");
  canister.cycles += amount;
}

/**
 * Pays storage and compute allocation up to `nowNs`. Returns false when the balance does not suffice:
 * everything is taken then and the canister has to be uninstalled.
 */
export function chargeUntil(canister: CanisterRecord, nowNs: bigint, prices: PriceTable): boolean {
  const elapsed = nowNs - canister.chargedUntilNs;
  if (elapsed <= 0n) return true;
  const due = idleCharge(canister, prices, elapsed);
  // Nothing due yet: keep the time, so that tiny amounts are not rounded away for ever.
  if (due.total === 0n) return true;
  canister.chargedUntilNs = nowNs;
  const storage = due.storage < canister.cycles ? due.storage : canister.cycles;
  charge(canister, "memory", storage);
  const compute = due.compute < canister.cycles ? due.compute : canister.cycles;
  charge(canister, "computeAllocation", compute);
  return storage + compute === due.total;
}

function idleCharge(
  canister: CanisterRecord,
  prices: PriceTable,
  ns: bigint,
): { storage: bigint; compute: bigint; total: bigint } {
  const used = memoryUsage(canister).total;
  const allocated = canister.settings.memoryAllocation;
  const storage = prices.storage(used > allocated ? used : allocated, ns);
  const compute = prices.computeAllocation(canister.settings.computeAllocation, ns);
  return { storage, compute, total: storage + compute };
}
