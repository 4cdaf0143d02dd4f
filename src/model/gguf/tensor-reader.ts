// Reads tensors of a GGUF file as f32, checked against the shape that the model's settings imply.

import { DecodeError } from "gyrotron/base";
import { BLOCK_SIZE, type EmbeddingTable } from "gyrotron/tensor";
import type { ByteSource } from "../byte-source.ts";
import { ModelError } from "../error.ts";
import { emptyLevels, type LevelMatrix } from "../level-matrix.ts";
import { blockFormat } from "./block-format.ts";
import type { GgufHeader, GgufTensor } from "./container.ts";

/** Blocks that are read at once, in bytes. */
const WINDOW_BYTES = 1 << 20;

/** Tensors by name; what nobody asked for is an error at the end. */
export class GgufTensors {
  readonly #file: ByteSource;
  readonly #header: GgufHeader;
  readonly #known: Set<string> = new Set();

  constructor(file: ByteSource, header: GgufHeader) {
    this.#file = file;
    this.#header = header;
  }

  has(name: string): boolean {
    return this.#header.tensors.has(name);
  }

  /**
   * A way to read a tensor, whose shape is checked now: rows first, `[outputs, inputs]`.
   * @throws ModelError `model/tensor-missing`, `model/tensor-shape`
   */
  expect(name: string, shape: readonly number[]): () => Float32Array {
    const tensor = this.#checked(name, shape);
    return () => this.#read(tensor, 0, tensor.count);
  }

  /** As `expect`, as levels, of `outputs` rows if not of all: undefined where the tensor's format has none. */
  expectLevels(
    name: string,
    shape: readonly [number, number],
    { first, outputs }: { first: number; outputs: number } = { first: 0, outputs: shape[0] },
  ): (() => LevelMatrix) | undefined {
    const tensor = this.#checked(name, shape);
    if (blockFormat(tensor.format)?.readLevels === undefined) return undefined;
    const inputs = shape[1];
    return () => this.#readLevels(tensor, first * inputs, outputs * inputs);
  }

  /** As `expect`, for a table that is read by rows, which are whole blocks. */
  expectRows(name: string, size: { vocabulary: number; width: number }): EmbeddingTable {
    const { vocabulary, width } = size;
    const tensor = this.#checked(name, [vocabulary, width]);
    return {
      vocabulary,
      width,
      rows: (first, count) => this.#read(tensor, first * width, count * width),
    };
  }

  #checked(name: string, shape: readonly number[]): GgufTensor {
    const tensor = this.#header.tensors.get(name);
    if (tensor === undefined) throw new ModelError({ code: "model/tensor-missing", name });
    const expected = shape.join(" x ");
    const actual = tensor.shape.toReversed().join(" x ");
    if (actual !== expected)
      throw new ModelError({ code: "model/tensor-shape", name, expected, actual });
    this.#known.add(name);
    return tensor;
  }

  /** @throws ModelError `model/unsupported` for a tensor that no one has asked for */
  finish(): void {
    for (const name of this.#header.tensors.keys()) {
      if (!this.#known.has(name))
        throw new ModelError({ code: "model/unsupported", what: `tensor ${name}` });
    }
  }

  /** Elements from `start` on, both multiples of a block. */
  #read(tensor: GgufTensor, start: number, count: number): Float32Array {
    const { elements, bytes, read } = blockFormat(tensor.format)!;
    const values = new Float32Array(count);
    this.#forWindows(tensor, { start, count }, (view, first, offset) => {
      let to = first;
      for (let at = 0; at < view.byteLength; at += bytes, to += elements)
        read(view, at, values, to);
      const place = { name: tensor.name, offset, perBlock: elements, bytes };
      checkFinite(values.subarray(first, to), place);
    });
    return values;
  }

  /** Levels of elements from `start` on. */
  #readLevels(tensor: GgufTensor, start: number, count: number): LevelMatrix {
    const { elements, bytes, readLevels } = blockFormat(tensor.format)!;
    const matrix = emptyLevels(count);
    this.#forWindows(tensor, { start, count }, (view, first, offset) => {
      let to = first;
      for (let at = 0; at < view.byteLength; at += bytes, to += elements)
        readLevels!(view, at, matrix, to);
      const place = { name: tensor.name, offset, perBlock: elements / BLOCK_SIZE, bytes };
      for (const values of [matrix.steps, matrix.lows])
        checkFinite(values.subarray(first / BLOCK_SIZE, to / BLOCK_SIZE), place);
    });
    return matrix;
  }

  /** Visits whole blocks of the file, their first element behind `start`, and where they lie. */
  #forWindows(
    { format, offset: from }: GgufTensor,
    { start, count }: { start: number; count: number },
    visit: (view: DataView, first: number, offset: number) => void,
  ): void {
    const { elements, bytes } = blockFormat(format)!;
    const offset = from + (start / elements) * bytes;
    const size = (count / elements) * bytes;
    const step = Math.max(1, Math.floor(WINDOW_BYTES / bytes)) * bytes;
    for (let done = 0; done < size; done += step) {
      const window = this.#file.read(offset + done, Math.min(step, size - done));
      const view = new DataView(window.buffer, window.byteOffset, window.byteLength);
      visit(view, (done / bytes) * elements, offset + done);
    }
  }
}

/** @throws DecodeError with the offset of the block that the value comes from */
function checkFinite(
  values: Float32Array,
  {
    name,
    offset,
    perBlock,
    bytes,
  }: Record<"offset" | "perBlock" | "bytes", number> & { name: string },
): void {
  for (let i = 0; i < values.length; i++) {
    if (Number.isFinite(values[i])) continue;
    throw new DecodeError({
      code: "tensor/decode",
      what: `${name}: value is not finite`,
      offset: offset + Math.floor(i / perBlock) * bytes,
    });
  }
}
