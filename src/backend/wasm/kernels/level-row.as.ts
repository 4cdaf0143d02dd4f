// One row of a product by four groups of columns whose weights are levels of 4 bits: `level * m + o`, with a
// multiplier and an offset for each 32 k of a column. How they lie is in ./pack.as.ts.
//
// Over 32 k the row's products are `s * m + t * o`, where s is the sum of mantissas times levels and t that of the
// mantissas: with 16 bits |s| <= 32 * 32767 * 15 and |t| <= 32 * 32767. Each is split as `1024 * upper + lower`, so
// that s and t side by side are pairs of i16 and so are m and o: one dot product adds the lowers' part, another the
// uppers'. As -8191 <= o <= o + 15 * m <= 8191 the lowers' part is at most 1023 * 8191 in magnitude and all of it
// at most 32 * 32767 * 8191, so that the uppers' is at most 1025 * 8191: 255 of either fit i32.

import { addDot, addUpper } from "./dot.as";
import { address, word } from "./layout.as";
import { storeFour } from "./tile.as";

/** Bytes of 32 k of a group: four vectors of levels, and one of multipliers and offsets. */
const LEVELS_BYTES: usize = 64;
const FACTORS_BYTES: usize = 16;
/** So many times 32 k an accumulator takes. */
const SPILL: i32 = 255;

// The eight k of a vector, as types: see ./tile.as.ts.
type First = i8;
type Second = i16;
type Third = i32;
type Fourth = i64;

/** Writes for each 32 k of a row the two parts of its mantissas' sum, in upper halves of i32. */
export function sumMantissas(p: usize, row: i32, to: usize): void {
  let x = address(p, 4) + <usize>row * (<usize>word(p, 8) << 4);
  const ones = i16x8.splat(1);
  for (let chunks = word(p, 8) >> 2; chunks > 0; chunks--) {
    let sums = i32x4.dot_i16x8_s(v128.load(x), ones);
    sums = addDot(sums, v128.load(x, 16), ones);
    sums = addDot(sums, v128.load(x, 32), ones);
    sums = addDot(sums, v128.load(x, 48), ones);
    const sum =
      i32x4.extract_lane(sums, 0) +
      i32x4.extract_lane(sums, 1) +
      i32x4.extract_lane(sums, 2) +
      i32x4.extract_lane(sums, 3);
    store<i32>(to, (sum & 1023) << 16);
    store<i32>(to, (sum >> 10) << 16, 4);
    x += 64;
    to += 8;
  }
}

/**
 * One row by four groups, `apart` groups apart, of which none is beyond `last`. The parts of the mantissas' sums
 * are at `sums`.
 */
export function levelRowByFour(
  p: usize,
  row: i32,
  group: i32,
  apart: i32,
  last: i32,
  sums: usize,
): void {
  const second = min(group + apart, last);
  const third = min(second + apart, last);
  const fourth = min(third + apart, last);
  const blocks = word(p, 8);
  let chunks = blocks >> 2;
  const levels = address(p, 6);
  const levelStride = <usize>chunks * LEVELS_BYTES;
  let a = levels + <usize>group * levelStride;
  let b = levels + <usize>second * levelStride;
  let c = levels + <usize>third * levelStride;
  let d = levels + <usize>fourth * levelStride;
  const factors = address(p, 17);
  const factorStride = <usize>chunks * FACTORS_BYTES;
  let am = factors + <usize>group * factorStride;
  const bm = <usize>(second - group) * factorStride;
  const cm = <usize>(third - group) * factorStride;
  const dm = <usize>(fourth - group) * factorStride;
  let x = address(p, 4) + <usize>row * (<usize>blocks << 4);
  const zero = blocks >> 31;
  // Not constants, which the compilers would make anew for each use.
  const ones = i16x8.splat(<i16>(0xf + zero));
  const sixteens = i16x8.splat(<i16>(0xf0 + zero));
  const more = i16x8.splat(<i16>(0xf00 + zero));
  const lowerTen = i32x4.splat(1023 + zero);
  let la = i32x4.splat(0);
  let lb = la;
  let lc = la;
  let ld = la;
  let ha = i32x4.splat(i32.MIN_VALUE);
  let hb = ha;
  let hc = ha;
  let hd = ha;
  while (chunks > 0) {
    let n = min(chunks, SPILL);
    chunks -= n;
    let va = i32x4.splat(0);
    let vb = va;
    let vc = va;
    let vd = va;
    let ua = va;
    let ub = va;
    let uc = va;
    let ud = va;
    for (; n > 0; n--) {
      const lower = v128.load32_splat(sums);
      const upper = v128.load32_splat(sums, 4);
      let s = levelSums(x, a, ones, sixteens, more);
      let f = v128.load(am);
      va = addDot(va, lowerPair(s, lower, lowerTen), f);
      ua = addDot(ua, upperPair(s, upper), f);
      s = levelSums(x, b, ones, sixteens, more);
      f = v128.load(am + bm);
      vb = addDot(vb, lowerPair(s, lower, lowerTen), f);
      ub = addDot(ub, upperPair(s, upper), f);
      s = levelSums(x, c, ones, sixteens, more);
      f = v128.load(am + cm);
      vc = addDot(vc, lowerPair(s, lower, lowerTen), f);
      uc = addDot(uc, upperPair(s, upper), f);
      s = levelSums(x, d, ones, sixteens, more);
      f = v128.load(am + dm);
      vd = addDot(vd, lowerPair(s, lower, lowerTen), f);
      ud = addDot(ud, upperPair(s, upper), f);
      x += 64;
      sums += 8;
      a += LEVELS_BYTES;
      b += LEVELS_BYTES;
      c += LEVELS_BYTES;
      d += LEVELS_BYTES;
      am += FACTORS_BYTES;
    }
    // `1024 * u + v` as upper and lower halves.
    const lowerHalf = i32x4.splat(0xffff);
    va = i32x4.add(va, lowerSix(ua));
    ha = i32x4.add(addUpper(ha, va), i32x4.shr_s(ua, 6));
    la = i32x4.add(la, v128.and(va, lowerHalf));
    vb = i32x4.add(vb, lowerSix(ub));
    hb = i32x4.add(addUpper(hb, vb), i32x4.shr_s(ub, 6));
    lb = i32x4.add(lb, v128.and(vb, lowerHalf));
    vc = i32x4.add(vc, lowerSix(uc));
    hc = i32x4.add(addUpper(hc, vc), i32x4.shr_s(uc, 6));
    lc = i32x4.add(lc, v128.and(vc, lowerHalf));
    vd = i32x4.add(vd, lowerSix(ud));
    hd = i32x4.add(addUpper(hd, vd), i32x4.shr_s(ud, 6));
    ld = i32x4.add(ld, v128.and(vd, lowerHalf));
  }
  storeFour(p, row, group, second, third, fourth, la, lb, lc, ld, ha, hb, hc, hd, zero);
}

