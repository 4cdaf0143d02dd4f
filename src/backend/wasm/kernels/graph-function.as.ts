// The functions of section 15 that are integer programs, four elements at a time. A unit is an element.
//
// Floats: an f32 times an integer of at most 29 bits is exact in binary64, powers of two are too, so each
// `roundLanes` is the only rounding. A quotient of integers below 2^33 has the floor of the true one, as
// it is 2^-17 or more from the next integer unless it is one.

import {
  exp2Lanes,
  highF64,
  lookLanes,
  lowF64,
  powersOfTwo,
  roundLanes,
  scoreLanes,
  upper,
} from "./graph-lanes.as";
import {
  at4,
  badLanes,
  ERF,
  failFirst,
  LOG,
  LOG_CURVE,
  TABLES,
  TAIL,
  TAIL_TANH,
  TANH,
} from "./graph-record.as";
import { address, EXP2, word } from "./layout.as";

const NOT_A_NUMBER: i32 = 0x7fc00000;
/** `RNE(2^24 ln 2)`. */
const LOG_TWO: i32 = 11629080;
/** `G * 2^-6` of section 9: from x to Q16 powers of two. */
export const NATURAL: f64 = 94548.46875;
const BINARY: f64 = 65536.0;

/** All ones where x is below 0. */
// @ts-ignore: decorator
@inline
function negative(x: v128): v128 {
  return i32x4.shr_s(x, 31);
}

/** Bits of an i32x4 mask for the two f64 lanes of one half. */
// @ts-ignore: decorator
@inline
function wideMask(mask: v128): v128 {
  return i64x2.extend_low_i32x4_s(mask);
}

/** `R32(exp2_fraction(z & 65535) * 2^(n-15))`: beyond 400 places it is 0 or an infinity, as at 400. */
// @ts-ignore: decorator
@inline
function exponential(table: usize, x: v128, factor: f64): v128 {
  const t = scoreLanes(f32x4.abs(x), factor);
  const sign = negative(x);
  const z = i32x4.sub(v128.xor(t, sign), sign);
  const u = exp2Lanes(table, z);
  const n = i32x4.min_s(i32x4.max_s(i32x4.shr_s(z, 16), i32x4.splat(-400)), i32x4.splat(400));
  const e = i32x4.sub(n, i32x4.splat(15));
  return roundLanes(
    f64x2.mul(f64x2.convert_low_i32x4_u(u), powersOfTwo(e)),
    f64x2.mul(f64x2.convert_low_i32x4_u(upper(u)), powersOfTwo(upper(e))),
  );
}

/** Two quotients of section 9, times their power of two. */
// @ts-ignore: decorator
@inline
function sigmoidPair(u: v128, k: v128, sign: v128): v128 {
  const wide = f64x2.convert_low_i32x4_u(u);
  const fall = powersOfTwo(i32x4.neg(k));
  const e = f64x2.floor(f64x2.mul(wide, fall));
  const mask = wideMask(sign);
  const numerator = v128.bitselect(
    f64x2.mul(wide, f64x2.splat(65536.0)),
    f64x2.splat(2147483648.0),
    mask,
  );
  const q = f64x2.floor(f64x2.div(numerator, f64x2.add(e, f64x2.splat(32768.0))));
  const scale = v128.bitselect(fall, f64x2.splat(1), mask);
  return f64x2.mul(f64x2.mul(q, f64x2.splat(0.0000152587890625)), scale);
}

/** sigmoid, or silu: x times it. Below 2^-300 every product rounds to 0, as for the true k. */
// @ts-ignore: decorator
@inline
export function sigmoid(table: usize, x: v128, isSilu: bool): v128 {
  const z = i32x4.neg(scoreLanes(f32x4.abs(x), NATURAL));
  const k = i32x4.min_s(i32x4.neg(i32x4.shr_s(z, 16)), i32x4.splat(300));
  const u = exp2Lanes(table, z);
  const sign = negative(x);
  let low = sigmoidPair(u, k, sign);
  let high = sigmoidPair(upper(u), upper(k), upper(sign));
  if (isSilu) {
    low = f64x2.mul(low, lowF64(x));
    high = f64x2.mul(high, highF64(x));
  }
  return roundLanes(low, high);
}

/**
 * `floor(sqrt(2^56 / v))` of two integers in [2^22, 2^24). The binary64 root is never too small, and too large
 * by one only where the quotient was rounded up to a square: the integers decide.
 */
// @ts-ignore: decorator
@inline
function rootPair(v: v128): v128 {
  const quotient = f64x2.div(f64x2.splat(72057594037927936.0), f64x2.convert_low_i32x4_u(v));
  const root = i32x4.trunc_sat_f64x2_u_zero(f64x2.sqrt(quotient));
  const wide = i64x2.extend_low_i32x4_u(root);
  const square = i64x2.mul(i64x2.mul(wide, wide), i64x2.extend_low_i32x4_u(v));
  const isAbove = i64x2.gt_s(square, i64x2.splat(72057594037927936));
  return i64x2.add(wide, isAbove);
}

