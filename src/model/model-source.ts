// A model as its file holds it, in f32: what every loader produces and preparation consumes.

import { DECODER_LIMITS, type DecoderShape, type EmbeddingTable, isEpsilon } from "gyrotron/tensor";
import { ModelError } from "./error.ts";

/** One layer's tensors, matrices `[outputs, inputs]` row-major. */
export interface SourceLayer {
  readonly attentionGain: Float32Array;
  readonly query: Float32Array;
  readonly key: Float32Array;
  readonly value: Float32Array;
  readonly attentionOutput: Float32Array;
  readonly feedForwardGain: Float32Array;
  readonly gate: Float32Array;
  readonly up: Float32Array;
  readonly down: Float32Array;
}

/** What a file says of a Llama-type decoder besides its tensors. */
export interface ModelSettings {
  readonly shape: DecoderShape;
  /** f32 in 0..1. */
  readonly epsilon: number;
  readonly rotaryTheta: number;
  readonly rotaryInterleaved: boolean;
  readonly beginToken: number;
  /** Tokens that end a text. */
  readonly endTokens: readonly number[];
}

/** Settings and tensors. */
export interface ModelSource extends ModelSettings {
  readonly embedding: EmbeddingTable;
  readonly layers: readonly SourceLayer[];
  readonly finalGain: Float32Array;
  /** Absent where the embedding is used. */
  readonly classifier: Float32Array | undefined;
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
  for (const token of [settings.beginToken, ...settings.endTokens]) {
    if (!(Number.isInteger(token) && token >= 0 && token < shape.vocabulary))
      unsupported(`token ${token}`);
  }
}

function unsupported(what: string): never {
  throw new ModelError({ code: "model/unsupported", what });
}
