// Matrices whose files have 16 levels for each 32 weights, and their preparation, which keeps those levels
// (docs/spec/01-numerics.md section 2.3). The oracle's `quantizeLevelColumn` is the definition; a test compares them.
//
// Why binary64 is exact: steps and lowest levels are multiples of 2^-24 below 2^22 (their files hold them as f16
// times integers of 6 bits), so sums of them have at most 52 bits. A quotient by D that is no tie stays 2^-40 away
// from one, and the division's error cannot cross it.

import { assert } from "gyrotron/base";
import { powerOfTwo, ROUNDER } from "gyrotron/numerics";
import { BLOCK_SIZE, blocksOf, LEVEL_MAX, type PackedMatrix } from "gyrotron/tensor";
import { gridOf } from "./column-quantize.ts";

/** What levels have to stay within, less what rounding a block's step and offset may add. */
const TOP = 8186;

/** Weights `[outputs, inputs]`, inputs a multiple of 32: `low + level * step`, both of a weight's block of 32. */
export interface LevelMatrix {
  /** 0..15, row-major. */
  readonly levels: Uint8Array;
  /** One a block, of either sign; a multiple of 2^-24 below 2^22. */
  readonly steps: Float32Array;
  /** What level 0 stands for, likewise. */
  readonly lows: Float32Array;
}

/** No levels yet. */
export function emptyLevels(count: number): LevelMatrix {
  const blocks = count / BLOCK_SIZE;
  return {
    levels: new Uint8Array(count),
    steps: new Float32Array(blocks),
    lows: new Float32Array(blocks),
  };
}

/** The levels on the grid of each output. */
export function quantizeLevels(
  source: LevelMatrix,
  { outputs, inputs }: { outputs: number; inputs: number },
): PackedMatrix {
  assert(source.levels.length === outputs * inputs && inputs % BLOCK_SIZE === 0, "matrix size");
  const blocks = blocksOf(inputs);
  const [scales, exponents] = [new Uint8Array(outputs), new Int16Array(outputs)];
  const mantissas = new Uint8Array((outputs * inputs) / 2);
  const blockScales = new Uint16Array(outputs * blocks);
  const blockOffsets = new Int16Array(outputs * blocks);
  for (let c = 0; c < outputs; c++) {
    const first = c * blocks;
    const { scale, exponent } = gridOf(largestOf(source, first, first + blocks), TOP);
    scales[c] = scale;
    exponents[c] = exponent;
    const up = powerOfTwo(-exponent);
    for (let b = first; b < first + blocks; b++) {
      const step = source.steps[b]! * up;
      const middle = source.lows[b]! * up + 7.5 * step;
      const m = Math.abs(step) / scale + ROUNDER - ROUNDER;
      blockScales[b] = m;
      blockOffsets[b] = (middle - 7.5 * m * scale) / scale + ROUNDER - ROUNDER;
      packBlock(source.levels, b, step < 0, mantissas);
    }
  }
  return { outputs, inputs, bits: 4, mantissas, blockScales, blockOffsets, scales, exponents };
}

/** The largest magnitude of the lowest and the highest levels. */
function largestOf({ steps, lows }: LevelMatrix, from: number, to: number): number {
  let largest = 0;
  for (let b = from; b < to; b++) {
    const end = Math.abs(lows[b]! + LEVEL_MAX * steps[b]!);
    largest = Math.max(largest, Math.abs(lows[b]!), end);
  }
  return largest;
}

/** Two levels a byte; of a block whose step is negative they count from the other end. */
function packBlock(levels: Uint8Array, block: number, isTurned: boolean, to: Uint8Array): void {
  const turn = isTurned ? 0xff : 0;
  const start = block * BLOCK_SIZE;
  for (let k = start; k < start + BLOCK_SIZE; k += 2) {
    to[k >> 1] = (levels[k]! | (levels[k + 1]! << 4)) ^ turn;
  }
}
