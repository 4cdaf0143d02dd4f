// Speed of the Wasm backend as ratios within one run: against what the machine gives to bare Wasm loops, and
// against other engines if bench/speed-peers is installed (npm ci --ignore-scripts there).
//   node --conditions=source bench/tensor.bench.ts [pairs] [--only loop,stream,threads,rows,peers]
//     [--rows 1,8,128,512] [--record]

import { createHash } from "node:crypto";
import process from "node:process";
import type { Precision } from "gyrotron/tensor";
import { appendResult, describeRun } from "./record.ts";
import { comparePairs, repeated, repeatsFor } from "./tensor/pairs.ts";
import {
  nativeOnnx,
  type PeerProduct,
  peerVersion,
  wasmOnnx,
  wasmTensorflow,
} from "./tensor/peers.ts";
import { createProbes, createSpinProbe, LOOP_MACS } from "./tensor/probes.ts";
import { createOperands, createProduct } from "./tensor/product.ts";
import { createAttention, createGraphNorm, createNorm, type Stream } from "./tensor/streams.ts";

const SHAPES = [
  [576, 1536],
  [768, 3072],
] as const;
const ROWS = (option("--rows") ?? "1,8,128,512").split(",").map(Number);
/** For one row only: weights beyond the second cache, as those of models with billions of weights are. */
const LARGE_SHAPE = [4096, 4096] as const;
/** Weights that no cache of a usual machine holds. */
const STREAMED = { inputs: 8192, outputs: 16384 };
const SLICE_MS = 1.5;

type Line = Readonly<Record<string, string | number>>;

const sections = { loop, stream, threads, rows: memoryBound, peers };
const pairs = Number(process.argv[2]?.match(/^\d+$/)?.[0] ?? 101);
const only = option("--only")?.split(",") ?? Object.keys(sections);
const versions = Object.fromEntries(
  ["onnxruntime-node", "onnxruntime-web", "@tensorflow/tfjs-backend-wasm"].map((name) => [
    name,
    peerVersion(name) ?? "not installed",
  ]),
);
const run = { ...describeRun(), pairs, versions };
console.log(JSON.stringify(run));
const results: Line[] = [];
for (const [name, section] of Object.entries(sections)) {
  if (only.includes(name)) await section();
}
if (process.argv.includes("--record")) appendResult("tensor", { ...run, results });

/** Products, quantizing and epilogue included, against the bare loop of dot products in the first cache. */
async function loop(): Promise<void> {
  const probes = await createProbes(65536);
  for (const [inputs, outputs] of SHAPES) {
    for (const precision of ["w8a14", "w14a14"] satisfies Precision[]) {
      for (const rows of ROWS) {
        const operands = createOperands(rows, inputs, outputs);
        const product = await createProduct(operands, precision, 1);
        const macs = rows * inputs * outputs;
        const count = await repeatsFor(product.run, SLICE_MS);
        const repetitions = Math.max(1, Math.round((macs * count) / LOOP_MACS));
        const bare = (): unknown => probes.loop(repetitions);
        const found = await comparePairs(repeated(product.run, count), bare, { pairs });
        const same = (LOOP_MACS * repetitions) / (macs * count);
        report({
          section: "loop",
          ...{ precision, rows, inputs, outputs },
          gmacs: round((macs * count) / found.oursMs / 1e6),
          loopGmacs: round((LOOP_MACS * repetitions) / found.theirsMs / 1e6),
          ratio: round(found.speed / same),
          quietRatio: round(found.quietSpeed / same),
          digest: digestOf(product.runWhole()),
        });
        await product.close();
      }
    }
  }
}

/** One row by weights that come from memory, against reading as many bytes. */
async function stream(): Promise<void> {
  const { inputs, outputs } = STREAMED;
  const product = await createProduct(createOperands(1, inputs, outputs), "w8a14", 1);
  const bytes = inputs * outputs;
  const probes = await createProbes(bytes);
  const found = await comparePairs(product.run, () => probes.sweep(bytes), { pairs });
  report({
    section: "stream",
    ...{ precision: "w8a14", rows: 1, inputs, outputs },
    gigabytes: round(bytes / found.oursMs / 1e6),
    sweepGigabytes: round(bytes / found.theirsMs / 1e6),
    ratio: round(found.speed),
    quietRatio: round(found.quietSpeed),
    digest: digestOf(product.runWhole()),
  });
  await product.close();
}

