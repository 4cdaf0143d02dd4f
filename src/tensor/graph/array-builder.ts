// Graphs of arrays: numpy's broadcasting, axes that count from either end, matmul of f32 operands. All of it
// comes down to the ops of op-builder.ts; layers of models are in builder.ts.

import { present } from "gyrotron/base";
import { TensorError } from "../error.ts";
import type { Dim, DimLike } from "./dimension.ts";
import { addDims, dim, equalDims, multiplyDims, productOfDims } from "./dimension.ts";
import { isOne, OpBuilder, type Value } from "./op-builder.ts";
import type { BinaryOp, CompareOp, Op } from "./op.ts";
import { formatShape } from "./type-check.ts";
import type { HostTensor } from "./value.ts";

/** A value, or a number that stands for a scalar of the other operand's kind. */
export type Operand = Value | number;

/** Which axes a reduction runs over: one, several, or all if left out. Negative ones count from the end. */
export interface ReduceOptions {
  readonly axis?: number | readonly number[];
  readonly keepDims?: boolean;
  /** Width of the common grid, 16 or 24. */
  readonly bits?: 16 | 24;
}

/** How matmul sees its operands. */
export interface MatmulOptions {
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
  /** Width that f32 operands are quantized to; 14 if left out. */
  readonly bits?: number;
  /** Width of the right operand, where it differs. */
  readonly bitsB?: number;
}

/** Builds graphs of arrays. */
export class ArrayBuilder extends OpBuilder {
  add(x: Operand, y: Operand): Value {
    return this.#binary("add", x, y);
  }

  sub(x: Operand, y: Operand): Value {
    return this.#binary("sub", x, y);
  }

  mul(x: Operand, y: Operand): Value {
    return this.#binary("mul", x, y);
  }

  div(x: Operand, y: Operand): Value {
    return this.#binary("div", x, y);
  }

  min(x: Operand, y: Operand): Value {
    return this.#binary("min", x, y);
  }

  max(x: Operand, y: Operand): Value {
    return this.#binary("max", x, y);
  }

  equal(x: Operand, y: Operand): Value {
    return this.#binary("equal", x, y);
  }

  less(x: Operand, y: Operand): Value {
    return this.#binary("less", x, y);
  }

  lessOrEqual(x: Operand, y: Operand): Value {
    return this.#binary("less-or-equal", x, y);
  }

  and(x: Value, y: Value): Value {
    return this.#binary("and", x, y);
  }

  or(x: Value, y: Value): Value {
    return this.#binary("or", x, y);
  }

  /** `x` where the mask is set, else `y`. */
  select(mask: Value, x: Operand, y: Operand): Value {
    const [left, right] = this.#operands(x, y);
    const shape = this.#commonShape("select", [mask.shape, left.shape, right.shape]);
    return this.node({ op: "select" }, [
      this.broadcast(mask, shape),
      this.broadcast(left, shape),
      this.broadcast(right, shape),
    ]);
  }

  /** Repeats as numpy does: axes are added in front, and those of size 1 repeated. */
  broadcast(x: Value, shape: readonly DimLike[]): Value {
    const missing = shape.length - x.shape.length;
    if (missing < 0) throw this.#shapeFault("broadcast", x, shape);
    const ones = Array.from({ length: missing }, () => 1);
    return this.repeat(this.reshape(x, [...ones, ...x.shape]), shape);
  }

  /** Exchanges two axes, the last two if left out. */
  swapAxes(x: Value, first = -2, second = -1): Value {
    const permutation = x.shape.map((_, i) => i);
    const a = this.#axis("transpose", x, first);
    const b = this.#axis("transpose", x, second);
    permutation[a] = b;
    permutation[b] = a;
    return this.transpose(x, permutation);
  }

  /** Moves one axis to the end. */
  moveAxisToEnd(x: Value, axis: number): Value {
    const from = this.#axis("transpose", x, axis);
    return this.transpose(x, [...x.shape.keys().filter((i) => i !== from), from]);
  }

  /** Adds an axis of size 1. */
  expandDims(x: Value, axis: number): Value {
    const rank = x.shape.length + 1;
    const at = axis < 0 ? axis + rank : axis;
    return this.reshape(x, [...x.shape.slice(0, at), 1, ...x.shape.slice(at)]);
  }

  /** Along one axis: `size` elements from `start`, every `stride`-th. */
  slice(x: Value, axis: number, start: DimLike, size: DimLike, stride = 1): Value {
    const at = this.#axis("slice", x, axis);
    const shape = x.shape.map((old, i) => (i === at ? dim(size) : old));
    const starts = x.shape.map((_, i) => (i === at ? dim(start) : dim(0)));
    const strides = x.shape.map((_, i) => (i === at ? stride : 1));
    return this.node({ op: "slice", starts, strides }, [x], { ...x.type, shape });
  }

