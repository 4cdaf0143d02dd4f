// Goal: sizes are bound as the shapes say, every condition on them holds in a run, and inputs are what their types
// say. The backend of these tests only shows what it is given.

import { deepEqual, equal, match, notEqual, rejects } from "node:assert/strict";
import test from "node:test";
import { TensorError } from "../error.ts";
import { GraphBuilder } from "./builder.ts";
import { addDims, multiplyDims } from "./dimension.ts";
import type { GraphBackend } from "./executable.ts";
import type { Graph } from "./graph.ts";
import { hostF32, hostI32 } from "./host-tensor.ts";
import { bfp, f32, i32 } from "./op-builder.ts";
import { placeOnHost } from "./resident.ts";
import { prepareRun, resolveGraph, runGraph } from "./resolve.ts";
import type { HostTensor } from "./value.ts";

/** Rows of a cache, new rows behind it, and twice as many in all. */
function cacheGraph(): Graph {
  const g = new GraphBuilder();
  const past = g.symbol("past", 8);
  const time = g.symbol("time", 4);
  const cache = g.input("cache", f32(past, 2), "state");
  const all = g.concat([cache, g.input("x", f32(time, 2))], 0);
  g.input("double", f32(multiplyDims(addDims(past, time), 2), 1));
  const double = g.valueAt(3);
  g.output("all", all, { updates: "cache" });
  g.output("sum", g.sum(double));
  return g.build();
}

const inputs = (past: number, time: number, double: number): Record<string, HostTensor> => ({
  cache: hostF32([past, 2], new Float32Array(past * 2)),
  x: hostF32([time, 2], new Float32Array(time * 2)),
  double: hostF32([double, 1], new Float32Array(double)),
});

test("sizes come from the shapes of inputs, and from linear expressions of them", () => {
  const graph = cacheGraph();
  const shapes = (past: number, time: number): (readonly number[])[] => {
    const run = prepareRun(graph, inputs(past, time, 2 * (past + time)));
    return run.graph.nodes.map(({ type }) => type.shape);
  };
  deepEqual(shapes(3, 1)[2], [4, 2]);
  deepEqual(shapes(0, 0)[2], [0, 2]);
  const g = new GraphBuilder();
  const n = g.symbol("n", 9);
  g.output("y", g.neg(g.input("x", f32(addDims(multiplyDims(n, 3), 1)))));
  const [first] = prepareRun(g.build(), { x: hostF32([7], new Float32Array(7)) }).graph.nodes;
  deepEqual(first?.type.shape, [7]);
});

test("sizes that contradict each other, exceed their maximum or are unknown are refused", () => {
  const graph = cacheGraph();
  match(
    refusal(() => prepareRun(graph, inputs(3, 1, 9))),
    /tensor\/input .*2\*past \+ 2\*time = 8/,
  );
  match(
    refusal(() => prepareRun(graph, inputs(9, 1, 20))),
    /tensor\/dimension .*past is 9/,
  );
  match(
    refusal(() => resolveGraph(graph, { past: 1 })),
    /tensor\/dimension .*time is not known/,
  );
  match(
    refusal(() => resolveGraph(graph, { past: 1, time: 0.5 })),
    /time is 0.5/,
  );
  const g = new GraphBuilder();
  const n = g.symbol("n", 9);
  g.output("y", g.neg(g.input("x", f32(multiplyDims(n, 2)))));
  const odd = { x: hostF32([3], [1, 2, 3]) };
  match(
    refusal(() => prepareRun(g.build(), odd)),
    /tensor\/input .*a size 2\*n.*3/,
  );
  const h = new GraphBuilder();
  const m = h.symbol("m", 3);
  h.output("y", h.iota([addDims(m, -2)], 0));
  match(
    refusal(() => resolveGraph(h.build(), { m: 1 })),
    /m - 2 is -1 in iota/,
  );
  deepEqual(prepareRun(h.build(), {}, { m: 3 }).graph.nodes[0]?.type.shape, [1]);
});

test("conditions on symbols are exact once sizes are known", () => {
  const g = new GraphBuilder();
  const rows = g.symbol("rows", 9);
  const columns = g.symbol("columns", 9);
  const x = g.input("x", f32(rows, columns));
  g.output("soft", g.softmax(x, { causal: true }));
  g.output("mean", g.mean(x));
  g.output("top", g.topK(x, 2).indices);
  const graph = g.build();
  equal(resolveGraph(graph, { rows: 2, columns: 3 }).outputs.length, 3);
  match(
    refusal(() => resolveGraph(graph, { rows: 4, columns: 3 })),
    /no more rows than columns/,
  );
  match(
    refusal(() => resolveGraph(graph, { rows: 0, columns: 3 })),
    /columns of at least 1/,
  );
  match(
    refusal(() => resolveGraph(graph, { rows: 1, columns: 1 })),
    /k not above the columns/,
  );
});

