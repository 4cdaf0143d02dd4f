// Contexts of some thousand positions, by a small model of random weights: the same tokens and the same digest of all
// logits in every way; memory and positions that there are not are refused by name.

import assert from "node:assert/strict";
import { test } from "node:test";
import { createWasmBackend } from "gyrotron/backend";
import { createGenerator, GREEDY } from "gyrotron/learn";
import { CONTEXT_STANDARD, type ModelSource, prepareModel } from "gyrotron/model";
import { threefry } from "gyrotron/numerics";
import { type DecoderShape, embeddingTable, TensorError } from "gyrotron/tensor";
import { answerRequests, OTHER_WAYS, PLAIN } from "./answer-ways.ts";

const SMALL: DecoderShape = {
  ...{ width: 12, hidden: 20, layers: 2, heads: 2, kvHeads: 1, headSize: 6 },
  ...{ vocabulary: 262, context: 4096 },
};

/** Tokens without a period that the model could hold on to. */
function prompt(length: number): number[] {
  return Array.from({ length }, (_, i) => (i * i * 7 + (i >> 3)) % SMALL.vocabulary);
}

const source = randomSource(SMALL);

test("one answer in every way on the CPU, behind 2,500 tokens", async () => {
  const models = { model: prepareModel(source), draft: prepareModel(source, "w8a8") };
  const requests = answerRequests(prompt(2500));
  const expected = await PLAIN.run(models, requests);
  assert.notDeepEqual(expected[0], expected[1]);
  for (const { name, run } of OTHER_WAYS)
    assert.deepEqual(await run(models, requests), expected, name);
});

test("a model has the positions that are asked for, of those that it was made for", () => {
  assert.equal(
    prepareModel(randomSource({ ...SMALL, context: 20_000 })).shape.context,
    CONTEXT_STANDARD,
  );
  const most = randomSource({ ...SMALL, context: 65_536 });
  assert.equal(prepareModel(most, "w8a8", 65_536).shape.context, 65_536);
  assert.equal(prepareModel(source).shape.context, 4096);
  for (const context of [4097, 0, 1.5])
    assert.throws(() => prepareModel(source, "w8a8", context), {
      message: /model\/limit .*positions of the context/,
    });
  // The same weights with another context are another model: the longest text that it can write is another.
  const [long, short] = [prepareModel(source), prepareModel(source, "w8a14", 2048)];
  assert.notDeepEqual(long.identity, short.identity);
});

test("a cache that no memory is left for is refused in MiB; kept texts and freed ones make room", async () => {
  // 1 MiB and 16 KiB a position: a full context does not fit into the 4 GiB of a Wasm memory, a quarter does thrice.
  const shape = {
    ...{ width: 2, hidden: 2, layers: 8, heads: 256, kvHeads: 256, headSize: 128 },
    ...{ vocabulary: 3, context: 4096 },
  };
  const backend = await createWasmBackend();
  const model = prepareModel(randomSource(shape));
  const decoder = await backend.createDecoder(model.weights);
  const refused = (capacity: number): TensorError["info"] => {
    try {
      decoder.createCache(capacity).free();
    } catch (error) {
      if (error instanceof TensorError) return error.info;
      throw error;
    }
    assert.fail(`room for ${capacity} positions`);
  };
  const info = refused(4096);
  assert.ok(info.code === "tensor/cache-memory");
  assert.deepEqual([info.backend, info.positions, info.mebibytes], ["wasm", 4096, 4161]);
  // What is not weights and buffers of 4096 MiB.
  assert.ok(info.leftMebibytes > 3500 && info.leftMebibytes < 4096);
  const caches = [1000, 1000, 1000].map((capacity) => decoder.createCache(capacity));
  assert.equal(refused(2000).code, "tensor/cache-memory");
  for (const cache of caches) cache.free();
  decoder.createCache(2000).free();
  await decoder.close();

  const generator = await createGenerator(model, { backend, keptCaches: 3 });
  const generate = async (first: number): Promise<string> => {
    const promptTokens = [first, ...Array.from({ length: 9 }, () => 1)];
    const request = { promptTokens, maxTokens: 1000, isComplete: () => true };
    return (await generator.generate({ ...request, sampling: GREEDY, seed: 0n })).kind;
  };
  for (const first of [0, 1, 2]) assert.equal(await generate(first), "done");
  const long = { promptTokens: [2, 2], maxTokens: 2000, isComplete: () => true };
  const { kind } = await generator.generate({ ...long, sampling: GREEDY, seed: 0n });
  assert.equal(kind, "done");
  await generator.close();
  await backend.close();
});

/** A model of random weights whose heads look at some positions much more than at others. */
function randomSource(shape: DecoderShape): ModelSource {
  const { width, hidden, heads, kvHeads, headSize, layers, vocabulary } = shape;
  let stream = 0;
  const floats = (count: number, size: number): Float32Array => {
    stream += 1;
    return Float32Array.from({ length: count }, (_, i) => {
      const [draw] = threefry([stream, 3], [i, 0]);
      return (draw / 2 ** 31 - 1) * size;
    });
  };
  const [attended, keys] = [heads * headSize * width, kvHeads * headSize * width];
  const layer = (): ModelSource["layers"][number] => ({
    ...{ attentionGain: floats(width, 2), feedForwardGain: floats(width, 2) },
    ...{ query: floats(attended, 2), key: floats(keys, 2), value: floats(keys, 0.5) },
    attentionOutput: floats(attended, 0.5),
    ...{ gate: floats(hidden * width, 0.5), up: floats(hidden * width, 0.5) },
    down: floats(hidden * width, 0.5),
  });
  return {
    ...{ shape, epsilon: Math.fround(1e-5), rotaryTheta: 10_000, rotaryInterleaved: false },
    ...{ beginToken: 1, endTokens: [], classifier: undefined },
    embedding: embeddingTable(floats(vocabulary * width, 1), width),
    layers: Array.from({ length: layers }, layer),
    finalGain: floats(width, 2),
  };
}
