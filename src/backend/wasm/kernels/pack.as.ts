// Brings weights into the order of products: groups of four columns, in each for every two k four times two
// mantissas, in blocks of eight k; beside them, for every 32 k, the four columns' multipliers. Levels of 4 bits
// take one vector for eight k, and their multipliers stand in pairs with offsets. And finds how large sums of the
// weights' squares get, which says how many products an accumulator may take (./spill.as.ts).

import { address, word } from "./layout.as";

// The four pairs of k of a block as types, see ./tile.as.ts.
type First = i8;
type Second = i16;
type Third = i32;
type Fourth = i64;

/** Bytes of one thread's table of bounds: a vector of four columns for each of 28 lengths. */
const BOUNDS_BYTES: usize = 448;

/** [4] mantissas by columns, [5] multipliers by columns, [6] weights, [7] multipliers, [8] blocks, [9] groups, [10] bits, [11] bounds */
export function pack(p: usize, scratch: usize, thread: i32, threads: i32): void {
  const bounds = address(p, 11) + <usize>thread * BOUNDS_BYTES;
  for (let group = thread; group < word(p, 9); group += threads) {
    if (word(p, 10) == 4) {
      orderFactors(p, group);
      packLevels(p, group, scratch);
    } else if (word(p, 10) == 8) {
      orderMultipliers(p, group);
      packGroup<i8>(p, group, scratch);
    } else {
      packGroup<i16>(p, group, scratch);
    }
    noteBounds(scratch, word(p, 8), bounds);
  }
}

/** Orders a group and leaves its blocks' sums of squares in `sums`, in units of 2^12, rounded up. */
function packGroup<T>(p: usize, group: i32, sums: usize): void {
  const blocks = <usize>word(p, 8);
  const stride = (blocks << 3) * sizeof<T>();
  let a = address(p, 4) + (<usize>group << 2) * stride;
  let b = a + stride;
  let c = b + stride;
  let d = c + stride;
  let to = address(p, 6) + <usize>group * (stride << 2);
  let m = address(p, 7) + <usize>group * (((blocks + 3) >> 2) << 2);
  let squares = i32x4.splat(1);
  for (let i: usize = 0; i < blocks; i++) {
    let first: v128;
    let second: v128;
    let third: v128;
    let fourth: v128;
    if (sizeof<T>() == 1) {
      if ((i & 3) == 0) {
        const factors = multipliers(m);
        squares = i32x4.mul(factors, factors);
        m += 4;
      }
      const ab = v128.shuffle<i16>(v128.load64_zero(a), v128.load64_zero(b), 0, 8, 1, 9, 2, 10, 3, 11);
      const cd = v128.shuffle<i16>(v128.load64_zero(c), v128.load64_zero(d), 0, 8, 1, 9, 2, 10, 3, 11);
      const low = v128.shuffle<i32>(ab, cd, 0, 4, 1, 5);
      const high = v128.shuffle<i32>(ab, cd, 2, 6, 3, 7);
      v128.store(to, low);
      v128.store(to, high, 16);
      first = i16x8.extend_low_i8x16_s(low);
      second = i16x8.extend_high_i8x16_s(low);
      third = i16x8.extend_low_i8x16_s(high);
      fourth = i16x8.extend_high_i8x16_s(high);
    } else {
      const abLow = v128.shuffle<i32>(v128.load(a), v128.load(b), 0, 4, 1, 5);
      const abHigh = v128.shuffle<i32>(v128.load(a), v128.load(b), 2, 6, 3, 7);
      const cdLow = v128.shuffle<i32>(v128.load(c), v128.load(d), 0, 4, 1, 5);
      const cdHigh = v128.shuffle<i32>(v128.load(c), v128.load(d), 2, 6, 3, 7);
      first = v128.shuffle<i64>(abLow, cdLow, 0, 2);
      second = v128.shuffle<i64>(abLow, cdLow, 1, 3);
      third = v128.shuffle<i64>(abHigh, cdHigh, 0, 2);
      fourth = v128.shuffle<i64>(abHigh, cdHigh, 1, 3);
      v128.store(to, first);
      v128.store(to, second, 16);
      v128.store(to, third, 32);
      v128.store(to, fourth, 48);
    }
    // Eight squares of at most 14 bits with a sign fit i32, times those of the multipliers too.
    const sum = i32x4.mul(
      i32x4.add(
        i32x4.add(square(first), square(second)),
        i32x4.add(square(third), square(fourth)),
      ),
      squares,
    );
    v128.store(sums + (i << 4), i32x4.add(i32x4.shr_u(sum, 12), i32x4.splat(1)));
    a += 8 * sizeof<T>();
    b += 8 * sizeof<T>();
    c += 8 * sizeof<T>();
    d += 8 * sizeof<T>();
    to += 32 * sizeof<T>();
  }
}

