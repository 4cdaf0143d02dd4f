// The CPU backend: AssemblyScript kernels on strict Wasm SIMD, threads over shared memory.

import type { Backend, GraphBackend } from "gyrotron/tensor";
import { WasmDecoder } from "./decoder.ts";
import { type DeviceOptions, WasmDevice } from "./device.ts";
import { WasmGraphs } from "./graph/run.ts";
import { runSingleOp } from "./single-op.ts";

/** Scratch for a single op at its limits: a norm's grid of 65536 columns. */
const SINGLE_OP_SCRATCH_BYTES = 2 * 65536;

/** A CPU backend. `threads` (default 1) changes speed only. @throws TensorError `tensor/limit`, `tensor/unsupported` */
export async function createWasmBackend(
  options: Partial<DeviceOptions> = {},
): Promise<Backend & GraphBackend> {
  const settings = { threads: 1, ...options };
  const device = await WasmDevice.create(settings);
  device.reserveScratch(SINGLE_OP_SCRATCH_BYTES);
  const graphs = new WasmGraphs(device);
  return {
    name: "wasm",
    device: `wasm: strict SIMD, ${settings.threads} thread${settings.threads === 1 ? "" : "s"}`,
    run: async (call) => runSingleOp(device, call),
    async createDecoder(weights) {
      return new WasmDecoder(await WasmDevice.create(settings), weights);
    },
    placeTensors: (tensors) => graphs.placeTensors(tensors),
    runGraph: (graph, inputs, runOptions) => graphs.runGraph(graph, inputs, runOptions),
    close: () => device.close(),
  };
}
