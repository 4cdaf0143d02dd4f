// Products of integer rows with integer rows (docs/spec/01-numerics.md sections 3 and 18), of any width up to
// 16 bits. A unit is a block of left rows by four right rows. A lane takes `spill` steps of two products, the
// proven bound (one step always fits); then its upper 16 bits move to a second i32, which 2^15 spills fit.
//
// Floats: the sum times D is below 2^53 and powers of two are exact, so rounding to f32 or to a grid is the
// only one. `fromGridRange` keeps an i64 of up to 62 bits in 53, the lowest of which says "and more".

import { addDot, addUpper, keepLower, laneSums, lowPair, whole } from "./dot.as";
import { upper } from "./graph-lanes.as";
import { at4, badLanes, failRow, isBadF32 } from "./graph-record.as";
import { address, word } from "./layout.as";
import { power, roundOnce } from "./scalar.as";

const GRID_LIMIT: f64 = 4611686018427387904.0;

/** Stores one or two neighbours of a row as f32; lanes that are set are not finite. */
// @ts-ignore: decorator
@inline
function storeF32(exact: v128, out: usize, both: bool): v128 {
  const y = f32x4.add(f32x4.demote_f64x2_zero(exact), f32x4.splat(0));
  if (both) {
    v128.store_lane<i64>(out, y, 0);
    return badLanes(y);
  }
  v128.store_lane<i32>(out, y, 0);
  return v128.and(badLanes(y), i32x4.replace_lane(i32x4.splat(0), 0, -1));
}

/** `RNE` of an exact binary64 to a grid; false if out of range. */
// @ts-ignore: decorator
@inline
function storeGrid(exact: f64, out: usize): bool {
  const rounded = nearest<f64>(exact);
  if (!(abs<f64>(rounded) < GRID_LIMIT)) return false;
  store<i64>(out, <i64>rounded);
  return true;
}

/** Stores two neighbours of a row, or the first of them. */
// @ts-ignore: decorator
@inline
function finish(p: usize, exact: v128, row: i32, column: i32, both: bool): void {
  const at = <usize>row * <usize>word(p, 11) + <usize>column;
  let good: bool;
  if (word(p, 16) == 0) {
    good = !v128.any_true(storeF32(exact, address(p, 14) + (at << 2), both));
  } else {
    const out = address(p, 14) + (at << 3);
    good = storeGrid(f64x2.extract_lane(exact, 0), out);
    if (both && !storeGrid(f64x2.extract_lane(exact, 1), out + 8)) good = false;
  }
  if (!good) failRow(p, row);
}

/** `2^(e - G)` of a row, twice. */
// @ts-ignore: decorator
@inline
function rowFactor(p: usize, row: i32): v128 {
  const grid = address(p, 16);
  const e = load<i32>(at4(address(p, 5), row));
  return f64x2.splat(power(grid == 0 ? e : e - load<i32>(grid)));
}

/** Whether all products of a row fit i32. */
// @ts-ignore: decorator
@inline
function isNarrow(p: usize): bool {
  return word(p, 9) <= word(p, 13) << 2;
}

