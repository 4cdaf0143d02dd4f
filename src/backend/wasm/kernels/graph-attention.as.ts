// Attention over a batch (docs/spec/01-numerics.md sections 8 and 20), read as it lies in a graph: rows of K
// and V stand some step apart, packed or not. One unit is one head of one query row.
//
// Floats: scores are integers of 31 bits times one of 16 and a power of two, exact in binary64, and `nearest`
// is RNE. A share is `floor(u * 2^-(k+1) + 1/2)`: at most 18 bits for k up to 16, and below 1 beyond, so
// binary32 holds it. Sums are integers below 2^39 in binary64. For the quotient see attention.as.ts.

import { exp2Lanes, powersOfTwo, roundLanes, upper } from "./graph-lanes.as";
import { at4, failFirst } from "./graph-record.as";
import { address, EXP2, word } from "./layout.as";
import { power } from "./scalar.as";

/** Positions of K and V that a thread's scratch holds scores, exponents and shares of. */
// @ts-ignore: decorator
@inline
function roomFor(positions: i32): usize {
  return <usize>((positions + 7) & ~3);
}

/** Position `t` of key head `group` of a batch element, as a row number. */
// @ts-ignore: decorator
@inline
function rowOf(p: usize, batch: i32, group: i32): usize {
  if (word(p, 20) != 0) return <usize>(batch * word(p, 14) + group) * <usize>word(p, 12);
  return <usize>(batch * word(p, 12)) * <usize>word(p, 14) + <usize>group;
}

/** Rows from one position to the next. */
// @ts-ignore: decorator
@inline
function stepOf(p: usize): usize {
  return word(p, 20) != 0 ? 1 : <usize>word(p, 14);
}

/** Positions that query row t sees. */
// @ts-ignore: decorator
@inline
function visible(p: usize, t: i32): i32 {
  return word(p, 19) != 0 ? word(p, 12) - word(p, 13) + t + 1 : word(p, 12);
}

/** The sums of the lanes of four vectors, as one vector. */
// @ts-ignore: decorator
@inline
function laneSums(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = i32x4.add(v128.shuffle<i32>(a, b, 0, 1, 4, 5), v128.shuffle<i32>(a, b, 2, 3, 6, 7));
  const cd = i32x4.add(v128.shuffle<i32>(c, d, 0, 1, 4, 5), v128.shuffle<i32>(c, d, 2, 3, 6, 7));
  return i32x4.add(
    v128.shuffle<i32>(ab, cd, 0, 2, 4, 6),
    v128.shuffle<i32>(ab, cd, 1, 3, 5, 7),
  );
}

/** Scores of two positions, rounded once and clamped. */
// @ts-ignore: decorator
@inline
function scorePair(totals: v128, exponents: v128, mantissa: v128): v128 {
  const exact = f64x2.mul(
    f64x2.mul(f64x2.convert_low_i32x4_s(totals), mantissa),
    powersOfTwo(exponents),
  );
  const limit = f64x2.splat(1073741824.0);
  const z = f64x2.max(f64x2.min(f64x2.nearest(exact), limit), f64x2.neg(limit));
  return i32x4.trunc_sat_f64x2_s_zero(z);
}

/** Scores of positions 0 to count - 1; writes up to three more, which mean nothing. */
function scoreRow(p: usize, query: i32, first: usize, count: i32, out: usize): void {
  const bytes = <usize>word(p, 16) << 1;
  const q = address(p, 4) + <usize>query * bytes;
  const keys = address(p, 7) + first * bytes;
  const exponents = address(p, 8) + (first << 2);
  const step = stepOf(p) * bytes;
  const stepE = stepOf(p) << 2;
  const mantissa = f64x2.splat(<f64>word(p, 17));
  const base = i32x4.splat(word(p, 18) + load<i32>(at4(address(p, 5), query)));
  for (let t = 0; t < count; t += 4) {
    // Rows past the last are not read: the last stands in for them.
    const t1 = <usize>min(t + 1, count - 1);
    const t2 = <usize>min(t + 2, count - 1);
    const t3 = <usize>min(t + 3, count - 1);
    const k0 = keys + <usize>t * step;
    const k1 = keys + t1 * step;
    const k2 = keys + t2 * step;
    const k3 = keys + t3 * step;
    let s0 = i32x4.splat(0);
    let s1 = s0;
    let s2 = s0;
    let s3 = s0;
    for (let i: usize = 0; i < bytes; i += 16) {
      const x = v128.load(q + i);
      s0 = i32x4.add(s0, i32x4.dot_i16x8_s(x, v128.load(k0 + i)));
      s1 = i32x4.add(s1, i32x4.dot_i16x8_s(x, v128.load(k1 + i)));
      s2 = i32x4.add(s2, i32x4.dot_i16x8_s(x, v128.load(k2 + i)));
      s3 = i32x4.add(s3, i32x4.dot_i16x8_s(x, v128.load(k3 + i)));
    }
    // 128 products of 13-bit mantissas stay below 2^31.
    const totals = laneSums(s0, s1, s2, s3);
    let own = v128.load32_zero(exponents + <usize>t * stepE);
    own = v128.load_lane<u32>(exponents + t1 * stepE, own, 1);
    own = v128.load_lane<u32>(exponents + t2 * stepE, own, 2);
    own = v128.load_lane<u32>(exponents + t3 * stepE, own, 3);
    const places = i32x4.add(base, own);
    const low = scorePair(totals, places, mantissa);
    const high = scorePair(upper(totals), upper(places), mantissa);
    v128.store(at4(out, t), v128.shuffle<i64>(low, high, 0, 2));
  }
}

