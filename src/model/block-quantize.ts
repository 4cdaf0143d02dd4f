// Weights of 8 bits with a multiplier for each 32 inputs (docs/spec/01-numerics.md section 2.2), fast. The
// oracle's `quantizeBlockColumn` is the definition; a test compares them. Why binary64 rounds mantissas right
// is said in ./column-quantize.ts: the divisor is below 2^14 here, which leaves 2^-36.

import { BLOCK_SCALES_ABOVE, BLOCK_SCALES_BELOW, powerOfTwo } from "gyrotron/numerics";
import { BLOCK_SCALE_MAX, BLOCK_SIZE } from "gyrotron/tensor";

/** Adding and subtracting this rounds a binary64 below 2^51 to an integer, to nearest even. */
const ROUNDER = 6755399441055744;
const TOP = 127;

/** A column of weights and where its parts go; `step` is its grid, `D * 2^e`. */
export interface BlockColumn {
  readonly weights: Float32Array;
  readonly scale: number;
  readonly exponent: number;
  readonly mantissas: Int8Array;
  readonly blockScales: Uint8Array;
}

const scaled = new Float64Array(BLOCK_SIZE);

/** Fills mantissas and block scales of one column. */
export function quantizeBlocks(column: BlockColumn): void {
  const { weights, scale, mantissas, blockScales } = column;
  const up = powerOfTwo(-column.exponent);
  for (let start = 0, b = 0; start < weights.length; start += BLOCK_SIZE, b++) {
    const count = Math.min(BLOCK_SIZE, weights.length - start);
    let largest = 0;
    for (let i = 0; i < count; i++) {
      const w = weights[start + i]! * up;
      scaled[i] = w;
      if (Math.abs(w) > largest) largest = Math.abs(w);
    }
    const m = bestScale(count, largest, scale);
    blockScales[b] = m;
    const step = m * scale;
    for (let i = 0; i < count; i++) {
      const q = scaled[i]! / step + ROUNDER - ROUNDER;
      mantissas[start + i] = q > TOP ? TOP : q < -TOP ? -TOP : q;
    }
  }
}

/** The multiplier near the least covering one whose squared errors sum to the least; the smaller of equal ones. */
function bestScale(count: number, largest: number, scale: number): number {
  let least = Math.max(1, Math.floor(largest / (TOP * scale)));
  while (TOP * least * scale < largest) least++;
  const last = Math.min(BLOCK_SCALE_MAX, least + BLOCK_SCALES_ABOVE);
  let best = 0;
  let bestError = Infinity;
  for (let m = Math.max(1, least - BLOCK_SCALES_BELOW); m <= last; m++) {
    const step = m * scale;
    let error = 0;
    for (let i = 0; i < count && error < bestError; i++) {
      const w = scaled[i]!;
      let q = w / step + ROUNDER - ROUNDER;
      if (q > TOP) q = TOP;
      else if (q < -TOP) q = -TOP;
      const difference = w - q * step;
      error += difference * difference;
    }
    if (error < bestError) [best, bestError] = [m, error];
  }
  return best;
}
