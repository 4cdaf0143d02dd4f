// Weights onto the grids of docs/spec/01-numerics.md sections 2.1 and 2.2, fast. The oracle's `quantizeColumn` is the
// definition; a test compares them.
//
// Why binary64 is exact enough: `w * 2^-e` is exact. Where the quotient by D is at least 1/2, `w * 2^-e` is a
// multiple of 2^-18, so unless the quotient is a tie exactly it stays 2^-40 away from one, relatively, and
// the division's error of 2^-53 cannot cross it.

import { assert } from "gyrotron/base";
import { bitsFromF32, powerOfTwo, ROUNDER } from "gyrotron/numerics";
import {
  BLOCK_SCALE_MAX,
  blocksOf,
  type EmbeddingTable,
  embeddingWindows,
  mantissaMax,
  type PackedMatrix,
  type WeightBits,
} from "gyrotron/tensor";
import { quantizeBlocks } from "./block-quantize.ts";

const EXPONENT_MIN = -149;

/** What a matrix becomes. */
export interface MatrixFormat {
  readonly outputs: number;
  readonly inputs: number;
  readonly bits: WeightBits;
  /** Whether each 32 inputs have a multiplier of their own; 8 bits only. */
  readonly blocks?: boolean;
}

/** A row-major `[outputs, inputs]` matrix of finite f32, each row on its own grid. */
export function quantizeColumns(weights: Float32Array, format: MatrixFormat): PackedMatrix {
  const { outputs, inputs } = format;
  assert(weights.length === outputs * inputs, "matrix size");
  const matrix = emptyMatrix(format);
  quantizeInto(matrix, 0, weights);
  return matrix;
}

/** The same of a table that is never in memory whole. */
export function quantizeTable(
  table: EmbeddingTable,
  format: Pick<MatrixFormat, "bits" | "blocks">,
): PackedMatrix {
  const matrix = emptyMatrix({ outputs: table.vocabulary, inputs: table.width, ...format });
  for (const { first, rows } of embeddingWindows(table)) quantizeInto(matrix, first, rows);
  return matrix;
}

function emptyMatrix({ outputs, inputs, bits, blocks = false }: MatrixFormat): PackedMatrix {
  const count = outputs * inputs;
  const mantissas = bits === 8 ? new Int8Array(count) : new Int16Array(count);
  const [scales, exponents] = [new Uint8Array(outputs), new Int16Array(outputs)];
  const blockScales = blocks ? new Uint8Array(outputs * blocksOf(inputs)) : undefined;
  return {
    ...{ outputs, inputs, bits, mantissas, scales, exponents },
    ...(blockScales !== undefined && { blockScales }),
  };
}

/** Quantizes whole rows as the outputs of a matrix from `first` on. */
function quantizeInto(matrix: PackedMatrix, first: number, weights: Float32Array): void {
  const { inputs, bits, scales, exponents, blockScales } = matrix;
  const mantissas = matrix.mantissas.subarray(first * inputs);
  const top = mantissaMax(bits) * (blockScales === undefined ? 1 : BLOCK_SCALE_MAX);
  const blocks = blocksOf(inputs);
  for (let row = 0; row * inputs < weights.length; row++) {
    const start = row * inputs;
    const c = first + row;
    let largest = 0;
    for (let k = start; k < start + inputs; k++) largest = Math.max(largest, Math.abs(weights[k]!));
    const { scale, exponent } = gridOf(largest, top);
    scales[c] = scale;
    exponents[c] = exponent;
    if (blockScales !== undefined) {
      assert(
        mantissas instanceof Int8Array && blockScales instanceof Uint8Array,
        "block scales are for weights of 8 bits",
      );
      quantizeBlocks({
        weights: weights.subarray(start, start + inputs),
        ...{ scale, exponent },
        mantissas: mantissas.subarray(start, start + inputs),
        blockScales: blockScales.subarray(c * blocks, (c + 1) * blocks),
      });
      continue;
    }
    const up = powerOfTwo(-exponent);
    for (let k = start; k < start + inputs; k++) {
      mantissas[k] = (weights[k]! * up) / scale + ROUNDER - ROUNDER;
    }
  }
}

/**
 * The least `D * 2^e` by which the integer `top` covers `largest`, which is below 2^128. Products here are exact in
 * binary64.
 */
export function gridOf(largest: number, top: number): { scale: number; exponent: number } {
  if (largest === 0) return { scale: 128, exponent: EXPONENT_MIN };
  // By floor(log2) of the largest the first e is surely too small; subnormals start at the lowest.
  const field = bitsFromF32(Math.fround(largest)) >>> 23;
  let exponent = field === 0 ? EXPONENT_MIN : Math.max(EXPONENT_MIN, field - 127 - 14 - 9);
  while (largest > top * 255 * powerOfTwo(exponent)) exponent++;
  let scale = 128;
  while (largest > top * scale * powerOfTwo(exponent)) scale++;
  return { scale, exponent };
}
