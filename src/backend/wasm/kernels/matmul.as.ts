// Integer matrix products (docs/spec/01-numerics.md section 3): which columns and rows are worked on when, so
// that operands stay in caches. What one tile computes is in ./tile.as.ts, how weights lie in ./pack.as.ts.
//
// For several rows, weights of 8 bits and their multipliers, or levels, become weights of 14 bits, a panel of
// columns at a time, which stays in the first cache while rows pass. For fewer rows they are multiplied as they
// come.

import { address, word } from "./layout.as";
import { levelRowByFour, sumMantissas } from "./level-row.as";
import { factors, levelWeights, offsets, twice } from "./pack.as";
import { findSpills, spillOf, SPILLS_BYTES } from "./spill.as";
import { rowByFour, rowsByTwo } from "./tile.as";

/** Weights of i16 that stay in the first cache beside a few rows. */
const PANEL_BYTES: usize = 32768;
/** Rows of i16 that stay in the second cache. */
const ROWS_BYTES: usize = 786432;
/** From so many rows on, widening weights once is cheaper than doing so for each row. */
const WIDEN_ROWS: i32 = 3;

/** [3] status, [4] left, [5] exponents, [6] weights, [7] scales, [8] blocks, [9] groups, [10] blocks that an accumulator takes in any case, [11] bits, [12] out, [13] out columns, [14] op, [15] second, [16] third, [17] multipliers, or those of levels with offsets, [18] whether 32 products with weights of 8 bits fit i32, [19] limits (./spill.as.ts) */
export function matmul(p: usize, rows: i32, scratch: usize, thread: i32, threads: i32): void {
  const groups = word(p, 9);
  const from = <i32>((<i64>groups * thread) / threads);
  const to = <i32>((<i64>groups * (thread + 1)) / threads);
  if (from == to) return;
  const bits = word(p, 11);
  if (bits == 14) {
    product<i16>(p, rows, from, to, scratch, 0);
  } else if (bits == 4 && rows < WIDEN_ROWS) {
    levelProduct(p, rows, from, to, scratch);
  } else if (rows >= WIDEN_ROWS || word(p, 18) == 0) {
    product<i16>(p, rows, from, to, scratch, scratch + SPILLS_BYTES);
  } else {
    product<i8>(p, rows, from, to, scratch, 0);
  }
}

/** All rows by the groups `from` to `to`, in panels of columns and blocks of rows that fit caches. Widens if told where to. */
function product<T>(p: usize, rows: i32, from: i32, to: i32, spills: usize, wide: usize): void {
  const blocks = <usize>word(p, 8);
  const groupBytes = (blocks << 5) * sizeof<T>();
  // Whole tiles of four groups, or at least of two.
  const room = <i32>(PANEL_BYTES / groupBytes);
  const fitting = room >= 4 ? room & ~3 : 2;
  // One row uses no weight twice.
  const step = rows == 1 && wide == 0 ? to - from : fitting;
  const parts = <i32>((<usize>rows * (blocks << 4)) / ROWS_BYTES) + 1;
  const rowStep = (rows / parts + 4) & ~3;
  for (let top = 0; top < rows; top += rowStep) {
    const bottom = min(rows, top + rowStep);
    if (sizeof<T>() == 2) findSpills(p, top, bottom, spills);
    for (let group = from; group < to; group += step) {
      const end = min(to, group + step);
      let w = wide;
      if (wide == 0) w = address(p, 6) + <usize>group * groupBytes;
      else for (let g = group; g < end; g++) widen(p, g, wide + <usize>(g - group) * groupBytes);
      panel<T>(p, top, bottom, group, end, w, spills);
    }
  }
}

/** One or two rows by groups of levels, in panels that stay in the first cache until both have passed. */
function levelProduct(p: usize, rows: i32, from: i32, to: i32, sums: usize): void {
  const blocks = <usize>word(p, 8);
  for (let r = 0; r < rows; r++) sumMantissas(p, r, sums + <usize>r * (blocks << 1));
  const room = <i32>(PANEL_BYTES / (blocks << 4));
  const step = rows == 1 ? to - from : max(room & ~3, 4);
  for (let group = from; group < to; group += step) {
    const end = min(to, group + step);
    const quarter = (end - group + 3) >> 2;
    for (let r = 0; r < rows; r++) {
      for (let g = group; g < group + quarter; g++) {
        levelRowByFour(p, r, g, quarter, end - 1, sums + <usize>r * (blocks << 1));
      }
    }
  }
}

