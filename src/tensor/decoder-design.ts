// How a decoder's layers are built, besides their sizes: which norm, how positions enter, which feed-forward
// part, and which vectors (biases, gains of heads) a layer has. docs/spec/01-numerics.md section 10.

import type { DecoderShape } from "./decoder-shape.ts";

export const NORM_KINDS = ["rms", "layer"] as const;
export const POSITION_KINDS = ["rotary", "learned"] as const;
export const FEED_FORWARD_KINDS = ["swiglu", "gelu-tanh"] as const;

/** The kinds of a decoder's parts. */
export interface DecoderDesign {
  /** `layer` has a bias besides its gain. */
  readonly norm: (typeof NORM_KINDS)[number];
  /** `learned`: a row for each position is added to the embedding, and nothing is rotated. */
  readonly positions: (typeof POSITION_KINDS)[number];
  /** `swiglu`: silu(gate) * up; `gelu-tanh`: gelu-tanh(up), without a gate. */
  readonly feedForward: (typeof FEED_FORWARD_KINDS)[number];
}

/** Llama, Mistral, Qwen: RMS norms, rotated heads, gated feed-forward parts. */
export const LLAMA_DESIGN: DecoderDesign = {
  norm: "rms",
  positions: "rotary",
  feedForward: "swiglu",
};

/** GPT-2: layer norms, learned positions, GELU by its tanh form. */
export const GPT2_DESIGN: DecoderDesign = {
  norm: "layer",
  positions: "learned",
  feedForward: "gelu-tanh",
};

/** Vectors that a layer may have, in the order of their ops. */
export const LAYER_VECTORS = [
  "attentionNormBias",
  "queryBias",
  "keyBias",
  "valueBias",
  "queryGain",
  "keyGain",
  "attentionOutputBias",
  "feedForwardNormBias",
  "gateBias",
  "upBias",
  "downBias",
] as const;

/** The name of one. Biases are added to products and norms; the two gains make norms of the heads. */
export type LayerVector = (typeof LAYER_VECTORS)[number];

/** The vectors of a layer in f32. */
export type LayerVectors = Readonly<Partial<Record<LayerVector, Float32Array>>>;

/** Values of each vector of a layer. */
export function layerVectorSizes(shape: DecoderShape): Readonly<Record<LayerVector, number>> {
  const { width, hidden, heads, kvHeads, headSize } = shape;
  return {
    attentionNormBias: width,
    queryBias: heads * headSize,
    keyBias: kvHeads * headSize,
    valueBias: kvHeads * headSize,
    queryGain: headSize,
    keyGain: headSize,
    attentionOutputBias: width,
    feedForwardNormBias: width,
    gateBias: hidden,
    upBias: hidden,
    downBias: width,
  };
}

/** Whether a design can have a vector; norms of kind `layer` must have their biases. */
export function designHas(design: DecoderDesign, vector: LayerVector): boolean {
  if (vector === "attentionNormBias" || vector === "feedForwardNormBias")
    return design.norm === "layer";
  return vector !== "gateBias" || design.feedForward === "swiglu";
}

/** Vectors that a layer has, none of which is read. */
export function layerVectorsOf(layer: LayerVectors): LayerVector[] {
  return LAYER_VECTORS.filter((name) => name in layer);
}
