// Reductions over a workgroup of WG threads in WGSL, in two rounds: a few threads take what all have, then one
// takes what these have. Each gives every thread the same value, which the compiler knows to be uniform.
//
//   reduceMax(l, v: u32) -> u32
//   reduceSum(l, v: vec2u) -> vec2u      modulo 2^64

import type { WgslPiece } from "../wgsl/piece.ts";
import { WIDE } from "../wgsl/wide.ts";

/** Threads of the first round. */
const FEW = 16;

export const REDUCE_MAX: WgslPiece = {
  name: "reduce-max",
  needs: [],
  text: /* wgsl */ `
var<workgroup> largestOf: array<u32, WG>;
fn reduceMax(l: u32, v: u32) -> u32 {
  largestOf[l] = v;
  workgroupBarrier();
  var largest = v;
  if (l < ${FEW}u) {
    for (var i = l + ${FEW}u; i < WG; i += ${FEW}u) { largest = max(largest, largestOf[i]); }
    largestOf[l] = largest;
  }
  workgroupBarrier();
  if (l == 0u) {
    for (var i = 1u; i < min(WG, ${FEW}u); i++) { largest = max(largest, largestOf[i]); }
    largestOf[0] = largest;
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
  workgroupBarrier();
  var sum = v;
  if (l < ${FEW}u) {
    for (var i = l + ${FEW}u; i < WG; i += ${FEW}u) { sum = wideAdd(sum, sumOf[i]); }
    sumOf[l] = sum;
  }
  workgroupBarrier();
  if (l == 0u) {
    for (var i = 1u; i < min(WG, ${FEW}u); i++) { sum = wideAdd(sum, sumOf[i]); }
    sumOf[0] = sum;
  }
  let result = workgroupUniformLoad(&sumOf[0]);
  return result;
}
`,
};
