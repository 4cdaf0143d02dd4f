// Integer matrix products (docs/spec/01-numerics.md section 3). Weights lie in groups of four columns:
// for each block of 8 k, four times 8 mantissas. Partial sums stay in i32 for `spill` blocks, the proven
// bound, and then move to i64.
//
// Floats: the sum times D is below 2^53, D * 2^e is stored as binary64, so `sum * D2e * 2^ea` is exact and
// the demotion rounds once.

import { isBad, markBad, power, roundOnce } from "./scalar.as";

/** Eight mantissas as i16. */
// @ts-ignore: decorator
@inline
function weights<T>(at: usize, immediate: usize): v128 {
  if (sizeof<T>() == 1) return v128.load_ext<i8>(at + immediate);
  return v128.load(at + 2 * immediate);
}

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
function finish(sum: v128, scale: usize, rowFactor: f64, out: usize): i32 {
  const total = i64x2.extract_lane(sum, 0) + i64x2.extract_lane(sum, 1);
  const value = roundOnce(<f64>total * load<f64>(scale) * rowFactor);
  store<f32>(out, value);
  return reinterpret<i32>(value) & 0x7fffffff;
}

/** One row by four columns; returns a mask of columns that are not finite. */
function tile1<T>(
  a: usize,
  w: usize,
  blocks: i32,
  spill: i32,
  scale: usize,
  rowFactor: f64,
  out: usize,
): i32 {
  let s0 = i64x2.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  while (blocks > 0) {
    let n = min(blocks, spill);
    blocks -= n;
    let p0 = i32x4.splat(0);
    let p1 = p0;
    let p2 = p0;
    let p3 = p0;
    for (; n >= 2; n -= 2) {
      const x = v128.load(a);
      const y = v128.load(a, 16);
      p0 = i32x4.add(p0, i32x4.dot_i16x8_s(x, weights<T>(w, 0)));
      p1 = i32x4.add(p1, i32x4.dot_i16x8_s(x, weights<T>(w, 8)));
      p2 = i32x4.add(p2, i32x4.dot_i16x8_s(x, weights<T>(w, 16)));
      p3 = i32x4.add(p3, i32x4.dot_i16x8_s(x, weights<T>(w, 24)));
      p0 = i32x4.add(p0, i32x4.dot_i16x8_s(y, weights<T>(w, 32)));
      p1 = i32x4.add(p1, i32x4.dot_i16x8_s(y, weights<T>(w, 40)));
      p2 = i32x4.add(p2, i32x4.dot_i16x8_s(y, weights<T>(w, 48)));
      p3 = i32x4.add(p3, i32x4.dot_i16x8_s(y, weights<T>(w, 56)));
      a += 32;
      w += 64 * sizeof<T>();
    }
    if (n > 0) {
      const x = v128.load(a);
      p0 = i32x4.add(p0, i32x4.dot_i16x8_s(x, weights<T>(w, 0)));
      p1 = i32x4.add(p1, i32x4.dot_i16x8_s(x, weights<T>(w, 8)));
      p2 = i32x4.add(p2, i32x4.dot_i16x8_s(x, weights<T>(w, 16)));
      p3 = i32x4.add(p3, i32x4.dot_i16x8_s(x, weights<T>(w, 24)));
      a += 16;
      w += 32 * sizeof<T>();
    }
    s0 = widen(s0, p0);
    s1 = widen(s1, p1);
    s2 = widen(s2, p2);
    s3 = widen(s3, p3);
  }
  let bad = isBad(finish(s0, scale, rowFactor, out)) ? 1 : 0;
  if (isBad(finish(s1, scale + 8, rowFactor, out + 4))) bad |= 2;
  if (isBad(finish(s2, scale + 16, rowFactor, out + 8))) bad |= 4;
  if (isBad(finish(s3, scale + 24, rowFactor, out + 12))) bad |= 8;
  return bad;
}

