// The host's threads, looked up at run time: Node's module or the web's Worker, so that this area needs
// neither's types. Imports nothing, because helper threads load it without the package's conditions.

/** What a helper thread needs. */
export interface HelperStart {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  /** Address of the control block, which the kernels take. */
  readonly control: number;
  /** Address of the job counter, which wakes the helper when it changes. */
  readonly job: number;
  readonly thread: number;
  /** Path of an addon with native kernels, see ./native.ts. */
  readonly native: string | undefined;
}

/** A thread of Node. */
export interface NodeWorker {
  unref(): void;
  terminate(): Promise<unknown>;
  once(event: string, listener: (value: unknown) => void): void;
}

interface NodeThreads {
  readonly Worker: new (
    url: ModuleUrl,
    options: { workerData: HelperStart; execArgv: string[] },
  ) => NodeWorker;
  readonly workerData: unknown;
  readonly parentPort: { postMessage(value: unknown): void } | null;
}

/** A thread of a browser. */
export interface WebWorker {
  terminate(): void;
  postMessage(value: unknown): void;
  onmessage: (() => void) | null;
  onerror: ((error: unknown) => void) | null;
}

/** An URL object. */
export interface ModuleUrl {
  readonly href: string;
}

interface Host {
  readonly process?: { getBuiltinModule?: (name: string) => unknown };
  readonly Worker?: new (url: ModuleUrl, options: { type: "module" }) => WebWorker;
  readonly URL: new (url: string, base: string) => ModuleUrl;
}

/** The host's globals that matter here. */
export const host: Host = globalThis as unknown as Host;

/** Node's threads, if this is Node. */
export function nodeThreads(): NodeThreads | undefined {
  return host.process?.getBuiltinModule?.("node:worker_threads") as NodeThreads | undefined;
}
