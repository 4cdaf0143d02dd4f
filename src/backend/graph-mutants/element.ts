// Wrong programs of single elements and of failures, and what all wrong programs share.

import { decodeF32, f32FromBits, ROUNDER, roundToF32, threefry } from "gyrotron/numerics";
import {
  elementCount,
  type HostTensor,
  type Node,
  type ResolvedGraph,
  type RunInputs,
  type UnaryOp,
} from "gyrotron/tensor";
import { FLOAT_UNARY } from "../float64/function.ts";
import {
  boolOf,
  f32Of,
  f32Result,
  i32Of,
  type NodeOutcome,
  rowLength,
} from "../reference/graph/graph-value.ts";
import { EXACT_GRAPH_OPS, type GraphOps } from "../reference/graph/ops.ts";

const fround = Math.fround;
const exact = EXACT_GRAPH_OPS;

export type Tensors = readonly HostTensor[];

/** A binary64 as an f32 without -0; NaN as an infinity. */
export function finite(x: number): number {
  return Number.isNaN(x) ? Infinity : fround(x) + 0;
}

/** To the nearest integer, ties to even, below 2^51. */
export function nearest(x: number): number {
  return x + ROUNDER - ROUNDER;
}

export function exactScale(x: number, keep: number): number {
  const { mantissa, exponent } = decodeF32(x);
  return roundToF32(mantissa, exponent + 16, BigInt(keep));
}

export function dropoutBy(
  index: (i: number, width: number) => number,
  scale: (x: number, keep: number) => number,
): GraphOps["dropout"] {
  return (node, [x, key]) => {
    const [low, high, sequence, purpose] = Array.from(i32Of(key), (word) => word >>> 0);
    const stream = threefry([low!, high!], [sequence!, purpose!]);
    const width = rowLength(node.type.shape);
    const values = Array.from(f32Of(x), (v, i) => {
      const word = threefry(stream, [index(i, width), 0])[0];
      return word >>> 16 < node.keep ? scale(v, node.keep) + 0 : 0;
    });
    return f32Result(node, values);
  };
}

export function flushed(outcome: NodeOutcome): NodeOutcome {
  if ("failure" in outcome || outcome.element !== "f32") return outcome;
  const smallest = f32FromBits(0x00800000);
  return { ...outcome, data: outcome.data.map((x) => (Math.abs(x) < smallest ? 0 : x)) };
}

export function anyBool(mask: HostTensor): HostTensor {
  return { element: "bool", shape: mask.shape, data: boolOf(mask).slice() };
}

/** Failures found from the end. */
export function lastFailure(
  op: "add" | "mul" | "div",
): (node: Node<number>, x: Tensors) => NodeOutcome {
  return (node, inputs) => {
    const outcome = (exact[op] as (node: Node<number>, x: Tensors) => NodeOutcome)(node, inputs);
    if (!("failure" in outcome)) return outcome;
    const [x, y] = [f32Of(inputs[0]), f32Of(inputs[1])];
    const value = (i: number): number =>
      op === "add" ? x[i]! + y[i]! : op === "mul" ? x[i]! * y[i]! : x[i]! / y[i]!;
    let last = x.length - 1;
    while (Number.isFinite(fround(value(last)))) last--;
    return { ...outcome, row: Math.floor(last / rowLength(node.type.shape)) };
  };
}

/** What a library's function rounds to. */
export function unaryInFloat(op: UnaryOp): (node: Node<number>, x: Tensors) => NodeOutcome {
  return (node, [x]) =>
    f32Result(
      node,
      Array.from(f32Of(x), (v) => finite(FLOAT_UNARY[op](v))),
    );
}

/** The shares less the one-hot targets, quantized as one: the largest share then sets everyone's grid. */
export function subtractTargetsEarly(graph: ResolvedGraph, inputs: RunInputs): Partial<GraphOps> {
  const loss = graph.nodes.find((node) => node.op === "cross-entropy");
  const targets = loss === undefined ? undefined : graph.nodes[loss.inputs[1]!];
  if (targets?.op !== "input" || !graph.nodes.some((node) => node.op === "softmax")) return {};
  const at = i32Of(inputs[targets.name]);
  return {
    transpose: (node, [x]) => {
      if (graph.nodes[node.inputs[0]!]!.op !== "softmax") return exact.transpose(node, [x!]);
      const width = rowLength(x!.shape);
      const data = f32Of(x).map((v, i) =>
        i % width === at[Math.floor(i / width)] ? fround(v - 1) : v,
      );
      return exact.transpose(node, [{ element: "f32", shape: x!.shape, data }]);
    },
    "scatter-add": (node) => ({
      element: "f32",
      shape: node.type.shape,
      data: new Float32Array(elementCount(node.type.shape)),
    }),
  };
}
