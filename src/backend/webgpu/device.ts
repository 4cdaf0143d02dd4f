// One WebGPU device: buffers and their pool, pipelines, command buffers, readback, and what its loss means. It
// knows nothing of ops. Of each step there is one command buffer and one wait.

import { assert } from "gyrotron/base";
import { TensorError } from "gyrotron/tensor";
import type { CopyRange } from "../cache-pool.ts";
import {
  BUFFER_USAGE,
  type Gpu,
  type GpuBuffer,
  type GpuCommandEncoder,
  type GpuComputePass,
  type GpuDeviceHandle,
  type GpuLimits,
  MAP_READ,
  STAGE_COMPUTE,
} from "./gpu-interface.ts";
import { constantTableWords } from "./wgsl/constant-table.ts";
import { findFloat } from "./wgsl/piece.ts";

/** What a binding of group 0 is. */
export type BindingKind = "uniform" | "read" | "write";

/** A compute shader with the entry point `main`; group 1 holds the tables of constants. */
export interface ShaderSource {
  readonly name: string;
  readonly code: string;
  readonly bindings: readonly BindingKind[];
}

/** A compiled shader. */
export interface GpuPipeline {
  readonly source: ShaderSource;
  readonly handle: object;
  readonly layout: object;
}

/** What a buffer is for; all but `readback` can be written by the host and copied from. */
export type BufferKind = "storage" | "uniform" | "readback";

/** A buffer, or part of one that starts at a multiple of 256 bytes. */
export interface BufferSlice {
  readonly buffer: GpuBuffer;
  readonly offset: number;
  readonly bytes: number;
}

/** A pipeline with its buffers. */
export interface BoundPipeline {
  readonly pipeline: GpuPipeline;
  readonly group: object;
}

const KIND_USAGE: Readonly<Record<BufferKind, number>> = {
  storage: BUFFER_USAGE.storage | BUFFER_USAGE.copySource | BUFFER_USAGE.copyTarget,
  uniform: BUFFER_USAGE.uniform | BUFFER_USAGE.copyTarget,
  readback: BUFFER_USAGE.mapRead | BUFFER_USAGE.copyTarget,
};
const BINDING_TYPE = { uniform: "uniform", read: "read-only-storage", write: "storage" } as const;
const LIMIT_NAMES: readonly (keyof GpuLimits)[] = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxComputeWorkgroupStorageSize",
];

/** Settings that change no bit. */
export interface WebGpuDeviceOptions {
  /** Fills every buffer taken from the pool with this word: tests poison what is not written. */
  readonly fill?: number;
  /** Bytes of a matrix or table from which on it is cut, if fewer than the device could bind. */
  readonly shardBytesMax?: number;
}

/** An open device. */
export class WebGpuDevice {
  readonly name: string;
  readonly limits: GpuLimits;
  /** Bytes of a matrix or table that one buffer may hold. */
  readonly shardBytesMax: number;
  /** Whether the language has dot products of packed bytes. */
  readonly hasPackedDot: boolean;
  /** Whether it computes on a CPU. */
  readonly isSoftware: boolean;
  /** Dispatches recorded so far, of all command buffers. */
  dispatches = 0;
  readonly #gpu: Gpu;
  readonly #handle: GpuDeviceHandle;
  readonly #fill: number | undefined;
  readonly #pipelines: Map<string, Promise<GpuPipeline>> = new Map();
  readonly #spare: Map<string, GpuBuffer[]> = new Map();
  readonly #tableLayout: object;
  readonly #tableGroup: object;
  readonly #tables: GpuBuffer;
  #lost: string | undefined;
  #exhausted: string | undefined;
  #open = true;