  /** Joins values along an axis. */
  concat(values: readonly Value[], axis: number): Value {
    const [first] = values;
    if (first === undefined)
      throw new TensorError({ code: "tensor/graph", what: "concat of nothing" });
    return this.node({ op: "concat", axis: this.#axis("concat", first, axis) }, values);
  }

  /** Adds elements in front, behind and between neighbours, for each axis. */
  pad(
    x: Value,
    options: {
      low?: readonly DimLike[];
      high?: readonly DimLike[];
      interior?: readonly number[];
      value?: number;
    },
  ): Value {
    const low = x.shape.map((_, i) => dim(options.low?.[i] ?? 0));
    const interior = x.shape.map((_, i) => options.interior?.[i] ?? 0);
    const shape = x.shape.map((size, i) => {
      const spread = addDims(size, multiplyDims(addDims(size, -1), interior[i]!));
      return addDims(addDims(spread, low[i]!), options.high?.[i] ?? 0);
    });
    const op: Op<Dim> = { op: "pad", low, interior, value: options.value ?? 0 };
    return this.node(op, [x], { ...x.type, shape });
  }

  /** A value of one number in every element. */
  full(shape: readonly DimLike[], value: number, element: "f32" | "i32" = "f32"): Value {
    return this.broadcast(this.#scalar(value, element), shape);
  }

  /** The sum over axes; 24 bits if left out. */
  sum(x: Value, options: ReduceOptions = {}): Value {
    const { bits = 24 } = options;
    return this.#reduce(x, options, (rows) => this.node({ op: "sum", bits }, [rows]));
  }

  /** The mean over axes; 24 bits if left out. */
  mean(x: Value, options: ReduceOptions = {}): Value {
    const { bits = 24 } = options;
    return this.#reduce(x, options, (rows) => this.node({ op: "mean", bits }, [rows]));
  }

  /** The population's variance over axes, of 16 bits. */
  variance(x: Value, options: Omit<ReduceOptions, "bits"> = {}): Value {
    return this.#reduce(x, options, (rows) => this.node({ op: "variance", bits: 16 }, [rows]));
  }

  /** The largest value over axes. */
  reduceMax(x: Value, options: Omit<ReduceOptions, "bits"> = {}): Value {
    return this.#reduce(x, options, (rows) => this.node({ op: "reduce-max" }, [rows]));
  }

  /** The smallest value over axes. */
  reduceMin(x: Value, options: Omit<ReduceOptions, "bits"> = {}): Value {
    return this.neg(this.reduceMax(this.neg(x), options));
  }

  /** The lowest index of the largest value along one axis. */
  argmax(x: Value, options: { axis?: number; keepDims?: boolean } = {}): Value {
    const { axis = -1, keepDims = false } = options;
    return this.#reduce(x, { axis, keepDims }, (rows) => this.node({ op: "argmax" }, [rows]));
  }

  /** The `k` largest values along an axis and their indices, by falling value, equal ones by rising index. */
  topK(x: Value, k: DimLike, axis = -1): { values: Value; indices: Value } {
    return this.alongAxisAll(x, axis, (rows) => {
      const type = { element: "i32" as const, shape: [...rows.shape.slice(0, -1), k] };
      const indices = this.node({ op: "top-k" }, [rows], type);
      return { values: this.takeAlong(rows, indices), indices };
    });
  }

  /** Softmax along an axis. Causal: row t of the last two axes [T, P] sees the columns 0..P-T+t. */
  softmax(x: Value, options: { axis?: number; causal?: boolean } = {}): Value {
    const { axis = -1, causal = false } = options;
    return this.alongAxis(x, axis, (rows) => this.node({ op: "softmax", causal }, [rows]));
  }

  logSoftmax(x: Value, options: { axis?: number } = {}): Value {
    return this.alongAxis(x, options.axis ?? -1, (rows) =>
      this.node({ op: "log-softmax" }, [rows]),
    );
  }

  /** The negative log likelihood of the targets i32 `[...]` under logits `[..., V]`. */
  crossEntropy(logits: Value, targets: Value): Value {
    return this.node({ op: "cross-entropy" }, [logits, targets]);
  }

  /** 1 where the index is the target's, else 0: i32 `[...]` to f32 `[..., size]`. */
  oneHot(indices: Value, size: DimLike): Value {
    const shape = [...indices.shape, dim(size)];
    const columns = this.iota(shape, shape.length - 1);
    return this.convert(this.equal(columns, this.expandDims(indices, -1)), "f32");
  }

  /**
   * `[..., M, K]` by `[..., K, N]`. f32 operands are quantized to `bits` along K; bfp operands are taken as they
   * are, a left one `[..., M, K]` and a right one `[..., N, K]` with `transposeB`. A right operand of two axes
   * is shared; other leading axes broadcast.
   */
  matmul(a: Value, b: Value, options: MatmulOptions = {}): Value {
    const { transposeA = false, transposeB = false, bits = 14, bitsB = bits } = options;
    const left = this.#rowsForMatmul(a, 0, transposeA, bits);
    const right = this.#rowsForMatmul(b, 1, !transposeB, bitsB);
    if (right.shape.length <= 2) return this.node({ op: "matmul" }, [left, right]);
    const batch = this.#commonShape("matmul", [left.shape.slice(0, -2), right.shape.slice(0, -2)]);
    return this.node({ op: "matmul" }, [
      this.broadcast(left, [...batch, ...left.shape.slice(-2)]),
      this.broadcast(right, [...batch, ...right.shape.slice(-2)]),
    ]);
  }

  /** Runs `body` with an axis at the end and puts it back. */
  protected alongAxis(x: Value, axis: number, body: (rows: Value) => Value): Value {
    return this.alongAxisAll(x, axis, (rows) => ({ result: body(rows) })).result;
  }

  /** The same for several results. */
  protected alongAxisAll<R extends Readonly<Record<string, Value>>>(
    x: Value,
    axis: number,
    body: (rows: Value) => R,
  ): R {
    const at = this.#axis("transpose", x, axis);
    const last = x.shape.length - 1;
    const results = body(this.moveAxisToEnd(x, at));
    if (at === last) return results;
    const back = [...x.shape.keys()].map((i) => (i < at ? i : i === at ? last : i - 1));
    const entries = Object.entries(results);
    return Object.fromEntries(entries.map(([k, v]) => [k, this.transpose(v, back)])) as R;
  }

  #binary(op: BinaryOp | CompareOp | "and" | "or", x: Operand, y: Operand): Value {
    const [left, right] = this.#operands(x, y);
    const shape = this.#commonShape(op, [left.shape, right.shape]);
    return this.node({ op } as Op<Dim>, [
      this.broadcast(left, shape),
      this.broadcast(right, shape),
    ]);
  }

  #operands(x: Operand, y: Operand): [Value, Value] {
    const element = (other: Operand): "f32" | "i32" =>
      typeof other !== "number" && other.type.element === "i32" ? "i32" : "f32";
    return [
      typeof x === "number" ? this.#scalar(x, element(y)) : x,
      typeof y === "number" ? this.#scalar(y, element(x)) : y,
    ];
  }

  #scalar(value: number, element: "f32" | "i32"): Value {
    if (element === "f32") return this.constant(value);
    const tensor: HostTensor = { element, shape: [], data: Int32Array.of(value) };
    return this.constant(tensor);
  }

