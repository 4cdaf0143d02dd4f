// Runs graphs on a device: operands are copied in, one program runs over one arena, results are copied out,
// and the device keeps the memory for the next run. Programs are kept as long as their graphs.

import { assert, present } from "gyrotron/base";
import type {
  GraphBackend,
  HostTensor,
  ResidentTensors,
  ResolvedGraph,
  RunInputs,
  RunOptions,
  RunResult,
} from "gyrotron/tensor";
import type { WasmDevice } from "../device.ts";
import { compileGraph, type GraphProgram } from "./program.ts";
import { findFailure } from "./record.ts";
import { type PlacedTensor, ResidentMemory, WasmResident } from "./resident.ts";
import { readTensor, writeTensor } from "./storage.ts";
import { FunctionTables } from "./tables.ts";

type Residents = ReadonlyMap<string, PlacedTensor>;

const NONE: Residents = new Map();

/** Graphs on one device. */
export class WasmGraphs implements GraphBackend {
  readonly #device: WasmDevice;
  readonly #tables: FunctionTables;
  readonly #memory: ResidentMemory;
  readonly #programs: WeakMap<ResolvedGraph, { program: GraphProgram; resident: Residents }> =
    new WeakMap();

  constructor(device: WasmDevice) {
    this.#device = device;
    this.#tables = new FunctionTables(device);
    this.#memory = new ResidentMemory(device);
  }

  async placeTensors(tensors: RunInputs): Promise<ResidentTensors> {
    return this.#memory.place(tensors);
  }

  /** @throws TensorError `tensor/limit` if the values do not fit into 4 GiB, `tensor/closed` */
  async runGraph(
    graph: ResolvedGraph,
    inputs: RunInputs,
    options: RunOptions = {},
  ): Promise<RunResult> {
    const device = this.#device;
    const resident = this.#residentsOf(options);
    this.#tables.provide(graph);
    const mark = device.mark;
    const isTraced = options.trace === true;
    const program = isTraced
      ? compileFor(device, graph, { keepsAll: true, resident })
      : this.#programOf(graph, resident);
    try {
      const loaded = new LoadedGraph(device, graph, program);
      loaded.write(inputs);
      loaded.compute();
      return loaded.read(isTraced);
    } finally {
      device.release(mark);
    }
  }

  #residentsOf({ resident }: RunOptions): Residents {
    if (resident === undefined) return NONE;
    assert(resident instanceof WasmResident, "resident tensors of another backend");
    return resident.tensorsIn(this.#memory);
  }

  /** The graph's program for the device's present mark and these tensors; both change seldom. */
  #programOf(graph: ResolvedGraph, resident: Residents): GraphProgram {
    const kept = this.#programs.get(graph);
    if (kept?.program.base === this.#device.mark && kept.resident === resident) return kept.program;
    const program = compileFor(this.#device, graph, { resident });
    this.#programs.set(graph, { program, resident });
    return program;
  }
}

/** A program for the memory that the device would allocate next. */
export function compileFor(
  device: WasmDevice,
  graph: ResolvedGraph,
  { keepsAll = false, resident = NONE }: { keepsAll?: boolean; resident?: Residents } = {},
): GraphProgram {
  const { mark, threads } = device;
  return compileGraph(graph, { base: mark, threads, keepsAll, resident });
}

/** A graph in device memory. Valid until the device's memory is released. */
export class LoadedGraph {
  readonly #device: WasmDevice;
  readonly #graph: ResolvedGraph;
  readonly #program: GraphProgram;

  constructor(device: WasmDevice, graph: ResolvedGraph, program: GraphProgram) {
    this.#device = device;
    this.#graph = graph;
    this.#program = program;
    const base = device.allocateUnset(program.bytes);
    assert(base === program.base, "the program is for another place");
    for (const { address, words } of program.data) device.write(address, words);
  }

  /** Copies the operands of a run into their places, but those that are resident. */
  write(inputs: RunInputs): void {
    this.#graph.nodes.forEach((node, i) => {
      const address = this.#program.values[i]!;
      if (node.op === "constant") writeTensor(this.#device, address, node.value);
      // Below the program lies what outlives the run.
      if (node.op !== "input" || address < this.#program.base) return;
      writeTensor(this.#device, address, present(inputs[node.name]));
    });
  }

  /** Runs the kernels on what has been written. */
  compute(): void {
    const { records, program, fails, scratch } = this.#program;
    this.#device.resetStatus(fails, records.length);
    this.#device.withScratch(scratch.address, scratch.bytesAThread, () =>
      this.#device.run(program, records.length),
    );
  }

  /** Copies results out: outputs, and with `isTraced` the values of all nodes, or the failure. */
  read(isTraced: boolean): RunResult {
    const { records, fails } = this.#program;
    const failure = findFailure(records, this.#device.readI32(fails, records.length));
    if (failure !== undefined) return { failure };
    const outputs: Record<string, HostTensor> = {};
    for (const { name, node } of this.#graph.outputs) outputs[name] = this.#read(node);
    const trace = isTraced ? this.#graph.nodes.map((_, i) => this.#read(i)) : undefined;
    return { failure: undefined, outputs, trace };
  }

  #read(index: number): HostTensor {
    const { type } = this.#graph.nodes[index]!;
    return readTensor(this.#device, this.#program.values[index]!, type);
  }
}
