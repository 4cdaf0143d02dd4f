// Tiles of a product: four rows, or one, by two groups of four columns. Each computes its outputs whole, from
// the record of a matmul (see ./matmul.as.ts) and the addresses of its groups' first weights.
//
// A lane is a column: a vector of weights holds two k of each of four columns, and a row's two mantissas stand
// in all lanes, so that no lanes are added up in the end. Sums stay in i32 lanes for `spill` blocks of eight k,
// the proven bound. Then their upper halves move on to a second vector, so that `2^16 * uppers + lowers` is the
// exact sum. There are at most 8192 blocks, so neither part leaves i32.
//
// Floats: upper and lower sums are integers below 2^31, the sum times D is below 2^53, D * 2^e is stored as
// binary64: `(uppers * 65536 + lowers) * D2e * 2^ea` is exact and the demotion rounds once.

import { addDot, addUpper, anyBad, highPair, lowPair, whole } from "./dot.as";
import { address, word } from "./layout.as";
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

/** 2^e of a row, twice. */
// @ts-ignore: decorator
@inline
function rowFactor(p: usize, row: i32): v128 {
  return f64x2.splat(power(load<i32>(address(p, 5) + (<usize>row << 2))));
}

/** Four rows by the groups whose i16 weights begin at `g` and `h`. */
export function rowsByTwo(p: usize, row: i32, group: i32, other: i32, g: usize, h: usize): void {
  const spill = word(p, 10);
  let blocks = word(p, 8);
  const isNarrow = blocks <= spill;
  const stride = <usize>blocks << 4;
  // From something unknown to the compiler, which would make a constant anew for each use.
  const lowerHalf = i32x4.splat(0xffff + (spill >> 31));
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
  let ha0 = a0;
  let ha1 = a0;
  let hb0 = a0;
  let hb1 = a0;
  let hc0 = a0;
  let hc1 = a0;
  let hd0 = a0;
  let hd1 = a0;
  while (true) {
    let n = min(blocks, spill);
    blocks -= n;
    for (; n > 0; n--) {
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
    }
    if (isNarrow) break;
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
  let seen = storeRow(p, row, group, other, isNarrow, a0, a1, ha0, ha1);
  seen = i32x4.max_u(seen, storeRow(p, row + 1, group, other, isNarrow, b0, b1, hb0, hb1));
  seen = i32x4.max_u(seen, storeRow(p, row + 2, group, other, isNarrow, c0, c1, hc0, hc1));
  seen = i32x4.max_u(seen, storeRow(p, row + 3, group, other, isNarrow, d0, d1, hd0, hd1));
  if (!anyBad(seen)) return;
  noteBad(p, row, 4, group);
  noteBad(p, row, 4, other);
}

/**
 * One row by the groups whose weights begin at `g` and `h`, two streams, which keep memory busier than one.
 * Weights of 8 bits have multipliers for each 32 k, at `gm` and `hm`: sums of 32 products times those fit i32.
 */
export function rowByTwo<T>(
  p: usize,
  row: i32,
  group: i32,
  other: i32,
  g: usize,
  h: usize,
  gm: usize,
  hm: usize,
): void {
  const spill = sizeof<T>() == 1 ? 4 : word(p, 10);
  let blocks = word(p, 8);
  let a = address(p, 4) + <usize>row * (<usize>blocks << 4);
  const lowerHalf = i32x4.splat(0xffff + (spill >> 31));
  let l0 = i32x4.splat(0);
  let l1 = l0;
  let h0 = l0;
  let h1 = l0;
  while (blocks > 0) {
    let n = min(blocks, spill);
    blocks -= n;
    let s0 = i32x4.splat(0);
    let s1 = s0;
    for (; n > 0; n--) {
      let x = left<First>(a);
      s0 = addDot(s0, x, weights<T, First>(g));
      s1 = addDot(s1, x, weights<T, First>(h));
      x = left<Second>(a);
      s0 = addDot(s0, x, weights<T, Second>(g));
      s1 = addDot(s1, x, weights<T, Second>(h));
      x = left<Third>(a);
      s0 = addDot(s0, x, weights<T, Third>(g));
      s1 = addDot(s1, x, weights<T, Third>(h));
      x = left<Fourth>(a);
      s0 = addDot(s0, x, weights<T, Fourth>(g));
      s1 = addDot(s1, x, weights<T, Fourth>(h));
      a += 16;
      g += 32 * sizeof<T>();
      h += 32 * sizeof<T>();
    }
    if (sizeof<T>() == 1) {
      s0 = i32x4.mul(s0, multipliers(gm));
      s1 = i32x4.mul(s1, multipliers(hm));
      gm += 4;
      hm += 4;
    }
    h0 = addUpper(h0, s0);
    h1 = addUpper(h1, s1);
    l0 = i32x4.add(l0, v128.and(s0, lowerHalf));
    l1 = i32x4.add(l1, v128.and(s1, lowerHalf));
  }
  if (!anyBad(storeRow(p, row, group, other, false, l0, l1, h0, h1))) return;
  noteBad(p, row, 1, group);
  noteBad(p, row, 1, other);
}

/** Four bytes as i32. */
// @ts-ignore: decorator
@inline
function multipliers(at: usize): v128 {
  return i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(at)));
}

/** Stores a row's outputs of two groups and returns a maximum of their bits shifted left by the sign. */
// @ts-ignore: decorator
@inline
function storeRow(
  p: usize,
  row: i32,
  group: i32,
  other: i32,
  isNarrow: bool,
  sums: v128,
  otherSums: v128,
  uppers: v128,
  otherUppers: v128,
): v128 {
  const out = address(p, 12) + <usize>row * (<usize>word(p, 13) << 2);
  const factor = rowFactor(p, row);
  const seen = storeGroup(p, group, out, factor, isNarrow, sums, uppers);
  return i32x4.max_u(seen, storeGroup(p, other, out, factor, isNarrow, otherSums, otherUppers));
}

// @ts-ignore: decorator
@inline
function storeGroup(
  p: usize,
  group: i32,
  row: usize,
  factor: v128,
  isNarrow: bool,
  sums: v128,
  uppers: v128,
): v128 {
  const scales = address(p, 7) + (<usize>group << 5);
  let low = lowPair(sums);
  let high = highPair(sums);
  if (!isNarrow) {
    low = whole(lowPair(uppers), low);
    high = whole(highPair(uppers), high);
  }
  low = f64x2.mul(f64x2.mul(low, v128.load(scales)), factor);
  high = f64x2.mul(f64x2.mul(high, v128.load(scales, 16)), factor);
  const both = v128.shuffle<i64>(
    f32x4.demote_f64x2_zero(low),
    f32x4.demote_f64x2_zero(high),
    0,
    2,
  );
  const value = f32x4.add(both, f32x4.splat(0));
  v128.store(row + (<usize>group << 4), value);
  return i32x4.shl(value, 1);
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
