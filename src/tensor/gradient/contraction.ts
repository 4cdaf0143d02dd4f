// Gradients of contractions and of what stands around them. Quantization is passed straight through. On the way
// back operands are quantized anew along the other axis, from the wide values that were quantized on the way
// forth. Weights shared by a batch get one exact contraction over batch and rows.

import { present } from "gyrotron/base";
import { constantOfDim, dim, multiplyDims, productOfDims } from "../graph/dimension.ts";
import type { Dim, DimLike, GraphBuilder, Value } from "../graph/index.ts";
import { type Contribution, dense, densify } from "./contribution.ts";
import { softmaxBack } from "./rows.ts";
import type { RuleTable, Step } from "./rule.ts";

/** Rules of quantization, matmul, rotary and attention. */
export const CONTRACTION_RULES: RuleTable = {
  quantize: ({ parts }) => [() => parts],
  "quantize-columns": ({ parts }) => [() => parts],
  dequantize: ({ parts }) => [() => parts],
  matmul: (step) => [
    () => step.parts.map((part) => leftBack(step, part)),
    () => step.parts.map((part) => rightBack(step, part)),
  ],
  rotary: (step) => {
    const { steps, interleaved, inverse } = step.nodeAs("rotary");
    const options = { steps, interleaved, inverse: !inverse };
    return [() => [dense(step.graph.rotary(step.sum, step.operand(1), options))], undefined];
  },
  attention: attentionBack,
};

/** The f32 values that a bfp value was quantized from, or its own values. */
function wideOf(g: GraphBuilder, x: Value): Value {
  const node = g.nodeOf(x);
  const operands = node.inputs.map((index) => g.valueAt(index));
  switch (node.op) {
    case "quantize":
    case "quantize-columns":
      return present(operands[0]);
    case "reshape":
      return g.reshape(wideOf(g, present(operands[0])), x.shape);
    case "transpose":
      return g.transpose(wideOf(g, present(operands[0])), node.permutation);
    case "broadcast":
      return g.repeat(wideOf(g, present(operands[0])), x.shape);
    default:
      return g.dequantize(x);
  }
}

/** The left operand's: what comes back `[..., M, N]` by the right operand `[N, K]`, along N. */
function leftBack(step: Step, part: Contribution): Contribution {
  const { graph: g } = step;
  const right = step.operand(1);
  const wide = wideOf(g, right);
  const { bits } = step.widths;
  if (part.kind === "one-hot" && right.shape.length === 2) {
    return dense(g.mul(g.gather(wide, part.index), g.expandDims(part.weight, -1)));
  }
  const up = densify(g, part, step.result.shape);
  return contraction(g.quantize(up, bits), g.quantize(g.swapAxes(wide), bits));
}

/** The right operand's: along M, or for one shared by a batch along the batch and M at once. */
function rightBack(step: Step, part: Contribution): Contribution {
  const { graph: g } = step;
  const wide = wideOf(g, step.operand(0));
  const right = step.operand(1);
  const { bits } = step.widths;
  if (right.shape.length > 2) {
    const up = g.swapAxes(densify(g, part, step.result.shape));
    return contraction(g.quantize(up, bits), g.quantize(g.swapAxes(wide), bits));
  }
  const rows = productOfDims(step.result.shape.slice(0, -1));
  const [outputs, length] = right.shape;
  const activations = g.reshape(wide, [rows, length!]);
  if (part.kind === "one-hot") {
    const weight = g.reshape(part.weight, [rows, 1]);
    return {
      kind: "scatter",
      updates: g.mul(activations, weight),
      indices: g.reshape(part.index, [rows]),
      rows: outputs!,
      moves: [],
    };
  }
  const up = g.reshape(densify(g, part, step.result.shape), [rows, outputs!]);
  return contraction(g.quantize(g.swapAxes(up), bits), g.quantize(g.swapAxes(activations), bits));
}

function contraction(left: Value, right: Value): Contribution {
  return { kind: "contraction", left, right, moves: [] };
}

/**
 * Attention's, as that of softmax between two matmuls. The heads of a group share keys and values, so their
 * query rows stand side by side: `[B, G, group * T, d]`, and what comes back to keys and values is one exact
 * contraction over the group's rows.
 */
