// Goal: gradients have the structure that exactness needs: parts that may not share an exponent stay apart, weights
// get one contraction over all rows, grids are entered once. That they are the derivatives is tested with a
// backend, in src/backend/gradient.test.ts.

import { deepEqual, equal, match, ok } from "node:assert/strict";
import test from "node:test";
import { TensorError } from "../error.ts";
import {
  decodeGraph,
  encodeGraph,
  f32,
  formatType,
  type Graph,
  GraphBuilder,
  i32,
  i64,
  type Node,
  type OpKind,
  resolveGraph,
  scaledBfp,
  type Value,
} from "../graph/index.ts";
import { differentiate, gradients, gridSum } from "./index.ts";

/** A classifier: logits = x w^T + b, the mean cross-entropy over a batch of any size. */
function classifier(): Graph {
  const g = new GraphBuilder();
  const batch = g.symbol("batch", 64);
  const x = g.parameter("x", f32(batch, 8));
  const logits = g.linear(x, g.parameter("w", f32(5, 8)), { bias: g.parameter("b", f32(5)) });
  const losses = g.crossEntropy(logits, g.input("targets", i32(batch)));
  g.output("loss", g.mean(losses));
  return g.build();
}

test("the one-hot part of a cross-entropy never meets the dense part before it is quantized", () => {
  const graph = gradients(classifier(), "loss", ["x", "w", "b"]);
  const counts = countOps(graph);
  // A one-hot that is written out would be a comparison and a select.
  equal(counts.get("equal"), undefined);
  equal(counts.get("select"), undefined);
  equal(counts.get("gather"), 1);
  equal(counts.get("scatter-add"), 2);
  const quantized = graph.nodes.flatMap(({ op, inputs }) => (op === "quantize" ? inputs : []));
  for (const index of quantized) {
    const parts = ancestors(graph, index).filter(
      ({ op }) => op === "gather" || op === "scatter-add",
    );
    deepEqual(parts, [], "a quantized value holds a one-hot part");
  }
});

test("weights get one contraction over batch and rows, along the other axis", () => {
  const g = new GraphBuilder();
  const batch = g.symbol("batch", 4);
  const time = g.symbol("time", 8);
  const y = g.matmul(g.input("x", f32(batch, time, 8)), g.parameter("w", f32(8, 3)));
  g.output("loss", g.sum(g.mul(y, y)));
  const graph = gradients(g.build(), "loss", ["w"]);
  const types = graph.nodes.filter(({ op }) => op === "matmul").map(({ type }) => formatType(type));
  deepEqual(types, ["f32[batch, time, 3]", "f32[3, 8]"]);
  const last = graph.nodes.findLast(({ op }) => op === "matmul");
  deepEqual(
    last?.inputs.map((index) => formatType(graph.nodes[index]!.type)),
    ["bfp14[3, batch*time]", "bfp14[8, batch*time]"],
  );
});

test("quantized weights are read as what they stand for, and the widths are those asked for", () => {
  const g = new GraphBuilder();
  const x = g.parameter("x", f32(2, 8));
  const y = g.linear(x, g.input("w", scaledBfp(8, 3, 8)));
  g.output("loss", g.sum(y));
  const graph = gradients(g.build(), "loss", ["x"], { bits: 11 });
  equal(countOps(graph).get("dequantize"), 1);
  const bits = graph.nodes.flatMap((node) => (node.op === "quantize" ? [node.bits] : []));
  deepEqual(bits, [14, 11, 11]);
});

test("on a grid, a contraction is rounded once, onto it", () => {
  const graph = gradients(classifier(), "loss", ["w", "b"], { grid: true });
  const counts = countOps(graph);
  equal(counts.get("matmul-grid"), 1);
  equal(counts.get("to-grid"), 3);
  equal(counts.get("grid-add"), 2);
  for (const { name, node } of graph.outputs) {
    if (name.startsWith("gradient.")) equal(graph.nodes[node]!.type.element, "i64");
  }
  const inputs = graph.nodes.flatMap((node) => (node.op === "input" ? [node.name] : []));
  ok(inputs.includes("grid.w") && inputs.includes("grid.b"));
  const sum = gridSum({ w: [5, 8], b: [5] });
  deepEqual(
    sum.outputs.map(({ name }) => name),
    ["gradient.w", "gradient.b"],
  );
});

