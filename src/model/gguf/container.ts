// The GGUF container, versions 2 and 3, little end first: metadata of typed keys, a table of tensors, then
// their bytes at aligned offsets. Only the container: what keys and tensors mean is the loader's business.
// Source: the format's description in the ggml repository (docs/gguf.md).

import { DecodeError, MIB, utf8Text } from "gyrotron/base";
import type { ByteSource } from "../byte-source.ts";
import { blockFormat } from "./block-format.ts";

const MAGIC = 0x46554747;
const HEADER_BYTES_MAX: number = 256 * MIB;
const KEYS_MAX = 65536;
const TENSORS_MAX = 65536;
const NAME_BYTES_MAX = 65535;
const DIMENSIONS_MAX = 4;
const ITEMS_MAX = 2 ** 24;
const ALIGNMENT_STANDARD = 32;
const WINDOW_BYTES: number = MIB;

/** A value of the metadata; integers of 64 bits are bigints. Arrays hold one kind and no arrays. */
export type GgufValue = number | bigint | boolean | string | readonly GgufScalar[];
type GgufScalar = number | bigint | boolean | string;

/** Where a tensor lies in its file; the first of `shape` varies fastest. */
export interface GgufTensor {
  readonly name: string;
  /** The number of the storage format. */
  readonly format: number;
  readonly shape: readonly number[];
  readonly count: number;
  readonly offset: number;
  readonly bytes: number;
}

/** What stands before the tensors' bytes. */
export interface GgufHeader {
  readonly version: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
}

/** @throws DecodeError `gguf/decode` */
export function decodeGgufHeader(file: ByteSource): GgufHeader {
  const reader = new Reader(file);
  if (reader.u32() !== MAGIC) throw decodeError("no GGUF file", 0);
  const version = reader.u32();
  if (version !== 2 && version !== 3) throw decodeError(`version ${version}`, 4);
  const tensorCount = reader.count("tensors", TENSORS_MAX);
  const keyCount = reader.count("keys", KEYS_MAX);
  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < keyCount; i++) {
    const at = reader.offset;
    const key = reader.name();
    if (metadata.has(key)) throw decodeError(`key ${key} stands twice`, at);
    metadata.set(key, reader.value());
  }
  const alignment = metadata.get("general.alignment") ?? ALIGNMENT_STANDARD;
  if (typeof alignment !== "number" || alignment < 1 || alignment > MIB || alignment % 8 !== 0)
    throw decodeError(`alignment ${String(alignment)}`, reader.offset);
  const entries = Array.from({ length: tensorCount }, () => readEntry(reader));
  const start = Math.ceil(reader.offset / alignment) * alignment;
  return { version, metadata, tensors: placeTensors(entries, { file, start, alignment }) };
}

interface Entry extends Omit<GgufTensor, "offset"> {
  readonly relative: number;
  readonly at: number;
}

function readEntry(reader: Reader): Entry {
  const at = reader.offset;
  const name = reader.name();
  const rank = reader.u32();
  if (rank < 1 || rank > DIMENSIONS_MAX) throw decodeError(`${name} has ${rank} dimensions`, at);
  const shape = Array.from({ length: rank }, () => reader.count("elements", 2 ** 40));
  const format = reader.u32();
  const relative = reader.count("bytes before a tensor", Number.MAX_SAFE_INTEGER);
  const { elements, bytes: size } = blockFormat(format) ?? { elements: 0, bytes: 0 };
  if (elements === 0) throw decodeError(`${name} has the unknown format ${format}`, at);
  const count = shape.reduce((product, n) => product * n, 1);
  if (!Number.isSafeInteger(count) || shape[0]! % elements !== 0)
    throw decodeError(`${name} does not consist of whole blocks`, at);
  return { name, format, shape, count, relative, bytes: (count / elements) * size, at };
}

