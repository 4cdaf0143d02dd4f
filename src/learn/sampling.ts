// Integer sampling (docs/spec/01-numerics.md section 12), fast: binary64 holds every integer here exactly
// (the largest are below 2^53), and floor and multiplication by powers of two do not round.

import { assert } from "gyrotron/base";
import { bitsFromF32, EXP2_TABLE, powerOfTwo, ROUNDER, temperatureScale } from "gyrotron/numerics";
import { keepCandidates } from "./candidates.ts";
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
  const weights = sampleWeights(logits, parameters.temperature);
  return drawAmong(weights, keepCandidates(weights, parameters), random);
}

/** The first index, of `kept` or all, at which the running sum of weights passes the random share of their sum. */
function drawAmong(
  weights: Uint32Array,
  kept: Uint32Array | undefined,
  random: () => bigint,
): number {
  const count = kept?.length ?? weights.length;
  let total = 0;
  for (let j = 0; j < count; j++) total += weights[kept === undefined ? j : kept[j]!]!;
  const target = Number((random() * BigInt(total)) >> 64n);
  let sum = 0;
  for (let j = 0; j < count; j++) {
    const i = kept === undefined ? j : kept[j]!;
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
  let largest = values[0]!;
  for (let i = 1; i < values.length; i++) {
    const value = values[i]!;
    if (value > largest) {
      largest = value;
      best = i;
    }
  }
  return best;
}

/** Weights below 2^32, the largest 2^31 or more. */
function sampleWeights(logits: Float32Array, temperature: number): Uint32Array {
  let low = 0;
  let high = 0;
  let first = -Infinity;
  for (let i = 0; i < logits.length; i++) {
    const x = logits[i]!;
    if (x < low) low = x;
    else if (x > high) high = x;
    if (x > first) first = x;
  }
  const exponent = gridExponent(Math.max(-low, high));
  const up = powerOfTwo(-exponent);
  // Rounding keeps order, so the largest logit has the largest mantissa.
  const top = first * up + ROUNDER - ROUNDER;
  const scale = temperatureScale(temperature);
  const factor = scale.mantissa * powerOfTwo(scale.exponent + exponent + 16);
  const weights = new Uint32Array(logits.length);
  for (let i = 0; i < logits.length; i++) {
    const score = (logits[i]! * up + ROUNDER - ROUNDER - top) * factor;
    // From 32 places down on nothing is left.
    if (score < -2031616) continue;
    const z = Math.floor(score) | 0;
    weights[i] = (exp2Fraction(z & 65535) << 16) >>> -(z >> 16);
  }
  return weights;
}

/** The exponent of quantize(x, 24) by the bits of the largest magnitude, section 2. */
function gridExponent(largest: number): number {
  const field = bitsFromF32(largest) >>> 23;
  // 2^23 - 1 times 2^e must reach it; for subnormals -149 does.
  let exponent = Math.max(-149, field - 127 - 22);
  if (largest > 8388607 * powerOfTwo(exponent)) exponent++;
  return Math.min(exponent, 122);
}

/** `exp2_fraction` of section 5. */
export function exp2Fraction(f: number): number {
  const r = f & 1023;
  const a = (r * 45426) >> 10;
  const c = a + (Math.imul(a, a) >>> 23);
  const t = EXP2[f >> 10]!;
  // Below 2^32, of which the shift takes the bits without a sign.
  return t + ((Math.imul(t, c) + 2097152) >>> 22);
}

/** The table on its own, because reading it from a frozen or shared one is slower. */
const EXP2: Uint16Array = Uint16Array.from(EXP2_TABLE);
