// quantize of a transposed matrix, read as it lies (docs/spec/01-numerics.md section 2): each column becomes a
// row of mantissas. A unit is 16 columns, which share cache lines.
//
// Floats: as quantizeRow in row.as.ts. Products by powers of two are exact in binary32 unless they round to 0
// anyway, and in binary64 always; `nearest` is RNE.

import { at4 } from "./graph-record.as";
import { address, word } from "./layout.as";
import { exponentOf, power } from "./scalar.as";

/** The mantissas of four values of one row in four columns. */
// @ts-ignore: decorator
@inline
function mantissas(x: usize, factors: v128): v128 {
  return i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(v128.load(x), factors)));
}

/** Eight rows of four columns of a block become eight mantissas in each of four rows. */
function turnEight(x: usize, factors: v128, out: usize, outStep: usize): void {
  const a = i16x8.narrow_i32x4_s(mantissas(x, factors), mantissas(x + 256, factors));
  const b = i16x8.narrow_i32x4_s(mantissas(x + 64, factors), mantissas(x + 320, factors));
  const c = i16x8.narrow_i32x4_s(mantissas(x + 128, factors), mantissas(x + 384, factors));
  const d = i16x8.narrow_i32x4_s(mantissas(x + 192, factors), mantissas(x + 448, factors));
  // Rows 0 and 1, 2 and 3, then 4 and 5, 6 and 7 of each column.
  const ab = v128.shuffle<i16>(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
  const cd = v128.shuffle<i16>(c, d, 0, 8, 1, 9, 2, 10, 3, 11);
  const ef = v128.shuffle<i16>(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
  const gh = v128.shuffle<i16>(c, d, 4, 12, 5, 13, 6, 14, 7, 15);
  const upper01 = v128.shuffle<i32>(ab, cd, 0, 4, 1, 5);
  const lower01 = v128.shuffle<i32>(ef, gh, 0, 4, 1, 5);
  const upper23 = v128.shuffle<i32>(ab, cd, 2, 6, 3, 7);
  const lower23 = v128.shuffle<i32>(ef, gh, 2, 6, 3, 7);
  v128.store(out, v128.shuffle<i64>(upper01, lower01, 0, 2));
  v128.store(out + outStep, v128.shuffle<i64>(upper01, lower01, 1, 3));
  v128.store(out + 2 * outStep, v128.shuffle<i64>(upper23, lower23, 0, 2));
  v128.store(out + 3 * outStep, v128.shuffle<i64>(upper23, lower23, 1, 3));
}

/**
 * Copies up to 16 columns side by side, 64 bytes a row, and stores the exponents of the columns. One sweep, since
 * rows far apart fight for places in the caches. Columns that are not there are read as zeros.
 */
function gatherColumns(
  x: usize,
  step: usize,
  rows: i32,
  count: i32,
  bits: i32,
  block: usize,
  exponents: usize,
): void {
  const signless = i32x4.splat(0x7fffffff);
  let m0 = i32x4.splat(0);
  let m1 = m0;
  let m2 = m0;
  let m3 = m0;
  let to = block;
  for (let r = 0; r < rows; r++) {
    if (count < 16) {
      memory.fill(to, 0, 64);
      memory.copy(to, x, <usize>count << 2);
    } else {
      v128.store(to, v128.load(x));
      v128.store(to, v128.load(x, 16), 16);
      v128.store(to, v128.load(x, 32), 32);
      v128.store(to, v128.load(x, 48), 48);
    }
    m0 = i32x4.max_s(m0, v128.and(v128.load(to), signless));
    m1 = i32x4.max_s(m1, v128.and(v128.load(to, 16), signless));
    m2 = i32x4.max_s(m2, v128.and(v128.load(to, 32), signless));
    m3 = i32x4.max_s(m3, v128.and(v128.load(to, 48), signless));
    x += step;
    to += 64;
  }
  v128.store(to, m0);
  v128.store(to, m1, 16);
  v128.store(to, m2, 32);
  v128.store(to, m3, 48);
  for (let c = 0; c < count; c++) {
    store<i32>(at4(exponents, c), exponentOf(load<i32>(at4(to, c)), bits, -149));
  }
}

/** Mantissas of one column of a block from a row on, and zeros behind. */
function turnColumn(x: usize, first: i32, rows: i32, e: i32, out: usize, padded: i32): void {
  const factor = power(-e);
  for (let r = first; r < rows; r++) {
    const value = nearest<f64>(<f64>load<f32>(x + (<usize>r << 6)) * factor);
    store<i16>(out + (<usize>r << 1), <i16>(<i32>value));
  }
  for (let r = rows; r < padded; r++) store<i16>(out + (<usize>r << 1), 0);
}

/** Four columns of a block, of which `count` are there. */
function turnGroup(
  x: usize,
  rows: i32,
  count: i32,
  exponents: usize,
  out: usize,
  padded: i32,
): void {
  const outStep = <usize>padded << 1;
  let first = 0;
  if (count == 4) {
    const e = v128.load(exponents);
    if (i32x4.all_true(i32x4.ge_s(e, i32x4.splat(-126)))) {
      const factors = i32x4.shl(i32x4.sub(i32x4.splat(127), e), 23);
      for (; first + 8 <= rows; first += 8) {
        turnEight(x + (<usize>first << 6), factors, out + (<usize>first << 1), outStep);
      }
    }
  }
  for (let c = 0; c < count; c++) {
    const to = out + <usize>c * outStep;
    turnColumn(x + (<usize>c << 2), first, rows, load<i32>(at4(exponents, c)), to, padded);
  }
}

/**
 * [4] x, [5] rows, [6] out, [7] exponents, [8] padded rows, [9] bits, [10] columns: matrices one after another.
 * Scratch: 64 bytes a row and 64 more.
 */
export function quantizeTurnedRange(p: usize, scratch: usize, from: i32, to: i32): void {
  const rows = word(p, 5);
  const padded = word(p, 8);
  const columns = word(p, 10);
  const step = <usize>columns << 2;
  const blocks = (columns + 15) >> 4;
  for (let unit = from; unit < to; unit++) {
    const matrix = unit / blocks;
    const column = (unit % blocks) << 4;
    const count = min(16, columns - column);
    const x = address(p, 4) + <usize>matrix * <usize>rows * step + (<usize>column << 2);
    const row = matrix * columns + column;
    const exponents = at4(address(p, 7), row);
    gatherColumns(x, step, rows, count, word(p, 9), scratch, exponents);
    for (let c = 0; c < count; c += 4) {
      const out = address(p, 6) + <usize>(row + c) * (<usize>padded << 1);
      turnGroup(at4(scratch, c), rows, min(4, count - c), at4(exponents, c), out, padded);
    }
  }
}
