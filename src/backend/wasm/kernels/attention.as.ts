// Rotary embedding and two-pass attention (docs/spec/01-numerics.md sections 7 and 8).
//
// A cache holds, per layer: K mantissas [kvHeads][capacity][padded], V mantissas [kvHeads][capacity / 2]
// [padded][2] (neighbouring positions interleaved, so that one dot takes two of them), K exponents
// [kvHeads][capacity], V exponents likewise. Slots beyond the position are never read with a weight but 0.
//
// Floats: scores and sums are integers below 2^53 in binary64, scaled by powers of two; `nearest` is RNE.
// The quotient O / L has |O| < 2^43 and L < 2^31, as there are at most 2^16 positions. The middle of two f32 is
// m * 2^k with m < 2^25. A quotient that is none differs from it by at least 2^k / L; rounding to binary64 moves
// it by at most half of an ulp, 2^(k-29) beside that middle. So below L = 2^29 the one cannot become the other;
// from there on, which takes more than 16384 positions, quotients are made of integers.

import { addDot, addUpper, anyBad, highPair, keepLower, laneSums, lowPair, whole } from "./dot.as";
import { exp2Lanes, powersOfTwo, roundLanes, shareLanes, upper } from "./graph-lanes.as";
import { largestLane, quantizeRow } from "./row.as";
import { isBad, power, roundOnce } from "./scalar.as";

/** Below every score, which is -2^30 at least, by more than any exponent of V makes up for. */
const BELOW_ALL: i32 = i32.MIN_VALUE;
/** The least divisor for which a binary64 quotient may hide on which side of a middle it lay. */
const INTEGER_QUOTIENTS_FROM: i32 = 1 << 29;

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
  const factors = f64x2.splat(factor);
  const pairs = size >> 1;
  let magnitudes = i32x4.splat(0);
  let i = 0;
  // |a|, |b| <= 32767 and c^2 + s^2 <= 32769^2: both sums are below 2^31.
  for (; i + 4 <= pairs; i += 4) {
    const turns = angles + (<usize>i << 3);
    const c = v128.shuffle<i32>(v128.load(turns), v128.load(turns, 16), 0, 2, 4, 6);
    const s = v128.shuffle<i32>(v128.load(turns), v128.load(turns, 16), 1, 3, 5, 7);
    let a: v128;
    let b: v128;
    if (interleaved) {
      const both = v128.load(grid + (<usize>i << 2));
      a = i32x4.shr_s(i32x4.shl(both, 16), 16);
      b = i32x4.shr_s(both, 16);
    } else {
      a = i32x4.extend_low_i16x8_s(v128.load64_zero(grid + (<usize>i << 1)));
      b = i32x4.extend_low_i16x8_s(v128.load64_zero(grid + (<usize>(i + pairs) << 1)));
    }
    const first = i32x4.sub(i32x4.mul(a, c), i32x4.mul(b, s));
    const second = i32x4.add(i32x4.mul(a, s), i32x4.mul(b, c));
    const left = scaledLanes(first, factors);
    const right = scaledLanes(second, factors);
    if (interleaved) {
      const at = y + (<usize>i << 3);
      v128.store(at, v128.shuffle<i32>(left, right, 0, 4, 1, 5));
      v128.store(at, v128.shuffle<i32>(left, right, 2, 6, 3, 7), 16);
    } else {
      v128.store(y + (<usize>i << 2), left);
      v128.store(y + (<usize>(i + pairs) << 2), right);
    }
    magnitudes = i32x4.max_u(magnitudes, i32x4.shl(left, 1));
    magnitudes = i32x4.max_u(magnitudes, i32x4.shl(right, 1));
  }
  let good = !anyBad(magnitudes);
  for (; i < pairs; i++) {
    const first = <usize>(interleaved ? 2 * i : i);
    const second = <usize>(interleaved ? 2 * i + 1 : i + pairs);
    const c = load<i32>(angles + (<usize>i << 3));
    const s = load<i32>(angles + (<usize>i << 3) + 4);
    const a = <i32>load<i16>(grid + (first << 1));
    const b = <i32>load<i16>(grid + (second << 1));
    const left = roundOnce(<f64>(a * c - b * s) * factor);
    const right = roundOnce(<f64>(a * s + b * c) * factor);
    store<f32>(y + (first << 2), left);
    store<f32>(y + (second << 2), right);
    if (isBad(reinterpret<i32>(left) & 0x7fffffff)) good = false;
    if (isBad(reinterpret<i32>(right) & 0x7fffffff)) good = false;
  }
  return good;
}

/** Four integers times a power of two, each rounded once. */
// @ts-ignore: decorator
@inline
function scaledLanes(x: v128, factor: v128): v128 {
  return roundLanes(f64x2.mul(lowPair(x), factor), f64x2.mul(highPair(x), factor));
}

