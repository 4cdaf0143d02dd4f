// A whole answer of 64 tokens by the small models: the same tokens and the same digest of all logits in every way
// on the CPU, and on WebGPU. What is not installed is skipped by name.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { present } from "gyrotron/base";
import { createWebGpuBackend, type Gpu } from "gyrotron/backend";
import { bundledModelPath, loadModel } from "gyrotron/node/models";
import { NO_WEBGPU, openDawn } from "../gpu/hosts-fixture.ts";
import { answerRequests, answersOn, OTHER_WAYS, PLAIN } from "./answer-ways.ts";

const SHARED = process.env["GYROTRON_SHARED"] ?? resolve(import.meta.dirname, "../../../shared");
const STORIES = join(SHARED, "models/stories260k/stories260K.bin");

const MODELS = [
  {
    name: "storyteller",
    path: bundledModelPath(),
    prompt: "The fox saw the crow in a tree with a piece of cheese, and said to her",
  },
  {
    name: "stories260k",
    path: STORIES,
    prompt: "Once upon a time, there was a little girl who went to the park with her dog",
  },
];

for (const { name, path, prompt } of MODELS) {
  const missing = existsSync(path) ? undefined : `${path} is not there`;

  test(`${name}: one answer in every way on the CPU`, { skip: missing ?? false }, async () => {
    const { prepared: model, tokenizer } = loadModel(path);
    const models = { model, draft: loadModel(path, "w8a8").prepared };
    const requests = answerRequests([model.beginToken, ...tokenizer.encode(prompt)]);
    const expected = await PLAIN.run(models, requests);
    assert.notDeepEqual(expected[0], expected[1]);
    for (const { name: way, run } of OTHER_WAYS)
      assert.deepEqual(await run(models, requests), expected, way);
  });

  const skip = missing ?? NO_WEBGPU ?? false;
  test(`${name}: one answer on the CPU and on WebGPU`, { skip }, async () => {
    const { prepared: model, tokenizer } = loadModel(path);
    // The device is software: one answer is enough.
    const [greedy] = answerRequests([model.beginToken, ...tokenizer.encode(prompt)]);
    const requests = [present(greedy)];
    const gpu = await createWebGpuBackend(await openDawn<Gpu>());
    const onGpu = await answersOn(gpu, model, requests);
    assert.deepEqual(onGpu, await PLAIN.run({ model, draft: model }, requests));
  });
}
