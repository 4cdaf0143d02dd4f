// Which tokens may be drawn: top-k, top-p and min-p of docs/spec/01-numerics.md section 12. A vocabulary takes
// longer to sort than its logits take to compute, so only the likeliest tokens are.

import { assert } from "gyrotron/base";

/** Indices are below this. */
const INDICES = 1048576;
/** So many of the likeliest tokens are looked at first for top-p, and each time so many times as many. */
const FIRST_TRY = 64;

/** What limits the candidates. */
export interface CandidateLimits {
  readonly topK: number;
  readonly topP: number;
  readonly minP?: number;
}

/** Indices with a weight that survive top-k, then top-p, then min-p, rising; undefined if all survive. */
export function keepCandidates(
  weights: Uint32Array,
  { topK, topP, minP = 0 }: CandidateLimits,
): Uint32Array | undefined {
  assert(weights.length <= INDICES, "vocabulary too large");
  const isCut = topK !== 0 && topK < weights.length;
  if (!isCut && topP === 65536 && minP === 0) return undefined;
  let largest = 0;
  let total = 0;
  for (let i = 0; i < weights.length; i++) {
    const weight = weights[i]!;
    total += weight;
    if (weight > largest) largest = weight;
  }
  const least = leastWeight(largest, minP);
  const keys = isCut ? firstOfTop(weights, topK, topP) : firstOfAll(weights, total, topP, least);
  const start = keys.findIndex((key) => weightOf(key) >= least);
  return Uint32Array.from(keys.subarray(start), (key) => INDICES - 1 - (key % INDICES)).sort();
}

/** Weight and index in one binary64 integer below 2^52, so that numbers sort as (weight, -index) do. */
function keyOf(weight: number, index: number): number {
  return weight * INDICES + (INDICES - 1 - index);
}

function weightOf(key: number): number {
  return Math.floor(key / INDICES);
}

/** The least w of 1 or more with `65536 w >= largest * minP`: both sides are below 2^48. */
function leastWeight(largest: number, minP: number): number {
  return Math.max(1, Math.ceil((largest * minP) / 65536));
}

/** The least sum s with `65536 s >= topP * total`; the product may pass 2^53. */
function leastSum(topP: number, total: number): number {
  return Number((BigInt(topP) * BigInt(total) + 65535n) >> 16n);
}

/** Of the `topK` largest weights those that are first with the share `topP`; rising keys. */
function firstOfTop(weights: Uint32Array, topK: number, topP: number): Float64Array {
  const keys = largestKeys(weights, topK, 1);
  let total = 0;
  for (const key of keys) total += weightOf(key);
  return lastWith(keys, leastSum(topP, total)) ?? keys;
}

/** Of all weights those that are first with the share `topP` of `total`, if `least` or more; rising keys. */
function firstOfAll(
  weights: Uint32Array,
  total: number,
  topP: number,
  least: number,
): Float64Array {
  const needed = leastSum(topP, total);
  for (let count = FIRST_TRY; ; count *= FIRST_TRY) {
    const keys = largestKeys(weights, topP === 65536 ? weights.length : count, least);
    const first = lastWith(keys, needed);
    if (first !== undefined) return first;
    if (keys.length < count) return keys;
  }
}

/** The last keys of a rising list, as few as have the sum `needed`; undefined if all together have less. */
function lastWith(keys: Float64Array, needed: number): Float64Array | undefined {
  let sum = 0;
  for (let start = keys.length - 1; start >= 0; start--) {
    sum += weightOf(keys[start]!);
    if (sum >= needed) return keys.subarray(start);
  }
  return undefined;
}

/** Keys of the `count` largest weights of `least` or more, rising; of all if there are fewer. */
function largestKeys(weights: Uint32Array, count: number, least: number): Float64Array {
  const room = new Float64Array(Math.min(weights.length, 2 * count));
  let used = 0;
  let bar = least;
  for (let i = 0; i < weights.length; i++) {
    const weight = weights[i]!;
    if (weight < bar) continue;
    if (used === room.length) {
      // Of equal weights those with a lower index come first, so that what is equal to the last kept may go too.
      room.sort().copyWithin(0, used - count);
      used = count;
      bar = weightOf(room[0]!) + 1;
      if (weight < bar) continue;
    }
    room[used++] = keyOf(weight, i);
  }
  return room
    .subarray(0, used)
    .sort()
    .subarray(Math.max(0, used - count));
}
