// Exact rationals and their single rounding to binary32 (docs/spec/01-numerics.md section 1). BigInt
// throughout: this is the executable reference, written to be obviously right and not to be fast.

import { assert } from "gyrotron/base";

/** A dyadic rational `mantissa * 2^exponent`. */
export interface Dyadic {
  readonly mantissa: bigint;
  readonly exponent: number;
}

const scratch: DataView = new DataView(new ArrayBuffer(8));

/** The bits of a binary32 number. */
export function bitsFromF32(value: number): number {
  scratch.setFloat32(0, value);
  return scratch.getUint32(0);
}

/** The binary32 number with these bits. */
export function f32FromBits(bits: number): number {
  scratch.setUint32(0, bits);
  return scratch.getFloat32(0);
}

/** `2^exponent` as a binary64, by its bits. Limits: -1022..1023. */
export function powerOfTwo(exponent: number): number {
  assert(exponent >= -1022 && exponent <= 1023, "exponent out of range");
  scratch.setUint32(0, (exponent + 1023) << 20);
  scratch.setUint32(4, 0);
  return scratch.getFloat64(0);
}

/** 1.5 * 2^52: adding and subtracting this rounds a binary64 below 2^51 to an integer, to nearest even. */
export const ROUNDER = 6755399441055744;

/** The exact value of a finite f32. */
export function decodeF32(value: number): Dyadic {
  const bits = bitsFromF32(value);
  const field = (bits >>> 23) & 0xff;
  assert(field !== 0xff && Object.is(f32FromBits(bits), value), "not a finite f32");
  const fraction = bits & 0x7fffff;
  const magnitude = BigInt(field === 0 ? fraction : fraction | 0x800000);
  return { mantissa: bits >>> 31 === 1 ? -magnitude : magnitude, exponent: (field || 1) - 150 };
}

/** The exact value of a finite binary64. */
export function decodeF64(value: number): Dyadic {
  scratch.setFloat64(0, value);
  const bits = scratch.getBigUint64(0);
  const field = Number((bits >> 52n) & 0x7ffn);
  assert(field !== 0x7ff, "not a finite binary64");
  const fraction = bits & 0xf_ffff_ffff_ffffn;
  const magnitude = field === 0 ? fraction : fraction | (1n << 52n);
  return { mantissa: bits >> 63n === 1n ? -magnitude : magnitude, exponent: (field || 1) - 1075 };
}

/** `floor(numerator / denominator)`; the denominator is positive. */
export function floorDivide(numerator: bigint, denominator: bigint): bigint {
  assert(denominator > 0n, "denominator must be positive");
  const quotient = numerator / denominator;
  return numerator % denominator < 0n ? quotient - 1n : quotient;
}

/** The integer nearest to `numerator / denominator`, ties to even; the denominator is positive. */
export function roundDivide(numerator: bigint, denominator: bigint): bigint {
  const low = floorDivide(numerator, denominator);
  const twice = 2n * (numerator - low * denominator);
  if (twice < denominator) return low;
  if (twice > denominator) return low + 1n;
  return (low & 1n) === 0n ? low : low + 1n;
}

/** `RNE(value * 2^exponent)`. */
export function roundScaled(value: bigint, exponent: number): bigint {
  return exponent >= 0 ? value << BigInt(exponent) : roundDivide(value, 1n << BigInt(-exponent));
}

/** `floor(value * 2^exponent)`. */
export function floorScaled(value: bigint, exponent: number): bigint {
  return exponent >= 0 ? value << BigInt(exponent) : value >> BigInt(-exponent);
}

/** The number of bits of a non-negative integer; 0 for 0. */
export function bitLength(value: bigint): number {
  assert(value >= 0n, "bit length of a negative number");
  return value === 0n ? 0 : value.toString(2).length;
}

/** The largest integer whose square is at most `value`. */
export function integerSqrt(value: bigint): bigint {
  assert(value >= 0n, "square root of a negative number");
  let root = 0n;
  for (let bit = 1n << BigInt(bitLength(value) >> 1); bit > 0n; bit >>= 1n) {
    if ((root + bit) * (root + bit) <= value) root += bit;
  }
  return root;
}

/**
 * `R32(numerator / denominator * 2^exponent)`: one rounding to nearest even, subnormals kept, never -0.
 * A magnitude that rounds to 2^128 or more gives an infinity, which callers report as `NonFinite`.
 */
export function roundToF32(numerator: bigint, exponent: number, denominator = 1n): number {
  assert(denominator > 0n, "denominator must be positive");
  if (numerator === 0n) return 0;
  const negative = numerator < 0n;
  const magnitude = negative ? -numerator : numerator;
  // A guess of the place of the leading bit, at most one too low, chosen so that the integer part
  // of the scaled value has 24 or 25 bits; then the last place is fixed and the value rounded once.
  let last = bitLength(magnitude) - bitLength(denominator) + exponent - 24;
  if (compareWithPower(magnitude, denominator, exponent, last + 24) >= 0) last += 1;
  if (last < -149) last = -149;
  const shift = exponent - last;
  const scaled =
    shift >= 0
      ? roundDivide(magnitude << BigInt(shift), denominator)
      : roundDivide(magnitude, denominator << BigInt(-shift));
  const result = finishF32(scaled, last);
  return result === 0 ? 0 : negative ? -result : result;
}

/** Sign of `n/d * 2^exponent - 2^power`. */
function compareWithPower(n: bigint, d: bigint, exponent: number, power: number): number {
  const difference = exponent - power;
  const left = difference >= 0 ? n << BigInt(difference) : n;
  const right = difference >= 0 ? d : d << BigInt(-difference);
  return left < right ? -1 : left > right ? 1 : 0;
}

/** The f32 `mantissa * 2^exponent`, which must be representable or too large. */
function finishF32(mantissa: bigint, exponent: number): number {
  let m = mantissa;
  let e = exponent;
  if (m === 1n << 24n) {
    m >>= 1n;
    e += 1;
  }
  assert(m < 1n << 24n && e >= -149, "rounded mantissa out of range");
  if (e > 104) return Infinity;
  if (m < 1n << 23n) {
    assert(e === -149, "only subnormals have short mantissas");
    return f32FromBits(Number(m));
  }
  return f32FromBits(((e + 150) << 23) | (Number(m) & 0x7fffff));
}