/** Four rows by two columns, the second of which may be the first again. */
function rowsByTwo(p: usize, row: i32, column: i32, w: usize, step: usize, factors: usize): void {
  const bytes = <usize>word(p, 9);
  const spill = <usize>word(p, 13) << 4;
  const narrow = isNarrow(p);
  let a = address(p, 4) + <usize>row * bytes;
  let b = a + bytes;
  let c = b + bytes;
  let d = c + bytes;
  let u = w;
  let v = w + step;
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
  let left = bytes;
  while (true) {
    let n = min(left, spill);
    left -= n;
    for (; n >= 32; n -= 32) {
      let w0 = v128.load(u);
      let w1 = v128.load(v);
      let x = v128.load(a);
      a0 = addDot(a0, x, w0);
      a1 = addDot(a1, x, w1);
      x = v128.load(b);
      b0 = addDot(b0, x, w0);
      b1 = addDot(b1, x, w1);
      x = v128.load(c);
      c0 = addDot(c0, x, w0);
      c1 = addDot(c1, x, w1);
      x = v128.load(d);
      d0 = addDot(d0, x, w0);
      d1 = addDot(d1, x, w1);
      w0 = v128.load(u, 16);
      w1 = v128.load(v, 16);
      x = v128.load(a, 16);
      a0 = addDot(a0, x, w0);
      a1 = addDot(a1, x, w1);
      x = v128.load(b, 16);
      b0 = addDot(b0, x, w0);
      b1 = addDot(b1, x, w1);
      x = v128.load(c, 16);
      c0 = addDot(c0, x, w0);
      c1 = addDot(c1, x, w1);
      x = v128.load(d, 16);
      d0 = addDot(d0, x, w0);
      d1 = addDot(d1, x, w1);
      a += 32;
      b += 32;
      c += 32;
      d += 32;
      u += 32;
      v += 32;
    }
    if (n > 0) {
      const w0 = v128.load(u);
      const w1 = v128.load(v);
      let x = v128.load(a);
      a0 = addDot(a0, x, w0);
      a1 = addDot(a1, x, w1);
      x = v128.load(b);
      b0 = addDot(b0, x, w0);
      b1 = addDot(b1, x, w1);
      x = v128.load(c);
      c0 = addDot(c0, x, w0);
      c1 = addDot(c1, x, w1);
      x = v128.load(d);
      d0 = addDot(d0, x, w0);
      d1 = addDot(d1, x, w1);
      a += 16;
      b += 16;
      c += 16;
      d += 16;
      u += 16;
      v += 16;
    }
    if (narrow) break;
    ha0 = addUpper(ha0, a0);
    a0 = keepLower(a0);
    ha1 = addUpper(ha1, a1);
    a1 = keepLower(a1);
    hb0 = addUpper(hb0, b0);
    b0 = keepLower(b0);
    hb1 = addUpper(hb1, b1);
    b1 = keepLower(b1);
    hc0 = addUpper(hc0, c0);
    c0 = keepLower(c0);
    hc1 = addUpper(hc1, c1);
    c1 = keepLower(c1);
    hd0 = addUpper(hd0, d0);
    d0 = keepLower(d0);
    hd1 = addUpper(hd1, d1);
    d1 = keepLower(d1);
    if (left == 0) break;
  }
  const lowAB = laneSums(a0, a1, b0, b1);
  const lowCD = laneSums(c0, c1, d0, d1);
  let highAB = i32x4.splat(0);
  let highCD = highAB;
  if (!narrow) {
    highAB = laneSums(ha0, ha1, hb0, hb1);
    highCD = laneSums(hc0, hc1, hd0, hd1);
  }
  const scales = v128.load(factors);
  const both = step != 0;
  finish(p, scaled(highAB, lowAB, scales, rowFactor(p, row)), row, column, both);
  const sumB = scaled(upper(highAB), upper(lowAB), scales, rowFactor(p, row + 1));
  finish(p, sumB, row + 1, column, both);
  finish(p, scaled(highCD, lowCD, scales, rowFactor(p, row + 2)), row + 2, column, both);
  const sumD = scaled(upper(highCD), upper(lowCD), scales, rowFactor(p, row + 3));
  finish(p, sumD, row + 3, column, both);
}

// @ts-ignore: decorator
@inline
function scaled(high: v128, low: v128, scales: v128, factor: v128): v128 {
  return f64x2.mul(f64x2.mul(whole(lowPair(high), lowPair(low)), scales), factor);
}

/** One row by four columns, of which `count` are real. */
function rowByFour(p: usize, row: i32, column: i32, w: usize, count: i32, factors: usize): void {
  const bytes = <usize>word(p, 9);
  const spill = <usize>word(p, 13) << 4;
  const narrow = isNarrow(p);
  let a = address(p, 4) + <usize>row * bytes;
  let w0 = w;
  // Rows past the last are not read: the last stands in for them.
  let w1 = count > 1 ? w0 + bytes : w0;
  let w2 = count > 2 ? w1 + bytes : w1;
  let w3 = count > 3 ? w2 + bytes : w2;
  let s0 = i32x4.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  let h0 = s0;
  let h1 = s0;
  let h2 = s0;
  let h3 = s0;
  let left = bytes;
  while (true) {
    let n = min(left, spill);
    left -= n;
    for (; n > 0; n -= 16) {
      const x = v128.load(a);
      s0 = addDot(s0, x, v128.load(w0));
      s1 = addDot(s1, x, v128.load(w1));
      s2 = addDot(s2, x, v128.load(w2));
      s3 = addDot(s3, x, v128.load(w3));
      a += 16;
      w0 += 16;
      w1 += 16;
      w2 += 16;
      w3 += 16;
    }
    if (narrow) break;
    h0 = addUpper(h0, s0);
    s0 = keepLower(s0);
    h1 = addUpper(h1, s1);
    s1 = keepLower(s1);
    h2 = addUpper(h2, s2);
    s2 = keepLower(s2);
    h3 = addUpper(h3, s3);
    s3 = keepLower(s3);
    if (left == 0) break;
  }
  const low = laneSums(s0, s1, s2, s3);
  const high = laneSums(h0, h1, h2, h3);
  const factor = rowFactor(p, row);
  finish(p, scaled(high, low, v128.load(factors), factor), row, column, count > 1);
  if (count <= 2) return;
  const rest = scaled(upper(high), upper(low), v128.load(factors, 16), factor);
  finish(p, rest, row, column + 2, count > 3);
}