test("a gradient graph keeps the outputs, has canonical bytes and fits every size", () => {
  const graph = gradients(classifier(), "loss", ["w"]);
  deepEqual(
    graph.outputs.map(({ name }) => name),
    ["loss", "gradient.w"],
  );
  deepEqual(decodeGraph(encodeGraph(graph)), graph);
  for (const batch of [1, 7, 64]) {
    const { nodes, outputs } = resolveGraph(graph, { batch });
    deepEqual(nodes[outputs[1]!.node]!.type.shape, [5, 8]);
  }
});

test("a value that the loss does not depend on has the gradient 0", () => {
  const g = new GraphBuilder();
  const x = g.parameter("x", f32(2));
  const y = g.parameter("y", f32(3));
  g.output("loss", g.sum(x));
  g.output("other", y);
  const built = gradients(g.build(), "loss", ["y"]);
  const { node } = built.outputs.find(({ name }) => name === "gradient.y")!;
  equal(built.nodes[node]!.op, "broadcast");
  const onGrid = gradients(g.build(), "loss", ["y"], { grid: true });
  equal(countOps(onGrid).get("to-grid"), 1);
});

test("values within a graph can be differentiated by, twice too", () => {
  const g = new GraphBuilder();
  const x = g.parameter("x", f32(2));
  const squares = g.mul(x, x);
  const [inner, outer] = differentiate(g, g.sum(g.mul(squares, squares)), [squares, x]);
  deepEqual(inner?.shape, x.shape);
  const [second] = differentiate(g, g.sum(outer!), [x]);
  g.output("second", second!);
  ok(g.build().nodes.length > 5);
});

type Build = (g: GraphBuilder, x: Value) => Value;

const refusals: readonly [string, Build, RegExp][] = [
  ["a rounded value", (g, x) => g.sum(g.convert(g.convert(x, "i32"), "f32")), /convert.*integer/],
  ["a mask", (g, x) => g.sum(g.convert(g.less(x, 0), "f32")), /integer or a mask/],
  [
    "a grid",
    (g, x) => g.sum(g.fromGrid(g.toGrid(x, g.constant(ZERO)), g.constant(ZERO))),
    /from-grid/,
  ],
  ["a loss of many elements", (g, x) => x, /loss is not one f32/],
  ["an integer loss", (g, x) => g.argmax(x), /loss is not one f32/],
];

const ZERO = { element: "i32", shape: [], data: Int32Array.of(0) } as const;

for (const [name, build, expected] of refusals) {
  test(`no gradient: ${name}`, () => {
    const g = new GraphBuilder();
    g.output("loss", build(g, g.parameter("x", f32(3))));
    match(
      refusal(() => gradients(g.build(), "loss", ["x"])),
      expected,
    );
    match(
      refusal(() => gradients(g.build(), "loss", ["x"])),
      /tensor\/no-gradient/,
    );
  });
}

test("indices, keys and masks are passed by", () => {
  const g = new GraphBuilder();
  const x = g.parameter("x", f32(3));
  g.output("loss", g.sum(g.select(g.less(x, 0), g.gather(x, g.expandDims(g.argmax(x), 0)), x)));
  equal(gradients(g.build(), "loss", ["x"]).outputs.length, 2);
});

test("integers have no gradient, and names must be known", () => {
  const g = new GraphBuilder();
  const x = g.parameter("x", f32(3));
  const i = g.input("i", i32(3));
  g.input("z", i64(3));
  g.output("loss", g.sum(g.gather(x, i)));
  const graph = g.build();
  match(
    refusal(() => gradients(graph, "loss", ["i"])),
    /tensor\/no-gradient .*i32 has none/,
  );
  match(
    refusal(() => gradients(graph, "loss", ["y"])),
    /tensor\/graph .*no input named y/,
  );
  match(
    refusal(() => gradients(graph, "lost", ["x"])),
    /tensor\/graph .*no output named lost/,
  );
});

function countOps(graph: Graph): Map<OpKind, number> {
  const counts = new Map<OpKind, number>();
  for (const { op } of graph.nodes) counts.set(op, (counts.get(op) ?? 0) + 1);
  return counts;
}

/** The nodes that a node is computed from, itself included. */
function ancestors(graph: Graph, index: number): Node<unknown>[] {
  const found = new Set<number>();
  const visit = (at: number): void => {
    if (found.has(at)) return;
    found.add(at);
    graph.nodes[at]!.inputs.forEach(visit);
  };
  visit(index);
  return [...found].map((at) => graph.nodes[at]!);
}

function refusal(body: () => unknown): string {
  try {
    body();
  } catch (error) {
    if (error instanceof TensorError) return error.message;
    throw error;
  }
  return "not refused";
}
