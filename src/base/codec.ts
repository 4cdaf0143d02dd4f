// Deterministic binary codecs for state records, blocks and messages between threads: one schema
// gives encoder and total decoder, and every value has exactly one encoding.
// Integers are little endian; lengths and counts are u32; nothing is self-describing.

import { assert, present } from "./assert.ts";
import { utf8Bytes, utf8Text } from "./bytes.ts";
import { DecodeError } from "./errors.ts";

/** A schema: how one type is written and read. */
export interface Codec<T> {
  write(writer: ByteWriter, value: T): void;
  read(reader: ByteReader): T;
}

/** The type that a codec codes. */
export type CodecType<C> = C extends Codec<infer T> ? T : never;

/** Bytes of `value`. */
export function encodeWith<T>(codec: Codec<T>, value: T): Uint8Array {
  const writer = new ByteWriter();
  codec.write(writer, value);
  return writer.finish();
}

/** The value that `bytes` encode. @throws DecodeError `codec/decode` on any other input, trailing bytes too */
export function decodeWith<T>(codec: Codec<T>, bytes: Uint8Array): T {
  const reader = new ByteReader(bytes);
  const value = codec.read(reader);
  if (reader.offset !== bytes.length) throw reader.error("trailing bytes");
  return value;
}

/** A growing output buffer. */
export class ByteWriter {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  u8(value: number): void {
    assert(Number.isInteger(value) && value >= 0 && value <= 0xff, "u8 out of range");
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
  }

  u32(value: number): void {
    assert(Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff, "u32 out of range");
    this.#reserve(4);
    this.#view.setUint32(this.#length, value, true);
    this.#length += 4;
  }

  u64(value: bigint): void {
    assert(value >= 0n && value < 1n << 64n, "u64 out of range");
    this.#reserve(8);
    this.#view.setBigUint64(this.#length, value, true);
    this.#length += 8;
  }

  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  #reserve(more: number): void {
    const needed = this.#length + more;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}

/** A bounds-checked cursor over untrusted bytes. */
export class ByteReader {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  offset = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  u8(): number {
    return this.bytes[this.#advance(1)]!;
  }

  u32(): number {
    return this.#view.getUint32(this.#advance(4), true);
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#advance(8), true);
  }

  /** A copy of the next `length` bytes. */
  raw(length: number): Uint8Array {
    const start = this.#advance(length);
    return this.bytes.slice(start, start + length);
  }

  /** A count of items of at least `itemBytesMin` each, which must still fit into the input. */
  count(itemBytesMin: number): number {
    const count = this.u32();
    if (count * itemBytesMin > this.bytes.length - this.offset)
      throw this.error("count past the end");
    return count;
  }

  error(what: string): DecodeError {
    return new DecodeError({ code: "codec/decode", what, offset: this.offset });
  }

  #advance(length: number): number {
    const start = this.offset;
    if (length > this.bytes.length - start) throw this.error(`${length} more bytes expected`);
    this.offset = start + length;
    return start;
  }
}

export const u8: Codec<number> = { write: (w, v) => w.u8(v), read: (r) => r.u8() };
export const u32: Codec<number> = { write: (w, v) => w.u32(v), read: (r) => r.u32() };
export const u64: Codec<bigint> = { write: (w, v) => w.u64(v), read: (r) => r.u64() };

/** Unsigned 128 bits, for cycles. */
export const u128: Codec<bigint> = {
  write(w, v) {
    assert(v >= 0n && v < 1n << 128n, "u128 out of range");
    w.u64(v & 0xffff_ffff_ffff_ffffn);
    w.u64(v >> 64n);
  },
  read: (r) => r.u64() | (r.u64() << 64n),
};

/** Signed 64 bits, two's complement. */
export const i64: Codec<bigint> = {
  write: (w, v) => w.u64(BigInt.asUintN(64, v)),
  read: (r) => BigInt.asIntN(64, r.u64()),
};

export const bool: Codec<boolean> = {
  write: (w, v) => w.u8(v ? 1 : 0),
  read(r) {
    const byte = r.u8();
    if (byte > 1) throw r.error("boolean is neither 0 nor 1");
    return byte === 1;
  },
};

/** A length-prefixed byte string. */
export const bytes: Codec<Uint8Array> = {
  write(w, v) {
    w.u32(v.length);
    w.raw(v);
  },
  read: (r) => r.raw(r.u32()),
};

/** A byte string of a fixed length. */
export function fixedBytes(length: number): Codec<Uint8Array> {
  return {
    write(w, v) {
      assert(v.length === length, `expected ${length} bytes`);
      w.raw(v);
    },
    read: (r) => r.raw(length),
  };
}

/** Length-prefixed UTF-8. */
export const text: Codec<string> = {
  write: (w, v) => bytes.write(w, utf8Bytes(v)),
  read(r) {
    const value = utf8Text(bytes.read(r));
    if (value === undefined) throw r.error("text is not UTF-8");
    return value;
  },
};

/** `undefined` or a value. */
export function option<T>(item: Codec<T>): Codec<T | undefined> {
  return {
    write(w, v) {
      bool.write(w, v !== undefined);
      if (v !== undefined) item.write(w, v);
    },
    read: (r) => (bool.read(r) ? item.read(r) : undefined),
  };
}

/** A list; `itemBytesMin` is the shortest encoding of an item and bounds a hostile count. */
export function list<T>(item: Codec<T>, itemBytesMin = 1): Codec<T[]> {
  return {
    write(w, v) {
      w.u32(v.length);
      for (const element of v) item.write(w, element);
    },
    read(r) {
      const count = r.count(itemBytesMin);
      const values: T[] = [];
      for (let i = 0; i < count; i++) values.push(item.read(r));
      return values;
    },
  };
}

/** Fields in the order written in the schema. */
export function record<F extends Record<string, unknown>>(fields: {
  [K in keyof F]: Codec<F[K]>;
}): Codec<F> {
  const entries = Object.entries(fields) as [keyof F & string, Codec<unknown>][];
  return {
    write(w, v) {
      for (const [name, codec] of entries) codec.write(w, v[name]);
    },
    read(r) {
      const value: Record<string, unknown> = {};
      for (const [name, codec] of entries) value[name] = codec.read(r);
      return value as F;
    },
  };
}

/** A tagged union `{ kind, ...fields }`; tags are numbered in the order written in the schema. */
export function variant<V extends { readonly kind: string }>(cases: {
  [K in V["kind"]]: Codec<Omit<Extract<V, { kind: K }>, "kind">>;
}): Codec<V> {
  const entries = Object.entries(cases) as [string, Codec<object>][];
  const tagOf = new Map(entries.map(([kind], index) => [kind, index]));
  return {
    write(w, v) {
      const tag = present(tagOf.get(v.kind), `unknown case ${v.kind}`);
      w.u8(tag);
      present(entries[tag])[1].write(w, v);
    },
    read(r) {
      const found = entries[r.u8()];
      if (found === undefined) throw r.error("unknown case");
      return { kind: found[0], ...found[1].read(r) } as V;
    },
  };
}

/** One of a closed set of names, numbered in the order given. */
export function oneOf<const N extends string>(...names: readonly N[]): Codec<N> {
  return {
    write(w, v) {
      const index = names.indexOf(v);
      assert(index >= 0, `unknown name ${v}`);
      w.u8(index);
    },
    read(r) {
      const name = names[r.u8()];
      if (name === undefined) throw r.error("unknown name");
      return name;
    },
  };
}
