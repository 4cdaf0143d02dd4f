// Errors of generation requests. A value that is not finite is no error but an outcome.

import { GyrotronError } from "gyrotron/base";

export type GenerationErrorInfo =
  | { code: "learn/prompt-empty" }
  | { code: "learn/prompt-too-long"; tokens: number; context: number }
  | { code: "learn/token-unknown"; token: number; vocabulary: number }
  | { code: "learn/schema"; path: string; what: string }
  | { code: "learn/parameter"; name: string; value: number; min: number; max: number };

/** A request that cannot be run, known before any computation. */
export class GenerationError extends GyrotronError<GenerationErrorInfo> {}

/** @throws GenerationError `learn/parameter` unless `value` is an integer in `min..max` */
export function checkInteger(
  name: string,
  value: number,
  range: { min: number; max: number },
): void {
  const { min, max } = range;
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw new GenerationError({ code: "learn/parameter", name, value, min, max });
}
