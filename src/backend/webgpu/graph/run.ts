// Runs plans on a device: one command buffer for each run, buffers from the device's pool, the first failure
// read from the status words. Plans and the constants of graphs are kept as long as the graphs.

import { assert, present } from "gyrotron/base";
import type {
  GraphBackend,
  HostTensor,
  ResidentTensors,
  ResolvedGraph,
  RunFailure,
  RunInputs,
  RunOptions,
  RunResult,
} from "gyrotron/tensor";
import type { GpuPipeline, WebGpuDevice } from "../device.ts";
import type { GpuBuffer } from "../gpu-interface.ts";
import { functionTableWords } from "../wgsl/function-table.ts";
import type { WgslPiece } from "../wgsl/piece.ts";
import { type Allocation, allocate } from "./allocation.ts";
import { compileGraph } from "./compile.ts";
import { hostOfWords, wordsOfHost } from "./host-words.ts";
import type { Kernel } from "./kernel.ts";
import { type Plan, wordsOf } from "./plan.ts";
import { WebGpuResident } from "./resident.ts";

/** Storage buffers that every adapter lets a kernel have. */
const BUFFERS_MAX = 8;
/** Bytes between the parameters of two dispatches. */
const PARAM_STRIDE = 256;
const NONE = 0xffff_ffff;

/** Settings that change no bit, for tests. */
export interface GraphSettings {
  /** Threads of a row kernel, 1 to 256. */
  readonly rowWorkgroup?: number;
  /** Workgroups of a dispatch along one axis, at most what the device allows. */
  readonly workgroupsMax?: number;
}

/** A plan with all that does not depend on a run's inputs. */
interface Program {
  readonly plan: Plan;
  readonly pipelines: readonly GpuPipeline[];
  readonly allocation: Allocation;
  /** Parameters of all steps. */
  readonly uniform: GpuBuffer;
  /** Constants and resident inputs by slot. The host frees constants with the program. */
  readonly resident: ReadonlyMap<number, GpuBuffer>;
  readonly paramOffsets: readonly number[];
  /** Nodes whose values are read. */
  readonly wanted: readonly number[];
}

/** Programs as long as their graphs live. */
class Programs {
  readonly plain: WeakMap<ResolvedGraph, Promise<Program>> = new WeakMap();
  readonly traced: WeakMap<ResolvedGraph, Promise<Program>> = new WeakMap();
}

/** Graphs on one device. */
export class WebGpuGraphs implements GraphBackend {
  readonly #device: WebGpuDevice;
  readonly #dot: WgslPiece;
  readonly #settings: GraphSettings;
  readonly #programs: Programs = new Programs();
  /** Those of graphs that read resident tensors. */
  readonly #withResident: WeakMap<ResidentTensors, Programs> = new WeakMap();
  #functionTable: GpuBuffer | undefined;

  /** `dot` is the dot product of bytes that the device computes rightly, from dot-choice.ts. */
  constructor(device: WebGpuDevice, dot: WgslPiece, settings: GraphSettings = {}) {
    this.#device = device;
    this.#dot = dot;
    this.#settings = settings;
  }

  /** See `GraphBackend`. @throws TensorError `tensor/limit`, `tensor/device-lost`, `tensor/device-memory` */
  async runGraph(
    graph: ResolvedGraph,
    inputs: RunInputs,
    options: RunOptions = {},
  ): Promise<RunResult> {
    this.#device.check();
    const program = await this.#programFor(graph, options);
    const words = await this.#execute(program, inputs);
    const failure = findFailure(graph, words.subarray(0, 2 * graph.nodes.length));
    if (failure !== undefined) return { failure };
    return resultOf(program, words.subarray(2 * graph.nodes.length), options.trace === true);
  }

