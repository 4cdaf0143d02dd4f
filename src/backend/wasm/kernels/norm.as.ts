// RMS norm and layer norm of one row, and the moments that they and the variance are made of (docs/spec/
// 01-numerics.md sections 6, 16, 17). A row's mantissas stand as binary32 where the result will, so that a norm
// reads and writes nothing else; in place is fine.
//
// Floats: mantissas have 15 bits and a sign. What is done with them is shown at each step to be exact, up to the
// one rounding of the result.

import { largestBits, largestWithRest, SIGNLESS } from "./row.as";
import { exponentOf, power, roundOnce } from "./scalar.as";

/** What `quantizeMoments` and `moments` find: of the mantissas and of their squares. */
export let momentSum: i64 = 0;
export let momentSquares: i64 = 0;

/** The mantissas of 16 bits of a row, at most 65536 of them, as binary32 in `out`; returns the exponent. */
function quantizeMoments(x: usize, n: i32, largest: i32, floor: i32, out: usize): i32 {
  return sumMoments(x, n, largest, floor, out, true);
}

/** As quantizeMoments, but keeps no mantissas. */
export function moments(x: usize, n: i32, floor: i32): i32 {
  return sumMoments(x, n, largestBits(x, n), floor, 0, false);
}

/**
 * Multiplying by a power of two is exact in binary32 unless the product is subnormal, and then both it and the
 * exact one round to 0. A binary32 from 2^23 to 2^24 has no fraction, so adding R = 1.5 * 2^23 is what rounds to
 * the nearest integer, ties to even. The bits of the sum are those of R plus the mantissa: their lower halves are
 * the mantissa's, and subtracting R gives it as binary32, 0 as +0.
 */
// @ts-ignore: decorator
@inline
function sumMoments(x: usize, n: i32, largest: i32, floor: i32, out: usize, isKept: bool): i32 {
  const e = exponentOf(largest, 16, floor);
  // From something unknown to the compiler, which would make a constant anew in each round.
  const rounderBits = 0x4b400000 + (n >> 31);
  let i = 0;
  let sums = i32x4.splat(0);
  let all = i64x2.splat(0);
  let odd = all;
  if (e >= -126) {
    const factor = f32x4.splat(<f32>power(-e));
    const rounder = i32x4.splat(rounderBits);
    for (; i + 16 <= n; i += 16) {
      const at = x + (<usize>i << 2);
      const a = f32x4.add(f32x4.mul(v128.load(at), factor), rounder);
      const b = f32x4.add(f32x4.mul(v128.load(at, 16), factor), rounder);
      const c = f32x4.add(f32x4.mul(v128.load(at, 32), factor), rounder);
      const d = f32x4.add(f32x4.mul(v128.load(at, 48), factor), rounder);
      if (isKept) {
        const to = out + (<usize>i << 2);
        v128.store(to, f32x4.sub(a, rounder));
        v128.store(to, f32x4.sub(b, rounder), 16);
        v128.store(to, f32x4.sub(c, rounder), 32);
        v128.store(to, f32x4.sub(d, rounder), 48);
      }
      sums = i32x4.add(sums, i32x4.add(i32x4.add(a, b), i32x4.add(c, d)));
      // At most 4 * 32767^2 < 2^32 a lane, so a lane pair is `even + 2^32 * odd` of 64 bits.
      const pairs = i32x4.add(squares(a, b), squares(c, d));
      all = i64x2.add(all, pairs);
      odd = i64x2.add(odd, i64x2.shr_u(pairs, 32));
    }
  }
  const odds = i64x2.extract_lane(odd, 0) + i64x2.extract_lane(odd, 1);
  const both = i64x2.extract_lane(all, 0) + i64x2.extract_lane(all, 1);
  momentSquares = both - (odds << 32) + odds;
  // Modulo 2^32: 65536 mantissas add up to less than 2^31.
  const total =
    i32x4.extract_lane(sums, 0) +
    i32x4.extract_lane(sums, 1) +
    i32x4.extract_lane(sums, 2) +
    i32x4.extract_lane(sums, 3);
  momentSum = <i64>(total - i * rounderBits);
  const factor = power(-e);
  for (; i < n; i++) {
    const m = nearest<f64>(<f64>load<f32>(x + (<usize>i << 2)) * factor);
    if (isKept) store<f32>(out + (<usize>i << 2), <f32>m + <f32>0.0);
    momentSum += <i64>m;
    momentSquares += <i64>(m * m);
  }
  return e;
}

