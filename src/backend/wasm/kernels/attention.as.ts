// Rotary embedding and two-pass attention (docs/spec/01-numerics.md sections 7 and 8).
//
// A cache holds, per layer: K mantissas [kvHeads][capacity][padded], V mantissas [kvHeads][capacity / 2]
// [padded][2] (neighbouring positions interleaved, so that one dot takes two of them), K exponents
// [kvHeads][capacity], V exponents likewise. Slots beyond the position are never read with a weight but 0.
//
// Floats: scores and sums are integers below 2^53 in binary64, scaled by powers of two; `nearest` is RNE.
// The quotient O / L has O < 2^39, L < 2^26: a binary64 quotient cannot come to lie on or across the middle
// of two f32, because it differs from any such middle by a factor of at least 1 + 2^-51 or equals it.

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

/** Pass 1: scores in Q16 log2 units of positions 0..count-1. */
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
  for (let t = 0; t < count; t++) {
    const key = keys + <usize>t * row;
    let sum = i32x4.splat(0);
    for (let i: usize = 0; i < row; i += 16) {
      sum = i32x4.add(sum, i32x4.dot_i16x8_s(v128.load(query + i), v128.load(key + i)));
    }
    // 128 products of 13-bit mantissas stay below 2^31.
    const total =
      i32x4.extract_lane(sum, 0) +
      i32x4.extract_lane(sum, 1) +
      i32x4.extract_lane(sum, 2) +
      i32x4.extract_lane(sum, 3);
    const scale = exponent + queryExponent + load<i32>(keyExponents + (<usize>t << 2));
    const z = nearest<f64>(<f64>total * <f64>mantissa * power(scale));
    store<i32>(out + (<usize>t << 2), <i32>max<f64>(min<f64>(z, 1073741824.0), -1073741824.0));
  }
}

/** One head of one row. `scratch`: count i32, then count + 1 i16. */
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
  const shares = scratch + (<usize>count << 2);
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

/** Pass 2: the weighted sums of V, four columns at a time, and the one division. */
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
  for (let column = 0; column < size; column += 4) {
    let low = i64x2.splat(0);
    let high = low;
    let at = values + (<usize>column << 2);
    let t = 0;
    while (t < pairs) {
      // 16 products of 15 and 13 bits: 16 * 32767 * 4095 < 2^31.
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
    const left = min(size - column, 4);
    for (let i = 0; i < left; i++) {
      const sum =
        i == 0
          ? i64x2.extract_lane(low, 0)
          : i == 1
            ? i64x2.extract_lane(low, 1)
            : i == 2
              ? i64x2.extract_lane(high, 0)
              : i64x2.extract_lane(high, 1);
      store<f32>(out + (<usize>(column + i) << 2), roundOnce((<f64>sum / total) * factor));
    }
  }
}
