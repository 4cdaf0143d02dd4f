// Ops whose places depend on indices or windows (docs/spec/01-numerics.md sections 14, 16, 19): gather,
// take-along, top-k, patches, and the sums scatter-add and fold. Sums add integers, atomically in two
// words or element by element, so no order can be seen.

import { bitsFromF32 } from "gyrotron/numerics";
import { elementCount, rowCount } from "gyrotron/tensor";
import { QUANTIZE } from "../wgsl/quantize.ts";
import { ROUND_WIDE } from "../wgsl/round-float.ts";
import { SOFT_FLOAT } from "../wgsl/soft-float.ts";
import { WIDE } from "../wgsl/wide.ts";
import type { NodeOf } from "./graph-node.ts";
import { elementGroups, elementKernel } from "./kernel.ts";
import { copyRegion, planFill } from "./layout-ops.ts";
import { lastAxis, type Plan, planesOf, type Slot } from "./plan.ts";

/** Parameters: indices, node, limit. */
const CHECK_INDICES = elementKernel({
  name: "check-indices",
  pieces: [],
  reads: 1,
  writes: 0,
  params: 4,
  body: /* wgsl */ `
fn element(i: u32) {
  if (in0[i] >= param(2u)) { failRange(param(1u), i); }
}`,
});

/** Plans the check that indices are below a limit. */
function planCheck(plan: Plan, index: number, indices: Slot, limit: number): void {
  plan.add({
    kernel: CHECK_INDICES,
    params: [indices.words, index, limit],
    reads: [indices],
    writes: [],
    workgroups: elementGroups(indices.words),
  });
}

/** Parameters: words, words of an entry, entries, first word of the table and of the result, node. */
const GATHER = elementKernel({
  name: "gather",
  pieces: [],
  reads: 2,
  writes: 1,
  params: 8,
  body: /* wgsl */ `
fn element(i: u32) {
  let entry = in1[i / param(1u)];
  if (entry >= param(2u)) {
    failRange(param(5u), i / param(1u));
    return;
  }
  out0[param(4u) + i] = in0[param(3u) + entry * param(1u) + i % param(1u)];
}`,
});

/** Plans `gather`. */
export function planGather(plan: Plan, index: number, node: NodeOf<"gather">): void {
  const table = planesOf(plan.inputType(node, 0));
  const indices = plan.input(node, 1);
  const entries = plan.inputType(node, 0).shape[0]!;
  const target = plan.define(index);
  // Where no element shows that an index is wrong, a kernel looks for it.
  if (elementCount(node.type.shape) === 0) planCheck(plan, index, indices, entries);
  planesOf(node.type).forEach((plane, i) => {
    const { shape, offset } = table[i]!;
    const words = elementCount(plane.shape);
    plan.add({
      kernel: GATHER,
      params: [words, elementCount(shape.slice(1)), entries, offset, plane.offset, index],
      reads: [plan.input(node, 0), indices],
      writes: [target],
      workgroups: elementGroups(words),
    });
  });
}

/** Parameters: elements, indices of a row, columns, node. */
const TAKE_ALONG = elementKernel({
  name: "take-along",
  pieces: [],
  reads: 2,
  writes: 1,
  params: 4,
  body: /* wgsl */ `
fn element(i: u32) {
  let at = in1[i];
  if (at >= param(2u)) {
    failRange(param(3u), i / param(1u));
    return;
  }
  out0[i] = in0[i / param(1u) * param(2u) + at];
}`,
});

/** Plans `take-along`. */
export function planTakeAlong(plan: Plan, index: number, node: NodeOf<"take-along">): void {
  const columns = lastAxis(plan.inputType(node, 0).shape);
  const each = Math.max(1, lastAxis(node.type.shape));
  const count = elementCount(node.type.shape);
  plan.add({
    kernel: TAKE_ALONG,
    params: [count, each, columns, index],
    reads: [plan.input(node, 0), plan.input(node, 1)],
    writes: [plan.define(index)],
    workgroups: elementGroups(count),
  });
}

/** Columns up to which each element counts those before it; longer rows are sorted. */
const COUNTED_COLUMNS_MAX = 4096;

/** Parameters: elements, columns, k. */
const TOP_K = elementKernel({
  name: "top-k",
  pieces: [SOFT_FLOAT],
  reads: 1,
  writes: 1,
  params: 4,
  body: /* wgsl */ `
fn element(i: u32) {
  let n = param(1u);
  let base = i / n * n;
  let own = i % n;
  let key = softKey(in0[i]);
  var before = 0u;
  for (var j = 0u; j < n; j++) {
    let other = softKey(in0[base + j]);
    if (other > key || (other == key && j < own)) { before++; }
  }
  if (before < param(2u)) { out0[i / n * param(2u) + before] = own; }
}`,
});

/** Parameters: words, length of a sorted row. */
const SORT_START = elementKernel({
  name: "sort-start",
  pieces: [],
  reads: 0,
  writes: 1,
  params: 4,
  body: "fn element(i: u32) { out0[i] = i % param(1u); }",
});

