// Gradients of ops that move values: each goes back by its inverse, or by a sum where one value went to several
// places. Steps that lose nothing keep the parts of a gradient apart.

import { present } from "gyrotron/base";
import { addDims, dim, equalDims, multiplyDims, productOfDims } from "../graph/dimension.ts";
import type { Dim, GraphBuilder, Value } from "../graph/index.ts";
import { f32, isOne } from "../graph/op-builder.ts";
import { type Contribution, dense, densify, type Move, moved } from "./contribution.ts";
import type { RuleTable, Step } from "./rule.ts";

/** Rules of layout, gather and scatter. */
export const LAYOUT_RULES: RuleTable = {
  reshape: (step) => {
    const from = step.operand(0).shape;
    const to = step.result.shape;
    const keepsLast = from.length > 0 && to.length > 0 && equalDims(from.at(-1)!, to.at(-1)!);
    return moves(step, {
      move: (x) => step.graph.reshape(x, from),
      leading: keepsLast ? (x) => step.graph.reshape(x, from.slice(0, -1)) : undefined,
    });
  },
  transpose: (step) => {
    const { permutation } = step.nodeAs("transpose");
    const inverse = permutation.map((_, i) => permutation.indexOf(i));
    const keepsLast = inverse.at(-1) === inverse.length - 1;
    return moves(step, {
      move: (x) => step.graph.transpose(x, inverse),
      leading: keepsLast ? (x) => step.graph.transpose(x, inverse.slice(0, -1)) : undefined,
    });
  },
  slice: (step) => {
    const { starts, strides } = step.nodeAs("slice");
    const interior = strides.map((stride) => stride - 1);
    const type = f32(...step.operand(0).shape);
    return [
      () => [
        dense(step.graph.node({ op: "pad", low: starts, interior, value: 0 }, [step.sum], type)),
      ],
    ];
  },
  pad: (step) => {
    const { low, interior } = step.nodeAs("pad");
    const strides = interior.map((gap) => gap + 1);
    const type = f32(...step.operand(0).shape);
    const op = { op: "slice" as const, starts: low, strides };
    return [() => [dense(step.graph.node(op, [step.sum], type))]];
  },
  concat: (step) => {
    const { axis } = step.nodeAs("concat");
    const { graph: g } = step;
    let start: Dim = dim(0);
    return step.operands.map((operand) => {
      const from = start;
      const size = present(operand.shape[axis]);
      start = addDims(start, size);
      return () => [dense(g.slice(step.sum, axis, from, size))];
    });
  },
  broadcast: (step) => [() => step.parts.flatMap((part) => unbroadcast(step, part))],
  gather: (step) => {
    const { graph: g } = step;
    const { shape } = step.operand(0);
    const backward = (): Contribution[] => {
      const indices = step.operand(1);
      const count = productOfDims(indices.shape);
      const width = productOfDims(shape.slice(1));
      return [
        {
          kind: "scatter",
          updates: g.reshape(step.sum, [count, width]),
          indices: g.reshape(indices, [count]),
          rows: shape[0]!,
          moves: [(x: Value) => g.reshape(x, shape)],
        },
      ];
    };
    return [backward, undefined];
  },
  "scatter-add": (step) => [() => [dense(step.graph.gather(step.sum, step.operand(1)))], undefined],
  "take-along": (step) => [() => [takeAlongBack(step)], undefined],
  patches: (step) => {
    const { window } = step.nodeAs("patches");
    const type = f32(...step.operand(0).shape);
    return [() => [dense(step.graph.node({ op: "fold", window }, [step.sum], type))]];
  },
  fold: (step) => {
    const { window } = step.nodeAs("fold");
    const type = f32(...step.operand(0).shape);
    const op = { op: "patches" as const, window, value: 0 };
    return [() => [dense(step.graph.node(op, [step.sum], type))]];
  },
};

function moves(
  step: Step,
  steps: { move: Move; leading: Move | undefined },
): [() => Contribution[]] {
  const { shape } = step.result;
  return [() => step.parts.map((part) => moved(step.graph, part, shape, steps))];
}

/** What a repeated value gets back: the sum over its copies. */
function unbroadcast(step: Step, part: Contribution): Contribution[] {
  const { graph: g } = step;
  const from = step.operand(0).shape;
  const to = step.result.shape;
  const repeated = [...from.keys()].filter((i) => isOne(from[i]!) && !isOne(to[i]!));
  const last = from.length - 1;
  const isRow = from.slice(0, -1).every(isOne) && !repeated.includes(last);
  if (part.kind === "one-hot" && isRow) {
    // A bias: the weights are summed where they fall, and the other columns are not touched.
    const count = productOfDims(to.slice(0, -1));
    const updates = g.reshape(part.weight, [count, 1]);
    const indices = g.reshape(part.index, [count]);
    const rows = from[last]!;
    return [{ kind: "scatter", updates, indices, rows, moves: [(x) => g.reshape(x, from)] }];
  }
  return [dense(g.sum(densify(g, part, to), { axis: repeated, keepDims: true }))];
}

/** Elements taken by index go back to their places; one per row stays a place and a weight. */
function takeAlongBack(step: Step): Contribution {
  const { graph: g } = step;
  const x = step.operand(0);
  const indices = step.operand(1);
  const leading = x.shape.slice(0, -1);
  if (isOne(indices.shape.at(-1)!)) {
    return {
      kind: "one-hot",
      index: g.reshape(indices, leading),
      weight: g.reshape(step.sum, leading),
    };
  }
  const columns = x.shape.at(-1)!;
  const rows = productOfDims(leading);
  const size = multiplyDims(rows, columns);
  const taken = productOfDims(indices.shape);
  return {
    kind: "scatter",
    updates: g.reshape(step.sum, [taken, 1]),
    indices: g.reshape(
      g.add(g.reshape(indices, [rows, indices.shape.at(-1)!]), rowStarts(g, rows, columns)),
      [taken],
    ),
    rows: size,
    moves: [(value) => g.reshape(value, x.shape)],
  };
}

/** i32 `[rows, 1]`: the index of each row's first element. */
function rowStarts(g: GraphBuilder, rows: Dim, columns: Dim): Value {
  const all = g.reshape(g.iota([multiplyDims(rows, columns)], 0), [rows, columns]);
  return g.slice(all, 1, 0, 1);
}
