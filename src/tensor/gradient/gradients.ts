// Gradients for users: of values in a graph under construction, or of a finished graph by the names of its
// inputs. What comes out is a graph of the same ops.

import { TensorError } from "../error.ts";
import { dim } from "../graph/dimension.ts";
import {
  type DimLike,
  type Graph,
  GraphBuilder,
  i32,
  inputsOf,
  type Value,
} from "../graph/index.ts";
import { backpropagate } from "./backward.ts";
import { total, totalOnGrid } from "./contribution.ts";

/** How gradients are computed. */
export interface GradientOptions {
  /** Width of quantized operands on the way back; 14 if left out. */
  readonly bits?: number;
}

/** How the gradients of a graph leave it. */
export interface GraphGradientOptions extends GradientOptions {
  /**
   * Whether they leave as i64 on a grid: each has an input `grid.<name>`, i32, the exponent of its grid. Such
   * gradients of micro-batches add up (grid-add) to the same bits in any order and grouping.
   */
  readonly grid?: boolean;
}

/** The gradient of a loss of one element by each value, as f32 of its shape; 0 where it does not depend on it. */
export function differentiate(
  g: GraphBuilder,
  loss: Value,
  wrt: readonly Value[],
  options: GradientOptions = {},
): Value[] {
  const parts = backpropagate(g, loss, wrt, { bits: options.bits ?? 14 });
  return wrt.map(({ shape }, i) => {
    const list = parts[i]!;
    return list.length === 0 ? g.full(shape, 0) : total(g, list, shape);
  });
}

/** The same as i64 on the grids of the given exponents, i32 scalars. */
export function differentiateOnGrid(
  g: GraphBuilder,
  loss: Value,
  wrt: readonly { value: Value; exponent: Value }[],
  options: GradientOptions = {},
): Value[] {
  const values = wrt.map(({ value }) => value);
  const parts = backpropagate(g, loss, values, { bits: options.bits ?? 14 });
  return wrt.map(({ value: { shape }, exponent }, i) => {
    const list = parts[i]!;
    if (list.length === 0) return g.toGrid(g.full(shape, 0), exponent);
    return totalOnGrid(g, list, shape, exponent);
  });
}

/**
 * A graph with all outputs of the given one, and `gradient.<name>` of the output `loss` by each named input.
 * @throws TensorError `tensor/graph` for unknown names, `tensor/no-gradient`
 */
export function gradients(
  graph: Graph,
  loss: string,
  wrt: readonly string[],
  options: GraphGradientOptions = {},
): Graph {
  const g = new GraphBuilder();
  const values = g.include(graph);
  for (const { name, node, updates } of graph.outputs) {
    g.output(name, values[node]!, updates === undefined ? {} : { updates });
  }
  const lossNode = graph.outputs.find(({ name }) => name === loss)?.node;
  if (lossNode === undefined) throw fault(`no output named ${loss}`);
  const inputs = new Map(inputsOf(graph).map(({ name, node }) => [name, values[node]!]));
  const targets = wrt.map((name) => {
    const value = inputs.get(name);
    if (value === undefined) throw fault(`no input named ${name}`);
    return value;
  });
  const results =
    options.grid === true
      ? differentiateOnGrid(
          g,
          values[lossNode]!,
          targets.map((value, i) => ({ value, exponent: g.input(`grid.${wrt[i]!}`, i32()) })),
          options,
        )
      : differentiate(g, values[lossNode]!, targets, options);
  for (const [i, result] of results.entries()) g.output(`gradient.${wrt[i]!}`, result);
  return g.build();
}

/**
 * A graph that adds two sets of gradients on their grids: inputs `left.<name>` and `right.<name>`, i64, outputs
 * `gradient.<name>`.
 */
export function gridSum(shapes: Readonly<Record<string, readonly DimLike[]>>): Graph {
  const g = new GraphBuilder();
  for (const [name, shape] of Object.entries(shapes)) {
    const type = { element: "i64" as const, shape: shape.map(dim) };
    const sum = g.gridAdd(g.input(`left.${name}`, type), g.input(`right.${name}`, type));
    g.output(`gradient.${name}`, sum);
  }
  return g.build();
}

function fault(what: string): TensorError {
  return new TensorError({ code: "tensor/graph", what });
}