// @ts-ignore: decorator
@inline
function largestLane(x: v128): i32 {
  return max(
    max(i32x4.extract_lane(x, 0), i32x4.extract_lane(x, 1)),
    max(i32x4.extract_lane(x, 2), i32x4.extract_lane(x, 3)),
  );
}

/** `min(32767, (u + 2^k) >> (k + 1))` for k of 0 or more. */
// @ts-ignore: decorator
@inline
function shareLanes(u: v128, k: v128): v128 {
  const places = i32x4.sub(i32x4.splat(126), i32x4.min_s(k, i32x4.splat(60)));
  const scaled = f32x4.mul(f32x4.convert_i32x4_s(u), i32x4.shl(places, 23));
  const rounded = i32x4.trunc_sat_f32x4_s(f32x4.add(scaled, f32x4.splat(0.5)));
  return i32x4.min_s(rounded, i32x4.splat(32767));
}

/**
 * Steps 3 to 5 of one head. `scratch` holds the scores, then takes the exponents of V and the shares, each with
 * room for a multiple of four positions more than there are, and last the sums.
 */
function weighRow(
  table: usize,
  p: usize,
  first: usize,
  count: i32,
  scratch: usize,
  out: usize,
): void {
  const room = roomFor(word(p, 12));
  const own = scratch + (room << 2);
  const shares = own + (room << 2);
  const exponents = address(p, 10) + (first << 2);
  const stepE = stepOf(p) << 2;
  for (let t = 0; t < count; t++) {
    store<i32>(at4(own, t), load<i32>(exponents + <usize>t * stepE));
  }
  for (let t = count; (t & 3) != 0; t++) {
    store<i32>(at4(scratch, t), i32.MIN_VALUE);
    store<i32>(at4(own, t), -1000000);
  }
  let tops = i32x4.splat(i32.MIN_VALUE);
  let valueTops = tops;
  for (let t = 0; t < count; t += 4) {
    const n = i32x4.shr_s(v128.load(at4(scratch, t)), 16);
    tops = i32x4.max_s(tops, n);
    valueTops = i32x4.max_s(valueTops, i32x4.add(n, v128.load(at4(own, t))));
  }
  const top = largestLane(tops);
  const valueTop = largestLane(valueTops);
  tops = i32x4.splat(top);
  valueTops = i32x4.splat(valueTop);
  let totals = i32x4.splat(0);
  for (let t = 0; t < count; t += 4) {
    const z = v128.load(at4(scratch, t));
    const n = i32x4.shr_s(z, 16);
    const u = exp2Lanes(table, z);
    const isThere = i32x4.gt_s(i32x4.splat(count - t), i32x4(0, 1, 2, 3));
    totals = i32x4.add(totals, v128.and(isThere, shareLanes(u, i32x4.sub(tops, n))));
    const k = i32x4.sub(i32x4.sub(valueTops, n), v128.load(at4(own, t)));
    const share = v128.and(isThere, shareLanes(u, k));
    v128.store_lane<i64>(shares + (<usize>t << 1), i16x8.narrow_i32x4_s(share, share), 0);
  }
  const total =
    i32x4.extract_lane(totals, 0) +
    i32x4.extract_lane(totals, 1) +
    i32x4.extract_lane(totals, 2) +
    i32x4.extract_lane(totals, 3);
  const sums = (shares + (room << 1) + 15) & ~15;
  sumValues(p, first, count, shares, sums);
  divide(sums, word(p, 15), <f64>total, power(valueTop - top), out);
}

// @ts-ignore: decorator
@inline
function addSums(sums: usize, partial: v128): void {
  v128.store(sums, f64x2.add(v128.load(sums), f64x2.convert_low_i32x4_s(partial)));
  v128.store(sums, f64x2.add(v128.load(sums, 16), f64x2.convert_low_i32x4_s(upper(partial))), 16);
}

