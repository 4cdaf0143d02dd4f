// Preparation of an encoder: matrices go onto the engine's grids once, and the graph and its parameters have
// one identity. The order of parameters is that of the calls below.

import { assert, utf8Bytes } from "gyrotron/base";
import { sha256 } from "gyrotron/hash";
import {
  type Graph,
  hashGraph,
  type HostTensor,
  inputsOf,
  type PackedMatrix,
  type Precision,
  PRECISION_DEFAULT,
  type RunInputs,
  weightBitsOf,
} from "gyrotron/tensor";
import { quantizeColumns } from "../column-quantize.ts";
import { hashArrays, hashMatrix } from "../identity.ts";
import { encoderBatchMax, encoderGraph } from "./encoder-graph.ts";
import {
  checkEncoder,
  type EncoderShape,
  type EncoderSource,
  type SourceLinear,
  type SourceNorm,
} from "./encoder-source.ts";

/** An encoder ready to run on any backend that runs graphs. */
export interface PreparedEncoder {
  /** SHA-256 of everything that the results depend on. */
  readonly identity: Uint8Array;
  readonly shape: EncoderShape;
  readonly precision: Precision;
  /** From `tokens` i32 `[batch, time]` to `embedding` f32 `[batch, width]`. */
  readonly graph: Graph;
  /** Texts that one run may have. */
  readonly batchMax: number;
  /** The values of all inputs but the tokens. */
  readonly parameters: RunInputs;
}

const FORMAT = "gyrotron encoder 1\n";

/** Quantizes an encoder; about 50 ms a million weights. @throws ModelError on what this version cannot run */
export function prepareEncoder(
  source: EncoderSource,
  precision: Precision = PRECISION_DEFAULT,
): PreparedEncoder {
  checkEncoder(source);
  const { shape } = source;
  const graph = encoderGraph(source, precision);
  const { values, hashes } = encoderParameters(source, precision);
  for (const { name, role } of inputsOf(graph)) {
    assert(role !== "parameter" || name in values, "every parameter has a value");
  }
  const identity = sha256(utf8Bytes(FORMAT), hashGraph(graph), ...hashes);
  return {
    identity,
    shape,
    precision,
    graph,
    batchMax: encoderBatchMax(shape),
    parameters: values,
  };
}

/** Values by the names that the graph has for them, and their hashes in order. */
function encoderParameters(
  source: EncoderSource,
  precision: Precision,
): { values: RunInputs; hashes: Uint8Array[] } {
  const { width, hidden, vocabulary, context } = source.shape;
  const values: Record<string, HostTensor> = {};
  const hashes: Uint8Array[] = [];
  const plain = (name: string, data: Float32Array, ...dims: number[]): void => {
    values[name] = { element: "f32", shape: dims, data };
    hashes.push(hashArrays(data));
  };
  const linear = (name: string, from: SourceLinear, outputs: number, inputs: number): void => {
    const bits = weightBitsOf(precision);
    const matrix = quantizeColumns(from.weight, { outputs, inputs, bits });
    values[`${name}.weight`] = hostMatrix(matrix);
    hashes.push(hashMatrix(matrix));
    plain(`${name}.bias`, from.bias, outputs);
  };
  const norm = (name: string, from: SourceNorm): void => {
    plain(`${name}.gain`, from.gain, width);
    plain(`${name}.bias`, from.bias, width);
  };
  plain("tokens.weight", source.tokens, vocabulary, width);
  plain("segment", source.segment, width);
  plain("positions.weight", source.positions, context, width);
  norm("embedding-norm", source.embeddingNorm);
  source.layers.forEach((layer, i) => {
    const at = `layer.${i}`;
    linear(`${at}.query`, layer.query, width, width);
    linear(`${at}.key`, layer.key, width, width);
    linear(`${at}.value`, layer.value, width, width);
    linear(`${at}.attention-output`, layer.attentionOutput, width, width);
    norm(`${at}.attention-norm`, layer.attentionNorm);
    linear(`${at}.up`, layer.up, hidden, width);
    linear(`${at}.down`, layer.down, width, hidden);
    norm(`${at}.output-norm`, layer.outputNorm);
  });
  return { values, hashes };
}

/** A packed matrix as an input of graphs. */
function hostMatrix(matrix: PackedMatrix): HostTensor {
  const { outputs, inputs, bits, mantissas, scales, exponents } = matrix;
  return {
    element: "bfp",
    shape: [outputs, inputs],
    bits,
    data: Int32Array.from(mantissas),
    exponents: Int32Array.from(exponents),
    scales,
  };
}
