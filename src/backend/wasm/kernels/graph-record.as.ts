// Records of graph programs: [0] op code, [1] flags, [2] units of work, [3] address of the word that takes
// the smallest row that failed, [4...] as each kernel says. A kernel computes the units `from` to `to`, each
// whole and from operands alone, so neither the split nor the order of parts can change a bit.

import { address, word } from "./layout.as";
import { markBad } from "./scalar.as";

/** Word of the control block: the address of the tables of functions. */
export const TABLES: usize = 64;
/** Word of the control block: 0, or the seed of a random split of each record's work (tests). */
export const SCHEDULE: usize = 68;

// The tables, in bytes from the first.
export const TANH: usize = 0;
export const ERF: usize = 4100;
export const TAIL: usize = 8200;
export const TAIL_TANH: usize = 12300;
export const LOG: usize = 16400;
export const LOG_CURVE: usize = 17428;

const INFINITY_BITS: i32 = 0x7f800000;

/** Address of element `index` of 32-bit elements. */
// @ts-ignore: decorator
@inline
export function at4(base: usize, index: i32): usize {
  return base + ((<usize>(<u32>index)) << 2);
}

/** Notes that a row failed; the smallest wins. */
export function failRow(p: usize, row: i32): void {
  markBad(address(p, 3), 0, row);
}

/** All bits set in lanes that hold an infinity or a NaN. */
// @ts-ignore: decorator
@inline
export function badLanes(x: v128): v128 {
  const exponent = i32x4.splat(INFINITY_BITS);
  return i32x4.eq(v128.and(x, exponent), exponent);
}

/** Whether an f32 is an infinity or a NaN. */
// @ts-ignore: decorator
@inline
export function isBadF32(x: f32): bool {
  return (reinterpret<i32>(x) & INFINITY_BITS) == INFINITY_BITS;
}

/** Notes the row of the first element that is not finite, of the elements `from` to `to`. */
export function failFirst(p: usize, x: usize, from: i32, to: i32, columns: i32): void {
  for (let i = from; i < to; i++) {
    if ((load<i32>(at4(x, i)) & INFINITY_BITS) != INFINITY_BITS) continue;
    failRow(p, i / columns);
    return;
  }
}

/** Word `index` of a record as f32. */
// @ts-ignore: decorator
@inline
export function wordF32(p: usize, index: i32): f32 {
  return reinterpret<f32>(word(p, index));
}
