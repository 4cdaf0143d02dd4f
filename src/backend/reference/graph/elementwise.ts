// Ops on single elements (docs/spec/01-numerics.md sections 14 and 15) in the oracle.

import { assert, present } from "gyrotron/base";
import {
  addF32,
  divideF32,
  erfF32,
  exp2F32,
  expF32,
  geluF32,
  geluTanhF32,
  logF32,
  multiplyF32,
  negateF32,
  reluF32,
  roundToF32,
  roundToI32,
  rsqrtF32,
  sigmoidF32,
  silu,
  sqrtF32,
  subtractF32,
  tanhF32,
} from "gyrotron/numerics";
import type { BinaryOp, CompareOp, HostTensor, LogicOp, UnaryOp } from "gyrotron/tensor";
import {
  boolOf,
  boolResult,
  f32Of,
  f32Result,
  i32Of,
  i32Result,
  type NodeOf,
  type NodeOutcome,
} from "./graph-value.ts";

type Inputs = readonly HostTensor[];

const UNARY: Readonly<Record<UnaryOp, (x: number) => number>> = {
  neg: negateF32,
  abs: Math.abs,
  sqrt: sqrtF32,
  rsqrt: rsqrtF32,
  exp: expF32,
  exp2: exp2F32,
  log: logF32,
  tanh: tanhF32,
  sigmoid: sigmoidF32,
  erf: erfF32,
  gelu: geluF32,
  "gelu-tanh": geluTanhF32,
  silu,
  relu: reluF32,
};

/** The function of a unary op, on one f32; an infinity where it is not finite. */
export function unaryFunction(op: UnaryOp): (x: number) => number {
  return UNARY[op];
}

export function unary(node: NodeOf<UnaryOp>, [x]: Inputs): NodeOutcome {
  return f32Result(node, Array.from(f32Of(x), UNARY[node.op]));
}

const BINARY_F32: Readonly<Record<BinaryOp, (x: number, y: number) => number>> = {
  add: addF32,
  sub: subtractF32,
  mul: multiplyF32,
  div: divideF32,
  min: (x, y) => (x < y ? x : y),
  max: (x, y) => (x > y ? x : y),
};

const BINARY_I32: Readonly<Record<Exclude<BinaryOp, "div">, (x: bigint, y: bigint) => bigint>> = {
  add: (x, y) => x + y,
  sub: (x, y) => x - y,
  mul: (x, y) => x * y,
  min: (x, y) => (x < y ? x : y),
  max: (x, y) => (x > y ? x : y),
};

export function binary(node: NodeOf<BinaryOp>, [left, right]: Inputs): NodeOutcome {
  if (left?.element === "i32") {
    assert(node.op !== "div", "i32 are not divided");
    const f = BINARY_I32[node.op];
    const y = i32Of(right);
    const values = Array.from(left.data, (x, i) => f(BigInt(x), BigInt(y[i]!)));
    return i32Result(
      node,
      values.map((value) => Number(BigInt.asIntN(32, value))),
    );
  }
  const f = BINARY_F32[node.op];
  const y = f32Of(right);
  return f32Result(
    node,
    Array.from(f32Of(left), (x, i) => f(x, y[i]!)),
  );
}

const COMPARE: Readonly<Record<CompareOp, (x: number, y: number) => boolean>> = {
  equal: (x, y) => x === y,
  less: (x, y) => x < y,
  "less-or-equal": (x, y) => x <= y,
};

export function compare(node: NodeOf<CompareOp>, [left, right]: Inputs): HostTensor {
  const [x, y] =
    left?.element === "i32" ? [i32Of(left), i32Of(right)] : [f32Of(left), f32Of(right)];
  return boolResult(
    node,
    Array.from(x, (value, i) => COMPARE[node.op](value, y[i]!)),
  );
}

export function logic(node: NodeOf<LogicOp>, [left, right]: Inputs): HostTensor {
  const x = boolOf(left);
  if (node.op === "not")
    return boolResult(
      node,
      Array.from(x, (bit) => bit === 0),
    );
  const y = boolOf(right);
  const wanted = node.op === "and" ? 2 : 1;
  return boolResult(
    node,
    Array.from(x, (bit, i) => bit + y[i]! >= wanted),
  );
}

export function convert(node: NodeOf<"convert">, [x]: Inputs): NodeOutcome {
  const from = present(x);
  if (from.element === "f32") return i32Result(node, Array.from(from.data, roundToI32));
  assert(from.element === "i32" || from.element === "bool", "nothing to convert");
  if (node.type.element === "i32") return i32Result(node, from.data);
  return f32Result(
    node,
    Array.from(from.data, (value) => roundToF32(BigInt(value), 0)),
  );
}