  /** The shape that all broadcast to. */
  #commonShape(op: string, shapes: readonly (readonly Dim[])[]): Dim[] {
    const rank = Math.max(...shapes.map(({ length }) => length));
    return Array.from({ length: rank }, (_, i) => {
      let common: Dim = dim(1);
      for (const shape of shapes) {
        const size = shape[shape.length - rank + i];
        if (size === undefined || isOne(size)) continue;
        if (!isOne(common) && !equalDims(common, size)) {
          throw this.#mismatch(op, shapes[0]!, shape);
        }
        common = size;
      }
      return common;
    });
  }

  #reduce(x: Value, options: ReduceOptions, reduce: (rows: Value) => Value): Value {
    const { axis, keepDims = false } = options;
    const list =
      axis === undefined ? [...x.shape.keys()] : typeof axis === "number" ? [axis] : axis;
    const dropped = new Set(list.map((at) => this.#axis("reduction", x, at)));
    const kept = [...x.shape.keys()].filter((i) => !dropped.has(i));
    const order = [...kept, ...[...x.shape.keys()].filter((i) => dropped.has(i))];
    const keptShape = kept.map((i) => present(x.shape[i]));
    const columns = productOfDims(order.slice(kept.length).map((i) => present(x.shape[i])));
    const rows = this.reshape(this.transpose(x, order), [...keptShape, columns]);
    const reduced = reduce(rows);
    if (!keepDims) return reduced;
    return this.reshape(
      reduced,
      x.shape.map((size, i) => (dropped.has(i) ? 1 : size)),
    );
  }

  /** An operand of matmul as bfp rows along K. */
  #rowsForMatmul(x: Value, input: number, transpose: boolean, bits: number): Value {
    this.expect(x, "matmul", input, "f32", "bfp");
    if (x.type.element === "f32") return this.quantize(transpose ? this.swapAxes(x) : x, bits);
    if (!transpose) return x;
    const expected = input === 0 ? "bfp [..., M, K]" : "bfp [..., N, K] with transposeB";
    const actual = "bfp along the other axis";
    throw new TensorError({ code: "tensor/type", op: "matmul", input, expected, actual });
  }

  #axis(op: string, x: Value, axis: number): number {
    const rank = x.shape.length;
    const at = axis < 0 ? axis + rank : axis;
    if (Number.isInteger(at) && at >= 0 && at < rank) return at;
    const expected = `an axis of ${rank}`;
    throw new TensorError({
      code: "tensor/attribute",
      op,
      attribute: "axis",
      expected,
      actual: String(axis),
    });
  }

  #shapeFault(op: string, x: Value, shape: readonly DimLike[]): TensorError {
    return this.#mismatch(op, shape.map(dim), x.shape);
  }

  #mismatch(op: string, expected: readonly Dim[], actual: readonly Dim[]): TensorError {
    return new TensorError({
      code: "tensor/type",
      op,
      input: 0,
      expected: `a shape that broadcasts to ${formatShape(expected)}`,
      actual: formatShape(actual),
    });
  }
}
