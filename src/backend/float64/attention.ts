// Attention in binary64: scores in units of 2^-16 of a power of two, as the exact op has them, and what they
// combine.

import type { FloatTensor } from "./tensor.ts";

interface Causal {
  readonly causal: boolean;
}

/** Attention of `[B, T, H, d]` over `[B, P, G, d]`. */
export function attend(node: Causal, q: FloatTensor, k: FloatTensor, v: FloatTensor): number[] {
  const [batch, rows, heads] = q.shape as [number, number, number];
  const shape = [batch, heads, rows, k.shape[1]!];
  return combine(node, { shape, data: Float64Array.from(scores(node, q, k)) }, v);
}

/** Scores `[B, H, T, P]`, 0 where not visible. */
export function scores({ causal }: Causal, q: FloatTensor, k: FloatTensor): number[] {
  const [batch, rows, heads, size] = q.shape as [number, number, number, number];
  const [, positions, groups] = k.shape as [number, number, number];
  const scale = (65536 * Math.LOG2E) / Math.sqrt(size);
  const result: number[] = [];
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      for (let t = 0; t < rows; t++) {
        for (let p = 0; p < positions; p++) {
          const group = Math.floor((h * groups) / heads);
          let sum = 0;
          for (let j = 0; j < size; j++) {
            sum +=
              q.data[((b * rows + t) * heads + h) * size + j]! *
              k.data[((b * positions + p) * groups + group) * size + j]!;
          }
          const z = Math.max(-(2 ** 30), Math.min(2 ** 30, sum * scale));
          result.push(causal && p > positions - rows + t ? 0 : z);
        }
      }
    }
  }
  return result;
}

/** Values weighted by the powers of their scores, `[B, T, H, d]`. */
export function combine({ causal }: Causal, z: FloatTensor, v: FloatTensor): number[] {
  const [batch, heads, rows, positions] = z.shape as [number, number, number, number];
  const [, , groups, size] = v.shape as [number, number, number, number];
  const result: number[] = [];
  for (let b = 0; b < batch; b++) {
    for (let t = 0; t < rows; t++) {
      for (let h = 0; h < heads; h++) {
        const visible = causal ? positions - rows + t + 1 : positions;
        const start = ((b * heads + h) * rows + t) * positions;
        const past = z.data.subarray(start, start + visible);
        const top = past.reduce((a, c) => Math.max(a, c), -Infinity);
        const weights = Array.from(past, (score) => 2 ** ((score - top) / 65536));
        const total = weights.reduce((sum, w) => sum + w, 0);
        const group = Math.floor((h * groups) / heads);
        for (let j = 0; j < size; j++) {
          let sum = 0;
          weights.forEach((w, p) => {
            sum += w * v.data[((b * positions + p) * groups + group) * size + j]!;
          });
          result.push(sum / total);
        }
      }
    }
  }
  return result;
}
