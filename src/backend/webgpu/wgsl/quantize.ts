// quantize (docs/spec/01-numerics.md section 2) in WGSL, value by value; the row's maximum is the caller's.
//
//   gridExponent(largest, bits, floor) -> i32    e from the bits of max |x|
//   gridMantissa(x, e) -> i32                    RNE(x * 2^-e)
//   limbHigh(m), limbLow(m), byteAt(m, k)
//
// Mantissas for matmul travel as signed bytes. One of 8 bits is its own byte; one of 14 bits is
// high * 128 + low with low in -64..63 and high in -64..64, so that a dot product is one (or two, or
// four) of bytes, each below 2^31 for any permitted length, and no sum ever spills.

import type { WgslPiece } from "./piece.ts";
import { ROUND_SHIFT } from "./round-shift.ts";
import { SOFT_FLOAT } from "./soft-float.ts";

export const QUANTIZE: WgslPiece = {
  name: "quantize",
  needs: [SOFT_FLOAT, ROUND_SHIFT],
  text: /* wgsl */ `
fn gridExponent(largest: u32, bits: u32, least: i32) -> i32 {
  let m = softMantissa(largest);
  if (m == 0u) { return max(-149, least); }
  let zeros = countLeadingZeros(m) - 8u;
  let width = bits - 1u;
  // With 24 bits in m, it is this exponent or the next.
  let fits = (m << zeros) <= 0x1000000u - (1u << (24u - width));
  let e = softExponent(largest) - i32(zeros) + 24 - i32(width) + select(1, 0, fits);
  return max(clamp(e, -149, 122), least);
}
fn gridMantissa(x: u32, e: i32) -> i32 {
  let m = softMantissa(x);
  let shift = softExponent(x) - e;
  let magnitude = i32(select(roundShift(m, u32(clamp(-shift, 0, 33))), m << u32(clamp(shift, 0, 31)), shift >= 0));
  return select(magnitude, -magnitude, (x & 0x80000000u) != 0u);
}
`,
};

/**
 * Signed bytes of a mantissa. Up to 15 bits: `limbHigh * 128 + limbLow`. Of 16 bits: `limbLow + 128 * limbLow(r)
 * + 16384 * limbHigh(r)` with `r = limbRest`.
 */
export const LIMBS: WgslPiece = {
  name: "limbs",
  needs: [],
  text: /* wgsl */ `
fn limbHigh(m: i32) -> i32 {
  return min((m + 64) >> 7u, 127);
}
fn limbRest(m: i32) -> i32 {
  return (m + 64) >> 7u;
}
fn limbLow(m: i32) -> i32 {
  return m - (limbHigh(m) << 7u);
}
fn byteAt(m: i32, k: u32) -> u32 {
  return (u32(m) & 255u) << (k << 3u);
}
`,
};
