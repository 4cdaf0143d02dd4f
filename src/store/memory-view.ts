// An ordered in-memory map of byte strings: the state of the in-memory store and the main thread's
// copy of public state. Keeps references to the values it is given. Owns no commits.

import type { StateView, StateWrite } from "./contract.ts";

type Entry = readonly [key: Uint8Array, value: Uint8Array];

/** A state view that can be written. */
export class MemoryView implements StateView {
  // Keys as strings of code units 0..255: they compare as their bytes do.
  readonly #entries = new Map<string, Entry>();
  readonly #order: string[] = [];

  constructor(entries: Iterable<Entry> = []) {
    for (const [key, value] of entries) this.#put(key, value);
  }

  get size(): number {
    return this.#order.length;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#entries.get(nameOf(key))?.[1];
  }

  *range(prefix: Uint8Array): Iterable<Entry> {
    const name = nameOf(prefix);
    for (let i = this.#lowerBound(name); this.#order[i]?.startsWith(name) === true; i++) {
      yield this.#entries.get(this.#order[i]!)!;
    }
  }

  first(prefix: Uint8Array, from?: Uint8Array): Entry | undefined {
    const start = from === undefined ? nameOf(prefix) : maximum(nameOf(prefix), nameOf(from));
    const found = this.#order[this.#lowerBound(start)];
    return found?.startsWith(nameOf(prefix)) === true ? this.#entries.get(found) : undefined;
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
    if (!this.#entries.has(name)) this.#order.splice(this.#lowerBound(name), 0, name);
    this.#entries.set(name, [key, value]);
  }

  #delete(key: Uint8Array): void {
    const name = nameOf(key);
    if (this.#entries.delete(name)) this.#order.splice(this.#lowerBound(name), 1);
  }

  /** Index of the first key that is not below `name`. */
  #lowerBound(name: string): number {
    let low = 0;
    let high = this.#order.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#order[middle]! < name) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function maximum(left: string, right: string): string {
  return left < right ? right : left;
}

function nameOf(key: Uint8Array): string {
  let name = "";
  for (const byte of key) name += String.fromCharCode(byte);
  return name;
}
