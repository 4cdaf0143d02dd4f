// The safetensors container: u64 length of a JSON header, the header, then the tensors' bytes without
// gaps or overlaps. Only the container: what the tensors mean is the loaders' business.

import { assert, DecodeError, MIB, utf8Text } from "gyrotron/base";
import { floatBytes, importFloats } from "./float-import.ts";

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

/** The tensors of a file by name. */
export class Safetensors {
  readonly #file: Uint8Array;
  readonly tensors: ReadonlyMap<string, StoredTensor>;

  /** @throws DecodeError `safetensors/decode` */
  constructor(file: Uint8Array) {
    this.#file = file;
    this.tensors = decodeTensors(file);
  }

  /**
   * A tensor's values, or `count` of them from `first` on.
   * @throws DecodeError `safetensors/decode` if it is not F16, BF16 or F32, `tensor/decode`
   */
  floats(tensor: StoredTensor, first = 0, count: number = tensor.count): Float32Array {
    const { type, offset } = tensor;
    if (type !== "F16" && type !== "BF16" && type !== "F32") {
      throw decodeError(`type ${type} where floats are expected`, offset);
    }
    assert(first + count <= tensor.count, "within the tensor");
    return importFloats(this.#file, { offset: offset + first * floatBytes(type), count, type });
  }
}

function decodeTensors(file: Uint8Array): Map<string, StoredTensor> {
  if (file.length < 8) throw decodeError("header cut off", file.length);
  const length = new DataView(file.buffer, file.byteOffset).getBigUint64(0, true);
  if (length > BigInt(Math.min(HEADER_BYTES_MAX, file.length - 8)))
    throw decodeError("header length out of range", 0);
  const start = 8 + Number(length);
  const entries = Object.entries(parseHeader(file.subarray(8, start))).filter(
    ([name]) => name !== "__metadata__",
  );
  if (entries.length > TENSORS_MAX) throw decodeError("too many tensors", 8);
  const tensors = new Map<string, StoredTensor>();
  const ranges: { from: number; to: number }[] = [];
  for (const [name, entry] of entries) {
    const tensor = decodeEntry(entry);
    const [from, to] = tensor.range;
    if (to > file.length - start) throw decodeError("tensor past the end", start + from);
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
  if (end !== file.length - start) throw decodeError("bytes after the last tensor", start + end);
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
