// Tensors that stay in device memory between runs. The device's memory grows and shrinks at its end alone, so what
// is freed elsewhere is kept as a hole for the next tensors.

import { assert } from "gyrotron/base";
import {
  type HostTensor,
  hostType,
  residentClosed,
  type ResidentTensors,
  type RunInputs,
  type TensorType,
} from "gyrotron/tensor";
import type { WasmDevice } from "../device.ts";
import { roundUp } from "../layout.ts";
import { storedBytes, writeTensor } from "./storage.ts";

/** Kernels may read so far behind a value. */
const SLACK_BYTES = 16;
const ALIGNMENT = 64;

/** Bytes of the memory, `from` to before `to`. */
interface Region {
  readonly from: number;
  readonly to: number;
}

/** A tensor in device memory. */
export interface PlacedTensor {
  readonly address: number;
  readonly type: TensorType<number>;
}

/** Tensors of one device. */
export class WasmResident implements ResidentTensors {
  readonly #memory: ResidentMemory;
  readonly #region: Region;
  readonly #tensors: ReadonlyMap<string, PlacedTensor>;
  #isOpen = true;

  constructor(memory: ResidentMemory, region: Region, tensors: ReadonlyMap<string, PlacedTensor>) {
    this.#memory = memory;
    this.#region = region;
    this.#tensors = tensors;
  }

  /** By name, for a run on `memory`. @throws TensorError `tensor/closed` */
  tensorsIn(memory: ResidentMemory): ReadonlyMap<string, PlacedTensor> {
    assert(memory === this.#memory, "resident tensors of another backend");
    if (!this.#isOpen) throw residentClosed();
    return this.#tensors;
  }

  free(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#memory.give(this.#region);
  }
}

/** The part of a device's memory that outlives runs. */
export class ResidentMemory {
  readonly #device: WasmDevice;
  /** None ends where the device's memory does. */
  #holes: Region[] = [];

  constructor(device: WasmDevice) {
    this.#device = device;
  }

  /** @throws TensorError `tensor/limit` beyond 4 GiB */
  place(tensors: RunInputs): WasmResident {
    const values = Object.entries(tensors);
    const bytes = values.reduce((sum, [, value]) => sum + spaceOf(value), 0);
    const region = this.#take(bytes);
    const placed = new Map<string, PlacedTensor>();
    let address = region.from;
    for (const [name, value] of values) {
      writeTensor(this.#device, address, value);
      placed.set(name, { address, type: hostType(value) });
      address += spaceOf(value);
    }
    assert(address <= region.to, "resident tensors beyond their region");
    return new WasmResident(this, region, placed);
  }

  /** Takes a region back. */
  give(region: Region): void {
    this.#holes.push(region);
    for (;;) {
      const last = this.#holes.find(({ to }) => to === this.#device.mark);
      if (last === undefined) return;
      this.#device.release(last.from);
      this.#holes = this.#holes.filter((hole) => hole !== last);
    }
  }

  /** The first hole that is wide enough, or new memory. */
  #take(bytes: number): Region {
    const hole = this.#holes.find(({ from, to }) => to - from >= bytes);
    if (hole !== undefined) {
      this.#holes = this.#holes.filter((other) => other !== hole);
      const to = hole.from + bytes;
      if (to < hole.to) this.#holes.push({ from: to, to: hole.to });
      return { from: hole.from, to };
    }
    const from = this.#device.allocateUnset(bytes);
    return { from, to: this.#device.mark };
  }
}

/** Bytes from a tensor to the next. */
function spaceOf(value: HostTensor): number {
  return roundUp(storedBytes(hostType(value)) + SLACK_BYTES, ALIGNMENT);
}
