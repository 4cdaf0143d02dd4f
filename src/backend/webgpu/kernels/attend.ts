// Attention of one head of one row for each workgroup, in two passes over its own positions
// (docs/spec/01-numerics.md section 8): scores, maxima and weights; then the weighted sums of V, each divided
// and rounded once.
//
// Workgroup memory holds the scores of one tile of positions. Those of the first stay there between the passes;
// of others the second pass computes them again, so that no buffer is needed for them. A 32-bit sum takes 128
// products of 13-bit mantissas, or 16 of a 15-bit weight and a 13-bit mantissa before it goes into two words;
// the sum of all weights is below 2^31.

import { ATTENTION_BITS, DECODER_LIMITS } from "gyrotron/tensor";
import { assert } from "gyrotron/base";
import type { ShaderSource } from "../device.ts";
import { composeWgsl, type WgslPiece } from "../wgsl/piece.ts";
import { ATTENTION_SHARE, EXP2 } from "../wgsl/program.ts";
import { ROUND_WIDE } from "../wgsl/round-float.ts";
import { WIDE_DIVIDE, WIDE_SCALED } from "../wgsl/wide.ts";
import { paramsPiece, statusPiece } from "./workgroup.ts";

/** At least the largest head, so that each column of V has a thread. */
const THREADS = 128;
const PRODUCTS_MAX = 16;
/** Positions of a tile: half of the workgroup memory that every device has, so that two workgroups fit. */
const TILE = 2048;

/**
 * Attention (x: head, y: row). Bindings: params (0 heads, 1 kvHeads, 2 head size, 3 layer, 4 and 5 the scale's
 * mantissa and exponent, 6 the op, 7 stride of the result), step rows, Q pairs, Q exponents, caches, result,
 * status.
 */