/** Writes a V row of i16 into its interleaved place. */
export function storeValue(grid: usize, padded: i32, values: usize, position: i32): void {
  const pair = values + <usize>(position >> 1) * (<usize>padded << 2) + (<usize>(position & 1) << 1);
  for (let i = 0; i < padded; i++) {
    store<i16>(pair + (<usize>i << 2), load<i16>(grid + (<usize>i << 1)));
  }
}

/** Scaled scores of two positions: products of 31 and 16 bits, times a power of two, rounded once. */
// @ts-ignore: decorator
@inline
function scaledPair(totals: v128, exponents: v128, mantissa: v128): v128 {
  const exact = f64x2.mul(
    f64x2.mul(f64x2.convert_low_i32x4_s(totals), mantissa),
    powersOfTwo(exponents),
  );
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
  const end = query + row;
  const factor = f64x2.splat(<f64>mantissa);
  const base = i32x4.splat(exponent + queryExponent);
  for (let t = 0; t < count; t += 4) {
    // Rows past the last are not read: the last stands in for them.
    let k0 = keys + <usize>t * row;
    let k1 = min(k0 + row, last);
    let k2 = min(k0 + 2 * row, last);
    let k3 = min(k0 + 3 * row, last);
    let s0 = i32x4.splat(0);
    let s1 = s0;
    let s2 = s0;
    let s3 = s0;
    let at = query;
    for (; at + 32 <= end; at += 32) {
      const x = v128.load(at);
      s0 = addDot(s0, x, v128.load(k0));
      s1 = addDot(s1, x, v128.load(k1));
      s2 = addDot(s2, x, v128.load(k2));
      s3 = addDot(s3, x, v128.load(k3));
      const y = v128.load(at, 16);
      s0 = addDot(s0, y, v128.load(k0, 16));
      s1 = addDot(s1, y, v128.load(k1, 16));
      s2 = addDot(s2, y, v128.load(k2, 16));
      s3 = addDot(s3, y, v128.load(k3, 16));
      k0 += 32;
      k1 += 32;
      k2 += 32;
      k3 += 32;
    }
    if (at < end) {
      const x = v128.load(at);
      s0 = addDot(s0, x, v128.load(k0));
      s1 = addDot(s1, x, v128.load(k1));
      s2 = addDot(s2, x, v128.load(k2));
      s3 = addDot(s3, x, v128.load(k3));
    }
    // 128 products of 13-bit mantissas stay below 2^31.
    const totals = laneSums(s0, s1, s2, s3);
    const exponents = i32x4.add(base, fourAt(keyExponents, t, count));
    const low = scaledPair(totals, exponents, factor);
    const high = scaledPair(upper(totals), upper(exponents), factor);
    v128.store(out + (<usize>t << 2), v128.shuffle<i64>(low, high, 0, 2));
  }
}

/** Words t..t+3; those from `count` on are not read, and are 0. */
// @ts-ignore: decorator
@inline
function fourAt(words: usize, t: i32, count: i32): v128 {
  const at = words + (<usize>t << 2);
  if (t + 4 <= count) return v128.load(at);
  let four = v128.load32_zero(at);
  if (t + 1 < count) four = v128.load_lane<u32>(at, four, 1, 4);
  if (t + 2 < count) four = v128.load_lane<u32>(at, four, 2, 8);
  return four;
}

/** One head of one row. `scratch`: i32 and then i16 for each position, their number rounded up to 4. */
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
  // What stands behind the last score is so low that its shares are 0.
  for (let t = count; (t & 3) != 0; t++) store<i32>(scratch + (<usize>t << 2), BELOW_ALL);
  let tops = i32x4.splat(i32.MIN_VALUE);
  let valueTops = tops;
  for (let t = 0; t < count; t += 4) {
    const n = i32x4.shr_s(v128.load(scratch + (<usize>t << 2)), 16);
    tops = i32x4.max_s(tops, n);
    valueTops = i32x4.max_s(valueTops, i32x4.add(n, fourAt(valueExponents, t, count)));
  }
  const top = largestLane(tops);
  const topValue = largestLane(valueTops);
  tops = i32x4.splat(top);
  valueTops = i32x4.splat(topValue);
  const shares = scratch + (<usize>((count + 3) & ~3) << 2);
  let totals = i32x4.splat(0);
  for (let t = 0; t < count; t += 4) {
    const z = v128.load(scratch + (<usize>t << 2));
    const n = i32x4.shr_s(z, 16);
    const u = exp2Lanes(table, z);
    totals = i32x4.add(totals, shareLanes(u, i32x4.sub(tops, n)));
    const k = i32x4.sub(i32x4.sub(valueTops, n), fourAt(valueExponents, t, count));
    const own = shareLanes(u, k);
    v128.store_lane<i64>(shares + (<usize>t << 1), i16x8.narrow_i32x4_s(own, own), 0);
  }
  const total =
    i32x4.extract_lane(totals, 0) +
    i32x4.extract_lane(totals, 1) +
    i32x4.extract_lane(totals, 2) +
    i32x4.extract_lane(totals, 3);
  weighted(shares, values, size, padded, count, total, topValue - top, out);
}

