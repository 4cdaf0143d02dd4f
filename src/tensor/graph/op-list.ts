// Every op by name, in the order of their codes in the canonical bytes, with its number of operands; and
// the limits of graphs. Op table version 1: names and codes never change, new ops come behind.

import type { BinaryOp, CompareOp, OpKind, UnaryOp } from "./op.ts";

/** Version of the op table; part of the canonical bytes, so of a graph's identity. */
export const OP_TABLE_VERSION = 1;

/** Operands of each op. */
export const OP_OPERANDS: Readonly<Record<OpKind, number | "any">> = {
  input: 0,
  constant: 0,
  iota: 0,
  reshape: 1,
  transpose: 1,
  slice: 1,
  concat: "any",
  pad: 1,
  broadcast: 1,
  gather: 2,
  "scatter-add": 2,
  "take-along": 2,
  patches: 1,
  fold: 1,
  neg: 1,
  abs: 1,
  sqrt: 1,
  rsqrt: 1,
  exp: 1,
  exp2: 1,
  log: 1,
  tanh: 1,
  sigmoid: 1,
  erf: 1,
  gelu: 1,
  "gelu-tanh": 1,
  silu: 1,
  relu: 1,
  add: 2,
  sub: 2,
  mul: 2,
  div: 2,
  min: 2,
  max: 2,
  equal: 2,
  less: 2,
  "less-or-equal": 2,
  and: 2,
  or: 2,
  not: 1,
  select: 3,
  convert: 1,
  sum: 1,
  mean: 1,
  variance: 1,
  "reduce-max": 1,
  argmax: 1,
  "top-k": 1,
  "rms-norm": 1,
  "layer-norm": 1,
  softmax: 1,
  "log-softmax": 1,
  "cross-entropy": 2,
  quantize: 1,
  "quantize-columns": 1,
  dequantize: 1,
  matmul: 2,
  "matmul-grid": 3,
  "to-grid": 2,
  "grid-add": 2,
  "from-grid": 2,
  rotary: 2,
  attention: 3,
  "attention-scores": 2,
  "attention-combine": 2,
  "random-bits": 1,
  dropout: 2,
  sample: 2,
};

/** Every op; its place is its code. */
export const OP_KINDS: readonly OpKind[] = Object.keys(OP_OPERANDS) as OpKind[];

/** Ops of one f32 operand, element by element. */
export const UNARY_OPS: ReadonlySet<OpKind> = new Set<UnaryOp>([
  "neg",
  "abs",
  "sqrt",
  "rsqrt",
  "exp",
  "exp2",
  "log",
  "tanh",
  "sigmoid",
  "erf",
  "gelu",
  "gelu-tanh",
  "silu",
  "relu",
]);

/** Ops of two operands of one type. */
export const BINARY_OPS: ReadonlySet<OpKind> = new Set<BinaryOp>([
  "add",
  "sub",
  "mul",
  "div",
  "min",
  "max",
]);

/** Ops of two operands of one type that give a bool. */
export const COMPARE_OPS: ReadonlySet<OpKind> = new Set<CompareOp>([
  "equal",
  "less",
  "less-or-equal",
]);

/** What a graph may have at most. */
export interface GraphLimits {
  readonly nodes: number;
  readonly symbols: number;
  readonly outputs: number;
  readonly nameBytes: number;
  readonly rank: number;
  readonly operands: number;
  /** Of one size, and of the elements of one value. */
  readonly elements: number;
  /** Columns that are summed, softmaxed or sampled from. */
  readonly columns: number;
  /** Columns of rms-norm, and contractions. */
  readonly contraction: number;
  /** Columns of variance and layer-norm. */
  readonly varianceColumns: number;
  readonly headSize: number;
  readonly positions: number;
  /** Of a kernel, stride, dilation or padding of a window, and of strides and gaps of slice and pad. */
  readonly window: number;
  /** Of the canonical encoding. */
  readonly bytes: number;
  /** Operands of all nodes together. */
  readonly edges: number;
  /** Terms of all sizes of a graph together. */
  readonly terms: number;
}

/** Limits of op table version 1. */
export const GRAPH_LIMITS: GraphLimits = {
  nodes: 65_536,
  symbols: 64,
  outputs: 4_096,
  nameBytes: 128,
  rank: 8,
  operands: 1_024,
  elements: 2 ** 31 - 1,
  columns: 2 ** 20,
  contraction: 65_536,
  varianceColumns: 32_767,
  headSize: 128,
  positions: 2_048,
  window: 65_536,
  bytes: 2 ** 28,
  edges: 2 ** 19,
  terms: 2 ** 18,
};