/** Weighted sums of V, sixteen positions at a time: 16 * 32767 * 4095 < 2^31. */
function sumValues(p: usize, first: usize, count: i32, shares: usize, sums: usize): void {
  const padded = word(p, 16);
  const bytes = <usize>padded << 1;
  const step = stepOf(p) * bytes;
  const values = address(p, 9) + first * bytes;
  memory.fill(sums, 0, <usize>padded << 3);
  for (let start = 0; start < count; start += 16) {
    const end = min(start + 16, count);
    for (let column = 0; column < padded; column += 8) {
      let p0 = i32x4.splat(0);
      let p1 = p0;
      for (let t = start; t < end; t += 2) {
        const a = values + <usize>t * step + (<usize>column << 1);
        const x = v128.load(a);
        // An odd last position has no partner: its share is 0.
        const y = v128.load(t + 1 < count ? a + step : a);
        const pair = v128.load32_splat(shares + (<usize>t << 1));
        const low = v128.shuffle<i16>(x, y, 0, 8, 1, 9, 2, 10, 3, 11);
        const high = v128.shuffle<i16>(x, y, 4, 12, 5, 13, 6, 14, 7, 15);
        p0 = i32x4.add(p0, i32x4.dot_i16x8_s(pair, low));
        p1 = i32x4.add(p1, i32x4.dot_i16x8_s(pair, high));
      }
      addSums(sums + (<usize>column << 3), p0);
      addSums(sums + (<usize>column << 3) + 32, p1);
    }
  }
}

/** The quotients; the columns are even. */
function divide(sums: usize, size: i32, total: f64, factor: f64, out: usize): void {
  const totals = f64x2.splat(total);
  const factors = f64x2.splat(factor);
  for (let i = 0; i < size; i += 2) {
    const quotient = f64x2.div(v128.load(sums + (<usize>i << 3)), totals);
    const y = roundLanes(f64x2.mul(quotient, factors), f64x2.splat(0));
    v128.store_lane<i64>(at4(out, i), y, 0);
  }
}

/**
 * [4] q, [5] q exponents, [6] out, [7] keys, [8] key exponents, [9] values, [10] value exponents, [11] heads,
 * [12] positions, [13] query rows, [14] groups, [15] size, [16] padded, [17, 18] scale, [19] causal, [20] 1 if
 * keys and values lie head by head, else position by position; a unit is a row of the result
 */
export function attentionRange(control: usize, p: usize, scratch: usize, from: i32, to: i32): void {
  const heads = word(p, 11);
  const rows = word(p, 13);
  const size = word(p, 15);
  for (let unit = from; unit < to; unit++) {
    const h = unit % heads;
    const count = visible(p, (unit / heads) % rows);
    const first = rowOf(p, unit / (heads * rows), (h * word(p, 14)) / heads);
    scoreRow(p, unit, first, count, scratch);
    const out = address(p, 6) + <usize>unit * (<usize>size << 2);
    weighRow(address(control + EXP2, 0), p, first, count, scratch, out);
  }
  failFirst(p, address(p, 6), from * size, to * size, size);
}

/** Words of attentionRange; a unit is a row [batch, head, query row] of the result */
export function scoresRange(p: usize, scratch: usize, from: i32, to: i32): void {
  const heads = word(p, 11);
  const positions = word(p, 12);
  const rows = word(p, 13);
  for (let unit = from; unit < to; unit++) {
    const t = unit % rows;
    const h = (unit / rows) % heads;
    const batch = unit / (rows * heads);
    const count = visible(p, t);
    const first = rowOf(p, batch, (h * word(p, 14)) / heads);
    scoreRow(p, (batch * rows + t) * heads + h, first, count, scratch);
    const out = address(p, 6) + <usize>unit * (<usize>positions << 2);
    memory.copy(out, scratch, <usize>count << 2);
    memory.fill(at4(out, count), 0, <usize>(positions - count) << 2);
  }
}

/** Words of attentionRange, but [4] scores; units as there */
export function combineRange(control: usize, p: usize, scratch: usize, from: i32, to: i32): void {
  const heads = word(p, 11);
  const positions = word(p, 12);
  const rows = word(p, 13);
  const size = word(p, 15);
  for (let unit = from; unit < to; unit++) {
    const h = unit % heads;
    const t = (unit / heads) % rows;
    const batch = unit / (heads * rows);
    const count = visible(p, t);
    const row = <usize>((batch * heads + h) * rows + t);
    memory.copy(scratch, address(p, 4) + row * (<usize>positions << 2), <usize>count << 2);
    const first = rowOf(p, batch, (h * word(p, 14)) / heads);
    const out = address(p, 6) + <usize>unit * (<usize>size << 2);
    weighRow(address(control + EXP2, 0), p, first, count, scratch, out);
  }
  failFirst(p, address(p, 6), from * size, to * size, size);
}