/** Two rows by four columns: each weight is loaded once. Returns the mask of tile1, row 1 from bit 4. */
function tile2<T>(
  a: usize,
  stride: usize,
  w: usize,
  blocks: i32,
  spill: i32,
  scale: usize,
  factor0: f64,
  factor1: f64,
  out: usize,
  outStride: usize,
): i32 {
  let s0 = i64x2.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  let t0 = s0;
  let t1 = s0;
  let t2 = s0;
  let t3 = s0;
  while (blocks > 0) {
    let n = min(blocks, spill);
    blocks -= n;
    let p0 = i32x4.splat(0);
    let p1 = p0;
    let p2 = p0;
    let p3 = p0;
    let q0 = p0;
    let q1 = p0;
    let q2 = p0;
    let q3 = p0;
    for (; n > 0; --n) {
      const x = v128.load(a);
      const y = v128.load(a + stride);
      const w0 = weights<T>(w, 0);
      p0 = i32x4.add(p0, i32x4.dot_i16x8_s(x, w0));
      q0 = i32x4.add(q0, i32x4.dot_i16x8_s(y, w0));
      const w1 = weights<T>(w, 8);
      p1 = i32x4.add(p1, i32x4.dot_i16x8_s(x, w1));
      q1 = i32x4.add(q1, i32x4.dot_i16x8_s(y, w1));
      const w2 = weights<T>(w, 16);
      p2 = i32x4.add(p2, i32x4.dot_i16x8_s(x, w2));
      q2 = i32x4.add(q2, i32x4.dot_i16x8_s(y, w2));
      const w3 = weights<T>(w, 24);
      p3 = i32x4.add(p3, i32x4.dot_i16x8_s(x, w3));
      q3 = i32x4.add(q3, i32x4.dot_i16x8_s(y, w3));
      a += 16;
      w += 32 * sizeof<T>();
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
  let bad = isBad(finish(s0, scale, factor0, out)) ? 1 : 0;
  if (isBad(finish(s1, scale + 8, factor0, out + 4))) bad |= 2;
  if (isBad(finish(s2, scale + 16, factor0, out + 8))) bad |= 4;
  if (isBad(finish(s3, scale + 24, factor0, out + 12))) bad |= 8;
  out += outStride;
  if (isBad(finish(t0, scale, factor1, out))) bad |= 16;
  if (isBad(finish(t1, scale + 8, factor1, out + 4))) bad |= 32;
  if (isBad(finish(t2, scale + 16, factor1, out + 8))) bad |= 64;
  if (isBad(finish(t3, scale + 24, factor1, out + 12))) bad |= 128;
  return bad;
}

/** Where a product's columns belong to different ops: `index + 1` from `second`, `index + 2` from `third`. */
function noteBad(
  mask: i32,
  row: i32,
  column: i32,
  status: usize,
  index: i32,
  second: i32,
  third: i32,
): void {
  for (let i = 0; i < 4; i++) {
    if ((mask & (1 << i)) == 0) continue;
    const c = column + i;
    markBad(status, row, index + (c >= second ? 1 : 0) + (c >= third ? 1 : 0));
  }
}

/** All rows by the column groups `from` to `to`. Strides: `blocks * 16` bytes left, `outStride` right. */
export function matmulGroups<T>(
  a: usize,
  exponents: usize,
  rows: i32,
  w: usize,
  scales: usize,
  blocks: i32,
  spill: i32,
  from: i32,
  to: i32,
  out: usize,
  outStride: usize,
  status: usize,
  index: i32,
  second: i32,
  third: i32,
): void {
  const stride = <usize>blocks << 4;
  const groupBytes = (<usize>blocks * 32) * sizeof<T>();
  for (let group = from; group < to; group++) {
    const columns = w + <usize>group * groupBytes;
    const scale = scales + (<usize>group << 5);
    const column = group << 2;
    let r = 0;
    for (; r + 2 <= rows; r += 2) {
      const left = a + <usize>r * stride;
      const target = out + <usize>r * outStride + (<usize>column << 2);
      const factor0 = power(load<i32>(exponents + (<usize>r << 2)));
      const factor1 = power(load<i32>(exponents + (<usize>r << 2) + 4));
      const bad = tile2<T>(
        left,
        stride,
        columns,
        blocks,
        spill,
        scale,
        factor0,
        factor1,
        target,
        outStride,
      );
      if (bad == 0) continue;
      noteBad(bad & 15, r, column, status, index, second, third);
      noteBad(bad >> 4, r + 1, column, status, index, second, third);
    }
    if (r < rows) {
      const left = a + <usize>r * stride;
      const target = out + <usize>r * outStride + (<usize>column << 2);
      const factor = power(load<i32>(exponents + (<usize>r << 2)));
      const bad = tile1<T>(left, columns, blocks, spill, scale, factor, target);
      if (bad != 0) noteBad(bad, r, column, status, index, second, third);
    }
  }
}
