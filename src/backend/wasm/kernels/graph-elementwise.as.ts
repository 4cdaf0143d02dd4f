// Elementwise ops that the CPU itself computes (docs/spec/01-numerics.md sections 14 and 15). A unit is an
// element, of 4 bytes unless said otherwise; a bool is an i32 0 or 1.
//
// Floats: add, sub, mul, div, sqrt of binary32 are rounded once by IEEE 754; the sum with +0 turns -0 into
// +0. min, max and comparisons round nothing. Conversions from i32 round once; `nearest` is RNE.

import { address, word } from "./layout.as";
import { at4, badLanes, failFirst } from "./graph-record.as";

// @ts-ignore: decorator
@inline
function binaryF32(op: i32, x: v128, y: v128): v128 {
  if (op == 0) return f32x4.add(x, y);
  if (op == 1) return f32x4.sub(x, y);
  if (op == 2) return f32x4.add(f32x4.mul(x, y), f32x4.splat(0));
  if (op == 3) return f32x4.add(f32x4.div(x, y), f32x4.splat(0));
  // Without NaN and -0 these are minimum and maximum.
  if (op == 4) return f32x4.pmin(x, y);
  return f32x4.pmax(x, y);
}

// @ts-ignore: decorator
@inline
function unaryF32(op: i32, x: v128): v128 {
  if (op == 0) return f32x4.sub(f32x4.splat(0), x);
  if (op == 1) return f32x4.abs(x);
  if (op == 2) return f32x4.sqrt(x);
  return f32x4.pmax(x, f32x4.splat(0));
}

// @ts-ignore: decorator
@inline
function binaryI32(op: i32, x: v128, y: v128): v128 {
  if (op == 0) return i32x4.add(x, y);
  if (op == 1) return i32x4.sub(x, y);
  if (op == 2) return i32x4.mul(x, y);
  if (op == 4) return i32x4.min_s(x, y);
  if (op == 5) return i32x4.max_s(x, y);
  const one = i32x4.splat(1);
  if (op == 6) return v128.and(f32x4.eq(x, y), one);
  if (op == 7) return v128.and(f32x4.lt(x, y), one);
  if (op == 8) return v128.and(f32x4.le(x, y), one);
  if (op == 9) return v128.and(i32x4.eq(x, y), one);
  if (op == 10) return v128.and(i32x4.lt_s(x, y), one);
  if (op == 11) return v128.and(i32x4.le_s(x, y), one);
  if (op == 12) return v128.and(x, y);
  if (op == 13) return v128.or(x, y);
  return v128.xor(x, one);
}

// @ts-ignore: decorator
@inline
function convertLanes(op: i32, x: v128): v128 {
  if (op == 0) return f32x4.convert_i32x4_s(x);
  return i32x4.trunc_sat_f32x4_s(f32x4.nearest(x));
}

/** Returns lanes that are set where a result is not finite. */
// @ts-ignore: decorator
@inline
function loopF32(op: i32, a: usize, b: usize, out: usize, from: i32, to: i32): v128 {
  let bad = i32x4.splat(0);
  let i = from;
  for (; i + 8 <= to; i += 8) {
    const r = binaryF32(op, v128.load(at4(a, i)), v128.load(at4(b, i)));
    const s = binaryF32(op, v128.load(at4(a, i), 16), v128.load(at4(b, i), 16));
    v128.store(at4(out, i), r);
    v128.store(at4(out, i), s, 16);
    bad = v128.or(bad, v128.or(badLanes(r), badLanes(s)));
  }
  const first = i32x4.replace_lane(i32x4.splat(0), 0, -1);
  for (; i < to; i++) {
    const r = binaryF32(op, v128.load32_zero(at4(a, i)), v128.load32_zero(at4(b, i)));
    v128.store_lane<f32>(at4(out, i), r, 0);
    bad = v128.or(bad, v128.and(first, badLanes(r)));
  }
  return bad;
}

/** [4] a, [5] b, [6] out, [7] columns, [8] add sub mul div min max */
export function binaryRange(p: usize, from: i32, to: i32): void {
  const a = address(p, 4);
  const b = address(p, 5);
  const out = address(p, 6);
  let bad: v128;
  switch (word(p, 8)) {
    case 0:
      bad = loopF32(0, a, b, out, from, to);
      break;
    case 1:
      bad = loopF32(1, a, b, out, from, to);
      break;
    case 2:
      bad = loopF32(2, a, b, out, from, to);
      break;
    case 3:
      bad = loopF32(3, a, b, out, from, to);
      break;
    case 4:
      bad = loopF32(4, a, b, out, from, to);
      break;
    default:
      bad = loopF32(5, a, b, out, from, to);
  }
  if (v128.any_true(bad)) failFirst(p, out, from, to, word(p, 7));
}

