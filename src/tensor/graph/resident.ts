// Tensors that stay where a backend runs, for parameters that many runs share, and the version of a backend whose
// memory is the host's own.

import { assert } from "gyrotron/base";
import { TensorError } from "../error.ts";
import type { RunInputs, RunOptions } from "./executable.ts";
import type { HostTensor, TensorType } from "./value.ts";

/** Tensors on a device, by name, for any number of runs. Their memory ends with the backend's at the latest. */
export interface ResidentTensors {
  /** Frees the memory, once; a run that names them afterwards throws TensorError `tensor/closed`. */
  free(): void;
}

/** Resident tensors of a backend whose memory is the host's. */
export class HostResident implements ResidentTensors {
  #tensors: RunInputs | undefined;

  constructor(tensors: RunInputs) {
    const copies = Object.entries(tensors).map(([name, value]) => [name, copyOf(value)] as const);
    this.#tensors = Object.fromEntries(copies);
  }

  get tensors(): RunInputs {
    if (this.#tensors === undefined) throw residentClosed();
    return this.#tensors;
  }

  free(): void {
    this.#tensors = undefined;
  }
}

/** `placeTensors` of a backend whose memory is the host's. */
export async function placeOnHost(tensors: RunInputs): Promise<ResidentTensors> {
  return new HostResident(tensors);
}

/** All inputs of a run of such a backend. @throws TensorError `tensor/closed` */
export function allInputs(inputs: RunInputs, { resident }: RunOptions): RunInputs {
  if (resident === undefined) return inputs;
  assert(resident instanceof HostResident, "resident tensors of another backend");
  return { ...inputs, ...resident.tensors };
}

/** The use of tensors after `free`. */
export function residentClosed(): TensorError {
  return new TensorError({ code: "tensor/closed", what: "resident tensors" });
}

/** Whether two types are one. */
export function isSameType(a: TensorType<number>, b: TensorType<number>): boolean {
  if (a.element !== b.element || a.shape.join() !== b.shape.join()) return false;
  return a.element !== "bfp" || b.element !== "bfp" || (a.bits === b.bits && a.scaled === b.scaled);
}

function copyOf(value: HostTensor): HostTensor {
  const copy = { ...value, data: value.data.slice() } as HostTensor;
  if (copy.element !== "bfp") return copy;
  return { ...copy, exponents: copy.exponents.slice(), scales: copy.scales?.slice() };
}