function attentionBack(step: Step): (() => Contribution[])[] {
  const [q, k, v] = step.operands;
  const back = new AttentionBack(step, q!, k!, v!);
  return [
    () => [dense(back.query())],
    () => [dense(back.keyOrValue(back.scoreGradient, q!))],
    () => [dense(back.valueGradient())],
  ];
}

class AttentionBack {
  readonly #g: GraphBuilder;
  readonly #step: Step;
  readonly #q: Value;
  readonly #k: Value;
  readonly #v: Value;
  readonly #batch: Dim;
  readonly #rows: Dim;
  readonly #heads: Dim;
  readonly #size: Dim;
  readonly #positions: Dim;
  readonly #groups: Dim;
  /** Query rows of a group: its heads times T. */
  readonly #groupRows: Dim;

  constructor(step: Step, q: Value, k: Value, v: Value) {
    this.#g = step.graph;
    this.#step = step;
    this.#q = q;
    this.#k = k;
    this.#v = v;
    [this.#batch, this.#rows, this.#heads, this.#size] = q.shape as [Dim, Dim, Dim, Dim];
    [, this.#positions, this.#groups] = k.shape as [Dim, Dim, Dim, Dim];
    const perGroup = present(constantOfDim(this.#heads)) / present(constantOfDim(this.#groups));
    this.#groupRows = multiplyDims(this.#rows, perGroup);
  }

  /** Weights of the positions, `[B, H, T, P]`; equal subgraphs are one, so this costs once. */
  get weights(): Value {
    const g = this.#g;
    const { causal } = this.#step.nodeAs("attention");
    const products = g.node({ op: "matmul" }, [this.#grouped(this.#q), this.#byHead(this.#k)]);
    const scores = g.reshape(products, [this.#batch, this.#heads, this.#rows, this.#positions]);
    return g.softmax(g.mul(scores, this.#scale), { causal });
  }

  /** The gradient of the scores q k^T, `[B, H, T, P]`. */
  get scoreGradient(): Value {
    const g = this.#g;
    const up = this.#quantized(this.#grouped(this.#step.sum));
    const products = g.node({ op: "matmul" }, [up, this.#byHead(this.#v)]);
    const weightGradient = g.reshape(products, this.weights.shape);
    return g.mul(softmaxBack(g, this.weights, weightGradient), this.#scale);
  }

  query(): Value {
    const g = this.#g;
    const up = g.reshape(this.scoreGradient, this.#groupShape(this.#positions));
    const keys = g.swapAxes(this.#byHead(wideOf(g, this.#k)));
    const product = g.node({ op: "matmul" }, [this.#quantized(up), this.#quantized(keys)]);
    const shape = [this.#batch, this.#heads, this.#rows, this.#size];
    return g.transpose(g.reshape(product, shape), [0, 2, 1, 3]);
  }

  valueGradient(): Value {
    return this.#contractRows(this.weights, this.#step.sum);
  }

  keyOrValue(coefficients: Value, rows: Value): Value {
    return this.#contractRows(coefficients, wideOf(this.#g, rows));
  }

  /** Coefficients `[B, H, T, P]` by rows `[B, T, H, d]` over the group's rows: `[B, P, G, d]`. */
  #contractRows(coefficients: Value, rows: Value): Value {
    const g = this.#g;
    const left = g.swapAxes(g.reshape(coefficients, this.#groupShape(this.#positions)));
    const right = g.swapAxes(this.#grouped(rows));
    const product = g.node({ op: "matmul" }, [this.#quantized(left), this.#quantized(right)]);
    return g.transpose(product, [0, 2, 1, 3]);
  }

  /** `[B, T, H, d]` to `[B, G, group * T, d]`. */
  #grouped(x: Value): Value {
    return this.#g.reshape(this.#byHead(x), this.#groupShape(this.#size));
  }

  #groupShape(last: DimLike): DimLike[] {
    return [this.#batch, this.#groups, this.#groupRows, dim(last)];
  }

  /** `[B, P, G, d]` to `[B, G, P, d]`. */
  #byHead(x: Value): Value {
    return this.#g.transpose(x, [0, 2, 1, 3]);
  }

  #quantized(x: Value): Value {
    return this.#g.quantize(x, this.#step.widths.bits);
  }

  /** `1 / sqrt(d)`, rounded to f32. */
  get #scale(): number {
    return Math.fround(1 / Math.sqrt(present(constantOfDim(this.#size))));
  }
}
