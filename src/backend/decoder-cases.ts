// Conformance of whole decoders: tiny random models, run in several chunkings; all logits and failures count.

import { present } from "gyrotron/base";
import { f32FromBits, rotarySteps } from "gyrotron/numerics";
import {
  type Backend,
  BLOCK_SIZE,
  type DecoderDesign,
  type DecoderShape,
  type DecoderWeights,
  decoderWidthsOf,
  designHas,
  embeddingTable,
  GPT2_DESIGN,
  LAYER_VECTORS,
  type LayerVector,
  layerVectorSizes,
  type LayerVectors,
  LLAMA_DESIGN,
  type NonFinite,
  type PackedMatrix,
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
    sizes: Partial<DecoderShape> = {},
  ): DecoderCase => ({
    id: `decoder/${id}`,
    weights: randomDecoder(id, { ...small, ...sizes }, precision, options.interleaved),
    sequences,
    chunk: options.chunk,
  });
  return [
    base("w8a14", "w8a14", { interleaved: true, chunk: 1 }),
    base("w14a14", "w14a14", { interleaved: false, chunk: 3 }),
    base("w8a8", "w8a8", { interleaved: true, chunk: 7 }),
    overflowing(base("overflow", "w8a14", { interleaved: true, chunk: 2 })),
    ...designCases(),
    withLevels(base("levels", "w8a14", { interleaved: true, chunk: 3 }, { width: 32, hidden: 64 })),
    ...(full ? [base("full", "w14a14", { interleaved: true, chunk: 4 })] : []),
  ];
}

