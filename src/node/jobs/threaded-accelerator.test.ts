// Goal: two nodes whose accelerators are set up differently attest the same bytes, and damaged models
// are named. Method: real threads, the bundled model, short answers.

import assert from "node:assert/strict";
import { cpSync, mkdtempSync, rmSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { decodeJobResult, type Job } from "gyrotron/job";
import { NodeError } from "../node-error.ts";
import { bundledModelPath } from "../models/model-folder.ts";
import { startAccelerator } from "./threaded-accelerator.ts";

const folder = mkdtempSync(join(tmpdir(), "gyrotron-accelerator-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const asked = (content: string, seed: bigint): Omit<Job, "modelHash"> => ({
  messages: [{ role: "user", content }],
  outputTokensMax: 12,
  sampling: { temperature: 39_322, topK: 0, topP: 58_982, seed },
});

test("accelerators with other threads give the same bytes, and jobs keep their previews apart", async () => {
  const modelPaths = [bundledModelPath()];
  const [one, two] = await Promise.all([
    startAccelerator({ modelPaths, threads: 1 }),
    startAccelerator({ modelPaths, threads: 2 }),
  ]);
  try {
    assert.deepEqual(one.models, two.models);
    assert.notEqual(one.device, two.device);
    const { hash: modelHash } = one.models[0]!;
    const jobs = [asked("Once upon a time", 1n), asked("The old king", 2n)];
    for (const accelerator of [one, two]) assert.equal(accelerator.models.length, 1);
    const previews = jobs.map(() => "");
    const results = await Promise.all(
      jobs.map(async (job, i) => {
        const alone = await one.run({ ...job, modelHash }, (text) => (previews[i] = text));
        const other = await two.run({ ...job, modelHash }, () => {});
        assert.deepEqual(alone, other);
        return decodeJobResult(alone);
      }),
    );
    results.forEach((result, i) => {
      assert.ok(result.kind === "completed");
      assert.ok(previews[i] !== "" && result.text.startsWith(previews[i]!));
    });
    assert.notDeepEqual(results[0], results[1]);
  } finally {
    await Promise.all([one.close(), two.close()]);
  }
});

test("a damaged model keeps the accelerator from starting and is named", async () => {
  const damaged = join(folder, "damaged");
  cpSync(bundledModelPath(), damaged, { recursive: true });
  truncateSync(join(damaged, "model.safetensors"), 100_000);
  for (const [path, file] of [
    [damaged, join(damaged, "model.safetensors")],
    [join(folder, "nowhere"), join(folder, "nowhere")],
  ] as const) {
    await assert.rejects(startAccelerator({ modelPaths: [path], threads: 1 }), (error) => {
      assert.ok(error instanceof NodeError && error.info.code === "node/model");
      assert.equal(error.info.path, file);
      return true;
    });
  }
});
