// A prepared model as one file: what its identity is made of, with tokenizer and frame, laid out so that a
// backend can read matrix after matrix and nothing else is ever in memory. Little end first:
// "gyrotron prepared 3\n", u32 length of the header, the header (codec below), then at multiples of 64 bytes
// the sections: each layer's tensors, the final gain, the classifier, and last the embedding table in f32.

import {
  type Codec,
  codec,
  concatBytes,
  DecodeError,
  decodeWith,
  encodeWith,
  equalBytes,
  MIB,
  utf8Bytes,
} from "gyrotron/base";
import { bitsFromF32, f32FromBits } from "gyrotron/numerics";
import {
  BLOCK_SIZE,
  blocksOf,
  DECODER_LIMITS,
  type DecoderDesign,
  type DecoderLayer,
  type DecoderShape,
  type DecoderWeights,
  decoderWidthsOf,
  designHas,
  type EmbeddingTable,
  embeddingWindows,
  FEED_FORWARD_KINDS,
  LAYER_VECTORS,
  type LayerVector,
  layerVectorSizes,
  type MatrixBits,
  NORM_KINDS,
  type PackedMatrix,
  POSITION_KINDS,
  type Precision,
  PRECISIONS,
  layerVectorsOf,
  type WeightBits,
  weightBitsOf,
} from "gyrotron/tensor";
import type { BytePairTable } from "./byte-pair-table.ts";
import type { ByteSource } from "./byte-source.ts";
import type { StoredHubTokenizer } from "./hub-tokenizer.ts";
import { LAYER_MATRICES, type LayerMatrix } from "./model-source.ts";
import type { PreparedModel } from "./prepare.ts";

const MAGIC: Uint8Array = utf8Bytes("gyrotron prepared 3\n");
/** What files of every version begin with; the version is the digit behind. */
const FAMILY: Uint8Array = MAGIC.subarray(0, MAGIC.length - 2);
const HEADER_BYTES_MAX: number = 128 * MIB;
const ALIGNMENT = 64;
const MANTISSAS = { 4: Uint8Array, 8: Int8Array, 14: Int16Array } as const;

/** How a model's texts become tokens and back. */
export type StoredTokenizer =
  { readonly kind: "pieces"; readonly file: Uint8Array } | StoredHubTokenizer;

/** Frames for models without a template. */
export const PLAIN_FRAMES = ["continue", "passage"] as const;
/** The name of one. */
export type PlainFrameName = (typeof PLAIN_FRAMES)[number];

/** How a conversation becomes a prompt. */
export type StoredFrame =
  | { readonly kind: "plain"; readonly name: PlainFrameName; readonly begins: boolean }
  | { readonly kind: "template"; readonly source: string };

/** All that a file holds. */
export interface PreparedFile {
  readonly model: PreparedModel;
  readonly tokenizer: StoredTokenizer;
  readonly frame: StoredFrame;
}

const { bool, bytes, fixedBytes, list, oneOf, record, text, u32, variant } = codec;

interface Header {
  identity: Uint8Array;
  precision: Precision;
  /** Sizes in the order of `SHAPE`. */
  shape: number[];
  /** Bits of an f32. */
  epsilon: number;
  design: DecoderDesign;
  /** Vectors that each layer has, in the order of `LAYER_VECTORS`. */
  vectors: LayerVector[];
  /** For each layer, the matrices that have levels of 4 bits: bit i is that of `LAYER_MATRICES`. */
  levels: number[];
  rotaryInterleaved: boolean;
  rotarySteps: number[];
  beginToken: number;
  endTokens: number[];
  tokenizer: StoredTokenizer;
  frame: StoredFrame;
}

const SHAPE = [
  ...(["width", "hidden", "layers", "heads"] as const),
  ...(["kvHeads", "headSize", "vocabulary", "context"] as const),
];

/** Words of 32 bits, little end first, behind the number of their bytes. */
const words: Codec<Uint32Array> = {
  write: (writer, value) => bytes.write(writer, bytesOf(value)),
  read(reader) {
    const value = bytes.read(reader);
    if (value.length % 4 !== 0) throw reader.error("words are cut off");
    return new Uint32Array(value.buffer, value.byteOffset, value.length / 4);
  },
};

type StoredBytePairs = Extract<StoredTokenizer, { kind: "bytePairs" }>;

