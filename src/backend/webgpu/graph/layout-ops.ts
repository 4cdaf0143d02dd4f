// Ops that move values unchanged (docs/spec/01-numerics.md section 14): each is a copy from one strided
// region to another, for every plane of the value.

import { elementCount, type Node } from "gyrotron/tensor";
import { elementGroups, elementKernel, type Kernel } from "./kernel.ts";
import { type Plan, type Plane, planesOf, type Slot } from "./plan.ts";

type NodeOf<K extends Node<number>["op"]> = Extract<Node<number>, { op: K }>;

/** Axes of a region from the slowest: their sizes and the steps between their elements, in words. */
export interface Axis {
  readonly size: number;
  readonly from: number;
  readonly to: number;
}

/** Copies a region of words. */
export interface RegionCopy {
  readonly source: Slot;
  readonly target: Slot;
  readonly from: number;
  readonly to: number;
  readonly axes: readonly Axis[];
}

/** Steps between neighbours along each axis of a dense array. */
export function denseSteps(shape: readonly number[], wordsPerElement = 1): number[] {
  return shape.map((_, k) => elementCount(shape.slice(k + 1)) * wordsPerElement);
}

/** The same region with as few axes as possible. */
export function mergeAxes(axes: readonly Axis[]): readonly Axis[] {
  const merged: Axis[] = [];
  for (const axis of axes) {
    if (axis.size === 1) continue;
    const last = merged.at(-1);
    if (last?.from === axis.from * axis.size && last.to === axis.to * axis.size)
      merged[merged.length - 1] = { ...axis, size: last.size * axis.size };
    else merged.push(axis);
  }
  return merged;
}

const copyKernels = new Map<number, Kernel>();

/** Parameters: count, from, to, then size, from and to of each axis. */
function copyKernel(rank: number): Kernel {
  const known = copyKernels.get(rank);
  if (known !== undefined) return known;
  const parts = Array.from({ length: rank }, (_, k) => rank - 1 - k).map(
    (k) => `
  { let size = param(${3 + 3 * k}u); let at = rest % size; rest = rest / size;
    source += at * param(${4 + 3 * k}u); place += at * param(${5 + 3 * k}u); }`,
  );
  const kernel = elementKernel({
    name: `copy-${rank}`,
    pieces: [],
    reads: 1,
    writes: 1,
    params: 3 + 3 * rank,
    body: /* wgsl */ `
fn element(i: u32) {
  var rest = i;
  var source = param(1u);
  var place = param(2u);${parts.join("")}
  out0[place] = in0[source];
}`,
  });
  copyKernels.set(rank, kernel);
  return kernel;
}

/** Plans a copy of a region. */
export function copyRegion(plan: Plan, copy: RegionCopy): void {
  const axes = mergeAxes(copy.axes);
  const count = axes.reduce((product, { size }) => product * size, 1);
  plan.add({
    kernel: copyKernel(axes.length),
    params: [count, copy.from, copy.to, ...axes.flatMap(({ size, from, to }) => [size, from, to])],
    reads: [copy.source],
    writes: [copy.target],
    workgroups: elementGroups(count),
  });
}

/** A copy of a plane of words; pairs of words get an axis of their own. */
function copyPlane(
  plan: Plan,
  copy: Omit<RegionCopy, "axes"> & { axes: readonly Axis[]; wordsPerElement: number },
): void {
  const { wordsPerElement, axes, ...rest } = copy;
  const pair = wordsPerElement === 1 ? [] : [{ size: wordsPerElement, from: 1, to: 1 }];
  copyRegion(plan, { ...rest, axes: [...axes, ...pair] });
}

/** Pairs the planes of an input with those of the result. */
function planePairs(plan: Plan, node: Node<number>, position: number): [Plane, Plane][] {
  const to = planesOf(node.type);
  return planesOf(plan.inputType(node, position)).map((plane, i) => [plane, to[i]!]);
}

/** Plans `transpose`, `broadcast` and `slice`: reading with other steps. */
export function planView(
  plan: Plan,
  index: number,
  node: NodeOf<"transpose" | "broadcast" | "slice">,
): void {
  const source = plan.input(node, 0);
  const target = plan.define(index);
  for (const [from, to] of planePairs(plan, node, 0)) {
    const view = viewOf(node, from, to);
    const steps = denseSteps(to.shape, to.wordsPerElement);
    copyPlane(plan, {
      source,
      target,
      from: from.offset + view.offset,
      to: to.offset,
      wordsPerElement: to.wordsPerElement,
      axes: to.shape.map((size, k) => ({ size, from: view.steps[k]!, to: steps[k]! })),
    });
  }
}

/** Where the elements of a view's result lie in its source. */
function viewOf(
  node: NodeOf<"transpose" | "broadcast" | "slice">,
  from: Plane,
  to: Plane,
): { offset: number; steps: number[] } {
  const steps = denseSteps(from.shape, from.wordsPerElement);
  switch (node.op) {
    case "transpose":
      return {
        offset: 0,
        steps: to.shape.map((_, k) => steps[node.permutation[k]!]!),
      };
    case "broadcast":
      return {
        offset: 0,
        steps: steps.map((step, k) => (from.shape[k] === 1 ? 0 : step)),
      };
    case "slice":
      return {
        offset: steps.reduce((sum, step, k) => sum + step * node.starts[k]!, 0),
        steps: steps.map((step, k) => step * node.strides[k]!),
      };
  }
}

/** Plans `concat`. */
export function planConcat(plan: Plan, index: number, node: NodeOf<"concat">): void {
  const target = plan.define(index);
  let start = 0;
  node.inputs.forEach((_, position) => {
    for (const [from, to] of planePairs(plan, node, position)) {
      const steps = denseSteps(to.shape, to.wordsPerElement);
      const own = denseSteps(from.shape, from.wordsPerElement);
      copyPlane(plan, {
        source: plan.input(node, position),
        target,
        from: from.offset,
        to: to.offset + start * steps[node.axis]!,
        wordsPerElement: to.wordsPerElement,
        axes: from.shape.map((size, k) => ({ size, from: own[k]!, to: steps[k]! })),
      });
    }
    start += plan.inputType(node, position).shape[node.axis]!;
  });
}

const FILL = elementKernel({
  name: "fill",
  pieces: [],
  reads: 0,
  writes: 1,
  params: 4,
  body: "fn element(i: u32) { out0[i] = param(1u); }",
});

/** Plans words of one value. */
export function planFill(plan: Plan, target: Slot, word: number): void {
  const count = target.words;
  plan.add({
    kernel: FILL,
    params: [count, word],
    reads: [],
    writes: [target],
    workgroups: elementGroups(count),
  });
}

/** Plans `pad`, whose `value` has the bits `word`. */
export function planPad(plan: Plan, index: number, node: NodeOf<"pad">, word: number): void {
  const target = plan.define(index);
  planFill(plan, target, word);
  for (const [from, to] of planePairs(plan, node, 0)) {
    const steps = denseSteps(to.shape, to.wordsPerElement);
    const own = denseSteps(from.shape, from.wordsPerElement);
    copyPlane(plan, {
      source: plan.input(node, 0),
      target,
      from: from.offset,
      to: to.offset + steps.reduce((sum, step, k) => sum + step * node.low[k]!, 0),
      wordsPerElement: to.wordsPerElement,
      axes: from.shape.map((size, k) => ({
        size,
        from: own[k]!,
        to: steps[k]! * (1 + node.interior[k]!),
      })),
    });
  }
}
