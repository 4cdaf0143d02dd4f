// How many blocks of eight k an accumulator of a product takes before its upper half has to move on: as many as
// the operands at hand allow, which is mostly several times what the largest ones of their widths would.
//
// By the inequality of Cauchy and Schwarz no sum of products over a window of k, nor any part of it, exceeds the
// root of (the sum of the row's squares) * (the sum of the column's squares) over the window. For each length of
// window the matrix comes with the largest sum of squares of a row with which that, and a lower half that stayed,
// is below 2^31. Here are the rows' sums: of the worst window of 32 k and of all k.
//
// Floats: sums of squares are integers below 2^53 in binary64, exact; the limits are rounded down.

import { address, word } from "./layout.as";

/** Four bytes for each four rows of a block of rows. */
export const SPILLS_BYTES: usize = 65536;
/** Windows of the limits: 2^i blocks at 2i, 3 * 2^i at 2i + 1. */
const WINDOWS: i32 = 28;
/** The first window of four blocks; shorter ones may begin within 32 k and end within the next. */
const FIRST: i32 = 4;

/** Notes for each four of the rows `top` to `bottom` of a matmul's record how many blocks fit. */
export function findSpills(p: usize, top: i32, bottom: i32, spills: usize): void {
  const blocks = word(p, 8);
  for (let row = top; row < bottom; row += 4) {
    let most: f64 = 0;
    let whole: f64 = 0;
    for (let r = row; r < min(row + 4, bottom); r++) {
      sumSquares(address(p, 4) + <usize>r * (<usize>blocks << 4), blocks);
      most = max(most, largestSquares);
      whole = max(whole, allSquares);
    }
    store<i32>(spills + <usize>(row - top), fitting(p, blocks, most, whole));
  }
}

/** Blocks that fit a lane of the row at this distance from the first. */
// @ts-ignore: decorator
@inline
export function spillOf(spills: usize, row: i32): i32 {
  return load<i32>(spills + <usize>(row & ~3));
}

/** The longest window whose sums fit. */
function fitting(p: usize, blocks: i32, most: f64, whole: f64): i32 {
  let best = word(p, 10);
  for (let i = FIRST; i < WINDOWS; i++) {
    const window = ((i & 1) == 0 ? 1 : 3) << (i >> 1);
    const parts = (min(window, blocks) + 3) >> 2;
    const squares = min(<f64>parts * most, whole);
    if (squares <= load<f64>(address(p, 19) + (<usize>i << 3))) best = max(best, window);
  }
  return best;
}

/** What `sumSquares` finds: of the worst 32 k that begin at a multiple of 32, and of all. */
let largestSquares: f64 = 0;
let allSquares: f64 = 0;

function sumSquares(row: usize, blocks: i32): void {
  largestSquares = 0;
  allSquares = 0;
  while (blocks > 0) {
    let sum = i32x4.splat(0);
    const end = row + (<usize>min(blocks, 4) << 4);
    for (; row < end; row += 16) {
      const a = v128.load(row);
      // Two squares of 16 bits with a sign fit i32; what is cut off is less than 16 in each lane.
      sum = i32x4.add(sum, i32x4.add(i32x4.shr_u(i32x4.dot_i16x8_s(a, a), 4), i32x4.splat(1)));
    }
    sum = i32x4.add(sum, v128.shuffle<i64>(sum, sum, 1, 1));
    // Below 2^31 and a few: without sign.
    const all = <u32>i32x4.extract_lane(sum, 0) + <u32>i32x4.extract_lane(sum, 1);
    const squares = <f64>all * 16;
    largestSquares = max(largestSquares, squares);
    allSquares += squares;
    blocks -= 4;
  }
}