/** Writes the integers that a group of levels stands for. */
function widenLevels(p: usize, group: i32, to: usize): void {
  const blocks = <usize>word(p, 8);
  let from = address(p, 6) + <usize>group * (blocks << 4);
  let f = address(p, 17) + <usize>group * (blocks << 2);
  // Not a constant, which the compilers would make anew for each use.
  const ones = i16x8.splat(<i16>(15 + (group >> 31)));
  for (const end = from + (blocks << 4); from < end; f += 16) {
    const m = factors(f);
    const o = offsets(f);
    for (const next = from + 64; from < next; from += 16) {
      const levels = v128.load(from);
      v128.store(to, levelWeights<i8>(levels, m, o, ones));
      v128.store(to, levelWeights<i16>(levels, m, o, ones), 16);
      v128.store(to, levelWeights<i32>(levels, m, o, ones), 32);
      v128.store(to, levelWeights<i64>(levels, m, o, ones), 48);
      to += 64;
    }
  }
}

/** Multiplies the mantissas of a group by their multipliers. */
function widen(p: usize, group: i32, to: usize): void {
  if (word(p, 11) == 4) return widenLevels(p, group, to);
  let blocks = word(p, 8);
  let from = address(p, 6) + <usize>group * (<usize>blocks << 5);
  let m = multiplierAt(p, group);
  while (blocks > 0) {
    const factors = twice(m);
    if (blocks >= 4) {
      widenBlock(from, to, factors);
      widenBlock(from + 32, to + 64, factors);
      widenBlock(from + 64, to + 128, factors);
      widenBlock(from + 96, to + 192, factors);
      from += 128;
      to += 256;
    } else {
      for (let n = blocks; n > 0; n--) {
        widenBlock(from, to, factors);
        from += 32;
        to += 64;
      }
    }
    m += 4;
    blocks -= 4;
  }
}

// @ts-ignore: decorator
@inline
function widenBlock(from: usize, to: usize, factors: v128): void {
  v128.store(to, i16x8.mul(v128.load_ext<i8>(from), factors));
  v128.store(to, i16x8.mul(v128.load_ext<i8>(from, 8), factors), 16);
  v128.store(to, i16x8.mul(v128.load_ext<i8>(from, 16), factors), 32);
  v128.store(to, i16x8.mul(v128.load_ext<i8>(from, 24), factors), 48);
}

/** Where the multipliers of a group are. */
// @ts-ignore: decorator
@inline
function multiplierAt(p: usize, group: i32): usize {
  return address(p, 17) + <usize>group * (<usize>((word(p, 8) + 3) >> 2) << 2);
}

/** Rows `top` to `bottom` by the groups `from` to `to`, whose weights begin at `w`; some of the last are done again to fill a tile. */
function panel<T>(
  p: usize,
  top: i32,
  bottom: i32,
  from: i32,
  to: i32,
  w: usize,
  spills: usize,
): void {
  const groupBytes = (<usize>word(p, 8) << 5) * sizeof<T>();
  const last = to - 1;
  let r = top;
  if (sizeof<T>() == 2) {
    for (; r + 4 <= bottom; r += 4) {
      const spill = spillOf(spills, r - top);
      for (let g = from; g < to; g += 2) {
        const h = min(g + 1, last);
        const at = w + <usize>(g - from) * groupBytes;
        rowsByTwo(p, r, g, h, at, w + <usize>(h - from) * groupBytes, spill);
      }
    }
  }
  const quarter = (to - from + 3) >> 2;
  for (; r < bottom; r++) {
    // Sums of 32 products times a multiplier fit in any case.
    const spill = sizeof<T>() == 1 ? 4 : spillOf(spills, r - top);
    for (let g = from; g < from + quarter; g++) {
      rowByFour<T>(p, r, g, quarter, last, from, w, multiplierAt(p, from), spill);
    }
  }
}
