// The accelerator in a thread of its own, seen from the main thread.

import { Worker } from "node:worker_threads";
import { unreachable } from "gyrotron/base";
import type { Job, ModelRecord } from "gyrotron/job";
import { NodeError } from "../node-error.ts";
import { errorFrom } from "../worker-protocol.ts";
import type {
  AcceleratorAnswer,
  AcceleratorRequest,
  AcceleratorStart,
} from "./accelerator-protocol.ts";
import type { JobAccelerator } from "./job-runner.ts";

interface RunningJob extends PromiseWithResolvers<Uint8Array> {
  onText(text: string): void;
}

/** Starts the thread and loads the models. @throws NodeError `node/model` */
export async function startAccelerator(start: AcceleratorStart): Promise<JobAccelerator> {
  const accelerator = new ThreadedAccelerator(start);
  try {
    await accelerator.load();
    return accelerator;
  } catch (error) {
    await accelerator.close();
    throw error;
  }
}

class ThreadedAccelerator implements JobAccelerator {
  readonly #worker: Worker;
  readonly #loading = Promise.withResolvers<{ models: ModelRecord[]; device: string }>();
  readonly #running = new Map<number, RunningJob>();
  #lastNumber = 0;
  models: readonly ModelRecord[] = [];
  device = "";

  constructor(start: AcceleratorStart) {
    const extension = import.meta.url.endsWith(".ts") ? ".ts" : ".js";
    const url = new URL(`./accelerator-worker${extension}`, import.meta.url);
    this.#worker = new Worker(url, { name: "accelerator", workerData: start });
    this.#worker.on("message", (answer: AcceleratorAnswer) => this.#take(answer));
    this.#worker.on("error", (error) => this.#end(stopped(String(error))));
    this.#worker.on("exit", (code) => this.#end(stopped(`exited with code ${code}`)));
  }

  async load(): Promise<void> {
    this.#post({ kind: "load" });
    const { models, device } = await this.#loading.promise;
    this.models = models;
    this.device = device;
  }

  run(job: Job, onText: (text: string) => void): Promise<Uint8Array> {
    const number = ++this.#lastNumber;
    const running: RunningJob = { ...Promise.withResolvers<Uint8Array>(), onText };
    this.#running.set(number, running);
    this.#post({ kind: "run", number, job });
    return running.promise;
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  #post(request: AcceleratorRequest): void {
    this.#worker.postMessage(request);
  }

  #take(answer: AcceleratorAnswer): void {
    switch (answer.kind) {
      case "loaded":
        this.#loading.resolve(answer);
        return;
      case "text":
        this.#running.get(answer.number)?.onText(answer.text);
        return;
      case "done":
        this.#running.get(answer.number)?.resolve(answer.result);
        this.#running.delete(answer.number);
        return;
      case "failed": {
        const error = errorFrom(answer.failure);
        if (answer.number === undefined) this.#loading.reject(error);
        else {
          this.#running.get(answer.number)?.reject(error);
          this.#running.delete(answer.number);
        }
        return;
      }
      default:
        unreachable(answer);
    }
  }

  #end(error: Error): void {
    this.#loading.reject(error);
    for (const job of this.#running.values()) job.reject(error);
    this.#running.clear();
  }
}

function stopped(what: string): NodeError {
  return new NodeError({ code: "node/host-failure", what: `accelerator: ${what}` });
}
