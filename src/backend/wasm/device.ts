// One shared Wasm memory with its kernels, helper threads and bump allocator. A device runs one program at a
// time; addresses are byte offsets into the memory.

import { assert, WASM_PAGE_BYTES } from "gyrotron/base";
import { EXP2_TABLE, SINE_TABLE } from "gyrotron/numerics";
import { TensorError } from "gyrotron/tensor";
import { KERNELS_BASE64 } from "./build/kernels.ts";
import { STATUS_GOOD } from "../row-status.ts";
import { CONTROL, encodeProgram, type KernelCall, roundUp } from "./layout.ts";
import { kernelImports } from "./native.ts";
import { type Helper, startHelper } from "./threads.ts";

const CONTROL_ADDRESS = 1024;
const HEAP_ADDRESS = 4096;
const PAGES_MAX = 65536;
export const THREADS_MAX = 64;

/** How a device is set up. */
export interface DeviceOptions {
  /** 1..64; helper threads are one less. */
  readonly threads: number;
  /** A byte that fresh memory is filled with; tests show that none of it is ever read. */
  readonly fill?: number;
  /** Seed of a random split of graphs' work among the threads, other than 0; tests show that none matters. */
  readonly schedule?: number;
  /** Path of an addon with native kernels: speed only, see ./native.ts. */
  readonly native?: string;
}

let compiled: WebAssembly.Module | undefined;

/** A memory, its kernels and its threads. */
export class WasmDevice {
  readonly #memory: WebAssembly.Memory;
  readonly #run: (control: number, thread: number) => void;
  readonly #helpers: readonly Helper[];
  readonly #fill: number;
  readonly threads: number;
  /** Whether native kernels are asked first. */
  readonly isNative: boolean;
  #top = HEAP_ADDRESS;
  #scratchBytes = 0;
  #job = 0;
  #open = true;
  #buffer: ArrayBuffer;
  #bytes: Uint8Array;

  private constructor(
    memory: WebAssembly.Memory,
    module: WebAssembly.Module,
    options: DeviceOptions,
  ) {
    this.#memory = memory;
    this.#buffer = memory.buffer;
    this.#bytes = new Uint8Array(this.#buffer);
    this.threads = options.threads;
    this.#fill = options.fill ?? 0;
    const { native } = options;
    this.isNative = native !== undefined;
    const instance = new WebAssembly.Instance(module, kernelImports(memory, native));
    this.#run = instance.exports["run"] as (control: number, thread: number) => void;
    const helpers: Helper[] = [];
    for (let thread = 1; thread < options.threads; thread++) {
      const job = this.control("job");
      helpers.push(startHelper({ module, memory, control: CONTROL_ADDRESS, job, thread, native }));
    }
    this.#helpers = helpers;
    this.setWord(this.control("exp2"), this.place(EXP2_TABLE));
    this.setWord(this.control("sines"), this.place(SINE_TABLE));
    this.setWord(this.control("threads"), options.threads);
    this.setWord(this.control("schedule"), options.schedule ?? 0);
    this.setWord(this.control("native"), native === undefined ? 0 : 1);
  }

  /** @throws TensorError `tensor/limit`, `tensor/unsupported` */
  static async create(options: DeviceOptions): Promise<WasmDevice> {
    if (!(
      Number.isInteger(options.threads) &&
      options.threads >= 1 &&
      options.threads <= THREADS_MAX
    )) {
      throw new TensorError({
        code: "tensor/limit",
        what: "threads",
        limit: THREADS_MAX,
        actual: options.threads,
      });
    }
    compiled ??= new WebAssembly.Module(Uint8Array.fromBase64(KERNELS_BASE64));
    const memory = new WebAssembly.Memory({ initial: 2, maximum: PAGES_MAX, shared: true });
    const device = new WasmDevice(memory, compiled, options);
    await Promise.all(device.#helpers.map((helper) => helper.ready));
    return device;
  }

  /** Address of a control word. */
  control(name: keyof typeof CONTROL): number {
    return CONTROL_ADDRESS + CONTROL[name];
  }

  /** A fresh 64-byte-aligned region. @throws TensorError `tensor/limit` beyond 4 GiB */
  allocate(bytes: number): number {
    const address = this.#reserve(bytes);
    this.#bytes.fill(this.#fill, address, this.#top);
    return address;
  }

  /** As `allocate`, for regions that are written before they are read. */
  allocateUnset(bytes: number): number {
    const address = this.#reserve(bytes);
    if (this.#fill !== 0) this.#bytes.fill(this.#fill, address, this.#top);
    return address;
  }

  #reserve(bytes: number): number {
    const address = this.#top;
    const end = roundUp(address + bytes + 16, 64);
    const pages = Math.ceil(end / WASM_PAGE_BYTES);
    const present = this.#memory.buffer.byteLength / WASM_PAGE_BYTES;
    if (pages > PAGES_MAX) {
      throw new TensorError({
        code: "tensor/limit",
        what: "memory pages",
        limit: PAGES_MAX,
        actual: pages,
      });
    }
    if (pages > present) this.#grow(Math.min(PAGES_MAX - present, Math.max(pages - present, 16)));
    this.#top = end;
    this.#refresh();
    return address;
  }

  /** @throws TensorError `tensor/device-memory` if the machine gives no more */
  #grow(pages: number): void {
    try {
      this.#memory.grow(pages);
    } catch (error) {
      const what = `${pages} pages more`;
      throw new TensorError(
        { code: "tensor/device-memory", backend: "wasm", what },
        { cause: error },
      );
    }
  }

