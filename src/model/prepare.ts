// Preparation: a model's f32 tensors become the engine's formats, exactly and once. The result is content
// addressed: equal files and precision give equal identities on every machine.

import { present } from "gyrotron/base";
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
import { ModelError } from "./error.ts";
import { modelIdentity } from "./identity.ts";
import { quantizeLevels } from "./level-matrix.ts";
import type { LayerMatrix, ModelSource, SourceLayer } from "./model-source.ts";

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

/** The most positions that a model has unless more are asked for: a node must find memory for what others ask. */
export const CONTEXT_STANDARD = 8192;

/**
 * Quantizes a model; about 25 ms a million weights. `context` is how many positions it shall have, of those that it
 * was made for: all but no more than `CONTEXT_STANDARD`, if nothing is said.
 * @throws ModelError `model/limit` on more than it has
 */
export function prepareModel(
  source: ModelSource,
  precision: Precision = PRECISION_DEFAULT,
  context: number = Math.min(source.shape.context, CONTEXT_STANDARD),
): PreparedModel {
  const { embedding, positions, finalNormBias, design = LLAMA_DESIGN } = source;
  const shape = { ...source.shape, context: checkedContext(source, context) };
  const { width, hidden, heads, kvHeads, headSize } = shape;
  const bits = weightBitsOf(precision);
  const pack = (
    layer: SourceLayer,
    name: LayerMatrix,
    outputs: number,
    inputs: number,
  ): PackedMatrix => {
    const levels = bits === 8 ? layer.levels?.[name] : undefined;
    if (levels !== undefined) return quantizeLevels(levels(), { outputs, inputs });
    const values = present(layer[name]);
    return quantizeColumns(values, { outputs, inputs, bits, blocks: bits === 8 });
  };
  const attended = heads * headSize;
  const keys = kvHeads * headSize;
  const weights: DecoderWeights = {
    shape,
    precision,
    ...decoderWidthsOf(precision),
    design,
    embedding,
    ...(positions !== undefined && { positions: { ...positions, vocabulary: context } }),
    layers: source.layers.map((layer) => ({
      attentionGain: layer.attentionGain,
      query: pack(layer, "query", attended, width),
      key: pack(layer, "key", keys, width),
      value: pack(layer, "value", keys, width),
      attentionOutput: pack(layer, "attentionOutput", width, attended),
      feedForwardGain: layer.feedForwardGain,
      ...(design.feedForward === "swiglu" && { gate: pack(layer, "gate", hidden, width) }),
      up: pack(layer, "up", hidden, width),
      down: pack(layer, "down", width, hidden),
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

function checkedContext({ shape }: ModelSource, context: number): number {
  if (Number.isInteger(context) && context >= 1 && context <= shape.context) return context;
  const [what, limit] = ["positions of the context", shape.context];
  throw new ModelError({ code: "model/limit", what, limit, actual: context });
}

/** The classifier's own weights, or those of the embedding. */
function prepareClassifier(source: ModelSource, bits: WeightBits): PackedMatrix {
  const { classifier, embedding } = source;
  return quantizeTable(classifier ?? embedding, { bits, blocks: bits === 8 });
}
