// What shape inference is written in: checks of one op that end in an error naming the op, the operand,
// what was expected and what was there.

import { TensorError } from "../error.ts";
import type { Dim, DimBounds } from "./dimension.ts";
import {
  constantOfDim,
  equalDims,
  equalShapes,
  formatDim,
  maximumOfDim,
  productOfDims,
  subtractDims,
} from "./dimension.ts";
import { GRAPH_LIMITS } from "./op-list.ts";
import type { Op } from "./op.ts";
import type { BfpType, ElementType, PlainType, TensorType } from "./value.ts";

/** Text of a type: `f32[batch, 4]`, `bfp14[2, 3]`, `bfp8 scaled[2, 3]`. */
export function formatType(type: TensorType<Dim>): string {
  const kind =
    type.element === "bfp" ? `bfp${type.bits}${type.scaled ? " scaled" : ""}` : type.element;
  return `${kind}${formatShape(type.shape)}`;
}

/** Text of a shape: `[batch, 4]`. */
export function formatShape(shape: readonly Dim[]): string {
  return `[${shape.map(formatDim).join(", ")}]`;
}

/** Whether two types are the same. */
export function equalTypes(left: TensorType<Dim>, right: TensorType<Dim>): boolean {
  if (!equalShapes(left.shape, right.shape)) return false;
  if (left.element !== "bfp" || right.element !== "bfp") return left.element === right.element;
  return left.bits === right.bits && left.scaled === right.scaled;
}

/** The checks of one node. */
export class TypeCheck {
  readonly op: Op<Dim>;
  readonly inputs: readonly TensorType<Dim>[];
  readonly #claimed: TensorType<Dim> | undefined;
  readonly #bounds: DimBounds;

  constructor(
    op: Op<Dim>,
    inputs: readonly TensorType<Dim>[],
    claimed: TensorType<Dim> | undefined,
    bounds: DimBounds,
  ) {
    this.op = op;
    this.inputs = inputs;
    this.#claimed = claimed;
    this.#bounds = bounds;
  }

  /** The operand's type, its element being one of those listed. */
  plain(input: number, ...elements: PlainType<Dim>["element"][]): PlainType<Dim> {
    const type = this.inputs[input]!;
    if (type.element === "bfp" || !elements.includes(type.element)) {
      throw this.wrong(input, elements.join(" or "));
    }
    return type;
  }

  /** The operand's type, which is bfp. */
  bfp(input: number, bits?: number): BfpType<Dim> {
    const type = this.inputs[input]!;
    if (type.element !== "bfp") throw this.wrong(input, bits === undefined ? "bfp" : `bfp${bits}`);
    if (bits !== undefined && (type.bits !== bits || type.scaled)) {
      throw this.wrong(input, `bfp${bits}`);
    }
    return type;
  }

  /** The operand's type, its element being any but those listed. */
  anyBut(input: number, ...elements: ElementType[]): TensorType<Dim> {
    const type = this.inputs[input]!;
    if (elements.includes(type.element)) throw this.wrong(input, `no ${elements.join(", no ")}`);
    return type;
  }

