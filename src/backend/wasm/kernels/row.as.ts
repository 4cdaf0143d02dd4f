// Kernels that work on one row: quantize, norm, gain, residual, SiLU gate (sections 2, 4, 6, 9). Floats:
// powers of two, integers below 2^53 in binary64, and single IEEE binary32 operations, each named below.

import { sigmoid } from "./graph-function.as";
import { exp2Fraction, exponentOf, isBad, power, roundOnce } from "./scalar.as";

/** The bits of a binary32 but its sign. */
export const SIGNLESS: i32 = 0x7fffffff;

/** The largest magnitude of a row as bits; integer order is magnitude order. */
export function largestBits(x: usize, n: i32): i32 {
  // Doubling drops the sign.
  let a = i32x4.splat(0);
  let b = a;
  let i = 0;
  for (; i + 8 <= n; i += 8) {
    const at = x + (<usize>i << 2);
    a = i32x4.max_u(a, i32x4.shl(v128.load(at), 1));
    b = i32x4.max_u(b, i32x4.shl(v128.load(at, 16), 1));
  }
  return largestWithRest(i32x4.shr_u(i32x4.max_u(a, b), 1), x, i, n);
}

/** The largest of four lanes and of the magnitudes of a row's elements `from` to n - 1. */
// @ts-ignore: decorator
@inline
export function largestWithRest(lanes: v128, x: usize, from: i32, n: i32): i32 {
  let largest = largestLane(lanes);
  for (let i = from; i < n; i++) largest = max(largest, load<i32>(x + (<usize>i << 2)) & SIGNLESS);
  return largest;
}

/** The largest of four signed lanes. */
// @ts-ignore: decorator
@inline
export function largestLane(a: v128): i32 {
  return max(
    max(i32x4.extract_lane(a, 0), i32x4.extract_lane(a, 1)),
    max(i32x4.extract_lane(a, 2), i32x4.extract_lane(a, 3)),
  );
}

/**
 * Mantissas of a row as i16, zeros from n to padded; returns the exponent. Multiplying by a power of two is
 * exact in binary32 unless the product is subnormal, and then both it and the exact one round to 0. A binary32
 * from 2^23 to 2^24 has no fraction, so adding 1.5 * 2^23 is what rounds to the nearest integer, ties to even,
 * and leaves that integer in the low bits.
 */
export function quantizeRow(x: usize, n: i32, padded: i32, bits: i32, floor: i32, out: usize): i32 {
  const e = exponentOf(largestBits(x, n), bits, floor);
  let i = 0;
  if (e >= -126) {
    const factor = f32x4.splat(<f32>power(-e));
    // 1.5 * 2^23 from something unknown to the compiler, which would make a constant anew in each round.
    const rounder = i32x4.splat(0x4b400000 + (bits >> 31));
    for (; i + 8 <= n; i += 8) {
      const at = x + (<usize>i << 2);
      const low = f32x4.add(f32x4.mul(v128.load(at), factor), rounder);
      const high = f32x4.add(f32x4.mul(v128.load(at, 16), factor), rounder);
      const packed = i16x8.narrow_i32x4_s(i32x4.sub(low, rounder), i32x4.sub(high, rounder));
      v128.store(out + (<usize>i << 1), packed);
    }
  }
  const factor = power(-e);
  for (; i < n; i++) {
    const value = nearest<f64>(<f64>load<f32>(x + (<usize>i << 2)) * factor);
    store<i16>(out + (<usize>i << 1), <i16>(<i32>value));
  }
  for (; i < padded; i++) store<i16>(out + (<usize>i << 1), 0);
  return e;
}

/** `y = x * g`, one binary32 product each; returns the largest magnitude's bits. */
export function multiplyRow(x: usize, g: usize, n: i32, y: usize): i32 {
  const zero = f32x4.splat(0);
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const at = <usize>i << 2;
    v128.store(y + at, f32x4.add(f32x4.mul(v128.load(x + at), v128.load(g + at)), zero));
  }
  for (; i < n; i++) {
    const at = <usize>i << 2;
    store<f32>(y + at, load<f32>(x + at) * load<f32>(g + at) + <f32>0.0);
  }
  return largestBits(y, n);
}

/** `y = x + z`, one binary32 sum each; returns the largest magnitude's bits. */
export function addRow(x: usize, z: usize, n: i32, y: usize): i32 {
  const zero = f32x4.splat(0);
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const at = <usize>i << 2;
    v128.store(y + at, f32x4.add(f32x4.add(v128.load(x + at), v128.load(z + at)), zero));
  }
  for (; i < n; i++) {
    const at = <usize>i << 2;
    store<f32>(y + at, load<f32>(x + at) + load<f32>(z + at) + <f32>0.0);
  }
  return largestBits(y, n);
}

/** Section 9. The binary64 products have at most 24 + 23 bits: exact. */
// @ts-ignore: decorator
@inline
export function silu(table: usize, x: f32): f32 {
  const scaled = <f64>abs<f32>(x) * 6051102.0 * 0.015625;
  const t = <i32>min<f64>(nearest<f64>(scaled), 1073741824.0);
  const z = -t;
  const k = -(z >> 16);
  const u = exp2Fraction(table, <u32>(z & 65535));
  const e = u >> <u32>min(k, 31);
  if (x >= 0) {
    const q = <u32>0x80000000 / (32768 + e);
    return roundOnce(<f64>x * <f64>q * power(-16));
  }
  const q = (u << 16) / (32768 + e);
  // Below 2^-300 every product rounds to 0, as it does for the true k.
  return roundOnce(<f64>x * <f64>q * power(-16 - min(k, 300)));
}

/** `y = silu(gate) * up` over a range of a row; returns whether all are finite. */
export function gateRange(
  table: usize,
  gate: usize,
  up: usize,
  from: i32,
  to: i32,
  y: usize,
): bool {
  const zero = i32x4.splat(0);
  let largest = zero;
  let i = from;
  for (; i + 4 <= to; i += 4) {
    const at = <usize>i << 2;
    const value = f32x4.mul(sigmoid(table, v128.load(gate + at), true), v128.load(up + at));
    v128.store(y + at, f32x4.add(value, zero));
    largest = i32x4.max_u(largest, i32x4.shl(value, 1));
  }
  let good = !v128.any_true(i32x4.eq(i32x4.shr_u(largest, 24), i32x4.splat(255)));
  for (; i < to; i++) {
    const at = <usize>i << 2;
    const value = silu(table, load<f32>(gate + at)) * load<f32>(up + at) + <f32>0.0;
    store<f32>(y + at, value);
    if (isBad(reinterpret<i32>(value) & SIGNLESS)) good = false;
  }
  return good;
}
