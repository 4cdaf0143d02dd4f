// The WebGPU backend on a device: compliance in both of its forms, shards, dispatches and loss. Skipped by name
// where no device is installed.

import assert from "node:assert/strict";
import test, { after } from "node:test";
import { type Backend, TensorError } from "gyrotron/tensor";
import { NO_WEBGPU, openDawn } from "../../../test/gpu/hosts-fixture.ts";
import { CaseValues } from "../case-values.ts";
import { decoderCases } from "../decoder-cases.ts";
import { declareBackendSuite } from "../suite.ts";
import { WebGpuDecoder } from "./decoder.ts";
import { WebGpuDevice } from "./device.ts";
import { type Gpu, openWebGpuBackend, type WebGpuOptions } from "./index.ts";
import { freeMatrix, placeMatrices } from "./pack.ts";
import { DOT_NATIVE, DOT_PLAIN } from "./wgsl/dot.ts";

if (NO_WEBGPU === undefined) declareTests();
else test("the WebGPU backend conforms", { skip: NO_WEBGPU }, () => {});

function declareTests(): void {
  const devices = new Map<string, Promise<WebGpuDevice>>();
  after(async () => {
    for (const device of devices.values()) (await device).close();
  });

  /** One device for each set of settings, with its compiled kernels, for all tests. */
  const deviceOf = async (name: string, options: WebGpuOptions): Promise<WebGpuDevice> => {
    const device = devices.get(name) ?? WebGpuDevice.open(await openDawn<Gpu>(), options);
    devices.set(name, device);
    return device;
  };
  const shared = async (name: string, options: WebGpuOptions): Promise<Backend> => {
    const backend = await openWebGpuBackend(await deviceOf(name, options), options);
    return { ...backend, close: async () => {} };
  };

  const runner = {
    test: (name: string, body: () => Promise<void>) => void test(name, body),
    equal: assert.equal,
  };
  const fused = { fusedRowsMax: 64, fill: 0xa5a5a5a5 };
  const split = { fusedRowsMax: 0, fill: 0x7f7f7f7f, plainDot: true, shardBytesMax: 256 };
  declareBackendSuite("webgpu, fused, poisoned", () => shared("fused", fused), runner);
  declareBackendSuite(
    "webgpu, rows prepared, in shards, poisoned",
    () => shared("split", split),
    runner,
  );

  test("weights and tables are cut into shards where a buffer holds too little", async () => {
    const device = await deviceOf("split", split);
    const weights = new CaseValues("shards").matrix(33, 40, 8, [-9, -5]);
    const matrix = placeMatrices(device, [weights]);
    assert.deepEqual(
      matrix.shards.map(({ first, outputs }) => [first, outputs]),
      Array.from({ length: 9 }, (_, i) => [4 * i, Math.min(4, 33 - 4 * i)]),
    );
    freeMatrix(matrix);
    // Sequences of several rows go through every shard in both suites; here the dispatches are counted.
    const { weights: model } = decoderCases(false)[0]!;
    const decoder = await WebGpuDecoder.create(device, DOT_PLAIN, model, { fusedRowsMax: 0 });
    assert.ok((await decoder.dispatchesOf(1, false)) > 1 + 10 * model.shape.layers);
    await decoder.close();
  });

  test("six dispatches a layer in decoding, one to begin and one for logits", async () => {
    const { weights } = decoderCases(false)[0]!;
    const device = await deviceOf("fused", fused);
    const decoder = await WebGpuDecoder.create(device, DOT_NATIVE, weights, { fusedRowsMax: 4 });
    const cache = decoder.createCache(8);
    const layers = weights.shape.layers;
    const count = async (rows: number, wantsLogits: boolean): Promise<number> => {
      const before = device.dispatches;
      await decoder.step(Array.from({ length: rows }, () => ({ cache, token: 1, wantsLogits })));
      assert.equal(await decoder.dispatchesOf(rows, wantsLogits), device.dispatches - before);
      return device.dispatches - before;
    };
    assert.equal(await count(1, true), 1 + 6 * layers + 1);
    assert.equal(await count(2, false), 1 + 6 * layers);
    assert.equal(await count(5, true), 1 + 10 * layers + 2);
    await decoder.close();
  });

  test("caches of many sizes grow the device's memory and keep what they hold", async () => {
    const sample = decoderCases(false)[0]!;
    const backend = await shared("fused", fused);
    const decoder = await backend.createDecoder(sample.weights);
    const logits = async (capacity: number, others: number): Promise<string> => {
      const cache = decoder.createCache(capacity);
      const row = (token: number) => ({ cache, token, wantsLogits: true });
      const first = await decoder.step([row(3)]);
      const more = Array.from({ length: others }, () => decoder.createCache(24));
      const second = await decoder.step([row(5)]);
      for (const other of [cache, ...more]) other.free();
      return [...first.logits, ...second.logits].map((values) => values?.join()).join("|");
    };
    const alone = await logits(24, 0);
    assert.equal(await logits(24, 100), alone);
    assert.equal(await logits(2, 3), alone);
    await decoder.close();
  });

  test("a lost device is reported by what ran on it and by every later call", async () => {
    const { weights } = decoderCases(false)[0]!;
    const device = await WebGpuDevice.open(await openDawn<Gpu>());
    const backend = await openWebGpuBackend(device, {});
    const call = { op: "silu", x: Float32Array.of(1, 2), columns: 1 } as const;
    const decoder = await backend.createDecoder(weights);
    const cache = decoder.createCache(4);
    const running = codeOf(() => decoder.step([{ cache, token: 1, wantsLogits: true }]));
    device.lose("pulled out");
    assert.equal(await running, "tensor/device-lost");
    assert.equal(await codeOf(() => backend.run(call)), "tensor/device-lost");
    assert.equal(await codeOf(() => backend.createDecoder(weights)), "tensor/device-lost");
    const row = { cache, token: 1, wantsLogits: true };
    assert.equal(await codeOf(() => decoder.step([row])), "tensor/device-lost");
    await backend.close();
    assert.equal(await codeOf(() => backend.run(call)), "tensor/closed");
  });
}

async function codeOf(body: () => Promise<unknown>): Promise<string> {
  try {
    await body();
    return "no error";
  } catch (error) {
    return error instanceof TensorError ? error.info.code : String(error);
  }
}
