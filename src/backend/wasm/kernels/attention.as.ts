// Rotary embedding and two-pass attention (docs/spec/01-numerics.md sections 7 and 8).
//
// A cache holds, per layer: K mantissas [kvHeads][capacity][padded], V mantissas [kvHeads][capacity / 2]
// [padded][2] (neighbouring positions interleaved, so that one dot takes two of them), K exponents
// [kvHeads][capacity], V exponents likewise. Slots beyond the position are never read with a weight but 0.
//
// Floats: scores and sums are integers below 2^53 in binary64, scaled by powers of two; `nearest` is RNE.
// The quotient O / L has O < 2^39, L < 2^26: a binary64 quotient cannot come to lie on or across the middle
// of two f32, because it differs from any such middle by a factor of at least 1 + 2^-51 or equals it.

import { laneSums } from "./dot.as";
import { quantizeRow } from "./row.as";
import { exp2Fraction, isBad, power, roundOnce } from "./scalar.as";

/** Rotates a slice of f32 into f32; `angles` holds cosine and sine of each pair. False if not finite. */
export function rotateSlice(
  x: usize,
  size: i32,
  padded: i32,
  angles: usize,
  interleaved: bool,
  grid: usize,
  y: usize,
): bool {
  const e = quantizeRow(x, size, padded, 16, -149, grid);
  const factor = power(e - 15);
  const pairs = size >> 1;
  let good = true;
  for (let i = 0; i < pairs; i++) {
    const first = <usize>(interleaved ? 2 * i : i);
    const second = <usize>(interleaved ? 2 * i + 1 : i + pairs);
    const c = load<i32>(angles + (<usize>i << 3));
    const s = load<i32>(angles + (<usize>i << 3) + 4);
    const a = <i32>load<i16>(grid + (first << 1));
    const b = <i32>load<i16>(grid + (second << 1));
    // |a|, |b| <= 32767 and c^2 + s^2 <= 32769^2: both sums are below 2^31.
    const left = roundOnce(<f64>(a * c - b * s) * factor);
    const right = roundOnce(<f64>(a * s + b * c) * factor);
    store<f32>(y + (first << 2), left);
    store<f32>(y + (second << 2), right);
    if (isBad(reinterpret<i32>(left) & 0x7fffffff)) good = false;
    if (isBad(reinterpret<i32>(right) & 0x7fffffff)) good = false;
  }
  return good;
}

/** Writes a V row of i16 into its interleaved place. */
export function storeValue(grid: usize, padded: i32, values: usize, position: i32): void {
  const pair = values + <usize>(position >> 1) * (<usize>padded << 2) + (<usize>(position & 1) << 1);
  for (let i = 0; i < padded; i++) {
    store<i16>(pair + (<usize>i << 2), load<i16>(grid + (<usize>i << 1)));
  }
}

// @ts-ignore: decorator
@inline
function share(u: u32, k: i32): i32 {
  const shift = <u32>min(k, 30);
  return min<i32>(32767, <i32>((u + ((<u32>1) << shift)) >> (shift + 1)));
}

/** Scaled scores of two positions: products of 31 and 16 bits, times a power of two, rounded once. */
// @ts-ignore: decorator
@inline
function scaledPair(totals: v128, exponents: v128, mantissa: v128): v128 {
  const powers = i64x2.shl(
    i64x2.add(i64x2.extend_low_i32x4_s(exponents), i64x2.splat(1023)),
    52,
  );
  const exact = f64x2.mul(f64x2.mul(f64x2.convert_low_i32x4_s(totals), mantissa), powers);
  const limit = f64x2.splat(1073741824.0);
  const z = f64x2.max(f64x2.min(f64x2.nearest(exact), limit), f64x2.neg(limit));
  return i32x4.trunc_sat_f64x2_s_zero(z);
}