const headerCodec = record<{ [K in keyof Header]: Header[K] }>({
  identity: fixedBytes(32),
  precision: oneOf(...PRECISIONS),
  shape: list(u32),
  epsilon: u32,
  design: record<{ [K in keyof DecoderDesign]: DecoderDesign[K] }>({
    norm: oneOf(...NORM_KINDS),
    positions: oneOf(...POSITION_KINDS),
    feedForward: oneOf(...FEED_FORWARD_KINDS),
  }),
  vectors: list(oneOf(...LAYER_VECTORS)),
  levels: list(u32),
  rotaryInterleaved: bool,
  rotarySteps: list(u32),
  beginToken: u32,
  endTokens: list(u32),
  tokenizer: variant<StoredTokenizer>({
    pieces: record<{ file: Uint8Array }>({ file: bytes }),
    hub: record<{ json: string }>({ json: text }),
    bytePairs: record<{ [K in "identity" | keyof BytePairTable]: StoredBytePairs[K] }>({
      identity: fixedBytes(32),
      rest: text,
      pieces: text,
      sorted: words,
      merges: words,
      ranked: words,
    }),
  }),
  frame: variant<StoredFrame>({
    plain: record<{ name: PlainFrameName; begins: boolean }>({
      name: oneOf(...PLAIN_FRAMES),
      begins: bool,
    }),
    template: record<{ source: string }>({ source: text }),
  }),
});

/** The parts of a file in order, so that it can be written without being whole in memory. */
export function* encodePreparedFile(file: PreparedFile): Generator<Uint8Array> {
  const { model, tokenizer, frame } = file;
  const { weights, identity, beginToken, endTokens } = model;
  const { design } = weights;
  const vectors = layerVectorsOf(weights.layers[0]!);
  const header = encodeWith(headerCodec, {
    identity,
    precision: weights.precision,
    shape: SHAPE.map((name) => weights.shape[name]),
    epsilon: bitsFromF32(weights.epsilon),
    design,
    vectors,
    levels: weights.layers.map(levelsIn),
    rotaryInterleaved: weights.rotaryInterleaved,
    rotarySteps: Array.from(weights.rotarySteps),
    beginToken,
    endTokens: [...endTokens],
    tokenizer,
    frame,
  });
  const length = new Uint8Array(Uint32Array.of(header.length).buffer);
  yield* aligned(concatBytes(MAGIC, length, header));
  for (const layer of weights.layers) {
    yield* aligned(bytesOf(layer.attentionGain));
    yield* aligned(bytesOf(layer.feedForwardGain));
    for (const name of vectors) yield* aligned(bytesOf(layer[name]!));
    for (const name of matricesOf(design)) yield* matrixParts(layer[name]!);
  }
  yield* aligned(bytesOf(weights.finalGain));
  if (weights.finalNormBias !== undefined) yield* aligned(bytesOf(weights.finalNormBias));
  yield* matrixParts(weights.classifier);
  if (weights.positions !== undefined) yield* tableParts(weights.positions);
  yield* tableParts(weights.embedding);
}

/**
 * Opens a file; weights are read when they are asked for, each time anew.
 * @throws DecodeError `prepared-model/decode` on a file that is damaged, also later when a part cannot be read
 */
export function decodePreparedFile(source: ByteSource): PreparedFile {
  const start = source.read(0, Math.min(source.size, MAGIC.length + 4));
  if (!equalBytes(start.subarray(0, MAGIC.length), MAGIC)) {
    const isFamily = equalBytes(start.subarray(0, FAMILY.length), FAMILY);
    const older = "prepared by another version: add the model again";
    throw decodeError(isFamily ? older : "no prepared model", isFamily ? FAMILY.length : 0);
  }
  if (start.length < MAGIC.length + 4) throw decodeError("cut off", source.size);
  const length = new DataView(start.buffer, start.byteOffset).getUint32(MAGIC.length, true);
  const from = MAGIC.length + 4;
  if (length > Math.min(HEADER_BYTES_MAX, source.size - from))
    throw decodeError("header length out of range", MAGIC.length);
  const header = readHeader(source.read(from, length), from);
  const shape = Object.fromEntries(SHAPE.map((name, i) => [name, header.shape[i]])) as {
    -readonly [K in keyof DecoderShape]: number;
  };
  checkShape(shape, header, from);
  const reader = new SectionReader(source, padded(from + length));
  const bits = weightBitsOf(header.precision);
  const weights = openWeights(reader, shape, header, bits);
  if (reader.end !== source.size)
    throw decodeError(`${reader.end} bytes expected`, Math.min(reader.end, source.size));
  const { identity, precision, design, beginToken, endTokens, tokenizer, frame } = header;
  return {
    model: { identity, shape, precision, design, weights, beginToken, endTokens },
    tokenizer,
    frame,
  };
}

function readHeader(encoded: Uint8Array, offset: number): Header {
  try {
    return decodeWith(headerCodec, encoded);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    throw decodeError(`header: ${error.info.what}`, offset + error.info.offset);
  }
}