/**
 * [4] left, [5] left exponents, [6] right, [7] right exponents, [8] right scales or 0, [9] bytes of a row,
 * [10] rows, [11] columns, [12] rows a block, [13] steps before a spill, [14] out, [15] 1 if each batch has
 * its own right operand, [16] address of the grid's exponent or 0
 */
export function matmulRange(p: usize, scratch: usize, from: i32, to: i32): void {
  const rows = word(p, 10);
  const columns = word(p, 11);
  const rowsABlock = word(p, 12);
  const groups = (columns + 3) >> 2;
  const blocks = (rows + rowsABlock - 1) / rowsABlock;
  for (let unit = from; unit < to; unit++) {
    const group = unit % groups;
    const block = (unit / groups) % blocks;
    const batch = unit / (groups * blocks);
    const first = block * rowsABlock;
    matmulUnit(p, scratch, batch, first, min(rows, first + rowsABlock), group << 2);
  }
}

function matmulUnit(p: usize, factors: usize, batch: i32, first: i32, end: i32, column: i32): void {
  const bytes = <usize>word(p, 9);
  const rows = word(p, 10);
  const columns = word(p, 11);
  const count = min(4, columns - column);
  const rightRow = batch * word(p, 15) * columns + column;
  const w = address(p, 6) + <usize>rightRow * bytes;
  for (let c = 0; c < 4; c++) {
    const own = rightRow + min(c, count - 1);
    const scale = address(p, 8) == 0 ? 1 : load<i32>(at4(address(p, 8), own));
    const e = load<i32>(at4(address(p, 7), own));
    store<f64>(factors + (<usize>c << 3), <f64>scale * power(e));
  }
  let row = batch * rows + first;
  const stop = batch * rows + end;
  // Where a spill comes every few steps, more sums at a time than registers hold would only move about; and rows
  // without bytes all begin at one place, which `rowsByTwo` would take for a single column.
  const four = word(p, 13) >= 4 && bytes > 0 ? 4 : 0x40000000;
  for (; row <= stop - four; row += 4) {
    rowsByTwo(p, row, column, w, count > 1 ? bytes : 0, factors);
    if (count <= 2) continue;
    rowsByTwo(p, row, column + 2, w + 2 * bytes, count > 3 ? bytes : 0, factors + 16);
  }
  for (; row < stop; row++) rowByFour(p, row, column, w, count, factors);
}

/** One unit: [4] address of a grid's exponent; row 0 fails if it is out of range */
export function checkGrid(p: usize): void {
  const exponent = load<i32>(address(p, 4));
  if (exponent < -400 || exponent > 200) failRow(p, 0);
}

/** [4] x, [5] columns, [6] out, [7] address of the grid's exponent; a unit is an element */
export function toGridRange(p: usize, from: i32, to: i32): void {
  const factor = power(-load<i32>(address(p, 7)));
  for (let i = from; i < to; i++) {
    const exact = <f64>load<f32>(at4(address(p, 4), i)) * factor;
    if (storeGrid(exact, address(p, 6) + (<usize>i << 3))) continue;
    failRow(p, i / word(p, 5));
    return;
  }
}

/** [4] a, [5] columns, [6] out, [7] b */
export function gridAddRange(p: usize, from: i32, to: i32): void {
  const limit = <i64>1 << 62;
  for (let i = from; i < to; i++) {
    const at = <usize>i << 3;
    const a = load<i64>(address(p, 4) + at);
    const b = load<i64>(address(p, 7) + at);
    const sum = a + b;
    const wraps = ((a ^ sum) & (b ^ sum)) < 0;
    store<i64>(address(p, 6) + at, sum);
    if (!wraps && sum < limit && sum > -limit) continue;
    failRow(p, i / word(p, 5));
    return;
  }
}

/** [4] values, [5] columns, [6] out, [7] address of the grid's exponent */
export function fromGridRange(p: usize, from: i32, to: i32): void {
  const e = load<i32>(address(p, 7));
  for (let i = from; i < to; i++) {
    const value = load<i64>(address(p, 4) + (<usize>i << 3));
    let m = <u64>(value < 0 ? -value : value);
    const down = max(0, 11 - <i32>clz<u64>(m));
    const rest = m & ((<u64>1 << down) - 1);
    m >>= down;
    if (rest != 0) m |= 1;
    const magnitude = roundOnce(<f64>m * power(e + down));
    store<f32>(at4(address(p, 6), i), value < 0 ? (magnitude == 0 ? 0 : -magnitude) : magnitude);
    if (!isBadF32(magnitude)) continue;
    failRow(p, i / word(p, 5));
    return;
  }
}
