// Rotary embedding and attention (docs/spec/01-numerics.md sections 7, 8 and 20): a workgroup for each
// head's slice, or for each query row of each head. A row keeps its scores, then its shares, in workgroup
// memory, which holds those of the most positions that are permitted.

import { attentionScale } from "gyrotron/numerics";
import { elementCount, GRAPH_LIMITS, rowCount } from "gyrotron/tensor";
import type { WgslPiece } from "../wgsl/piece.ts";
import { ATTENTION_SHARE, EXP2, SINE } from "../wgsl/program.ts";
import { QUANTIZE } from "../wgsl/quantize.ts";
import { RATIO } from "../wgsl/ratio.ts";
import { ROUND_WIDE } from "../wgsl/round-float.ts";
import { WIDE_SCALED } from "../wgsl/wide.ts";
import type { NodeOf } from "./graph-node.ts";
import { byDot, elementGroups, elementKernel, type Kernel, rowKernel } from "./kernel.ts";
import { limbWords, mantissaReader, mantissaWords } from "./mantissas.ts";
import { lastAxis, type Plan } from "./plan.ts";
import { REDUCE_MAX, REDUCE_SUM } from "./reduction.ts";

/** Threads of a query row, and of a slice that is turned. */
const WORKGROUP = 64;

type AttentionNode = NodeOf<"attention" | "attention-scores" | "attention-combine">;

/**
 * Parameters: rows in all, node, T, H, P, G, d, causal, scale's mantissa and exponent, words before
 * the exponents of the first, second and last operand, words of a limb.
 */
const PARAMS = 16;

const PLACES = /* wgsl */ `
// Query row t of head h of batch entry b.
struct Place { b: u32, t: u32, h: u32, seen: u32 }
fn placeOf(b: u32, t: u32, h: u32) -> Place {
  let positions = param(4u);
  return Place(b, t, h, select(positions, positions - param(2u) + t + 1u, param(7u) != 0u));
}
// The row of the key or value at a position.
fn cachedRow(place: Place, position: u32) -> u32 {
  return (place.b * param(4u) + position) * param(5u) + place.h * param(5u) / param(3u);
}
`;

const PLACE: WgslPiece = { name: "attention-place", needs: [], text: PLACES };

/** Step 2 from queries in in0 and keys in in1. */
const scorePiece = (dot: WgslPiece): WgslPiece => ({
  name: "attention-score",
  needs: [PLACE, WIDE_SCALED, dot],
  text: /* wgsl */ `
fn scoreAt(place: Place, position: u32) -> i32 {
  let words = param(13u);
  let queryRow = (place.b * param(2u) + place.t) * param(3u) + place.h;
  let keyRow = cachedRow(place, position);
  var low = 0;
  var middle = 0;
  var high = 0;
  for (var j = 0u; j < words; j++) {
    let q0 = in0[2u * queryRow * words + j];
    let q1 = in0[2u * queryRow * words + words + j];
    let k0 = in1[2u * keyRow * words + j];
    let k1 = in1[2u * keyRow * words + words + j];
    low += dotBytes(q0, k0);
    middle += dotBytes(q0, k1) + dotBytes(q1, k0);
    high += dotBytes(q1, k1);
  }
  // Below 2^31: two 13-bit mantissas, at most 128 times.
  let sum = low + (middle << 7u) + (high << 14u);
  let e = i32(param(9u)) + i32(in0[param(10u) + queryRow]) + i32(in1[param(11u) + keyRow]);
  let z = i32(wideScaled(wideProduct(u32(abs(sum)), param(8u)), e));
  return select(z, -z, sum < 0);
}
`,
});

