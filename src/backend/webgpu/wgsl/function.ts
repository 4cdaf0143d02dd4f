// Functions of one f32 (docs/spec/01-numerics.md section 15) in WGSL, bits to bits. Where the definition
// says NonFinite, they give the bits of an infinity.
//
//   exp(x) is `exponential`, exp2(x) `exponential2`; sigmoid, hyperbolicTangent, errorFunction, gelu,
//   geluTanh, inverseSqrt, naturalLog
//   scoreOf(x)              the t of Z(x)
//   inverseRoot(v)          floor(sqrt(2^56 / v)), 2^22 <= v <= 2^24
//   logFraction(f)          LN(f), f < 2^23

import { LOG_TWO, SILU_LOG2E } from "gyrotron/numerics";
import { FUNCTION_TABLE } from "./function-table.ts";
import type { WgslPiece } from "./piece.ts";
import { EXP2, INTEGER_SQRT } from "./program.ts";
import { ROUND_WIDE } from "./round-float.ts";
import { SOFT_FLOAT } from "./soft-float.ts";
import { WIDE_DIVIDE, WIDE_SCALED } from "./wide.ts";

export const SCORE: WgslPiece = {
  name: "score",
  needs: [SOFT_FLOAT, WIDE_SCALED],
  text: /* wgsl */ `
fn scoreOf(x: u32) -> u32 {
  return wideScaled(wideProduct(softMantissa(x), ${SILU_LOG2E}u), softExponent(x) - 6);
}
`,
};

export const EXPONENTIAL: WgslPiece = {
  name: "exponential",
  needs: [SCORE, EXP2, ROUND_WIDE],
  text: /* wgsl */ `
fn powerOfScore(t: u32, x: u32) -> u32 {
  let z = select(i32(t), -i32(t), (x & 0x80000000u) != 0u);
  return roundWord(0u, exp2Fraction(u32(z) & 0xffffu), (z >> 16u) - 15);
}
fn exponential(x: u32) -> u32 {
  return powerOfScore(scoreOf(x), x);
}
fn exponential2(x: u32) -> u32 {
  return powerOfScore(wideScaled(vec2u(softMantissa(x), 0u), softExponent(x) + 16), x);
}
fn sigmoid(x: u32) -> u32 {
  let t = scoreOf(x);
  let k = (t + 0xffffu) >> 16u;
  let u = exp2Fraction((0u - t) & 0xffffu);
  let divisor = 0x8000u + (u >> min(k, 31u));
  if ((x & 0x80000000u) == 0u) { return roundWord(0u, 0x80000000u / divisor, -16); }
  return roundWord(0u, (u << 16u) / divisor, -16 - i32(k));
}
`,
};

export const INVERSE_ROOT: WgslPiece = {
  name: "inverse-root",
  needs: [INTEGER_SQRT, WIDE_DIVIDE],
  text: /* wgsl */ `
fn inverseRoot(v: u32) -> u32 {
  return integerSqrt(wideDivide(vec2u(0u, 0x1000000u), v).value);
}
`,
};

export const INVERSE_SQRT: WgslPiece = {
  name: "inverse-sqrt",
  needs: [INVERSE_ROOT, SOFT_FLOAT, ROUND_WIDE],
  text: /* wgsl */ `
fn inverseSqrt(x: u32) -> u32 {
  let mantissa = softMantissa(x);
  if (mantissa == 0u || (x & 0x80000000u) != 0u) { return 0x7f800000u; }
  let zeros = countLeadingZeros(mantissa) - 8u;
  let e = softExponent(x) - i32(zeros);
  let odd = u32(e) & 1u;
  return roundWord(0u, inverseRoot((mantissa << zeros) >> odd), -28 - ((e + i32(odd)) >> 1u));
}
`,
};

