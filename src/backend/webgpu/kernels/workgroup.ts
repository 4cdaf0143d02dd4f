// What the decoder's kernels share: parameters, statuses of rows, and reductions over a workgroup.
//
//   param(i), signedParam(i)      words of the uniform buffer, binding 0
//   WG                            threads of a workgroup
//   workgroupMax(l, x)            the largest x of all threads
//   workgroupSum(l, x)            the sum of all threads' x modulo 2^32
//   workgroupSquares(l, low, high)   the two-word sum of low + high * 2^16, each below 2^32 in all
//   failRow(row, op)              remembers the row's smallest op that was not finite
//
// Reductions are called by all threads; their results are the same in all, though compilers do not know
// it, so no barrier may depend on them.

import type { WgslPiece } from "../wgsl/piece.ts";
import { WIDE } from "../wgsl/wide.ts";

/** A uniform buffer of `count` words as binding 0. */
export function paramsPiece(count: number): WgslPiece {
  return {
    name: "params",
    needs: [],
    text: /* wgsl */ `
@group(0) @binding(0) var<uniform> params: array<vec4u, ${Math.ceil(count / 4)}>;
fn param(i: u32) -> u32 {
  return params[i >> 2u][i & 3u];
}
fn signedParam(i: u32) -> i32 {
  return bitcast<i32>(param(i));
}
`,
  };
}

/** The statuses of rows, at a binding. */
export function statusPiece(binding: number): WgslPiece {
  return {
    name: "status",
    needs: [],
    text: /* wgsl */ `
@group(0) @binding(${binding}) var<storage, read_write> status: array<atomic<u32>>;
fn failRow(row: u32, op: u32) {
  atomicMin(&status[row], op);
}
`,
  };
}

/** Reductions over workgroups of a size. */
export function workgroupPiece(size: number): WgslPiece {
  return {
    name: "workgroup",
    needs: [WIDE],
    text: /* wgsl */ `
const WG = ${size}u;
var<workgroup> reducedMax: atomic<u32>;
var<workgroup> reducedLow: atomic<u32>;
var<workgroup> reducedHigh: atomic<u32>;
fn workgroupMax(l: u32, x: u32) -> u32 {
  if (l == 0u) { atomicStore(&reducedMax, 0u); }
  workgroupBarrier();
  atomicMax(&reducedMax, x);
  workgroupBarrier();
  let result = atomicLoad(&reducedMax);
  workgroupBarrier();
  return result;
}
fn workgroupSum(l: u32, x: u32) -> u32 {
  if (l == 0u) { atomicStore(&reducedLow, 0u); }
  workgroupBarrier();
  atomicAdd(&reducedLow, x);
  workgroupBarrier();
  let result = atomicLoad(&reducedLow);
  workgroupBarrier();
  return result;
}
fn workgroupSquares(l: u32, low: u32, high: u32) -> vec2u {
  if (l == 0u) {
    atomicStore(&reducedLow, 0u);
    atomicStore(&reducedHigh, 0u);
  }
  workgroupBarrier();
  atomicAdd(&reducedLow, low);
  atomicAdd(&reducedHigh, high);
  workgroupBarrier();
  let sum = atomicLoad(&reducedHigh);
  let result = wideAdd(vec2u(atomicLoad(&reducedLow), 0u), vec2u(sum << 16u, sum >> 16u));
  workgroupBarrier();
  return result;
}
`,
  };
}