/**
 * As `packGroup`, for levels: lane `2 * column + parity` of a vector of eight k holds those of k = parity,
 * 2 + parity, 4 + parity and 6 + parity, the first in its lowest bits.
 */
function packLevels(p: usize, group: i32, sums: usize): void {
  const blocks = <usize>word(p, 8);
  const stride = blocks << 2;
  let a = address(p, 4) + (<usize>group << 2) * stride;
  let to = address(p, 6) + <usize>group * (stride << 2);
  let f = address(p, 7) + <usize>group * (blocks << 2);
  const ones = i16x8.splat(15);
  for (let i: usize = 0; i < blocks; i += 4) {
    const first = parted(v128.load(a));
    const second = parted(v128.load(a + stride));
    const third = parted(v128.load(a + 2 * stride));
    const fourth = parted(v128.load(a + 3 * stride));
    const abLow = v128.shuffle<i32>(first, second, 0, 4, 1, 5);
    const abHigh = v128.shuffle<i32>(first, second, 2, 6, 3, 7);
    const cdLow = v128.shuffle<i32>(third, fourth, 0, 4, 1, 5);
    const cdHigh = v128.shuffle<i32>(third, fourth, 2, 6, 3, 7);
    v128.store(to, v128.shuffle<i64>(abLow, cdLow, 0, 2));
    v128.store(to, v128.shuffle<i64>(abLow, cdLow, 1, 3), 16);
    v128.store(to, v128.shuffle<i64>(abHigh, cdHigh, 0, 2), 32);
    v128.store(to, v128.shuffle<i64>(abHigh, cdHigh, 1, 3), 48);
    const m = factors(f);
    const o = offsets(f);
    for (const end = to + 64; to < end; to += 16) {
      const levels = v128.load(to);
      const sum = i32x4.add(
        i32x4.add(
          square(levelWeights<First>(levels, m, o, ones)),
          square(levelWeights<Second>(levels, m, o, ones)),
        ),
        i32x4.add(
          square(levelWeights<Third>(levels, m, o, ones)),
          square(levelWeights<Fourth>(levels, m, o, ones)),
        ),
      );
      v128.store(sums, i32x4.add(i32x4.shr_u(sum, 12), i32x4.splat(1)));
      sums += 16;
    }
    a += 16;
    f += 16;
  }
}

/** Of each eight levels of four bits, those at even places in the lower half of 32 bits, the others in the upper. */
// @ts-ignore: decorator
@inline
function parted(levels: v128): v128 {
  const even = v128.and(levels, i32x4.splat(0x0f0f0f0f));
  const odd = v128.and(i32x4.shr_u(levels, 4), i32x4.splat(0x0f0f0f0f));
  return v128.or(closed(even), i32x4.shl(closed(odd), 16));
}

/** The lower halves of four bytes, side by side. */
// @ts-ignore: decorator
@inline
function closed(bytes: v128): v128 {
  const pairs = v128.and(v128.or(bytes, i32x4.shr_u(bytes, 4)), i32x4.splat(0x00ff00ff));
  return v128.and(v128.or(pairs, i32x4.shr_u(pairs, 8)), i32x4.splat(0xffff));
}

/** A pair of k of a vector of levels as weights of i16; `ones` is 15 in each lane. */
// @ts-ignore: decorator
@inline
export function levelWeights<Pair>(levels: v128, m: v128, o: v128, ones: v128): v128 {
  let level = i16x8.shr_u(levels, 4 * alignof<Pair>());
  if (alignof<Pair>() < 3) level = v128.and(level, ones);
  return i16x8.add(i16x8.mul(level, m), o);
}

