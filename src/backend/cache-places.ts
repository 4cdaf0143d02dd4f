// Which memory of a decoder caches lie in. They have few sizes, so that one takes the place of a freed one of its
// size; when none is left, memory may be laid out anew, else a device that has had many small ones would have no
// room for a large one.

import { assert, MIB } from "gyrotron/base";
import { TensorError } from "gyrotron/tensor";

/** Places of caches, as addresses that the decoder gives them. */
export class CachePlaces {
  /** Freed ones by their slots. */
  readonly #free: Map<number, number[]> = new Map();
  #taken = 0;

  /** A freed place for so many slots, or what `allocate` finds. */
  take(slots: number, allocate: () => number): number {
    const place = this.#free.get(slots)?.pop() ?? allocate();
    this.#taken += 1;
    return place;
  }

  /** Takes a place back. True if that was the last: then all are forgotten, and their memory is the caller's. */
  giveBack(slots: number, place: number): boolean {
    this.#taken -= 1;
    assert(this.#taken >= 0, "a place is given back once");
    if (this.#taken === 0) {
      this.#free.clear();
      return true;
    }
    const free = this.#free.get(slots);
    if (free === undefined) this.#free.set(slots, [place]);
    else free.push(place);
    return false;
  }
}

/** A cache that there is no memory for, in sizes that a person reads. */
export function cacheMemoryError(
  backend: string,
  { positions, bytes, left }: { positions: number; bytes: number; left: number },
): TensorError {
  const mebibytes = Math.ceil(bytes / MIB);
  const leftMebibytes = Math.floor(left / MIB);
  return new TensorError({
    ...{ code: "tensor/cache-memory", backend },
    ...{ positions, mebibytes, leftMebibytes },
  });
}
