// Tiles of a product: four rows by two groups of four columns, and one row by four groups. Each computes its
// outputs whole, from the record of a matmul (see ./matmul.as.ts) and the addresses of its groups' weights.
//
// A lane is a column: a vector of weights holds two k of each of four columns, and a row's two mantissas stand
// in all lanes, so that no lanes are added up in the end. Sums stay in i32 lanes for `spill` blocks of eight k,
// which ./spill.as.ts proves to fit. Then their upper halves move on to a second vector, so that `2^16 * uppers + lowers` is the
// exact sum. There are at most 8192 blocks, so neither part leaves i32. Uppers begin at -2^31: as unsigned
// integers they are those of the sum plus 2^31.
//
// Floats: an integer below 2^32 as the lower half of a binary64 that begins as 2^52 does is 2^52 plus it; one
// that begins as 2^68 does is 2^68 plus 2^16 times it. Differences of those are integers below 2^53, the sum
// times D is one too, D * 2^e is stored as binary64, so that `sum * D2e * 2^ea` is exact and the demotion rounds
// once.

import { addDot, addUpper, anyBad } from "./dot.as";
import { address, word } from "./layout.as";
import { multipliers } from "./pack.as";
import { isBad, markBad, power } from "./scalar.as";

// The four pairs of k of a block as types, because offsets of loads must be constants to cost nothing, and a
// type's alignment (0 to 3) is one that an inlined function can be given.
type First = i8;
type Second = i16;
type Third = i32;
type Fourth = i64;

/** A row's two mantissas in all lanes. */
// @ts-ignore: decorator
@inline
function left<Pair>(row: usize): v128 {
  return v128.load32_splat(row, 4 * alignof<Pair>());
}

/** Two weights of each of four columns, as i16. */
// @ts-ignore: decorator
@inline
function weights<T, Pair>(group: usize): v128 {
  if (sizeof<T>() == 1) return v128.load_ext<i8>(group, 8 * alignof<Pair>());
  return v128.load(group, 16 * alignof<Pair>());
}

/** Four rows by the groups whose i16 weights begin at `g` and `h`. */
export function rowsByTwo(
  p: usize,
  row: i32,
  group: i32,
  other: i32,
  g: usize,
  h: usize,
  spill: i32,
): void {
  let blocks = word(p, 8);
  const stride = <usize>blocks << 4;
  const zero = spill >> 31;
  const lowerHalf = i32x4.splat(0xffff + zero);
  let a = address(p, 4) + <usize>row * stride;
  let b = a + stride;
  let c = b + stride;
  let d = c + stride;
  let a0 = i32x4.splat(0);
  let a1 = a0;
  let b0 = a0;
  let b1 = a0;
  let c0 = a0;
  let c1 = a0;
  let d0 = a0;
  let d1 = a0;
  let ha0 = i32x4.splat(i32.MIN_VALUE);
  let ha1 = ha0;
  let hb0 = ha0;
  let hb1 = ha0;
  let hc0 = ha0;
  let hc1 = ha0;
  let hd0 = ha0;
  let hd1 = ha0;
  while (true) {
    let n = min(blocks, spill);
    blocks -= n;
    while (true) {
      let u = weights<i16, First>(g);
      let v = weights<i16, First>(h);
      let x = left<First>(a);
      a0 = addDot(a0, x, u);
      a1 = addDot(a1, x, v);
      x = left<First>(b);
      b0 = addDot(b0, x, u);
      b1 = addDot(b1, x, v);
      x = left<First>(c);
      c0 = addDot(c0, x, u);
      c1 = addDot(c1, x, v);
      x = left<First>(d);
      d0 = addDot(d0, x, u);
      d1 = addDot(d1, x, v);
      u = weights<i16, Second>(g);
      v = weights<i16, Second>(h);
      x = left<Second>(a);
      a0 = addDot(a0, x, u);
      a1 = addDot(a1, x, v);
      x = left<Second>(b);
      b0 = addDot(b0, x, u);
      b1 = addDot(b1, x, v);
      x = left<Second>(c);
      c0 = addDot(c0, x, u);
      c1 = addDot(c1, x, v);
      x = left<Second>(d);
      d0 = addDot(d0, x, u);
      d1 = addDot(d1, x, v);
      // Never so, but it keeps the compilers from doing each sum at once, which takes too many registers.
      if (n < 0) break;
      u = weights<i16, Third>(g);
      v = weights<i16, Third>(h);
      x = left<Third>(a);
      a0 = addDot(a0, x, u);
      a1 = addDot(a1, x, v);
      x = left<Third>(b);
      b0 = addDot(b0, x, u);
      b1 = addDot(b1, x, v);
      x = left<Third>(c);
      c0 = addDot(c0, x, u);
      c1 = addDot(c1, x, v);
      x = left<Third>(d);
      d0 = addDot(d0, x, u);
      d1 = addDot(d1, x, v);
      u = weights<i16, Fourth>(g);
      v = weights<i16, Fourth>(h);
      x = left<Fourth>(a);
      a0 = addDot(a0, x, u);
      a1 = addDot(a1, x, v);
      x = left<Fourth>(b);
      b0 = addDot(b0, x, u);
      b1 = addDot(b1, x, v);
      x = left<Fourth>(c);
      c0 = addDot(c0, x, u);
      c1 = addDot(c1, x, v);
      x = left<Fourth>(d);
      d0 = addDot(d0, x, u);
      d1 = addDot(d1, x, v);
      a += 16;
      b += 16;
      c += 16;
      d += 16;
      g += 64;
      h += 64;
      if (--n == 0) break;
    }
    ha0 = addUpper(ha0, a0);
    a0 = v128.and(a0, lowerHalf);
    ha1 = addUpper(ha1, a1);
    a1 = v128.and(a1, lowerHalf);
    hb0 = addUpper(hb0, b0);
    b0 = v128.and(b0, lowerHalf);
    hb1 = addUpper(hb1, b1);
    b1 = v128.and(b1, lowerHalf);
    hc0 = addUpper(hc0, c0);
    c0 = v128.and(c0, lowerHalf);
    hc1 = addUpper(hc1, c1);
    c1 = v128.and(c1, lowerHalf);
    hd0 = addUpper(hd0, d0);
    d0 = v128.and(d0, lowerHalf);
    hd1 = addUpper(hd1, d1);
    d1 = v128.and(d1, lowerHalf);
    if (blocks == 0) break;
  }
  let seen = storeRow(p, row, group, other, a0, a1, ha0, ha1, zero);
  seen = i32x4.max_u(seen, storeRow(p, row + 1, group, other, b0, b1, hb0, hb1, zero));
  seen = i32x4.max_u(seen, storeRow(p, row + 2, group, other, c0, c1, hc0, hc1, zero));
  seen = i32x4.max_u(seen, storeRow(p, row + 3, group, other, d0, d1, hd0, hd1, zero));
  if (!anyBad(seen)) return;
  noteBad(p, row, 4, group);
  noteBad(p, row, 4, other);
}