export function attendShader(): ShaderSource {
  assert(
    PRODUCTS_MAX * 32767 * (2 ** (ATTENTION_BITS - 1) - 1) < 2 ** 31,
    "sums of V may overflow",
  );
  assert(DECODER_LIMITS.context * 32767 < 2 ** 31, "sums of weights may overflow");
  const main: WgslPiece = {
    name: "main",
    needs: [
      paramsPiece(8),
      statusPiece(6),
      WIDE_SCALED,
      WIDE_DIVIDE,
      ROUND_WIDE,
      EXP2,
      ATTENTION_SHARE,
    ],
    text: /* wgsl */ `
@group(0) @binding(1) var<storage, read> stepRows: array<vec4u>;
@group(0) @binding(2) var<storage, read> queries: array<u32>;
@group(0) @binding(3) var<storage, read> queryExponents: array<u32>;
@group(0) @binding(4) var<storage, read> caches: array<u32>;
@group(0) @binding(5) var<storage, read_write> result: array<u32>;
const WG = ${THREADS}u;
const TILE = ${TILE}u;
var<workgroup> query: array<u32, ${DECODER_LIMITS.headSize / 2}>;
var<workgroup> scores: array<i32, TILE>;
var<workgroup> topScore: atomic<i32>;
var<workgroup> topValue: atomic<i32>;
var<workgroup> total: atomic<u32>;
var<workgroup> sumLow: array<u32, WG>;
var<workgroup> sumHigh: array<u32, WG>;
fn lowOf(pair: u32) -> i32 {
  return bitcast<i32>(pair << 16u) >> 16u;
}
fn highOf(pair: u32) -> i32 {
  return bitcast<i32>(pair) >> 16u;
}
// The score of the key whose mantissas begin there; e is the exponent of what is summed.
fn scoreOf(at: u32, pairs: u32, e: i32) -> i32 {
  var product = 0;
  for (var i = 0u; i < pairs; i++) {
    let q = query[i];
    let k = caches[at + i];
    product += lowOf(q) * lowOf(k) + highOf(q) * highOf(k);
  }
  let magnitude = i32(wideScaled(wideProduct(u32(abs(product)), param(4u)), e));
  return select(magnitude, -magnitude, product < 0);
}
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) w: vec3u, @builtin(local_invocation_index) l: u32) {
  let heads = param(0u);
  let kvHeads = param(1u);
  let size = param(2u);
  let pairs = size >> 1u;
  let head = w.x;
  let row = w.y;
  let own = stepRows[row];
  let count = own.y + 1u;
  let half = kvHeads * own.w;
  let layer = own.z + param(3u) * half * (size + 2u);
  let group = head * kvHeads / heads * own.w;
  let keys = layer + group * pairs;
  let values = keys + half * pairs;
  let keyExponents = layer + half * size + group;
  let valueExponents = keyExponents + half;
  let at = row * heads + head;
  for (var i = l; i < pairs; i += WG) { query[i] = queries[at * pairs + i]; }
  if (l == 0u) {
    atomicStore(&topScore, -0x7fffffff);
    atomicStore(&topValue, -0x7fffffff);
    atomicStore(&total, 0u);
  }
  workgroupBarrier();
  let scale = signedParam(5u) + bitcast<i32>(queryExponents[at]);
  var ownTop = -0x7fffffff;
  var ownValue = -0x7fffffff;
  for (var t = l; t < count; t += WG) {
    let z = scoreOf(keys + t * pairs, pairs, scale + bitcast<i32>(caches[keyExponents + t]));
    if (t < TILE) { scores[t] = z; }
    ownTop = max(ownTop, z >> 16u);
    ownValue = max(ownValue, (z >> 16u) + bitcast<i32>(caches[valueExponents + t]));
  }
  atomicMax(&topScore, ownTop);
  atomicMax(&topValue, ownValue);
  workgroupBarrier();
  let top = atomicLoad(&topScore);
  let last = atomicLoad(&topValue);
  // A thread for each column, and as many times over the positions as threads allow.
  let shares = WG / size;
  let column = l % size;
  let part = l / size;
  var weights = 0u;
  var sum = vec2u(0u, 0u);
  for (var first = 0u; first < count; first += TILE) {
    let end = min(count, first + TILE);
    for (var t = first + l; t < end; t += WG) {
      var z = 0;
      if (first == 0u) { z = scores[t]; }
      else { z = scoreOf(keys + t * pairs, pairs, scale + bitcast<i32>(caches[keyExponents + t])); }
      let n = z >> 16u;
      let u = exp2Fraction(u32(z) & 0xffffu);
      weights += attentionShare(u, u32(top - n));
      let k = u32(last - n - bitcast<i32>(caches[valueExponents + t]));
      scores[t - first] = i32(attentionShare(u, k));
    }
    workgroupBarrier();
    if (part < shares) {
      for (var start = first + part; start < end; start += shares * ${PRODUCTS_MAX}u) {
        var few = 0;
        for (var k = 0u; k < ${PRODUCTS_MAX}u; k++) {
          let t = start + k * shares;
          if (t >= end) { break; }
          let pair = caches[values + t * pairs + (column >> 1u)];
          few += scores[t - first] * select(lowOf(pair), highOf(pair), (column & 1u) == 1u);
        }
        sum = wideAdd(sum, wideOf(few));
      }
    }
    workgroupBarrier();
  }
  atomicAdd(&total, weights);
  sumLow[l] = sum.x;
  sumHigh[l] = sum.y;
  workgroupBarrier();
  if (l < size) {
    var whole = vec2u(0u, 0u);
    for (var k = 0u; k < shares; k++) {
      whole = wideAdd(whole, vec2u(sumLow[k * size + l], sumHigh[k * size + l]));
    }
    let magnitude = wideMagnitude(whole);
    let zeros = min(wideLeadingZeros(magnitude), 63u);
    // The numerator has 64 bits, the divisor 31 at most: 33 bits of quotient and one for the rest.
    let quotient = wideDivide(wideShiftLeft(magnitude, zeros), atomicLoad(&total));
    let m = vec2u(quotient.value.x | select(0u, 1u, quotient.rest != 0u), quotient.value.y);
    let y = roundWide(wideSign(whole), m, last - top - i32(zeros));
    if (isBad(y)) { failRow(row, param(6u)); }
    result[row * param(7u) + head * size + l] = y;
  }
}
`,
  };
  return {
    name: "attend",
    code: composeWgsl([main]),
    bindings: ["uniform", "read", "read", "read", "read", "write", "write"],
  };
}
