// Paying for storage and compute allocation up to now: before anything that runs on a canister,
// changes what it pays for, or shows its balance.

import type { BlockContext } from "../block-context.ts";
import { chargeUntil } from "../cycles/balance.ts";
import type { CanisterRecord } from "../state/records.ts";
import { dropCode } from "./install.ts";

/** Pays what is due; a canister that cannot is uninstalled. The caller saves the record. */
export function payStorage(context: BlockContext, canister: CanisterRecord): void {
  if (chargeUntil(canister, context.timeNs, context.prices)) return;
  if (canister.code !== undefined) dropCode(context, canister);
}
