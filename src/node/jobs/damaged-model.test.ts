// Goal: what a node attests under a model's hash was computed with that model. Method: one bit of a stored model is
// turned; everything else about it is in order.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { bundledModelPath, loadModel } from "../models/model-folder.ts";
import { ModelStore } from "../models/model-store.ts";
import { startAccelerator } from "./threaded-accelerator.ts";

test("a node refuses a stored model that does not have its identity", async () => {
  const folder = mkdtempSync(join(tmpdir(), "gyrotron-damaged-"));
  try {
    const origin = { source: "test", sourceHash: "" };
    const { path } = new ModelStore(folder).add("tale", loadModel(bundledModelPath()), origin);
    const accelerator = await startAccelerator({ modelPaths: [path], threads: 1 });
    assert.equal(accelerator.models.length, 1);
    await accelerator.close();
    const bytes = readFileSync(path);
    bytes[bytes.length >> 1]! ^= 1;
    writeFileSync(path, bytes);
    await assert.rejects(startAccelerator({ modelPaths: [path], threads: 1 }), /its identity/);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
