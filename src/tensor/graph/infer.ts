// The type of each op's result from the types of its operands, and all checks of an op: this is the one
// definition of which nodes are valid. Runs on symbolic sizes when a graph is built or decoded, and again
// on the sizes of a run (as constants), where conditions that depend on symbols become exact.

import { TensorError } from "../error.ts";
import { ATTENTION_BITS } from "../precision.ts";
import { isEpsilon } from "../op-check.ts";
import type { Dim, DimBounds } from "./dimension.ts";
import { dim, equalShapes } from "./dimension.ts";
import { findHostFault, hostType } from "./host-tensor.ts";
import { inferLayout } from "./infer-layout.ts";
import { GRAPH_LIMITS, OP_OPERANDS } from "./op-list.ts";
import type { Op } from "./op.ts";
import { TypeCheck } from "./type-check.ts";
import type { PlainType, TensorType } from "./value.ts";

/**
 * The type of a node. `claimed` is needed where nothing else gives the sizes (input, iota, reshape, slice,
 * pad, broadcast, patches, fold, scatter-add, top-k, convert, random-bits), and is checked there.
 * @throws TensorError `tensor/type`, `tensor/attribute`, `tensor/limit`
 */
export function inferType(
  op: Op<Dim>,
  inputs: readonly TensorType<Dim>[],
  claimed: TensorType<Dim> | undefined,
  bounds: DimBounds,
): TensorType<Dim> {
  const check = new TypeCheck(op, inputs, claimed, bounds);
  const operands = OP_OPERANDS[op.op];
  if (operands === "any" ? inputs.length === 0 : inputs.length !== operands) {
    throw new TensorError({
      code: "tensor/attribute",
      op: op.op,
      attribute: "operands",
      expected: operands === "any" ? "at least one" : String(operands),
      actual: String(inputs.length),
    });
  }
  return check.bounded(infer(check, op));
}

function infer(check: TypeCheck, op: Op<Dim>): TensorType<Dim> {
  switch (op.op) {
    case "input":
      return inferInput(check, op.name);
    case "constant":
      return inferConstant(check, op);
    case "iota":
    case "reshape":
    case "transpose":
    case "slice":
    case "concat":
    case "pad":
    case "broadcast":
    case "gather":
    case "scatter-add":
    case "take-along":
    case "patches":
    case "fold":
      return inferLayout(check, op);
    case "neg":
    case "abs":
    case "sqrt":
    case "rsqrt":
    case "exp":
    case "exp2":
    case "log":
    case "tanh":
    case "sigmoid":
    case "erf":
    case "gelu":
    case "gelu-tanh":
    case "silu":
    case "relu":
      return check.plain(0, "f32");
    case "add":
    case "sub":
    case "mul":
    case "min":
    case "max":
      return alike(check, check.plain(0, "f32", "i32"));
    case "div":
      return alike(check, check.plain(0, "f32"));
    case "equal":
    case "less":
    case "less-or-equal":
      return { element: "bool", shape: alike(check, check.plain(0, "f32", "i32")).shape };
    case "and":
    case "or":
      return alike(check, check.plain(0, "bool"));
    case "not":
      return check.plain(0, "bool");
    case "select": {
      check.shape(0, check.plain(1, "f32", "i32", "bool").shape);
      check.plain(0, "bool");
      const type = check.plain(1, "f32", "i32", "bool");
      check.plain(2, type.element);
      check.shape(2, type.shape);
      return type;
    }
    case "convert":
      return inferConvert(check);
    case "sum":
    case "mean":
    case "variance":
      return inferReduction(check, op);
    case "reduce-max": {
      const { shape, columns } = row(check, GRAPH_LIMITS.elements);
      check.atLeast(0, "columns", columns, 1);
      return { element: "f32", shape };
    }
    case "argmax": {
      const { shape, columns } = row(check, GRAPH_LIMITS.elements);
      check.atLeast(0, "columns", columns, 1);
      return { element: "i32", shape };
    }
    case "top-k": {
      const { shape, columns } = row(check, GRAPH_LIMITS.columns);
      const claimed = check.claimed();
      const count = claimed.shape.at(-1);
      const fits = claimed.element === "i32" && equalShapes(claimed.shape.slice(0, -1), shape);
      if (!fits || count === undefined) throw check.wrong("result", "i32 of as many rows");
      check.ordered("result", "k not above the columns", count, columns);
      return { element: "i32", shape: [...shape, count] };
    }
    case "rms-norm":
    case "layer-norm": {
      const limit = op.op === "rms-norm" ? GRAPH_LIMITS.contraction : GRAPH_LIMITS.varianceColumns;
      check.attribute(isEpsilon(op.epsilon), "epsilon", "an f32 in 0..1", op.epsilon);
      row(check, limit);
      return check.plain(0, "f32");
    }
    case "softmax":
      return inferSoftmax(check, op.causal);
    case "log-softmax":
      row(check, GRAPH_LIMITS.columns);
      return check.plain(0, "f32");
    case "cross-entropy": {
      const { shape, columns } = row(check, GRAPH_LIMITS.columns);
      check.plain(1, "i32");
      check.shape(1, shape);
      check.atLeast(0, "columns", columns, 1);
      return { element: "f32", shape };
    }
    case "quantize": {
      check.integer("bits", op.bits, 8, 16);
      const { shape } = check.plain(0, "f32");
      check.rank(0, 1);
      return { element: "bfp", shape, bits: op.bits, scaled: false };
    }
    case "quantize-columns": {
      check.attribute(op.bits === 8 || op.bits === 14, "bits", "8 or 14", op.bits);
      const { shape } = check.plain(0, "f32");
      check.rank(0, 1);
      return { element: "bfp", shape, bits: op.bits, scaled: true };
    }
    case "dequantize":
      return { element: "f32", shape: check.bfp(0).shape };
    case "matmul":
      return { element: "f32", shape: contract(check) };
    case "matmul-grid":
      exponent(check, 2);
      return { element: "i64", shape: contract(check) };
    case "to-grid":
      exponent(check, 1);
      return { element: "i64", shape: check.plain(0, "f32").shape };
    case "from-grid":
      exponent(check, 1);
      return { element: "f32", shape: check.plain(0, "i64").shape };
    case "grid-add":
      return alike(check, check.plain(0, "i64"));
    case "rotary":
      return inferRotary(check, op.steps);
    case "attention":
      return inferAttention(check, op.causal);
    case "attention-scores":
      return inferScores(check, op.causal);
    case "attention-combine":
      return inferCombine(check, op.causal);
    case "random-bits": {
      key(check, 0);
      const claimed = check.claimed();
      if (claimed.element !== "i32") throw check.wrong("result", "i32");
      return claimed;
    }
    case "dropout":
      key(check, 1);
      check.integer("keep", op.keep, 1, 65_536);
      return check.plain(0, "f32");
    case "sample":
      return inferSample(check, op);
  }
}

