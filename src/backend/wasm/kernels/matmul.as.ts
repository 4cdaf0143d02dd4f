// Integer matrix products (docs/spec/01-numerics.md section 3): which columns and rows are worked on when, so
// that operands stay in caches. What one tile computes is in ./tile.as.ts.
//
// Weights lie in groups of four columns: for each block of 8 k, four times 8 mantissas. For many rows, weights
// of 8 bits are widened once; a panel of columns stays in the first cache while rows pass.

import { address, word } from "./layout.as";
import { rowByEight, rowByFour, rowsByFour, rowsByTwo } from "./tile.as";

/** Weights of i16 that stay in the first cache beside a few rows. */
const PANEL_BYTES: usize = 24576;
/** Rows of i16 that stay in the second cache. */
const ROWS_BYTES: usize = 524288;
/** From so many rows on, widening weights once is cheaper than widening them for each tile. */
const WIDEN_ROWS: i32 = 16;

/** [3] status, [4] left, [5] exponents, [6] weights, [7] scales, [8] blocks, [9] groups, [10] spill, [11] bits, [12] out, [13] out columns, [14] op, [15] second, [16] third */
export function matmul(
  p: usize,
  rows: i32,
  scratch: usize,
  scratchBytes: usize,
  thread: i32,
  threads: i32,
): void {
  const groups = word(p, 9);
  const from = <i32>((<i64>groups * thread) / threads);
  const to = <i32>((<i64>groups * (thread + 1)) / threads);
  if (word(p, 11) == 8) product<i8>(p, rows, from, to, scratch, scratchBytes);
  else product<i16>(p, rows, from, to, scratch, scratchBytes);
}

/** All rows by the column groups `from` to `to`, in panels of columns and blocks of rows that fit caches. */
function product<T>(
  p: usize,
  rows: i32,
  from: i32,
  to: i32,
  scratch: usize,
  scratchBytes: usize,
): void {
  const blocks = <usize>word(p, 8);
  const groupBytes = (blocks << 5) * sizeof<T>();
  const wideBytes = blocks << 6;
  const widen =
    sizeof<T>() == 1 && rows >= WIDEN_ROWS && wideBytes <= scratchBytes;
  const room = min(PANEL_BYTES, scratchBytes);
  const fitting = <i32>max<usize>(1, room / (widen ? wideBytes : groupBytes));
  // One row uses no weight twice.
  const step = rows == 1 ? to - from : fitting;
  const rowStep = <i32>max<usize>(16, (ROWS_BYTES / (blocks << 4)) & ~3);
  for (let top = 0; top < rows; top += rowStep) {
    const bottom = min(rows, top + rowStep);
    for (let group = from; group < to; group += step) {
      const end = min(to, group + step);
      const w = address(p, 6) + <usize>group * groupBytes;
      if (widen) {
        widenWeights(w, scratch, <usize>(end - group) * wideBytes);
        panelRows<i16>(p, top, bottom, group, end, scratch);
      } else {
        panelRows<T>(p, top, bottom, group, end, w);
      }
    }
  }
}

/** Sign-extends bytes to `bytes` bytes of i16; `bytes` is a multiple of 64. */
function widenWeights(from: usize, to: usize, bytes: usize): void {
  for (let i: usize = 0; i < bytes; i += 64) {
    const at = from + (i >> 1);
    v128.store(to + i, v128.load_ext<i8>(at));
    v128.store(to + i, v128.load_ext<i8>(at, 8), 16);
    v128.store(to + i, v128.load_ext<i8>(at, 16), 32);
    v128.store(to + i, v128.load_ext<i8>(at, 24), 48);
  }
}

/** Rows `top` to `bottom` by the groups `from` to `to`, whose weights begin at `w`. */
function panelRows<T>(
  p: usize,
  top: i32,
  bottom: i32,
  from: i32,
  to: i32,
  w: usize,
): void {
  const groupBytes = (<usize>word(p, 8) << 5) * sizeof<T>();
  let r = top;
  for (; r + 4 <= bottom; r += 4) {
    for (let group = from; group < to; group++) {
      const at = w + <usize>(group - from) * groupBytes;
      rowsByTwo<T>(p, r, group << 2, at);
      rowsByTwo<T>(p, r, (group << 2) + 2, at + 16 * sizeof<T>());
    }
  }
  for (; r + 2 <= bottom; r += 2) {
    for (let group = from; group < to; group++) {
      rowsByFour<T>(p, r, group << 2, w + <usize>(group - from) * groupBytes);
    }
  }
  if (r == bottom) return;
  const half = (to - from) >> 1;
  for (let group = from; group < from + half; group++) {
    rowByEight<T>(p, r, group << 2, half, w + <usize>(group - from) * groupBytes);
  }
  if (from + 2 * half < to) {
    rowByFour<T>(p, r, (to - 1) << 2, w + <usize>(to - 1 - from) * groupBytes);
  }
}
