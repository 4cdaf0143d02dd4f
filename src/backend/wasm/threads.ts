// Helper threads over shared memory: each sleeps until there is a job, runs its share and sleeps again.
// Where the host has no threads, one thread does all the work.

import { TensorError } from "gyrotron/tensor";
import {
  type HelperStart,
  host,
  type NodeWorker,
  nodeThreads,
  type WebWorker,
} from "./host-threads.ts";

/** A helper thread that sleeps until the job counter changes. */
export interface Helper {
  /** Resolves when the thread has its instance. @throws the thread's error */
  readonly ready: Promise<void>;
  readonly stop: () => Promise<void>;
}

/** Starts a helper. @throws TensorError `tensor/unsupported` where the host has no threads */
export function startHelper(start: HelperStart): Helper {
  const self = (import.meta as { url?: string }).url ?? "";
  const url = new host.URL(self.endsWith(".ts") ? "./worker.ts" : "./worker.js", self);
  const node = nodeThreads();
  if (node !== undefined) {
    // No flags of this process: some (--input-type) would keep the thread from starting.
    return startNodeHelper(new node.Worker(url, { workerData: start, execArgv: [] }));
  }
  if (host.Worker === undefined) {
    throw new TensorError({ code: "tensor/unsupported", backend: "wasm", what: "threads" });
  }
  return startWebHelper(new host.Worker(url, { type: "module" }), start);
}

function startNodeHelper(worker: NodeWorker): Helper {
  const ready = new Promise<void>((resolve, reject) => {
    worker.once("message", () => {
      // From now on a waiting helper keeps no process alive.
      worker.unref();
      resolve();
    });
    worker.once("error", reject);
  });
  return {
    ready,
    stop: async () => {
      await worker.terminate();
    },
  };
}

function startWebHelper(worker: WebWorker, start: HelperStart): Helper {
  const ready = new Promise<void>((resolve, reject) => {
    worker.onmessage = () => resolve();
    worker.onerror = reject;
  });
  worker.postMessage(start);
  return {
    ready,
    stop: async () => worker.terminate(),
  };
}