  /** @throws TensorError `tensor/limit`, `tensor/device-lost`, `tensor/device-memory` */
  async placeTensors(tensors: RunInputs): Promise<ResidentTensors> {
    this.#device.check();
    return WebGpuResident.place(this.#device, tensors);
  }

  /** Dispatches of a run of a graph. */
  async countDispatches(graph: ResolvedGraph): Promise<number> {
    return (await this.#programFor(graph, {})).plan.steps.length;
  }

  /** Frees what is on the device. */
  close(): void {
    this.#functionTable?.destroy();
    this.#functionTable = undefined;
  }

  #programFor(graph: ResolvedGraph, options: RunOptions): Promise<Program> {
    const resident = this.#residentOf(options);
    const trace = options.trace === true;
    const { plain, traced } = this.#programsWith(resident);
    const programs = trace ? traced : plain;
    const known = programs.get(graph);
    if (known !== undefined) return known;
    const program = this.#build(graph, trace, resident);
    programs.set(graph, program);
    program.catch(() => programs.delete(graph));
    return program;
  }

  #residentOf({ resident }: RunOptions): WebGpuResident | undefined {
    if (resident === undefined) return undefined;
    assert(resident instanceof WebGpuResident, "resident tensors of another backend");
    resident.check(this.#device);
    return resident;
  }

  #programsWith(resident: WebGpuResident | undefined): Programs {
    if (resident === undefined) return this.#programs;
    const programs = this.#withResident.get(resident) ?? new Programs();
    this.#withResident.set(resident, programs);
    return programs;
  }

