// An encoder of BERT's kind as its file holds it, in f32, and which encoders run here. Not what is computed
// with them: that is the graph of encoder-graph.ts.

import { DECODER_LIMITS, GRAPH_LIMITS, isEpsilon } from "gyrotron/tensor";
import { ModelError } from "../error.ts";

/** Sizes of an encoder; cost depends on these and on the lengths of texts alone. */
export interface EncoderShape {
  readonly width: number;
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly vocabulary: number;
  /** Tokens that a text may have, with those that frame it. */
  readonly context: number;
}

/** The function of the feed-forward part. */
export type EncoderActivation = "gelu" | "gelu-tanh" | "relu";

/** How the vectors of a text's tokens become one. */
export type Pooling = "mean" | "first";

/** What a file says of an encoder besides its tensors. */
export interface EncoderSettings {
  readonly shape: EncoderShape;
  /** f32 in 0..1. */
  readonly epsilon: number;
  readonly activation: EncoderActivation;
  readonly pooling: Pooling;
  /** Whether vectors are scaled to length 1. */
  readonly normalizes: boolean;
}

/** A matrix `[outputs, inputs]`, row-major, and what is added to its results. */
export interface SourceLinear {
  readonly weight: Float32Array;
  readonly bias: Float32Array;
}

/** What follows a norm. */
export interface SourceNorm {
  readonly gain: Float32Array;
  readonly bias: Float32Array;
}

/** One layer's tensors. */
export interface EncoderLayer {
  readonly query: SourceLinear;
  readonly key: SourceLinear;
  readonly value: SourceLinear;
  readonly attentionOutput: SourceLinear;
  readonly attentionNorm: SourceNorm;
  readonly up: SourceLinear;
  readonly down: SourceLinear;
  readonly outputNorm: SourceNorm;
}

/** Settings and tensors. */
export interface EncoderSource extends EncoderSettings {
  /** `[vocabulary, width]`. */
  readonly tokens: Float32Array;
  /** `[context, width]`. */
  readonly positions: Float32Array;
  /** `[width]`: the row of the first segment, the only one that a single text has. */
  readonly segment: Float32Array;
  readonly embeddingNorm: SourceNorm;
  readonly layers: readonly EncoderLayer[];
}

/** What the ops allow (03-op-table: `layer-norm`, `attention`), and what a graph can hold. */
export const ENCODER_LIMITS: Readonly<EncoderShape> = {
  width: 32_767,
  hidden: DECODER_LIMITS.hidden,
  layers: DECODER_LIMITS.layers,
  heads: DECODER_LIMITS.heads,
  vocabulary: DECODER_LIMITS.vocabulary,
  context: GRAPH_LIMITS.positions,
};

/** @throws ModelError `model/limit`, `model/unsupported` on what this version cannot run */
export function checkEncoder(settings: EncoderSettings): void {
  const { shape, epsilon } = settings;
  for (const key of Object.keys(ENCODER_LIMITS) as (keyof EncoderShape)[]) {
    const actual = shape[key];
    if (!Number.isSafeInteger(actual) || actual < 1) unsupported(`${key} ${actual}`);
    const limit = ENCODER_LIMITS[key];
    if (actual > limit) throw new ModelError({ code: "model/limit", what: key, limit, actual });
  }
  const { width, heads } = shape;
  if (width % heads !== 0) unsupported(`width ${width} in ${heads} heads`);
  const headSize = width / heads;
  if (headSize % 2 !== 0) unsupported(`odd head size ${headSize}`);
  const limit = DECODER_LIMITS.headSize;
  if (headSize > limit) {
    throw new ModelError({ code: "model/limit", what: "head size", limit, actual: headSize });
  }
  if (!isEpsilon(epsilon)) unsupported(`norm epsilon ${epsilon}`);
}

function unsupported(what: string): never {
  throw new ModelError({ code: "model/unsupported", what });
}
