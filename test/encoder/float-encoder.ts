// An encoder of BERT's kind as its definition reads, in binary64 and plain loops: what tests compare vectors of
// the exact engine with.

import type { decodeHuggingFaceEncoder } from "gyrotron/model";

type Source = ReturnType<typeof decodeHuggingFaceEncoder>;
type Rows = readonly (readonly number[])[];
type Linear = Source["layers"][number]["query"];

/** The vector of a text by its tokens. */
export function floatEmbedding(source: Source, tokens: readonly number[]): number[] {
  const { width, heads } = source.shape;
  let x: Rows = tokens.map((token, at) =>
    Array.from({ length: width }, (_, i) => {
      const placed = source.positions[at * width + i]! + source.segment[i]!;
      return source.tokens[token * width + i]! + placed;
    }),
  );
  x = layerNorm(x, source.embeddingNorm, source.epsilon);
  for (const layer of source.layers) {
    const attended = attention(
      ...([layer.query, layer.key, layer.value].map((part) => linear(x, part)) as [
        Rows,
        Rows,
        Rows,
      ]),
      heads,
    );
    const mixed = added(linear(attended, layer.attentionOutput), x);
    const y = layerNorm(mixed, layer.attentionNorm, source.epsilon);
    const raised = linear(y, layer.up).map((row) => row.map(activation(source.activation)));
    x = layerNorm(added(linear(raised, layer.down), y), layer.outputNorm, source.epsilon);
  }
  const pooled = source.pooling === "first" ? [...x[0]!] : columnMeans(x);
  if (!source.normalizes) return pooled;
  const length = Math.sqrt(pooled.reduce((sum, value) => sum + value * value, 0));
  return pooled.map((value) => value / length);
}

function linear(x: Rows, { weight, bias }: Linear): Rows {
  return x.map((row) =>
    Array.from(bias, (start, o) =>
      row.reduce((sum, value, i) => sum + value * weight[o * row.length + i]!, start),
    ),
  );
}

function layerNorm(x: Rows, norm: Source["embeddingNorm"], epsilon: number): Rows {
  return x.map((row) => {
    const mean = row.reduce((sum, value) => sum + value, 0) / row.length;
    const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / row.length;
    return row.map((value, i) => {
      return ((value - mean) / Math.sqrt(variance + epsilon)) * norm.gain[i]! + norm.bias[i]!;
    });
  });
}

function attention(q: Rows, k: Rows, v: Rows, heads: number): Rows {
  const size = q[0]!.length / heads;
  return q.map((query) =>
    Array.from({ length: heads }, (_, head) => {
      const slice = (row: readonly number[]): readonly number[] =>
        row.slice(head * size, (head + 1) * size);
      const scores = k.map((key) => {
        const products = slice(key).map((value, i) => value * slice(query)[i]!);
        return products.reduce((sum, value) => sum + value, 0) / Math.sqrt(size);
      });
      const shares = scores.map((score) => Math.exp(score - Math.max(...scores)));
      const total = shares.reduce((sum, share) => sum + share, 0);
      return Array.from({ length: size }, (_, i) =>
        v.reduce((sum, value, t) => sum + (shares[t]! / total) * slice(value)[i]!, 0),
      );
    }).flat(),
  );
}

function added(left: Rows, right: Rows): Rows {
  return left.map((row, r) => row.map((value, i) => value + right[r]![i]!));
}

function columnMeans(x: Rows): number[] {
  return x[0]!.map((_, i) => x.reduce((sum, row) => sum + row[i]!, 0) / x.length);
}

function activation(name: Source["activation"]): (x: number) => number {
  switch (name) {
    case "relu":
      return (x) => Math.max(0, x);
    case "gelu-tanh":
      return (x) => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
    case "gelu":
      return (x) => (x / 2) * (1 + erf(x / Math.SQRT2));
  }
}

/** By the series whose terms all have one sign. */
function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; n < 300; n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}
