// Gradients of ops along rows: reductions, norms, softmax, losses.

import { present } from "gyrotron/base";
import { constantOfDim } from "../graph/dimension.ts";
import type { Dim, GraphBuilder, Value } from "../graph/index.ts";
import { type Contribution, dense, densify } from "./contribution.ts";
import type { RuleTable, Step } from "./rule.ts";

/** Rules of reductions, norms, softmax and cross-entropy. */
export const ROW_RULES: RuleTable = {
  sum: (step) => [() => [dense(spread(step, step.sum))]],
  mean: (step) => [
    () => [dense(spread(step, step.graph.div(step.sum, columnsOf(step.graph, step.operand(0)))))],
  ],
  variance: (step) => {
    const { graph: g } = step;
    const x = step.operand(0);
    return [
      () => {
        const centred = g.sub(x, g.mean(x, { axis: -1, keepDims: true }));
        const factor = g.div(g.mul(step.sum, 2), columnsOf(g, x));
        return [dense(g.mul(centred, g.expandDims(factor, -1)))];
      },
    ];
  },
  "reduce-max": (step) => [
    () => [{ kind: "one-hot", index: step.graph.argmax(step.operand(0)), weight: step.sum }],
  ],
  "rms-norm": (step) => {
    const { graph: g, result: y } = step;
    const x = step.operand(0);
    return [
      () => {
        if (isWithoutColumns(x)) return [dense(step.sum)];
        const squares = g.mean(g.mul(x, x), { axis: -1, keepDims: true });
        const scale = g.rsqrt(g.add(squares, step.nodeAs("rms-norm", "layer-norm").epsilon));
        const along = g.mean(g.mul(step.sum, y), { axis: -1, keepDims: true });
        return [dense(g.mul(g.sub(step.sum, g.mul(y, along)), scale))];
      },
    ];
  },
  "layer-norm": (step) => {
    const { graph: g, result: y } = step;
    const x = step.operand(0);
    return [
      () => {
        if (isWithoutColumns(x)) return [dense(step.sum)];
        const variance = g.variance(x, { axis: -1, keepDims: true });
        const scale = g.rsqrt(g.add(variance, step.nodeAs("rms-norm", "layer-norm").epsilon));
        const mean = g.mean(step.sum, { axis: -1, keepDims: true });
        const along = g.mean(g.mul(step.sum, y), { axis: -1, keepDims: true });
        const rest = g.sub(g.sub(step.sum, mean), g.mul(y, along));
        return [dense(g.mul(rest, scale))];
      },
    ];
  },
  softmax: (step) => [() => [dense(softmaxBack(step.graph, step.result, step.sum))]],
  "log-softmax": (step) => [
    () => {
      const { graph: g } = step;
      // The gradient itself, as it came, and what the normalisation takes away: the parts stay apart.
      const weights = step.parts.map((part) => weightOf(step, part));
      const taken = weights.reduce((sum, weight) => g.add(sum, weight));
      const shares = g.mul(g.softmax(step.operand(0)), g.neg(g.expandDims(taken, -1)));
      return [...step.parts, dense(shares)];
    },
  ],
  "cross-entropy": (step) => {
    const { graph: g } = step;
    return [
      () => [
        dense(g.mul(g.softmax(step.operand(0)), g.expandDims(step.sum, -1))),
        { kind: "one-hot", index: step.operand(1), weight: g.neg(step.sum) },
      ],
      undefined,
    ];
  },
};

/** `y (up - sum of up y)` along rows. */
export function softmaxBack(g: GraphBuilder, y: Value, up: Value): Value {
  const along = g.sum(g.mul(up, y), { axis: -1, keepDims: true });
  return g.mul(y, g.sub(up, along));
}

/** Whether a value is known to have no columns: no means, and a gradient without elements. */
function isWithoutColumns(x: Value): boolean {
  return constantOfDim(present(x.shape.at(-1))) === 0;
}

/** The number of columns as an f32 scalar, exact below 2^24. */
export function columnsOf(g: GraphBuilder, x: Value): Value {
  const columns: Dim = present(x.shape.at(-1));
  const constant = constantOfDim(columns);
  if (constant !== undefined) return g.constant(constant);
  return g.add(g.reduceMax(g.convert(g.iota([columns], 0), "f32")), 1);
}

/** A value for each row, repeated along it. */
function spread(step: Step, value: Value): Value {
  return step.graph.broadcast(step.graph.expandDims(value, -1), step.operand(0).shape);
}

/** The sum of a contribution along rows. */
function weightOf(step: Step, part: Contribution): Value {
  if (part.kind === "one-hot") return part.weight;
  return step.graph.sum(densify(step.graph, part, step.result.shape), { axis: -1 });
}
