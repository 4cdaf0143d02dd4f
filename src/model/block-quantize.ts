// Weights of 8 bits with a multiplier for each 32 inputs (docs/spec/01-numerics.md section 2.2), fast. The
// oracle's `quantizeBlockColumn` is the definition; a test compares them. Why binary64 rounds mantissas right
// is said in ./column-quantize.ts: the divisor is below 2^14 here, which leaves 2^-36.

import { BLOCK_SCALES_ABOVE, BLOCK_SCALES_BELOW, powerOfTwo, ROUNDER } from "gyrotron/numerics";
import { BLOCK_SCALE_MAX, BLOCK_SIZE } from "gyrotron/tensor";

const TOP = 127;

/** A column of weights and where its parts go; `step` is its grid, `D * 2^e`. */
export interface BlockColumn {
  readonly weights: Float32Array;
  readonly scale: number;
  readonly exponent: number;
  readonly mantissas: Int8Array;
  readonly blockScales: Uint8Array;
}

/** A block's weights in units of `2^e`, zeros behind a short one's. */
const scaled = new Float64Array(BLOCK_SIZE);

/** Fills mantissas and block scales of one column. */
export function quantizeBlocks(column: BlockColumn): void {
  const { weights, scale, mantissas, blockScales } = column;
  const up = powerOfTwo(-column.exponent);
  for (let start = 0, b = 0; start < weights.length; start += BLOCK_SIZE, b++) {
    const count = Math.min(BLOCK_SIZE, weights.length - start);
    let largest = 0;
    if (count < BLOCK_SIZE) scaled.fill(0);
    for (let i = 0; i < count; i++) {
      const w = weights[start + i]! * up;
      scaled[i] = w;
      largest = Math.max(largest, Math.abs(w));
    }
    const m = bestScale(largest, scale);
    blockScales[b] = m;
    const step = m * scale;
    for (let i = 0; i < count; i++) {
      mantissas[start + i] = clamped(scaled[i]! / step + ROUNDER - ROUNDER);
    }
  }
}

/** The multiplier near the least covering one whose squared errors sum to the least; the smaller of equal ones. */
function bestScale(largest: number, scale: number): number {
  let least = Math.max(1, Math.floor(largest / (TOP * scale)));
  while (TOP * least * scale < largest) least++;
  let best = 0;
  let bestError = Infinity;
  const last = Math.min(BLOCK_SCALE_MAX, least + BLOCK_SCALES_ABOVE);
  for (let m = Math.max(1, least - BLOCK_SCALES_BELOW); m <= last; m++) {
    const error = errorOf(m * scale);
    if (error >= bestError) continue;
    best = m;
    bestError = error;
  }
  return best;
}

/** Four sums side by side, because one would wait for itself. */
function errorOf(step: number): number {
  const inverse = 1 / step;
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  for (let i = 0; i < BLOCK_SIZE; i += 4) {
    const a = scaled[i]!;
    const b = scaled[i + 1]!;
    const c = scaled[i + 2]!;
    const d = scaled[i + 3]!;
    const da = a - clamped(a * inverse + ROUNDER - ROUNDER) * step;
    const db = b - clamped(b * inverse + ROUNDER - ROUNDER) * step;
    const dc = c - clamped(c * inverse + ROUNDER - ROUNDER) * step;
    const dd = d - clamped(d * inverse + ROUNDER - ROUNDER) * step;
    s0 += da * da;
    s1 += db * db;
    s2 += dc * dc;
    s3 += dd * dd;
  }
  return s0 + s1 + (s2 + s3);
}

function clamped(q: number): number {
  return q > TOP ? TOP : q < -TOP ? -TOP : q;
}
