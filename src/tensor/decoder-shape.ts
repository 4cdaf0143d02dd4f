// The shape of a decoder and what a backend needs to run one: prepared weights in the formats of
// docs/spec/01-numerics.md sections 2.1 and 10.

import type { DecoderDesign, LayerVectors } from "./decoder-design.ts";
import type { EmbeddingTable } from "./embedding-table.ts";
import type { ActivationBits, MatrixBits, Precision } from "./precision.ts";

/** Sizes of a decoder; cost depends on these alone. */
export interface DecoderShape {
  readonly width: number;
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headSize: number;
  readonly vocabulary: number;
  /** Positions that a sequence may have. */
  readonly context: number;
}

/** Limits of op table version 1; what exceeds them is refused when a model is loaded. */
export const DECODER_LIMITS: Readonly<DecoderShape> = {
  width: 16384,
  hidden: 65536,
  layers: 256,
  heads: 256,
  kvHeads: 256,
  headSize: 128,
  vocabulary: 2 ** 20,
  context: 65536,
};

/** Weights of a matrix that share a multiplier: so many consecutive inputs of an output. */
export const BLOCK_SIZE = 32;
/** The largest multiplier of mantissas of 8 bits: times one of them it is within 14 bits. */
export const BLOCK_SCALE_MAX = 64;
/** The highest of 16 levels. */
export const LEVEL_MAX = 15;
/** The largest integer that levels stand for: that of 14 bits. */
export const LEVEL_WEIGHT_MAX = 8191;

/** Blocks of an output with so many inputs; the last may be short. */
export function blocksOf(inputs: number): number {
  return Math.ceil(inputs / BLOCK_SIZE);
}

/**
 * Weights `[outputs, inputs]` on the grid of each output:
 * `(mantissa * blockScale + blockOffset) * scale * 2^exponent`.
 */
export interface PackedMatrix {
  readonly outputs: number;
  readonly inputs: number;
  readonly bits: MatrixBits;
  /**
   * Row-major `[outputs, inputs]`; Int8Array for 8 bits, Int16Array for 14. For 4 bits a Uint8Array of levels 0..15,
   * two a byte, the lower half first; inputs are a multiple of 32 then.
   */
  readonly mantissas: Int8Array | Int16Array | Uint8Array;
  /**
   * Of a matrix in a file, whose `mantissas` are read when they are asked for: reads those of the rows from `first`
   * on, as many as `target` has room for, so that a device takes them without an array of all.
   */
  readRows?(first: number, target: Uint8Array): void;
  /**
   * Row-major `[outputs, ceil(inputs / 32)]`: one for each 32 inputs of an output. With 8 bits 1..64, or absent
   * where all are 1; with 4 bits 0..1092 as Uint16Array; never with 14.
   */
  readonly blockScales?: Uint8Array | Uint16Array;
  /** As block scales, with 4 bits only: each level's integer is within 14 bits. */
  readonly blockOffsets?: Int16Array;
  /** 128..255, one per output. */
  readonly scales: Uint8Array;
  /** One per output. */
  readonly exponents: Int16Array;
}

/** One layer's prepared weights; the vectors are the same in all layers of a decoder. */
export interface DecoderLayer extends LayerVectors {
  readonly attentionGain: Float32Array;
  readonly query: PackedMatrix;
  readonly key: PackedMatrix;
  readonly value: PackedMatrix;
  readonly attentionOutput: PackedMatrix;
  readonly feedForwardGain: Float32Array;
  /** Of designs with a gate only. */
  readonly gate?: PackedMatrix;
  readonly up: PackedMatrix;
  readonly down: PackedMatrix;
}

/** What a decoder is besides its large tensors, and how it gets rows of the embedding. */
export interface DecoderFrame {
  readonly shape: DecoderShape;
  readonly precision: Precision;
  /** Width of what enters the products, but for `down`. */
  readonly activationBits: ActivationBits;
  /** Width of what enters `down`. */
  readonly downBits: ActivationBits;
  readonly embedding: EmbeddingTable;
  readonly design: DecoderDesign;
  /** Learned positions, a row for each of the context: of designs that have them only. */
  readonly positions?: EmbeddingTable;
  /** The norms' epsilon, an f32. */
  readonly epsilon: number;
  /** Phase per position of each pair, in 2^-32 turns; empty where positions are learned. */
  readonly rotarySteps: Uint32Array;
  /** Whether rotary pairs are neighbours (2i, 2i+1) or half a head apart. */
  readonly rotaryInterleaved: boolean;
}

/**
 * All that a decoder computes with. Immutable. Gains and matrices may be getters that read a file each time:
 * whoever places them elsewhere asks once for each and keeps none.
 */
export interface DecoderWeights extends DecoderFrame {
  readonly layers: readonly DecoderLayer[];
  readonly finalGain: Float32Array;
  /** Of designs with layer norms only. */
  readonly finalNormBias?: Float32Array;
  readonly classifier: PackedMatrix;
}

/** The frame alone, so that a backend that has placed the weights holds on to none of them. */
export function frameOf(weights: DecoderFrame): DecoderFrame {
  const { shape, precision, activationBits, downBits, embedding, design, positions } = weights;
  const { epsilon, rotarySteps, rotaryInterleaved } = weights;
  return {
    ...{ shape, precision, activationBits, downBits, embedding, design },
    ...{ epsilon, rotarySteps, rotaryInterleaved },
    ...(positions !== undefined && { positions }),
  };
}

const FIRST_OPS = ["embed", "position"] as const;
const LAYER_OPS = [
  "attention-norm",
  "attention-gain",
  "attention-norm-bias",
  "query",
  "key",
  "value",
  "query-bias",
  "key-bias",
  "value-bias",
  "query-norm",
  "query-gain",
  "key-norm",
  "key-gain",
  "rotary-query",
  "rotary-key",
  "attention",
  "attention-output",
  "attention-output-bias",
  "attention-residual",
  "feed-forward-norm",
  "feed-forward-gain",
  "feed-forward-norm-bias",
  "gate",
  "up",
  "gate-bias",
  "up-bias",
  "silu",
  "product",
  "gelu",
  "down",
  "down-bias",
  "feed-forward-residual",
] as const;
const FINAL_OPS = ["final-norm", "final-gain", "final-norm-bias", "logits"] as const;

/** An op of a layer, as errors name it. */
export type LayerOp = (typeof LAYER_OPS)[number];
/** An op after the layers, as errors name it. */
export type FinalOp = (typeof FINAL_OPS)[number];

/** Canonical index of the op that adds learned positions, section 10. */
export const POSITION_OP_INDEX = 1;

/** Canonical index of an op within a layer, section 10. */
export function layerOpIndex(layer: number, op: LayerOp): number {
  return FIRST_OPS.length + layer * LAYER_OPS.length + LAYER_OPS.indexOf(op);
}

/** Canonical index of an op after the layers, section 10. */
export function finalOpIndex(layers: number, op: FinalOp): number {
  return FIRST_OPS.length + layers * LAYER_OPS.length + FINAL_OPS.indexOf(op);
}

/** The name of an op index, as it appears in errors: `embed`, `layer 3 gate`, `logits`. */
export function describeOp(layers: number, index: number): string {
  const first = FIRST_OPS[index];
  if (first !== undefined) return first;
  const place = index - FIRST_OPS.length;
  const layer = Math.floor(place / LAYER_OPS.length);
  if (layer < layers) return `layer ${layer} ${LAYER_OPS[place % LAYER_OPS.length]!}`;
  return FINAL_OPS[place - layers * LAYER_OPS.length] ?? "unknown";
}
