// Types of the ops that move values: one case of infer.ts for each. bfp values move by whole rows; i64
// values are only reshaped, permuted, cut, joined and repeated.

import type { Dim } from "./dimension.ts";
import { addDims, constantOfDim, dim, equalDims, multiplyDims } from "./dimension.ts";
import { GRAPH_LIMITS } from "./op-list.ts";
import type { Op, Window } from "./op.ts";
import type { TypeCheck } from "./type-check.ts";
import { equalTypes } from "./type-check.ts";
import type { TensorType } from "./value.ts";

/** An op of layout. */
export type LayoutOp = Extract<
  Op<Dim>,
  {
    op:
      | "iota"
      | "reshape"
      | "transpose"
      | "slice"
      | "concat"
      | "pad"
      | "broadcast"
      | "gather"
      | "scatter-add"
      | "take-along"
      | "patches"
      | "fold";
  }
>;

/** The type of an op of layout; see `inferType`. */
export function inferLayout(check: TypeCheck, op: LayoutOp): TensorType<Dim> {
  switch (op.op) {
    case "iota": {
      const claimed = check.claimed();
      if (claimed.element !== "i32") throw check.wrong("result", "i32");
      check.integer("axis", op.axis, 0, claimed.shape.length - 1);
      return claimed;
    }
    case "reshape":
      return inferReshape(check);
    case "transpose":
      return inferTranspose(check, op.permutation);
    case "slice":
      return inferSlice(check, op.starts, op.strides);
    case "concat":
      return inferConcat(check, op.axis);
    case "pad":
      return inferPad(check, op);
    case "broadcast":
      return inferBroadcast(check);
    case "gather":
      return inferGather(check);
    case "scatter-add":
      return inferScatterAdd(check);
    case "take-along": {
      const { element, shape } = check.plain(0, "f32", "i32");
      const indices = check.plain(1, "i32").shape;
      check.rank(0, 1);
      check.rank(1, shape.length, shape.length);
      check.shape(1, [...shape.slice(0, -1), indices.at(-1)!]);
      return { element, shape: indices };
    }
    case "patches":
      return inferPatches(check, op.window, op.value);
    case "fold":
      return inferFold(check, op.window);
  }
}

/** The operand's type with another shape. */
function reshaped(type: TensorType<Dim>, shape: readonly Dim[]): TensorType<Dim> {
  return { ...type, shape };
}

function isBfp(type: TensorType<Dim>): boolean {
  return type.element === "bfp";
}

/** The claimed type, which has the element of the first operand. */
function claimedLike(check: TypeCheck): TensorType<Dim> {
  const type = check.inputs[0]!;
  const claimed = check.claimed();
  if (!equalTypes(reshaped(type, claimed.shape), claimed)) {
    throw check.wrong("result", "the element of the operand");
  }
  return claimed;
}

/** Stops if a bfp value would be changed along its last axis. */
function keepsRows(check: TypeCheck, condition: boolean): void {
  check.require(!isBfp(check.inputs[0]!) || condition, 0, "no bfp along its last axis");
}

function inferReshape(check: TypeCheck): TensorType<Dim> {
  const type = check.inputs[0]!;
  const claimed = claimedLike(check);
  if (isBfp(type)) {
    const last = claimed.shape.at(-1);
    keepsRows(check, last !== undefined && equalDims(last, type.shape.at(-1)!));
  }
  check.require(check.sameCount(type.shape, claimed.shape), "result", "as many elements");
  return claimed;
}

function inferTranspose(check: TypeCheck, permutation: readonly number[]): TensorType<Dim> {
  const type = check.inputs[0]!;
  const { length } = type.shape;
  const isPermutation =
    permutation.length === length &&
    permutation.every((axis, i) => axis >= 0 && axis < length && permutation.indexOf(axis) === i) &&
    permutation.every(Number.isInteger);
  check.attribute(isPermutation, "permutation", `a permutation of ${length} axes`, permutation);
  keepsRows(check, permutation.at(-1) === length - 1);
  return reshaped(
    type,
    permutation.map((axis) => type.shape[axis]!),
  );
}

function inferSlice(
  check: TypeCheck,
  starts: readonly Dim[],
  strides: readonly number[],
): TensorType<Dim> {
  const { shape } = check.inputs[0]!;
  const claimed = claimedLike(check);
  perAxis(check, "starts", starts);
  perAxis(check, "strides", strides);
  check.require(claimed.shape.length === shape.length, "result", `${shape.length} axes`);
  for (const [axis, size] of shape.entries()) {
    const start = starts[axis]!;
    const stride = strides[axis]!;
    check.integer("strides", stride, 1, GRAPH_LIMITS.window);
    check.atLeast("result", "a start", start, 0);
    const count = claimed.shape[axis]!;
    if (constantOfDim(count) === 0) continue;
    const end = addDims(addDims(start, multiplyDims(addDims(count, -1), stride)), 1);
    check.ordered("result", `elements within axis ${axis} of the operand`, end, size);
  }
  const last = shape.length - 1;
  const isWhole = last >= 0 && equalDims(claimed.shape[last]!, shape[last]!);
  keepsRows(check, isWhole && constantOfDim(starts[last]!) === 0 && strides[last] === 1);
  return claimed;
}

