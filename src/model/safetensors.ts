// The safetensors container: u64 length of a JSON header, the header, then the tensors' bytes without
// gaps or overlaps. Only the container: what the tensors mean is the loaders' business. Tensors are read
// when they are asked for, a window of the file at a time.

import { assert, DecodeError, MIB, utf8Text } from "gyrotron/base";
import { type ByteSource, byteSource } from "./byte-source.ts";
import { floatBytes, importFloatsInto } from "./float-import.ts";

const HEADER_BYTES_MAX: number = 16 * MIB;
const TENSORS_MAX = 65536;
const DIMENSIONS_MAX = 8;
const TYPE_BYTES: ReadonlyMap<string, number> = new Map([
  ...([
    ["F64", 8],
    ["F32", 4],
    ["F16", 2],
    ["BF16", 2],
  ] as const),
  ...([
    ["I64", 8],
    ["I32", 4],
    ["I16", 2],
    ["I8", 1],
    ["U8", 1],
    ["BOOL", 1],
  ] as const),
]);

/** Where a tensor lies in its file. */
export interface StoredTensor {
  readonly type: string;
  readonly shape: readonly number[];
  readonly count: number;
  readonly offset: number;
}

/** Tensors by name, in one file or several. */
export interface TensorStore {
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /**
   * `count` values of a tensor from the one at `first` on; all of them if nothing is said.
   * @throws DecodeError `safetensors/decode` if it is not F16, BF16 or F32, `tensor/decode`
   */
  floats(tensor: StoredTensor, first?: number, count?: number): Float32Array;
}

/** Bytes of a file that are held at once. */
const WINDOW_BYTES: number = MIB;

/** The tensors of a file by name. */
export class Safetensors implements TensorStore {
  readonly #file: ByteSource;
  readonly tensors: ReadonlyMap<string, StoredTensor>;

  /** @throws DecodeError `safetensors/decode` */
  constructor(file: ByteSource | Uint8Array) {
    this.#file = file instanceof Uint8Array ? byteSource(file) : file;
    this.tensors = decodeTensors(this.#file);
  }

  floats(tensor: StoredTensor, first = 0, count: number = tensor.count - first): Float32Array {
    const { type, offset } = tensor;
    if (type !== "F16" && type !== "BF16" && type !== "F32") {
      throw decodeError(`type ${type} where floats are expected`, offset);
    }
    assert(first >= 0 && count >= 0 && first + count <= tensor.count, "values of the tensor");
    const size = floatBytes(type);
    const values = new Float32Array(count);
    const step = WINDOW_BYTES / size;
    for (let done = 0; done < count; done += step) {
      const window = values.subarray(done, done + step);
      const at = offset + (first + done) * size;
      importFloatsInto(window, this.#file.read(at, window.length * size), { offset: at, type });
    }
    return values;
  }
}

function decodeTensors(file: ByteSource): Map<string, StoredTensor> {
  if (file.size < 8) throw decodeError("header cut off", file.size);
  const prefix = file.read(0, 8);
  const length = new DataView(prefix.buffer, prefix.byteOffset).getBigUint64(0, true);
  if (length > BigInt(Math.min(HEADER_BYTES_MAX, file.size - 8)))
    throw decodeError("header length out of range", 0);
  const start = 8 + Number(length);
  const entries = Object.entries(parseHeader(file.read(8, Number(length)))).filter(
    ([name]) => name !== "__metadata__",
  );
  if (entries.length > TENSORS_MAX) throw decodeError("too many tensors", 8);
  const tensors = new Map<string, StoredTensor>();
  const ranges: { from: number; to: number }[] = [];
  for (const [name, entry] of entries) {
    const tensor = decodeEntry(entry);
    const [from, to] = tensor.range;
    if (to > file.size - start) throw decodeError("tensor past the end", start + from);
    ranges.push({ from, to });
    const { type, shape, count } = tensor;
    tensors.set(name, { type, shape, count, offset: start + from });
  }
  ranges.sort((a, b) => a.from - b.from || a.to - b.to);
  let end = 0;
  for (const { from, to } of ranges) {
    if (from !== end) throw decodeError("tensors overlap or leave a gap", start + end);
    end = to;
  }
  if (end !== file.size - start) throw decodeError("bytes after the last tensor", start + end);
  return tensors;
}

function parseHeader(bytes: Uint8Array): object {
  const text = utf8Text(bytes);
  if (text === undefined) throw decodeError("header is not UTF-8", 8);
  let header: unknown;
  try {
    header = JSON.parse(text);
  } catch {
    throw decodeError("header is not JSON", 8);
  }
  if (!isRecord(header)) throw decodeError("header is no object", 8);
  return header;
}

function decodeEntry(entry: unknown): {
  type: string;
  shape: number[];
  count: number;
  range: [number, number];
} {
  if (!isRecord(entry)) throw decodeError("tensor entry is no object", 8);
  const { dtype, shape, data_offsets: offsets } = entry as Record<string, unknown>;
  const size = typeof dtype === "string" ? TYPE_BYTES.get(dtype) : undefined;
  if (size === undefined) throw decodeError("unknown dtype", 8);
  if (!isSizes(shape) || shape.length > DIMENSIONS_MAX) throw decodeError("bad shape", 8);
  if (!isSizes(offsets) || offsets.length !== 2) throw decodeError("bad data_offsets", 8);
  const count = shape.reduce((product, n) => product * n, 1);
  const [from, to] = offsets as [number, number];
  if (!Number.isSafeInteger(count * size) || to - from !== count * size) {
    throw decodeError("data_offsets do not fit the shape", 8);
  }
  return { type: dtype as string, shape, count, range: [from, to] };
}

function isRecord(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0);
}

function decodeError(what: string, offset: number): DecodeError {
  return new DecodeError({ code: "safetensors/decode", what, offset });
}