/**
 * One step of a bitonic sort of indices; those past the columns come last. Parameters: pairs, columns, length of a
 * sorted row, length of the sequences made, distance of a pair.
 */
const SORT_STEP = elementKernel({
  name: "sort-step",
  pieces: [SOFT_FLOAT],
  reads: 1,
  writes: 1,
  params: 8,
  body: /* wgsl */ `
fn isBefore(base: u32, a: u32, b: u32) -> bool {
  let n = param(1u);
  if (a >= n || b >= n) { return a < b; }
  let left = softKey(in0[base + a]);
  let right = softKey(in0[base + b]);
  return left > right || (left == right && a < b);
}
fn element(i: u32) {
  let half = param(2u) / 2u;
  let row = i / half;
  let pair = i % half;
  let distance = param(4u);
  let at = pair / distance * 2u * distance + pair % distance;
  let first = row * param(2u) + at;
  let second = first + distance;
  let a = out0[first];
  let b = out0[second];
  let isRising = (at & param(3u)) == 0u;
  if (isBefore(row * param(1u), b, a) == isRising) {
    out0[first] = b;
    out0[second] = a;
  }
}`,
});

/** Plans `top-k`. */
export function planTopK(plan: Plan, index: number, node: NodeOf<"top-k">): void {
  const { shape } = plan.inputType(node, 0);
  const [columns, kept] = [lastAxis(shape), lastAxis(node.type.shape)];
  const target = plan.define(index);
  if (elementCount(node.type.shape) === 0) return;
  if (columns > COUNTED_COLUMNS_MAX) {
    planSort(plan, { x: plan.input(node, 0), rows: rowCount(shape), columns, kept, target });
    return;
  }
  plan.add({
    kernel: TOP_K,
    params: [elementCount(shape), columns, kept],
    reads: [plan.input(node, 0)],
    writes: [target],
    workgroups: elementGroups(elementCount(shape)),
  });
}

interface Sort {
  readonly x: Slot;
  readonly rows: number;
  readonly columns: number;
  readonly kept: number;
  readonly target: Slot;
}

/** Plans the first of each row's indices by falling value. */
function planSort(plan: Plan, { x, rows, columns, kept, target }: Sort): void {
  let length = 2;
  while (length < columns) length *= 2;
  const order = plan.scratch(rows * length);
  plan.add({
    kernel: SORT_START,
    params: [order.words, length],
    reads: [],
    writes: [order],
    workgroups: elementGroups(order.words),
  });
  for (let made = 2; made <= length; made *= 2) {
    for (let distance = made / 2; distance >= 1; distance /= 2) {
      plan.add({
        kernel: SORT_STEP,
        params: [order.words / 2, columns, length, made, distance],
        reads: [x],
        writes: [order],
        workgroups: elementGroups(order.words / 2),
      });
    }
  }
  const axes = [
    { size: rows, from: length, to: kept },
    { size: kept, from: 1, to: 1 },
  ];
  copyRegion(plan, { source: order, target, from: 0, to: 0, axes });
}

/** Parameters: updates, columns, entries, node. Largest magnitudes, per element of the result. */
const SCATTER_LARGEST = elementKernel({
  name: "scatter-largest",
  pieces: [],
  reads: 2,
  writes: 1,
  isAtomic: true,
  params: 4,
  body: /* wgsl */ `
fn element(i: u32) {
  let entry = in1[i / param(1u)];
  if (entry >= param(2u)) { failRange(param(3u), i / param(1u)); }
  else { atomicMax(&out0[entry * param(1u) + i % param(1u)], in0[i] & 0x7fffffffu); }
}`,
});

/** The scratch holds magnitudes, then low words, then high words of sums. */
const SCATTER_ADD = elementKernel({
  name: "scatter-add",
  pieces: [QUANTIZE, WIDE],
  reads: 2,
  writes: 1,
  isAtomic: true,
  params: 4,
  body: /* wgsl */ `
fn element(i: u32) {
  let entry = in1[i / param(1u)];
  if (entry >= param(2u)) { return; }
  let at = entry * param(1u) + i % param(1u);
  let count = param(1u) * param(2u);
  let e = gridExponent(atomicLoad(&out0[at]), 24u, -149);
  let m = wideOf(gridMantissa(in0[i], e));
  // The number of carries does not depend on the order.
  let before = atomicAdd(&out0[count + at], m.x);
  let carry = select(0u, 1u, before + m.x < before);
  atomicAdd(&out0[2u * count + at], m.y + carry);
}`,
});

/** Parameters: elements of the result, columns, node. */
const SCATTER_FINISH = elementKernel({
  name: "scatter-finish",
  pieces: [QUANTIZE, ROUND_WIDE],
  reads: 1,
  writes: 1,
  params: 4,
  body: /* wgsl */ `
fn element(i: u32) {
  let count = param(0u);
  let e = gridExponent(in0[i], 24u, -149);
  let y = roundSigned(vec2u(in0[count + i], in0[2u * count + i]), e);
  out0[i] = y;
  if (isBad(y)) { fail(param(2u), i / param(1u)); }
}`,
});