function placeTensors(
  entries: readonly Entry[],
  { file, start, alignment }: { file: ByteSource; start: number; alignment: number },
): Map<string, GgufTensor> {
  const tensors = new Map<string, GgufTensor>();
  let end = 0;
  for (const entry of entries.toSorted((a, b) => a.relative - b.relative)) {
    const { name, format, shape, count, relative, bytes, at } = entry;
    if (relative % alignment !== 0) throw decodeError(`${name} is not aligned`, at);
    if (relative < end) throw decodeError(`${name} overlaps another tensor`, at);
    end = relative + bytes;
    if (start + end > file.size) throw decodeError(`${name} reaches past the end`, at);
    if (tensors.has(name)) throw decodeError(`tensor ${name} stands twice`, at);
    tensors.set(name, { name, format, shape, count, offset: start + relative, bytes });
  }
  return tensors;
}

/** Reads forward through a window of the file. */
class Reader {
  readonly #file: ByteSource;
  #window: DataView = new DataView(new ArrayBuffer(0));
  #windowAt = 0;
  offset = 0;

  constructor(file: ByteSource) {
    this.#file = file;
  }

  u32(): number {
    const at = this.#take(4);
    return this.#window.getUint32(at, true);
  }

  /** A u64 that counts something. */
  count(what: string, max: number): number {
    const start = this.offset;
    const at = this.#take(8);
    const value = this.#window.getBigUint64(at, true);
    if (value > BigInt(max)) throw decodeError(`${value} ${what}, at most ${max} allowed`, start);
    return Number(value);
  }

  name(): string {
    return this.#text(NAME_BYTES_MAX);
  }

  value(): GgufValue {
    const start = this.offset;
    const type = this.u32();
    if (type !== 9) return this.#scalar(type, start);
    const item = this.u32();
    const length = this.count("items", ITEMS_MAX);
    const items: GgufScalar[] = [];
    for (let i = 0; i < length; i++) items.push(this.#scalar(item, start));
    return items;
  }

  #scalar(type: number, start: number): GgufScalar {
    if (type === 8) return this.#text(HEADER_BYTES_MAX);
    const size = SCALAR_BYTES[type];
    if (size === undefined) throw decodeError(`value of the unknown type ${type}`, start);
    const at = this.#take(size);
    const view = this.#window;
    switch (type) {
      case 0:
        return view.getUint8(at);
      case 1:
        return view.getInt8(at);
      case 2:
        return view.getUint16(at, true);
      case 3:
        return view.getInt16(at, true);
      case 4:
        return view.getUint32(at, true);
      case 5:
        return view.getInt32(at, true);
      case 6:
        return view.getFloat32(at, true);
      case 7:
        return readBool(view.getUint8(at), start);
      case 10:
        return view.getBigUint64(at, true);
      case 11:
        return view.getBigInt64(at, true);
      default:
        return view.getFloat64(at, true);
    }
  }

  #text(max: number): string {
    const start = this.offset;
    const length = this.count("bytes of text", max);
    const at = this.#take(length);
    const text = utf8Text(
      new Uint8Array(this.#window.buffer, this.#window.byteOffset + at, length),
    );
    if (text === undefined) throw decodeError("text is not UTF-8", start);
    return text;
  }

  /** Moves past `length` bytes; gives their place in the window. */
  #take(length: number): number {
    const end = this.offset + length;
    if (end > this.#file.size) throw decodeError("cut off", this.#file.size);
    if (end > HEADER_BYTES_MAX) throw decodeError("header too long", HEADER_BYTES_MAX);
    if (end > this.#windowAt + this.#window.byteLength) {
      const size = Math.min(Math.max(WINDOW_BYTES, length), this.#file.size - this.offset);
      const bytes = this.#file.read(this.offset, size);
      this.#window = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      this.#windowAt = this.offset;
    }
    const at = this.offset - this.#windowAt;
    this.offset = end;
    return at;
  }
}

/** Bytes of a scalar by its type; 8 is text and 9 an array. */
const SCALAR_BYTES: readonly (number | undefined)[] = [
  ...[1, 1, 2, 2, 4, 4, 4, 1],
  ...[undefined, undefined, 8, 8, 8],
];

function readBool(byte: number, offset: number): boolean {
  if (byte > 1) throw decodeError("bool is neither 0 nor 1", offset);
  return byte === 1;
}

function decodeError(what: string, offset: number): DecodeError {
  return new DecodeError({ code: "gguf/decode", what, offset });
}
