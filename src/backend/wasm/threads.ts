// Helper threads over shared memory. The host's worker API is looked up at run time (Node's module or the
// web's Worker), so this area needs neither's types; where there is none, one thread does all the work.

import { TensorError } from "gyrotron/tensor";

/** What a helper thread needs. */
export interface HelperStart {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly control: number;
  readonly thread: number;
}

/** A helper thread that sleeps until the job counter changes. */
export interface Helper {
  /** Resolves when the thread has its instance. @throws the thread's error */
  readonly ready: Promise<void>;
  stop(): Promise<void>;
}

interface NodeWorker {
  unref(): void;
  terminate(): Promise<unknown>;
  once(event: string, listener: (value: unknown) => void): void;
}
interface NodeThreads {
  readonly Worker: new (url: URL, options: { workerData: HelperStart }) => NodeWorker;
  readonly workerData: unknown;
  readonly parentPort: { postMessage(value: unknown): void } | null;
}
interface WebWorker {
  terminate(): void;
  postMessage(value: unknown): void;
  onmessage: (() => void) | null;
  onerror: ((error: unknown) => void) | null;
}
interface Host {
  readonly process?: { getBuiltinModule?: (name: string) => unknown };
  readonly Worker?: new (url: URL, options: { type: "module" }) => WebWorker;
}

const host = globalThis as unknown as Host;

/** Node's threads, if this is Node. */
export function nodeThreads(): NodeThreads | undefined {
  return host.process?.getBuiltinModule?.("node:worker_threads") as NodeThreads | undefined;
}

/** Starts a helper. @throws TensorError `tensor/unsupported` where the host has no threads */
export function startHelper(start: HelperStart): Helper {
  const self = (import.meta as { url?: string }).url ?? "";
  const url = new (globalThis as unknown as { URL: typeof URL }).URL(
    self.endsWith(".ts") ? "./worker.ts" : "./worker.js",
    self,
  );
  const node = nodeThreads();
  if (node !== undefined) return startNodeHelper(new node.Worker(url, { workerData: start }));
  if (host.Worker === undefined) {
    throw new TensorError({ code: "tensor/unsupported", backend: "wasm", what: "threads" });
  }
  return startWebHelper(new host.Worker(url, { type: "module" }), start);
}

function startNodeHelper(worker: NodeWorker): Helper {
  worker.unref();
  const ready = new Promise<void>((resolve, reject) => {
    worker.once("message", () => resolve());
    worker.once("error", reject);
  });
  return {
    ready,
    async stop() {
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
    async stop() {
      worker.terminate();
    },
  };
}

/** The part of URL that is used here. */
declare class URL {
  constructor(url: string, base: string);
}
