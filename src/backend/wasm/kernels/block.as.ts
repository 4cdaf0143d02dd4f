// Parts of a decoder's layer that not every model has (docs/spec/01-numerics.md section 10): layer norms, biases,
// norms of heads, GELU without a gate. Records are those of a decoder: [2] address of the number of rows, [3] status.

import { gelu } from "./graph-function.as";
import { badLanes } from "./graph-record.as";
import { layerNormRange } from "./graph-row.as";
import { address, word } from "./layout.as";
import { rmsNormRow } from "./norm.as";
import { addRow, largestBits, multiplyRow, quantizeRow } from "./row.as";
import { isBad, markBad } from "./scalar.as";

/** [4] x, [5] n, [6] y, [7..9] eps mantissa, exponent, floor (as of a graph's layer norm), [10] padded, [11] gain, [12] bias, [13] out, [14] exponents, [15] bits, [16] gain's op; the bias has the next */
export function layerNormQuantize(p: usize, rows: i32, thread: i32, threads: i32): void {
  const n = word(p, 5);
  const padded = word(p, 10);
  for (let r = thread; r < rows; r += threads) {
    layerNormRange(p, r, r + 1);
    const y = address(p, 6) + <usize>r * (<usize>n << 2);
    if (isBad(multiplyRow(y, address(p, 11), n, y))) markBad(address(p, 3), r, word(p, 16));
    if (isBad(addRow(y, address(p, 12), n, y))) markBad(address(p, 3), r, word(p, 16) + 1);
    const out = address(p, 13) + <usize>r * (<usize>padded << 1);
    store<i32>(address(p, 14) + (<usize>r << 2), quantizeRow(y, n, padded, word(p, 15), -149, out));
  }
}

/** Adds to columns of up to three products. [4] x, [5] columns, [6] bias, [7] n, [8] op, [9] second, [10] third: from these columns on the op is one more */
export function addBias(p: usize, rows: i32, thread: i32, threads: i32): void {
  const n = word(p, 7);
  for (let r = thread; r < rows; r += threads) {
    const x = address(p, 4) + ((<usize>r * <usize>word(p, 5)) << 2);
    if (!isBad(addRow(x, address(p, 6), n, x))) continue;
    for (let c = 0; c < n; c++) {
      if (!isBad(load<i32>(x + (<usize>c << 2)) & 0x7fffffff)) continue;
      const op = word(p, 8) + (c >= word(p, 9) ? 1 : 0) + (c >= word(p, 10) ? 1 : 0);
      markBad(address(p, 3), r, op);
    }
  }
}

/** RMS norm and gain of the heads' slices, in place. [4] x, [5] columns, [6] heads that it begins with, [7] size, [8..10] eps, [11] gain, [12] gain's op */
export function headNorm(p: usize, rows: i32, thread: i32, threads: i32): void {
  const heads = word(p, 6);
  const size = word(p, 7);
  for (let unit = thread; unit < rows * heads; unit += threads) {
    const r = unit / heads;
    const column = <usize>(unit % heads) * <usize>size;
    const x = address(p, 4) + ((<usize>r * <usize>word(p, 5) + column) << 2);
    rmsNormRow(x, size, word(p, 8), word(p, 9), word(p, 10), x, largestBits(x, size), 0);
    if (isBad(multiplyRow(x, address(p, 11), size, x))) markBad(address(p, 3), r, word(p, 12));
  }
}

/** Columns are shared among the threads. [4] x, [5] columns, [6] n, [7] out, [8] table, [9] op */
export function geluRows(p: usize, rows: i32, thread: i32, threads: i32): void {
  const n = word(p, 6);
  const from = <i32>((<i64>n * thread) / threads);
  const to = <i32>((<i64>n * (thread + 1)) / threads);
  const table = address(p, 8);
  for (let r = 0; r < rows; r++) {
    const x = address(p, 4) + ((<usize>r * <usize>word(p, 5)) << 2);
    const out = address(p, 7) + <usize>r * (<usize>n << 2);
    let bad = i32x4.splat(0);
    let i = from;
    for (; i + 4 <= to; i += 4) {
      const at = <usize>i << 2;
      const y = gelu(table, v128.load(x + at));
      v128.store(out + at, y);
      bad = v128.or(bad, badLanes(y));
    }
    // A rest of up to three goes one by one; the other lanes are gelu(0) = 0.
    for (; i < to; i++) {
      const at = <usize>i << 2;
      const y = gelu(table, v128.load32_zero(x + at));
      v128.store_lane<f32>(out + at, y, 0);
      bad = v128.or(bad, badLanes(y));
    }
    if (v128.any_true(bad)) markBad(address(p, 3), r, word(p, 9));
  }
}