function inferInput(check: TypeCheck, name: string): TensorType<Dim> {
  check.attribute(isName(name), "name", "1 to 128 printable ASCII characters", name);
  const type = check.claimed();
  if (type.element === "bfp") {
    check.integer("bits", type.bits, 8, 16);
    check.require(type.shape.length > 0, "result", "an axis");
    const fits = !type.scaled || type.bits === 8 || type.bits === 14;
    check.require(fits, "result", "8 or 14 bits where scaled");
  }
  return type;
}

/** Whether a text can name an input, an output or a symbol. */
export function isName(name: string): boolean {
  return /^[!-~]+$/.test(name) && name.length <= GRAPH_LIMITS.nameBytes;
}

function inferConstant(
  check: TypeCheck,
  op: Extract<Op<Dim>, { op: "constant" }>,
): TensorType<Dim> {
  const fault = findHostFault(op.value);
  check.attribute(fault === undefined, "value", "a valid tensor", fault);
  const type = hostType(op.value);
  return { ...type, shape: type.shape.map(dim) };
}

/** Both operands have one type. */
function alike(check: TypeCheck, type: PlainType<Dim>): PlainType<Dim> {
  check.plain(1, type.element);
  check.shape(1, type.shape);
  return type;
}

/** The leading axes and the columns of the first operand, an f32 with at least one axis. */
function row(check: TypeCheck, columnsMax: number): { shape: readonly Dim[]; columns: Dim } {
  const { shape } = check.plain(0, "f32");
  check.rank(0, 1);
  const columns = shape.at(-1)!;
  check.atMost("columns", columns, columnsMax);
  return { shape: shape.slice(0, -1), columns };
}

function inferConvert(check: TypeCheck): TensorType<Dim> {
  const { element, shape } = check.plain(0, "f32", "i32", "bool");
  const to = check.claimed().element;
  const pairs = ["i32 f32", "bool f32", "bool i32", "f32 i32"];
  check.require(pairs.includes(`${element} ${to}`), "result", `what ${element} converts to`);
  return { element: to as "f32" | "i32", shape };
}

function inferReduction(
  check: TypeCheck,
  op: { op: "sum" | "mean" | "variance"; bits: number },
): TensorType<Dim> {
  const isVariance = op.op === "variance";
  const fits = op.bits === 16 || (op.bits === 24 && !isVariance);
  check.attribute(fits, "bits", isVariance ? "16" : "16 or 24", op.bits);
  const limit = isVariance ? GRAPH_LIMITS.varianceColumns : GRAPH_LIMITS.columns;
  const { shape, columns } = row(check, limit);
  if (op.op !== "sum") check.atLeast(0, "columns", columns, 1);
  return { element: "f32", shape };
}

function inferSoftmax(check: TypeCheck, causal: boolean): TensorType<Dim> {
  row(check, GRAPH_LIMITS.columns);
  const type = check.plain(0, "f32");
  if (!causal) return type;
  check.rank(0, 2);
  const [rows, columns] = type.shape.slice(-2);
  check.ordered(0, "no more rows than columns", rows!, columns!);
  return type;
}

