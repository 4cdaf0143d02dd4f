// Preparation: a model's f32 tensors become the engine's formats, exactly and once. The result is content
// addressed: equal files and precision give equal identities on every machine.

import { rotarySteps } from "gyrotron/numerics";
import {
  decoderWidthsOf,
  type DecoderDesign,
  type DecoderShape,
  type DecoderWeights,
  LLAMA_DESIGN,
  type PackedMatrix,
  type Precision,
  PRECISION_DEFAULT,
  layerVectorsOf,
  type WeightBits,
  weightBitsOf,
} from "gyrotron/tensor";
import { quantizeColumns, quantizeTable } from "./column-quantize.ts";
import { modelIdentity } from "./identity.ts";
import type { ModelSource, SourceLayer } from "./model-source.ts";

/** A model ready to run on any backend. */
export interface PreparedModel {
  /** SHA-256 of everything that the results depend on. */
  readonly identity: Uint8Array;
  readonly shape: DecoderShape;
  readonly precision: Precision;
  readonly design: DecoderDesign;
  readonly weights: DecoderWeights;
  readonly beginToken: number;
  readonly endTokens: readonly number[];
}

/** Quantizes a model; about 25 ms a million weights. */
export function prepareModel(
  source: ModelSource,
  precision: Precision = PRECISION_DEFAULT,
): PreparedModel {
  const { shape, embedding, positions, finalNormBias, design = LLAMA_DESIGN } = source;
  const { width, hidden, heads, kvHeads, headSize } = shape;
  const bits = weightBitsOf(precision);
  const pack = (values: Float32Array, outputs: number, inputs: number): PackedMatrix =>
    quantizeColumns(values, { outputs, inputs, bits, blocks: bits === 8 });
  const attended = heads * headSize;
  const keys = kvHeads * headSize;
  const weights: DecoderWeights = {
    shape,
    precision,
    ...decoderWidthsOf(precision),
    design,
    embedding,
    ...(positions !== undefined && { positions }),
    layers: source.layers.map((layer) => ({
      attentionGain: layer.attentionGain,
      query: pack(layer.query, attended, width),
      key: pack(layer.key, keys, width),
      value: pack(layer.value, keys, width),
      attentionOutput: pack(layer.attentionOutput, width, attended),
      feedForwardGain: layer.feedForwardGain,
      ...gateOf(layer, (gate) => pack(gate, hidden, width)),
      up: pack(layer.up, hidden, width),
      down: pack(layer.down, width, hidden),
      ...Object.fromEntries(layerVectorsOf(layer).map((name) => [name, layer[name]])),
    })),
    finalGain: source.finalGain,
    ...(finalNormBias !== undefined && { finalNormBias }),
    classifier: prepareClassifier(source, bits),
    epsilon: source.epsilon,
    rotarySteps:
      design.positions === "rotary"
        ? rotarySteps(source.rotaryTheta, headSize, source.rotaryScaling)
        : new Uint32Array(0),
    rotaryInterleaved: source.rotaryInterleaved,
  };
  const { beginToken, endTokens } = source;
  return {
    identity: modelIdentity(weights),
    shape,
    precision,
    design,
    weights,
    beginToken,
    endTokens,
  };
}

function gateOf(
  layer: SourceLayer,
  pack: (gate: Float32Array) => PackedMatrix,
): { gate?: PackedMatrix } {
  const { gate } = layer;
  return gate === undefined ? {} : { gate: pack(gate) };
}

/** The classifier's own weights, or those of the embedding. */
function prepareClassifier(source: ModelSource, bits: WeightBits): PackedMatrix {
  const { classifier, embedding } = source;
  return quantizeTable(classifier ?? embedding, { bits, blocks: bits === 8 });
}
