// Collects the records of a graph and what they need of the device: constant data, scratch.

import type { Node, RunFailure, TensorType } from "gyrotron/tensor";
import { roundUp } from "../layout.ts";
import type { GraphRecord } from "./record.ts";

type Data = Uint32Array | Int32Array;

/** A node with the addresses of its operands and its value. */
export interface NodeContext {
  readonly index: number;
  readonly node: Node<number>;
  readonly types: readonly TensorType<number>[];
  readonly inputs: readonly number[];
  readonly out: number;
  readonly workspace: number;
  /** Whether the first operand has not been turned round: it lies with its last two axes swapped. */
  readonly isTurned: boolean;
}

/** The program of a graph as it grows. */
export class Emitter {
  readonly records: GraphRecord[] = [];
  readonly #place: (data: Data) => number;
  scratchBytes = 64;

  constructor(place: (data: Data) => number) {
    this.#place = place;
  }

  /** Adds a kernel call, unless it has nothing to do. */
  emit(
    at: NodeContext,
    kernel: GraphRecord["kernel"],
    units: number,
    words: readonly number[],
    failure?: RunFailure["kind"],
  ): void {
    if (units === 0) return;
    this.records.push({ kernel, node: at.index, units, words, failure, free: false });
  }

  /** As `emit`, for a call whose results the next call does not read. */
  emitFree(
    at: NodeContext,
    kernel: GraphRecord["kernel"],
    units: number,
    words: readonly number[],
  ): void {
    if (units === 0) return;
    const record = { kernel, node: at.index, units, words, failure: undefined, free: true };
    this.records.push(record);
  }

  /** The address of constant data. */
  place(data: Data): number {
    return this.#place(data);
  }

  /** Sees to so many bytes for each thread. */
  needScratch(bytes: number): void {
    this.scratchBytes = Math.max(this.scratchBytes, roundUp(bytes, 64));
  }
}