/** The result's shape of a contraction of the first two operands. */
function contract(check: TypeCheck): readonly Dim[] {
  const left = check.bfp(0);
  const right = check.bfp(1);
  check.require(!left.scaled, 0, "bfp without scales");
  check.rank(0, 2);
  check.rank(1, 2);
  const [rows, length] = left.shape.slice(-2);
  const [columns, rightLength] = right.shape.slice(-2);
  check.same(1, "a contraction length", rightLength!, length!);
  check.atMost("contraction length", length!, GRAPH_LIMITS.contraction);
  const batch = left.shape.slice(0, -2);
  if (right.shape.length > 2) check.shape(1, [...batch, columns!, length!]);
  return [...batch, rows!, columns!];
}

/** An operand that is the exponent of a grid. */
function exponent(check: TypeCheck, input: number): void {
  check.plain(input, "i32");
  check.shape(input, []);
}

/** An operand that is the key of a random stream. */
function key(check: TypeCheck, input: number): void {
  check.plain(input, "i32");
  check.shape(input, [dim(4)]);
}

function headSize(check: TypeCheck, input: number, size: Dim): number {
  const d = check.constantSize(input, "head size", size);
  const fits = d >= 2 && d % 2 === 0 && d <= GRAPH_LIMITS.headSize;
  check.require(fits, input, `an even head size up to ${GRAPH_LIMITS.headSize}`);
  return d;
}

function inferRotary(check: TypeCheck, steps: readonly number[]): TensorType<Dim> {
  const type = check.plain(0, "f32");
  check.rank(0, 2);
  const size = headSize(check, 0, type.shape.at(-1)!);
  check.attribute(steps.length * 2 === size, "steps", `${size / 2} steps`, steps);
  for (const step of steps) check.integer("steps", step, 0, 2 ** 32 - 1);
  check.plain(1, "i32");
  check.shape(1, type.shape.slice(0, -2));
  return type;
}

/** Batch, positions, heads and head size of keys or values, which fit `heads` query heads. */
function cached(check: TypeCheck, input: number, batch: Dim, heads: Dim): readonly Dim[] {
  const { shape } = check.bfp(input, ATTENTION_BITS);
  check.rank(input, 4, 4);
  check.same(input, "a batch", shape[0]!, batch);
  check.atMost("positions", shape[1]!, GRAPH_LIMITS.positions);
  const groups = check.constantSize(input, "number of heads", shape[2]!);
  const queryHeads = check.constantSize(0, "number of heads", heads);
  const fits = groups >= 1 && queryHeads % groups === 0;
  check.require(fits, input, `a number of heads that divides ${queryHeads}`);
  headSize(check, input, shape[3]!);
  return shape;
}

/** Whether `rows` query rows fit to `positions`. */
function visible(check: TypeCheck, rows: Dim, positions: Dim, causal: boolean): void {
  if (causal) check.ordered(0, "no more rows than positions", rows, positions);
  else check.atLeast(1, "positions", positions, 1);
}

function inferAttention(check: TypeCheck, causal: boolean): TensorType<Dim> {
  const { shape } = check.bfp(0, ATTENTION_BITS);
  check.rank(0, 4, 4);
  const keys = cached(check, 1, shape[0]!, shape[2]!);
  check.same(1, "a head size", keys[3]!, shape[3]!);
  check.bfp(2, ATTENTION_BITS);
  check.shape(2, keys);
  visible(check, shape[1]!, keys[1]!, causal);
  return { element: "f32", shape };
}

function inferScores(check: TypeCheck, causal: boolean): TensorType<Dim> {
  const { shape } = check.bfp(0, ATTENTION_BITS);
  check.rank(0, 4, 4);
  const keys = cached(check, 1, shape[0]!, shape[2]!);
  check.same(1, "a head size", keys[3]!, shape[3]!);
  visible(check, shape[1]!, keys[1]!, causal);
  return { element: "i32", shape: [shape[0]!, shape[2]!, shape[1]!, keys[1]!] };
}

function inferCombine(check: TypeCheck, causal: boolean): TensorType<Dim> {
  const { shape } = check.plain(0, "i32");
  check.rank(0, 4, 4);
  const values = cached(check, 1, shape[0]!, shape[1]!);
  check.same(1, "a number of positions", values[1]!, shape[3]!);
  visible(check, shape[2]!, shape[3]!, causal);
  return { element: "f32", shape: [shape[0]!, shape[2]!, shape[1]!, values[3]!] };
}

function inferSample(check: TypeCheck, op: Extract<Op<Dim>, { op: "sample" }>): TensorType<Dim> {
  check.integer("temperature", op.temperature, 0, 2 ** 20);
  check.integer("topK", op.topK, 0, 2 ** 31 - 1);
  check.integer("topP", op.topP, 1, 65_536);
  const { shape, columns } = row(check, GRAPH_LIMITS.columns);
  check.rank(0, 2, 2);
  check.atLeast(0, "columns", columns, 1);
  check.plain(1, "i32");
  check.shape(1, [shape[0]!, dim(4)]);
  return { element: "i32", shape };
}
