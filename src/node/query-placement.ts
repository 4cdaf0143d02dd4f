// Which query worker answers an inquiry. A canister has a home, where its memory is warm; its queries go
// elsewhere only when the home is much busier than another worker. Owns no worker.

import { assert } from "gyrotron/base";

/** Inquiries that a home may have more than the least busy worker before others help. */
const HOME_ADVANTAGE = 4;

/** Index of the worker to ask, given how many inquiries each has open. */
export function chooseWorker(
  openCounts: readonly number[],
  canisterId: Uint8Array | undefined,
): number {
  assert(openCounts.length > 0, "there is a worker");
  const least = openCounts.indexOf(Math.min(...openCounts));
  if (canisterId === undefined) return least;
  const home = homeOf(canisterId, openCounts.length);
  return openCounts[home]! - openCounts[least]! <= HOME_ADVANTAGE ? home : least;
}

/** Canister numbers differ in their low bytes, which this mixes. */
function homeOf(canisterId: Uint8Array, workers: number): number {
  let hash = 0;
  for (const byte of canisterId) hash = (Math.imul(hash, 31) + byte) >>> 0;
  return hash % workers;
}
