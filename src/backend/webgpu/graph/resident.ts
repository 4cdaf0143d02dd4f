// Tensors that stay on a device between runs: a buffer each, and the programs of graphs that read them there.

import { assert } from "gyrotron/base";
import {
  hostType,
  isSameType,
  residentClosed,
  type ResidentTensors,
  type ResolvedGraph,
  type RunInputs,
  type TensorType,
} from "gyrotron/tensor";
import type { WebGpuDevice } from "../device.ts";
import type { GpuBuffer } from "../gpu-interface.ts";
import { wordsOfHost } from "./host-words.ts";

/** Tensors of one device. */
export class WebGpuResident implements ResidentTensors {
  readonly #device: WebGpuDevice;
  readonly #buffers: Map<
    string,
    { readonly buffer: GpuBuffer; readonly type: TensorType<number> }
  > = new Map();
  #isOpen = true;

  private constructor(device: WebGpuDevice) {
    this.#device = device;
  }

  /** @throws TensorError `tensor/limit`, `tensor/device-lost`, `tensor/device-memory` */
  static async place(device: WebGpuDevice, tensors: RunInputs): Promise<WebGpuResident> {
    const resident = new WebGpuResident(device);
    try {
      await device.allocating(async () => {
        for (const [name, value] of Object.entries(tensors)) {
          const buffer = device.upload(wordsOfHost(value));
          resident.#buffers.set(name, { buffer, type: hostType(value) });
        }
      });
    } catch (error) {
      resident.free();
      throw error;
    }
    return resident;
  }

  get names(): ReadonlySet<string> {
    return new Set(this.#buffers.keys());
  }

  /** Before a run on `device`. @throws TensorError `tensor/closed` */
  check(device: WebGpuDevice): void {
    assert(device === this.#device, "resident tensors of another backend");
    if (!this.#isOpen) throw residentClosed();
  }

  /** The buffer of an input of a graph. */
  bufferOf(node: ResolvedGraph["nodes"][number] & { readonly op: "input" }): GpuBuffer | undefined {
    const found = this.#buffers.get(node.name);
    const isRight = found === undefined || isSameType(found.type, node.type);
    assert(isRight, "a resident tensor of another type");
    return found?.buffer;
  }

  free(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    for (const { buffer } of this.#buffers.values()) buffer.destroy();
  }
}
