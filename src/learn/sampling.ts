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
  /** Least weight kept, in 1/65536 of the largest; 0 keeps all. Default 0. */
  readonly minP?: number;
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
  checkInteger("minP", parameters.minP ?? 0, { min: 0, max: 65536 });
}

/**
 * The token drawn from finite logits by 64 random bits, which are asked for only if needed; among those
 * that `allowed` has a 1 for, of which there is at least one.
 */
export function sampleToken(
  logits: Float32Array,
  parameters: SamplingParameters,
  random: () => bigint,
  allowed?: Uint8Array,
): number {
  assert(logits.length >= 1, "no logits");
  if (allowed !== undefined) {
    const candidates = Uint32Array.from(indicesOf(allowed));
    assert(candidates.length >= 1, "nothing is allowed");
    const among = Float32Array.from(candidates, (i) => logits[i]!);
    return candidates[sampleToken(among, parameters, random)]!;
  }
  if (parameters.temperature === 0) return argmax(logits);
  assert(logits.length <= INDICES, "vocabulary too large");
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

function* indicesOf(allowed: Uint8Array): Generator<number> {
  for (let i = 0; i < allowed.length; i++) if (allowed[i] === 1) yield i;
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
  const weights = new Float64Array(logits.length);
  let top = -Infinity;
  for (let i = 0; i < weights.length; i++) {
    weights[i] = logits[i]! * up + ROUNDER - ROUNDER;
    if (weights[i]! > top) top = weights[i]!;
  }
  const scale = temperatureScale(temperature);
  const factor = scale.mantissa * powerOfTwo(scale.exponent + exponent + 16);
  for (let i = 0; i < weights.length; i++) {
    const z = Math.floor((weights[i]! - top) * factor);
    const k = -Math.floor(z / 65536);
    weights[i] = k > 31 ? 0 : Math.floor(exp2Fraction(z + k * 65536) * SHRINK[k]!);
  }
  return weights;
}

/** `2^(16 - k)` for k in 0..31. */
const SHRINK: Float64Array = Float64Array.from({ length: 32 }, (_, k) => powerOfTwo(16 - k));

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
function keepCandidates(weights: Float64Array, parameters: SamplingParameters): Uint32Array {
  const { topK, topP, minP = 0 } = parameters;
  // Weight and index in one binary64 integer below 2^52, so that numbers sort as (weight, -index) do.
  const keys = new Float64Array(weights.length);
  let count = 0;
  for (let i = 0; i < weights.length; i++) {
    if (weights[i]! > 0) keys[count++] = weights[i]! * INDICES + (INDICES - 1 - i);
  }
  const isAll = topP === 65536 && minP === 0 && (topK === 0 || topK >= count);
  const present = keys.subarray(0, count);
  const kept = isAll ? present : keepBest(present.sort(), { topK, topP, minP });
  return Uint32Array.from(kept, (key) => INDICES - 1 - (key % INDICES)).sort();
}

/** Indices are below this. */
const INDICES = 1048576;

/** The last keys of a rising list: `topK` at most, then as few as have the share `topP`, then none below `minP`. */
function keepBest(
  keys: Float64Array,
  { topK, topP, minP }: { topK: number; topP: number; minP: number },
): Float64Array {
  const first = topK === 0 ? keys : keys.subarray(Math.max(0, keys.length - topK));
  let total = 0;
  for (const key of first) total += Math.floor(key / INDICES);
  // The least sum s with 65536 s >= topP * total; the product may pass 2^53.
  const needed = Number((BigInt(topP) * BigInt(total) + 65535n) >> 16n);
  let sum = 0;
  let start = first.length;
  while (sum < needed) sum += Math.floor(first[--start]! / INDICES);
  const largest = Math.floor(first.at(-1)! / INDICES);
  // Both sides are below 2^48.
  while (Math.floor(first[start]! / INDICES) * 65536 < largest * minP) start++;
  return first.subarray(start);
}