function inferConcat(check: TypeCheck, axis: number): TensorType<Dim> {
  const first = check.inputs[0]!;
  check.attribute(
    check.inputs.length <= GRAPH_LIMITS.operands,
    "operands",
    `at most ${GRAPH_LIMITS.operands}`,
    check.inputs.length,
  );
  check.integer("axis", axis, 0, first.shape.length - 1);
  keepsRows(check, axis < first.shape.length - 1);
  let total: Dim = dim(0);
  for (const [i, type] of check.inputs.entries()) {
    const size = type.shape[axis] ?? dim(0);
    const shape = first.shape.map((other, j) => (j === axis ? size : other));
    const fits =
      type.shape.length === first.shape.length && equalTypes(type, reshaped(first, shape));
    check.require(fits, i, "the type of the first operand but for the axis");
    total = addDims(total, size);
  }
  return reshaped(
    first,
    first.shape.map((size, i) => (i === axis ? total : size)),
  );
}

function inferPad(check: TypeCheck, op: Extract<LayoutOp, { op: "pad" }>): TensorType<Dim> {
  const { element, shape } = check.plain(0, "f32", "i32", "bool");
  padValue(check, element, op.value);
  const claimed = claimedLike(check);
  perAxis(check, "low", op.low);
  perAxis(check, "interior", op.interior);
  check.require(claimed.shape.length === shape.length, "result", `${shape.length} axes`);
  for (const [axis, size] of shape.entries()) {
    const low = op.low[axis]!;
    const gap = op.interior[axis]!;
    check.integer("interior", gap, 0, GRAPH_LIMITS.window);
    check.atLeast("result", "low", low, 0);
    if (constantOfDim(size) === 0) continue;
    const end = addDims(low, windowOf(size, gap + 1));
    check.ordered("result", `room for axis ${axis} of the operand`, end, claimed.shape[axis]!);
  }
  return claimed;
}

/** `(count - 1) * stride + 1`. */
function windowOf(count: Dim, stride: number): Dim {
  return addDims(multiplyDims(addDims(count, -1), stride), 1);
}

function padValue(check: TypeCheck, element: string, value: number): void {
  if (element === "f32") {
    const fits = Math.fround(value) === value && Number.isFinite(value) && !Object.is(value, -0);
    check.attribute(fits, "value", "a finite f32 that is not -0", value);
  } else if (element === "i32") check.integer("value", value, -(2 ** 31), 2 ** 31 - 1);
  else check.integer("value", value, 0, 1);
}

function inferBroadcast(check: TypeCheck): TensorType<Dim> {
  const { shape } = check.inputs[0]!;
  const claimed = claimedLike(check);
  check.require(claimed.shape.length === shape.length, "result", `${shape.length} axes`);
  for (const [axis, size] of shape.entries()) {
    const fits = constantOfDim(size) === 1 || equalDims(size, claimed.shape[axis]!);
    check.require(fits, 0, `axis ${axis} of size 1 or that of the result`);
  }
  keepsRows(check, shape.length > 0 && equalDims(shape.at(-1)!, claimed.shape.at(-1)!));
  return claimed;
}

function inferGather(check: TypeCheck): TensorType<Dim> {
  const table = check.anyBut(0, "i64");
  check.rank(0, 1);
  keepsRows(check, table.shape.length > 1);
  return reshaped(table, [...check.plain(1, "i32").shape, ...table.shape.slice(1)]);
}

function inferScatterAdd(check: TypeCheck): TensorType<Dim> {
  const { shape } = check.plain(0, "f32");
  check.rank(0, 2, 2);
  check.plain(1, "i32");
  check.shape(1, shape.slice(0, 1));
  const claimed = claimedLike(check);
  check.require(claimed.shape.length === 2, "result", "2 axes");
  check.require(equalDims(claimed.shape[1]!, shape[1]!), "result", "the operand's columns");
  return claimed;
}

function checkWindow(check: TypeCheck, window: Window): void {
  const { window: max } = GRAPH_LIMITS;
  for (const name of ["kernel", "stride", "dilation", "padding"] as const) {
    const pair = window[name];
    check.attribute(pair.length === 2, name, "two numbers", pair);
    for (const value of pair) check.integer(name, value, name === "padding" ? 0 : 1, max);
  }
}

function inferPatches(check: TypeCheck, window: Window, value: number): TensorType<Dim> {
  checkWindow(check, window);
  const { shape } = check.plain(0, "f32");
  check.rank(0, 4, 4);
  padValue(check, "f32", value);
  const claimed = claimedLike(check);
  checkPatchShape(check, window, shape, claimed.shape, "result");
  return claimed;
}

function inferFold(check: TypeCheck, window: Window): TensorType<Dim> {
  checkWindow(check, window);
  const { shape } = check.plain(0, "f32");
  check.rank(0, 6, 6);
  const claimed = claimedLike(check);
  check.require(claimed.shape.length === 4, "result", "4 axes");
  checkPatchShape(check, window, claimed.shape, shape, 0);
  return claimed;
}

/** The shape [B, OH, OW, kh, kw, C] fits the image [B, H, W, C]; OH and OW are free. */
function checkPatchShape(
  check: TypeCheck,
  window: Window,
  image: readonly Dim[],
  patches: readonly Dim[],
  input: 0 | "result",
): void {
  const expected = [image[0]!, dim(window.kernel[0]), dim(window.kernel[1]), image[3]!];
  const actual = [patches[0], patches[3], patches[4], patches[5]];
  const fits =
    patches.length === 6 &&
    expected.every((size, i) => actual[i] !== undefined && equalDims(size, actual[i]));
  check.require(fits, input, "[B, OH, OW, kernel height, kernel width, C]");
}

function perAxis(check: TypeCheck, attribute: string, values: readonly unknown[]): void {
  const { length } = check.inputs[0]!.shape;
  check.attribute(values.length === length, attribute, `${length} values`, values.length);
}
