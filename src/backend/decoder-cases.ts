// Conformance of whole decoders: tiny random models, run in several chunkings; all logits and failures count.

import { f32FromBits, rotarySteps } from "gyrotron/numerics";
import {
  activationBitsOf,
  type Backend,
  type DecoderShape,
  type DecoderWeights,
  embeddingTable,
  type NonFinite,
  type Precision,
  weightBitsOf,
} from "gyrotron/tensor";
import { CaseValues } from "./case-values.ts";

/** One model, some sequences, and how they are cut into steps. */
export interface DecoderCase {
  readonly id: string;
  readonly weights: DecoderWeights;
  readonly sequences: readonly (readonly number[])[];
  /** Rows a step takes of each sequence. */
  readonly chunk: number;
}

/** Logits by sequence and position, or the failure of the sequence. */
export type DecoderOutcome = readonly (readonly Float32Array[] | NonFinite)[];

export function decoderCases(full: boolean): DecoderCase[] {
  const small: DecoderShape = {
    width: 20,
    hidden: 28,
    layers: 2,
    heads: 4,
    kvHeads: 2,
    headSize: 6,
    vocabulary: 37,
    context: 24,
  };
  const sequences = [
    [1, 5, 9, 2, 36, 7, 7],
    [3, 3, 0],
  ];
  const base = (
    id: string,
    precision: Precision,
    options: { interleaved: boolean; chunk: number },
  ): DecoderCase => ({
    id: `decoder/${id}`,
    weights: randomDecoder(id, small, precision, options.interleaved),
    sequences,
    chunk: options.chunk,
  });
  return [
    base("w8a14", "w8a14", { interleaved: true, chunk: 1 }),
    base("w14a14", "w14a14", { interleaved: false, chunk: 3 }),
    base("w8a8", "w8a8", { interleaved: true, chunk: 7 }),
    overflowing(base("overflow", "w8a14", { interleaved: true, chunk: 2 })),
    ...(full ? [base("full", "w14a14", { interleaved: true, chunk: 4 })] : []),
  ];
}

/** Runs a case; logits are asked for at every position. */
export async function runDecoderCase(
  backend: Backend,
  sample: DecoderCase,
): Promise<DecoderOutcome> {
  const decoder = await backend.createDecoder(sample.weights);
  try {
    const runs = sample.sequences.map((tokens) => ({
      cache: decoder.createCache(sample.weights.shape.context),
      tokens,
      done: 0,
      logits: [] as Float32Array[],
      failure: undefined as NonFinite | undefined,
    }));
    for (;;) {
      const rows = runs.flatMap((run) => {
        if (run.failure !== undefined) return [];
        const next = run.tokens.slice(run.done, run.done + sample.chunk);
        run.done += next.length;
        return next.map((token) => ({ run, row: { cache: run.cache, token, wantsLogits: true } }));
      });
      if (rows.length === 0) break;
      const result = await decoder.step(rows.map(({ row }) => row));
      rows.forEach(({ run }, i) => {
        run.failure ??= result.failures.get(run.cache);
        const logits = result.logits[i];
        if (logits !== undefined) run.logits.push(logits);
      });
    }
    for (const run of runs) run.cache.free();
    return runs.map((run) => run.failure ?? run.logits);
  } finally {
    await decoder.close();
  }
}

/** A decoder of random weights, scaled so that values stay of order one. */
export function randomDecoder(
  name: string,
  shape: DecoderShape,
  precision: Precision,
  rotaryInterleaved: boolean,
): DecoderWeights {
  const v = new CaseValues(`decoder/${name}`);
  const { width, hidden, heads, kvHeads, headSize, vocabulary } = shape;
  const bits = weightBitsOf(precision);
  // Mantissas up to 2^(bits-1), scales near 2^7.5 and sums over some 20 products: about one.
  const exponent = -(bits - 1) - 8 - 1;
  const matrix = (outputs: number, inputs: number): ReturnType<CaseValues["matrix"]> =>
    v.matrix(outputs, inputs, bits, [exponent - 1, exponent + 1]);
  const gain = (): Float32Array =>
    Float32Array.from({ length: width }, () => v.integer(-100, 400) / 256 + 0);
  return {
    shape,
    precision,
    activationBits: activationBitsOf(precision),
    embedding: embeddingTable(v.moderate(vocabulary * width), width),
    layers: Array.from({ length: shape.layers }, () => ({
      attentionGain: gain(),
      query: matrix(heads * headSize, width),
      key: matrix(kvHeads * headSize, width),
      value: matrix(kvHeads * headSize, width),
      attentionOutput: matrix(width, heads * headSize),
      feedForwardGain: gain(),
      gate: matrix(hidden, width),
      up: matrix(hidden, width),
      down: matrix(width, hidden),
    })),
    finalGain: gain(),
    classifier: matrix(vocabulary, width),
    epsilon: Math.fround(1e-5),
    rotarySteps: rotarySteps(10000, headSize),
    rotaryInterleaved,
  };
}

/** Makes one token's embedding so large that the last residual overflows, for the sequence with it only. */
function overflowing(sample: DecoderCase): DecoderCase {
  const { weights } = sample;
  const { width } = weights.shape;
  const values = weights.embedding.rows(0, weights.shape.vocabulary).slice();
  values.fill(f32FromBits(0x7f7fffff), 36 * width, 37 * width);
  const embedding = embeddingTable(values, width);
  const layers = weights.layers.map((layer, i) => {
    if (i === 0) return layer;
    const exponents = layer.down.exponents.map(() => 94);
    return { ...layer, down: { ...layer.down, exponents } };
  });
  return { ...sample, weights: { ...weights, embedding, layers } };
}
