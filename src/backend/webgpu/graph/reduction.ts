// Reductions over a workgroup of WG threads, a power of two, in WGSL. Each gives every thread the same
// value, which the compiler knows to be uniform.
//
//   reduceMax(l, v: u32) -> u32
//   reduceSum(l, v: vec2u) -> vec2u      modulo 2^64

import type { WgslPiece } from "../wgsl/piece.ts";
import { WIDE } from "../wgsl/wide.ts";

export const REDUCE_MAX: WgslPiece = {
  name: "reduce-max",
  needs: [],
  text: /* wgsl */ `
var<workgroup> largestOf: array<u32, WG>;
fn reduceMax(l: u32, v: u32) -> u32 {
  largestOf[l] = v;
  for (var s = WG / 2u; s > 0u; s = s >> 1u) {
    workgroupBarrier();
    if (l < s) { largestOf[l] = max(largestOf[l], largestOf[l + s]); }
  }
  let result = workgroupUniformLoad(&largestOf[0]);
  return result;
}
`,
};

export const REDUCE_SUM: WgslPiece = {
  name: "reduce-sum",
  needs: [WIDE],
  text: /* wgsl */ `
var<workgroup> sumOf: array<vec2u, WG>;
fn reduceSum(l: u32, v: vec2u) -> vec2u {
  sumOf[l] = v;
  for (var s = WG / 2u; s > 0u; s = s >> 1u) {
    workgroupBarrier();
    if (l < s) { sumOf[l] = wideAdd(sumOf[l], sumOf[l + s]); }
  }
  let result = workgroupUniformLoad(&sumOf[0]);
  return result;
}
`,
};