  private constructor(
    gpu: Gpu,
    handle: GpuDeviceHandle,
    name: string,
    options: WebGpuDeviceOptions,
  ) {
    this.#gpu = gpu;
    this.#handle = handle;
    this.#fill = options.fill;
    this.name = name;
    this.limits = handle.limits;
    const { maxStorageBufferBindingSize, maxBufferSize } = handle.limits;
    this.shardBytesMax = Math.min(
      options.shardBytesMax ?? maxBufferSize,
      maxStorageBufferBindingSize,
      maxBufferSize,
    );
    this.hasPackedDot = gpu.wgslLanguageFeatures?.has("packed_4x8_integer_dot_product") === true;
    this.isSoftware = /swiftshader|llvmpipe|lavapipe|software|basic render/i.test(name);
    void handle.lost.then((info) => {
      this.#lost ??= info.message || info.reason || "no reason given";
    });
    const words = constantTableWords();
    this.#tables = this.create(words.byteLength, "uniform");
    this.write(this.#tables, 0, words);
    this.#tableLayout = this.#layoutOf(["uniform"]);
    this.#tableGroup = this.#groupOf(this.#tableLayout, [wholeOf(this.#tables)]);
  }

  /** Opens the host's preferred adapter with all its limits. @throws TensorError `tensor/unsupported` */
  static async open(gpu: Gpu, options: WebGpuDeviceOptions = {}): Promise<WebGpuDevice> {
    const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
    if (adapter === null) {
      throw new TensorError({ code: "tensor/unsupported", backend: "webgpu", what: "no adapter" });
    }
    const requiredLimits = Object.fromEntries(
      LIMIT_NAMES.map((name) => [name, adapter.limits[name]]),
    );
    const handle = await adapter.requestDevice({ requiredLimits });
    const info = adapter.info;
    const words = [info?.vendor, info?.architecture, info?.device, info?.description];
    const name = [...new Set(words.filter((word) => word !== undefined && word !== ""))].join(" ");
    return new WebGpuDevice(gpu, handle, name === "" ? "unnamed adapter" : name, options);
  }

  /** @throws TensorError `tensor/device-lost`, `tensor/closed` */
  check(): void {
    if (!this.#open) throw new TensorError({ code: "tensor/closed", what: "device" });
    if (this.#lost !== undefined) {
      throw new TensorError({ code: "tensor/device-lost", backend: "webgpu", reason: this.#lost });
    }
  }

  /** The shader compiled, once for each text. */
  async pipeline(source: ShaderSource): Promise<GpuPipeline> {
    this.check();
    const key = `${source.bindings.join()}\n${source.code}`;
    let pipeline = this.#pipelines.get(key);
    if (pipeline === undefined) {
      pipeline = this.#compile(source);
      this.#pipelines.set(key, pipeline);
      pipeline.catch(() => this.#pipelines.delete(key));
    }
    return pipeline;
  }

  async #compile(source: ShaderSource): Promise<GpuPipeline> {
    const found = findFloat(source.code);
    assert(found === undefined, `a float in ${source.name}: ${found}`);
    const layout = this.#layoutOf(source.bindings);
    const bindGroupLayouts = [layout, this.#tableLayout];
    const handle = await this.#handle.createComputePipelineAsync({
      layout: this.#handle.createPipelineLayout({ bindGroupLayouts }),
      compute: {
        module: this.#handle.createShaderModule({ code: source.code, label: source.name }),
        entryPoint: "main",
      },
    });
    return { source, handle, layout };
  }

  #layoutOf(bindings: readonly BindingKind[]): object {
    const entries = bindings.map((kind, binding) => ({
      binding,
      visibility: STAGE_COMPUTE,
      buffer: { type: BINDING_TYPE[kind] },
    }));
    return this.#handle.createBindGroupLayout({ entries });
  }

  #groupOf(layout: object, slices: readonly BufferSlice[]): object {
    const entries = slices.map(({ buffer, offset, bytes }, binding) => ({
      binding,
      resource: { buffer, offset, size: bytes },
    }));
    return this.#handle.createBindGroup({ layout, entries });
  }

  /** A pipeline with its buffers, in the order of its bindings. */
  bind(pipeline: GpuPipeline, slices: readonly (BufferSlice | GpuBuffer)[]): BoundPipeline {
    assert(
      slices.length === pipeline.source.bindings.length,
      `bindings of ${pipeline.source.name}`,
    );
    const all = slices.map((slice) => ("buffer" in slice ? slice : wholeOf(slice)));
    return { pipeline, group: this.#groupOf(pipeline.layout, all) };
  }

  /** A new buffer of whole words; the caller destroys it. */
  create(bytes: number, kind: BufferKind): GpuBuffer {
    const size = Math.max(16, Math.ceil(bytes / 4) * 4);
    const limit =
      kind === "storage"
        ? Math.min(this.limits.maxBufferSize, this.limits.maxStorageBufferBindingSize)
        : this.limits.maxBufferSize;
    if (size > limit) {
      throw new TensorError({ code: "tensor/limit", what: "buffer bytes", limit, actual: size });
    }
    this.#handle.pushErrorScope("out-of-memory");
    const buffer = this.#handle.createBuffer({ size, usage: KIND_USAGE[kind] });
    void this.#handle.popErrorScope().then((error) => {
      if (error !== null) this.#exhausted ??= `${kind} buffer of ${size} bytes`;
    }, ignoreLoss);
    return buffer;
  }

