// Attention over a batch (docs/spec/01-numerics.md sections 8 and 20) in the oracle: scores, then what they
// combine, for each row and head; the fused op is the composition, as the definition says.

import { present } from "gyrotron/base";
import {
  attentionScale,
  attentionShare,
  exp2Fraction,
  roundScaled,
  roundToF32,
} from "gyrotron/numerics";
import type { HostTensor } from "gyrotron/tensor";
import {
  type BfpUnit,
  bfpUnits,
  f32Result,
  i32Of,
  i32Result,
  type NodeOf,
  type NodeOutcome,
} from "./graph-value.ts";

type Inputs = readonly HostTensor[];
type Causal = { readonly causal: boolean };

/** Sizes of one attention, and which rows go together. */
interface Shape {
  readonly batch: number;
  readonly rows: number;
  readonly heads: number;
  readonly positions: number;
  readonly groups: number;
}

export function attention(node: NodeOf<"attention">, [q, k, v]: Inputs): NodeOutcome {
  const [batch, rows, heads] = present(q).shape as [number, number, number];
  const [, positions, groups] = present(k).shape as [number, number, number];
  const shape = { batch, rows, heads, positions, groups };
  return f32Result(node, combineAll(node, shape, scoresOf(node, shape, q, k), v));
}

export function attentionScores(node: NodeOf<"attention-scores">, [q, k]: Inputs): HostTensor {
  const [batch, rows, heads] = present(q).shape as [number, number, number];
  const [, positions, groups] = present(k).shape as [number, number, number];
  const shape = { batch, rows, heads, positions, groups };
  return i32Result(node, scoresOf(node, shape, q, k));
}

export function attentionCombine(
  node: NodeOf<"attention-combine">,
  [scores, v]: Inputs,
): NodeOutcome {
  const [batch, heads, rows, positions] = present(scores).shape as [number, number, number, number];
  const shape = { batch, rows, heads, positions, groups: present(v).shape[2]! };
  return f32Result(node, combineAll(node, shape, Array.from(i32Of(scores)), v));
}

/** z of step 2 in the order `[batch, head, row, position]`. */
function scoresOf(
  node: Causal,
  { batch, rows, heads, positions, groups }: Shape,
  q: HostTensor | undefined,
  k: HostTensor | undefined,
): number[] {
  const [queries, keys] = [bfpUnits(q), bfpUnits(k)];
  const scale = attentionScale(present(q).shape[3]!);
  const scores: number[] = [];
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      for (let t = 0; t < rows; t++) {
        const query = queries[(b * rows + t) * heads + h]!;
        const visible = visibleTo(node, rows, positions, t);
        for (let p = 0; p < positions; p++) {
          const key = keys[(b * positions + p) * groups + Math.floor((h * groups) / heads)]!;
          scores.push(p < visible ? scoreOf(query, key, scale) : 0);
        }
      }
    }
  }
  return scores;
}

function scoreOf(
  query: BfpUnit,
  key: BfpUnit,
  scale: { readonly mantissa: number; readonly exponent: number },
): number {
  let sum = 0n;
  query.mantissas.forEach((m, j) => (sum += m * key.mantissas[j]!));
  const exponent = scale.exponent + query.exponent + key.exponent;
  const z = roundScaled(sum * BigInt(scale.mantissa), exponent);
  const bound = 1n << 30n;
  return Number(z > bound ? bound : z < -bound ? -bound : z);
}

/** Steps 3 to 5 for all rows, in the order `[batch, row, head, element]`. */
function combineAll(
  node: Causal,
  { batch, rows, heads, positions, groups }: Shape,
  scores: readonly number[],
  v: HostTensor | undefined,
): number[] {
  const values = bfpUnits(v);
  const size = present(v).shape[3]!;
  const result: number[] = [];
  for (let b = 0; b < batch; b++) {
    for (let t = 0; t < rows; t++) {
      for (let h = 0; h < heads; h++) {
        const start = ((b * heads + h) * rows + t) * positions;
        const visible = visibleTo(node, rows, positions, t);
        const group = Math.floor((h * groups) / heads);
        const past = Array.from({ length: visible }, (_, p) => ({
          z: scores[start + p]!,
          value: values[(b * positions + p) * groups + group]!,
        }));
        result.push(...combine(past, size));
      }
    }
  }
  return result;
}

function combine(past: readonly { z: number; value: BfpUnit }[], size: number): number[] {
  const weights = past.map(({ z, value }) => ({
    n: z >> 16,
    u: exp2Fraction(z & 65535),
    e: value.exponent,
  }));
  const top = Math.max(...weights.map(({ n }) => n));
  const topValue = Math.max(...weights.map(({ n, e }) => n + e));
  let total = 0n;
  const sums = Array.from({ length: size }, () => 0n);
  weights.forEach(({ n, u, e }, p) => {
    total += attentionShare(u, top - n);
    const share = attentionShare(u, topValue - n - e);
    past[p]!.value.mantissas.forEach((m, j) => (sums[j]! += share * m));
  });
  return sums.map((sum) => roundToF32(sum, topValue - top, total));
}

/** How many positions a row sees. */
function visibleTo({ causal }: Causal, rows: number, positions: number, row: number): number {
  return causal ? positions - rows + row + 1 : positions;
}