function checkShape(shape: DecoderShape, header: Header, offset: number): void {
  const wrong = (what: string): DecodeError => decodeError(what, offset);
  if (header.shape.length !== SHAPE.length) throw wrong("sizes missing");
  for (const name of SHAPE) {
    if (shape[name] < 1 || shape[name] > DECODER_LIMITS[name])
      throw wrong(`${name} ${shape[name]} out of range`);
  }
  const { heads, kvHeads, headSize, vocabulary } = shape;
  if (headSize % 2 !== 0 || heads % kvHeads !== 0) throw wrong("heads do not divide");
  const { design, vectors } = header;
  const pairs = design.positions === "rotary" ? headSize / 2 : 0;
  if (header.rotarySteps.length !== pairs) throw wrong("rotary steps do not fit the heads");
  if (vectors.some((name, i) => vectors.indexOf(name) !== i || !designHas(design, name)))
    throw wrong("vectors do not fit the design");
  const { levels } = header;
  if (levels.length !== shape.layers) throw wrong("levels of layers missing");
  const mayHaveLevels = weightBitsOf(header.precision) === 8 ? matricesOf(design) : [];
  const areKnown = (set: number): boolean =>
    set < 2 ** LAYER_MATRICES.length &&
    LAYER_MATRICES.every((name) => !hasLevels(set, name) || mayHaveLevels.includes(name));
  if (!levels.every(areKnown)) throw wrong("levels do not fit the design");
  const biases = ["attentionNormBias", "feedForwardNormBias"] as const;
  if (design.norm === "layer" && !biases.every((name) => vectors.includes(name)))
    throw wrong("biases of the norms missing");
  if ([header.beginToken, ...header.endTokens].some((token) => token >= vocabulary))
    throw wrong("token out of range");
  const epsilon = f32FromBits(header.epsilon);
  if (!(epsilon >= 0 && epsilon <= 1)) throw wrong("epsilon out of range");
}

function openWeights(
  reader: SectionReader,
  shape: DecoderShape,
  header: Header,
  bits: WeightBits,
): DecoderWeights {
  const { width, hidden, heads, kvHeads, headSize, vocabulary } = shape;
  const [attended, keys] = [heads * headSize, kvHeads * headSize];
  const sizes: Readonly<Record<LayerMatrix, readonly [number, number]>> = {
    query: [attended, width],
    key: [keys, width],
    value: [keys, width],
    attentionOutput: [width, attended],
    gate: [hidden, width],
    up: [hidden, width],
    down: [width, hidden],
  };
  const { design } = header;
  const lengths = layerVectorSizes(shape);
  const openLayer = (levels: number): DecoderLayer => {
    const attentionGain = reader.floats(width);
    const feedForwardGain = reader.floats(width);
    const vectors = header.vectors.map((name) => [name, reader.floats(lengths[name])] as const);
    const matrices = matricesOf(design).map(
      (name) => [name, reader.matrix(...sizes[name], hasLevels(levels, name) ? 4 : bits)] as const,
    );
    const readers = [...vectors, ...matrices];
    const layer = Object.defineProperties(
      {},
      {
        attentionGain: { get: attentionGain, enumerable: true },
        feedForwardGain: { get: feedForwardGain, enumerable: true },
        ...Object.fromEntries(readers.map(([name, get]) => [name, { get, enumerable: true }])),
      },
    );
    return layer as DecoderLayer;
  };
  const layers = header.levels.map(openLayer);
  const finalGain = reader.floats(width);
  const finalNormBias = design.norm === "layer" ? reader.floats(width) : undefined;
  const classifier = reader.matrix(vocabulary, width, bits);
  const positions = design.positions === "learned" ? reader.table(shape.context, width) : undefined;
  const embedding = reader.table(vocabulary, width);
  return {
    shape,
    precision: header.precision,
    ...decoderWidthsOf(header.precision),
    design,
    ...(positions !== undefined && { positions }),
    layers,
    epsilon: f32FromBits(header.epsilon),
    rotarySteps: Uint32Array.from(header.rotarySteps),
    rotaryInterleaved: header.rotaryInterleaved,
    get finalGain() {
      return finalGain();
    },
    ...(finalNormBias !== undefined && { finalNormBias: finalNormBias() }),
    get classifier() {
      return classifier();
    },
    embedding,
  };
}

function levelsIn(layer: DecoderLayer): number {
  return LAYER_MATRICES.reduce((set, name, i) => set | (layer[name]?.bits === 4 ? 1 << i : 0), 0);
}

function hasLevels(levels: number, name: LayerMatrix): boolean {
  return ((levels >>> LAYER_MATRICES.indexOf(name)) & 1) === 1;
}

