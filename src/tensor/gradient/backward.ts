// Reverse mode over a graph under construction: from a loss back to what it is differentiated by, in falling
// order of nodes, with the rules of each op.

import { TensorError } from "../error.ts";
import type { GraphBuilder, OpKind, Value } from "../graph/index.ts";
import { productOfDims } from "../graph/dimension.ts";
import { isOne } from "../graph/op-builder.ts";
import { CONTRACTION_RULES } from "./contraction.ts";
import { type Contribution, dense } from "./contribution.ts";
import { ELEMENTWISE_RULES } from "./elementwise.ts";
import { LAYOUT_RULES } from "./layout.ts";
import { ROW_RULES } from "./rows.ts";
import { type GradientWidths, type RuleTable, Step } from "./rule.ts";

/** Rules of all ops that have a gradient. */
export const GRADIENT_RULES: RuleTable = {
  ...ELEMENTWISE_RULES,
  ...LAYOUT_RULES,
  ...ROW_RULES,
  ...CONTRACTION_RULES,
};

/** Ops that a gradient passes through. */
export const GRADIENT_OPS: readonly OpKind[] = Object.keys(GRADIENT_RULES) as OpKind[];

/**
 * The parts of the gradient of a loss of one element by each value; none where it does not depend on it.
 * @throws TensorError `tensor/no-gradient` where the way back meets an op without one, or an integer
 */
export function backpropagate(
  g: GraphBuilder,
  loss: Value,
  wrt: readonly Value[],
  widths: GradientWidths,
): (readonly Contribution[])[] {
  if (loss.type.element !== "f32" || !isOne(productOfDims(loss.shape))) {
    throw noGradient(g, loss, "the loss is not one f32");
  }
  for (const value of wrt) {
    const { element } = value.type;
    if (element !== "f32" && element !== "bfp") throw noGradient(g, value, `${element} has none`);
  }
  const active = dependants(g, wrt, loss.index);
  const parts = new Map<number, Contribution[]>([[loss.index, [dense(g.full(loss.shape, 1))]]]);
  const wanted = new Set(wrt.map(({ index }) => index));
  for (let index = loss.index; index >= 0; index--) {
    const arrived = parts.get(index);
    if (arrived === undefined || !active.has(index)) continue;
    if (!wanted.has(index)) parts.delete(index);
    const result = g.valueAt(index);
    const { element } = result.type;
    if (element !== "f32" && element !== "bfp") {
      throw noGradient(g, result, `a gradient would pass through ${element}`);
    }
    const step = new Step(g, result, arrived, widths);
    if (!step.operands.some((operand) => active.has(operand.index))) continue;
    const rule = GRADIENT_RULES[step.node.op];
    if (rule === undefined) {
      if (step.node.op !== "convert") throw noGradient(g, result, "this op has no gradient");
      throw noGradient(g, result, "a gradient would pass through an integer or a mask");
    }
    for (const [i, backward] of rule(step).entries()) {
      const operand = step.operand(i);
      if (backward === undefined || !active.has(operand.index)) continue;
      const list = parts.get(operand.index);
      if (list === undefined) parts.set(operand.index, [...backward()]);
      else list.push(...backward());
    }
  }
  return wrt.map(({ index }) => parts.get(index) ?? []);
}

/** Nodes up to `last` that depend on one of the values. */
function dependants(g: GraphBuilder, values: readonly Value[], last: number): ReadonlySet<number> {
  const active = new Set(values.map(({ index }) => index));
  for (let index = 0; index <= last; index++) {
    const { inputs } = g.nodeOf(g.valueAt(index));
    if (inputs.some((input) => active.has(input))) active.add(index);
  }
  return active;
}

function noGradient(g: GraphBuilder, value: Value, what: string): TensorError {
  const { op } = g.nodeOf(value);
  return new TensorError({ code: "tensor/no-gradient", node: value.index, op, what });
}
