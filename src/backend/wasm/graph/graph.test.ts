// Graphs on the Wasm device: the oracle's cases under poison and random splits of work, sizes that no oracle
// reaches compared between devices that split differently, and the device's memory between runs.

import { deepEqual, equal, rejects } from "node:assert/strict";
import { test } from "node:test";
import {
  bfp,
  f32,
  type Graph,
  GraphBuilder,
  type HostTensor,
  i32,
  inputsOf,
  prepareRun,
  type RunInputs,
} from "gyrotron/tensor";
import { CaseValues } from "../../case-values.ts";
import { describeTensorDifference, findGraphMismatches } from "../../graph-conformance.ts";
import { graphCases } from "../../graph-cases.ts";
import { type DeviceOptions, WasmDevice } from "../device.ts";
import { WasmGraphs } from "./run.ts";

const SETTINGS: readonly DeviceOptions[] = [
  { threads: 1, fill: 0xa5, schedule: 1 },
  { threads: 2, fill: 0x7f },
  { threads: 3, fill: 0xff, schedule: 0x12345 },
];

async function onDevice<T>(
  options: DeviceOptions,
  body: (graphs: WasmGraphs, device: WasmDevice) => T,
): Promise<T> {
  const device = await WasmDevice.create(options);
  try {
    return await body(new WasmGraphs(device), device);
  } finally {
    await device.close();
  }
}

for (const options of SETTINGS) {
  test(`quick graph cases, ${JSON.stringify(options)}`, async () => {
    const check = (graphs: WasmGraphs): Promise<string[]> =>
      findGraphMismatches(graphs, graphCases(false));
    deepEqual(await onDevice(options, check), []);
  });
}

/** A graph with odd sizes in which every kernel has several parts to split. */
function largeGraph(): Graph {
  const g = new GraphBuilder();
  const x = g.input("x", f32(70, 513));
  const w = g.input("w", f32(131, 513));
  const ids = g.input("ids", i32(70));
  const y = g.layerNorm(g.matmul(x, g.swapAxes(w), { bits: 14 }));
  g.output("wide", g.matmul(y, g.gelu(y, { approximate: true }), { bits: 16, transposeB: true }));
  const shares = g.softmax(g.matmul(y, y, { transposeB: true }), { causal: true });
  g.output("shares", shares);
  g.output("turned", g.transpose(shares, [1, 0]));
  g.output("kept", g.dropout(g.silu(y), g.constant(key()), 50_000));
  g.output("rows", g.gather(g.tanh(y), ids));
  g.output("sums", g.scatterAdd(g.erf(y), ids, 70));
  g.output("mean", g.mean(g.exp(g.mul(y, 0.1)), { axis: 0 }));
  g.output("top", g.topK(y, 7).indices);
  g.output("weights", g.dequantize(g.quantizeColumns(w, 8)));
  const image = g.reshape(g.slice(x, 1, 0, 512), [7, 8, 10, 64]);
  g.output("pooled", g.maxPool(image, [3, 2], { padding: 1, stride: 2 }));
  const q = g.reshape(g.slice(x, 1, 0, 512), [2, 35, 8, 64]);
  const k = g.reshape(g.slice(x, 1, 1, 512), [2, 70, 4, 64]);
  g.output("attended", g.attention(q, k, k, { causal: true }));
  g.output("one", g.attention(g.slice(q, 1, 34, 1), k, k, { causal: true }));
  g.output("unfused", g.attentionUnfused(q, k, k, { causal: false }));
  g.output("loss", g.crossEntropy(y, ids));
  return g.build();
}

function key(): HostTensor {
  return { element: "i32", shape: [4], data: Int32Array.of(1, -2, 3, 4) };
}

function largeInputs(): RunInputs {
  const v = new CaseValues("large graph");
  return {
    x: { element: "f32", shape: [70, 513], data: v.moderate(70 * 513) },
    w: { element: "f32", shape: [131, 513], data: v.moderate(131 * 513) },
    ids: {
      element: "i32",
      shape: [70],
      data: Int32Array.from({ length: 70 }, (_, i) => (i * 29) % 64),
    },
  };
}

async function outputsOf(
  graphs: WasmGraphs,
  graph: Graph,
  inputs: RunInputs,
): Promise<Readonly<Record<string, HostTensor>>> {
  const prepared = prepareRun(graph, inputs);
  const result = await graphs.runGraph(prepared.graph, prepared.inputs);
  equal(result.failure, undefined);
  return result.failure === undefined ? result.outputs : {};
}

test("threads, splits and garbage in memory change no bit of a large graph", async () => {
  const graph = largeGraph();
  const inputs = largeInputs();
  const run = (graphs: WasmGraphs): ReturnType<typeof outputsOf> =>
    outputsOf(graphs, graph, inputs);
  const expected = await onDevice({ threads: 1 }, run);
  for (const options of SETTINGS) {
    const found = await onDevice(options, run);
    for (const [name, value] of Object.entries(expected)) {
      equal(describeTensorDifference(value, found[name]!), undefined, name);
    }
  }
});