  /** The type that the node is to have, for ops whose sizes nothing else gives. */
  claimed(): TensorType<Dim> {
    if (this.#claimed !== undefined) return this.#claimed;
    const { op } = this.op;
    throw new TensorError({
      code: "tensor/type",
      op,
      input: "result",
      expected: "a type",
      actual: "none",
    });
  }

  /** Stops unless an operand is as said. */
  require(condition: boolean, input: number | "result", expected: string): void {
    if (!condition) throw this.wrong(input, expected);
  }

  /** Stops unless a parameter is as said. */
  attribute(condition: boolean, attribute: string, expected: string, actual: unknown): void {
    if (condition) return;
    const { op } = this.op;
    const text = Array.isArray(actual) ? `[${actual.join(", ")}]` : String(actual);
    throw new TensorError({ code: "tensor/attribute", op, attribute, expected, actual: text });
  }

  /** Stops unless `min <= value <= max` and the value is an integer. */
  integer(attribute: string, value: number, min: number, max: number): void {
    const fits = Number.isInteger(value) && value >= min && value <= max;
    this.attribute(fits, attribute, `an integer in ${min}..${max}`, value);
  }

  /** The operand has one of these numbers of axes. */
  rank(input: number, min: number, max: number = GRAPH_LIMITS.rank): void {
    const { length } = this.inputs[input]!.shape;
    const expected = min === max ? `${min} axes` : `${min} to ${max} axes`;
    this.require(length >= min && length <= max, input, expected);
  }

  /** The operand has exactly this shape. */
  shape(input: number, shape: readonly Dim[]): void {
    const expected = `the shape ${formatShape(shape)}`;
    this.require(equalShapes(this.inputs[input]!.shape, shape), input, expected);
  }

  /** Two sizes are the same polynomial. */
  same(input: number, axis: string, actual: Dim, expected: Dim): void {
    this.require(equalDims(actual, expected), input, `${axis} of ${formatDim(expected)}`);
  }

  /** A size may not exceed a limit for any value of its symbols. */
  atMost(what: string, value: Dim, limit: number): void {
    const actual = maximumOfDim(value, this.#bounds);
    if (actual > limit) {
      throw new TensorError({
        code: "tensor/limit",
        what: `${this.op.op}: ${what}`,
        limit,
        actual,
      });
    }
  }

  /** A size must be able to reach a minimum; once sizes are known, it has reached it. */
  atLeast(input: number | "result", what: string, value: Dim, minimum: number): void {
    const reached = maximumOfDim(value, this.#bounds) >= minimum;
    this.require(reached, input, `${what} of at least ${minimum}`);
  }

  /** One size must be able to be at most another; once sizes are known, it is. */
  ordered(input: number | "result", what: string, small: Dim, large: Dim): void {
    this.atLeast(input, what, subtractDims(large, small), 0);
  }

  /** A size that is the same in every run. */
  constantSize(input: number, what: string, value: Dim): number {
    const constant = constantOfDim(value);
    if (constant === undefined) throw this.wrong(input, `a constant ${what}`);
    return constant;
  }

  /** Sizes that are not negative and within the limits; true of every type of a graph. */
  bounded(type: TensorType<Dim>): TensorType<Dim> {
    const { elements, rank } = GRAPH_LIMITS;
    const fits = type.shape.length <= rank;
    if (!fits) throw this.fault("result", `at most ${rank} axes`, formatType(type));
    for (const size of type.shape) {
      if (maximumOfDim(size, this.#bounds) < 0) {
        throw this.fault("result", "sizes from 0 on", formatType(type));
      }
      this.atMost("size", size, elements);
    }
    // A product of upper bounds: nothing is multiplied out that a hostile graph could make long.
    const largest = type.shape.reduce((n, size) => n * maximumOfDim(size, this.#bounds), 1);
    if (largest > elements) {
      const what = `${this.op.op}: elements`;
      throw new TensorError({ code: "tensor/limit", what, limit: elements, actual: largest });
    }
    return type;
  }

  /** Whether two shapes have the same number of elements for all values of their symbols. */
  sameCount(left: readonly Dim[], right: readonly Dim[]): boolean {
    return equalDims(productOfDims(left), productOfDims(right));
  }

  /** The error of an operand that is not as expected. */
  wrong(input: number | "result", expected: string): TensorError {
    const type = input === "result" ? this.claimed() : this.inputs[input]!;
    return this.fault(input, expected, formatType(type));
  }

  /** The error of an operand with what stands for it. */
  fault(input: number | "result", expected: string, actual: string): TensorError {
    return new TensorError({ code: "tensor/type", op: this.op.op, input, expected, actual });
  }
}
