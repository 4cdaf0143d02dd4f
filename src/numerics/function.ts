// Functions of one or two f32 as ops of graphs define them (docs/spec/01-numerics.md section 15), in BigInt.
// Reference only: no backend imports them. A result that is not finite is an infinity.

import { assert } from "gyrotron/base";
import {
  erfTable,
  LOG_TWO,
  logCurveTable,
  logTable,
  tailTable,
  tailTanhTable,
  tanhTable,
} from "./function-table.ts";
import { exp2Fraction } from "./program.ts";
import {
  bitLength,
  decodeF32,
  type Dyadic,
  floorDivide,
  floorScaled,
  integerSqrt,
  roundScaled,
  roundToF32,
} from "./round.ts";
import { SILU_LOG2E } from "./table.ts";

/** Scores and exponents of two are clamped to this magnitude, in units of 2^-16. */
const SCORE_MAX = 1n << 30n;

/** `R32(x + y)`. */
export function addF32(x: number, y: number): number {
  const a = decodeF32(x);
  const b = decodeF32(y);
  const low = Math.min(a.exponent, b.exponent);
  const sum = (a.mantissa << BigInt(a.exponent - low)) + (b.mantissa << BigInt(b.exponent - low));
  return roundToF32(sum, low);
}

/** `R32(x - y)`. */
export function subtractF32(x: number, y: number): number {
  return addF32(x, negateF32(y));
}

/** `R32(x * y)`. */
export function multiplyF32(x: number, y: number): number {
  const a = decodeF32(x);
  const b = decodeF32(y);
  return roundToF32(a.mantissa * b.mantissa, a.exponent + b.exponent);
}

/** `R32(x / y)`; an infinity if y is 0. */
export function divideF32(x: number, y: number): number {
  const a = decodeF32(x);
  const b = decodeF32(y);
  if (b.mantissa === 0n) return Infinity;
  const sign = b.mantissa < 0n ? -1n : 1n;
  return roundToF32(sign * a.mantissa, a.exponent - b.exponent, sign * b.mantissa);
}

/** `-x`; 0 stays +0. */
export function negateF32(x: number): number {
  return x === 0 ? 0 : -x;
}

/** `R32` of the square root; an infinity if x is negative. */
export function sqrtF32(x: number): number {
  const { mantissa, exponent } = decodeF32(x);
  if (mantissa < 0n) return Infinity;
  // 2^60 in front of the mantissa gives 30 places or more; a last bit says whether anything is behind.
  const even = exponent - (exponent & 1);
  const square = mantissa << BigInt(60 + exponent - even);
  const root = integerSqrt(square);
  const rest = root * root === square ? 0n : 1n;
  return roundToF32(2n * root + rest, even / 2 - 31);
}

/** `Z(x)`: x in units of 2^-16 of a power of two of base 2, within 2^30. */
export function naturalScore(x: number): bigint {
  return scoreOf(decodeF32(x), BigInt(SILU_LOG2E), -6);
}

/** `e^x`. */
export function expF32(x: number): number {
  return powerOfScore(naturalScore(x));
}

/** `2^x`. */
export function exp2F32(x: number): number {
  return powerOfScore(scoreOf(decodeF32(x), 1n, 16));
}

/** `1 / (1 + e^-x)`. */
export function sigmoidF32(x: number): number {
  const { mantissa } = decodeF32(x);
  const score = naturalScore(x);
  const t = score < 0n ? -score : score;
  const k = -(-t >> 16n);
  const u = BigInt(exp2Fraction(Number(-t & 65535n)));
  const e = u >> k;
  if (mantissa >= 0n) return roundToF32(floorDivide(1n << 31n, 32768n + e), -16);
  return roundToF32(floorDivide(u << 16n, 32768n + e), -16 - Number(k));
}

/** `1 / sqrt(x)`; an infinity if x is not positive. */
export function rsqrtF32(x: number): number {
  const { mantissa, exponent } = normalised(decodeF32(x));
  if (mantissa <= 0n) return Infinity;
  const isOdd = exponent % 2 !== 0;
  const v = isOdd ? mantissa >> 1n : mantissa;
  const j = isOdd ? (exponent + 1) / 2 : exponent / 2;
  return roundToF32(integerSqrt((1n << 56n) / v), -28 - j);
}