test("quantize reads a turned matrix as it lies: the bits of turning it first", async () => {
  const v = new CaseValues("turned");
  for (const shape of [
    [1, 7],
    [5, 1],
    [8, 16],
    [9, 17],
    [2, 23, 35],
    [3, 2, 16, 70],
    [0, 4],
    [4, 0],
  ]) {
    const g = new GraphBuilder();
    const x = g.input("x", f32(...shape));
    g.output("y", g.quantize(g.swapAxes(x), 14));
    const count = shape.reduce((product, size) => product * size, 1);
    // Some columns are on grids too fine for binary32.
    const data = v
      .moderate(count)
      .map((value, i) => Math.fround(i % 5 === 0 ? value * 1e-40 : value));
    for (const scale of [1, 1e-38]) {
      const scaled = data.map((value) => Math.fround(value * scale));
      const { graph, inputs } = prepareRun(g.build(), {
        x: { element: "f32", shape, data: scaled },
      });
      await onDevice({ threads: 2, fill: 0x33, schedule: 5 }, async (graphs) => {
        const plain = await graphs.runGraph(graph, inputs);
        const traced = await graphs.runGraph(graph, inputs, { trace: true });
        equal(plain.failure ?? traced.failure, undefined);
        if (plain.failure !== undefined || traced.failure !== undefined) return;
        const [a, b] = [traced.outputs["y"]!, plain.outputs["y"]!];
        equal(describeTensorDifference(a, b), undefined, `${shape.join()} ${scale}`);
      });
    }
  }
});

test("rows do not see each other: half of the rows alone give the same bits", async () => {
  const whole = rowsGraph(12);
  const half = rowsGraph(6);
  const v = new CaseValues("rows of graphs");
  const data = v.moderate(12 * 40);
  await onDevice({ threads: 2 }, async (graphs) => {
    const tensor = (rows: number): RunInputs => ({
      x: { element: "f32", shape: [rows, 40], data: data.slice(0, rows * 40) },
    });
    const all = await outputsOf(graphs, whole, tensor(12));
    const some = await outputsOf(graphs, half, tensor(6));
    for (const [name, value] of Object.entries(some)) {
      const { element, data: upper } = all[name]!;
      const first = upper.slice(0, value.data.length);
      equal(
        describeTensorDifference(value, { ...value, element, data: first } as HostTensor),
        undefined,
      );
    }
  });
});

function rowsGraph(rows: number): Graph {
  const g = new GraphBuilder();
  const x = g.input("x", f32(rows, 40));
  g.output("norm", g.rmsNorm(x));
  g.output("softmax", g.softmax(x));
  g.output("sum", g.sum(x, { axis: 1 }));
  g.output("product", g.matmul(x, g.full([40, 3], 0.3), { bits: 14 }));
  return g.build();
}

test("runs and failures give the device's memory back", async () => {
  const graph = largeGraph();
  const inputs = largeInputs();
  await onDevice({ threads: 2 }, async (graphs, device) => {
    await outputsOf(graphs, graph, inputs);
    const { mark } = device;
    await outputsOf(graphs, graph, inputs);
    const bad = { ...inputs, ids: { ...inputs["ids"]!, data: new Int32Array(70).fill(131) } };
    const prepared = prepareRun(graph, bad as RunInputs);
    const { failure } = await graphs.runGraph(prepared.graph, prepared.inputs);
    equal(failure?.kind, "index-out-of-range");
    equal(prepared.graph.nodes[failure!.node]!.op, "gather");
    equal(device.mark, mark);
  });
});

test("a graph runs again, traced and not, after others moved the device's memory", async () => {
  const graph = largeGraph();
  const inputs = largeInputs();
  await onDevice({ threads: 2, fill: 0x11 }, async (graphs, device) => {
    const first = await outputsOf(graphs, graph, inputs);
    const prepared = prepareRun(graph, inputs);
    const traced = await graphs.runGraph(prepared.graph, prepared.inputs, { trace: true });
    equal(traced.failure, undefined);
    for (let i = 0; i < 3; i++) {
      if (i === 1) device.allocate(1000);
      const again = await outputsOf(graphs, graph, inputs);
      for (const [name, value] of Object.entries(first)) {
        equal(describeTensorDifference(value, again[name]!), undefined, name);
        equal(traced.failure ?? describeTensorDifference(value, traced.outputs[name]!), undefined);
      }
    }
  });
});

test("a graph beyond 4 GiB is refused, and the device goes on", async () => {
  const g = new GraphBuilder();
  const x = g.input("x", f32(1, 4));
  g.output("y", g.neg(g.broadcast(x, [2 ** 28, 4])));
  const inputs: RunInputs = { x: { element: "f32", shape: [1, 4], data: new Float32Array(4) } };
  await onDevice({ threads: 1 }, async (graphs) => {
    const { graph } = prepareRun(g.build(), inputs);
    await rejects(graphs.runGraph(graph, inputs), /tensor\/limit/);
    await outputsOf(graphs, rowsGraph(2), {
      x: { element: "f32", shape: [2, 40], data: new Float32Array(80) },
    });
  });
});

test("outputs of a graph without nodes that compute are its operands", async () => {
  const g = new GraphBuilder();
  const x = g.input("x", bfp(11, 3, 5));
  g.output("same", g.reshape(x, [3, 1, 5]));
  g.output("constant", g.constant(key()));
  const value: HostTensor = {
    ...{ element: "bfp", shape: [3, 5], bits: 11, scales: undefined },
    data: Int32Array.from({ length: 15 }, (_, i) => i - 7),
    exponents: Int32Array.of(-3, 0, 9),
  };
  equal(inputsOf(g.build()).length, 1);
  const outputs = await onDevice({ threads: 2, fill: 0xee }, (graphs) =>
    outputsOf(graphs, g.build(), { x: value }),
  );
  deepEqual(outputs["same"], { ...value, shape: [3, 1, 5] });
  deepEqual(outputs["constant"], key());
});