  /** A new storage buffer with these words. */
  upload(data: ArrayBufferView): GpuBuffer {
    const buffer = this.create(data.byteLength, "storage");
    this.write(buffer, 0, data);
    return buffer;
  }

  /** A buffer of at least so many bytes from the pool; what it holds is anything. */
  take(bytes: number, kind: BufferKind): GpuBuffer {
    let size = 256;
    while (size < bytes) size *= 2;
    if (size > this.limits.maxStorageBufferBindingSize) size = Math.ceil(bytes / 4) * 4;
    const buffer = this.#spare.get(`${kind} ${size}`)?.pop() ?? this.create(size, kind);
    if (this.#fill !== undefined && kind === "storage") {
      this.write(buffer, 0, new Uint32Array(size / 4).fill(this.#fill));
    }
    return buffer;
  }

  /** Gives a buffer back to the pool. */
  give(buffer: GpuBuffer, kind: BufferKind): void {
    const key = `${kind} ${buffer.size}`;
    const spare = this.#spare.get(key);
    if (spare === undefined) this.#spare.set(key, [buffer]);
    else if (spare.length < 16) spare.push(buffer);
    else buffer.destroy();
  }

  /** Copies whole words to the device, before whatever is submitted later. */
  write(buffer: GpuBuffer, offset: number, data: ArrayBufferView): void {
    assert(data.byteLength % 4 === 0, "whole words are written");
    if (data.byteLength > 0) this.#handle.queue.writeBuffer(buffer, offset, data);
  }

  /** A new command buffer. */
  record(): CommandRecorder {
    return new CommandRecorder(this, this.#handle.createCommandEncoder(), this.#tableGroup);
  }

  /** Runs what was recorded and returns what was to be read. @throws TensorError `tensor/device-lost` */
  async submit(recorder: CommandRecorder): Promise<Uint32Array<ArrayBuffer>> {
    this.check();
    const { commands, readback, bytes } = recorder.finish();
    this.#handle.pushErrorScope("validation");
    this.#handle.queue.submit([commands]);
    const invalid = this.#handle.popErrorScope();
    try {
      await readback.mapAsync(MAP_READ, 0, Math.max(bytes, 4));
    } catch (error) {
      await this.#explain(invalid, error);
    }
    const error = await invalid;
    if (error !== null) await this.#explain(invalid, error.message);
    const words = new Uint32Array(readback.getMappedRange(0, Math.max(bytes, 4)).slice(0, bytes));
    readback.unmap();
    this.give(readback, "readback");
    return words;
  }

  /** Why a submission failed: no memory, a command of ours that was refused, or a device that is gone. */
  async #explain(
    invalid: Promise<{ readonly message: string } | null>,
    cause: unknown,
  ): Promise<never> {
    const refused = await invalid.catch(() => null);
    this.#checkMemory();
    this.check();
    assert(refused === null, refused?.message);
    this.#lost = cause instanceof Error ? cause.message : String(cause);
    this.check();
    throw cause;
  }

  /** Copies between buffers, after what was submitted and before what will be. */
  copyNow(source: GpuBuffer, target: GpuBuffer, bytes: number): void {
    if (bytes === 0) return;
    const encoder = this.#handle.createCommandEncoder();
    encoder.copyBufferToBuffer(source, 0, target, 0, bytes);
    this.#handle.queue.submit([encoder.finish()]);
  }

  /** Copies ranges of a buffer to other places in it, by way of a buffer between: one may not copy to itself. */
  moveWithin(buffer: GpuBuffer, ranges: readonly CopyRange[]): void {
    const total = ranges.reduce((sum, { bytes }) => sum + bytes, 0);
    if (total === 0) return;
    const between = this.create(total, "storage");
    const encoder = this.#handle.createCommandEncoder();
    let at = 0;
    for (const { from, bytes } of ranges) {
      encoder.copyBufferToBuffer(buffer, from, between, at, bytes);
      at += bytes;
    }
    at = 0;
    for (const { to, bytes } of ranges) {
      encoder.copyBufferToBuffer(between, at, buffer, to, bytes);
      at += bytes;
    }
    this.#handle.queue.submit([encoder.finish()]);
    between.destroy();
  }

  /**
   * Runs what allocates, and finds out whether the device had room for it.
   * @throws TensorError `tensor/device-memory`, `tensor/device-lost`
   */
  async allocating<T>(body: () => Promise<T>): Promise<T> {
    this.check();
    const result = await body();
    // Scopes are answered in order: those of the buffers come before this one.
    this.#handle.pushErrorScope("out-of-memory");
    await this.#handle.popErrorScope();
    this.#checkMemory();
    this.check();
    return result;
  }

  #checkMemory(): void {
    const what = this.#exhausted;
    if (what === undefined) return;
    this.#exhausted = undefined;
    throw new TensorError({ code: "tensor/device-memory", backend: "webgpu", what });
  }

  /** Ends the device; whatever runs on it fails. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    for (const buffers of this.#spare.values()) for (const buffer of buffers) buffer.destroy();
    this.#spare.clear();
    this.#tables.destroy();
    this.#handle.destroy();
  }

  /** Loses the device as a driver would, for tests. */
  lose(reason: string): void {
    this.#lost ??= reason;
    this.#handle.destroy();
  }

  /** The host's object, which must live as long as the device. */
  get host(): Gpu {
    return this.#gpu;
  }
}

/** Errors of a scope on a lost device: the loss itself is reported elsewhere. */
function ignoreLoss(): void {}

function wholeOf(buffer: GpuBuffer): BufferSlice {
  return { buffer, offset: 0, bytes: buffer.size };
}

/** Commands in order, and what to read when they are done. */
export class CommandRecorder {
  readonly #device: WebGpuDevice;
  readonly #encoder: GpuCommandEncoder;
  readonly #tables: object;
  readonly #reads: { readonly slice: BufferSlice; readonly at: number }[] = [];
  #pass: GpuComputePass | undefined;
  #bytes = 0;

