// Preparation: a model's f32 tensors become the engine's formats, exactly and once. The result is content
// addressed: equal files and precision give equal identities on every machine.

import { rotarySteps } from "gyrotron/numerics";
import {
  activationBitsOf,
  type DecoderShape,
  type DecoderWeights,
  type PackedMatrix,
  type Precision,
  PRECISION_DEFAULT,
  type WeightBits,
  weightBitsOf,
} from "gyrotron/tensor";
import { quantizeColumns, quantizeTable } from "./column-quantize.ts";
import { modelIdentity } from "./identity.ts";
import type { ModelSource } from "./model-source.ts";

/** A model ready to run on any backend. */
export interface PreparedModel {
  /** SHA-256 of everything that the results depend on. */
  readonly identity: Uint8Array;
  readonly shape: DecoderShape;
  readonly precision: Precision;
  readonly weights: DecoderWeights;
  readonly beginToken: number;
  readonly endTokens: readonly number[];
}

/** Quantizes a model; about 50 ms a million weights. */
export function prepareModel(
  source: ModelSource,
  precision: Precision = PRECISION_DEFAULT,
): PreparedModel {
  const { shape, embedding } = source;
  const { width, hidden, heads, kvHeads, headSize } = shape;
  const bits = weightBitsOf(precision);
  const pack = (values: Float32Array, outputs: number, inputs: number): PackedMatrix =>
    quantizeColumns(values, { outputs, inputs, bits });
  const attended = heads * headSize;
  const keys = kvHeads * headSize;
  const weights: DecoderWeights = {
    shape,
    precision,
    activationBits: activationBitsOf(precision),
    embedding,
    layers: source.layers.map((layer) => ({
      attentionGain: layer.attentionGain,
      query: pack(layer.query, attended, width),
      key: pack(layer.key, keys, width),
      value: pack(layer.value, keys, width),
      attentionOutput: pack(layer.attentionOutput, width, attended),
      feedForwardGain: layer.feedForwardGain,
      gate: pack(layer.gate, hidden, width),
      up: pack(layer.up, hidden, width),
      down: pack(layer.down, width, hidden),
    })),
    finalGain: source.finalGain,
    classifier: prepareClassifier(source, bits),
    epsilon: source.epsilon,
    rotarySteps: rotarySteps(source.rotaryTheta, headSize),
    rotaryInterleaved: source.rotaryInterleaved,
  };
  const { beginToken, endTokens } = source;
  return { identity: modelIdentity(weights), shape, precision, weights, beginToken, endTokens };
}

/** The classifier's own weights, or those of the embedding. */
function prepareClassifier(source: ModelSource, bits: WeightBits): PackedMatrix {
  const { classifier, embedding, shape } = source;
  if (classifier === undefined) return quantizeTable(embedding, bits);
  return quantizeColumns(classifier, { outputs: shape.vocabulary, inputs: shape.width, bits });
}