// @ts-ignore: decorator
@inline
function inverseRootLanes(x: v128): v128 {
  const isSmall = f32x4.lt(x, f32x4.splat(1.1754943508222875e-38));
  const scaled = v128.bitselect(f32x4.mul(x, f32x4.splat(16777216)), x, isSmall);
  const field = i32x4.shr_u(scaled, 23);
  const m = v128.or(v128.and(scaled, i32x4.splat(0x7fffff)), i32x4.splat(0x800000));
  // E of the scaled value, and half of it rounded up; a factor of 2^24 is 12 in j.
  const e = i32x4.sub(field, i32x4.splat(150));
  const odd = v128.and(e, i32x4.splat(1));
  const isOdd = i32x4.neg(odd);
  const v = v128.bitselect(i32x4.shr_u(m, 1), m, isOdd);
  const j = i32x4.sub(
    i32x4.shr_s(i32x4.add(e, odd), 1),
    v128.and(isSmall, i32x4.splat(12)),
  );
  const root = v128.shuffle<i32>(rootPair(v), rootPair(upper(v)), 0, 2, 4, 6);
  // The root has 17 bits and the result is normal: both factors and the product are exact in binary32.
  const scale = i32x4.shl(i32x4.sub(i32x4.splat(127 - 28), j), 23);
  const y = f32x4.mul(f32x4.convert_i32x4_s(root), scale);
  return v128.bitselect(y, i32x4.splat(NOT_A_NUMBER), f32x4.gt(x, f32x4.splat(0)));
}

/** `LN(f)` of section 15. The largest product is 65408 * 32767 < 2^31 - 2^14. */
// @ts-ignore: decorator
@inline
function logMantissas(tables: usize, f: v128): v128 {
  const places = i32x4.shl(i32x4.shr_u(f, 15), 2);
  let first = i64x2.splat(0);
  let second = first;
  let curve = first;
  const at0 = tables + <usize>i32x4.extract_lane(places, 0);
  const at1 = tables + <usize>i32x4.extract_lane(places, 1);
  const at2 = tables + <usize>i32x4.extract_lane(places, 2);
  const at3 = tables + <usize>i32x4.extract_lane(places, 3);
  first = v128.load_lane<u64>(at0, first, 0, LOG);
  first = v128.load_lane<u64>(at1, first, 1, LOG);
  second = v128.load_lane<u64>(at2, second, 0, LOG);
  second = v128.load_lane<u64>(at3, second, 1, LOG);
  curve = v128.load_lane<u32>(at0, curve, 0, LOG_CURVE);
  curve = v128.load_lane<u32>(at1, curve, 1, LOG_CURVE);
  curve = v128.load_lane<u32>(at2, curve, 2, LOG_CURVE);
  curve = v128.load_lane<u32>(at3, curve, 3, LOG_CURVE);
  const low = v128.shuffle<i32>(first, second, 0, 2, 4, 6);
  const high = v128.shuffle<i32>(first, second, 1, 3, 5, 7);
  const s = v128.and(f, i32x4.splat(32767));
  const w = i32x4.shr_u(i32x4.mul(s, i32x4.sub(i32x4.splat(32768), s)), 15);
  const line = i32x4.add(i32x4.mul(i32x4.sub(high, low), s), i32x4.splat(16384));
  const bend = i32x4.add(i32x4.mul(curve, w), i32x4.splat(262144));
  return i32x4.add(low, i32x4.add(i32x4.shr_u(line, 15), i32x4.shr_u(bend, 19)));
}

/** `(whole * N + LN(f)) * 2^-24`: the sum is below 2^31, its conversion the one rounding. */
// @ts-ignore: decorator
@inline
function logLanes(tables: usize, whole: v128, f: v128): v128 {
  const sum = i32x4.add(i32x4.mul(whole, i32x4.splat(LOG_TWO)), logMantissas(tables, f));
  return f32x4.mul(f32x4.convert_i32x4_s(sum), f32x4.splat(5.960464477539063e-8));
}

/** The logarithm of section 17 from `whole` and the mantissa's fraction. */
export function logOf(tables: usize, whole: i32, f: i32): f32 {
  return f32x4.extract_lane(logLanes(tables, i32x4.splat(whole), i32x4.splat(f)), 0);
}

// @ts-ignore: decorator
@inline
function logarithm(tables: usize, x: v128): v128 {
  const isSmall = f32x4.lt(x, f32x4.splat(1.1754943508222875e-38));
  const scaled = v128.bitselect(f32x4.mul(x, f32x4.splat(16777216)), x, isSmall);
  const field = v128.and(i32x4.shr_u(scaled, 23), i32x4.splat(255));
  const less = i32x4.add(i32x4.splat(127), v128.and(isSmall, i32x4.splat(24)));
  const y = logLanes(tables, i32x4.sub(field, less), v128.and(scaled, i32x4.splat(0x7fffff)));
  return v128.bitselect(y, i32x4.splat(NOT_A_NUMBER), f32x4.gt(x, f32x4.splat(0)));
}

