// Natural logarithms of the probabilities of tokens: log_softmax of docs/spec/01-numerics.md section 17,
// fast: every integer here is below 2^53.

import {
  bitsFromF32,
  logCurveTable,
  logTable,
  LOG_TWO,
  powerOfTwo,
  ROUNDER,
} from "gyrotron/numerics";
import { exp2Fraction } from "./sampling.ts";

/** RNE(2^22 log2 e), section 9. */
const SCALE = 6051102 / 64;
const CLAMP = 2 ** 30;

/** A token and the logarithm of its probability, an f32. */
export interface TokenLogProbability {
  readonly token: number;
  readonly logProbability: number;
}

/** log_softmax of the logits at some tokens. */
export function logProbabilities(logits: Float32Array, tokens: readonly number[]): number[] {
  let largest = -Infinity;
  for (const x of logits) if (x > largest) largest = x;
  let total = 0;
  for (const x of logits) total += weightOf(Math.fround(largest - x));
  const lse = logOfTotal(total);
  return tokens.map((token) => Math.fround(Math.fround(logits[token]! - largest) - lse) + 0);
}

/** The `count` likeliest tokens, equal ones by rising index. */
export function topTokens(logits: Float32Array, count: number): number[] {
  const best: number[] = [];
  const worst = (): number => logits[best.at(-1)!]!;
  for (let i = 0; i < logits.length; i++) {
    if (best.length === count && logits[i]! <= worst()) continue;
    let at = best.length;
    while (at > 0 && logits[best[at - 1]!]! < logits[i]!) at--;
    best.splice(at, 0, i);
    if (best.length > count) best.pop();
  }
  return best;
}

/** `(u * 2^16) >> -n` for a value `d` below the maximum. */
function weightOf(d: number): number {
  const t = Math.min(CLAMP, d * SCALE + ROUNDER - ROUNDER);
  const k = Math.ceil(t / 65536);
  if (k > 31) return 0;
  return Math.floor((exp2Fraction(k * 65536 - t) * 65536) / powerOfTwo(k));
}

/** `lse` of section 17. */
function logOfTotal(total: number): number {
  const exponent = Math.max(0, floorLog2(total) - 23);
  const f = Math.floor(total / powerOfTwo(exponent)) - 2 ** 23;
  const i = f >> 15;
  const s = f & 32767;
  const w = (s * (32768 - s)) >> 15;
  const table = logTable();
  const chord = Math.floor(((table[i + 1]! - table[i]!) * s + 16384) / 32768);
  const curve = Math.floor((logCurveTable()[i]! * w + 262144) / 524288);
  const value = (exponent - 8) * LOG_TWO + table[i]! + chord + curve;
  return Math.fround(value / 16777216);
}

/** The exponent of a total below 2^53; rounding up to the next power can only happen at 2^53. */
function floorLog2(total: number): number {
  let exponent = (bitsFromF32(Math.fround(total)) >>> 23) - 127;
  if (powerOfTwo(exponent) > total) exponent--;
  return exponent;
}