// @ts-ignore: decorator
@inline
function square(weights: v128): v128 {
  return i32x4.dot_i16x8_s(weights, weights);
}

/** Four multipliers as i32. */
// @ts-ignore: decorator
@inline
export function multipliers(at: usize): v128 {
  return i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(at)));
}

/** Four multipliers, each twice, as i16. */
// @ts-ignore: decorator
@inline
export function twice(at: usize): v128 {
  const bytes = v128.load32_zero(at);
  return i16x8.extend_low_i8x16_u(
    v128.shuffle<i8>(bytes, bytes, 0, 0, 1, 1, 2, 2, 3, 3, 8, 8, 8, 8, 8, 8, 8, 8),
  );
}

/** Four multipliers of levels, each twice, as i16. */
// @ts-ignore: decorator
@inline
export function factors(at: usize): v128 {
  const both = v128.load(at);
  return v128.shuffle<i16>(both, both, 0, 0, 2, 2, 4, 4, 6, 6);
}

/** Four offsets, each twice. */
// @ts-ignore: decorator
@inline
export function offsets(at: usize): v128 {
  const both = v128.load(at);
  return v128.shuffle<i16>(both, both, 1, 1, 3, 3, 5, 5, 7, 7);
}

/** Brings multipliers of levels and offsets, which follow those of all groups, side by side. */
function orderFactors(p: usize, group: i32): void {
  const chunks = <usize>word(p, 8) >> 2;
  const from = address(p, 5) + ((<usize>group * chunks) << 3);
  const after = (<usize>word(p, 9) * chunks) << 3;
  const to = address(p, 7) + ((<usize>group * chunks) << 4);
  for (let i: usize = 0; i < chunks; i++) {
    for (let c: usize = 0; c < 4; c++) {
      const at = from + ((c * chunks + i) << 1);
      store<u16>(to + (i << 4) + (c << 2), load<u16>(at));
      store<u16>(to + (i << 4) + (c << 2), load<u16>(at + after), 2);
    }
  }
}

function orderMultipliers(p: usize, group: i32): void {
  const chunks = <usize>((word(p, 8) + 3) >> 2);
  const from = address(p, 5) + ((<usize>group * chunks) << 2);
  const to = address(p, 7) + ((<usize>group * chunks) << 2);
  for (let i: usize = 0; i < chunks; i++) {
    for (let c: usize = 0; c < 4; c++) {
      store<u8>(to + (i << 2) + c, load<u8>(from + c * chunks + i));
    }
  }
}

/** Raises the bounds: entry 2j is of windows of 2^j blocks, 2j + 1 of 3 * 2^j, up to one that holds all. */
function noteBounds(sums: usize, count: i32, bounds: usize): void {
  const thirds = sums + (<usize>count << 4);
  const thirdsCount = addNeighbours(sums, count, 3, thirds);
  noteDoubling(sums, count, bounds);
  noteDoubling(thirds, thirdsCount, bounds + 16);
}

function noteDoubling(sums: usize, count: i32, bounds: usize): void {
  while (true) {
    let largest = v128.load(bounds);
    for (let i = 0; i < count; i++) {
      largest = i32x4.max_u(largest, v128.load(sums + (<usize>i << 4)));
    }
    v128.store(bounds, largest);
    if (count == 1) return;
    count = addNeighbours(sums, count, 2, sums);
    bounds += 32;
  }
}

/** Sums of every `by` neighbours; the last may have fewer. Returns how many; `to` may be `from`. */
function addNeighbours(from: usize, count: i32, by: i32, to: usize): i32 {
  let found = 0;
  for (let i = 0; i < count; found++) {
    let sum = i32x4.splat(0);
    for (const end = min(count, i + by); i < end; i++) {
      sum = i32x4.add(sum, v128.load(from + (<usize>i << 4)));
    }
    v128.store(to + (<usize>found << 4), sum);
  }
  return found;
}
