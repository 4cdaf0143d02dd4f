// Weights onto the grid of docs/spec/01-numerics.md section 2.1, fast. The oracle's `quantizeColumn` is the
// definition; a test compares them.
//
// Why binary64 is exact enough: `w * 2^-e` is exact. Where the quotient by D is at least 1/2, `w * 2^-e` is a
// multiple of 2^-18, so unless the quotient is a tie exactly it stays 2^-40 away from one, relatively, and
// the division's error of 2^-53 cannot cross it.

import { assert } from "gyrotron/base";
import { bitsFromF32, powerOfTwo } from "gyrotron/numerics";
import {
  type EmbeddingTable,
  embeddingWindows,
  mantissaMax,
  type PackedMatrix,
  type WeightBits,
} from "gyrotron/tensor";

/** Adding and subtracting this rounds a binary64 below 2^51 to an integer, to nearest even. */
const ROUNDER = 6755399441055744;
const EXPONENT_MIN = -149;

/** A row-major `[outputs, inputs]` matrix of finite f32, each row on its own grid. */
export function quantizeColumns(
  weights: Float32Array,
  shape: { outputs: number; inputs: number; bits: WeightBits },
): PackedMatrix {
  const { outputs, inputs } = shape;
  assert(weights.length === outputs * inputs, "matrix size");
  const matrix = emptyMatrix(shape);
  quantizeInto(matrix, 0, weights);
  return matrix;
}

/** The same of a table that is never in memory whole. */
export function quantizeTable(table: EmbeddingTable, bits: WeightBits): PackedMatrix {
  const matrix = emptyMatrix({ outputs: table.vocabulary, inputs: table.width, bits });
  for (const { first, rows } of embeddingWindows(table)) quantizeInto(matrix, first, rows);
  return matrix;
}

function emptyMatrix(shape: { outputs: number; inputs: number; bits: WeightBits }): PackedMatrix {
  const { outputs, inputs, bits } = shape;
  const count = outputs * inputs;
  const mantissas = bits === 8 ? new Int8Array(count) : new Int16Array(count);
  const [scales, exponents] = [new Uint8Array(outputs), new Int16Array(outputs)];
  return { outputs, inputs, bits, mantissas, scales, exponents };
}

/** Quantizes whole rows as the outputs of a matrix from `first` on. */
function quantizeInto(matrix: PackedMatrix, first: number, weights: Float32Array): void {
  const { inputs, bits, scales, exponents } = matrix;
  const mantissas = matrix.mantissas.subarray(first * inputs);
  for (let row = 0; row * inputs < weights.length; row++) {
    const start = row * inputs;
    const c = first + row;
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
