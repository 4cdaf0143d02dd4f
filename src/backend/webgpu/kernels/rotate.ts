// Slices of Q, K and V on their grids: rotary embedding, quantize, and K and V into the cache. A workgroup takes
// one slice (docs/spec/01-numerics.md sections 7 and 8).
//
// A cache holds for each layer: K mantissas [kvHeads][slots][headSize / 2] as pairs of 16 bits, V the same, K
// exponents [kvHeads][slots], V exponents likewise.

import { ATTENTION_BITS, GRID_BITS } from "gyrotron/tensor";
import type { ShaderSource } from "../device.ts";
import { composeWgsl, type WgslPiece } from "../wgsl/piece.ts";
import { SINE } from "../wgsl/program.ts";
import { QUANTIZE } from "../wgsl/quantize.ts";
import { ROUND_WORD } from "../wgsl/round-float.ts";
import { paramsPiece, statusPiece, workgroupPiece } from "./workgroup.ts";

const THREADS = 64;
const HEAD_SIZE_MAX = 128;

/** Words of one row of `stepRows`: token, position, first word of its cache, positions it has room for. */
export const STEP_ROW_WORDS = 4;

/** Words of one layer of a cache. */
export function cacheLayerWords(kvHeads: number, slots: number, headSize: number): number {
  return kvHeads * slots * (headSize + 2);
}

/** Rotates a slice into `rotated`; called by all threads. */
const ROTATE: WgslPiece = {
  name: "rotate",
  needs: [workgroupPiece(THREADS), QUANTIZE, SINE, ROUND_WORD],
  text: /* wgsl */ `
var<workgroup> rotated: array<u32, ${HEAD_SIZE_MAX}>;
fn largestOf(l: u32, base: u32, size: u32) -> u32 {
  var largest = 0u;
  for (var i = l; i < size; i += WG) { largest = max(largest, slices[base + i] & 0x7fffffffu); }
  return workgroupMax(l, largest);
}
// Whether all of this thread's results are finite.
fn rotateSlice(l: u32, base: u32, size: u32, position: u32, isInterleaved: bool) -> bool {
  let e = gridExponent(largestOf(l, base, size), ${GRID_BITS}u, -149);
  let pairs = size >> 1u;
  var isGood = true;
  for (var i = l; i < pairs; i += WG) {
    let first = select(i, 2u * i, isInterleaved);
    let second = select(i + pairs, 2u * i + 1u, isInterleaved);
    let phase = position * turns[i];
    let c = cosinePhase(phase);
    let s = sinePhase(phase);
    let a = gridMantissa(slices[base + first], e);
    let b = gridMantissa(slices[base + second], e);
    let left = roundInteger(a * c - b * s, e - 15);
    let right = roundInteger(a * s + b * c, e - 15);
    if (isBad(left) || isBad(right)) { isGood = false; }
    rotated[first] = left;
    rotated[second] = right;
  }
  workgroupBarrier();
  return isGood;
}
`,
};

/**
 * Q, K and V of a row, a slice for each workgroup (x: slice, y: row). Bindings: params (0 heads, 1 kvHeads, 2 head
 * size, 3 stride of the rows, 4 layer, 5 op of rotary-query, 6: 1 if pairs are neighbours, 0 if half a head apart, 2
 * if nothing is turned), slices, step
 * rows, steps of the phases, Q pairs, Q exponents, caches, status.
 */
export function rotateShader(): ShaderSource {
  const main: WgslPiece = {
    name: "main",
    needs: [paramsPiece(8), statusPiece(7), ROTATE],
    text: /* wgsl */ `
@group(0) @binding(1) var<storage, read> slices: array<u32>;
@group(0) @binding(2) var<storage, read> stepRows: array<vec4u>;
@group(0) @binding(3) var<storage, read> turns: array<u32>;
@group(0) @binding(4) var<storage, read_write> queries: array<u32>;
@group(0) @binding(5) var<storage, read_write> queryExponents: array<u32>;
@group(0) @binding(6) var<storage, read_write> caches: array<u32>;
fn pairOf(i: u32, e: i32) -> u32 {
  let low = u32(gridMantissa(rotated[2u * i], e)) & 0xffffu;
  return low | (u32(gridMantissa(rotated[2u * i + 1u], e)) << 16u);
}
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) w: vec3u, @builtin(local_invocation_index) l: u32) {
  let heads = param(0u);
  let kvHeads = param(1u);
  let size = param(2u);
  let unit = w.x;
  let row = w.y;
  let own = stepRows[row];
  let base = row * param(3u) + unit * size;
  let isGood = rotateSlice(l, base, size, own.y, param(6u) == 1u);
  let isValue = unit >= heads + kvHeads;
  let isPlain = isValue || param(6u) == 2u;
  if (!isGood && !isPlain) { failRow(row, param(5u) + select(0u, 1u, unit >= heads)); }
  if (isPlain) {
    for (var i = l; i < size; i += WG) { rotated[i] = slices[base + i]; }
  }
  workgroupBarrier();
  var top = 0u;
  for (var i = l; i < size; i += WG) { top = max(top, rotated[i] & 0x7fffffffu); }
  let e = gridExponent(workgroupMax(l, top), ${ATTENTION_BITS}u, -149);
  let pairs = size >> 1u;
  if (unit < heads) {
    let at = row * heads + unit;
    for (var i = l; i < pairs; i += WG) { queries[at * pairs + i] = pairOf(i, e); }
    if (l == 0u) { queryExponents[at] = bitcast<u32>(e); }
    return;
  }
  let half = kvHeads * own.w;
  let layer = own.z + param(4u) * half * (size + 2u);
  let slot = (unit - heads) % kvHeads * own.w + own.y;
  let second = select(0u, half, isValue);
  for (var i = l; i < pairs; i += WG) { caches[layer + (second + slot) * pairs + i] = pairOf(i, e); }
  if (l == 0u) { caches[layer + half * size + second + slot] = bitcast<u32>(e); }
}
`,
  };
  return {
    name: "rotate",
    code: composeWgsl([main]),
    bindings: ["uniform", "read", "read", "read", "write", "write", "write", "write"],
  };
}

/**
 * Rotary embedding alone (x: slice, y: row). Bindings: params (0 heads, 1 head size, 2 whether pairs are
 * neighbours), slices, positions, steps of the phases, result, status.
 */
export function rotaryShader(): ShaderSource {
  const main: WgslPiece = {
    name: "main",
    needs: [paramsPiece(4), statusPiece(5), ROTATE],
    text: /* wgsl */ `
@group(0) @binding(1) var<storage, read> slices: array<u32>;
@group(0) @binding(2) var<storage, read> positions: array<u32>;
@group(0) @binding(3) var<storage, read> turns: array<u32>;
@group(0) @binding(4) var<storage, read_write> result: array<u32>;
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) w: vec3u, @builtin(local_invocation_index) l: u32) {
  let row = w.y;
  let size = param(1u);
  let base = (row * param(0u) + w.x) * size;
  if (!rotateSlice(l, base, size, positions[row], param(2u) == 1u)) { failRow(row, 0u); }
  for (var i = l; i < size; i += WG) { result[base + i] = rotated[i]; }
}
`,
  };
  return {
    name: "rotary",
    code: composeWgsl([main]),
    bindings: ["uniform", "read", "read", "read", "write", "write"],
  };
}