/**
 * Products of a row's 32 mantissas with the levels of a group, added up. The second and third level of a lane are
 * taken where they stand, as 16 and 256 times the level: to shift their sums costs less.
 */
// @ts-ignore: decorator
@inline
function levelSums(x: usize, group: usize, ones: v128, sixteens: v128, more: v128): v128 {
  const a = v128.load(group);
  const b = v128.load(group, 16);
  const c = v128.load(group, 32);
  const d = v128.load(group, 48);
  const first = dots<First>(x, v128.and(a, ones), v128.and(b, ones), v128.and(c, ones), v128.and(d, ones));
  const second = dots<Second>(
    x,
    v128.and(a, sixteens),
    v128.and(b, sixteens),
    v128.and(c, sixteens),
    v128.and(d, sixteens),
  );
  const third = dots<Third>(x, v128.and(a, more), v128.and(b, more), v128.and(c, more), v128.and(d, more));
  const fourth = dots<Fourth>(
    x,
    i16x8.shr_u(a, 12),
    i16x8.shr_u(b, 12),
    i16x8.shr_u(c, 12),
    i16x8.shr_u(d, 12),
  );
  const shifted = i32x4.shr_s(i32x4.add(second, i32x4.shr_s(third, 4)), 4);
  return i32x4.add(i32x4.add(first, fourth), shifted);
}

/** A row's pair of mantissas of each of four blocks of eight k, times the levels, added up. */
// @ts-ignore: decorator
@inline
function dots<Pair>(x: usize, a: v128, b: v128, c: v128, d: v128): v128 {
  let sum = i32x4.dot_i16x8_s(v128.load32_splat(x, 4 * alignof<Pair>()), a);
  sum = addDot(sum, v128.load32_splat(x, 16 + 4 * alignof<Pair>()), b);
  sum = addDot(sum, v128.load32_splat(x, 32 + 4 * alignof<Pair>()), c);
  return addDot(sum, v128.load32_splat(x, 48 + 4 * alignof<Pair>()), d);
}

// @ts-ignore: decorator
@inline
function lowerPair(s: v128, t: v128, lowerTen: v128): v128 {
  return v128.or(v128.and(s, lowerTen), t);
}

// @ts-ignore: decorator
@inline
function upperPair(s: v128, t: v128): v128 {
  return v128.shuffle<i16>(i32x4.shr_s(s, 10), t, 0, 9, 2, 11, 4, 13, 6, 15);
}

/** The lower six bits, times 1024. */
// @ts-ignore: decorator
@inline
function lowerSix(u: v128): v128 {
  return i32x4.shl(v128.and(u, i32x4.splat(63)), 10);
}