/** Steps 3 to 5 on `scores`, which become shares; the values are in a buffer. */
function combineText(values: string): string {
  return /* wgsl */ `
var<workgroup> scores: array<i32, ${GRAPH_LIMITS.positions}>;
const BIAS = 0x40000000;
// Products of a share and a mantissa that a signed word can add up.
const TOGETHER = 16u;
fn combine(l: u32, place: Place) {
  let d = param(6u);
  var top = 0u;
  var topValue = 0u;
  for (var p = l; p < place.seen; p += WG) {
    let n = scores[p] >> 16u;
    let e = i32(${values}[param(12u) + cachedRow(place, p)]);
    top = max(top, u32(n + BIAS));
    topValue = max(topValue, u32(n + e + BIAS));
  }
  top = reduceMax(l, top);
  topValue = reduceMax(l, topValue);
  var weight = 0u;
  for (var p = l; p < place.seen; p += WG) {
    let n = scores[p] >> 16u;
    let u = exp2Fraction(u32(scores[p]) & 0xffffu);
    let e = i32(${values}[param(12u) + cachedRow(place, p)]);
    weight += attentionShare(u, top - u32(n + BIAS));
    scores[p] = i32(attentionShare(u, topValue - u32(n + e + BIAS)));
  }
  let total = reduceSum(l, vec2u(weight, 0u)).x;
  let at = (place.b * param(2u) + place.t) * param(3u) + place.h;
  for (var j = l; j < d; j += WG) {
    var sum = vec2u(0u, 0u);
    for (var start = 0u; start < place.seen; start += TOGETHER) {
      var part = 0;
      for (var p = start; p < min(start + TOGETHER, place.seen); p++) {
        part += scores[p] * valueMantissa(2u * param(13u) * cachedRow(place, p), 2u * param(13u), j);
      }
      sum = wideAdd(sum, wideOf(part));
    }
    let y = roundRatio(wideSign(sum), wideMagnitude(sum), total, i32(topValue) - i32(top));
    out0[at * d + j] = y;
    if (isBad(y)) { fail(param(1u), at); }
  }
}
// Rows in the order of the result: batch, row, head.
fn rowPlace(r: u32) -> Place {
  let h = r % param(3u);
  let rest = r / param(3u);
  return placeOf(rest / param(2u), rest % param(2u), h);
}`;
}

const COMBINE_PIECES = [PLACE, REDUCE_MAX, REDUCE_SUM, EXP2, ATTENTION_SHARE, RATIO, ROUND_WIDE];

const fusedKernel = byDot((dot) =>
  rowKernel({
    name: "attention",
    pieces: [...COMBINE_PIECES, scorePiece(dot), mantissaReader("valueMantissa", "in2", 2)],
    reads: 3,
    writes: 1,
    params: PARAMS,
    workgroupSize: WORKGROUP,
    body: /* wgsl */ `${combineText("in2")}
fn row(r: u32, l: u32) {
  let place = rowPlace(r);
  for (var p = l; p < place.seen; p += WG) { scores[p] = scoreAt(place, p); }
  combine(l, place);
}`,
  }),
);

const COMBINE = rowKernel({
  name: "attention-combine",
  pieces: [...COMBINE_PIECES, mantissaReader("valueMantissa", "in1", 2)],
  reads: 2,
  writes: 1,
  params: PARAMS,
  workgroupSize: WORKGROUP,
  body: /* wgsl */ `${combineText("in1")}
fn row(r: u32, l: u32) {
  let place = rowPlace(r);
  let base = ((place.b * param(3u) + place.h) * param(2u) + place.t) * param(4u);
  for (var p = l; p < place.seen; p += WG) { scores[p] = i32(in0[base + p]); }
  combine(l, place);
}`,
});

const scoresKernel = byDot((dot) =>
  elementKernel({
    name: "attention-scores",
    pieces: [scorePiece(dot)],
    reads: 2,
    writes: 1,
    params: PARAMS,
    body: /* wgsl */ `
fn element(i: u32) {
  let position = i % param(4u);
  let r = i / param(4u);
  let rest = r / param(2u);
  let place = placeOf(rest / param(3u), r % param(2u), rest % param(3u));
  var z = 0;
  if (position < place.seen) { z = scoreAt(place, position); }
  out0[i] = u32(z);
}`,
  }),
);

