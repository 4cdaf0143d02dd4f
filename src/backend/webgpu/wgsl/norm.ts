// The scalar part of rms_norm (docs/spec/01-numerics.md section 6) in WGSL: from the exact sum of squares to
// the factor of a row. Summing is the caller's.
//
//   epsilonOnGrid(n, mantissa, exponent, e) -> vec2u    floor(n * eps * 2^(-2e))
//   normFactor(sum: vec2u, n) -> NormFactor             R and -28-j; both 0 for a sum of 0
//   normValue(m, factor) -> u32                         R32(m * R * 2^(-28-j))
// and of layer_norm (section 17), n at most 32767:
//   layerNormFactor(n, total, squares, epsilon) -> NormFactor    epsilon on the grid times n
//   layerNormValue(n * m - total, factor) -> u32

import { INVERSE_ROOT } from "./function.ts";
import type { WgslPiece } from "./piece.ts";
import { INTEGER_SQRT } from "./program.ts";
import { ROUND_WIDE, ROUND_WORD } from "./round-float.ts";
import { WIDE, WIDE_DIVIDE } from "./wide.ts";

export const NORM: WgslPiece = {
  name: "norm",
  needs: [WIDE, WIDE_DIVIDE, INTEGER_SQRT, ROUND_WORD],
  text: /* wgsl */ `
struct NormFactor { root: u32, exponent: i32 }
fn epsilonOnGrid(n: u32, mantissa: u32, exponent: i32, e: i32) -> vec2u {
  let shift = exponent - 2 * e;
  let product = wideProduct(n, mantissa);
  if (shift >= 0) { return wideShiftLeft(product, u32(shift)); }
  return wideShiftRight(product, u32(-shift));
}
fn normQuotient(sum: vec2u, n: u32, j: i32) -> vec2u {
  if (j >= 0) { return wideDivide(wideShiftRight(sum, u32(2 * j)), n).value; }
  return wideDivide(wideShiftLeft(sum, u32(-2 * j)), n).value;
}
fn normFactor(sum: vec2u, n: u32) -> NormFactor {
  if (wideIsZero(sum)) { return NormFactor(0u, 0); }
  // sum / n lies between 2^(d - 1) and 2^(d + 1), d the difference of their lengths in bits.
  let d = i32(countLeadingZeros(n)) + 32 - i32(wideLeadingZeros(sum));
  var j = (d - 23) >> 1u;
  var v = normQuotient(sum, n, j);
  for (var step = 0; step < 2; step++) {
    if (v.y == 0u && v.x >= 0x400000u && v.x < 0x1000000u) { break; }
    j += select(1, -1, v.y == 0u && v.x < 0x400000u);
    v = normQuotient(sum, n, j);
  }
  let root = integerSqrt(wideDivide(vec2u(0u, 0x1000000u), v.x).value);
  return NormFactor(root, -28 - j);
}
fn normValue(m: i32, factor: NormFactor) -> u32 {
  // 15 bits times at most 2^17: one word.
  return roundWord(bitcast<u32>(m) & 0x80000000u, u32(abs(m)) * factor.root, factor.exponent);
}
`,
};

export const LAYER_NORM: WgslPiece = {
  name: "layer-norm",
  needs: [NORM, INVERSE_ROOT, ROUND_WIDE],
  text: /* wgsl */ `
fn layerNormFactor(n: u32, total: i32, squares: vec2u, epsilon: vec2u) -> NormFactor {
  let whole = u32(abs(total));
  let low = wideProduct(squares.x, n);
  let spread = wideSubtract(vec2u(low.x, low.y + squares.y * n), wideProduct(whole, whole));
  let sum = wideAdd(spread, epsilon);
  if (wideIsZero(sum)) { return NormFactor(0u, 0); }
  let j = (41 - i32(wideLeadingZeros(sum))) >> 1u;
  var v = wideShiftRight(sum, u32(max(2 * j, 0)));
  if (j < 0) { v = wideShiftLeft(sum, u32(-2 * j)); }
  return NormFactor(inverseRoot(max(v.x, 1u)), -28 - j);
}
fn layerNormValue(m: i32, factor: NormFactor) -> u32 {
  return roundWide(bitcast<u32>(m) & 0x80000000u, wideProduct(u32(abs(m)), factor.root), factor.exponent);
}
`,
};
