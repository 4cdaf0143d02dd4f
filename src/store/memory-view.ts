// An ordered in-memory map of byte strings: the state of the in-memory store and the main thread's
// copy of public state. Keeps references to the values it is given. Owns no commits.

import type { StateView, StateWrite } from "./contract.ts";

type Entry = readonly [key: Uint8Array, value: Uint8Array];

/** A state view that can be written. */
export class MemoryView implements StateView {
  // Keys as strings of code units 0..255: they compare as their bytes do.
  readonly #entries = new Map<string, Entry>();
  /** Names in order; undefined after a change of keys, since most changes are followed by others. */
  #order: string[] | undefined;

  constructor(entries: Iterable<Entry> = []) {
    for (const [key, value] of entries) this.#put(key, value);
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#entries.get(nameOf(key))?.[1];
  }

  peek(key: Uint8Array): Uint8Array | undefined {
    return this.get(key);
  }

  *keys(prefix: Uint8Array): Iterable<Uint8Array> {
    for (const [key] of this.range(prefix)) yield key;
  }

  *range(prefix: Uint8Array): Iterable<Entry> {
    const name = nameOf(prefix);
    const order = this.#ordered();
    for (let i = lowerBound(order, name); order[i]?.startsWith(name) === true; i++) {
      yield this.#entries.get(order[i]!)!;
    }
  }

  first(prefix: Uint8Array, from?: Uint8Array): Entry | undefined {
    const name = nameOf(prefix);
    const start = from === undefined ? name : maximum(name, nameOf(from));
    const order = this.#ordered();
    const found = order[lowerBound(order, start)];
    return found?.startsWith(name) === true ? this.#entries.get(found) : undefined;
  }

  /** Puts and deletes, in order. */
  apply(writes: readonly StateWrite[]): void {
    for (const { key, value } of writes) {
      if (value === undefined) this.#delete(key);
      else this.#put(key, value);
    }
  }

  #put(key: Uint8Array, value: Uint8Array): void {
    const name = nameOf(key);
    if (!this.#entries.has(name)) this.#order = undefined;
    this.#entries.set(name, [key, value]);
  }

  #delete(key: Uint8Array): void {
    if (this.#entries.delete(nameOf(key))) this.#order = undefined;
  }

  #ordered(): string[] {
    this.#order ??= [...this.#entries.keys()].sort((left, right) => (left < right ? -1 : 1));
    return this.#order;
  }
}

/** Index of the first name that is not below `name`. */
function lowerBound(order: readonly string[], name: string): number {
  let low = 0;
  let high = order.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (order[middle]! < name) low = middle + 1;
    else high = middle;
  }
  return low;
}

function maximum(left: string, right: string): string {
  return left < right ? right : left;
}

function nameOf(key: Uint8Array): string {
  let name = "";
  for (const byte of key) name += String.fromCharCode(byte);
  return name;
}
