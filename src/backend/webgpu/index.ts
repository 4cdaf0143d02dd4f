// The WebGPU backend: kernels of integers only on any device that a host offers as `navigator.gpu`.

import type { Backend, GraphBackend } from "gyrotron/tensor";
import { WebGpuDevice, type WebGpuDeviceOptions } from "./device.ts";
import { chooseDot } from "./dot-choice.ts";
import type { Gpu } from "./gpu-interface.ts";
import { WebGpuGraphs } from "./graph/run.ts";
import { runSingleOp } from "./single-op.ts";
import { WebGpuDecoder } from "./decoder.ts";

export type { Gpu } from "./gpu-interface.ts";

/** Settings of a WebGPU backend that change no bit. */
export interface WebGpuOptions extends WebGpuDeviceOptions {
  /** Rows of a step up to which its kernels are fused to six dispatches a layer. */
  readonly fusedRowsMax?: number;
  /** Whether to do without the device's own dot product of bytes. */
  readonly plainDot?: boolean;
}

/** A backend on the host's preferred adapter. @throws TensorError `tensor/unsupported` if there is none */
export async function createWebGpuBackend(
  gpu: Gpu,
  options: WebGpuOptions = {},
): Promise<Backend & GraphBackend> {
  const device = await WebGpuDevice.open(gpu, options);
  return openWebGpuBackend(device, options);
}

/** A backend on a device that the caller opened and may watch. */
export async function openWebGpuBackend(
  device: WebGpuDevice,
  options: WebGpuOptions,
): Promise<Backend & GraphBackend> {
  const dot = await chooseDot(device, options.plainDot === true);
  const graphs = new WebGpuGraphs(device, dot);
  return {
    name: "webgpu",
    device: `webgpu: ${device.name}, ${dot.name}`,
    run: (call) => runSingleOp(device, dot, call),
    createDecoder: (weights) => WebGpuDecoder.create(device, dot, weights, options),
    placeTensors: (tensors) => graphs.placeTensors(tensors),
    runGraph: (graph, inputs, runOptions) => graphs.runGraph(graph, inputs, runOptions),
    close: async () => {
      graphs.close();
      device.close();
    },
  };
}