/** Plans attention, its scores, or its combination. */
export function planAttention(plan: Plan, index: number, node: AttentionNode): void {
  const isCombine = node.op === "attention-combine";
  const first = plan.inputType(node, 0).shape;
  const cached = plan.inputType(node, 1).shape;
  const [batch, rows, heads] = isCombine
    ? ([first[0]!, first[2]!, first[1]!] as const)
    : ([first[0]!, first[1]!, first[2]!] as const);
  const [, positions, groups, size] = cached as [number, number, number, number];
  const scale = attentionScale(size);
  const count = batch * rows * heads * (node.op === "attention-scores" ? positions : 1);
  plan.add({
    kernel: kernelOf(plan, node),
    params: [
      count,
      index,
      rows,
      heads,
      positions,
      groups,
      size,
      node.causal ? 1 : 0,
      scale.mantissa,
      scale.exponent,
      exponentsOf(plan, node, 0),
      exponentsOf(plan, node, 1),
      exponentsOf(plan, node, node.inputs.length - 1),
      limbWords(size),
    ],
    reads: node.inputs.map((_, position) => plan.input(node, position)),
    writes: [plan.define(index)],
    workgroups: node.op === "attention-scores" ? elementGroups(count) : count,
  });
}

function kernelOf(plan: Plan, node: AttentionNode): Kernel {
  if (node.op === "attention-combine") return COMBINE;
  return node.op === "attention" ? fusedKernel(plan.dot) : scoresKernel(plan.dot);
}

/** Words before the exponents of an operand. */
function exponentsOf(plan: Plan, node: AttentionNode, position: number): number {
  const type = plan.inputType(node, position);
  return type.element === "bfp" ? mantissaWords(type) : 0;
}

/** Parameters: slices, node, d, slices of one position, interleaved, inverse. */
const ROTARY = rowKernel({
  name: "rotary",
  pieces: [REDUCE_MAX, QUANTIZE, SINE, ROUND_WIDE],
  reads: 3,
  writes: 1,
  params: 8,
  workgroupSize: WORKGROUP,
  body: /* wgsl */ `
fn store(at: u32, r: u32, value: i32, e: i32) {
  let y = roundInteger(value, e - 15);
  out0[at] = y;
  if (isBad(y)) { fail(param(1u), r); }
}
fn row(r: u32, l: u32) {
  let d = param(2u);
  let base = r * d;
  var largest = 0u;
  for (var i = l; i < d; i += WG) { largest = max(largest, in0[base + i] & 0x7fffffffu); }
  let e = gridExponent(reduceMax(l, largest), 16u, -149);
  let position = in1[r / param(3u)];
  for (var i = l; i < d / 2u; i += WG) {
    let a = base + select(i, 2u * i, param(4u) != 0u);
    let b = base + select(i + d / 2u, 2u * i + 1u, param(4u) != 0u);
    let phase = position * in2[i];
    let c = cosinePhase(phase);
    let forward = sinePhase(phase);
    let s = select(forward, -forward, param(5u) != 0u);
    let x = gridMantissa(in0[a], e);
    let y = gridMantissa(in0[b], e);
    store(a, r, x * c - y * s, e);
    store(b, r, x * s + y * c, e);
  }
}`,
});

/** Plans `rotary`. */
export function planRotary(plan: Plan, index: number, node: NodeOf<"rotary">): void {
  const { shape } = node.type;
  const slices = elementCount(shape) === 0 ? 0 : rowCount(shape);
  plan.add({
    kernel: ROTARY,
    params: [
      slices,
      index,
      lastAxis(shape),
      Math.max(1, shape.at(-2)!),
      node.interleaved ? 1 : 0,
      node.inverse ? 1 : 0,
    ],
    reads: [plan.input(node, 0), plan.input(node, 1), plan.table(Uint32Array.from(node.steps))],
    writes: [plan.define(index)],
    workgroups: slices,
  });
}