/** Sums of two squares each of the lower halves of eight lanes. */
// @ts-ignore: decorator
@inline
function squares(a: v128, b: v128): v128 {
  const halves = v128.shuffle<i16>(a, i32x4.shl(b, 16), 0, 9, 2, 11, 4, 13, 6, 15);
  return i32x4.dot_i16x8_s(halves, halves);
}

/**
 * Section 6. Norms of many rows are bound by memory, so that each row, while it is scaled, brings the next into
 * the cache, which lies `step` bytes on in x and in y; a last row's step is 0. `largest` is the row's
 * `largestBits`, and the next one's is returned.
 */
export function rmsNormRow(
  x: usize,
  n: i32,
  epsMantissa: i32,
  epsExponent: i32,
  floor: i32,
  y: usize,
  largest: i32,
  step: usize,
): i32 {
  const e = quantizeMoments(x, n, largest, floor, y);
  const shift = epsExponent - 2 * e;
  const eps = <u64>n * <u64>epsMantissa;
  const onGrid = shift >= 0 ? eps << min(shift, 62) : eps >> min(-shift, 63);
  const sum = <u64>momentSquares + onGrid;
  // All mantissas are 0, and so is the row already.
  if (sum == 0) return largestBits(x + step, n);
  let j = 0;
  let v = sum / n;
  while (v >= 1 << 24) {
    j += 1;
    v = (sum >> (2 * j)) / n;
  }
  while (v < 1 << 22) {
    j -= 1;
    v = (sum << (-2 * j)) / n;
  }
  return scale(y, n, rootOf(v), -28 - j, x + step, step);
}

/** Section 17, without gain and bias, of at most 32767 values; else as rmsNormRow. */
export function layerNormRow(
  x: usize,
  n: i32,
  epsMantissa: i32,
  epsExponent: i32,
  floor: i32,
  y: usize,
  largest: i32,
  step: usize,
): i32 {
  const e = quantizeMoments(x, n, largest, floor, y);
  const shift = epsExponent - 2 * e;
  // n^2 * eps has at most 54 bits, and the floor of e keeps it below 2^61 on the grid.
  const eps = <u64>n * <u64>n * <u64>epsMantissa;
  const onGrid = shift >= 0 ? eps << min(shift, 62) : eps >> min(-shift, 63);
  const sum = <u64>(<i64>n * momentSquares - momentSum * momentSum) + onGrid;
  if (sum == 0) {
    memory.fill(y, 0, <usize>n << 2);
    return largestBits(x + step, n);
  }
  const j = (41 - <i32>clz<u64>(sum)) >> 1;
  const v = j >= 0 ? sum >> (2 * j) : sum << (-2 * j);
  const unit = <f64>rootOf(v) * power(-28 - j);
  return centre(y, n, <f64>n * unit, <f64>momentSum * unit, x + step, step);
}

/** `floor(sqrt(2^56 / v))`: the root of an integer below 2^35, rounded to binary64, has the floor of the true one. */
// @ts-ignore: decorator
@inline
function rootOf(v: u64): i32 {
  return <i32>sqrt<f64>(<f64>(((<u64>1) << 56) / v));
}

/**
 * `m * root * 2^e` in the place of each m, rounded once. The root, at most 2^17, is taken as 512 times its upper
 * part and the rest: each product with m has at most 24 bits, so both are exact in binary32 and their sum is the
 * one rounding. As -42 < e < 0, neither overflows nor underflows, and only m = 0 gives a zero: +0.
 */