/** Pass 1: scores in Q16 log2 units of positions 0..count-1. May write 3 more, which mean nothing. */
function scores(
  query: usize,
  queryExponent: i32,
  keys: usize,
  keyExponents: usize,
  padded: i32,
  count: i32,
  mantissa: i32,
  exponent: i32,
  out: usize,
): void {
  const row = <usize>padded << 1;
  const last = keys + <usize>(count - 1) * row;
  const factor = f64x2.splat(<f64>mantissa);
  const base = i32x4.splat(exponent + queryExponent);
  for (let t = 0; t < count; t += 4) {
    // Rows past the last are not read: the last stands in for them.
    const k0 = keys + <usize>t * row;
    const k1 = min(k0 + row, last);
    const k2 = min(k0 + 2 * row, last);
    const k3 = min(k0 + 3 * row, last);
    let s0 = i32x4.splat(0);
    let s1 = s0;
    let s2 = s0;
    let s3 = s0;
    for (let i: usize = 0; i < row; i += 16) {
      const q = v128.load(query + i);
      s0 = i32x4.add(s0, i32x4.dot_i16x8_s(q, v128.load(k0 + i)));
      s1 = i32x4.add(s1, i32x4.dot_i16x8_s(q, v128.load(k1 + i)));
      s2 = i32x4.add(s2, i32x4.dot_i16x8_s(q, v128.load(k2 + i)));
      s3 = i32x4.add(s3, i32x4.dot_i16x8_s(q, v128.load(k3 + i)));
    }
    // 128 products of 13-bit mantissas stay below 2^31.
    const totals = laneSums(s0, s1, s2, s3);
    let own = i32x4.splat(load<i32>(keyExponents + (<usize>t << 2)));
    if (t + 4 <= count) {
      own = v128.load(keyExponents + (<usize>t << 2));
    } else {
      if (t + 1 < count) own = i32x4.replace_lane(own, 1, load<i32>(keyExponents + (<usize>t << 2) + 4));
      if (t + 2 < count) own = i32x4.replace_lane(own, 2, load<i32>(keyExponents + (<usize>t << 2) + 8));
    }
    const exponents = i32x4.add(base, own);
    const low = scaledPair(totals, exponents, factor);
    const high = scaledPair(
      v128.shuffle<i32>(totals, totals, 2, 3, 2, 3),
      v128.shuffle<i32>(exponents, exponents, 2, 3, 2, 3),
      factor,
    );
    v128.store(out + (<usize>t << 2), v128.shuffle<i32>(low, high, 0, 1, 4, 5));
  }
}

/** One head of one row. `scratch`: count + 3 i32, then count + 1 i16. */
export function attendHead(
  table: usize,
  query: usize,
  queryExponent: i32,
  keys: usize,
  values: usize,
  keyExponents: usize,
  valueExponents: usize,
  size: i32,
  padded: i32,
  count: i32,
  mantissa: i32,
  exponent: i32,
  scratch: usize,
  out: usize,
): void {
  scores(query, queryExponent, keys, keyExponents, padded, count, mantissa, exponent, scratch);
  let top = i32.MIN_VALUE;
  let topValue = i32.MIN_VALUE;
  for (let t = 0; t < count; t++) {
    const n = load<i32>(scratch + (<usize>t << 2)) >> 16;
    top = max(top, n);
    topValue = max(topValue, n + load<i32>(valueExponents + (<usize>t << 2)));
  }
  const shares = scratch + (<usize>(count + 3) << 2);
  let total = 0;
  for (let t = 0; t < count; t++) {
    const z = load<i32>(scratch + (<usize>t << 2));
    const n = z >> 16;
    const u = exp2Fraction(table, <u32>(z & 65535));
    total += share(u, top - n);
    const k = topValue - n - load<i32>(valueExponents + (<usize>t << 2));
    store<i16>(shares + (<usize>t << 1), <i16>share(u, k));
  }
  store<i16>(shares + (<usize>count << 1), 0);
  weighted(shares, values, size, padded, count, <f64>total, power(topValue - top), out);
}

