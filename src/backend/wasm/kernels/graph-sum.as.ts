// Sums on a grid (docs/spec/01-numerics.md section 16): sum, mean, variance, scatter-add and fold.
//
// Floats: mantissas below 2^23, at most 2^30 of them, add up exactly in binary64. The mean divides an
// integer below 2^43 by one up to 2^20: a quotient that is not the middle of two f32 is further from it
// than the rounding of binary64 reaches. Longer quotients are integers whose lowest bit says "and more".

import { address, word } from "./layout.as";
import { highF64, lowF64, roundLanes } from "./graph-lanes.as";
import { at4, badLanes, failRow, isBadF32 } from "./graph-record.as";
import { moments, momentSquares, momentSum } from "./norm.as";
import { largestBits } from "./row.as";
import { exponentOf, power, roundOnce } from "./scalar.as";

/** What `gridSum` found besides the sum. One instance of the module for each thread, so no one shares it. */
let gridExponent: i32 = 0;

// @ts-ignore: decorator
@inline
function widen(sum: v128, partial: v128): v128 {
  return i64x2.add(
    sum,
    i64x2.add(i64x2.extend_low_i32x4_s(partial), i64x2.extend_high_i32x4_s(partial)),
  );
}

/**
 * The sum of a row's mantissas, of 24 bits at most. In binary32 the products are exact unless they round to 0
 * anyway. Each is split by adding 1.5 * 2^33, which rounds it to a multiple of 2^10: what is left is exact and
 * at most 2^9, and adding 1.5 * 2^23 rounds that to an integer, ties to even as the multiple is even. Both
 * stand in the low bits of the sums, whose high bits are taken off at the end: modulo 2^32, as a lane's total of
 * 2^17 multiples of at most 2^13 fits.
 */
function gridSum(x: usize, n: i32, bits: i32): i64 {
  const e = exponentOf(largestBits(x, n), bits, -149);
  gridExponent = e;
  let total: i64 = 0;
  let i = 0;
  if (e >= -126) {
    const factor = f32x4.splat(<f32>power(-e));
    // From something unknown to the compiler, which would make constants anew in each round.
    const upper = i32x4.splat(0x50400000 + (bits >> 31));
    const rounder = i32x4.splat(0x4b400000 + (bits >> 31));
    let uppers0 = i32x4.splat(0);
    let uppers1 = uppers0;
    let lowers0 = uppers0;
    let lowers1 = uppers0;
    for (; i + 8 <= n; i += 8) {
      const at = x + (<usize>i << 2);
      const a = f32x4.mul(v128.load(at), factor);
      const b = f32x4.mul(v128.load(at, 16), factor);
      const c = f32x4.add(a, upper);
      const d = f32x4.add(b, upper);
      uppers0 = i32x4.add(uppers0, c);
      uppers1 = i32x4.add(uppers1, d);
      lowers0 = i32x4.add(lowers0, f32x4.add(f32x4.sub(a, f32x4.sub(c, upper)), rounder));
      lowers1 = i32x4.add(lowers1, f32x4.add(f32x4.sub(b, f32x4.sub(d, upper)), rounder));
    }
    const rounds = i32x4.splat(i >> 3);
    const highs = i32x4.mul(rounds, upper);
    const lows = i32x4.mul(rounds, rounder);
    const high = sumLanes(i32x4.sub(uppers0, highs), i32x4.sub(uppers1, highs));
    total = (high << 10) + sumLanes(i32x4.sub(lowers0, lows), i32x4.sub(lowers1, lows));
  }
  const factor = power(-e);
  for (; i < n; i++) total += <i64>nearest<f64>(<f64>load<f32>(at4(x, i)) * factor);
  return total;
}

/** The sum of eight signed lanes. */
// @ts-ignore: decorator
@inline
function sumLanes(a: v128, b: v128): i64 {
  const wide = widen(widen(i64x2.splat(0), a), b);
  return i64x2.extract_lane(wide, 0) + i64x2.extract_lane(wide, 1);
}

/** `R32(numerator / denominator * 2^e)` for `numerator < 2^62` and `denominator < 2^30`. */
function roundQuotient(numerator: u64, denominator: u64, e: i32): f32 {
  if (numerator == 0) return 0;
  const up = <i32>clz<u64>(numerator) - 1;
  const scaled = numerator << up;
  let quotient = scaled / denominator;
  let rest = scaled - quotient * denominator;
  const down = max(0, 11 - <i32>clz<u64>(quotient));
  rest |= quotient & ((<u64>1 << down) - 1);
  quotient >>= down;
  if (rest != 0) quotient |= 1;
  return roundOnce(<f64>quotient * power(e - up + down));
}

/** [4] x, [5] columns, [6] out, [7] bits, [8] sum mean variance; a unit is a row, as in what follows */
export function reduceRange(p: usize, from: i32, to: i32): void {
  const n = word(p, 5);
  for (let row = from; row < to; row++) {
    const x = address(p, 4) + <usize>row * (<usize>n << 2);
    let y: f32;
    if (word(p, 8) == 2) {
      const e = moments(x, n, -149);
      const spread = <i64>n * momentSquares - momentSum * momentSum;
      y = roundQuotient(<u64>spread, <u64>n * <u64>n, 2 * e);
    } else {
      const total = <f64>gridSum(x, n, word(p, 7));
      y = roundOnce((word(p, 8) == 0 ? total : total / <f64>n) * power(gridExponent));
    }
    store<f32>(at4(address(p, 6), row), y);
    if (isBadF32(y)) failRow(p, row);
  }
}

