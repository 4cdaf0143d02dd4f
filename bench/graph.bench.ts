// Speed of graph ops on the Wasm backend, one thread, as multiples of the time that a copy of their operands
// takes in the same run (Wasm's memory.copy). What a run copies in and out of the host is not counted.
//   node --conditions=source bench/graph.bench.ts [pairs] [--only name,...] [--record]

import process from "node:process";
import type { HostTensor, Node, ResolvedGraph, RunInputs, TensorType } from "gyrotron/tensor";
import { WasmDevice } from "../src/backend/wasm/device.ts";
import { compileFor, LoadedGraph } from "../src/backend/wasm/graph/run.ts";
import { storedBytes } from "../src/backend/wasm/graph/storage.ts";
import { FunctionTables } from "../src/backend/wasm/graph/tables.ts";
import { appendResult, describeRun } from "./record.ts";
import { comparePairs, repeated, repeatsFor } from "./tensor/pairs.ts";
import { createProbes } from "./tensor/probes.ts";

const ROWS = 2048;
const COLUMNS = 1024;
const SLICE_MS = 4;

type Type = TensorType<number>;
type NodeDraft = Record<string, unknown> & { readonly op: string };

interface Sample {
  readonly name: string;
  readonly inputs: readonly Type[];
  readonly op: NodeDraft;
  readonly result: Type;
}

const matrix: Type = { element: "f32", shape: [ROWS, COLUMNS] };
const column: Type = { element: "f32", shape: [ROWS] };
const indices: Type = { element: "i32", shape: [ROWS] };
const cache: Type = { element: "bfp", shape: [1, 2048, 16, 64], bits: 13, scaled: false };
const query: Type = { ...cache, shape: [1, 1, 16, 64] };
const mantissas: Type = { element: "bfp", shape: [ROWS, COLUMNS], bits: 14, scaled: false };

const UNARY = [
  ...["neg", "sqrt", "rsqrt", "exp", "log", "tanh", "sigmoid", "erf", "gelu", "gelu-tanh", "silu"],
];

const SAMPLES: readonly Sample[] = [
  ...["add", "mul", "div"].map((op) => sample(op, [matrix, matrix], { op }, matrix)),
  ...UNARY.map((op) => sample(op, [matrix], { op }, matrix)),
  sample("transpose", [matrix], { op: "transpose", permutation: [1, 0] }, turned(matrix)),
  sample("gather", [matrix, indices], { op: "gather" }, matrix),
  sample("sum", [matrix], { op: "sum", bits: 24 }, column),
  sample("variance", [matrix], { op: "variance", bits: 16 }, column),
  sample("argmax", [matrix], { op: "argmax" }, indices),
  sample("rms-norm", [matrix], { op: "rms-norm", epsilon: Math.fround(1e-5) }, matrix),
  sample("layer-norm", [matrix], { op: "layer-norm", epsilon: Math.fround(1e-5) }, matrix),
  sample("softmax", [matrix], { op: "softmax", causal: false }, matrix),
  sample("log-softmax", [matrix], { op: "log-softmax" }, matrix),
  sample("scatter-add", [matrix, indices], { op: "scatter-add" }, matrix),
  sample("quantize", [matrix], { op: "quantize", bits: 14 }, mantissas),
  sample("quantize of a turned matrix", [matrix], { op: "turned" }, turned(mantissas)),
  sample(
    "quantize-columns",
    [matrix],
    { op: "quantize-columns", bits: 8 },
    { ...mantissas, bits: 8, scaled: true },
  ),
  sample("dequantize", [mantissas], { op: "dequantize" }, matrix),
  sample(
    "attention",
    [query, cache, cache],
    { op: "attention", causal: true },
    { element: "f32", shape: query.shape },
  ),
];

const pairs = Number(process.argv[2]?.match(/^\d+$/)?.[0] ?? 21);
const only = process.argv.includes("--only")
  ? process.argv[process.argv.indexOf("--only") + 1]!.split(",")
  : SAMPLES.map(({ name }) => name);
const run = { ...describeRun(), pairs };
console.log(JSON.stringify(run));
const results: Record<string, string | number>[] = [];
for (const one of SAMPLES) {
  if (!only.includes(one.name)) continue;
  results.push(await measure(one));
  console.log(JSON.stringify(results.at(-1)));
}
if (process.argv.includes("--record")) appendResult("graph", { ...run, results });

async function measure({ name, inputs, op, result }: Sample): Promise<(typeof results)[number]> {
  const nodes = inputs.map((type, i) =>
    node({ op: "input", name: `x${i}`, role: "data" }, [], type),
  );
  if (op.op === "turned") {
    nodes.push(node({ op: "transpose", permutation: [1, 0] }, [0], turned(matrix)));
    nodes.push(node({ op: "quantize", bits: 14 }, [1], result));
  } else nodes.push(node(op, [...inputs.keys()], result));
  const graph: ResolvedGraph = { nodes, outputs: [{ name: "y", node: nodes.length - 1 }] };
  const device = await WasmDevice.create({ threads: 1 });
  new FunctionTables(device).provide(graph);
  const loaded = new LoadedGraph(device, graph, compileFor(device, graph));
  const values: RunInputs = Object.fromEntries(inputs.map((type, i) => [`x${i}`, valueOf(type)]));
  loaded.write(values);
  const bytes = inputs.reduce((sum, type) => sum + storedBytes(type), 0);
  const probes = await createProbes(bytes);
  const compute = (): void => loaded.compute();
  const count = await repeatsFor(compute, SLICE_MS);
  const copy = repeated(() => probes.copy(bytes), count);
  const found = await comparePairs(repeated(compute, count), copy, { pairs });
  await device.close();
  const elements = inputs[0]!.shape.reduce((product, size) => product * size, 1);
  return {
    name,
    megabytes: round(bytes / 1e6),
    nanosecondsAnElement: round((found.oursMs * 1e6) / count / elements),
    timesCopy: round(1 / found.speed),
  };
}

function sample(name: string, inputs: readonly Type[], op: NodeDraft, result: Type): Sample {
  return { name, inputs, op, result };
}

function node(op: NodeDraft, inputs: readonly number[], type: Type): Node<number> {
  return { ...op, inputs, type } as unknown as Node<number>;
}

function turned(type: Type): Type {
  return { ...type, shape: type.shape.toReversed() };
}

/** Positive values over four powers of ten, so that every function has something to do. */
function valueOf(type: Type): HostTensor {
  const { shape } = type;
  const count = shape.reduce((product, size) => product * size, 1);
  const at = (i: number): number => (i * 7919) % 8191;
  switch (type.element) {
    case "f32":
      return {
        ...{ element: "f32", shape },
        data: Float32Array.from({ length: count }, (_, i) => 0.001 * (at(i) + 1)),
      };
    case "bfp":
      return {
        ...{ element: "bfp", shape, bits: type.bits, scales: undefined },
        data: Int32Array.from({ length: count }, (_, i) => (at(i) >> 1) - 2000),
        exponents: new Int32Array(count / shape.at(-1)!).fill(-14),
      };
    default:
      return {
        ...{ element: "i32", shape },
        data: Int32Array.from({ length: count }, (_, i) => at(i) % ROWS),
      };
  }
}

function round(value: number): number {
  return Number(value.toPrecision(3));
}