/** Two threads against one, beside what two threads that share nothing gain at the time. */
async function threads(): Promise<void> {
  const probes = await createProbes(65536);
  const spin = await createSpinProbe(probes);
  for (const rows of [1, 8, 128]) {
    const operands = createOperands(rows, 768, 3072);
    const one = await createProduct(operands, "w8a14", 1);
    const two = await createProduct(operands, "w8a14", 2);
    const count = await repeatsFor(one.run, 2 * SLICE_MS);
    const repetitions = Math.round((rows * 768 * 3072 * count) / LOOP_MACS);
    const bare = await comparePairs(
      () => spin.both(repetitions),
      () => probes.loop(repetitions),
      { pairs },
    );
    const found = await comparePairs(repeated(two.run, count), repeated(one.run, count), { pairs });
    report({
      section: "threads",
      ...{ precision: "w8a14", rows, inputs: 768, outputs: 3072 },
      probe: round(2 * bare.speed),
      quietProbe: round(2 * bare.quietSpeed),
      ratio: round(found.speed),
      quietRatio: round(found.quietSpeed),
      digest: digestOf(two.runWhole()),
    });
    await one.close();
    await two.close();
  }
  await spin.close();
}

/** Norms and attention against a copy of their operands: how many times as long they take. */
async function memoryBound(): Promise<void> {
  const streams: Stream[] = [
    await createNorm(4096, 1024),
    await createGraphNorm("rmsNorm", 4096, 1024),
    await createGraphNorm("layerNorm", 4096, 1024),
    await createAttention(16, 64, 2048),
    await createAttention(16, 128, 2048),
  ];
  for (const { name, bytes, run, digest, close } of streams) {
    const probes = await createProbes(bytes);
    const found = await comparePairs(run, () => probes.copy(bytes), { pairs });
    report({
      section: "rows",
      name,
      megabytes: round(bytes / 1e6),
      milliseconds: round(found.oursMs),
      copyMilliseconds: round(found.theirsMs),
      timesCopy: round(1 / found.speed),
      quietTimesCopy: round(1 / found.quietSpeed),
      digest: digest(),
    });
    await close();
  }
}

/** Products against other engines, activations copied in and results out on both sides. */
async function peers(): Promise<void> {
  for (const [inputs, outputs] of [...SHAPES, LARGE_SHAPE]) {
    for (const rows of inputs === LARGE_SHAPE[0] ? [1] : ROWS) {
      const operands = createOperands(rows, inputs, outputs);
      const others: Record<string, () => Promise<PeerProduct>> = {};
      if (peerVersion("onnxruntime-node") !== undefined) {
        others["onnxruntime-node f32"] = () => nativeOnnx("float", operands, 1);
        others["onnxruntime-node int8"] = () => nativeOnnx("integer", operands, 1);
      }
      if (peerVersion("onnxruntime-web") !== undefined) {
        others["onnxruntime-web f32"] = () => wasmOnnx("float", operands);
        others["onnxruntime-web int8"] = () => wasmOnnx("integer", operands);
      }
      if (peerVersion("@tensorflow/tfjs-backend-wasm") !== undefined) {
        others["tfjs-wasm f32"] = () => wasmTensorflow(operands);
      }
      const product = await createProduct(operands, "w8a14", 1);
      const count = await repeatsFor(product.runWhole, SLICE_MS);
      for (const [name, create] of Object.entries(others)) {
        const peer = await create();
        // Slices of one length on both sides: a longer one would be interrupted more often.
        const theirCount = await repeatsFor(peer.run, SLICE_MS);
        const ours = repeated(product.runWhole, count);
        const found = await comparePairs(ours, repeated(peer.run, theirCount), { pairs });
        const scale = count / theirCount;
        report({
          section: "peers",
          peer: name,
          ...{ precision: "w8a14", rows, inputs, outputs },
          microseconds: round((found.oursMs * 1000) / count),
          theirMicroseconds: round((found.theirsMs * 1000) / theirCount),
          ratio: round(found.speed * scale),
          quietRatio: round(found.quietSpeed * scale),
        });
        await peer.close();
      }
      await product.close();
    }
  }
}

function option(name: string): string | undefined {
  const at = process.argv.indexOf(name);
  return at < 0 ? undefined : process.argv[at + 1];
}

function report(line: Line): void {
  results.push(line);
  console.log(JSON.stringify(line));
}

function digestOf(values: Float32Array): string {
  return createHash("sha256").update(new Uint8Array(values.buffer)).digest("hex").slice(0, 16);
}

function round(value: number): number {
  return Number(value.toPrecision(3));
}
