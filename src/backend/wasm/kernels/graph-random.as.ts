// Randomness in graphs (docs/spec/01-numerics.md sections 11, 12 and 21).
//
// Floats: dropout divides an f32 by an integer of 17 bits in binary64, which comes nowhere near the middle of
// two f32 unless it is one; differences of mantissas times a factor stay below 2^53; `floor` is exact.

import { at4, failFirst } from "./graph-record.as";
import { arrangeHeap, takeSmallest } from "./graph-order.as";
import { argmaxOf } from "./graph-row.as";
import { address, EXP2, word } from "./layout.as";
import { largestBits } from "./row.as";
import { exp2Fraction, exponentOf, power, roundOnce } from "./scalar.as";

/** Four rounds of Threefry on a block (low word x, high word y). */
// @ts-ignore: decorator
@inline
function rounds(block: u64, even: bool): u64 {
  let x = <u32>block;
  let y = <u32>(block >> 32);
  x += y;
  y = rotl<u32>(y, even ? 13 : 17) ^ x;
  x += y;
  y = rotl<u32>(y, even ? 15 : 29) ^ x;
  x += y;
  y = rotl<u32>(y, even ? 26 : 16) ^ x;
  x += y;
  y = rotl<u32>(y, even ? 6 : 24) ^ x;
  return <u64>x | (<u64>y << 32);
}

// @ts-ignore: decorator
@inline
function inject(block: u64, x: u32, y: u32): u64 {
  return <u64>(<u32>block + x) | (<u64>(<u32>(block >> 32) + y) << 32);
}

/** Section 11; keys, counters and results as low word | high word << 32. */
export function threefry(key: u64, counter: u64): u64 {
  const k0 = <u32>key;
  const k1 = <u32>(key >> 32);
  const k2 = (<u32>0x1bd11bda) ^ k0 ^ k1;
  let block = inject(counter, k0, k1);
  block = inject(rounds(block, true), k1, k2 + 1);
  block = inject(rounds(block, false), k2, k0 + 2);
  block = inject(rounds(block, true), k0, k1 + 3);
  block = inject(rounds(block, false), k1, k2 + 4);
  return inject(rounds(block, true), k2, k0 + 5);
}

/** The key of a stream: seed, then sequence and purpose. */
// @ts-ignore: decorator
@inline
function streamKey(key: usize): u64 {
  return threefry(load<u64>(key), load<u64>(key, 8));
}

/** [4] key, [6] out; a unit is an element */
export function randomBitsRange(p: usize, from: i32, to: i32): void {
  const key = streamKey(address(p, 4));
  for (let i = from; i < to; i++) {
    store<u32>(at4(address(p, 6), i), <u32>threefry(key, <u64>(<u32>i)));
  }
}

/** [4] x, [5] columns, [6] out, [7] key, [8] keep; a unit is an element */
export function dropoutRange(p: usize, from: i32, to: i32): void {
  const key = streamKey(address(p, 7));
  const keep = word(p, 8);
  const out = address(p, 6);
  for (let i = from; i < to; i++) {
    const drawn = <i32>(<u32>threefry(key, <u64>(<u32>i)) >> 16);
    const x = <f64>load<f32>(at4(address(p, 4), i)) * 65536.0;
    store<f32>(at4(out, i), drawn < keep ? roundOnce(x / <f64>keep) : 0);
  }
  failFirst(p, out, from, to, word(p, 5));
}

/** `floor(a * b / 2^64)`. */
function multiplyHigh(a: u64, b: u64): u64 {
  const a0 = a & 0xffffffff;
  const a1 = a >> 32;
  const b0 = b & 0xffffffff;
  const b1 = b >> 32;
  const middle = a1 * b0 + ((a0 * b0) >> 32);
  const other = a0 * b1 + (middle & 0xffffffff);
  return a1 * b1 + (middle >> 32) + (other >> 32);
}

