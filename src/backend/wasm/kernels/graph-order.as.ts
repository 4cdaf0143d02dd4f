// Order of values (docs/spec/01-numerics.md section 16): top-k by a heap of 64-bit ranks.
//
// Floats: loaded as bits only.

import { at4 } from "./graph-record.as";
import { address, word } from "./layout.as";

/** Arranges n u64 as a heap with the smallest on top. */
export function arrangeHeap(heap: usize, n: i32): void {
  for (let i = (n >> 1) - 1; i >= 0; i--) sink(heap, n, i);
}

/** Removes the smallest of n; place n - 1 is then free. */
export function takeSmallest(heap: usize, n: i32): u64 {
  const first = load<u64>(heap);
  store<u64>(heap, load<u64>(heap + (<usize>(n - 1) << 3)));
  sink(heap, n - 1, 0);
  return first;
}

function sink(heap: usize, n: i32, from: i32): void {
  let i = from;
  const value = load<u64>(heap + (<usize>i << 3));
  for (;;) {
    let child = 2 * i + 1;
    if (child >= n) break;
    let smaller = load<u64>(heap + (<usize>child << 3));
    if (child + 1 < n) {
      const right = load<u64>(heap + (<usize>child << 3), 8);
      if (right < smaller) {
        child += 1;
        smaller = right;
      }
    }
    if (smaller >= value) break;
    store<u64>(heap + (<usize>i << 3), smaller);
    i = child;
  }
  store<u64>(heap + (<usize>i << 3), value);
}

/** [4] x, [5] columns, [6] out, [7] k; a unit is a row. Scratch: 8 bytes a column. */
export function topKRange(p: usize, scratch: usize, from: i32, to: i32): void {
  const n = word(p, 5);
  const count = word(p, 7);
  for (let row = from; row < to; row++) {
    const x = address(p, 4) + <usize>row * (<usize>n << 2);
    for (let i = 0; i < n; i++) {
      const bits = load<i32>(at4(x, i));
      // Rising with the value as an unsigned number, then turned round: larger values rank lower.
      const rising = <u32>(bits ^ ((bits >> 31) | i32.MIN_VALUE));
      store<u64>(scratch + (<usize>i << 3), (<u64>(~rising) << 32) | <u64>(<u32>i));
    }
    arrangeHeap(scratch, n);
    const out = address(p, 6) + <usize>row * (<usize>count << 2);
    for (let i = 0; i < count; i++) store<i32>(at4(out, i), <i32>(<u32>takeSmallest(scratch, n - i)));
  }
}
