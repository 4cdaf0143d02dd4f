// Merges waiting to be made, best score first and leftmost among equals: a binary heap.

/** A pair of neighbours that form a piece. */
export interface Merge {
  readonly score: number;
  /** Index of the left neighbour. */
  readonly left: number;
  readonly id: number;
  readonly leftToken: number;
  readonly rightToken: number;
}

export class MergeQueue {
  readonly #heap: Merge[] = [];

  push(merge: Merge): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(merge);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(merge, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = merge;
  }

  /** The best merge, or undefined if none is left. */
  pop(): Merge | undefined {
    const heap = this.#heap;
    const best = heap[0];
    const last = heap.pop();
    if (best === undefined || last === undefined || heap.length === 0) return best;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return best;
  }
}

function isBefore(a: Merge, b: Merge): boolean {
  return a.score !== b.score ? a.score > b.score : a.left < b.left;
}