/** Matrices of a design's layers, in the order of the file. */
function matricesOf(design: DecoderDesign): readonly LayerMatrix[] {
  if (design.feedForward === "swiglu") return LAYER_MATRICES;
  return LAYER_MATRICES.filter((name) => name !== "gate");
}

/** Lays sections out one after the other and reads them when asked. */
class SectionReader {
  readonly #source: ByteSource;
  /** Where the sections so far end. */
  end: number;

  constructor(source: ByteSource, start: number) {
    this.#source = source;
    this.end = start;
  }

  floats(count: number): () => Float32Array {
    const read = this.#section(count * 4);
    return () => new Float32Array(read());
  }

  /** A table whose rows are read one by one. */
  table(vocabulary: number, width: number): EmbeddingTable {
    const offset = this.end;
    this.end = padded(offset + vocabulary * width * 4);
    return {
      vocabulary,
      width,
      rows: (first, count) =>
        new Float32Array(this.#read(offset + first * width * 4, count * width * 4)),
    };
  }

  matrix(outputs: number, inputs: number, bits: MatrixBits): () => PackedMatrix {
    if (bits === 4 && inputs % BLOCK_SIZE !== 0)
      throw decodeError(`levels of ${inputs} inputs`, this.end);
    const rowBytes = (inputs * (bits === 14 ? 16 : bits)) / 8;
    const offset = this.end;
    const mantissas = this.#section(outputs * rowBytes);
    const readBlocks = this.#blocks(outputs * blocksOf(inputs), bits);
    const scales = this.#section(outputs);
    const exponents = this.#section(outputs * 2);
    return () => {
      const matrix = {
        outputs,
        inputs,
        bits,
        ...readBlocks(),
        scales: new Uint8Array(scales()),
        exponents: new Int16Array(exponents()),
        readRows: (first: number, target: Uint8Array) => {
          this.#source.readInto(offset + first * rowBytes, target);
        },
      };
      // Whoever takes the rows as they come never has the array, nor do those who only list what there is.
      const get = (): PackedMatrix["mantissas"] => {
        const value = new MANTISSAS[bits](mantissas());
        Object.defineProperty(matrix, "mantissas", { value, enumerable: true });
        return value;
      };
      return Object.defineProperty(matrix, "mantissas", {
        get,
        configurable: true,
      }) as PackedMatrix;
    };
  }

  /** What the blocks of a matrix have. */
  #blocks(
    count: number,
    bits: MatrixBits,
  ): () => Pick<PackedMatrix, "blockScales" | "blockOffsets"> {
    if (bits === 14) return () => ({});
    if (bits === 8) {
      const scales = this.#section(count);
      return () => ({ blockScales: new Uint8Array(scales()) });
    }
    const scales = this.#section(2 * count);
    const offsets = this.#section(2 * count);
    return () => ({
      blockScales: new Uint16Array(scales()),
      blockOffsets: new Int16Array(offsets()),
    });
  }

  #section(length: number): () => ArrayBuffer {
    const offset = this.end;
    this.end = padded(offset + length);
    return () => this.#read(offset, length);
  }

  #read(offset: number, length: number): ArrayBuffer {
    if (offset + length > this.#source.size) throw decodeError("cut off", this.#source.size);
    const read = this.#source.read(offset, length);
    return read.buffer instanceof ArrayBuffer && read.byteLength === read.buffer.byteLength
      ? read.buffer
      : read.slice().buffer;
  }
}

function* matrixParts(matrix: PackedMatrix): Generator<Uint8Array> {
  const { mantissas, blockScales, blockOffsets, scales, exponents } = matrix;
  yield* aligned(bytesOf(mantissas));
  if (blockScales !== undefined) yield* aligned(bytesOf(blockScales));
  if (blockOffsets !== undefined) yield* aligned(bytesOf(blockOffsets));
  yield* aligned(scales);
  yield* aligned(bytesOf(exponents));
}

function* tableParts(table: EmbeddingTable): Generator<Uint8Array> {
  let length = 0;
  for (const { rows } of embeddingWindows(table)) {
    yield bytesOf(rows);
    length += rows.byteLength;
  }
  yield new Uint8Array(padded(length) - length);
}

function* aligned(part: Uint8Array): Generator<Uint8Array> {
  yield part;
  const rest = padded(part.length) - part.length;
  if (rest > 0) yield new Uint8Array(rest);
}

function padded(length: number): number {
  return Math.ceil(length / ALIGNMENT) * ALIGNMENT;
}

function bytesOf(array: ArrayBufferView): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

function decodeError(what: string, offset: number): DecodeError {
  return new DecodeError({ code: "prepared-model/decode", what, offset });
}
