// A GPU in one run: the published digest first, then the decoder's rates beside what the device can do at most: a
// copy within its memory for decoding, a loop of byte dot products in registers for prompts. On a device in
// software only the digest counts. Needs `npm ci` and, without a system-wide Dawn, `node scripts/gpu-setup.ts`.
//
//   node --conditions=source bench/gpu.bench.ts [--shape smollm2|tiny] [--record]

import process from "node:process";
import { createWebGpuBackend, PUBLISHED_CONFORMANCE, runConformance } from "gyrotron/backend";
import type { DecoderShape } from "gyrotron/tensor";
import { randomDecoder } from "../src/backend/decoder-cases.ts";
import type { Gpu, GpuDeviceHandle } from "../src/backend/webgpu/gpu-interface.ts";
import { BUFFER_USAGE, MAP_READ, STAGE_COMPUTE } from "../src/backend/webgpu/gpu-interface.ts";
import { openWebGpuHost } from "../src/cli/webgpu-host.ts";
import { appendResult, describeRun } from "./record.ts";
import { median } from "./tensor/pairs.ts";

const SHAPES: Readonly<Record<string, DecoderShape>> = {
  tiny: {
    ...{ width: 64, hidden: 96, layers: 2, heads: 2, kvHeads: 1, headSize: 32 },
    ...{ vocabulary: 256, context: 128 },
  },
  smollm2: {
    ...{ width: 576, hidden: 1536, layers: 30, heads: 9, kvHeads: 3, headSize: 64 },
    ...{ vocabulary: 49152, context: 1024 },
  },
};
const ROUNDS = 7;
const COPY_BYTES: number = 64 * 2 ** 20;
const DOT_THREADS: number = 256 * 1024;
const DOT_STEPS = 1024;

const gpu = await openWebGpuHost();
const backend = await createWebGpuBackend(gpu);
const isSoftware = /swiftshader|llvmpipe|lavapipe|cpu/i.test(backend.device);
const flag = process.argv.indexOf("--shape");
const name = flag > 0 ? process.argv[flag + 1]! : isSoftware ? "tiny" : "smollm2";
const shape = SHAPES[name];
if (shape === undefined) throw new TypeError(`--shape takes ${Object.keys(SHAPES).join(", ")}`);
console.log(backend.device);

const { cases, mismatches, digest } = await runConformance(backend, "quick");
const isPublished = digest === PUBLISHED_CONFORMANCE.quick.digest;
console.log(`quick: ${cases} cases, ${mismatches.length} mismatches, ${digest}`);
console.log(isPublished ? "the published digest" : "NOT the published digest");

const ceilings = await measureCeilings(gpu);
const model = await measureModel(shape);
const figures = {
  copyGBs: ceilings.copy / 1e9,
  dotTops: ceilings.dot / 1e12,
  decodeTokens: model.decode,
  decodeGBs: (model.decode * model.weightBytes) / 1e9,
  decodeByCopy: (model.decode * model.weightBytes) / ceilings.copy,
  prefillTokens: model.prefill,
  // Two passes of bytes for activations of 14 bits, a multiply and an add each.
  prefillTops: (model.prefill * model.weightBytes * 4) / 1e12,
  prefillByDot: (model.prefill * model.weightBytes * 4) / ceilings.dot,
};
for (const [key, value] of Object.entries(figures))
  console.log(`${key.padEnd(16)}${value.toPrecision(3)}`);
if (process.argv.includes("--record")) {
  const run = { ...describeRun(), device: backend.device, shape: name, digest, isPublished };
  appendResult("gpu", { ...run, ...figures });
}
await backend.close();
process.exitCode = isPublished ? 0 : 1;

/** Bytes read and written by a copy, and operations of dot products of bytes, a second. */
async function measureCeilings(host: Gpu): Promise<{ copy: number; dot: number }> {
  const adapter = await host.requestAdapter({ powerPreference: "high-performance" });
  if (adapter === null) throw new TypeError("no adapter");
  const device = await adapter.requestDevice({ requiredLimits: {} });
  const scale = isSoftware ? 16 : 1;
  const copy = await copyRate(device, COPY_BYTES / scale);
  const hasDot = host.wgslLanguageFeatures?.has("packed_4x8_integer_dot_product") === true;
  const dot = hasDot ? await dotRate(device, DOT_THREADS / scale / 16) : Number.NaN;
  device.destroy();
  return { copy, dot };
}

