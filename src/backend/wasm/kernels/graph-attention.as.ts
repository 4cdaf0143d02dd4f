// Attention over a batch (docs/spec/01-numerics.md sections 8 and 20), read as it lies in a graph: rows of K
// and V stand some step apart, packed or not. One unit is one head of one query row.
//
// Where heads lie side by side at each position, those of a query row are computed together: memory is then read
// in order, while one head after another would read it in steps that no cache foresees.
//
// Floats: scores are integers of 31 bits times one of 16 and a power of two, exact in binary64, and `nearest`
// is RNE. Sums are integers below 2^39, kept in halves as dot.as.ts does, and whole in binary64. For the quotient
// see attention.as.ts.

import { addUpper, keepLower, laneSums, lowPair, whole } from "./dot.as";
import { exp2Lanes, powersOfTwo, roundLanes, shareLanes, upper } from "./graph-lanes.as";
import { at4, failFirst } from "./graph-record.as";
import { address, EXP2, word } from "./layout.as";
import { largestLane } from "./row.as";
import { power } from "./scalar.as";

/** Heads that are computed side by side where their rows lie side by side, so that memory is read in order. */
const HEADS_TOGETHER: i32 = 16;

// What is known of each head, in bytes: addresses of q, of K and V of its first position and of their exponents,
// the exponent of its scores less that of K, the sum L and the exponent N' - N.
const QUERY: usize = 0;
const KEYS: usize = 4;
const KEY_EXPONENTS: usize = 8;
const VALUES: usize = 12;
const VALUE_EXPONENTS: usize = 16;
const BASE: usize = 20;
const TOTAL: usize = 24;
const SHIFT: usize = 28;
const HEAD_BYTES: usize = 32;

/** Positions of K and V that there is room for in scratch. */
// @ts-ignore: decorator
@inline
function roomFor(p: usize): usize {
  return <usize>((word(p, 12) + 7) & ~3);
}

// Scratch of `heads` heads: what is known of them, their scores, the exponents of one head's V, the shares and
// the sums.
// @ts-ignore: decorator
@inline
function scoresAt(scratch: usize, heads: i32): usize {
  return scratch + <usize>heads * HEAD_BYTES;
}

// @ts-ignore: decorator
@inline
function ownAt(p: usize, scratch: usize, heads: i32): usize {
  return scoresAt(scratch, heads) + <usize>heads * (roomFor(p) << 2);
}

// @ts-ignore: decorator
@inline
function sharesAt(p: usize, scratch: usize, heads: i32): usize {
  return ownAt(p, scratch, heads) + (roomFor(p) << 2);
}