/** The weights of section 12 as u32. */
function weightsOf(table: usize, x: usize, n: i32, scale: i32, places: i32, out: usize): void {
  const e = exponentOf(largestBits(x, n), 24, -149);
  const factor = power(-e);
  let top: f64 = -16777216;
  for (let i = 0; i < n; i++) top = max<f64>(top, nearest<f64>(<f64>load<f32>(at4(x, i)) * factor));
  const unit = power(places + e + 16);
  for (let i = 0; i < n; i++) {
    const m = nearest<f64>(<f64>load<f32>(at4(x, i)) * factor);
    // Below -2^30 the weight is 0 whatever the fraction.
    const z = <i32>max<f64>(floor<f64>((m - top) * <f64>scale * unit), -1073741824.0);
    const u = exp2Fraction(table, <u32>(z & 65535));
    const k = -(z >> 16);
    store<u32>(at4(out, i), k < 32 ? (u << 16) >> k : 0);
  }
}

/** The order of candidates: heavier first, then the lower index. Smaller ranks come first. */
// @ts-ignore: decorator
@inline
function rankOf(weights: usize, i: i32): u64 {
  return (<u64>(~load<u32>(at4(weights, i))) << 32) | <u64>(<u32>i);
}

/** The rank of the last candidate that top_k and top_p keep. `heap` has room for n ranks. */
function lastKept(weights: usize, n: i32, topK: i32, topP: i32, heap: usize): u64 {
  for (let i = 0; i < n; i++) store<u64>(heap + (<usize>i << 3), rankOf(weights, i));
  const kept = topK == 0 ? n : min(topK, n);
  // The kept candidates, in order, end up behind the heap from its far end.
  arrangeHeap(heap, n);
  let total: u64 = 0;
  for (let i = 0; i < kept; i++) {
    const rank = takeSmallest(heap, n - i);
    store<u64>(heap + (<usize>(n - 1 - i) << 3), rank);
    total += <u64>(~(<u32>(rank >> 32)));
  }
  // ceil(topP * total / 65536): total has at most 52 bits, topP 17.
  const low = (<u64>topP * (total & 65535) + 65535) >> 16;
  const needed = <u64>topP * (total >> 16) + low;
  let sum: u64 = 0;
  for (let i = 0; i < kept; i++) {
    const rank = load<u64>(heap + (<usize>(n - 1 - i) << 3));
    sum += <u64>(~(<u32>(rank >> 32)));
    if (sum >= needed) return rank;
  }
  return load<u64>(heap + (<usize>(n - kept) << 3));
}

/**
 * [4] logits, [5] columns, [6] out, [7] keys, [8, 9] scale and exponent of the temperature, a scale of 0 for
 * temperature 0, [10] top_k, [11] top_p. Scratch: 12 bytes a column.
 */
export function sampleRange(control: usize, p: usize, scratch: usize, from: i32, to: i32): void {
  const n = word(p, 5);
  for (let row = from; row < to; row++) {
    const x = address(p, 4) + <usize>row * (<usize>n << 2);
    const out = at4(address(p, 6), row);
    if (word(p, 8) == 0) {
      store<i32>(out, argmaxOf(x, n));
      continue;
    }
    const weights = scratch + (<usize>n << 3);
    weightsOf(address(control + EXP2, 0), x, n, word(p, 8), word(p, 9), weights);
    const isCut = (word(p, 10) != 0 && word(p, 10) < n) || word(p, 11) < 65536;
    const last = isCut ? lastKept(weights, n, word(p, 10), word(p, 11), scratch) : <u64>-1;
    const key = address(p, 7) + (<usize>row << 4);
    const sequence = <u64>load<u32>(key, 8);
    const stream = threefry(load<u64>(key), sequence | (<u64>1 << 32));
    const random = threefry(stream, <u64>load<u32>(key, 12));
    store<i32>(out, draw(weights, n, last, random));
  }
}

function draw(weights: usize, n: i32, last: u64, random: u64): i32 {
  let total: u64 = 0;
  for (let i = 0; i < n; i++) {
    if (rankOf(weights, i) <= last) total += <u64>load<u32>(at4(weights, i));
  }
  const target = multiplyHigh(random, total);
  let sum: u64 = 0;
  for (let i = 0; i < n; i++) {
    if (rankOf(weights, i) > last) continue;
    sum += <u64>load<u32>(at4(weights, i));
    if (sum > target) return i;
  }
  return n - 1;
}
