// The checkpoint format of llama2.c (version 0): 7 i32, then f32 tensors in a fixed order, each for all
// layers. Little end first. A negative vocabulary size says that a classifier follows the rotary tables.

import { DecodeError } from "gyrotron/base";
import { importFloats } from "./float-import.ts";
import { checkSettings, type ModelSource, type SourceLayer } from "./model-source.ts";
import { DECODER_LIMITS, type DecoderShape, embeddingTable } from "gyrotron/tensor";

const HEADER_BYTES = 28;
/** llama2.c fixes these for every checkpoint. */
const EPSILON: number = Math.fround(1e-5);
const THETA = 10000;
const BEGIN = 1;
const END = 2;

/** @throws DecodeError `llama2c/decode`, `tensor/decode`; ModelError on a shape that cannot run */
export function decodeLlama2c(file: Uint8Array): ModelSource {
  const { shape, ownClassifier } = decodeHeader(file);
  const settings = {
    shape,
    epsilon: EPSILON,
    rotaryTheta: THETA,
    rotaryInterleaved: true,
    beginToken: BEGIN,
    // A story ends where the next would begin.
    endTokens: [BEGIN, END],
  };
  checkSettings(settings);
  const { width, hidden, layers, heads, kvHeads, headSize, vocabulary } = shape;
  const keys = kvHeads * headSize;
  const tables = fileContext(file) * headSize;
  const perLayer = 2 * width + 2 * width * heads * headSize + 2 * width * keys + 3 * width * hidden;
  const classifierSize = ownClassifier ? vocabulary * width : 0;
  const count = vocabulary * width + layers * perLayer + width + tables + classifierSize;
  const expected = HEADER_BYTES + count * 4;
  if (file.length !== expected) {
    throw decodeError(`${expected} bytes expected`, Math.min(file.length, expected));
  }

  let offset = HEADER_BYTES;
  const next = (size: number): Float32Array => {
    const values = importFloats(file, { offset, count: size, type: "F32" });
    offset += size * 4;
    return values;
  };
  const each = (size: number): Float32Array[] => Array.from({ length: layers }, () => next(size));
  const embedding = embeddingTable(next(vocabulary * width), width);
  const attentionGain = each(width);
  const query = each(width * width);
  const key = each(keys * width);
  const value = each(keys * width);
  const attentionOutput = each(width * width);
  const feedForwardGain = each(width);
  const gate = each(hidden * width);
  const down = each(width * hidden);
  const up = each(hidden * width);
  const finalGain = next(width);
  offset += tables * 4;
  const classifier = ownClassifier ? embeddingTable(next(vocabulary * width), width) : undefined;
  const layer = (i: number): SourceLayer => ({
    attentionGain: attentionGain[i]!,
    query: query[i]!,
    key: key[i]!,
    value: value[i]!,
    attentionOutput: attentionOutput[i]!,
    feedForwardGain: feedForwardGain[i]!,
    gate: gate[i]!,
    up: up[i]!,
    down: down[i]!,
  });
  return {
    ...settings,
    embedding,
    layers: Array.from({ length: layers }, (_, i) => layer(i)),
    finalGain,
    classifier,
  };
}

function decodeHeader(file: Uint8Array): { shape: DecoderShape; ownClassifier: boolean } {
  if (file.length < HEADER_BYTES) throw decodeError("header cut off", file.length);
  const view = new DataView(file.buffer, file.byteOffset, HEADER_BYTES);
  const [width, hidden, layers, heads, kvHeads, vocabulary, context] = [
    0, 4, 8, 12, 16, 20, 24,
  ].map((offset) => view.getInt32(offset, true)) as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  if (heads < 1 || width < 1 || width % heads !== 0)
    throw decodeError("width is not a multiple of heads", 12);
  if (context < 1 || context > 2 ** 20) throw decodeError("sequence length out of range", 24);
  const shape = {
    width,
    hidden,
    layers,
    heads,
    kvHeads,
    headSize: width / heads,
    vocabulary: Math.abs(vocabulary),
    context: Math.min(context, DECODER_LIMITS.context),
  };
  return { shape, ownClassifier: vocabulary < 0 };
}

/** The sequence length that the file's rotary tables are made for. */
function fileContext(file: Uint8Array): number {
  return new DataView(file.buffer, file.byteOffset).getInt32(24, true);
}

function decodeError(what: string, offset: number): DecodeError {
  return new DecodeError({ code: "llama2c/decode", what, offset });
}