/** Pass 2: the weighted sums of V, sixteen or four columns at a time, and the one division. */
function weighted(
  shares: usize,
  values: usize,
  size: i32,
  padded: i32,
  count: i32,
  total: i32,
  exponent: i32,
  out: usize,
): void {
  const pairs = (count + 1) >> 1;
  const end = shares + (<usize>pairs << 2);
  const stride = <usize>padded << 2;
  let column = 0;
  for (; column + 16 <= size; column += 16) {
    let p0 = i32x4.splat(0);
    let p1 = p0;
    let p2 = p0;
    let p3 = p0;
    let h0 = p0;
    let h1 = p0;
    let h2 = p0;
    let h3 = p0;
    let at = values + (<usize>column << 2);
    let from = shares;
    while (from < end) {
      // 16 products of 15 and 13 bits beside 16 bits: 16 * 32767 * 4095 + 65535 < 2^31.
      const stop = min(from + 32, end);
      for (; from < stop; from += 4) {
        const pair = v128.load32_splat(from);
        p0 = addDot(p0, pair, v128.load(at));
        p1 = addDot(p1, pair, v128.load(at, 16));
        p2 = addDot(p2, pair, v128.load(at, 32));
        p3 = addDot(p3, pair, v128.load(at, 48));
        at += stride;
      }
      h0 = addUpper(h0, p0);
      p0 = keepLower(p0);
      h1 = addUpper(h1, p1);
      p1 = keepLower(p1);
      h2 = addUpper(h2, p2);
      p2 = keepLower(p2);
      h3 = addUpper(h3, p3);
      p3 = keepLower(p3);
    }
    const y = out + (<usize>column << 2);
    v128.store(y, quotients(h0, p0, total, exponent));
    v128.store(y, quotients(h1, p1, total, exponent), 16);
    v128.store(y, quotients(h2, p2, total, exponent), 32);
    v128.store(y, quotients(h3, p3, total, exponent), 48);
  }
  for (; column < size; column += 4) {
    let p = i32x4.splat(0);
    let h = p;
    let at = values + (<usize>column << 2);
    let from = shares;
    while (from < end) {
      const stop = min(from + 32, end);
      for (; from < stop; from += 4) {
        p = addDot(p, v128.load32_splat(from), v128.load(at));
        at += stride;
      }
      h = addUpper(h, p);
      p = keepLower(p);
    }
    const y = out + (<usize>column << 2);
    const four = quotients(h, p, total, exponent);
    if (column + 4 <= size) v128.store(y, four);
    // The size is even.
    else v128.store_lane<i64>(y, four, 0);
  }
}

/** The quotients of four sums of upper and lower halves by `total`, times `2^exponent`, each rounded once. */
// @ts-ignore: decorator
@inline
function quotients(uppers: v128, lowers: v128, total: i32, exponent: i32): v128 {
  if (total >= INTEGER_QUOTIENTS_FROM) return integerQuotients(uppers, lowers, total, exponent);
  const divisor = f64x2.splat(<f64>total);
  const scale = f64x2.splat(power(exponent));
  const low = f64x2.div(whole(lowPair(uppers), lowPair(lowers)), divisor);
  const high = f64x2.div(whole(highPair(uppers), highPair(lowers)), divisor);
  return roundLanes(f64x2.mul(low, scale), f64x2.mul(high, scale));
}

/** As `quotients`, for divisors from `INTEGER_QUOTIENTS_FROM` on. */
function integerQuotients(uppers: v128, lowers: v128, total: i32, exponent: i32): v128 {
  const a = i32x4.extract_lane(uppers, 0);
  const b = i32x4.extract_lane(uppers, 1);
  const c = i32x4.extract_lane(uppers, 2);
  const d = i32x4.extract_lane(uppers, 3);
  const first = integerQuotient(a, i32x4.extract_lane(lowers, 0), total, exponent);
  const second = integerQuotient(b, i32x4.extract_lane(lowers, 1), total, exponent);
  const third = integerQuotient(c, i32x4.extract_lane(lowers, 2), total, exponent);
  const fourth = integerQuotient(d, i32x4.extract_lane(lowers, 3), total, exponent);
  return roundLanes(
    f64x2.replace_lane(f64x2.splat(first), 1, second),
    f64x2.replace_lane(f64x2.splat(third), 1, fourth),
  );
}

/** A quotient of 33 to 36 bits, the last of which is 1 if it is not the whole one: it rounds as that does. */
function integerQuotient(upper: i32, lower: i32, total: i32, exponent: i32): f64 {
  const sum = (<i64>upper << 16) + <i64>lower;
  if (sum == 0) return 0.0;
  const magnitude = sum < 0 ? -sum : sum;
  const places = clz(magnitude);
  const dividend = <u64>magnitude << places;
  let quotient = dividend / <u64>total;
  if (quotient * <u64>total != dividend) quotient |= 1;
  const signed = sum < 0 ? -<i64>quotient : <i64>quotient;
  return <f64>signed * power(exponent - <i32>places);
}
