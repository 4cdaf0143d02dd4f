// The short programs of docs/spec/01-numerics.md on single values in WGSL. Rows and reductions are not here.
//
//   exp2Fraction(f)                  section 5, f < 65536
//   silu(x)                          section 9, bits to bits
//   sinePhase(p), cosinePhase(p)     section 7, Q15
//   attentionShare(u, k)             section 8 step 4, k >= 0
//   integerSqrt(a: vec2u)            floor of the root, which must be below 2^18

import { SILU_LOG2E } from "gyrotron/numerics";
import { CONSTANT_TABLE } from "./constant-table.ts";
import type { WgslPiece } from "./piece.ts";
import { ROUND_WIDE } from "./round-float.ts";
import { SOFT_FLOAT } from "./soft-float.ts";
import { WIDE, WIDE_SCALED } from "./wide.ts";

export const EXP2: WgslPiece = {
  name: "exp2",
  needs: [CONSTANT_TABLE],
  text: /* wgsl */ `
fn exp2Fraction(f: u32) -> u32 {
  let t = exp2Entry(f >> 10u);
  let a = ((f & 1023u) * 45426u) >> 10u;
  let c = a + ((a * a) >> 23u);
  return t + ((t * c + 0x200000u) >> 22u);
}
`,
};

export const SILU: WgslPiece = {
  name: "silu",
  needs: [EXP2, SOFT_FLOAT, ROUND_WIDE, WIDE_SCALED],
  text: /* wgsl */ `
fn silu(x: u32) -> u32 {
  let m = softMantissa(x);
  let e = softExponent(x);
  let t = wideScaled(wideProduct(m, ${SILU_LOG2E}u), e - 6);
  let z = 0u - t;
  let k = (t + 0xffffu) >> 16u;
  let u = exp2Fraction(z & 0xffffu);
  let divisor = 0x8000u + (u >> min(k, 31u));
  if ((x & 0x80000000u) == 0u) {
    return roundWide(0u, wideProduct(m, 0x80000000u / divisor), e - 16);
  }
  return roundWide(0x80000000u, wideProduct(m, (u << 16u) / divisor), e - 16 - i32(k));
}
`,
};

export const SINE: WgslPiece = {
  name: "sine",
  needs: [CONSTANT_TABLE],
  text: /* wgsl */ `
fn sinePhase(phase: u32) -> i32 {
  let quarter = phase >> 30u;
  let forward = (phase >> 12u) & 0x3ffffu;
  let t = select(forward, 0x40000u - forward, (quarter & 1u) == 1u);
  let i = t >> 10u;
  let g = t & 1023u;
  let value = i32((sineEntry(i) * (1024u - g) + sineEntry(min(i + 1u, 256u)) * g + 1024u) >> 11u);
  return select(value, -value, quarter >= 2u);
}
fn cosinePhase(phase: u32) -> i32 {
  return sinePhase(phase + 0x40000000u);
}
`,
};

export const ATTENTION_SHARE: WgslPiece = {
  name: "attention-share",
  needs: [],
  text: /* wgsl */ `
fn attentionShare(u: u32, k: u32) -> u32 {
  let shift = min(k, 20u);
  return min(32767u, (u + (1u << shift)) >> (shift + 1u));
}
`,
};

export const INTEGER_SQRT: WgslPiece = {
  name: "integer-sqrt",
  needs: [WIDE],
  text: /* wgsl */ `
fn integerSqrt(a: vec2u) -> u32 {
  var root = 0u;
  for (var bit = 0x20000u; bit != 0u; bit >>= 1u) {
    let trial = root | bit;
    if (!wideLess(a, wideProduct(trial, trial))) { root = trial; }
  }
  return root;
}
`,
};
