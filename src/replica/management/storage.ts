// Paying for storage and compute allocation up to now: before anything that runs on a canister,
// changes what it pays for, or shows its balance.

import type { BlockContext } from "../block-context.ts";
import { chargeUntil, memoryUsage } from "../cycles/balance.ts";
import type { CanisterRecord } from "../state/records.ts";
import { dropHistory } from "./history.ts";
import { dropCode } from "./install.ts";
import { deleteAllSnapshots } from "./snapshots.ts";

/** Pays what is due; a canister that cannot loses what costs something. The caller saves the record. */
export function payStorage(context: BlockContext, canister: CanisterRecord): void {
  if (chargeUntil(canister, context.timeNs, context.prices)) return;
  const { settings } = canister;
  const isEmpty =
    settings.computeAllocation === 0 &&
    settings.memoryAllocation === 0n &&
    memoryUsage(canister).total === 0n;
  if (isEmpty) return;
  if (canister.code !== undefined || canister.storedChunks > 0) dropCode(context, canister);
  deleteAllSnapshots(context, canister);
  dropHistory(context, canister);
  canister.settings = { ...settings, computeAllocation: 0, memoryAllocation: 0n };
}
