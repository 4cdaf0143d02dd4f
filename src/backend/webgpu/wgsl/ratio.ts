// Quotients of integers to the bits of an f32 with one rounding, in WGSL.
//
//   roundRatio(sign, m: vec2u, d, e)          R32(+-m / d * 2^e), 1 <= d <= 2^26
//   roundRatioSquare(sign, m: vec2u, d, e)    R32(+-m / d^2 * 2^e), 1 <= d <= 2^16

import type { WgslPiece } from "./piece.ts";
import { ROUND_WIDE } from "./round-float.ts";
import { WIDE_DIVIDE } from "./wide.ts";

export const RATIO: WgslPiece = {
  name: "ratio",
  needs: [ROUND_WIDE, WIDE_DIVIDE],
  text: /* wgsl */ `
fn roundRatio(sign: u32, m: vec2u, d: u32, e: i32) -> u32 {
  if (wideIsZero(m)) { return 0u; }
  let zeros = wideLeadingZeros(m);
  let quotient = wideDivide(wideShiftLeft(m, zeros), d);
  // 38 bits or more: an odd last bit can stand for the rest.
  let odd = select(0u, 1u, quotient.rest != 0u);
  return roundWide(sign, vec2u(quotient.value.x | odd, quotient.value.y), e - i32(zeros));
}
fn roundRatioSquare(sign: u32, m: vec2u, d: u32, e: i32) -> u32 {
  if (wideIsZero(m)) { return 0u; }
  let zeros = wideLeadingZeros(m);
  let first = wideDivide(wideShiftLeft(m, zeros), d);
  let second = wideDivide(first.value, d);
  let odd = select(0u, 1u, (first.rest | second.rest) != 0u);
  return roundWide(sign, vec2u(second.value.x | odd, second.value.y), e - i32(zeros));
}
`,
};