// @ts-ignore: decorator
@inline
function loopUnary(op: i32, x: usize, out: usize, from: i32, to: i32): v128 {
  let bad = i32x4.splat(0);
  let i = from;
  for (; i + 4 <= to; i += 4) {
    const r = unaryF32(op, v128.load(at4(x, i)));
    v128.store(at4(out, i), r);
    bad = v128.or(bad, badLanes(r));
  }
  for (; i < to; i++) {
    const r = unaryF32(op, v128.load32_zero(at4(x, i)));
    v128.store_lane<f32>(at4(out, i), r, 0);
    bad = v128.or(bad, badLanes(r));
  }
  return bad;
}

/** [4] x, [5] -, [6] out, [7] columns, [8] neg abs sqrt relu */
export function simpleUnaryRange(p: usize, from: i32, to: i32): void {
  const x = address(p, 4);
  const out = address(p, 6);
  let bad: v128;
  switch (word(p, 8)) {
    case 0:
      bad = loopUnary(0, x, out, from, to);
      break;
    case 1:
      bad = loopUnary(1, x, out, from, to);
      break;
    case 2:
      bad = loopUnary(2, x, out, from, to);
      break;
    default:
      bad = loopUnary(3, x, out, from, to);
  }
  if (v128.any_true(bad)) failFirst(p, out, from, to, word(p, 7));
}

// @ts-ignore: decorator
@inline
function loopI32(op: i32, a: usize, b: usize, out: usize, from: i32, to: i32): void {
  let i = from;
  for (; i + 4 <= to; i += 4) {
    v128.store(at4(out, i), binaryI32(op, v128.load(at4(a, i)), v128.load(at4(b, i))));
  }
  for (; i < to; i++) {
    const r = binaryI32(op, v128.load32_zero(at4(a, i)), v128.load32_zero(at4(b, i)));
    v128.store_lane<i32>(at4(out, i), r, 0);
  }
}

/**
 * [4] a, [5] b, [6] out, [7] -, [8] i32 add sub mul - min max; f32 then i32 equal, less, less-or-equal;
 * and, or, not
 */
export function integerRange(p: usize, from: i32, to: i32): void {
  const a = address(p, 4);
  const b = address(p, 5);
  const out = address(p, 6);
  switch (word(p, 8)) {
    case 0:
      return loopI32(0, a, b, out, from, to);
    case 1:
      return loopI32(1, a, b, out, from, to);
    case 2:
      return loopI32(2, a, b, out, from, to);
    case 4:
      return loopI32(4, a, b, out, from, to);
    case 5:
      return loopI32(5, a, b, out, from, to);
    case 6:
      return loopI32(6, a, b, out, from, to);
    case 7:
      return loopI32(7, a, b, out, from, to);
    case 8:
      return loopI32(8, a, b, out, from, to);
    case 9:
      return loopI32(9, a, b, out, from, to);
    case 10:
      return loopI32(10, a, b, out, from, to);
    case 11:
      return loopI32(11, a, b, out, from, to);
    case 12:
      return loopI32(12, a, b, out, from, to);
    case 13:
      return loopI32(13, a, b, out, from, to);
    default:
      return loopI32(14, a, b, out, from, to);
  }
}

/** [4] condition, [5] a, [6] out, [7] b */
export function selectRange(p: usize, from: i32, to: i32): void {
  const condition = address(p, 4);
  const a = address(p, 5);
  const b = address(p, 7);
  const out = address(p, 6);
  let i = from;
  const zero = i32x4.splat(0);
  for (; i + 4 <= to; i += 4) {
    const mask = i32x4.ne(v128.load(at4(condition, i)), zero);
    v128.store(
      at4(out, i),
      v128.bitselect(v128.load(at4(a, i)), v128.load(at4(b, i)), mask),
    );
  }
  for (; i < to; i++) {
    const source = load<i32>(at4(condition, i)) != 0 ? a : b;
    store<i32>(at4(out, i), load<i32>(at4(source, i)));
  }
}

/** [4] x, [5] -, [6] out, [7] -, [8] 0: i32 to f32, 1: f32 to i32 */
export function convertRange(p: usize, from: i32, to: i32): void {
  const x = address(p, 4);
  const out = address(p, 6);
  const toF32 = word(p, 8) == 0;
  let i = from;
  for (; i + 4 <= to; i += 4) {
    const lanes = v128.load(at4(x, i));
    v128.store(at4(out, i), toF32 ? convertLanes(0, lanes) : convertLanes(1, lanes));
  }
  for (; i < to; i++) {
    const lanes = v128.load32_zero(at4(x, i));
    v128.store_lane<i32>(at4(out, i), toF32 ? convertLanes(0, lanes) : convertLanes(1, lanes), 0);
  }
}