/**
 * One row by four groups, `apart` groups apart, of which none is beyond `last`: several streams keep memory busier
 * than one. The weights of group `from` begin at `w`. Weights of 8 bits have multipliers for each 32 k, at `m`:
 * sums of 32 products times those fit i32.
 */
export function rowByFour<T>(
  p: usize,
  row: i32,
  group: i32,
  apart: i32,
  last: i32,
  from: i32,
  w: usize,
  m: usize,
  spill: i32,
): void {
  const second = min(group + apart, last);
  const third = min(second + apart, last);
  const fourth = min(third + apart, last);
  let blocks = word(p, 8);
  const groupBytes = (<usize>blocks << 5) * sizeof<T>();
  const scaleBytes = <usize>((blocks + 3) >> 2) << 2;
  let a = w + <usize>(group - from) * groupBytes;
  let b = w + <usize>(second - from) * groupBytes;
  let c = w + <usize>(third - from) * groupBytes;
  let d = w + <usize>(fourth - from) * groupBytes;
  let am = m + <usize>(group - from) * scaleBytes;
  const bm = <usize>(second - group) * scaleBytes;
  const cm = <usize>(third - group) * scaleBytes;
  const dm = <usize>(fourth - group) * scaleBytes;
  let x = address(p, 4) + <usize>row * (<usize>blocks << 4);
  const zero = blocks >> 31;
  const lowerHalf = i32x4.splat(0xffff + zero);
  let la = i32x4.splat(0);
  let lb = la;
  let lc = la;
  let ld = la;
  let ha = i32x4.splat(i32.MIN_VALUE);
  let hb = ha;
  let hc = ha;
  let hd = ha;
  while (blocks > 0) {
    let n = min(blocks, spill);
    blocks -= n;
    let sa = i32x4.splat(0);
    let sb = sa;
    let sc = sa;
    let sd = sa;
    for (; n > 0; n--) {
      const x0 = left<First>(x);
      const x1 = left<Second>(x);
      const x2 = left<Third>(x);
      const x3 = left<Fourth>(x);
      sa = block<T>(sa, x0, x1, x2, x3, a);
      sb = block<T>(sb, x0, x1, x2, x3, b);
      sc = block<T>(sc, x0, x1, x2, x3, c);
      sd = block<T>(sd, x0, x1, x2, x3, d);
      x += 16;
      a += 32 * sizeof<T>();
      b += 32 * sizeof<T>();
      c += 32 * sizeof<T>();
      d += 32 * sizeof<T>();
    }
    if (sizeof<T>() == 1) {
      sa = i32x4.mul(sa, multipliers(am));
      sb = i32x4.mul(sb, multipliers(am + bm));
      sc = i32x4.mul(sc, multipliers(am + cm));
      sd = i32x4.mul(sd, multipliers(am + dm));
      am += 4;
    }
    ha = addUpper(ha, sa);
    la = i32x4.add(la, v128.and(sa, lowerHalf));
    hb = addUpper(hb, sb);
    lb = i32x4.add(lb, v128.and(sb, lowerHalf));
    hc = addUpper(hc, sc);
    lc = i32x4.add(lc, v128.and(sc, lowerHalf));
    hd = addUpper(hd, sd);
    ld = i32x4.add(ld, v128.and(sd, lowerHalf));
  }
  storeFour(p, row, group, second, third, fourth, la, lb, lc, ld, ha, hb, hc, hd, zero);
}

