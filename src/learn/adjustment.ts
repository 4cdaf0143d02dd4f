// What is done to logits before a token is drawn (docs/spec/01-numerics.md section 12.1): biases and
// penalties in single f32 operations, which every binary64 machine does alike.

import { checkInteger } from "./error.ts";

/** Changes to logits. All numbers are integers in 1/65536. */
export interface Adjustments {
  /** Added to the logits of tokens. Limits: |bias| < 2^23. */
  readonly bias?: ReadonlyMap<number, number>;
  /** Divides positive and multiplies negative logits of tokens that have occurred. 65536 is none. Limits: 1..2^20. */
  readonly repetitionPenalty?: number;
  /** Taken from the logits of tokens that have occurred. Limits: |penalty| <= 2^20. */
  readonly presencePenalty?: number;
  /** Taken from the logits of tokens once for each time that they have occurred. Limits: |penalty| <= 2^20. */
  readonly frequencyPenalty?: number;
}

const ONE = 65536;
const LARGEST = 3.4028234663852886e38;

/** @throws GenerationError `learn/parameter` */
export function checkAdjustments(adjustments: Adjustments, vocabulary: number): void {
  const { bias, repetitionPenalty = ONE, presencePenalty = 0, frequencyPenalty = 0 } = adjustments;
  for (const [token, value] of bias ?? []) {
    checkInteger("bias token", token, { min: 0, max: vocabulary - 1 });
    checkInteger("bias", value, { min: 1 - 2 ** 23, max: 2 ** 23 - 1 });
  }
  checkInteger("repetitionPenalty", repetitionPenalty, { min: 1, max: 2 ** 20 });
  checkInteger("presencePenalty", presencePenalty, { min: -(2 ** 20), max: 2 ** 20 });
  checkInteger("frequencyPenalty", frequencyPenalty, { min: -(2 ** 20), max: 2 ** 20 });
}

/** The logits that sampling sees; `logits` itself if nothing changes. `counts` says how often tokens have occurred. */
export function adjustLogits(
  logits: Float32Array,
  adjustments: Adjustments,
  counts: ReadonlyMap<number, number>,
): Float32Array {
  const { bias, repetitionPenalty = ONE, presencePenalty = 0, frequencyPenalty = 0 } = adjustments;
  const isPenalized = repetitionPenalty !== ONE || presencePenalty !== 0 || frequencyPenalty !== 0;
  if (!isPenalized && (bias === undefined || bias.size === 0)) return logits;
  const result = logits.slice();
  for (const [token, value] of bias ?? []) result[token] = finite(result[token]! + value / ONE);
  if (!isPenalized) return result;
  for (const [token, count] of counts) {
    let x = result[token]!;
    if (repetitionPenalty !== ONE) {
      // The quotient of 40 bits by 21 cannot be so near a tie that rounding twice would show.
      x = x > 0 ? (x * ONE) / repetitionPenalty : (x * repetitionPenalty) / ONE;
      x = finite(x);
    }
    const penalty = Math.fround((presencePenalty + frequencyPenalty * count) / ONE);
    result[token] = penalty === 0 ? x : finite(x - penalty);
  }
  return result;
}

/** The nearest finite f32, without -0. Sums of two f32 round once here: binary64 loses only what cannot decide. */
function finite(value: number): number {
  return Math.max(-LARGEST, Math.min(LARGEST, Math.fround(value))) + 0;
}
