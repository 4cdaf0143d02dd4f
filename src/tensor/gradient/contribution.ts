// What reaches a value from its users on the way back. Parts of a gradient that must not share an exponent stay
// apart until something not linear needs their sum: the dense part of a softmax and its one-hot part, and
// contractions that may still end on a gradient grid.

import { present } from "gyrotron/base";
import type { Dim, GraphBuilder, Value } from "../graph/index.ts";

/** One part of the gradient of a value; the gradient is the sum of its parts. */
export type Contribution =
  | { readonly kind: "dense"; readonly value: Value }
  /** `weight` f32 `[...]` at the place `index` i32 `[...]` of the last axis, 0 elsewhere. */
  | { readonly kind: "one-hot"; readonly index: Value; readonly weight: Value }
  /** The contraction of two quantized operands, moved afterwards. */
  | {
      readonly kind: "contraction";
      readonly left: Value;
      readonly right: Value;
      readonly moves: readonly Move[];
    }
  /** Rows summed by index. */
  | {
      readonly kind: "scatter";
      readonly updates: Value;
      readonly indices: Value;
      readonly rows: Dim;
      readonly moves: readonly Move[];
    };

/** A step of layout that loses nothing and works on f32 and i64 alike. */
export type Move = (x: Value) => Value;

/** A contribution of f32 values. */
export function dense(value: Value): Contribution {
  return { kind: "dense", value };
}

/** One contribution as f32 values of the shape. */
export function densify(g: GraphBuilder, part: Contribution, shape: readonly Dim[]): Value {
  switch (part.kind) {
    case "dense":
      return part.value;
    case "one-hot": {
      const mask = g.equal(g.iota(shape, shape.length - 1), g.expandDims(part.index, -1));
      return g.select(mask, g.expandDims(part.weight, -1), 0);
    }
    case "contraction":
      return move(g.node({ op: "matmul" }, [part.left, part.right]), part.moves);
    case "scatter":
      return move(g.scatterAdd(part.updates, part.indices, part.rows), part.moves);
  }
}

/** The sum of all contributions; at least one must be given. */
export function total(
  g: GraphBuilder,
  parts: readonly Contribution[],
  shape: readonly Dim[],
): Value {
  const values = parts.map((part) => densify(g, part, shape));
  return values.slice(1).reduce((sum, value) => g.add(sum, value), present(values[0]));
}

/**
 * The sum on the grid `2^exponent`, as i64: contractions are rounded once, onto the grid; sums there are exact,
 * so that the gradients of micro-batches add up to the same bits in any order.
 */
export function totalOnGrid(
  g: GraphBuilder,
  parts: readonly Contribution[],
  shape: readonly Dim[],
  exponent: Value,
): Value {
  const values = parts.map((part) =>
    part.kind === "contraction"
      ? move(g.matmulGrid(part.left, part.right, exponent), part.moves)
      : g.toGrid(densify(g, part, shape), exponent),
  );
  return values.slice(1).reduce((sum, value) => g.gridAdd(sum, value), present(values[0]));
}

/** A contribution after a step of layout, given also for the leading axes where the last one stays. */
export function moved(
  g: GraphBuilder,
  part: Contribution,
  shape: readonly Dim[],
  steps: { move: Move; leading: Move | undefined },
): Contribution {
  if (part.kind === "dense") return dense(steps.move(part.value));
  if (part.kind !== "one-hot") return { ...part, moves: [...part.moves, steps.move] };
  if (steps.leading === undefined) return dense(steps.move(densify(g, part, shape)));
  return { ...part, index: steps.leading(part.index), weight: steps.leading(part.weight) };
}

function move(x: Value, moves: readonly Move[]): Value {
  return moves.reduce((value, step) => step(value), x);
}
