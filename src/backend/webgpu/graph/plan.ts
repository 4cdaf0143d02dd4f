// What a graph becomes before it meets a device: kernels to dispatch in order, and the buffers between
// them. It owns the order and the life of buffers; what kernels compute is theirs, and device objects
// are made in program.ts.

import { assert } from "gyrotron/base";
import {
  elementCount,
  type HostTensor,
  type Node,
  type ResolvedGraph,
  rowCount,
  type TensorType,
} from "gyrotron/tensor";
import type { WgslPiece } from "../wgsl/piece.ts";
import type { Kernel } from "./kernel.ts";
import { mantissaWords, rowWords } from "./mantissas.ts";

/** Words between kernels: a value of a node, or scratch. */
export interface Slot {
  readonly index: number;
  readonly words: number;
  /** Who writes it: a kernel, the host for a run, or the host once for all runs. */
  readonly writer: SlotWriter;
}

/** Who writes a slot. */
export type SlotWriter = "kernel" | "run" | "graph";

/** One dispatch. */
export interface Step {
  readonly kernel: Kernel;
  /** Words of the uniform buffer; signed ones in two's complement. */
  readonly params: readonly number[];
  readonly reads: readonly Slot[];
  readonly writes: readonly Slot[];
  readonly workgroups: number;
}

/** Part of a value: words of one shape, at an offset of the value's buffer. */
export interface Plane {
  readonly offset: number;
  readonly shape: readonly number[];
  readonly wordsPerElement: number;
}

/** The parts of a value of a type in its buffer: elements, or mantissas, exponents, scales. */
export function planesOf(type: TensorType<number>): readonly Plane[] {
  const { shape } = type;
  if (type.element !== "bfp")
    return [{ offset: 0, shape, wordsPerElement: type.element === "i64" ? 2 : 1 }];
  const rows = shape.slice(0, -1);
  const first = mantissaWords(type);
  const planes = [
    { offset: 0, shape: [...rows, rowWords(type.bits, lastAxis(shape))], wordsPerElement: 1 },
    { offset: first, shape: rows, wordsPerElement: 1 },
  ];
  if (type.scaled)
    planes.push({ offset: first + rowCount(shape), shape: rows, wordsPerElement: 1 });
  return planes;
}

/** Words of a value's buffer. */
export function wordsOf(type: TensorType<number>): number {
  return planesOf(type).reduce((sum, p) => sum + elementCount(p.shape) * p.wordsPerElement, 0);
}

/** The size of the last axis; 1 for a scalar. */
export function lastAxis(shape: readonly number[]): number {
  return shape.at(-1) ?? 1;
}

/** A plan while it grows. */
export class Plan {
  readonly graph: ResolvedGraph;
  readonly slots: Slot[] = [];
  readonly steps: Step[] = [];
  /** Slots with the values of constants. */
  readonly constants: { readonly slot: Slot; readonly value: HostTensor }[] = [];
  /** Words given by the plan itself, such as steps of rotary embeddings. */
  readonly tables: { readonly slot: Slot; readonly words: Uint32Array<ArrayBuffer> }[] = [];
  /** Threads for each row, if they are not chosen by its length: results do not depend on it. */
  readonly rowWorkgroup: number | undefined;
  /** The dot product of bytes that the device computes rightly. */
  readonly dot: WgslPiece;
  readonly #values: (Slot | undefined)[];
  readonly #resident: ReadonlySet<string>;

  constructor(
    graph: ResolvedGraph,
    dot: WgslPiece,
    rowWorkgroup?: number,
    resident: ReadonlySet<string> = new Set(),
  ) {
    this.graph = graph;
    this.dot = dot;
    this.rowWorkgroup = rowWorkgroup;
    this.#resident = resident;
    this.#values = graph.nodes.map(() => undefined);
  }

  node(index: number): Node<number> {
    const node = this.graph.nodes[index];
    assert(node !== undefined, "a node out of range");
    return node;
  }

  /** The shape of an input of a node. */
  inputType(node: Node<number>, position: number): TensorType<number> {
    return this.node(node.inputs[position] ?? -1).type;
  }

  /** The buffer of an input of a node. */
  input(node: Node<number>, position: number): Slot {
    return this.value(node.inputs[position] ?? -1);
  }

  /** The buffer of a node that has been planned. */
  value(index: number): Slot {
    const slot = this.#values[index];
    assert(slot !== undefined, "a node is used before it is planned");
    return slot;
  }

  hasValue(index: number): boolean {
    return this.#values[index] !== undefined;
  }

  /** A new buffer for the value of a node. */
  define(index: number): Slot {
    return this.alias(index, this.scratch(wordsOf(this.node(index).type)));
  }

  /** Lets a node's value be a buffer that is there already. */
  alias(index: number, slot: Slot): Slot {
    assert(this.#values[index] === undefined, "a node is planned twice");
    this.#values[index] = slot;
    return slot;
  }

  scratch(words: number): Slot {
    return this.#addSlot(words, "kernel");
  }

  /** A buffer that the host writes for each run, or once if the input is resident. */
  inputSlot(name: string, words: number): Slot {
    return this.#addSlot(words, this.#resident.has(name) ? "graph" : "run");
  }

  /** A buffer for the value of a constant. */
  constant(value: HostTensor, words: number): Slot {
    const slot = this.#addSlot(words, "graph");
    this.constants.push({ slot, value });
    return slot;
  }

  table(words: Uint32Array<ArrayBuffer>): Slot {
    const slot = this.#addSlot(words.length, "graph");
    this.tables.push({ slot, words });
    return slot;
  }

  /** Adds a dispatch; none where there is nothing to do. */
  add(step: Step): void {
    assert(step.reads.length === step.kernel.reads, "inputs of a kernel");
    assert(step.writes.length === step.kernel.writes, "outputs of a kernel");
    assert(step.params.length <= step.kernel.params, "parameters of a kernel");
    assert(!step.reads.some((slot) => step.writes.includes(slot)), "a buffer read and written");
    if (step.workgroups > 0) this.steps.push(step);
  }

  #addSlot(words: number, writer: SlotWriter): Slot {
    const slot = { index: this.slots.length, words, writer };
    this.slots.push(slot);
    return slot;
  }
}