// @ts-ignore: decorator
@inline
function sumsAt(p: usize, scratch: usize, heads: i32): usize {
  return (sharesAt(p, scratch, heads) + <usize>heads * (roomFor(p) << 1) + 15) & ~15;
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

/** Notes where a head's row of q is. */
function placeQuery(p: usize, query: i32, head: usize): void {
  store<u32>(head + QUERY, <u32>(address(p, 4) + <usize>query * (<usize>word(p, 16) << 1)));
  store<i32>(head + BASE, word(p, 18) + load<i32>(at4(address(p, 5), query)));
}

/** Notes where a head's K and V are, of which `first` is the first row. */
function placeCache(p: usize, first: usize, head: usize): void {
  const bytes = <usize>word(p, 16) << 1;
  store<u32>(head + KEYS, <u32>(address(p, 7) + first * bytes));
  store<u32>(head + KEY_EXPONENTS, <u32>(address(p, 8) + (first << 2)));
  store<u32>(head + VALUES, <u32>(address(p, 9) + first * bytes));
  store<u32>(head + VALUE_EXPONENTS, <u32>(address(p, 10) + (first << 2)));
}

/** Scores of positions 0 to count - 1 of some heads; writes up to three more, which mean nothing. */
function scoreHeads(p: usize, scratch: usize, heads: i32, count: i32): void {
  const bytes = <usize>word(p, 16) << 1;
  const step = stepOf(p) * bytes;
  const stepE = stepOf(p) << 2;
  const mantissa = f64x2.splat(<f64>word(p, 17));
  const room = roomFor(p) << 2;
  const end = scratch + <usize>heads * HEAD_BYTES;
  for (let t = 0; t < count; t += 4) {
    // Rows past the last are not read: the last stands in for them.
    const t1 = <usize>min(t + 1, count - 1);
    const t2 = <usize>min(t + 2, count - 1);
    const t3 = <usize>min(t + 3, count - 1);
    let out = at4(scoresAt(scratch, heads), t);
    for (let head = scratch; head < end; head += HEAD_BYTES) {
      const q = <usize>load<u32>(head + QUERY);
      const keys = <usize>load<u32>(head + KEYS);
      const exponents = <usize>load<u32>(head + KEY_EXPONENTS);
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
      const places = i32x4.add(v128.load32_splat(head + BASE), own);
      const low = scorePair(totals, places, mantissa);
      const high = scorePair(upper(totals), upper(places), mantissa);
      v128.store(out, v128.shuffle<i64>(low, high, 0, 2));
      out += room;
    }
  }
}

/** Step 3 of one head, and the shares of step 4 with nothing behind them; `own` takes the exponents of V. */
function shareRow(
  table: usize,
  head: usize,
  stepE: usize,
  count: i32,
  scores: usize,
  own: usize,
  shares: usize,
): void {
  const exponents = <usize>load<u32>(head + VALUE_EXPONENTS);
  for (let t = 0; t < count; t++) {
    store<i32>(at4(own, t), load<i32>(exponents + <usize>t * stepE));
  }
  for (let t = count; (t & 3) != 0; t++) {
    store<i32>(at4(scores, t), i32.MIN_VALUE);
    store<i32>(at4(own, t), -1000000);
  }
  let tops = i32x4.splat(i32.MIN_VALUE);
  let valueTops = tops;
  for (let t = 0; t < count; t += 4) {
    const n = i32x4.shr_s(v128.load(at4(scores, t)), 16);
    tops = i32x4.max_s(tops, n);
    valueTops = i32x4.max_s(valueTops, i32x4.add(n, v128.load(at4(own, t))));
  }
  const top = largestLane(tops);
  const valueTop = largestLane(valueTops);
  tops = i32x4.splat(top);
  valueTops = i32x4.splat(valueTop);
  let totals = i32x4.splat(0);
  for (let t = 0; t < count; t += 4) {
    const z = v128.load(at4(scores, t));
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
  store<i32>(head + TOTAL, total);
  store<i32>(head + SHIFT, valueTop - top);
}

/** Steps 3 to 5 of some heads whose scores are in scratch; their results lie one after another. */
function weighHeads(
  table: usize,
  p: usize,
  scratch: usize,
  heads: i32,
  count: i32,
  out: usize,
): void {
  const size = word(p, 15);
  const padded = word(p, 16);
  const room = roomFor(p);
  const sums = sumsAt(p, scratch, heads);
  for (let i = 0; i < heads; i++) {
    const head = scratch + <usize>i * HEAD_BYTES;
    const scores = scoresAt(scratch, heads) + <usize>i * (room << 2);
    const shares = sharesAt(p, scratch, heads) + <usize>i * (room << 1);
    shareRow(table, head, stepOf(p) << 2, count, scores, ownAt(p, scratch, heads), shares);
  }
  memory.fill(sums, 0, <usize>(heads * padded) << 3);
  for (let start = 0; start < count; start += 16) {
    for (let i = 0; i < heads; i++) {
      const head = scratch + <usize>i * HEAD_BYTES;
      const shares = sharesAt(p, scratch, heads) + <usize>i * (room << 1) + (<usize>start << 1);
      const step = stepOf(p) * (<usize>padded << 1);
      const values = <usize>load<u32>(head + VALUES) + <usize>start * step;
      sumValues(values, step, min(16, count - start), shares, padded, sums + <usize>(i * padded) * 8);
    }
  }
  for (let i = 0; i < heads; i++) {
    const head = scratch + <usize>i * HEAD_BYTES;
    const total = <f64>load<i32>(head + TOTAL);
    const y = out + (<usize>(i * size) << 2);
    divide(sums + <usize>(i * padded) * 8, size, total, power(load<i32>(head + SHIFT)), y);
  }
}

/**
 * Adds up to sixteen positions of V by their shares: of each four columns 16 bytes of lower halves, 0 to 65535,
 * and 16 of upper ones. 16 * 32767 * 4095 + 65535 < 2^31, and 128 upper halves fit as well.
 */
function sumValues(
  values: usize,
  step: usize,
  count: i32,
  shares: usize,
  padded: i32,
  sums: usize,
): void {
  let end = values + <usize>(count & ~1) * step;
  for (let column = 0; column < padded; column += 8) {
    let p0 = v128.load(sums);
    let p1 = v128.load(sums, 32);
    let pairs = shares;
    let at = values;
    for (; at < end; at += 2 * step) {
      const x = v128.load(at);
      const y = v128.load(at + step);
      const pair = v128.load32_splat(pairs);
      const low = v128.shuffle<i16>(x, y, 0, 8, 1, 9, 2, 10, 3, 11);
      const high = v128.shuffle<i16>(x, y, 4, 12, 5, 13, 6, 14, 7, 15);
      p0 = i32x4.add(p0, i32x4.dot_i16x8_s(pair, low));
      p1 = i32x4.add(p1, i32x4.dot_i16x8_s(pair, high));
      pairs += 4;
    }
    if (count & 1) {
      const x = v128.load(at);
      const share = i32x4.splat(<i32>load<u16>(pairs));
      p0 = i32x4.add(p0, i32x4.dot_i16x8_s(share, i32x4.extend_low_i16x8_u(x)));
      p1 = i32x4.add(p1, i32x4.dot_i16x8_s(share, i32x4.extend_high_i16x8_u(x)));
    }
    v128.store(sums, keepLower(p0));
    v128.store(sums, addUpper(v128.load(sums, 16), p0), 16);
    v128.store(sums, keepLower(p1), 32);
    v128.store(sums, addUpper(v128.load(sums, 48), p1), 48);
    values += 16;
    end += 16;
    sums += 64;
  }
}

/** The quotients; the columns are even. */
function divide(sums: usize, size: i32, total: f64, factor: f64, out: usize): void {
  const totals = f64x2.splat(total);
  const factors = f64x2.splat(factor);
  for (let i = 0; i < size; i += 2) {
    const at = sums + ((<usize>i >> 2) << 5) + ((<usize>i & 2) << 2);
    const exact = whole(lowPair(v128.load64_zero(at, 16)), lowPair(v128.load64_zero(at)));
    const quotient = f64x2.div(exact, totals);
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
  const together = word(p, 20) != 0 ? 1 : HEADS_TOGETHER;
  let unit = from;
  while (unit < to) {
    const h = unit % heads;
    const count = visible(p, (unit / heads) % rows);
    const several = min(together, min(heads - h, to - unit));
    for (let i = 0; i < several; i++) {
      const head = scratch + <usize>i * HEAD_BYTES;
      placeQuery(p, unit + i, head);
      placeCache(p, rowOf(p, unit / (heads * rows), ((h + i) * word(p, 14)) / heads), head);
    }
    scoreHeads(p, scratch, several, count);
    const out = address(p, 6) + <usize>unit * (<usize>size << 2);
    weighHeads(address(control + EXP2, 0), p, scratch, several, count, out);
    unit += several;
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
    placeQuery(p, (batch * rows + t) * heads + h, scratch);
    placeCache(p, first, scratch);
    scoreHeads(p, scratch, 1, count);
    const out = address(p, 6) + <usize>unit * (<usize>positions << 2);
    memory.copy(out, scoresAt(scratch, 1), <usize>count << 2);
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
    const scores = address(p, 4) + row * (<usize>positions << 2);
    memory.copy(scoresAt(scratch, 1), scores, <usize>count << 2);
    placeCache(p, rowOf(p, batch, (h * word(p, 14)) / heads), scratch);
    const out = address(p, 6) + <usize>unit * (<usize>size << 2);
    weighHeads(address(control + EXP2, 0), p, scratch, 1, count, out);
  }
  failFirst(p, address(p, 6), from * size, to * size, size);
}