function scale(y: usize, n: i32, root: i32, e: i32, next: usize, step: usize): i32 {
  const upper = f32x4.splat(<f32>(<f64>(root >> 9) * power(e + 9)));
  const lower = f32x4.splat(<f32>(<f64>(root & 511) * power(e)));
  // From something unknown to the compiler, as above.
  const signless = i32x4.splat(SIGNLESS + (n >> 31));
  let found = i32x4.splat(0);
  let i = 0;
  for (; i + 16 <= n; i += 16) {
    const at = y + (<usize>i << 2);
    const a = v128.load(at);
    const b = v128.load(at, 16);
    const c = v128.load(at, 32);
    const d = v128.load(at, 48);
    v128.store(at, f32x4.add(f32x4.mul(a, upper), f32x4.mul(a, lower)));
    v128.store(at, f32x4.add(f32x4.mul(b, upper), f32x4.mul(b, lower)), 16);
    v128.store(at, f32x4.add(f32x4.mul(c, upper), f32x4.mul(c, lower)), 32);
    v128.store(at, f32x4.add(f32x4.mul(d, upper), f32x4.mul(d, lower)), 48);
    found = i32x4.max_s(found, lookAhead(next + (<usize>i << 2), at + step, signless));
  }
  const largest = largestWithRest(found, next, i, n);
  const factor = <f64>root * power(e);
  for (; i < n; i++) {
    const at = y + (<usize>i << 2);
    store<f32>(at, roundOnce(<f64>load<f32>(at) * factor));
  }
  return largest;
}

/**
 * `m * slope - offset` in the place of each m, rounded once: integers of at most 47 bits and their difference by
 * one power of two, exact in binary64. Equal ones give +0, and the smallest magnitude but 0 is above 2^-47.
 */
function centre(y: usize, n: i32, slope: f64, offset: f64, next: usize, step: usize): i32 {
  const slopes = f64x2.splat(slope);
  const offsets = f64x2.splat(offset);
  // From something unknown to the compiler, as above.
  const signless = i32x4.splat(SIGNLESS + (n >> 31));
  let found = i32x4.splat(0);
  let i = 0;
  for (; i + 16 <= n; i += 16) {
    const at = y + (<usize>i << 2);
    centreFour(at, slopes, offsets);
    centreFour(at + 16, slopes, offsets);
    centreFour(at + 32, slopes, offsets);
    centreFour(at + 48, slopes, offsets);
    found = i32x4.max_s(found, lookAhead(next + (<usize>i << 2), at + step, signless));
  }
  const largest = largestWithRest(found, next, i, n);
  for (; i < n; i++) {
    const at = y + (<usize>i << 2);
    store<f32>(at, roundOnce(<f64>load<f32>(at) * slope - offset));
  }
  return largest;
}

// @ts-ignore: decorator
@inline
function centreFour(at: usize, slopes: v128, offsets: v128): void {
  const low = f64x2.promote_low_f32x4(v128.load64_zero(at));
  const high = f64x2.promote_low_f32x4(v128.load64_zero(at, 8));
  const a = f32x4.demote_f64x2_zero(f64x2.sub(f64x2.mul(low, slopes), offsets));
  const b = f32x4.demote_f64x2_zero(f64x2.sub(f64x2.mul(high, slopes), offsets));
  v128.store(at, v128.shuffle<i64>(a, b, 0, 2));
}

/** The largest magnitudes of 16 numbers by lanes. Reads a place that will be written, so that it is in the cache. */
// @ts-ignore: decorator
@inline
function lookAhead(x: usize, y: usize, signless: v128): v128 {
  load<i32>(y);
  const a = v128.and(v128.load(x), signless);
  const b = v128.and(v128.load(x, 16), signless);
  const c = v128.and(v128.load(x, 32), signless);
  const d = v128.and(v128.load(x, 48), signless);
  return i32x4.max_s(i32x4.max_s(a, b), i32x4.max_s(c, d));
}