  /** A copy of `data` in the memory. */
  place(
    data:
      Int8Array | Int16Array | Uint16Array | Int32Array | Uint32Array | Float32Array | Float64Array,
  ): number {
    const address = this.allocateUnset(data.byteLength);
    this.write(address, data);
    return address;
  }

  write(address: number, data: ArrayBufferView): void {
    this.#bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), address);
  }

  /** A view of words in the memory, until the next allocation. */
  words(address: number, length: number): Int32Array {
    return new Int32Array(this.#buffer, address, length);
  }

  /** Copies within the memory. */
  copy(from: number, to: number, bytes: number): void {
    this.#bytes.copyWithin(to, from, from + bytes);
  }

  setWord(address: number, value: number): void {
    new DataView(this.#buffer).setInt32(address, value, true);
  }

  /** Copies f32 out. */
  readF32(address: number, length: number): Float32Array {
    return new Float32Array(this.#buffer, address, length).slice();
  }

  readI32(address: number, length: number): Int32Array {
    return new Int32Array(this.#buffer, address, length).slice();
  }

  readI16(address: number, length: number): Int16Array {
    return new Int16Array(this.#buffer, address, length).slice();
  }

  readI64(address: number, length: number): BigInt64Array {
    return new BigInt64Array(this.#buffer, address, length).slice();
  }

  /** A region of row statuses, all good. */
  resetStatus(address: number, rows: number): void {
    new Int32Array(this.#buffer, address, rows).fill(STATUS_GOOD);
  }

  /** Sees to `bytes` of scratch for each thread. */
  reserveScratch(bytes: number): void {
    const rounded = roundUp(bytes + 64, 64);
    if (rounded <= this.#scratchBytes) return;
    this.#scratchBytes = rounded;
    this.setWord(this.control("scratch"), this.allocate(rounded * this.threads));
    this.setWord(this.control("scratchBytes"), rounded);
  }

  /** Runs `body` with `bytes` a thread, a multiple of 64, at `address` as scratch. */
  withScratch(address: number, bytes: number, body: () => void): void {
    const words = new DataView(this.#buffer);
    const at = this.control("scratch");
    const before = words.getInt32(at, true);
    this.setWord(at, address);
    this.setWord(this.control("scratchBytes"), bytes);
    try {
      body();
    } finally {
      this.setWord(at, before);
      this.setWord(this.control("scratchBytes"), this.#scratchBytes);
    }
  }

  /** Bytes that the memory may still grow by, less what an allocation adds. */
  get bytesLeft(): number {
    return PAGES_MAX * WASM_PAGE_BYTES - this.#top - 128;
  }

  /** The mark to which `release` may return. */
  get mark(): number {
    return this.#top;
  }

  /** Frees everything allocated since `mark`. */
  release(mark: number): void {
    assert(mark <= this.#top, "released twice");
    this.#top = mark;
  }

  /** Stores a program and returns its address. */
  placeProgram(calls: readonly KernelCall[]): number {
    return this.place(encodeProgram(calls));
  }

  /** Runs the first `length` records of a program on all threads. */
  run(program: number, length: number): void {
    if (!this.#open) throw new TensorError({ code: "tensor/closed", what: "device" });
    // Helpers of a program without a barrier would still be at it when the next one comes.
    if (length === 0) return;
    this.setWord(this.control("program"), program);
    this.setWord(this.control("programLength"), length);
    if (this.threads > 1) {
      const words = new Int32Array(this.#buffer);
      const at = this.control("job") / 4;
      this.#job = (this.#job + 1) | 0;
      Atomics.store(words, at, this.#job);
      Atomics.notify(words, at);
    }
    this.#run(CONTROL_ADDRESS, 0);
  }

  async close(): Promise<void> {
    this.#open = false;
    await Promise.all(this.#helpers.map((helper) => helper.stop()));
  }

  #refresh(): void {
    if (this.#buffer === this.#memory.buffer) return;
    this.#buffer = this.#memory.buffer;
    this.#bytes = new Uint8Array(this.#buffer);
  }
}