test("resolving again is a look-up, also after other sizes", () => {
  const graph = cacheGraph();
  const first = resolveGraph(graph, { past: 1, time: 2 });
  equal(resolveGraph(graph, { time: 2, past: 1 }), first);
  notEqual(resolveGraph(graph, { past: 2, time: 1 }), first);
  for (let past = 0; past <= 8; past++) {
    for (let time = 0; time <= 4; time++) resolveGraph(graph, { past, time });
  }
  const again = resolveGraph(graph, { past: 1, time: 2 });
  notEqual(again, first);
  deepEqual(again, first);
});

test("inputs are checked against their types, and -0 becomes +0", () => {
  const g = new GraphBuilder();
  const x = g.input("x", f32(2));
  const rows = g.input("rows", bfp(9, 1, 2));
  g.output("y", g.add(x, g.reshape(g.dequantize(rows), [2])));
  const graph = g.build();
  const good: HostTensor = {
    element: "bfp",
    shape: [1, 2],
    bits: 9,
    data: Int32Array.of(255, -255),
    exponents: Int32Array.of(0),
    scales: undefined,
  };
  const values = Float32Array.of(-0, 1);
  const given: HostTensor = { element: "f32", shape: [2], data: values };
  const run = prepareRun(graph, { x: given, rows: good, unused: given });
  deepEqual(Object.keys(run.inputs), ["x", "rows"]);
  deepEqual(run.inputs["x"]?.data, Float32Array.of(0, 1));
  equal(Object.is(values[0], -0), true);
  const faults: [Record<string, HostTensor>, RegExp][] = [
    [{ x: given }, /tensor\/input .*rows.*nothing/],
    [{ x: hostI32([2], [1, 2]), rows: good }, /expected: f32\[2\], actual: i32\[2\]/],
    [{ x: hostF32([3], [1, 2, 3]), rows: good }, /input: x/],
    [{ x: hostF32([1, 2], [1, 2]), rows: good }, /expected: f32\[2\], actual: f32\[1, 2\]/],
    [{ x: given, rows: { ...good, bits: 10 } }, /expected: bfp9\[1, 2\], actual: bfp10/],
    [{ x: given, rows: { ...good, data: Int32Array.of(256, 0) } }, /mantissa outside -255..255/],
    [{ x: { ...given, data: Float32Array.of(NaN, 0) }, rows: good }, /not finite/],
    [{ x: { ...given, data: Float32Array.of(1) }, rows: good }, /1 elements for 2/],
  ];
  for (const [given, expected] of faults)
    match(
      refusal(() => prepareRun(graph, given)),
      expected,
    );
});

test("a run gives outputs or an error with the op and its row", async () => {
  const g = new GraphBuilder();
  g.output("y", g.log(g.input("x", f32(2))));
  g.output("i", g.iota([2], 0));
  const graph = g.build();
  const x = hostF32([2], [1, 0]);
  const fails: GraphBackend = {
    placeTensors: placeOnHost,
    runGraph: async () => ({ failure: { kind: "non-finite", node: 1, row: 0 } }),
  };
  await rejects(runGraph(fails, graph, { x }), (error: TensorError) => {
    deepEqual(error.info, {
      code: "tensor/run-failed",
      kind: "non-finite",
      node: 1,
      op: "log",
      row: 0,
    });
    return true;
  });
  const works: GraphBackend = {
    placeTensors: placeOnHost,
    runGraph: async (_, given) => ({ failure: undefined, outputs: given, trace: undefined }),
  };
  deepEqual(await runGraph(works, graph, { x, z: hostI32([], [1]) }), { x });
});

test("an input of an index type keeps its type", () => {
  const g = new GraphBuilder();
  g.output("y", g.gather(g.input("table", f32(3, 2)), g.input("i", i32(2))));
  const given = { table: hostF32([3, 2], new Float32Array(6)), i: hostF32([2], [0, 1]) };
  match(
    refusal(() => prepareRun(g.build(), given)),
    /input: i, expected: i32\[2\]/,
  );
});

function refusal(body: () => unknown): string {
  try {
    body();
  } catch (error) {
    if (error instanceof TensorError) return error.message;
    throw error;
  }
  return "not refused";
}
