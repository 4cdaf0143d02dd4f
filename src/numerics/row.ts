// Reductions, norms and softmax of one row (docs/spec/01-numerics.md sections 16 and 17), in BigInt.
// Reference only: no backend imports them. A result that is not finite is an infinity.

import { assert } from "gyrotron/base";
import { addF32, logOfMantissa, naturalScore, subtractF32 } from "./function.ts";
import { LOG_TWO } from "./function-table.ts";
import { EXPONENT_MIN, exp2Fraction, quantizeRow } from "./program.ts";
import { bitLength, decodeF32, floorScaled, integerSqrt, roundToF32 } from "./round.ts";

/** `SUM(list, bits)`; 0 of no values. */
export function sumRow(list: ArrayLike<number>, bits: number): number {
  if (list.length === 0) return 0;
  const { mantissas, exponent } = quantizeRow(list, bits);
  return roundToF32(totalOf(mantissas), exponent);
}

/** The mean of one value or more. */
export function meanRow(row: ArrayLike<number>, bits: number): number {
  const { mantissas, exponent } = quantizeRow(row, bits);
  return roundToF32(totalOf(mantissas), exponent, BigInt(row.length));
}

/** The variance of a population of one or more. */
export function varianceRow(row: ArrayLike<number>): number {
  const { mantissas, exponent } = quantizeRow(row, 16);
  const n = BigInt(row.length);
  return roundToF32(spreadOf(mantissas), 2 * exponent, n * n);
}

/** The lowest exponent that the mantissas of layer_norm may take. */
export function layerNormExponentFloor(epsilon: number): number {
  assert(epsilon >= 0 && epsilon <= 1, "epsilon out of range");
  if (epsilon === 0) return EXPONENT_MIN;
  const { mantissa, exponent } = decodeF32(epsilon);
  const log = bitLength(mantissa) - 1 + exponent;
  return Math.max(EXPONENT_MIN, Math.ceil((log - 29) / 2));
}

/** layer_norm without gain and bias. */
export function layerNormRow(row: ArrayLike<number>, epsilon: number): number[] {
  const n = BigInt(row.length);
  const { mantissas, exponent } = quantizeRow(row, 16, layerNormExponentFloor(epsilon));
  const total = totalOf(mantissas);
  const eps = decodeF32(epsilon);
  const s = spreadOf(mantissas) + floorScaled(n * n * eps.mantissa, eps.exponent - 2 * exponent);
  if (s === 0n) return mantissas.map(() => 0);
  let j = -64;
  while (floorScaled(s, -2 * j) >= 1n << 24n) j++;
  const v = floorScaled(s, -2 * j);
  assert(v >= 1n << 22n, "the norm's sum is not normalised");
  const root = integerSqrt((1n << 56n) / v);
  return mantissas.map((m) => roundToF32((n * m - total) * root, -28 - j));
}

/** What softmax and its logarithm share: each value's power of two, and their sum. */
interface Powers {
  readonly max: number;
  /** `u * 2^(n-15)` is the power of a value below the maximum, `n <= 0`. */
  readonly parts: readonly { readonly n: number; readonly u: bigint }[];
  /** In units of 2^-31. */
  readonly total: bigint;
}

function powersOf(row: ArrayLike<number>): Powers {
  assert(row.length >= 1, "softmax of no values");
  let max = row[0]!;
  for (let i = 1; i < row.length; i++) max = Math.max(max, row[i]!);
  const parts = Array.from(row, (x) => {
    const distance = subtractF32(max, x);
    const z = distance === Infinity ? -(1n << 30n) : -naturalScore(distance);
    return { n: Number(z >> 16n), u: BigInt(exp2Fraction(Number(z & 65535n))) };
  });
  const total = parts.reduce((sum, { n, u }) => sum + ((u << 16n) >> BigInt(-n)), 0n);
  return { max, parts, total };
}

/** softmax over all values of a row of one or more. */
export function softmaxRow(row: ArrayLike<number>): number[] {
  const { parts, total } = powersOf(row);
  const j = bitLength(total) - 24;
  const r = (1n << 47n) / floorScaled(total, -j);
  return parts.map(({ n, u }) => roundToF32(u * r, n - j - 31));
}

/** The largest value of a row, and `lse`: the logarithm of the row's sum of exponentials above it. */
export function logSumRow(row: ArrayLike<number>): { max: number; lse: number } {
  const { max, total } = powersOf(row);
  const k = bitLength(total) - 24;
  const whole = BigInt(k - 8) * BigInt(LOG_TWO);
  return { max, lse: roundToF32(whole + logOfMantissa(floorScaled(total, -k)), -24) };
}

/** log_softmax of a row of one or more; infinities where a difference is not finite. */
export function logSoftmaxRow(row: ArrayLike<number>): number[] {
  const { max, lse } = logSumRow(row);
  return Array.from(row, (x) => finitely(subtractF32(x, max), (d) => subtractF32(d, lse)));
}

/** cross_entropy of a row against the index of its target. */
export function crossEntropyRow(row: ArrayLike<number>, target: number): number {
  const { max, lse } = logSumRow(row);
  return finitely(subtractF32(row[target]!, max), (d) => addF32(lse, d === 0 ? 0 : -d));
}

function finitely(x: number, next: (x: number) => number): number {
  return Number.isFinite(x) ? next(x) : x;
}

function totalOf(mantissas: readonly bigint[]): bigint {
  return mantissas.reduce((sum, m) => sum + m, 0n);
}

/** `n * sum m^2 - (sum m)^2`. */
function spreadOf(mantissas: readonly bigint[]): bigint {
  const total = totalOf(mantissas);
  return BigInt(mantissas.length) * totalOf(mantissas.map((m) => m * m)) - total * total;
}
