// Gradients of ops that work element by element: the derivative at the operand times what comes back. Squares
// are taken of clamped values, where the derivative no longer changes, so that none overflows.

import type { GraphBuilder, Value } from "../graph/index.ts";
import { type Contribution, dense } from "./contribution.ts";
import type { Backward, Rule, RuleTable, Step } from "./rule.ts";

const LN_2 = Math.fround(0.6931471805599453);
const TWO_OVER_SQRT_PI = Math.fround(1.1283791670955126);
const SQRT_HALF = Math.fround(0.7071067811865476);
const NORMAL_DENSITY_AT_0 = Math.fround(0.3989422804014327);
const GELU_SCALE = Math.fround(0.7978845608028654);
const GELU_CUBIC = Math.fround(0.044715);
/** Beyond it, the densities of erf and the normal distribution are 0 in f32. */
const DENSITY_END = 16;

/** Rules of unary, binary and conditional ops. */
export const ELEMENTWISE_RULES: RuleTable = {
  neg: linear((g, up) => g.neg(up)),
  abs: linear((g, up, x) => g.select(g.less(x, 0), g.neg(up), g.select(g.equal(x, 0), 0, up))),
  relu: linear((g, up, x) => g.select(g.less(0, x), up, 0)),
  sqrt: linear((g, up, _x, y) => g.div(g.mul(up, 0.5), y)),
  rsqrt: linear((g, up, _x, y) => g.mul(up, g.mul(g.mul(y, -0.5), g.mul(y, y)))),
  exp: linear((g, up, _x, y) => g.mul(up, y)),
  exp2: linear((g, up, _x, y) => g.mul(up, g.mul(y, LN_2))),
  log: linear((g, up, x) => g.div(up, x)),
  tanh: linear((g, up, _x, y) => g.mul(up, g.sub(1, g.mul(y, y)))),
  sigmoid: linear((g, up, _x, y) => g.mul(up, g.mul(y, g.sub(1, y)))),
  erf: linear((g, up, x) => {
    const c = clamp(g, x, DENSITY_END);
    return g.mul(up, g.mul(g.exp(g.neg(g.mul(c, c))), TWO_OVER_SQRT_PI));
  }),
  gelu: linear((g, up, x) => g.mul(up, geluSlope(g, x))),
  "gelu-tanh": linear((g, up, x) => g.mul(up, geluTanhSlope(g, x))),
  silu: linear((g, up, x) => {
    const s = g.sigmoid(x);
    return g.mul(up, g.mul(s, g.add(1, g.mul(x, g.sub(1, s)))));
  }),
  add: ({ parts }) => [() => parts, () => parts],
  sub: (step) => [() => step.parts, () => [dense(step.graph.neg(step.sum))]],
  mul: binary(
    (g, up, _x, y) => g.mul(up, y),
    (g, up, x) => g.mul(up, x),
  ),
  div: (step) => {
    const { graph: g, result } = step;
    const [, y] = step.operands;
    return [
      () => [dense(g.div(step.sum, y!))],
      () => [dense(g.neg(g.div(g.mul(step.sum, result), y!)))],
    ];
  },
  // Of equal operands the first has the gradient, as the lowest index has it in reduce-max.
  min: chosen((g, x, y) => g.lessOrEqual(x, y)),
  max: chosen((g, x, y) => g.lessOrEqual(y, x)),
  select: (step) => {
    const { graph: g } = step;
    const mask = step.operand(0);
    return [
      undefined,
      () => [dense(g.select(mask, step.sum, 0))],
      () => [dense(g.select(mask, 0, step.sum))],
    ];
  },
  dropout: (step) => {
    const { keep } = step.nodeAs("dropout");
    const { graph: g } = step;
    return [() => [dense(g.dropout(step.sum, step.operand(1), keep))], undefined];
  },
};

type Slope = (g: GraphBuilder, up: Value, x: Value, y: Value) => Value;

/** A rule of one operand x with the result y. */
function linear(slope: Slope): Rule {
  return (step) => [
    (): Contribution[] => [dense(slope(step.graph, step.sum, step.operand(0), step.result))],
  ];
}

function binary(left: Slope, right: Slope): Rule {
  const backward = (step: Step, slope: Slope): Backward => {
    return () => [dense(slope(step.graph, step.sum, step.operand(0), step.operand(1)))];
  };
  return (step) => [backward(step, left), backward(step, right)];
}

function chosen(isFirst: (g: GraphBuilder, x: Value, y: Value) => Value): Rule {
  return (step) => {
    const { graph: g } = step;
    const mask = (): Value => isFirst(g, step.operand(0), step.operand(1));
    return [
      () => [dense(g.select(mask(), step.sum, 0))],
      () => [dense(g.select(mask(), 0, step.sum))],
    ];
  };
}

function clamp(g: GraphBuilder, x: Value, limit: number): Value {
  return g.max(g.min(x, limit), -limit);
}

/** Phi(x) + x phi(x). */
function geluSlope(g: GraphBuilder, x: Value): Value {
  const c = clamp(g, x, DENSITY_END);
  const phi = g.mul(g.exp(g.mul(g.mul(c, c), -0.5)), NORMAL_DENSITY_AT_0);
  const cumulative = g.mul(g.add(g.erf(g.mul(c, SQRT_HALF)), 1), 0.5);
  return g.add(cumulative, g.mul(c, phi));
}

/** The derivative of x (1 + tanh u) / 2 with u = s (x + a x^3). */
function geluTanhSlope(g: GraphBuilder, x: Value): Value {
  const c = clamp(g, x, DENSITY_END);
  const square = g.mul(g.mul(c, c), GELU_CUBIC);
  const t = g.tanh(g.mul(g.mul(c, GELU_SCALE), g.add(square, 1)));
  const inner = g.mul(g.add(g.mul(square, 3), 1), GELU_SCALE);
  const slope = g.mul(g.sub(1, g.mul(t, t)), g.mul(c, inner));
  return g.mul(g.add(g.add(t, 1), slope), 0.5);
}