  constructor(device: WebGpuDevice, encoder: GpuCommandEncoder, tables: object) {
    this.#device = device;
    this.#encoder = encoder;
    this.#tables = tables;
  }

  /** Adds a dispatch; none if a count is 0. */
  dispatch({ pipeline, group }: BoundPipeline, x: number, y = 1): void {
    if (x === 0 || y === 0) return;
    if (this.#pass === undefined) {
      this.#pass = this.#encoder.beginComputePass();
      this.#pass.setBindGroup(1, this.#tables);
    }
    this.#pass.setPipeline(pipeline.handle);
    this.#pass.setBindGroup(0, group);
    this.#pass.dispatchWorkgroups(x, y);
    this.#device.dispatches += 1;
  }

  /** Copies between buffers of the device. */
  copy(source: BufferSlice, target: BufferSlice): void {
    this.#endPass();
    this.#encoder.copyBufferToBuffer(
      source.buffer,
      source.offset,
      target.buffer,
      target.offset,
      source.bytes,
    );
  }

  /** Adds words to what is read at the end; returns their index there. */
  read(slice: BufferSlice): number {
    const at = this.#bytes;
    if (slice.bytes > 0) this.#reads.push({ slice, at });
    this.#bytes += slice.bytes;
    return at / 4;
  }

  /** Ends the recording; the device calls it. */
  finish(): { commands: object; readback: GpuBuffer; bytes: number } {
    this.#endPass();
    const readback = this.#device.take(Math.max(this.#bytes, 4), "readback");
    for (const { slice, at } of this.#reads) {
      this.copy(slice, { buffer: readback, offset: at, bytes: slice.bytes });
    }
    return { commands: this.#encoder.finish(), readback, bytes: this.#bytes };
  }

  #endPass(): void {
    this.#pass?.end();
    this.#pass = undefined;
  }
}
