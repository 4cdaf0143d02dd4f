// The identity of prepared weights: SHA-256 over a header and the SHA-256 of each tensor, in a fixed order.

import { assert, codec, concatBytes, encodeWith } from "gyrotron/base";
import { createSha256, sha256 } from "gyrotron/hash";
import { bitsFromF32 } from "gyrotron/numerics";
import {
  type DecoderWeights,
  type EmbeddingTable,
  embeddingWindows,
  FEED_FORWARD_KINDS,
  LAYER_VECTORS,
  LLAMA_DESIGN,
  NORM_KINDS,
  type PackedMatrix,
  POSITION_KINDS,
  PRECISIONS,
  layerVectorsOf,
} from "gyrotron/tensor";

const FORMAT = "gyrotron model 2";

const header = codec.record({
  format: codec.text,
  precision: codec.oneOf(...PRECISIONS),
  shape: codec.list(codec.u32),
  epsilon: codec.u32,
  rotaryInterleaved: codec.bool,
  rotarySteps: codec.list(codec.u32),
});

/** Of decoders that are not of Llama's plain form; stands between header and tensors. */
const designHeader = codec.record({
  norm: codec.oneOf(...NORM_KINDS),
  positions: codec.oneOf(...POSITION_KINDS),
  feedForward: codec.oneOf(...FEED_FORWARD_KINDS),
  vectors: codec.list(codec.oneOf(...LAYER_VECTORS)),
});

/**
 * 32 bytes. Order of tensors: embedding, positions, each layer's in the order of its fields with its vectors
 * behind, final gain and bias, classifier; what a model lacks is left out.
 */
export function modelIdentity(weights: DecoderWeights): Uint8Array {
  const { shape } = weights;
  const head = encodeWith(header, {
    format: FORMAT,
    precision: weights.precision,
    shape: [
      ...[shape.width, shape.hidden, shape.layers, shape.heads, shape.kvHeads, shape.headSize],
      ...[shape.vocabulary, shape.context],
    ],
    epsilon: bitsFromF32(weights.epsilon),
    rotaryInterleaved: weights.rotaryInterleaved,
    rotarySteps: Array.from(weights.rotarySteps),
  });
  const { design, positions, finalNormBias } = weights;
  const vectors = layerVectorsOf(weights.layers[0]!);
  const isPlain =
    vectors.length === 0 &&
    design.norm === LLAMA_DESIGN.norm &&
    design.positions === LLAMA_DESIGN.positions &&
    design.feedForward === LLAMA_DESIGN.feedForward;
  const tensors = [
    ...(isPlain ? [] : [encodeWith(designHeader, { ...design, vectors })]),
    hashTable(weights.embedding),
    ...(positions === undefined ? [] : [hashTable(positions)]),
    ...weights.layers.flatMap((layer) => [
      hashArrays(layer.attentionGain),
      ...[layer.query, layer.key, layer.value, layer.attentionOutput].map(hashMatrix),
      hashArrays(layer.feedForwardGain),
      ...[layer.gate, layer.up, layer.down]
        .filter((matrix) => matrix !== undefined)
        .map(hashMatrix),
      ...vectors.map((name) => hashArrays(layer[name]!)),
    ]),
    hashArrays(weights.finalGain),
    ...(finalNormBias === undefined ? [] : [hashArrays(finalNormBias)]),
    hashMatrix(weights.classifier),
  ];
  return sha256(head, ...tensors);
}

/** SHA-256 of a matrix's arrays. */
export function hashMatrix(matrix: PackedMatrix): Uint8Array {
  const { mantissas, blockScales, blockOffsets, scales, exponents } = matrix;
  const blocks = [blockScales, blockOffsets].filter((array) => array !== undefined);
  return hashArrays(mantissas, ...blocks, scales, exponents);
}

/** As of an array that holds the whole table. */
function hashTable(table: EmbeddingTable): Uint8Array {
  const hash = createSha256();
  for (const { rows } of embeddingWindows(table)) hash.update(bytesOf(rows));
  return sha256(hash.digest());
}

/** SHA-256 of the arrays' SHA-256s: an array's end cannot pass for the next one's start. */
export function hashArrays(...arrays: readonly ArrayBufferView[]): Uint8Array {
  return sha256(concatBytes(...arrays.map((array) => sha256(bytesOf(array)))));
}

function bytesOf(array: ArrayBufferView): Uint8Array {
  assert(new Uint8Array(Uint16Array.of(1).buffer)[0] === 1, "bytes are hashed little end first");
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}