  async #build(
    graph: ResolvedGraph,
    trace: boolean,
    given: WebGpuResident | undefined,
  ): Promise<Program> {
    const plan = compileGraph(graph, {
      trace,
      dot: this.#dot,
      buffers: BUFFERS_MAX,
      rowWorkgroup: this.#settings.rowWorkgroup,
      resident: given?.names ?? new Set(),
    });
    const wanted = trace
      ? graph.nodes.map((_, i) => i)
      : [...new Set(graph.outputs.map(({ node }) => node))];
    const kept = wanted.map((node) => plan.value(node));
    const byKernel = new Map<Kernel, Promise<GpuPipeline>>();
    for (const { kernel } of plan.steps) {
      if (!byKernel.has(kernel)) byKernel.set(kernel, this.#device.pipeline(shaderOf(kernel)));
    }
    const pipelines = await Promise.all(plan.steps.map(({ kernel }) => byKernel.get(kernel)!));
    const { params, paramOffsets } = layParams(plan);
    const allocation = allocate(plan, kept, trace);
    return this.#device.allocating(async () => {
      const uniform = this.#device.create(params.byteLength, "uniform");
      this.#device.write(uniform, 0, params);
      return {
        plan,
        wanted,
        pipelines,
        allocation,
        paramOffsets,
        uniform,
        resident: this.#residentOfPlan(plan, given),
      };
    });
  }

  #residentOfPlan(plan: Plan, given: WebGpuResident | undefined): Map<number, GpuBuffer> {
    const resident = new Map<number, GpuBuffer>();
    plan.graph.nodes.forEach((node, i) => {
      const buffer = node.op === "input" ? given?.bufferOf(node) : undefined;
      if (buffer !== undefined) resident.set(plan.value(i).index, buffer);
    });
    for (const { slot, value } of plan.constants) {
      resident.set(slot.index, this.#device.upload(wordsOfHost(value)));
    }
    for (const { slot, words } of plan.tables) resident.set(slot.index, this.#device.upload(words));
    return resident;
  }

  async #execute(program: Program, inputs: RunInputs): Promise<Uint32Array<ArrayBuffer>> {
    const device = this.#device;
    const taken: GpuBuffer[] = [];
    const take = (bytes: number): GpuBuffer => {
      const buffer = device.take(bytes, "storage");
      taken.push(buffer);
      return buffer;
    };
    try {
      const recorder = await device.allocating(async () => {
        const buffers = program.allocation.buffers.map((words) => take(4 * words));
        const status = take(8 * program.plan.graph.nodes.length);
        this.#write(program, inputs, buffers, status);
        return this.#record(program, buffers, status);
      });
      return await device.submit(recorder);
    } finally {
      for (const buffer of taken) device.give(buffer, "storage");
    }
  }

  #write(
    { plan, allocation, resident }: Program,
    inputs: RunInputs,
    buffers: readonly GpuBuffer[],
    status: GpuBuffer,
  ): void {
    plan.graph.nodes.forEach((node, i) => {
      if (node.op !== "input") return;
      const slot = plan.value(i).index;
      if (resident.has(slot)) return;
      const value = present(inputs[node.name], `the input ${node.name} is missing`);
      const buffer = allocation.of[slot]!;
      if (buffer >= 0) this.#device.write(buffers[buffer]!, 0, wordsOfHost(value));
    });
    this.#device.write(status, 0, new Uint32Array(2 * plan.graph.nodes.length).fill(NONE));
  }

  #record(
    program: Program,
    buffers: readonly GpuBuffer[],
    status: GpuBuffer,
  ): ReturnType<WebGpuDevice["record"]> {
    const { plan, allocation, pipelines, paramOffsets, uniform, resident, wanted } = program;
    const device = this.#device;
    const workgroupsMax =
      this.#settings.workgroupsMax ?? device.limits.maxComputeWorkgroupsPerDimension;
    const bufferOf = (slot: number): GpuBuffer => {
      const buffer = resident.get(slot) ?? buffers[allocation.of[slot]!];
      assert(buffer !== undefined, "a slot without a buffer");
      return buffer;
    };
    const recorder = device.record();
    plan.steps.forEach(({ kernel, reads, writes, workgroups }, i) => {
      const slices = [
        { buffer: uniform, offset: paramOffsets[i]!, bytes: uniformBytes(kernel) },
        status,
        ...(kernel.hasTables ? [this.#tables()] : []),
        ...reads.map(({ index }) => bufferOf(index)),
        ...writes.map(({ index }) => bufferOf(index)),
      ];
      const { x, y } = gridOf(workgroups, workgroupsMax);
      recorder.dispatch(device.bind(pipelines[i]!, slices), x, y);
    });
    recorder.read({ buffer: status, offset: 0, bytes: 8 * plan.graph.nodes.length });
    for (const node of wanted) {
      const bytes = 4 * wordsOf(plan.node(node).type);
      recorder.read({ buffer: bufferOf(plan.value(node).index), offset: 0, bytes });
    }
    return recorder;
  }

  #tables(): GpuBuffer {
    return (this.#functionTable ??= this.#device.upload(functionTableWords()));
  }
}

function shaderOf(kernel: Kernel): Parameters<WebGpuDevice["pipeline"]>[0] {
  const reads = kernel.reads + (kernel.hasTables ? 1 : 0);
  return {
    name: kernel.name,
    code: kernel.text,
    bindings: [
      "uniform",
      "write",
      ...Array.from({ length: reads }, () => "read" as const),
      ...Array.from({ length: kernel.writes }, () => "write" as const),
    ],
  };
}

function uniformBytes(kernel: Kernel): number {
  return 16 * Math.ceil(kernel.params / 4);
}

/** The parameters of all steps in one buffer. */
function layParams(plan: Plan): { params: Uint32Array<ArrayBuffer>; paramOffsets: number[] } {
  const paramOffsets: number[] = [];
  let end = 0;
  for (const { kernel } of plan.steps) {
    paramOffsets.push(end);
    end += Math.ceil(uniformBytes(kernel) / PARAM_STRIDE) * PARAM_STRIDE;
  }
  const params = new Uint32Array(end / 4);
  plan.steps.forEach((step, i) => params.set(step.params, paramOffsets[i]! / 4));
  return { params, paramOffsets };
}

/** Workgroups as two factors within a limit; the product may be larger, kernels check. */
function gridOf(workgroups: number, max: number): { x: number; y: number } {
  const y = Math.ceil(workgroups / max);
  return { x: Math.ceil(workgroups / y), y };
}

/** The smallest node that failed, and its smallest row. */
function findFailure(graph: ResolvedGraph, status: Uint32Array): RunFailure | undefined {
  for (let node = 0; node < graph.nodes.length; node++) {
    const range = status[2 * node]!;
    if (range !== NONE) return { kind: rangeKind(graph, node), node, row: range };
    const row = status[2 * node + 1]!;
    if (row !== NONE) return { kind: "non-finite", node, row };
  }
  return undefined;
}

function rangeKind(graph: ResolvedGraph, node: number): RunFailure["kind"] {
  return graph.nodes[node]!.op.includes("grid") ? "grid-overflow" : "index-out-of-range";
}

function resultOf(program: Program, words: Uint32Array<ArrayBuffer>, trace: boolean): RunResult {
  const { plan, wanted } = program;
  const values = new Map<number, HostTensor>();
  let at = 0;
  for (const node of wanted) {
    const { type } = plan.node(node);
    const end = at + wordsOf(type);
    values.set(node, hostOfWords(type, words.subarray(at, end)));
    at = end;
  }
  const outputs = plan.graph.outputs.map(
    ({ name, node }) => [name, present(values.get(node))] as const,
  );
  return {
    failure: undefined,
    outputs: Object.fromEntries(outputs),
    trace: trace ? plan.graph.nodes.map((_, i) => present(values.get(i))) : undefined,
  };
}
