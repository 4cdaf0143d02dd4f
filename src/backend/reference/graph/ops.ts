// Each op of graphs and its definition: the table by which the oracle evaluates nodes.

import type { HostTensor, Node, OpKind } from "gyrotron/tensor";
import { attention, attentionCombine, attentionScores } from "./attention.ts";
import {
  dequantize,
  fromGrid,
  gridAdd,
  matmul,
  matmulGrid,
  quantize,
  quantizeColumns,
  toGrid,
} from "./contraction.ts";
import { binary, compare, convert, logic, unary } from "./elementwise.ts";
import type { NodeOf, NodeOutcome } from "./graph-value.ts";
import {
  broadcast,
  concat,
  fold,
  gather,
  iota,
  pad,
  patches,
  reshape,
  scatterAdd,
  select,
  slice,
  takeAlong,
  transpose,
} from "./layout.ts";
import { dropout, randomBits, sample } from "./random.ts";
import {
  argmax,
  crossEntropy,
  layerNorm,
  logSoftmax,
  reduce,
  reduceMax,
  rmsNorm,
  rotary,
  softmax,
  topK,
} from "./rows.ts";

/** Ops whose values are given. */
export type GivenOp = "input" | "constant";

/** How each kind of node is computed; mutants replace single entries. */
export type GraphOps = {
  readonly [K in Exclude<OpKind, GivenOp>]: (
    node: NodeOf<K>,
    inputs: readonly HostTensor[],
  ) => NodeOutcome;
};

/** The definitions themselves. */
export const EXACT_GRAPH_OPS: GraphOps = {
  iota,
  reshape,
  transpose,
  slice,
  concat,
  pad,
  broadcast,
  gather,
  "scatter-add": scatterAdd,
  "take-along": takeAlong,
  patches,
  fold,
  neg: unary,
  abs: unary,
  sqrt: unary,
  rsqrt: unary,
  exp: unary,
  exp2: unary,
  log: unary,
  tanh: unary,
  sigmoid: unary,
  erf: unary,
  gelu: unary,
  "gelu-tanh": unary,
  silu: unary,
  relu: unary,
  add: binary,
  sub: binary,
  mul: binary,
  div: binary,
  min: binary,
  max: binary,
  equal: compare,
  less: compare,
  "less-or-equal": compare,
  and: logic,
  or: logic,
  not: logic,
  select,
  convert,
  sum: reduce,
  mean: reduce,
  variance: reduce,
  "reduce-max": reduceMax,
  argmax,
  "top-k": topK,
  "rms-norm": rmsNorm,
  "layer-norm": layerNorm,
  softmax,
  "log-softmax": logSoftmax,
  "cross-entropy": crossEntropy,
  quantize,
  "quantize-columns": quantizeColumns,
  dequantize,
  matmul,
  "matmul-grid": matmulGrid,
  "to-grid": toGrid,
  "grid-add": gridAdd,
  "from-grid": fromGrid,
  rotary,
  attention,
  "attention-scores": attentionScores,
  "attention-combine": attentionCombine,
  "random-bits": randomBits,
  dropout,
  sample,
};

/** Evaluates a node that is not given, by the entry of its kind. */
export function evaluate(
  ops: GraphOps,
  node: Exclude<Node<number>, { readonly op: GivenOp }>,
  inputs: readonly HostTensor[],
): NodeOutcome {
  // The entry of a kind takes the nodes of that kind, which the checker cannot follow through the union.
  const entry = ops[node.op] as (node: Node<number>, inputs: readonly HostTensor[]) => NodeOutcome;
  return entry(node, inputs);
}
