// A model as its file holds it, in f32: what every loader produces and preparation consumes.

import type { RotaryScaling } from "gyrotron/numerics";
import {
  DECODER_LIMITS,
  type DecoderDesign,
  type DecoderShape,
  type EmbeddingTable,
  isEpsilon,
  type LayerVectors,
} from "gyrotron/tensor";
import { ModelError } from "./error.ts";
import type { LevelMatrix } from "./level-matrix.ts";

/** A matrix of a layer. */
export type LayerMatrix = "query" | "key" | "value" | "attentionOutput" | "gate" | "up" | "down";

export const LAYER_MATRICES: readonly LayerMatrix[] = [
  ...(["query", "key", "value", "attentionOutput"] as const),
  ...(["gate", "up", "down"] as const),
];

/** One layer's tensors, matrices `[outputs, inputs]` row-major. All layers have the same. */
export interface SourceLayer extends LayerVectors {
  readonly attentionGain: Float32Array;
  readonly query: Float32Array;
  readonly key: Float32Array;
  readonly value: Float32Array;
  readonly attentionOutput: Float32Array;
  readonly feedForwardGain: Float32Array;
  /** Of designs with a gate only. */
  readonly gate?: Float32Array;
  readonly up: Float32Array;
  readonly down: Float32Array;
  /** How to read those matrices as levels whose files have them: the same numbers, before they are f32. */
  readonly levels?: { readonly [K in LayerMatrix]?: () => LevelMatrix };
}

/** What a file says of a decoder besides its tensors. */
export interface ModelSettings {
  readonly shape: DecoderShape;
  /** Llama's if absent. */
  readonly design?: DecoderDesign;
  /** f32 in 0..1. */
  readonly epsilon: number;
  readonly rotaryTheta: number;
  readonly rotaryScaling?: RotaryScaling;
  readonly rotaryInterleaved: boolean;
  readonly beginToken: number;
  /** Tokens that end a text. */
  readonly endTokens: readonly number[];
}

/** Settings and tensors. */
export interface ModelSource extends ModelSettings {
  readonly embedding: EmbeddingTable;
  /** Learned positions, a row for each of the context. */
  readonly positions?: EmbeddingTable;
  readonly layers: readonly SourceLayer[];
  readonly finalGain: Float32Array;
  /** Of designs with layer norms only. */
  readonly finalNormBias?: Float32Array;
  /** Absent where the embedding is used. */
  readonly classifier: EmbeddingTable | undefined;
}

/** @throws ModelError `model/limit`, `model/unsupported` on what this version cannot run */
export function checkSettings(settings: ModelSettings): void {
  const { shape, epsilon, rotaryTheta } = settings;
  for (const key of Object.keys(DECODER_LIMITS) as (keyof DecoderShape)[]) {
    const actual = shape[key];
    if (!Number.isSafeInteger(actual) || actual < 1) unsupported(`${key} ${actual}`);
    const limit = DECODER_LIMITS[key];
    if (actual > limit) throw new ModelError({ code: "model/limit", what: key, limit, actual });
  }
  if (shape.headSize % 2 !== 0) unsupported(`odd head size ${shape.headSize}`);
  if (shape.heads % shape.kvHeads !== 0)
    unsupported(`${shape.heads} heads in ${shape.kvHeads} groups`);
  if (!isEpsilon(epsilon)) unsupported(`norm epsilon ${epsilon}`);
  if (!(rotaryTheta > 1 && rotaryTheta <= 2 ** 40)) unsupported(`rotary theta ${rotaryTheta}`);
  if (settings.rotaryScaling !== undefined) checkScaling(settings.rotaryScaling, shape);
  for (const token of [settings.beginToken, ...settings.endTokens]) {
    if (!(Number.isInteger(token) && token >= 0 && token < shape.vocabulary))
      unsupported(`token ${token}`);
  }
}

function checkScaling(scaling: RotaryScaling, shape: DecoderShape): void {
  const isFactor = (value: number): boolean => value >= 2 ** -20 && value <= 2 ** 40;
  const good = (): boolean => {
    switch (scaling.kind) {
      case "linear":
        return isFactor(scaling.factor);
      case "divisors":
        return scaling.divisors.length === shape.headSize / 2 && scaling.divisors.every(isFactor);
      case "llama3": {
        const { factor, lowFrequencyFactor: low, highFrequencyFactor: high } = scaling;
        const { originalContext } = scaling;
        const isCount = Number.isSafeInteger(originalContext) && originalContext >= 1;
        return [factor, low, high, originalContext].every(isFactor) && low < high && isCount;
      }
    }
  };
  if (!good()) unsupported(`rotary scaling ${scaling.kind} with these numbers`);
}

function unsupported(what: string): never {
  throw new ModelError({ code: "model/unsupported", what });
}
