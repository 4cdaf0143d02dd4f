// Native kernels beside the Wasm ones: an addon of Node, compiled for this machine, that does some records on the
// same memory with the same bits. Imports nothing, because helper threads load it without the package's conditions.

import { host } from "./host-threads.ts";

/**
 * Does a part of a record, of which this thread has done `done` before: 1 if it is done, 0 if the Wasm kernels have to
 * do it.
 */
export type NativeRun = (
  control: number,
  record: number,
  part: number,
  parts: number,
  done: number,
) => number;

/** What the addon exports (native/addon.c). */
export interface NativeAddon {
  /** The kernels of one thread over the whole of a shared Wasm memory, which may grow. */
  open(memory: Uint8Array): NativeRun;
  /** The instructions that it was compiled for. */
  describe(): string;
}

/** Loads an addon. @throws what the host does, if it cannot */
export function loadAddon(path: string): NativeAddon {
  const modules = host.process?.getBuiltinModule?.("node:module") as NodeModules | undefined;
  if (modules === undefined) throw new TypeError("this host loads no addons");
  return modules.createRequire(path)(path) as NativeAddon;
}

interface NodeModules {
  createRequire(from: string): (path: string) => unknown;
}

/** What the kernels of a thread import. Without an addon nothing asks for `native`. */
export function kernelImports(
  memory: WebAssembly.Memory,
  addon: string | undefined,
): { env: { memory: WebAssembly.Memory; native: NativeRun } } {
  const native =
    addon === undefined ? leaveToWasm : loadAddon(addon).open(new Uint8Array(memory.buffer));
  return { env: { memory, native } };
}

const leaveToWasm: NativeRun = () => 0;