async function copyRate(device: GpuDeviceHandle, size: number): Promise<number> {
  const usage = BUFFER_USAGE.copySource | BUFFER_USAGE.copyTarget;
  const [from, to] = [device.createBuffer({ size, usage }), device.createBuffer({ size, usage })];
  const copies = 8;
  const ms = await medianMs(device, () => {
    const encoder = device.createCommandEncoder();
    for (let i = 0; i < copies; i++) encoder.copyBufferToBuffer(from, 0, to, 0, size);
    return encoder.finish();
  });
  from.destroy();
  to.destroy();
  return (2 * copies * size * 1000) / ms;
}

/** Eight chains of dot4I8Packed in registers: 8 operations each. */
async function dotRate(device: GpuDeviceHandle, threads: number): Promise<number> {
  const chains = Array.from({ length: 8 }, (_, i) => i);
  const code = `
@group(0) @binding(0) var<storage, read_write> out: array<i32>;
@compute @workgroup_size(256) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  var a = id.x * 0x01030507u;
  ${chains.map((i) => `var s${i} = ${i};`).join(" ")}
  for (var k = 0u; k < ${DOT_STEPS}u; k++) {
    ${chains.map((i) => `s${i} += dot4I8Packed(a + ${i}u, a ^ k);`).join("\n    ")}
    a += 0x01010101u;
  }
  out[id.x] = ${chains.map((i) => `s${i}`).join(" + ")};
}`;
  const layout = device.createBindGroupLayout({
    entries: [{ binding: 0, visibility: STAGE_COMPUTE, buffer: { type: "storage" } }],
  });
  const pipeline = await device.createComputePipelineAsync({
    layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
    compute: { module: device.createShaderModule({ code }), entryPoint: "main" },
  });
  const out = device.createBuffer({ size: threads * 4, usage: BUFFER_USAGE.storage });
  const entries = [{ binding: 0, resource: { buffer: out } }];
  const group = device.createBindGroup({ layout, entries });
  const ms = await medianMs(device, () => {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(threads / 256);
    pass.end();
    return encoder.finish();
  });
  out.destroy();
  return (threads * DOT_STEPS * 8 * 8 * 1000) / ms;
}

/** Until the device has done it: a readback waits for what was submitted before. */
async function medianMs(device: GpuDeviceHandle, encode: () => object): Promise<number> {
  const usage = BUFFER_USAGE.mapRead | BUFFER_USAGE.copyTarget;
  const fence = device.createBuffer({ size: 4, usage });
  const source = device.createBuffer({ size: 4, usage: BUFFER_USAGE.copySource });
  const times: number[] = [];
  for (let i = 0; i <= ROUNDS; i++) {
    const start = performance.now();
    const last = device.createCommandEncoder();
    last.copyBufferToBuffer(source, 0, fence, 0, 4);
    device.queue.submit([encode(), last.finish()]);
    await fence.mapAsync(MAP_READ);
    fence.unmap();
    // The first warms up.
    if (i > 0) times.push(performance.now() - start);
  }
  fence.destroy();
  source.destroy();
  return median(times);
}

/** Tokens a second of a random model, one sequence, and a prompt of two full steps. */
async function measureModel(
  sizes: DecoderShape,
): Promise<{ decode: number; prefill: number; weightBytes: number }> {
  const weights = randomDecoder("gpu bench", sizes, "w8a14", true);
  const matrices = weights.layers.flatMap((layer) => Object.values(layer) as object[]);
  const weightBytes = [...matrices, weights.classifier].reduce(
    (sum, part) => sum + ("mantissas" in part ? (part.mantissas as Int8Array).byteLength : 0),
    0,
  );
  const decoder = await backend.createDecoder(weights);
  const decode: number[] = [];
  const prefill: number[] = [];
  for (let round = 0; round <= ROUNDS; round++) {
    const cache = decoder.createCache(Math.min(sizes.context, 96));
    const count = Math.min(decoder.rowsMax, 64);
    const rows = Array.from({ length: count }, (_, i) => ({
      cache,
      token: i % sizes.vocabulary,
      wantsLogits: i === count - 1,
    }));
    let start = performance.now();
    await decoder.step(rows);
    const prompt = performance.now() - start;
    start = performance.now();
    for (let i = 0; i < 16; i++) await decoder.step([{ cache, token: i, wantsLogits: true }]);
    if (round > 0) {
      prefill.push((count * 1000) / prompt);
      decode.push(16_000 / (performance.now() - start));
    }
    cache.free();
  }
  await decoder.close();
  return { decode: median(decode), prefill: median(prefill), weightBytes };
}
