// The caches of a decoder that keeps them in a device's memory: their sizes, their copies, and which rows may be
// added to them. Which freed one serves again is ./cache-places.ts's; placing and copying bytes are the device's.
//
// A cache has slots for positions. For each layer it holds K mantissas [kvHeads][slots][unit], V mantissas the
// same, K exponents [kvHeads][slots], V exponents the same.

import { assert } from "gyrotron/base";
import { type DecoderRow, type SequenceCache, TensorError } from "gyrotron/tensor";
import { CachePlaces } from "./cache-places.ts";

/** What a pool asks of its decoder. */
export interface CacheMemory {
  readonly layers: number;
  readonly kvHeads: number;
  /** Bytes of the mantissas of one head at one position. */
  readonly unitBytes: number;
  /** Positions that a cache may have at most. */
  readonly context: number;
  /** The address of a new cache of so many slots. */
  place(slots: number): number;
  /** There is no cache any more: what has been placed is free again. */
  clear(): void;
  /** Copies between the caches at two addresses; offsets are from the first layer. */
  copy(from: number, to: number, ranges: readonly CopyRange[]): void;
}

/** A run of bytes to copy. */
export interface CopyRange {
  readonly from: number;
  readonly to: number;
  readonly bytes: number;
}

/** A sequence's place in a device's memory. */
export class DeviceCache implements SequenceCache {
  readonly pool: CachePool;
  /** As the device counts. */
  readonly address: number;
  readonly slots: number;
  readonly capacity: number;
  length = 0;
  open = true;

  constructor(pool: CachePool, address: number, slots: number, capacity: number) {
    this.pool = pool;
    this.address = address;
    this.slots = slots;
    this.capacity = capacity;
  }

  truncate(length: number): void {
    assert(length >= 0 && length <= this.length, "a cache is cut, not extended");
    this.length = length;
  }

  fork(length: number, capacity: number): SequenceCache {
    assert(this.open && length <= this.length && length <= capacity, "a fork of what is there");
    return this.pool.copy(this, length, capacity);
  }

  free(): void {
    if (!this.open) return;
    this.open = false;
    this.pool.reclaim(this);
  }
}

/** All caches of one decoder. */
export class CachePool {
  readonly #memory: CacheMemory;
  readonly #places: CachePlaces = new CachePlaces();

  constructor(memory: CacheMemory) {
    this.#memory = memory;
  }

  /** @throws TensorError `tensor/limit` beyond the context, and what placing throws */
  create(capacity: number): DeviceCache {
    const { context } = this.#memory;
    if (!(capacity >= 1 && capacity <= context)) {
      throw new TensorError({
        code: "tensor/limit",
        what: "cache capacity",
        limit: context,
        actual: capacity,
      });
    }
    const slots = slotsFor(capacity, context);
    const address = this.#places.take(slots, () => this.#memory.place(slots));
    return new DeviceCache(this, address, slots, capacity);
  }

  /** A cache with the first positions of another. */
  copy(cache: DeviceCache, length: number, capacity: number): DeviceCache {
    const copy = this.create(capacity);
    const ranges = rangesOf(this.#memory, length, cache.slots, copy.slots);
    this.#memory.copy(cache.address, copy.address, ranges);
    copy.length = length;
    return copy;
  }

  /** Takes back a freed cache's memory for others. */
  reclaim({ address, slots }: DeviceCache): void {
    if (this.#places.giveBack(slots, address)) this.#memory.clear();
  }

  /** Checks the rows of a step and returns their caches. @throws TensorError `tensor/limit`, `tensor/closed`, `tensor/context-full` */
  admit(
    rows: readonly DecoderRow[],
    limits: { readonly rowsMax: number; readonly vocabulary: number },
  ): DeviceCache[] {
    const { rowsMax, vocabulary } = limits;
    if (rows.length > rowsMax) {
      throw new TensorError({
        code: "tensor/limit",
        what: "rows",
        limit: rowsMax,
        actual: rows.length,
      });
    }
    const added = new Map<DeviceCache, number>();
    const caches = rows.map(({ cache, token }) => {
      assert(cache instanceof DeviceCache && cache.pool === this, "a cache of another decoder");
      assert(token >= 0 && token < vocabulary, "token out of range");
      if (!cache.open) throw new TensorError({ code: "tensor/closed", what: "cache" });
      added.set(cache, (added.get(cache) ?? 0) + 1);
      return cache;
    });
    for (const [{ length, capacity }, count] of added) {
      if (length + count > capacity)
        throw new TensorError({ code: "tensor/context-full", capacity, position: capacity });
    }
    return caches;
  }
}

/**
 * Few sizes, so that freed caches fit the next ones: powers of two from 32, or the whole context. Even, because
 * kernels may keep V in pairs of positions.
 */
function slotsFor(capacity: number, context: number): number {
  let slots = 32;
  while (slots < capacity) slots *= 2;
  return Math.min(slots, context + (context & 1));
}

/** The copies that bring the first `positions` of a cache into another of more or fewer slots. */
function rangesOf(
  { layers, kvHeads, unitBytes }: CacheMemory,
  positions: number,
  fromSlots: number,
  toSlots: number,
): CopyRange[] {
  const inPairs = positions + (positions & 1);
  const ranges: CopyRange[] = [];
  let [from, to] = [0, 0];
  for (let layer = 0; layer < layers; layer++) {
    for (const unit of [unitBytes, unitBytes, 4, 4]) {
      for (let head = 0; head < kvHeads; head++) {
        ranges.push({ from, to, bytes: inPairs * unit });
        from += fromSlots * unit;
        to += toSlots * unit;
      }
    }
  }
  return ranges;
}