/** Stores a row's outputs of four groups. */
// @ts-ignore: decorator
@inline
export function storeFour(
  p: usize,
  row: i32,
  group: i32,
  second: i32,
  third: i32,
  fourth: i32,
  la: v128,
  lb: v128,
  lc: v128,
  ld: v128,
  ha: v128,
  hb: v128,
  hc: v128,
  hd: v128,
  zero: i32,
): void {
  const seen = storeRow(p, row, group, second, la, lb, ha, hb, zero);
  const also = storeRow(p, row, third, fourth, lc, ld, hc, hd, zero);
  if (!anyBad(i32x4.max_u(seen, also))) return;
  noteBad(p, row, 1, group);
  noteBad(p, row, 1, second);
  noteBad(p, row, 1, third);
  noteBad(p, row, 1, fourth);
}

/** Adds a row's products with a block of a group. */
// @ts-ignore: decorator
@inline
function block<T>(sum: v128, x0: v128, x1: v128, x2: v128, x3: v128, group: usize): v128 {
  sum = addDot(sum, x0, weights<T, First>(group));
  sum = addDot(sum, x1, weights<T, Second>(group));
  sum = addDot(sum, x2, weights<T, Third>(group));
  return addDot(sum, x3, weights<T, Fourth>(group));
}

/** Stores a row's outputs of two groups and returns a maximum of their bits shifted left by the sign. */
// @ts-ignore: decorator
@inline
function storeRow(
  p: usize,
  row: i32,
  group: i32,
  other: i32,
  lowers: v128,
  otherLowers: v128,
  uppers: v128,
  otherUppers: v128,
  zero: i32,
): v128 {
  const lowerTop = i32x4.splat(0x43300000 + zero);
  const upperTop = i32x4.splat(0x44300000 + zero);
  // 2^68 + 2^52 + 2^47.
  const offset = i64x2.splat(0x4430001080000000 + <i64>zero);
  const out = address(p, 12) + <usize>row * (<usize>word(p, 13) << 2);
  const factor = f64x2.splat(power(load<i32>(address(p, 5) + (<usize>row << 2))));
  const seen = storeGroup(p, group, out, factor, lowers, uppers, lowerTop, upperTop, offset);
  return i32x4.max_u(seen, storeGroup(p, other, out, factor, otherLowers, otherUppers, lowerTop, upperTop, offset));
}

// @ts-ignore: decorator
@inline
function storeGroup(
  p: usize,
  group: i32,
  row: usize,
  factor: v128,
  lowers: v128,
  uppers: v128,
  lowerTop: v128,
  upperTop: v128,
  offset: v128,
): v128 {
  const scales = address(p, 7) + (<usize>group << 5);
  const low = total(
    v128.shuffle<i32>(lowers, lowerTop, 0, 4, 1, 5),
    v128.shuffle<i32>(uppers, upperTop, 0, 4, 1, 5),
    offset,
  );
  const high = total(
    v128.shuffle<i32>(lowers, lowerTop, 2, 6, 3, 7),
    v128.shuffle<i32>(uppers, upperTop, 2, 6, 3, 7),
    offset,
  );
  const both = v128.shuffle<i64>(
    f32x4.demote_f64x2_zero(f64x2.mul(f64x2.mul(low, v128.load(scales)), factor)),
    f32x4.demote_f64x2_zero(f64x2.mul(f64x2.mul(high, v128.load(scales, 16)), factor)),
    0,
    2,
  );
  const value = f32x4.add(both, f32x4.splat(0));
  v128.store(row + (<usize>group << 4), value);
  return i32x4.shl(value, 1);
}

/** `2^16 * upper + lower` of `2^52 + lower` and `2^68 + 2^16 * (upper + 2^31)`. */
// @ts-ignore: decorator
@inline
function total(lower: v128, upper: v128, offset: v128): v128 {
  return f64x2.add(f64x2.sub(upper, offset), lower);
}

/** Notes which of a group's outputs are not finite; columns may belong to up to three ops. */
function noteBad(p: usize, row: i32, rows: i32, group: i32): void {
  const stride = <usize>word(p, 13) << 2;
  for (let r = row; r < row + rows; r++) {
    for (let c = group << 2; c < (group + 1) << 2; c++) {
      const bits = load<i32>(address(p, 12) + <usize>r * stride + (<usize>c << 2)) & 0x7fffffff;
      if (!isBad(bits)) continue;
      const index = word(p, 14) + (c >= word(p, 15) ? 1 : 0) + (c >= word(p, 16) ? 1 : 0);
      markBad(address(p, 3), r, index);
    }
  }
}