/** Four f32 `offset` bytes behind an address, or the one there if `alone`. */
// @ts-ignore: decorator
@inline
function listed(list: usize, i: i32, offset: usize, alone: bool): v128 {
  const at = <usize>load<u32>(at4(list, i)) + offset;
  return alone ? v128.load32_zero(at) : v128.load(at);
}

/** `SUM` with 24 bits, by lanes, of what lies `offset` bytes behind each of `count` addresses. */
function sumListed(list: usize, count: i32, offset: usize, alone: bool): v128 {
  let largest = i32x4.splat(0);
  const magnitude = i32x4.splat(0x7fffffff);
  for (let i = 0; i < count; i++) {
    largest = i32x4.max_s(largest, v128.and(listed(list, i, offset, alone), magnitude));
  }
  const e0 = exponentOf(i32x4.extract_lane(largest, 0), 24, -149);
  const e1 = exponentOf(i32x4.extract_lane(largest, 1), 24, -149);
  const e2 = exponentOf(i32x4.extract_lane(largest, 2), 24, -149);
  const e3 = exponentOf(i32x4.extract_lane(largest, 3), 24, -149);
  const low = f64x2.replace_lane(f64x2.splat(power(-e0)), 1, power(-e1));
  const high = f64x2.replace_lane(f64x2.splat(power(-e2)), 1, power(-e3));
  let total0 = f64x2.splat(0);
  let total1 = total0;
  for (let i = 0; i < count; i++) {
    const x = listed(list, i, offset, alone);
    total0 = f64x2.add(total0, f64x2.nearest(f64x2.mul(lowF64(x), low)));
    total1 = f64x2.add(total1, f64x2.nearest(f64x2.mul(highF64(x), high)));
  }
  return roundLanes(
    f64x2.mul(total0, f64x2.replace_lane(f64x2.splat(power(e0)), 1, power(e1))),
    f64x2.mul(total1, f64x2.replace_lane(f64x2.splat(power(e2)), 1, power(e3))),
  );
}

/** `SUM` of each of n columns; returns whether all are finite. */
function sumColumns(list: usize, count: i32, n: i32, out: usize): bool {
  let bad = i32x4.splat(0);
  let j = 0;
  for (; j + 4 <= n; j += 4) {
    const y = sumListed(list, count, <usize>j << 2, false);
    v128.store(at4(out, j), y);
    bad = v128.or(bad, badLanes(y));
  }
  for (; j < n; j++) {
    const y = sumListed(list, count, <usize>j << 2, true);
    v128.store_lane<f32>(at4(out, j), y, 0);
    bad = v128.or(bad, badLanes(y));
  }
  return !v128.any_true(bad);
}

/**
 * One unit: [4] indices, [5] how many, [6] starts, [7] lists, [8] rows of the result, [9] updates, [10]
 * bytes of a row. Groups the addresses of the updates by index: list v is `starts[v]` to `starts[v + 1]`.
 */
export function groupUpdates(p: usize): void {
  const indices = address(p, 4);
  const count = word(p, 5);
  const starts = address(p, 6);
  const size = word(p, 8);
  memory.fill(starts, 0, (<usize>size + 2) << 2);
  for (let i = 0; i < count; i++) {
    const at = at4(starts, load<i32>(at4(indices, i)) + 2);
    store<i32>(at, load<i32>(at) + 1);
  }
  for (let v = 2; v < size + 2; v++) {
    store<i32>(at4(starts, v), load<i32>(at4(starts, v)) + load<i32>(at4(starts, v - 1)));
  }
  for (let i = 0; i < count; i++) {
    const at = at4(starts, load<i32>(at4(indices, i)) + 1);
    const place = load<i32>(at);
    store<i32>(at, place + 1);
    store<u32>(at4(address(p, 7), place), <u32>(address(p, 9) + <usize>i * <usize>word(p, 10)));
  }
}

/** [4] starts, [5] columns, [6] out, [7] lists; a unit is a row of the result */
export function scatterRange(p: usize, from: i32, to: i32): void {
  const columns = word(p, 5);
  for (let v = from; v < to; v++) {
    const start = load<i32>(at4(address(p, 4), v));
    const count = load<i32>(at4(address(p, 4), v + 1)) - start;
    const out = address(p, 6) + <usize>v * (<usize>columns << 2);
    if (!sumColumns(at4(address(p, 7), start), count, columns, out)) failRow(p, v);
  }
}

/** Words as in `patchesRange`, of which [4] is out, [6] the windows and [5] unused; a unit is a pixel of the image. */
export function foldRange(p: usize, scratch: usize, from: i32, to: i32): void {
  const height = word(p, 7);
  const width = word(p, 8);
  const channels = word(p, 9);
  const down = word(p, 10);
  const across = word(p, 11);
  const run = <usize>channels << 2;
  for (let unit = from; unit < to; unit++) {
    const batch = unit / (height * width);
    const row = (unit / width) % height;
    const column = unit % width;
    let count = 0;
    for (let i = 0; i < word(p, 12); i++) {
      const top = row + word(p, 18) - i * word(p, 16);
      if (top < 0 || top % word(p, 14) != 0 || top / word(p, 14) >= down) continue;
      for (let j = 0; j < word(p, 13); j++) {
        const left = column + word(p, 19) - j * word(p, 17);
        if (left < 0 || left % word(p, 15) != 0 || left / word(p, 15) >= across) continue;
        const window = (batch * down + top / word(p, 14)) * across + left / word(p, 15);
        const at = <usize>((window * word(p, 12) + i) * word(p, 13) + j);
        store<u32>(at4(scratch, count), <u32>(address(p, 6) + at * run));
        count += 1;
      }
    }
    const out = address(p, 4) + <usize>unit * run;
    if (!sumColumns(scratch, count, channels, out)) failRow(p, unit);
  }
}
