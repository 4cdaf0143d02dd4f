// Two-word integers in WGSL: `vec2u(low, high)`, unsigned or two's complement. Every shift takes any count.
//
//   wideOf(i32), wideAdd, wideSubtract, wideNegate, wideLess, wideIsZero   modulo 2^64, unsigned order
//   wideProduct(u32, u32)             the whole product of two words
//   wideShiftLeft, wideShiftRight     logical; counts of 64 and more give 0
//   wideRoundShift(a, n)              RNE(a / 2^n)
//   wideLeadingZeros(a)               64 for 0
//   wideMagnitude(a), wideSign(a)     of a two's complement integer; the sign as the top bit of an f32
//   wideDivide(a, d)                  floor and remainder by 1 <= d < 2^31
//   wideScaled(m, e)                  min(2^30, RNE(m * 2^e))

import type { WgslPiece } from "./piece.ts";
import { ROUND_SHIFT } from "./round-shift.ts";

export const WIDE: WgslPiece = {
  name: "wide",
  needs: [],
  text: /* wgsl */ `
fn wideOf(x: i32) -> vec2u {
  return vec2u(bitcast<u32>(x), select(0u, 0xffffffffu, x < 0));
}
fn wideAdd(a: vec2u, b: vec2u) -> vec2u {
  let low = a.x + b.x;
  return vec2u(low, a.y + b.y + select(0u, 1u, low < a.x));
}
fn wideSubtract(a: vec2u, b: vec2u) -> vec2u {
  return vec2u(a.x - b.x, a.y - b.y - select(0u, 1u, a.x < b.x));
}
fn wideNegate(a: vec2u) -> vec2u {
  return vec2u(~a.x + 1u, ~a.y + select(0u, 1u, a.x == 0u));
}
fn wideLess(a: vec2u, b: vec2u) -> bool {
  return a.y < b.y || (a.y == b.y && a.x < b.x);
}
fn wideIsZero(a: vec2u) -> bool {
  return (a.x | a.y) == 0u;
}
fn wideSign(a: vec2u) -> u32 {
  return a.y & 0x80000000u;
}
fn wideMagnitude(a: vec2u) -> vec2u {
  if (wideSign(a) != 0u) { return wideNegate(a); }
  return a;
}
fn wideProduct(a: u32, b: u32) -> vec2u {
  let al = a & 0xffffu;
  let ah = a >> 16u;
  let bl = b & 0xffffu;
  let bh = b >> 16u;
  let low = al * bl;
  let left = al * bh;
  let right = ah * bl;
  let middle = (low >> 16u) + (left & 0xffffu) + (right & 0xffffu);
  return vec2u((low & 0xffffu) | (middle << 16u), ah * bh + (left >> 16u) + (right >> 16u) + (middle >> 16u));
}
fn wideShiftLeft(a: vec2u, count: u32) -> vec2u {
  let n = count & 31u;
  if (count >= 64u) { return vec2u(0u, 0u); }
  if (count >= 32u) { return vec2u(0u, a.x << n); }
  return vec2u(a.x << n, (a.y << n) | ((a.x >> 1u) >> (31u - n)));
}
fn wideShiftRight(a: vec2u, count: u32) -> vec2u {
  let n = count & 31u;
  if (count >= 64u) { return vec2u(0u, 0u); }
  if (count >= 32u) { return vec2u(a.y >> n, 0u); }
  return vec2u((a.x >> n) | ((a.y << 1u) << (31u - n)), a.y >> n);
}
fn wideLeadingZeros(a: vec2u) -> u32 {
  if (a.y != 0u) { return countLeadingZeros(a.y); }
  return 32u + countLeadingZeros(a.x);
}
fn wideRoundShift(a: vec2u, count: u32) -> vec2u {
  if (count == 0u) { return a; }
  if (count > 64u) { return vec2u(0u, 0u); }
  let whole = wideShiftRight(a, count);
  // The lost bits, brought to the top: half is the top bit alone.
  let lost = wideShiftLeft(a, 64u - count);
  let isAbove = wideLess(vec2u(0u, 0x80000000u), lost);
  let isTie = lost.x == 0u && lost.y == 0x80000000u;
  return wideAdd(whole, vec2u(select(0u, 1u, isAbove || (isTie && (whole.x & 1u) == 1u)), 0u));
}
`,
};

/** A quotient by a divisor of at most 31 bits: the rest has no more, and takes as many bits as it leaves of a word. */
export const WIDE_DIVIDE: WgslPiece = {
  name: "wide-divide",
  needs: [WIDE],
  text: /* wgsl */ `
struct WideQuotient { value: vec2u, rest: u32 }
fn wideDivide(a: vec2u, divisor: u32) -> WideQuotient {
  let high = a.y / divisor;
  var rest = a.y % divisor;
  var low = 0u;
  let room = countLeadingZeros(divisor);
  for (var left = 32u; left > 0u; ) {
    let bits = min(left, room);
    left -= bits;
    let next = (rest << bits) | ((a.x >> left) & ((1u << bits) - 1u));
    low = (low << bits) | (next / divisor);
    rest = next % divisor;
  }
  return WideQuotient(vec2u(low, high), rest);
}
`,
};

export const WIDE_SCALED: WgslPiece = {
  name: "wide-scaled",
  needs: [WIDE, ROUND_SHIFT],
  text: /* wgsl */ `
fn wideScaled(m: vec2u, e: i32) -> u32 {
  if (wideIsZero(m)) { return 0u; }
  if (e < 0) {
    let rounded = wideRoundShift(m, u32(min(-e, 65)));
    return select(min(rounded.x, 0x40000000u), 0x40000000u, rounded.y != 0u);
  }
  if (i32(64u - wideLeadingZeros(m)) + min(e, 64) > 31) { return 0x40000000u; }
  return min(wideShiftLeft(m, u32(e)).x, 0x40000000u);
}
`,
};