/** Decoders with what Llama lacks: biases, norms of heads, heads wider than the width, and all of GPT-2. */
function designCases(): DecoderCase[] {
  const shape: DecoderShape = {
    ...{ width: 18, hidden: 27, layers: 2, heads: 4 },
    ...{ kvHeads: 2, headSize: 10, vocabulary: 37, context: 20 },
  };
  const sequences = [
    [8, 5, 9, 2, 36, 7, 7, 0],
    [3, 12],
  ];
  const build = (
    id: string,
    precision: Precision,
    options: { chunk: number; sizes?: Partial<DecoderShape> } & DecoderParts,
  ): DecoderCase => ({
    id: `decoder/${id}`,
    weights: randomDecoder(id, { ...shape, ...options.sizes }, precision, false, options),
    sequences,
    chunk: options.chunk,
  });
  const qwen2: LayerVector[] = ["queryBias", "keyBias", "valueBias"];
  const gpt2 = LAYER_VECTORS.filter(
    (name) => designHas(GPT2_DESIGN, name) && name !== "queryGain" && name !== "keyGain",
  );
  const gpt2Sizes = { heads: 3, kvHeads: 3, headSize: 6 };
  const all = LAYER_VECTORS.filter((name) => designHas(LLAMA_DESIGN, name));
  const everyVector = build("every-vector", "w14a14", { chunk: 5, vectors: all });
  return [
    build("qwen2", "w8a14", { chunk: 3, vectors: qwen2 }),
    build("qwen3", "w8a8", { chunk: 1, vectors: ["queryGain", "keyGain"] }),
    everyVector,
    build("gpt2", "w14a14", { chunk: 4, sizes: gpt2Sizes, design: GPT2_DESIGN, vectors: gpt2 }),
    build("gpt2-without-biases", "w8a8", {
      ...{ chunk: 1, sizes: gpt2Sizes, design: GPT2_DESIGN },
      vectors: ["attentionNormBias", "feedForwardNormBias"],
    }),
    failingAtPosition(
      build("position-overflow", "w8a14", {
        ...{ chunk: 3, sizes: gpt2Sizes, design: GPT2_DESIGN, vectors: gpt2 },
      }),
    ),
    failingAtBias({ ...everyVector, id: "decoder/bias-overflow", chunk: 8 }),
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

/** What a random decoder is besides Llama's plain form. */
export interface DecoderParts {
  readonly design?: DecoderDesign;
  readonly vectors?: readonly LayerVector[];
}

/** A decoder of random weights, scaled so that values stay of order one. */
export function randomDecoder(
  name: string,
  shape: DecoderShape,
  precision: Precision,
  rotaryInterleaved: boolean,
  { design = LLAMA_DESIGN, vectors = [] }: DecoderParts = {},
): DecoderWeights {
  const v = new CaseValues(`decoder/${name}`);
  const { width, hidden, heads, kvHeads, headSize, vocabulary } = shape;
  const bits = weightBitsOf(precision);
  // Mantissas up to 2^(bits-1), multipliers near 2^5, scales near 2^7.5 and sums over some 20 products: about one.
  const exponent = -(bits - 1) - (bits === 8 ? 5 : 0) - 8 - 1;
  const matrix = (outputs: number, inputs: number): ReturnType<CaseValues["matrix"]> =>
    v.matrix(outputs, inputs, bits, [exponent - 1, exponent + 1]);
  const gain = (): Float32Array =>
    Float32Array.from({ length: width }, () => v.integer(-100, 400) / 256 + 0);
  // Drawn apart, so that what a decoder has besides changes nothing else of it.
  const more = new CaseValues(`decoder/${name}/vectors`);
  const isLearned = design.positions === "learned";
  const hasGate = design.feedForward === "swiglu";
  return {
    shape,
    precision,
    ...decoderWidthsOf(precision),
    design,
    embedding: embeddingTable(v.moderate(vocabulary * width), width),
    ...(isLearned && {
      positions: embeddingTable(more.moderate(shape.context * width), width),
    }),
    layers: Array.from({ length: shape.layers }, () => ({
      attentionGain: gain(),
      query: matrix(heads * headSize, width),
      key: matrix(kvHeads * headSize, width),
      value: matrix(kvHeads * headSize, width),
      attentionOutput: matrix(width, heads * headSize),
      feedForwardGain: gain(),
      ...(hasGate && { gate: matrix(hidden, width) }),
      up: matrix(hidden, width),
      down: matrix(width, hidden),
      ...randomVectors(more, shape, vectors),
    })),
    finalGain: gain(),
    ...(design.norm === "layer" && { finalNormBias: more.moderate(width) }),
    classifier: matrix(vocabulary, width),
    epsilon: Math.fround(1e-5),
    rotarySteps: isLearned ? new Uint32Array(0) : rotarySteps(10000, headSize),
    rotaryInterleaved,
  };
}

function randomVectors(
  v: CaseValues,
  shape: DecoderShape,
  names: readonly LayerVector[],
): LayerVectors {
  const sizes = layerVectorSizes(shape);
  return Object.fromEntries(names.map((name) => [name, v.moderate(sizes[name])]));
}

const LARGEST = f32FromBits(0x7f7fffff);

/**
 * Layers' matrices in levels where inputs come in blocks of 32; in all layers but the first not those of values and
 * gates, so that matrices of two forms stand side by side.
 */
function withLevels(sample: DecoderCase): DecoderCase {
  const { weights } = sample;
  const v = new CaseValues(`${sample.id}/levels`);
  const inLevels = (matrix: PackedMatrix): PackedMatrix => {
    const { outputs, inputs, exponents } = matrix;
    if (inputs % BLOCK_SIZE !== 0) return matrix;
    // A bit lower, as the integers have one more than a mantissa times a common multiplier.
    const exponent = present(exponents[0]) - 1;
    return v.levels(outputs, inputs, [exponent - 1, exponent]);
  };
  const layers = weights.layers.map((layer, i) => ({
    ...layer,
    query: inLevels(layer.query),
    key: inLevels(layer.key),
    value: i === 0 ? inLevels(layer.value) : layer.value,
    attentionOutput: inLevels(layer.attentionOutput),
    gate: i === 0 ? inLevels(present(layer.gate)) : present(layer.gate),
    up: inLevels(layer.up),
    down: inLevels(layer.down),
  }));
  return { ...sample, weights: { ...weights, layers } };
}

/** Position 1 and the embedding of token 5 overflow together, alone neither would. */
function failingAtPosition(sample: DecoderCase): DecoderCase {
  const { weights } = sample;
  const { width, vocabulary, context } = weights.shape;
  const tokens = weights.embedding.rows(0, vocabulary).slice();
  const places = weights.positions!.rows(0, context).slice();
  tokens[5 * width + 3] = LARGEST;
  places[width + 3] = LARGEST;
  const [embedding, positions] = [embeddingTable(tokens, width), embeddingTable(places, width)];
  return { ...sample, weights: { ...weights, embedding, positions } };
}

/** The second layer's keys overflow by their bias, in the sequence whose product there is positive. */
function failingAtBias(sample: DecoderCase): DecoderCase {
  const layers = sample.weights.layers.map((layer, i) => {
    if (i === 0) return layer;
    const exponents = layer.key.exponents.map((e, c) => (c === 2 ? 98 : e));
    const keyBias = layer.keyBias!.slice();
    keyBias[2] = LARGEST;
    return { ...layer, key: { ...layer.key, exponents }, keyBias };
  });
  return { ...sample, weights: { ...sample.weights, layers } };
}

/** Makes one token's embedding so large that the last residual overflows, for the sequence with it only. */
function overflowing(sample: DecoderCase): DecoderCase {
  const { weights } = sample;
  const { width } = weights.shape;
  const values = weights.embedding.rows(0, weights.shape.vocabulary).slice();
  values.fill(LARGEST, 36 * width, 37 * width);
  const embedding = embeddingTable(values, width);
  const layers = weights.layers.map((layer, i) => {
    if (i === 0) return layer;
    const exponents = layer.down.exponents.map(() => 94);
    return { ...layer, down: { ...layer.down, exponents } };
  });
  return { ...sample, weights: { ...weights, embedding, layers } };
}
