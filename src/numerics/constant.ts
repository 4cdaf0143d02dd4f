// Real constants to any precision in BigInt fixed point, so that tables and steps derived from
// them never depend on a library's sin, exp or pow. Values are scaled by 2^PRECISION.

import { assert } from "gyrotron/base";
import { decodeF64, integerSqrt, roundDivide } from "./round.ts";

const PRECISION = 256n;
const ONE = 1n << PRECISION;
/** Errors of the series below stay under 2^-200; a tie closer than that could not be decided. */
const DOUBT = 1n << (PRECISION - 190n);

/** A real number scaled by `2^256` and truncated. */
export type Fixed = bigint & { readonly brand?: "Fixed" };

/** A rational as a fixed-point number. */
export function fixedFromRatio(numerator: bigint, denominator: bigint): Fixed {
  return (numerator << PRECISION) / denominator;
}

/** The product, truncated. */
export function multiplyFixed(left: Fixed, right: Fixed): Fixed {
  return (left * right) >> PRECISION;
}

/** The quotient, truncated. */
export function divideFixed(left: Fixed, right: Fixed): Fixed {
  return (left << PRECISION) / right;
}

/** `RNE(value * 2^shift)`. @throws AssertionError if the value is too near a tie to be decided */
export function roundFixed(value: Fixed, shift = 0): bigint {
  const places = PRECISION - BigInt(shift);
  assert(places > 64n, "not enough digits left");
  const half = 1n << (places - 1n);
  const rest = (value & ((1n << places) - 1n)) - half;
  assert(rest === -half || (rest < 0n ? -rest : rest) > DOUBT, "undecided tie");
  return roundDivide(value, 1n << places);
}

/** `ln 2`, by `2 artanh(1/3)`. */
export const LN2: Fixed = naturalLogOfRatio(2n, 1n);
/** `log2 e`. */
export const LOG2E: Fixed = divideFixed(ONE, LN2);
/** pi, by Machin's formula. */
export const PI: Fixed = 16n * arctanOfInverse(5n) - 4n * arctanOfInverse(239n);

/** `e^value` for `|value| <= 64`. */
export function expFixed(value: Fixed): Fixed {
  // Halving eight times keeps the series short; squaring back costs a few of the spare digits.
  const reduced = value >> 8n;
  let term: bigint = ONE;
  let sum = 0n;
  for (let i = 1n; term !== 0n && term !== -1n; i++) {
    sum += term;
    term = multiplyFixed(term, reduced) / i;
  }
  for (let i = 0; i < 8; i++) sum = multiplyFixed(sum, sum);
  return sum;
}

/** `sin(value)` for values in `[0, 2]`. */
export function sinFixed(value: Fixed): Fixed {
  const square = multiplyFixed(value, value);
  let term: bigint = value;
  let sum = 0n;
  for (let i = 1n; term !== 0n; i += 2n) {
    sum += term;
    term = -(multiplyFixed(term, square) / ((i + 1n) * (i + 2n)));
  }
  return sum;
}

/** `1 / (1 + e^value)` for values in `[-64, 64]`. */
export function fallingSigmoidFixed(value: Fixed): Fixed {
  return divideFixed(ONE, ONE + expFixed(value));
}

/** `tanh(value)` for values in `[0, 32]`. */
export function tanhFixed(value: Fixed): Fixed {
  const power = expFixed(2n * value);
  return divideFixed(power - ONE, power + ONE);
}

/** `erf(value)` for values in `[0, 6]`, by `2/sqrt(pi) e^-x^2 (x + 2x^3/3 + 4x^5/15 + ...)`, all terms positive. */
export function erfFixed(value: Fixed): Fixed {
  const square = multiplyFixed(value, value);
  let term: bigint = value;
  let sum = 0n;
  for (let i = 1n; term !== 0n; i += 2n) {
    sum += term;
    term = (2n * multiplyFixed(term, square)) / (i + 2n);
  }
  return divideFixed(2n * multiplyFixed(sum, expFixed(0n - square)), sqrtFixed(PI));
}

/** The square root, truncated. */
export function sqrtFixed(value: Fixed): Fixed {
  return integerSqrt(value << PRECISION);
}

/** `1 / sqrt(value)` of a positive integer. */
export function inverseSqrtFixed(value: bigint): Fixed {
  return integerSqrt((ONE * ONE) / value);
}

/** `ln` of a binary64 number in `(1, 2^40]`. */
export function naturalLogOfF64(value: number): Fixed {
  const { mantissa, exponent } = decodeF64(value);
  assert(mantissa > 0n && value > 1 && value <= 2 ** 40, "logarithm out of range");
  // value = m * 2^e with m in [1, 2).
  const shift = exponent + 52;
  return naturalLogOfRatio(mantissa, 1n << 52n) + BigInt(shift) * LN2;
}

/** `ln(n/d)` for ratios in `[1, 2]`, by `2 artanh((n-d)/(n+d))`. */
export function naturalLogOfRatio(numerator: bigint, denominator: bigint): Fixed {
  const x = fixedFromRatio(numerator - denominator, numerator + denominator);
  const square = multiplyFixed(x, x);
  let power: bigint = x;
  let sum = 0n;
  for (let i = 1n; power !== 0n; i += 2n) {
    sum += power / i;
    power = multiplyFixed(power, square);
  }
  return 2n * sum;
}

function arctanOfInverse(n: bigint): Fixed {
  let power = ONE / n;
  let sum = 0n;
  for (let i = 1n; power !== 0n; i += 2n) {
    sum += (i & 2n) === 0n ? power / i : -(power / i);
    power /= n * n;
  }
  return sum;
}
