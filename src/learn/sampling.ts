// Integer sampling (docs/spec/01-numerics.md section 12), fast: binary64 holds every integer here exactly
// (the largest are below 2^53), and floor and multiplication by powers of two do not round.

import { assert } from "gyrotron/base";
import { bitsFromF32, EXP2_TABLE, powerOfTwo, temperatureScale } from "gyrotron/numerics";
import { checkInteger } from "./error.ts";

/** How the next token is drawn. All integers. */
export interface SamplingParameters {
  /** In 1/65536; 0 takes the likeliest token. Limit 2^20. */
  readonly temperature: number;
  /** Candidates kept; 0 keeps all. */
  readonly topK: number;
  /** Share of probability kept, in 1/65536; 65536 keeps all. */
  readonly topP: number;
}

/** The likeliest token each time. */
export const GREEDY: SamplingParameters = { temperature: 0, topK: 0, topP: 65536 };

/** Adding and subtracting this rounds a binary64 below 2^51 to an integer, to nearest even. */
const ROUNDER = 6755399441055744;

/** @throws GenerationError `learn/parameter` */
export function checkSampling(parameters: SamplingParameters): void {
  checkInteger("temperature", parameters.temperature, { min: 0, max: 2 ** 20 });
  checkInteger("topK", parameters.topK, { min: 0, max: 2 ** 31 - 1 });
  checkInteger("topP", parameters.topP, { min: 1, max: 65536 });
}

/** The token drawn from finite logits by 64 random bits, which are asked for only if needed. */
export function sampleToken(
  logits: Float32Array,
  parameters: SamplingParameters,
  random: () => bigint,
): number {
  assert(logits.length >= 1, "no logits");
  if (parameters.temperature === 0) return argmax(logits);
  const weights = sampleWeights(logits, parameters.temperature);
  const kept = keepCandidates(weights, parameters);
  let total = 0;
  for (const i of kept) total += weights[i]!;
  const target = Number((random() * BigInt(total)) >> 64n);
  let sum = 0;
  for (const i of kept) {
    sum += weights[i]!;
    if (sum > target) return i;
  }
  assert(false, "the weights do not reach their sum");
}

/** The lowest index of the largest value. */
export function argmax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

/** Weights below 2^32, the largest 2^31 or more. */
function sampleWeights(logits: Float32Array, temperature: number): Float64Array {
  let largest = 0;
  for (const x of logits) largest = Math.max(largest, Math.abs(x));
  const exponent = gridExponent(largest);
  const up = powerOfTwo(-exponent);
  const mantissas = Float64Array.from(logits, (x) => x * up + ROUNDER - ROUNDER);
  let top = -Infinity;
  for (const m of mantissas) top = Math.max(top, m);
  const scale = temperatureScale(temperature);
  const factor = powerOfTwo(scale.exponent + exponent + 16);
  return mantissas.map((m) => {
    const z = Math.floor((m - top) * scale.mantissa * factor);
    const n = Math.floor(z / 65536);
    return n < -31 ? 0 : Math.floor(exp2Fraction(z - n * 65536) * 65536 * powerOfTwo(n));
  });
}

/** The exponent of quantize(x, 24) by the bits of the largest magnitude, section 2. */
function gridExponent(largest: number): number {
  const field = bitsFromF32(largest) >>> 23;
  // 2^23 - 1 times 2^e must reach it; for subnormals -149 does.
  let exponent = Math.max(-149, field - 127 - 22);
  if (largest > 8388607 * powerOfTwo(exponent)) exponent++;
  return Math.min(exponent, 122);
}

/** `exp2_fraction` of section 5 in binary64. */
export function exp2Fraction(f: number): number {
  const r = f & 1023;
  const a = (r * 45426) >> 10;
  const c = a + Math.floor((a * a) / 8388608);
  const t = EXP2_TABLE[f >> 10]!;
  return t + Math.floor((t * c + 2097152) / 4194304);
}

/** Indices with a weight that survive top-k and top-p, rising. */
function keepCandidates(weights: Float64Array, { topK, topP }: SamplingParameters): number[] {
  const all: number[] = [];
  weights.forEach((w, i) => {
    if (w > 0) all.push(i);
  });
  if (topP === 65536 && (topK === 0 || topK >= all.length)) return all;
  all.sort((a, b) => weights[b]! - weights[a]! || a - b);
  const first = topK === 0 ? all : all.slice(0, topK);
  let total = 0;
  for (const i of first) total += weights[i]!;
  // Up to 2^52 * 2^16: compared as integers beyond 2^53.
  const needed = BigInt(topP) * BigInt(total);
  let sum = 0;
  let count = 0;
  while (65536n * BigInt(sum) < needed) sum += weights[first[count++]!]!;
  return first.slice(0, count).sort((a, b) => a - b);
}
