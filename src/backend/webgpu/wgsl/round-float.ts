// Integers to the bits of an f32 with one rounding (R32 of docs/spec/01-numerics.md section 1): nearest
// even, subnormals kept, never -0. A magnitude that rounds to 2^128 or more gives the bits of an
// infinity, which `isBad` finds.
//
//   roundWord(sign, m: u32, e)      R32(+-m * 2^e)
//   roundWide(sign, m: vec2u, e)    R32(+-m * 2^e)
//   roundSigned(v: vec2u, e)        R32(v * 2^e) of a two's complement v
//   roundInteger(v: i32, e)         R32(v * 2^e)
//   isBad(x)                        whether bits are no finite number
//
// `sign` is 0 or 0x80000000. Exponents may be anything within +-2^20. An odd lowest bit of `m` may
// stand for a lost rest if `m` has 27 significant bits or more ("sticky").

import type { WgslPiece } from "./piece.ts";
import { ROUND_SHIFT } from "./round-shift.ts";
import { WIDE } from "./wide.ts";

export const ROUND_WORD: WgslPiece = {
  name: "round-word",
  needs: [ROUND_SHIFT],
  text: /* wgsl */ `
fn isBad(x: u32) -> bool {
  return (x & 0x7fffffffu) >= 0x7f800000u;
}
// R32(top * 2^e), where the leading bit of top is its highest.
fn roundTop(sign: u32, top: u32, e: i32) -> u32 {
  let exponent = clamp(e, -400, 400);
  let last = max(exponent + 8, -149);
  if (last > 104) { return sign | 0x7f800000u; }
  // The mantissa's leading bit, if there is one, counts one more in the exponent's field.
  let bits = (u32(last + 149) << 23u) + roundShift(top, u32(last - exponent));
  return select(sign | bits, 0u, bits == 0u);
}
fn roundWord(sign: u32, m: u32, e: i32) -> u32 {
  if (m == 0u) { return 0u; }
  let zeros = countLeadingZeros(m);
  return roundTop(sign, m << zeros, e - i32(zeros));
}
fn roundInteger(v: i32, e: i32) -> u32 {
  return roundWord(bitcast<u32>(v) & 0x80000000u, u32(abs(v)), e);
}
`,
};

export const ROUND_WIDE: WgslPiece = {
  name: "round-wide",
  needs: [ROUND_WORD, WIDE],
  text: /* wgsl */ `
fn roundWide(sign: u32, m: vec2u, e: i32) -> u32 {
  if (wideIsZero(m)) { return 0u; }
  let zeros = wideLeadingZeros(m);
  let top = wideShiftLeft(m, zeros);
  // What lies below the upper word can only tell a tie from more than a tie.
  return roundTop(sign, top.y | select(0u, 1u, top.x != 0u), e + 32 - i32(zeros));
}
fn roundSigned(v: vec2u, e: i32) -> u32 {
  return roundWide(wideSign(v), wideMagnitude(v), e);
}
`,
};
