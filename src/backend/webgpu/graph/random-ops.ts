// Random words and sampling (docs/spec/01-numerics.md sections 12 and 21). Sampling never sorts: the bounds of
// what is kept are found bit by bit, each bit by one exact sum over the row.

import { temperatureScale } from "gyrotron/numerics";
import { elementCount } from "gyrotron/tensor";
import { EXP2 } from "../wgsl/program.ts";
import { QUANTIZE } from "../wgsl/quantize.ts";
import { THREEFRY } from "../wgsl/threefry.ts";
import { WIDE } from "../wgsl/wide.ts";
import type { NodeOf } from "./graph-node.ts";
import { elementGroups, elementKernel, type Kernel, rowKernel } from "./kernel.ts";
import { lastAxis, type Plan } from "./plan.ts";
import { REDUCE_MAX, REDUCE_SUM } from "./reduction.ts";
import { planArgmax, rowWorkgroup } from "./row-ops.ts";

const RANDOM_BITS = elementKernel({
  name: "random-bits",
  pieces: [THREEFRY],
  reads: 1,
  writes: 1,
  params: 4,
  body: /* wgsl */ `
fn element(i: u32) {
  let key = threefry(vec2u(in0[0], in0[1]), vec2u(in0[2], in0[3]));
  out0[i] = threefry(key, vec2u(i, 0u)).x;
}`,
});

/** Plans `random-bits`. */
export function planRandomBits(plan: Plan, index: number, node: NodeOf<"random-bits">): void {
  const count = elementCount(node.type.shape);
  plan.add({
    kernel: RANDOM_BITS,
    params: [count],
    reads: [plan.input(node, 0)],
    writes: [plan.define(index)],
    workgroups: elementGroups(count),
  });
}

/**
 * Parameters: rows, columns n, top-k (0 for no limit), top-p, mantissa and exponent of the temperature's scale.
 * out1 holds the weights of the row; a thread reads only what it wrote.
 */
