// Drawing one candidate from logits (docs/spec/01-numerics.md section 12), in BigInt. Reference only.

import { exp2Fraction, quantizeRow } from "./program.ts";
import { floorScaled } from "./round.ts";
import { temperatureScale } from "./table.ts";

/** Temperature and top-p in 1/65536; top-k 0 for no limit. */
export interface SampleRule {
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
}

/** The lowest index of the largest value of a row of one or more. */
export function argmaxRow(row: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < row.length; i++) if (row[i]! > row[best]!) best = i;
  return best;
}

/** Indices by falling value, equal ones by rising index. */
export function rankRow(row: ArrayLike<number | bigint>): number[] {
  const order = Array.from({ length: row.length }, (_, i) => i);
  return order.sort((a, b) => (row[a]! === row[b]! ? a - b : row[a]! > row[b]! ? -1 : 1));
}

/** The index that 64 random bits draw. */
export function sampleRow(logits: ArrayLike<number>, rule: SampleRule, random: bigint): number {
  if (rule.temperature === 0) return argmaxRow(logits);
  const weights = weightsOf(logits, rule.temperature);
  const ranked = rankRow(weights);
  const first = rule.topK === 0 ? ranked : ranked.slice(0, rule.topK);
  const kept = nucleus(first, weights, BigInt(rule.topP)).sort((a, b) => a - b);
  const target = (random * totalOf(kept, weights)) >> 64n;
  let running = 0n;
  for (const i of kept) {
    running += weights[i]!;
    if (running > target) return i;
  }
  return kept.at(-1)!;
}

function weightsOf(logits: ArrayLike<number>, temperature: number): bigint[] {
  const { mantissas, exponent } = quantizeRow(logits, 24);
  const max = mantissas.reduce((largest, m) => (m > largest ? m : largest));
  const scale = temperatureScale(temperature);
  return mantissas.map((m) => {
    const product = (m - max) * BigInt(scale.mantissa);
    const z = floorScaled(product, scale.exponent + exponent + 16);
    const k = -(z >> 16n);
    // A weight has 32 bits: shifted further, nothing is left.
    return k > 64n ? 0n : (BigInt(exp2Fraction(Number(z & 65535n))) << 16n) >> k;
  });
}

/** The shortest prefix with at least `topP / 65536` of the weight. */
function nucleus(ranked: readonly number[], weights: readonly bigint[], topP: bigint): number[] {
  const total = totalOf(ranked, weights);
  let sum = 0n;
  let count = 0;
  while (count < ranked.length && (count === 0 || 65536n * sum < topP * total)) {
    sum += weights[ranked[count++]!]!;
  }
  return ranked.slice(0, count);
}

function totalOf(indices: readonly number[], weights: readonly bigint[]): bigint {
  return indices.reduce((sum, i) => sum + weights[i]!, 0n);
}
