// Weights onto the grid of docs/spec/01-numerics.md section 2.1, fast. The oracle's `quantizeColumn` is the
// definition; a test compares them.
//
// Why binary64 is exact enough: `w * 2^-e` is exact. Where the quotient by D is at least 1/2, `w * 2^-e` is a
// multiple of 2^-18, so unless the quotient is a tie exactly it stays 2^-40 away from one, relatively, and
// the division's error of 2^-53 cannot cross it.

import { assert } from "gyrotron/base";
import { bitsFromF32, powerOfTwo } from "gyrotron/numerics";
import { mantissaMax, type PackedMatrix, type WeightBits } from "gyrotron/tensor";

/** Adding and subtracting this rounds a binary64 below 2^51 to an integer, to nearest even. */
const ROUNDER = 6755399441055744;
const EXPONENT_MIN = -149;

/** A row-major `[outputs, inputs]` matrix of finite f32, each row on its own grid. */
export function quantizeColumns(
  weights: Float32Array,
  shape: { outputs: number; inputs: number; bits: WeightBits },
): PackedMatrix {
  const { outputs, inputs, bits } = shape;
  assert(weights.length === outputs * inputs, "matrix size");
  const mantissas = bits === 8 ? new Int8Array(weights.length) : new Int16Array(weights.length);
  const scales = new Uint8Array(outputs);
  const exponents = new Int16Array(outputs);
  for (let c = 0; c < outputs; c++) {
    const start = c * inputs;
    let largest = 0;
    for (let k = start; k < start + inputs; k++) largest = Math.max(largest, Math.abs(weights[k]!));
    const { scale, exponent } = gridOf(largest, bits);
    scales[c] = scale;
    exponents[c] = exponent;
    const up = powerOfTwo(-exponent);
    for (let k = start; k < start + inputs; k++) {
      mantissas[k] = (weights[k]! * up) / scale + ROUNDER - ROUNDER;
    }
  }
  return { outputs, inputs, bits, mantissas, scales, exponents };
}

/** The least `D * 2^e` whose largest mantissa covers `largest`. Products here are exact in binary64. */
function gridOf(largest: number, bits: WeightBits): { scale: number; exponent: number } {
  if (largest === 0) return { scale: 128, exponent: EXPONENT_MIN };
  const top = mantissaMax(bits);
  // By floor(log2) of the largest the first e is surely too small; subnormals start at the lowest.
  const field = bitsFromF32(largest) >>> 23;
  let exponent = field === 0 ? EXPONENT_MIN : Math.max(EXPONENT_MIN, field - 127 - bits - 9);
  while (largest > top * 255 * powerOfTwo(exponent)) exponent++;
  let scale = 128;
  while (largest > top * scale * powerOfTwo(exponent)) scale++;
  return { scale, exponent };
}