const SAMPLE_BODY = /* wgsl */ `
// What is kept of a row: weights above bound, and those that equal it up to an index.
struct Bounds { bound: u32, last: u32 }
fn isKept(w: u32, i: u32, kept: Bounds) -> bool {
  return w > kept.bound || (w == kept.bound && i <= kept.last);
}
// floor(d * A * 2^s) of a d below 0, negated, where that leaves a weight.
fn weightBelow(d: u32, s: i32) -> u32 {
  let product = wideProduct(d, param(4u));
  var t = product;
  if (s > 0) {
    if (!wideIsZero(product) && i32(64u - wideLeadingZeros(product)) + min(s, 64) > 23) { return 0u; }
    t = wideShiftLeft(product, u32(s));
  }
  if (s < 0) {
    let n = u32(min(-s, 64));
    t = wideShiftRight(product, n);
    let back = wideShiftLeft(t, n);
    if (any(back != product)) { t = wideAdd(t, vec2u(1u, 0u)); }
  }
  let k = (t.x + 0xffffu) >> 16u;
  if (t.y != 0u || t.x > 0x400000u || k > 31u) { return 0u; }
  return (exp2Fraction((0u - t.x) & 0xffffu) << 16u) >> k;
}
// Of the kept ones: how many, or how much they weigh, with a weight of at least the bound.
fn massFrom(base: u32, n: u32, l: u32, kept: Bounds, bound: u32, byCount: bool) -> vec2u {
  var sum = vec2u(0u, 0u);
  for (var i = l; i < n; i += WG) {
    let w = out1[base + i];
    if (w >= bound && isKept(w, i, kept)) { sum = wideAdd(sum, vec2u(select(w, 1u, byCount), 0u)); }
  }
  return reduceSum(l, sum);
}
// The same of those that weigh exactly the bound and stand before an index.
fn massBefore(base: u32, n: u32, l: u32, kept: Bounds, bound: u32, before: u32, byCount: bool) -> vec2u {
  var sum = vec2u(0u, 0u);
  for (var i = l; i < min(n, before); i += WG) {
    let w = out1[base + i];
    if (w == bound && isKept(w, i, kept)) { sum = wideAdd(sum, vec2u(select(w, 1u, byCount), 0u)); }
  }
  return reduceSum(l, sum);
}
// The shortest prefix of the kept ones, in their order, with a mass of at least wanted.
fn prefixOf(base: u32, n: u32, l: u32, kept: Bounds, wanted: vec2u, byCount: bool) -> Bounds {
  var bound = 0u;
  for (var bit = 0x80000000u; bit != 0u; bit = bit >> 1u) {
    let mass = massFrom(base, n, l, kept, bound | bit, byCount);
    if (!wideLess(mass, wanted)) { bound |= bit; }
  }
  var above = vec2u(0u, 0u);
  if (bound != 0xffffffffu) { above = massFrom(base, n, l, kept, bound + 1u, byCount); }
  let missing = wideSubtract(wanted, above);
  var last = 0u;
  for (var bit = 0x80000u; bit != 0u; bit = bit >> 1u) {
    let mass = massBefore(base, n, l, kept, bound, last | bit, byCount);
    if (wideLess(mass, missing)) { last |= bit; }
  }
  return Bounds(bound, last);
}
// ceil(topP * mass / 65536)
fn shareOf(mass: vec2u, topP: u32) -> vec2u {
  let low = wideProduct(mass.x, topP);
  let high = wideAdd(wideProduct(mass.y, topP), vec2u(low.y, 0u));
  let whole = vec2u((low.x >> 16u) | (high.x << 16u), (high.x >> 16u) | (high.y << 16u));
  return wideAdd(whole, vec2u(select(0u, 1u, (low.x & 0xffffu) != 0u), 0u));
}
// floor(random * mass / 2^64)
fn targetOf(random: vec2u, mass: vec2u) -> vec2u {
  let first = wideAdd(wideProduct(random.y, mass.x), vec2u(wideProduct(random.x, mass.x).y, 0u));
  let second = wideAdd(wideProduct(random.x, mass.y), vec2u(first.x, 0u));
  return wideAdd(wideProduct(random.y, mass.y), wideAdd(vec2u(first.y, 0u), vec2u(second.y, 0u)));
}
fn row(r: u32, l: u32) {
  let n = param(1u);
  let base = r * n;
  var largest = 0u;
  for (var i = l; i < n; i += WG) { largest = max(largest, in0[base + i] & 0x7fffffffu); }
  let e = gridExponent(reduceMax(l, largest), 24u, -149);
  var top = 0u;
  for (var i = l; i < n; i += WG) { top = max(top, u32(gridMantissa(in0[base + i], e) + 0x1000000)); }
  let highest = i32(reduceMax(l, top)) - 0x1000000;
  for (var i = l; i < n; i += WG) {
    out1[base + i] = weightBelow(u32(highest - gridMantissa(in0[base + i], e)), i32(param(5u)) + e + 16);
  }
  var kept = Bounds(0u, n - 1u);
  if (param(2u) != 0u && param(2u) < n) {
    kept = prefixOf(base, n, l, kept, vec2u(param(2u), 0u), true);
  }
  if (param(3u) < 65536u) {
    let wanted = shareOf(massFrom(base, n, l, kept, 0u, false), param(3u));
    kept = prefixOf(base, n, l, kept, wanted, false);
  }
  let mass = massFrom(base, n, l, kept, 0u, false);
  let stream = threefry(vec2u(in1[4u * r], in1[4u * r + 1u]), vec2u(in1[4u * r + 2u], 1u));
  let wish = targetOf(threefry(stream, vec2u(in1[4u * r + 3u], 0u)), mass);
  var found = 0u;
  for (var bit = 0x80000u; bit != 0u; bit = bit >> 1u) {
    var sum = vec2u(0u, 0u);
    for (var i = l; i < min(n, found | bit); i += WG) {
      let w = out1[base + i];
      if (isKept(w, i, kept)) { sum = wideAdd(sum, vec2u(w, 0u)); }
    }
    if (!wideLess(wish, reduceSum(l, sum))) { found |= bit; }
  }
  if (l == 0u) { out0[r] = found; }
}`;

const kernels = new Map<number, Kernel>();

function sampleKernel(workgroupSize: number): Kernel {
  const known = kernels.get(workgroupSize);
  if (known !== undefined) return known;
  const kernel = rowKernel({
    name: `sample-${workgroupSize}`,
    pieces: [REDUCE_MAX, REDUCE_SUM, QUANTIZE, EXP2, THREEFRY, WIDE],
    reads: 2,
    writes: 2,
    params: 8,
    workgroupSize,
    body: SAMPLE_BODY,
  });
  kernels.set(workgroupSize, kernel);
  return kernel;
}

/** Plans `sample`. */
export function planSample(plan: Plan, index: number, node: NodeOf<"sample">): void {
  if (node.temperature === 0) {
    planArgmax(plan, index, node);
    return;
  }
  const { shape } = plan.inputType(node, 0);
  const columns = lastAxis(shape);
  const scale = temperatureScale(node.temperature);
  const rows = elementCount(node.type.shape);
  plan.add({
    kernel: sampleKernel(rowWorkgroup(plan, columns)),
    params: [rows, columns, node.topK, node.topP, scale.mantissa, scale.exponent],
    reads: [plan.input(node, 0), plan.input(node, 1)],
    writes: [plan.define(index), plan.scratch(elementCount(shape))],
    workgroups: rows,
  });
}