/** Places in a table of 2^20: magnitudes at or beyond its end take the last. */
// @ts-ignore: decorator
@inline
function placesOf(magnitude: v128, scale: f32): v128 {
  const p = i32x4.trunc_sat_f32x4_u(f32x4.mul(magnitude, f32x4.splat(scale)));
  return i32x4.min_u(p, i32x4.splat(0xfffff));
}

/** `R32(x * q * 2^-21)`. */
// @ts-ignore: decorator
@inline
function scaleByTable(x: v128, q: v128): v128 {
  const unit = f64x2.splat(4.76837158203125e-7);
  return roundLanes(
    f64x2.mul(f64x2.mul(lowF64(x), unit), f64x2.convert_low_i32x4_u(q)),
    f64x2.mul(f64x2.mul(highF64(x), unit), f64x2.convert_low_i32x4_u(upper(q))),
  );
}

/** tanh and erf, whose tables end at `limit = 2^20 / scale`. */
// @ts-ignore: decorator
@inline
function oddFunction(table: usize, x: v128, limit: f32, scale: f32): v128 {
  const magnitude = f32x4.abs(x);
  const y = scaleByTable(x, lookLanes(table, placesOf(magnitude, scale)));
  const one = f32x4.splat(1);
  const clamped = f32x4.max(f32x4.min(y, one), f32x4.neg(one));
  const sign = v128.and(x, i32x4.splat(i32.MIN_VALUE));
  return v128.bitselect(v128.or(one, sign), clamped, f32x4.ge(magnitude, f32x4.splat(limit)));
}

/** Either form by its table. */
// @ts-ignore: decorator
@inline
export function gelu(table: usize, x: v128): v128 {
  const magnitude = f32x4.abs(x);
  const q = lookLanes(table, placesOf(magnitude, 131072));
  const sign = negative(x);
  const y = scaleByTable(x, v128.bitselect(q, i32x4.sub(i32x4.splat(2097152), q), sign));
  return v128.bitselect(v128.andnot(x, sign), y, f32x4.ge(magnitude, f32x4.splat(8)));
}

// @ts-ignore: decorator
@inline
function apply(op: i32, exp2: usize, tables: usize, x: v128): v128 {
  if (op == 0) return inverseRootLanes(x);
  if (op == 1) return exponential(exp2, x, NATURAL);
  if (op == 2) return exponential(exp2, x, BINARY);
  if (op == 3) return logarithm(tables, x);
  if (op == 4) return oddFunction(tables + TANH, x, 8, 131072);
  if (op == 5) return sigmoid(exp2, x, false);
  if (op == 6) return oddFunction(tables + ERF, x, 4, 262144);
  if (op == 7) return gelu(tables + TAIL, x);
  if (op == 8) return gelu(tables + TAIL_TANH, x);
  return sigmoid(exp2, x, true);
}

// @ts-ignore: decorator
@inline
function loop(op: i32, control: usize, p: usize, from: i32, to: i32): void {
  const x = address(p, 4);
  const out = address(p, 6);
  const exp2 = address(control + EXP2, 0);
  const tables = address(control + TABLES, 0);
  let bad = i32x4.splat(0);
  const first = i32x4.replace_lane(bad, 0, -1);
  let i = from;
  while (i < to) {
    const whole = i + 4 <= to;
    // A rest of up to three goes one by one; the other lanes mean nothing.
    const y = apply(op, exp2, tables, whole ? v128.load(at4(x, i)) : v128.load32_zero(at4(x, i)));
    if (whole) {
      v128.store(at4(out, i), y);
      bad = v128.or(bad, badLanes(y));
      i += 4;
    } else {
      v128.store_lane<f32>(at4(out, i), y, 0);
      bad = v128.or(bad, v128.and(first, badLanes(y)));
      i += 1;
    }
  }
  if (v128.any_true(bad)) failFirst(p, out, from, to, word(p, 7));
}

/** [4] x, [5] -, [6] out, [7] columns, [8] rsqrt exp exp2 log tanh sigmoid erf gelu gelu-tanh silu */
export function functionRange(control: usize, p: usize, from: i32, to: i32): void {
  switch (word(p, 8)) {
    case 0:
      return loop(0, control, p, from, to);
    case 1:
      return loop(1, control, p, from, to);
    case 2:
      return loop(2, control, p, from, to);
    case 3:
      return loop(3, control, p, from, to);
    case 4:
      return loop(4, control, p, from, to);
    case 5:
      return loop(5, control, p, from, to);
    case 6:
      return loop(6, control, p, from, to);
    case 7:
      return loop(7, control, p, from, to);
    case 8:
      return loop(8, control, p, from, to);
    default:
      return loop(9, control, p, from, to);
  }
}