/** Plans `scatter-add`. */
export function planScatterAdd(plan: Plan, index: number, node: NodeOf<"scatter-add">): void {
  const updates = plan.input(node, 0);
  const indices = plan.input(node, 1);
  const [entries, columns] = node.type.shape as [number, number];
  const count = entries * columns;
  const scratch = plan.scratch(3 * count);
  if (count === 0) planCheck(plan, index, indices, entries);
  planFill(plan, scratch, 0);
  const params = [updates.words, Math.max(1, columns), entries, index];
  const workgroups = count === 0 ? 0 : elementGroups(updates.words);
  const reads = [updates, indices];
  plan.add({ kernel: SCATTER_LARGEST, params, reads, writes: [scratch], workgroups });
  plan.add({ kernel: SCATTER_ADD, params, reads, writes: [scratch], workgroups });
  plan.add({
    kernel: SCATTER_FINISH,
    params: [count, Math.max(1, columns), index],
    reads: [scratch],
    writes: [plan.define(index)],
    workgroups: elementGroups(count),
  });
}

/** Parameters: elements, node, H, W, C, OH, OW, kernel, stride, dilation and padding (each two), value. */
const WINDOW_PARAMS = 16;

const PATCHES = elementKernel({
  name: "patches",
  pieces: [],
  reads: 1,
  writes: 1,
  params: WINDOW_PARAMS,
  body: /* wgsl */ `
fn element(i: u32) {
  let c = i % param(4u);
  var rest = i / param(4u);
  let kx = rest % param(8u);
  rest /= param(8u);
  let ky = rest % param(7u);
  rest /= param(7u);
  let ox = rest % param(6u);
  rest /= param(6u);
  let oy = rest % param(5u);
  let b = rest / param(5u);
  // Below zero wraps far above any size.
  let y = oy * param(9u) + ky * param(11u) - param(13u);
  let x = ox * param(10u) + kx * param(12u) - param(14u);
  var value = param(15u);
  if (y < param(2u) && x < param(3u)) {
    value = in0[((b * param(2u) + y) * param(3u) + x) * param(4u) + c];
  }
  out0[i] = value;
}`,
});

const FOLD = elementKernel({
  name: "fold",
  pieces: [QUANTIZE, WIDE, ROUND_WIDE],
  reads: 1,
  writes: 1,
  params: WINDOW_PARAMS,
  body: /* wgsl */ `
// Which window of one axis has a place at offset k, or all ones.
fn windowAt(place: u32, k: u32, stride: u32, count: u32) -> u32 {
  if (place < k || (place - k) % stride != 0u) { return 0xffffffffu; }
  let at = (place - k) / stride;
  return select(0xffffffffu, at, at < count);
}
fn element(i: u32) {
  let c = i % param(4u);
  let px = i / param(4u) % param(3u) + param(14u);
  let py = i / param(4u) / param(3u) % param(2u) + param(13u);
  let b = i / param(4u) / param(3u) / param(2u);
  var e = 0;
  var largest = 0u;
  var sum = vec2u(0u, 0u);
  // First the grid of what is added, then its sum.
  for (var turn = 0u; turn < 2u; turn++) {
    if (turn == 1u) { e = gridExponent(largest, 24u, -149); }
    for (var ky = 0u; ky < param(7u); ky++) {
      let oy = windowAt(py, ky * param(11u), param(9u), param(5u));
      if (oy == 0xffffffffu) { continue; }
      for (var kx = 0u; kx < param(8u); kx++) {
        let ox = windowAt(px, kx * param(12u), param(10u), param(6u));
        if (ox == 0xffffffffu) { continue; }
        let window = (b * param(5u) + oy) * param(6u) + ox;
        let x = in0[((window * param(7u) + ky) * param(8u) + kx) * param(4u) + c];
        if (turn == 0u) { largest = max(largest, x & 0x7fffffffu); }
        else { sum = wideAdd(sum, wideOf(gridMantissa(x, e))); }
      }
    }
  }
  let y = roundSigned(sum, e);
  out0[i] = y;
  if (isBad(y)) { fail(param(1u), i / param(4u)); }
}`,
});

/** Plans `patches` or `fold`. */
export function planWindow(plan: Plan, index: number, node: NodeOf<"patches" | "fold">): void {
  const own = node.type.shape;
  const other = plan.inputType(node, 0).shape;
  const [image, windows] = node.op === "patches" ? [other, own] : [own, other];
  const { kernel, stride, dilation, padding } = node.window;
  const count = elementCount(own);
  plan.add({
    kernel: node.op === "patches" ? PATCHES : FOLD,
    params: [
      count,
      index,
      image[1]!,
      image[2]!,
      image[3]!,
      windows[1]!,
      windows[2]!,
      ...kernel,
      ...stride,
      ...dilation,
      ...padding,
      node.op === "patches" ? bitsFromF32(node.value) : 0,
    ],
    reads: [plan.input(node, 0)],
    writes: [plan.define(index)],
    workgroups: elementGroups(count),
  });
}

/** The word of a pad's value. */
export function wordOfValue(node: NodeOf<"pad">): number {
  return node.type.element === "f32" ? bitsFromF32(node.value) : node.value;
}
