// Products of integer rows with integer rows (docs/spec/01-numerics.md sections 3 and 18), of any width up to
// 16 bits. A unit is a block of left rows by four right rows. Partial sums stay in i32 for `spill` steps, the
// proven bound (one step of two products always fits), and then move to i64.
//
// Floats: the sum times D is below 2^53 and powers of two are exact, so rounding to f32 or to a grid is the
// only one. `sticky` keeps an i64 of up to 62 bits in 53 whose lowest says "and more".

import { at4, failRow, isBadF32 } from "./graph-record.as";
import { address, word } from "./layout.as";
import { power, roundOnce } from "./scalar.as";

const GRID_LIMIT: f64 = 4611686018427387904.0;

// @ts-ignore: decorator
@inline
function widen(sum: v128, partial: v128): v128 {
  return i64x2.add(
    sum,
    i64x2.add(i64x2.extend_low_i32x4_s(partial), i64x2.extend_high_i32x4_s(partial)),
  );
}

// @ts-ignore: decorator
@inline
function keep(out: usize, place: usize, sum: v128): void {
  store<i64>(out + (place << 3), i64x2.extract_lane(sum, 0) + i64x2.extract_lane(sum, 1));
}

/** Two rows by four: eight sums as i64. */
function tile2(
  a0: usize,
  a1: usize,
  w0: usize,
  w1: usize,
  w2: usize,
  w3: usize,
  bytes: usize,
  spill: usize,
  out: usize,
): void {
  let s0 = i64x2.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  let t0 = s0;
  let t1 = s0;
  let t2 = s0;
  let t3 = s0;
  let i: usize = 0;
  while (i < bytes) {
    const end = min(bytes, i + spill);
    let p0 = i32x4.splat(0);
    let p1 = p0;
    let p2 = p0;
    let p3 = p0;
    let q0 = p0;
    let q1 = p0;
    let q2 = p0;
    let q3 = p0;
    for (; i < end; i += 16) {
      const x = v128.load(a0 + i);
      const y = v128.load(a1 + i);
      let w = v128.load(w0 + i);
      p0 = i32x4.add(p0, i32x4.dot_i16x8_s(x, w));
      q0 = i32x4.add(q0, i32x4.dot_i16x8_s(y, w));
      w = v128.load(w1 + i);
      p1 = i32x4.add(p1, i32x4.dot_i16x8_s(x, w));
      q1 = i32x4.add(q1, i32x4.dot_i16x8_s(y, w));
      w = v128.load(w2 + i);
      p2 = i32x4.add(p2, i32x4.dot_i16x8_s(x, w));
      q2 = i32x4.add(q2, i32x4.dot_i16x8_s(y, w));
      w = v128.load(w3 + i);
      p3 = i32x4.add(p3, i32x4.dot_i16x8_s(x, w));
      q3 = i32x4.add(q3, i32x4.dot_i16x8_s(y, w));
    }
    s0 = widen(s0, p0);
    s1 = widen(s1, p1);
    s2 = widen(s2, p2);
    s3 = widen(s3, p3);
    t0 = widen(t0, q0);
    t1 = widen(t1, q1);
    t2 = widen(t2, q2);
    t3 = widen(t3, q3);
  }
  keep(out, 0, s0);
  keep(out, 1, s1);
  keep(out, 2, s2);
  keep(out, 3, s3);
  keep(out, 4, t0);
  keep(out, 5, t1);
  keep(out, 6, t2);
  keep(out, 7, t3);
}

/** One row by four: four sums as i64. */
function tile1(
  a0: usize,
  w0: usize,
  w1: usize,
  w2: usize,
  w3: usize,
  bytes: usize,
  spill: usize,
  out: usize,
): void {
  let s0 = i64x2.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  let i: usize = 0;
  while (i < bytes) {
    const end = min(bytes, i + spill);
    let p0 = i32x4.splat(0);
    let p1 = p0;
    let p2 = p0;
    let p3 = p0;
    for (; i < end; i += 16) {
      const x = v128.load(a0 + i);
      p0 = i32x4.add(p0, i32x4.dot_i16x8_s(x, v128.load(w0 + i)));
      p1 = i32x4.add(p1, i32x4.dot_i16x8_s(x, v128.load(w1 + i)));
      p2 = i32x4.add(p2, i32x4.dot_i16x8_s(x, v128.load(w2 + i)));
      p3 = i32x4.add(p3, i32x4.dot_i16x8_s(x, v128.load(w3 + i)));
    }
    s0 = widen(s0, p0);
    s1 = widen(s1, p1);
    s2 = widen(s2, p2);
    s3 = widen(s3, p3);
  }
  keep(out, 0, s0);
  keep(out, 1, s1);
  keep(out, 2, s2);
  keep(out, 3, s3);
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

function matmulUnit(p: usize, sums: usize, batch: i32, first: i32, end: i32, column: i32): void {
  const bytes = <usize>word(p, 9);
  const rows = word(p, 10);
  const columns = word(p, 11);
  const spill = <usize>word(p, 13) << 4;
  const count = min(4, columns - column);
  const rightRow = batch * word(p, 15) * columns + column;
  const w0 = address(p, 6) + <usize>rightRow * bytes;
  // Rows past the last are not read: the last stands in for them.
  const w1 = count > 1 ? w0 + bytes : w0;
  const w2 = count > 2 ? w1 + bytes : w1;
  const w3 = count > 3 ? w2 + bytes : w2;
  const factors = sums + 64;
  for (let c = 0; c < count; c++) {
    const scale = address(p, 8) == 0 ? 1 : load<i32>(at4(address(p, 8), rightRow + c));
    const e = load<i32>(at4(address(p, 7), rightRow + c));
    store<f64>(factors + (<usize>c << 3), <f64>scale * power(e));
  }
  let r = first;
  while (r < end) {
    const row = batch * rows + r;
    const a = address(p, 4) + <usize>row * bytes;
    const pair = r + 2 <= end ? 2 : 1;
    if (pair == 2) tile2(a, a + bytes, w0, w1, w2, w3, bytes, spill, sums);
    else tile1(a, w0, w1, w2, w3, bytes, spill, sums);
    for (let i = 0; i < pair; i++) {
      finishRow(p, sums + (<usize>i << 5), factors, row + i, column, count);
    }
    r += pair;
  }
}

function finishRow(p: usize, sums: usize, factors: usize, row: i32, column: i32, count: i32): void {
  const grid = address(p, 16);
  const at = <usize>row * <usize>word(p, 11) + <usize>column;
  let e = load<i32>(at4(address(p, 5), row));
  let good = true;
  if (grid != 0) e -= load<i32>(grid);
  const factor = power(e);
  for (let c = 0; c < count; c++) {
    const place = <usize>c << 3;
    const exact = <f64>load<i64>(sums + place) * load<f64>(factors + place) * factor;
    if (grid != 0) {
      if (!storeGrid(exact, address(p, 14) + ((at + <usize>c) << 3))) good = false;
      continue;
    }
    const y = roundOnce(exact);
    store<f32>(address(p, 14) + ((at + <usize>c) << 2), y);
    if (isBadF32(y)) good = false;
  }
  if (!good) failRow(p, row);
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