export const LOG: WgslPiece = {
  name: "log",
  needs: [FUNCTION_TABLE, SOFT_FLOAT, ROUND_WIDE],
  text: /* wgsl */ `
const LOG_OF_TWO = ${LOG_TWO}i;
fn logFraction(f: u32) -> i32 {
  let i = f >> 15u;
  let s = f & 32767u;
  let w = (s * (32768u - s)) >> 15u;
  let low = logEntry(i);
  return i32(low + (((logEntry(i + 1u) - low) * s + 0x4000u) >> 15u) + ((logCurveEntry(i) * w + 0x40000u) >> 19u));
}
fn naturalLog(x: u32) -> u32 {
  let mantissa = softMantissa(x);
  if (mantissa == 0u || (x & 0x80000000u) != 0u) { return 0x7f800000u; }
  let zeros = countLeadingZeros(mantissa) - 8u;
  let e = softExponent(x) - i32(zeros) + 23;
  return roundInteger(e * LOG_OF_TWO + logFraction((mantissa << zeros) - 0x800000u), -24);
}
`,
};

export const LOOK: WgslPiece = {
  name: "look",
  needs: [FUNCTION_TABLE, SOFT_FLOAT, ROUND_WIDE],
  text: /* wgsl */ `
// floor(|x| * 2^places) where that is below 2^20.
fn lookPlace(x: u32, places: i32) -> u32 {
  let shift = -(softExponent(x) + places);
  return select(softMantissa(x) >> u32(clamp(shift, 0, 31)), 0u, shift > 31);
}
fn lookBetween(low: u32, high: u32, p: u32) -> u32 {
  let g = p & 1023u;
  return (low * (1024u - g) + high * g + 512u) >> 10u;
}
fn lookScaled(x: u32, q: u32) -> u32 {
  return roundWide(x & 0x80000000u, wideProduct(softMantissa(x), q), softExponent(x) - 21);
}
fn lookBounded(x: u32, y: u32) -> u32 {
  return (x & 0x80000000u) | min(y & 0x7fffffffu, 0x3f800000u);
}
fn hyperbolicTangent(x: u32) -> u32 {
  if ((x & 0x7fffffffu) >= 0x41000000u) { return lookBounded(x, x); }
  let p = lookPlace(x, 17);
  let y = lookScaled(x, lookBetween(tanhEntry(p >> 10u), tanhEntry((p >> 10u) + 1u), p));
  return select(lookBounded(x, y), 0u, y == 0u);
}
fn errorFunction(x: u32) -> u32 {
  if ((x & 0x7fffffffu) >= 0x40800000u) { return lookBounded(x, x); }
  let p = lookPlace(x, 18);
  let y = lookScaled(x, lookBetween(erfEntry(p >> 10u), erfEntry((p >> 10u) + 1u), p));
  return select(lookBounded(x, y), 0u, y == 0u);
}
fn geluOf(x: u32, q: u32) -> u32 {
  return lookScaled(x, select(0x200000u - q, q, (x & 0x80000000u) != 0u));
}
fn gelu(x: u32) -> u32 {
  if ((x & 0x7fffffffu) >= 0x41000000u) { return select(x, 0u, (x & 0x80000000u) != 0u); }
  let p = lookPlace(x, 17);
  return geluOf(x, lookBetween(tailEntry(p >> 10u), tailEntry((p >> 10u) + 1u), p));
}
fn geluTanh(x: u32) -> u32 {
  if ((x & 0x7fffffffu) >= 0x41000000u) { return select(x, 0u, (x & 0x80000000u) != 0u); }
  let p = lookPlace(x, 17);
  return geluOf(x, lookBetween(tailTanhEntry(p >> 10u), tailTanhEntry((p >> 10u) + 1u), p));
}
`,
};

/** `toInteger(x)`: RNE of an f32, clamped to the range of i32. */
export const TO_INTEGER: WgslPiece = {
  name: "to-integer",
  needs: [SOFT_FLOAT, ROUND_WIDE],
  text: /* wgsl */ `
fn toInteger(x: u32) -> u32 {
  let isNegative = (x & 0x80000000u) != 0u;
  if ((x & 0x7fffffffu) >= 0x4f000000u) { return select(0x7fffffffu, 0x80000000u, isNegative); }
  let e = softExponent(x);
  let m = softMantissa(x);
  let magnitude = select(roundShift(m, u32(clamp(-e, 0, 33))), m << u32(clamp(e, 0, 7)), e >= 0);
  return select(magnitude, 0u - magnitude, isNegative);
}
`,
};
