// The WebGPU backend on a device: compliance in both of its forms, shards, dispatches and loss. Skipped by name
// where no device is installed.

import assert from "node:assert/strict";
import test, { after } from "node:test";
import { type Backend, TensorError } from "gyrotron/tensor";
import { NO_WEBGPU, openDawn } from "../../../test/gpu/hosts-fixture.ts";
import { CaseValues } from "../case-values.ts";
import { conformanceCases } from "../cases.ts";
import { decoderCases, randomDecoder } from "../decoder-cases.ts";
import { createReferenceBackend } from "../reference/index.ts";
import { declareBackendSuite } from "../suite.ts";
import { createWasmBackend } from "../wasm/index.ts";
import { WebGpuDecoder } from "./decoder.ts";
import { WebGpuDevice } from "./device.ts";
import { type Gpu, openWebGpuBackend, type WebGpuOptions } from "./index.ts";
import { freeMatrix, placeMatrices } from "./pack.ts";
import { DOT_NATIVE } from "./wgsl/dot.ts";

if (NO_WEBGPU === undefined) declareTests();
else test("the WebGPU backend conforms", { skip: NO_WEBGPU }, () => {});

/** Pooled buffers hold garbage, and every matrix of some size is cut. */
const DEVICE_OPTIONS = { fill: 0xa5a5a5a5, shardBytesMax: 256 };

const TINY = {
  ...{ width: 4, hidden: 4, heads: 1, kvHeads: 1, headSize: 2 },
  ...{ vocabulary: 4, context: 16 },
};

function declareTests(): void {
  let opened: Promise<WebGpuDevice> | undefined;
  after(async () => (await opened)?.close());

  /** One device with its compiled kernels for all tests: compiling is what takes time. */
  const openDevice = (): Promise<WebGpuDevice> => {
    opened ??= openDawn<Gpu>().then((gpu) => WebGpuDevice.open(gpu, DEVICE_OPTIONS));
    return opened;
  };
  const shared = async (options: WebGpuOptions): Promise<Backend> => {
    const backend = await openWebGpuBackend(await openDevice(), { ...DEVICE_OPTIONS, ...options });
    return { ...backend, close: async () => {} };
  };

  const runner = {
    test: (name: string, body: () => Promise<void>) => void test(name, body),
    equal: assert.equal,
  };
  declareBackendSuite("webgpu, fused", () => shared({ fusedRowsMax: 64 }), runner);
  declareBackendSuite("webgpu, rows prepared", () => shared({ fusedRowsMax: 0 }), runner);

  test("a device without a dot product of bytes computes the same bits", async () => {
    const [backend, oracle] = [await shared({ plainDot: true }), createReferenceBackend()];
    assert.match(backend.device, /plain dot/);
    const v = new CaseValues("plain dot");
    for (const [leftBits, bits] of [
      [8, 8],
      [14, 8],
      [14, 14],
    ] as const) {
      const left = v.bfp(3, 40, leftBits, [-9, -5]);
      const call = {
        op: "matmul",
        left,
        leftBits,
        weights: v.matrix(9, 40, bits, [-9, -5]),
      } as const;
      assert.deepEqual(await backend.run(call), await oracle.run(call));
    }
  });

  test("weights and tables are cut into shards where a buffer holds too little", async () => {
    const device = await openDevice();
    const weights = new CaseValues("shards").matrix(33, 40, 8, [-9, -5]);
    const matrix = placeMatrices(device, [weights]);
    assert.deepEqual(
      matrix.shards.map(({ first, outputs }) => [first, outputs]),
      Array.from({ length: 9 }, (_, i) => [4 * i, Math.min(4, 33 - 4 * i)]),
    );
    freeMatrix(matrix);
    // Sequences of several rows go through every shard in both suites; here the dispatches are counted.
    const { weights: model } = decoderCases(false)[0]!;
    const decoder = await WebGpuDecoder.create(device, DOT_NATIVE, model, { fusedRowsMax: 0 });
    assert.ok((await decoder.dispatchesOf(1, false)) > 10 * model.shape.layers);
    await decoder.close();
  });

  test("six dispatches a layer in decoding, and one for logits", async () => {
    // So small that nothing is cut.
    const weights = randomDecoder("dispatches", { ...TINY, layers: 3 }, "w8a14", true);
    const device = await openDevice();
    const decoder = await WebGpuDecoder.create(device, DOT_NATIVE, weights, { fusedRowsMax: 4 });
    const cache = decoder.createCache(8);
    const count = async (rows: number, wantsLogits: boolean): Promise<number> => {
      const before = device.dispatches;
      await decoder.step(Array.from({ length: rows }, () => ({ cache, token: 1, wantsLogits })));
      assert.equal(await decoder.dispatchesOf(rows, wantsLogits), device.dispatches - before);
      return device.dispatches - before;
    };
    assert.equal(await count(1, true), 6 * 3 + 1);
    assert.equal(await count(2, false), 6 * 3);
    assert.equal(await count(5, true), 10 * 3 + 2);
    await decoder.close();
  });

  test("attention over several tiles of positions", async () => {
    const backend = await shared({});
    const oracle = createReferenceBackend();
    const ids = ["attention/many", "attention/most", "attention/near-middle"];
    const cases = conformanceCases("full").ops.filter(({ id }) => ids.includes(id));
    assert.equal(cases.length, ids.length);
    for (const { id, call } of cases)
      assert.deepEqual(await backend.run(call), await oracle.run(call), id);
  });

  test("prefill in chunks, then decoding, beyond one tile of positions", async () => {
    const shape = { ...TINY, layers: 1, context: 2200 };
    const weights = randomDecoder("tiles", shape, "w8a14", true);
    const v = new CaseValues("tiles");
    const tokens = Array.from({ length: 2120 }, () => v.integer(0, shape.vocabulary - 1));
    const run = async (backend: Backend): Promise<string> => {
      const decoder = await backend.createDecoder(weights);
      const cache = decoder.createCache(tokens.length);
      const logits: string[] = [];
      while (cache.length < tokens.length) {
        // Around the end of the first tile, and at the end, one by one.
        const isSlow = cache.length >= 2112 || (cache.length >= 2040 && cache.length < 2052);
        const next = tokens.slice(cache.length, cache.length + (isSlow ? 1 : 60));
        const rows = next.map((token) => ({ cache, token, wantsLogits: isSlow }));
        for (const row of (await decoder.step(rows)).logits) logits.push(row?.join() ?? "");
      }
      await decoder.close();
      return logits.join("|");
    };
    const wasm = await createWasmBackend();
    assert.equal(await run(await shared({ fusedRowsMax: 4 })), await run(wasm));
    await wasm.close();
  });

  test("caches of many sizes grow the device's memory and keep what they hold", async () => {
    const sample = decoderCases(false)[0]!;
    const backend = await shared({});
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
