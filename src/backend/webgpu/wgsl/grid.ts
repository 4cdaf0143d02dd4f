// The gradient grid (docs/spec/01-numerics.md section 18) in WGSL: signed two-word integers.
//
//   GridValue { value: vec2u, isOver: bool }
//   gridScaled(sign, m: vec2u, shift: i32)    RNE(+-m * 2^shift)
//   gridOfFloat(x, G), gridSum(a, b), isGrid(G)

import type { WgslPiece } from "./piece.ts";
import { SOFT_FLOAT } from "./soft-float.ts";
import { WIDE } from "./wide.ts";

export const GRID: WgslPiece = {
  name: "grid",
  needs: [WIDE, SOFT_FLOAT],
  text: /* wgsl */ `
struct GridValue { value: vec2u, isOver: bool }
fn isGrid(exponent: i32) -> bool {
  return exponent >= -400 && exponent <= 200;
}
fn gridChecked(value: vec2u) -> GridValue {
  return GridValue(value, wideMagnitude(value).y >= 0x40000000u);
}
fn gridScaled(sign: u32, m: vec2u, shift: i32) -> GridValue {
  if (wideIsZero(m)) { return GridValue(m, false); }
  if (shift > 0 && i32(64u - wideLeadingZeros(m)) + min(shift, 64) > 62) {
    return GridValue(vec2u(0u, 0u), true);
  }
  var value = m;
  if (shift > 0) { value = wideShiftLeft(m, u32(shift)); }
  if (shift < 0) { value = wideRoundShift(m, u32(min(-shift, 65))); }
  let isOver = value.y >= 0x40000000u;
  if (sign != 0u) { value = wideNegate(value); }
  return GridValue(value, isOver);
}
fn gridOfFloat(x: u32, exponent: i32) -> GridValue {
  return gridScaled(x & 0x80000000u, vec2u(softMantissa(x), 0u), softExponent(x) - clamp(exponent, -400, 200));
}
fn gridSum(a: vec2u, b: vec2u) -> GridValue {
  let sum = wideAdd(a, b);
  let hasWrapped = ((a.y ^ sum.y) & (b.y ^ sum.y) & 0x80000000u) != 0u;
  return GridValue(sum, hasWrapped || gridChecked(sum).isOver);
}
`,
};
