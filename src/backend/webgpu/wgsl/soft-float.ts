// IEEE binary32 arithmetic on bits in WGSL, correctly rounded to nearest even, subnormals kept. Operands are
// finite; results are never -0, and the bits of an infinity where they do not fit (`isBad`).
//
//   softMantissa(x), softExponent(x)    x = +-mantissa * 2^exponent, mantissa below 2^24
//   softAdd, softSubtract, softMultiply, softDivide, softSqrt, softNegate
//   softKey(x)                          a u32 whose order is that of the numbers
//
// x / 0 and the root of a negative number give the bits of an infinity.

import type { WgslPiece } from "./piece.ts";
import { ROUND_WIDE, ROUND_WORD } from "./round-float.ts";

export const SOFT_FLOAT: WgslPiece = {
  name: "soft-float",
  needs: [],
  text: /* wgsl */ `
fn softMantissa(x: u32) -> u32 {
  let fraction = x & 0x7fffffu;
  return select(fraction | 0x800000u, fraction, (x & 0x7f800000u) == 0u);
}
fn softExponent(x: u32) -> i32 {
  return i32(max((x >> 23u) & 255u, 1u)) - 150;
}
fn softNegate(x: u32) -> u32 {
  return select(x ^ 0x80000000u, 0u, (x & 0x7fffffffu) == 0u);
}
fn softKey(x: u32) -> u32 {
  return select(x | 0x80000000u, ~x, (x & 0x80000000u) != 0u);
}
`,
};

export const SOFT_ADD: WgslPiece = {
  name: "soft-add",
  needs: [SOFT_FLOAT, ROUND_WORD],
  text: /* wgsl */ `
fn softAdd(a: u32, b: u32) -> u32 {
  let isSwapped = (a & 0x7fffffffu) < (b & 0x7fffffffu);
  let large = select(a, b, isSwapped);
  let small = select(b, a, isSwapped);
  let e = softExponent(large);
  let shift = u32(min(e - softExponent(small), 31));
  // Seven more places. If more are lost, the larger is normal and at most one leading place cancels:
  // one bit for all that is lost stays below the place that decides the rounding.
  let m = softMantissa(small) << 7u;
  let moved = m >> shift;
  let sticky = select(0u, 1u, (moved << shift) != m);
  let isDifference = ((a ^ b) & 0x80000000u) != 0u;
  let other = moved | sticky;
  let sum = (softMantissa(large) << 7u) + select(other, 0u - other, isDifference);
  return roundWord(large & 0x80000000u, sum, e - 7);
}
fn softSubtract(a: u32, b: u32) -> u32 {
  return softAdd(a, b ^ 0x80000000u);
}
`,
};

export const SOFT_MULTIPLY: WgslPiece = {
  name: "soft-multiply",
  needs: [SOFT_FLOAT, ROUND_WIDE],
  text: /* wgsl */ `
fn softMultiply(a: u32, b: u32) -> u32 {
  let product = wideProduct(softMantissa(a), softMantissa(b));
  return roundWide((a ^ b) & 0x80000000u, product, softExponent(a) + softExponent(b));
}
`,
};

export const SOFT_DIVIDE: WgslPiece = {
  name: "soft-divide",
  needs: [SOFT_FLOAT, ROUND_WORD],
  text: /* wgsl */ `
fn softDivide(a: u32, b: u32) -> u32 {
  let sign = (a ^ b) & 0x80000000u;
  let numerator = softMantissa(a);
  let denominator = softMantissa(b);
  if (denominator == 0u) { return sign | 0x7f800000u; }
  if (numerator == 0u) { return 0u; }
  // Both with 24 bits, so that the quotient lies between 1/2 and 2.
  let left = countLeadingZeros(numerator) - 8u;
  let right = countLeadingZeros(denominator) - 8u;
  let d = denominator << right;
  var rest = numerator << left;
  var quotient = rest / d;
  rest = rest % d;
  for (var i = 0u; i < 4u; i++) {
    rest = rest << 7u;
    quotient = (quotient << 7u) | (rest / d);
    rest = rest % d;
  }
  let e = softExponent(a) - softExponent(b) - i32(left) + i32(right) - 28;
  return roundWord(sign, quotient | select(0u, 1u, rest != 0u), e);
}
`,
};

export const SOFT_SQRT: WgslPiece = {
  name: "soft-sqrt",
  needs: [SOFT_FLOAT, ROUND_WORD],
  text: /* wgsl */ `
fn softSqrt(x: u32) -> u32 {
  let mantissa = softMantissa(x);
  if (mantissa == 0u) { return 0u; }
  if ((x & 0x80000000u) != 0u) { return 0x7f800000u; }
  let zeros = countLeadingZeros(mantissa) - 8u;
  var e = softExponent(x) - i32(zeros);
  // 26 bits in all with an even exponent: bits in pairs, from the top, then 14 pairs of zeros.
  let isOdd = (e & 1) != 0;
  let m = (mantissa << zeros) << select(0u, 1u, isOdd);
  e -= select(0, 1, isOdd);
  var root = 0u;
  var rest = 0u;
  for (var i = 0u; i < 27u; i++) {
    let pair = select(0u, (m >> (24u - 2u * min(i, 12u))) & 3u, i < 13u);
    rest = (rest << 2u) | pair;
    let trial = (root << 2u) | 1u;
    let isIn = rest >= trial;
    rest -= select(0u, trial, isIn);
    root = (root << 1u) | select(0u, 1u, isIn);
  }
  return roundWord(0u, (root << 1u) | select(0u, 1u, rest != 0u), e / 2 - 15);
}
`,
};