/** Pass 2: the weighted sums of V, sixteen or four columns at a time, and the one division. */
function weighted(
  shares: usize,
  values: usize,
  size: i32,
  padded: i32,
  count: i32,
  total: f64,
  factor: f64,
  out: usize,
): void {
  const pairs = (count + 1) >> 1;
  const stride = <usize>padded << 2;
  let column = 0;
  for (; column + 16 <= size; column += 16) {
    let low0 = i64x2.splat(0);
    let low1 = low0;
    let low2 = low0;
    let low3 = low0;
    let high0 = low0;
    let high1 = low0;
    let high2 = low0;
    let high3 = low0;
    let at = values + (<usize>column << 2);
    let t = 0;
    while (t < pairs) {
      // 16 products of 15 and 13 bits: 16 * 32767 * 4095 < 2^31.
      const end = min(t + 8, pairs);
      let p0 = i32x4.splat(0);
      let p1 = p0;
      let p2 = p0;
      let p3 = p0;
      for (; t < end; t++) {
        const pair = v128.load32_splat(shares + (<usize>t << 2));
        p0 = i32x4.add(p0, i32x4.dot_i16x8_s(pair, v128.load(at)));
        p1 = i32x4.add(p1, i32x4.dot_i16x8_s(pair, v128.load(at, 16)));
        p2 = i32x4.add(p2, i32x4.dot_i16x8_s(pair, v128.load(at, 32)));
        p3 = i32x4.add(p3, i32x4.dot_i16x8_s(pair, v128.load(at, 48)));
        at += stride;
      }
      low0 = i64x2.add(low0, i64x2.extend_low_i32x4_s(p0));
      high0 = i64x2.add(high0, i64x2.extend_high_i32x4_s(p0));
      low1 = i64x2.add(low1, i64x2.extend_low_i32x4_s(p1));
      high1 = i64x2.add(high1, i64x2.extend_high_i32x4_s(p1));
      low2 = i64x2.add(low2, i64x2.extend_low_i32x4_s(p2));
      high2 = i64x2.add(high2, i64x2.extend_high_i32x4_s(p2));
      low3 = i64x2.add(low3, i64x2.extend_low_i32x4_s(p3));
      high3 = i64x2.add(high3, i64x2.extend_high_i32x4_s(p3));
    }
    const y = out + (<usize>column << 2);
    divide(low0, high0, 4, total, factor, y);
    divide(low1, high1, 4, total, factor, y + 16);
    divide(low2, high2, 4, total, factor, y + 32);
    divide(low3, high3, 4, total, factor, y + 48);
  }
  for (; column < size; column += 4) {
    let low = i64x2.splat(0);
    let high = low;
    let at = values + (<usize>column << 2);
    let t = 0;
    while (t < pairs) {
      const end = min(t + 8, pairs);
      let partial = i32x4.splat(0);
      for (; t < end; t++) {
        const pair = v128.load32_splat(shares + (<usize>t << 2));
        partial = i32x4.add(partial, i32x4.dot_i16x8_s(pair, v128.load(at)));
        at += stride;
      }
      low = i64x2.add(low, i64x2.extend_low_i32x4_s(partial));
      high = i64x2.add(high, i64x2.extend_high_i32x4_s(partial));
    }
    divide(low, high, min(size - column, 4), total, factor, out + (<usize>column << 2));
  }
}

/** The quotients of up to four sums. */
// @ts-ignore: decorator
@inline
function divide(low: v128, high: v128, count: i32, total: f64, factor: f64, out: usize): void {
  store<f32>(out, roundOnce((<f64>i64x2.extract_lane(low, 0) / total) * factor));
  if (count > 1) store<f32>(out + 4, roundOnce((<f64>i64x2.extract_lane(low, 1) / total) * factor));
  if (count > 2) store<f32>(out + 8, roundOnce((<f64>i64x2.extract_lane(high, 0) / total) * factor));
  if (count > 3) store<f32>(out + 12, roundOnce((<f64>i64x2.extract_lane(high, 1) / total) * factor));
}