/** The natural logarithm; an infinity if x is not positive. */
export function logF32(x: number): number {
  const { mantissa, exponent } = normalised(decodeF32(x));
  if (mantissa <= 0n) return Infinity;
  const whole = BigInt(exponent + 23) * BigInt(LOG_TWO);
  return roundToF32(whole + logOfMantissa(mantissa), -24);
}

/** `LN(m - 2^23)`: the logarithm of `m / 2^23` in units of 2^-24, for `2^23 <= m < 2^24`. */
export function logOfMantissa(mantissa: bigint): bigint {
  const f = mantissa - (1n << 23n);
  assert(f >= 0n && f < 1n << 23n, "not a mantissa");
  const i = Number(f >> 15n);
  const s = f & 32767n;
  const w = (s * (32768n - s)) >> 15n;
  const [low, high] = [BigInt(logTable()[i]!), BigInt(logTable()[i + 1]!)];
  const curve = (BigInt(logCurveTable()[i]!) * w + (1n << 18n)) >> 19n;
  return low + (((high - low) * s + (1n << 14n)) >> 15n) + curve;
}

/** The hyperbolic tangent. */
export function tanhF32(x: number): number {
  return limitedToOne(x, 8, tanhTable(), 17);
}

/** The error function. */
export function erfF32(x: number): number {
  return limitedToOne(x, 4, erfTable(), 18);
}

/** `x Phi(x)`, Phi the normal distribution. */
export function geluF32(x: number): number {
  return geluBy(x, tailTable());
}

/** `x / 2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`. */
export function geluTanhF32(x: number): number {
  return geluBy(x, tailTanhTable());
}

/** `max(x, 0)`. */
export function reluF32(x: number): number {
  return x > 0 ? x : 0;
}

/** `x` as the nearest i32, ties to even, clamped to the range. */
export function roundToI32(x: number): number {
  const { mantissa, exponent } = decodeF32(x);
  const nearest = roundScaled(mantissa, exponent);
  if (nearest < -(2n ** 31n)) return -(2 ** 31);
  return nearest >= 2n ** 31n ? 2 ** 31 - 1 : Number(nearest);
}

/** `x * factor * 2^shift` rounded, within `SCORE_MAX`; the sign goes last. */
function scoreOf(x: Dyadic, factor: bigint, shift: number): bigint {
  const isNegative = x.mantissa < 0n;
  const magnitude = isNegative ? -x.mantissa : x.mantissa;
  const exact = roundScaled(magnitude * factor, x.exponent + shift);
  const t = exact > SCORE_MAX ? SCORE_MAX : exact;
  return isNegative ? -t : t;
}

function powerOfScore(z: bigint): number {
  const n = Number(z >> 16n);
  return roundToF32(BigInt(exp2Fraction(Number(z & 65535n))), n - 15);
}

/** The same value with a mantissa of 24 bits; zero and negative values stay as they are. */
function normalised(x: Dyadic): Dyadic {
  if (x.mantissa <= 0n) return x;
  const shift = 24 - bitLength(x.mantissa);
  return { mantissa: x.mantissa << BigInt(shift), exponent: x.exponent - shift };
}

/** `look(T, p)`, p below 2^20. */
function look(table: Int32Array, p: bigint): bigint {
  assert(p >= 0n && p < 1n << 20n, "place out of the table");
  const i = Number(p >> 10n);
  const g = p & 1023n;
  return (BigInt(table[i]!) * (1024n - g) + BigInt(table[i + 1]!) * g + 512n) >> 10n;
}

/** `floor(|x| * 2^shift)`. */
function placeOf(x: number, shift: number): bigint {
  const { mantissa, exponent } = decodeF32(x);
  return floorScaled(mantissa < 0n ? -mantissa : mantissa, exponent + shift);
}

/** x times a looked-up slope below `end`, the sign of x from there on. */
function limitedToOne(x: number, end: number, table: Int32Array, shift: number): number {
  const sign = x < 0 ? -1 : 1;
  if (Math.abs(x) >= end) return sign;
  const { mantissa, exponent } = decodeF32(x);
  const y = roundToF32(mantissa * look(table, placeOf(x, shift)), exponent - 21);
  return Math.abs(y) > 1 ? sign : y;
}

function geluBy(x: number, tail: Int32Array): number {
  if (Math.abs(x) >= 8) return x < 0 ? 0 : x;
  const { mantissa, exponent } = decodeF32(x);
  const q = look(tail, placeOf(x, 17));
  return roundToF32(mantissa * (x < 0 ? q : (1n << 21n) - q), exponent - 21);
}
