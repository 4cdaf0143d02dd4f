// Runs graphs on a device: operands are copied in, one program runs over one arena, results are copied out,
// and the device keeps the memory for the next run.

import { present } from "gyrotron/base";
import type {
  GraphBackend,
  HostTensor,
  ResolvedGraph,
  RunInputs,
  RunOptions,
  RunResult,
} from "gyrotron/tensor";
import type { WasmDevice } from "../device.ts";
import { compileNode, needOf } from "./compile.ts";
import { Emitter } from "./emitter.ts";
import { type NodeNeed, placeGraph } from "./placement.ts";
import { encodeGraph, findFailure } from "./record.ts";
import { readTensor, writeTensor } from "./storage.ts";
import { FunctionTables } from "./tables.ts";

/** Graphs on one device. */
export class WasmGraphs implements GraphBackend {
  readonly #device: WasmDevice;
  readonly #tables: FunctionTables;

  constructor(device: WasmDevice) {
    this.#device = device;
    this.#tables = new FunctionTables(device);
  }

  /** @throws TensorError `tensor/limit` if the values do not fit into 4 GiB, `tensor/closed` */
  async runGraph(
    graph: ResolvedGraph,
    inputs: RunInputs,
    options: RunOptions = {},
  ): Promise<RunResult> {
    const device = this.#device;
    this.#tables.provide(graph);
    const mark = device.mark;
    try {
      return new LoadedGraph(device, graph, options.trace === true).run(inputs);
    } finally {
      device.release(mark);
    }
  }
}

/** A graph in device memory. Valid until the device's memory is released. */
export class LoadedGraph {
  readonly #device: WasmDevice;
  readonly #graph: ResolvedGraph;
  readonly #keepsAll: boolean;
  readonly #emitter: Emitter;
  readonly #values: readonly number[];
  readonly #program: number;
  readonly #fails: number;
  readonly #scratch: number;

  constructor(device: WasmDevice, graph: ResolvedGraph, keepsAll: boolean) {
    this.#device = device;
    this.#graph = graph;
    this.#keepsAll = keepsAll;
    const needs: NodeNeed[] = graph.nodes.map((_, i) => needOf(graph, i));
    const placement = placeGraph(graph, needs, keepsAll);
    const base = device.allocateUnset(placement.bytes);
    this.#values = placement.values.map((offset) => base + offset);
    this.#emitter = new Emitter((data) => device.place(data));
    graph.nodes.forEach((node, index) => {
      if (needs[index]!.isAlias) return;
      compileNode(this.#emitter, {
        ...{ index, node, out: this.#values[index]! },
        types: node.inputs.map((input) => graph.nodes[input]!.type),
        inputs: node.inputs.map((input) => this.#values[input]!),
        workspace: base + placement.workspaces[index]!,
      });
    });
    const { records, scratchBytes } = this.#emitter;
    this.#fails = device.allocateUnset(records.length * 4);
    this.#program = device.place(encodeGraph(records, this.#fails));
    this.#scratch = device.allocateUnset(scratchBytes * device.threads);
  }

  /** Copies operands in, runs and copies results out. */
  run(inputs: RunInputs): RunResult {
    this.write(inputs);
    this.compute();
    const fails = this.#device.readI32(this.#fails, this.#emitter.records.length);
    const failure = findFailure(this.#emitter.records, fails);
    if (failure !== undefined) return { failure };
    const outputs: Record<string, HostTensor> = {};
    for (const { name, node } of this.#graph.outputs) outputs[name] = this.#read(node);
    const trace = this.#keepsAll ? this.#graph.nodes.map((_, i) => this.#read(i)) : undefined;
    return { failure: undefined, outputs, trace };
  }

  /** Copies the operands of the run into their places. */
  write(inputs: RunInputs): void {
    this.#graph.nodes.forEach((node, i) => {
      if (node.op === "constant") writeTensor(this.#device, this.#values[i]!, node.value);
      if (node.op !== "input") return;
      writeTensor(this.#device, this.#values[i]!, present(inputs[node.name]));
    });
  }

  /** Runs the kernels on what has been written. */
  compute(): void {
    const { records, scratchBytes } = this.#emitter;
    this.#device.resetStatus(this.#fails, records.length);
    this.#device.withScratch(this.#scratch, scratchBytes, () =>
      this.#device.run(this.#program, records.length),
    );
  }

  #read(index: number): HostTensor {
    return readTensor(this.#device, this.#values[index]!, this.#graph.nodes[index]!.type);
  }
}
