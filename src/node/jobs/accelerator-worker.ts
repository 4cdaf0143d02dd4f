// The accelerator's thread: holds models on a backend and runs one job after the other, off the
// critical path of blocks.

import { basename } from "node:path";
import { parentPort, workerData } from "node:worker_threads";
import { type LanguageModel, runJob } from "gyrotron/accelerator";
import { createWasmBackend } from "gyrotron/backend/wasm";
import { equalBytes, present } from "gyrotron/base";
import type { Job, ModelRecord } from "gyrotron/job";
import { createGenerator, type TextGenerator } from "gyrotron/learn";
import { handedOver } from "gyrotron/model";
import { installNodeHashes } from "../hash-provider.ts";
import { failureFrom } from "../worker-protocol.ts";
import type {
  AcceleratorAnswer,
  AcceleratorRequest,
  AcceleratorStart,
} from "./accelerator-protocol.ts";
import { loadModel, PREPARED } from "../models/model-folder.ts";
import { checkStoredModel } from "../models/model-store.ts";

const { modelPaths, threads, native } = workerData as AcceleratorStart;
const port = present(parentPort, "this file is a worker");
const models: { model: LanguageModel; generator: TextGenerator }[] = [];
let previous: Promise<void> = Promise.resolve();

port.on("message", (request: AcceleratorRequest) => {
  previous = previous.then(() => answer(request));
});

async function answer(request: AcceleratorRequest): Promise<void> {
  try {
    if (request.kind === "load") send({ kind: "loaded", ...(await load()) });
    else
      send({
        kind: "done",
        number: request.number,
        result: await run(request.number, request.job),
      });
  } catch (error) {
    const number = request.kind === "run" ? request.number : undefined;
    send({ kind: "failed", number, failure: failureFrom(error) });
  }
}

async function load(): Promise<{ models: ModelRecord[]; device: string }> {
  installNodeHashes();
  let device = "none";
  for (const path of modelPaths) {
    const model = loadModel(path);
    // What others are told was computed with a model's hash has to be computed with that model. One that is not
    // stored has the identity of what has just been read.
    if (basename(path) === PREPARED) checkStoredModel(path, model);
    const backend = await createWasmBackend({ threads, ...(native && { native }) });
    ({ device } = backend);
    const prepared = { ...model.prepared, weights: handedOver(model.prepared.weights) };
    models.push({ model, generator: await createGenerator(prepared, { backend }) });
  }
  return { models: models.map(({ model }) => model.record), device };
}

async function run(number: number, job: Job): Promise<Uint8Array> {
  const { model, generator } = present(
    models.find((candidate) => equalBytes(candidate.model.record.hash, job.modelHash)),
    "only jobs of loaded models come here",
  );
  const { encoded } = await runJob(model, generator, job, (text) =>
    send({ kind: "text", number, text }),
  );
  return encoded;
}

function send(message: AcceleratorAnswer): void {
  port.postMessage(message);
}
