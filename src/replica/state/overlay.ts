// The state as a block sees it while it executes: the committed view below, the block's own changes
// above. Records are decoded once a block and encoded once at the end. Owns no schema.

import {
  assert,
  type Codec,
  compareBytes,
  decodeWith,
  encodeWith,
  equalBytes,
  formatHex,
} from "gyrotron/base";
import type { StateView, StateWrite } from "gyrotron/store";

interface Entry {
  readonly key: Uint8Array;
  readonly codec: Codec<unknown>;
  value: unknown;
  changed: boolean;
}

/** Reads through to the view; collects the block's writes. */
export class StateOverlay {
  readonly #view: StateView;
  /** By type of key, the first byte, and name. */
  readonly #entries = new Map<number, Map<string, Entry>>();

  constructor(view: StateView) {
    this.#view = view;
  }

  /** The record at `key`. It may be changed in place if `put` is called afterwards. */
  get<T>(codec: Codec<T>, key: Uint8Array): T | undefined {
    const name = formatHex(key);
    const entries = this.#ofType(key);
    let entry = entries.get(name);
    if (entry === undefined) {
      const bytes = this.#view.get(key);
      const value = bytes === undefined ? undefined : decodeWith(codec, bytes);
      entry = { key, codec: codec as Codec<unknown>, value, changed: false };
      entries.set(name, entry);
    }
    return entry.value as T | undefined;
  }

  /** The bytes at a key of `rawBytes`, not remembered: for pieces of memories, which may be millions. */
  read(key: Uint8Array): Uint8Array | undefined {
    const entry = this.#ofType(key).get(formatHex(key));
    return entry === undefined ? this.#view.get(key) : (entry.value as Uint8Array | undefined);
  }

  /** Like `read`, in memory that the next read may overwrite. */
  peek(key: Uint8Array): Uint8Array | undefined {
    const entry = this.#ofType(key).get(formatHex(key));
    return entry === undefined ? this.#view.peek(key) : (entry.value as Uint8Array | undefined);
  }

  put<T>(codec: Codec<T>, key: Uint8Array, value: T): void {
    this.#set(codec as Codec<unknown>, key, value);
  }

  delete(key: Uint8Array): void {
    this.#set(deletedCodec, key, undefined);
  }

  /** Keys under `prefix` that exist now, in ascending order, as long as `include` holds. */
  keys(prefix: Uint8Array, include: (key: Uint8Array) => boolean = () => true): Uint8Array[] {
    const found = new Map<string, Uint8Array>();
    for (const key of this.#view.keys(prefix)) {
      if (!include(key)) break;
      found.set(formatHex(key), key);
    }
    const prefixName = formatHex(prefix);
    for (const [name, entry] of this.#ofType(prefix)) {
      if (!name.startsWith(prefixName)) continue;
      if (entry.value === undefined) found.delete(name);
      else if (include(entry.key)) found.set(name, entry.key);
    }
    return [...found.values()].sort(compareBytes);
  }

  /** The first key under `prefix` that exists now. */
  firstKey(prefix: Uint8Array): Uint8Array | undefined {
    let first: Uint8Array | undefined;
    for (const key of this.#view.keys(prefix)) {
      if (this.#isDeleted(key)) continue;
      first = key;
      break;
    }
    const prefixName = formatHex(prefix);
    for (const [name, { key, value }] of this.#ofType(prefix)) {
      if (value === undefined || !name.startsWith(prefixName)) continue;
      if (first === undefined || compareBytes(key, first) < 0) first = key;
    }
    return first;
  }

  /** What the block has changed below a prefix: the bytes before and the value now, in ascending order. */
  changes<T>(prefix: Uint8Array): { before: Uint8Array | undefined; value: T | undefined }[] {
    const prefixName = formatHex(prefix);
    return [...this.#ofType(prefix)]
      .filter(([name, { changed }]) => changed && name.startsWith(prefixName))
      .sort(([left], [right]) => (left < right ? -1 : 1))
      .map(([, { key, value }]) => ({
        before: this.#view.get(key),
        value: value as T | undefined,
      }));
  }

  /** The block's changes, in ascending order of keys; what did not change in the end is left out. */
  writes(): StateWrite[] {
    const writes: StateWrite[] = [];
    for (const entries of this.#entries.values()) {
      for (const entry of entries.values()) {
        if (!entry.changed) continue;
        const value = entry.value === undefined ? undefined : encodeWith(entry.codec, entry.value);
        if (isSame(this.#view.get(entry.key), value)) continue;
        writes.push({ key: entry.key, value });
      }
    }
    return writes.sort((left, right) => compareBytes(left.key, right.key));
  }

  #isDeleted(key: Uint8Array): boolean {
    const entry = this.#ofType(key).get(formatHex(key));
    return entry !== undefined && entry.value === undefined;
  }

  #set(codec: Codec<unknown>, key: Uint8Array, value: unknown): void {
    const name = formatHex(key);
    this.#ofType(key).set(name, { key, codec, value, changed: true });
  }

  #ofType(key: Uint8Array): Map<string, Entry> {
    const type = key[0]!;
    let entries = this.#entries.get(type);
    if (entries === undefined) this.#entries.set(type, (entries = new Map()));
    return entries;
  }
}

function isSame(left: Uint8Array | undefined, right: Uint8Array | undefined): boolean {
  return left === undefined || right === undefined ? left === right : equalBytes(left, right);
}

// A deleted entry is never encoded.
const deletedCodec: Codec<unknown> = {
  write: () => assert(false, "a deleted record cannot be encoded"),
  read: (reader) => {
    throw reader.error("a deleted record cannot be decoded");
  },
};

/** A value that is bytes already. */
export const rawBytes: Codec<Uint8Array> = {
  write: (writer, value) => writer.raw(value),
  read: (reader) => reader.raw(reader.bytes.length - reader.offset),
};
