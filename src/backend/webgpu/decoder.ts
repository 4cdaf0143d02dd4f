// The decoder on a WebGPU device: weights, buffers and caches that stay there, and one command buffer a step.
// What is dispatched is decoder-plan.ts's; here is the memory of caches and what a step hands to the plan.

import {
  type Decoder,
  type DecoderFrame,
  type DecoderRow,
  type DecoderWeights,
  frameOf,
  type SequenceCache,
  type StepResult,
  TensorError,
} from "gyrotron/tensor";
import { cacheMemoryError } from "../cache-places.ts";
import { CachePool, type CopyRange } from "../cache-pool.ts";
import { beginStep, endStep } from "../decoder-step.ts";
import { DecoderPlan } from "./decoder-plan.ts";
import type { WebGpuDevice } from "./device.ts";
import type { GpuBuffer } from "./gpu-interface.ts";
import { cacheLayerWords, STEP_ROW_WORDS } from "./kernels/rotate.ts";
import type { WgslPiece } from "./wgsl/piece.ts";

const ROWS_MAX = 64;
/** Logits of a step that are kept at once. */
const LOGIT_BYTES_MAX: number = 2 ** 27;
const ARENA_WORDS_MIN: number = 2 ** 16;
/** Rows up to which preparing a row in each workgroup is cheaper than dispatches of its own. */
const FUSED_ROWS_MAX = 4;

/** What decides how a step is dispatched, but no bit of it. */
export interface DecoderSettings {
  readonly fusedRowsMax?: number;
  readonly fill?: number;
}

/** A model on one device. */
export class WebGpuDecoder implements Decoder {
  readonly rowsMax: number;
  readonly #device: WebGpuDevice;
  readonly #frame: DecoderFrame;
  readonly #plan: DecoderPlan;
  readonly #fusedRowsMax: number;
  readonly #fill: number | undefined;
  readonly #caches: CachePool;
  #arena: GpuBuffer;
  #arenaWords: number;
  #used = 0;
  #open = true;

  private constructor(
    device: WebGpuDevice,
    frame: DecoderFrame,
    plan: DecoderPlan,
    settings: DecoderSettings,
  ) {
    this.#device = device;
    this.#frame = frame;
    this.#plan = plan;
    this.rowsMax = plan.rowsMax;
    this.#fusedRowsMax = settings.fusedRowsMax ?? (device.isSoftware ? 1 : FUSED_ROWS_MAX);
    this.#fill = settings.fill;
    this.#arenaWords = ARENA_WORDS_MIN;
    this.#arena = device.create(this.#arenaWords * 4, "storage");
    this.#poison(0);
    const { layers, kvHeads, headSize, context } = frame.shape;
    this.#caches = new CachePool({
      ...{ layers, kvHeads, unitBytes: headSize * 2, context },
      place: (slots) => this.#allocate(layers * cacheLayerWords(kvHeads, slots, headSize), slots),
      clear: () => (this.#used = 0),
      copy: (from, to, ranges) => this.#copy(from, to, ranges),
    });
  }

  /** Places weights; kernels are compiled by the steps that need them. @throws TensorError `tensor/device-memory`, `tensor/device-lost` */
  static create(
    device: WebGpuDevice,
    dot: WgslPiece,
    weights: DecoderWeights,
    settings: DecoderSettings,
  ): Promise<WebGpuDecoder> {
    const logitRows = Math.floor(LOGIT_BYTES_MAX / 4 / weights.shape.vocabulary);
    const rowsMax = Math.max(1, Math.min(ROWS_MAX, logitRows));
    return device.allocating(async () => {
      const plan = new DecoderPlan(device, dot, weights, rowsMax);
      return new WebGpuDecoder(device, frameOf(weights), plan, settings);
    });
  }

  /** Dispatches of a step with so many rows, with or without logits. */
  dispatchesOf(rows: number, hasLogits: boolean): Promise<number> {
    return this.#plan.dispatchesOf(rows <= this.#fusedRowsMax, hasLogits);
  }

  createCache(capacity: number): SequenceCache {
    this.#check();
    return this.#caches.create(capacity);
  }

  /** The first of so many words of the arena, which grows by doubling. */
  #allocate(words: number, slots: number): number {
    this.#check();
    const word = this.#used;
    if (word + words > this.#arenaWords) this.#grow(words, slots);
    this.#used = word + words;
    return word;
  }

  /** Copies between the caches at two words. */
  #copy(source: number, target: number, ranges: readonly CopyRange[]): void {
    this.#check();
    const moves = ranges.map(({ from, to, bytes }) => ({
      from: source * 4 + from,
      to: target * 4 + to,
      bytes,
    }));
    this.#device.moveWithin(this.#arena, moves);
  }

  #grow(added: number, slots: number): void {
    const { maxStorageBufferBindingSize, maxBufferSize } = this.#device.limits;
    const limit = Math.floor(Math.min(maxStorageBufferBindingSize, maxBufferSize) / 4);
    const needed = this.#used + added;
    if (needed > limit) {
      const left = (limit - this.#used) * 4;
      throw cacheMemoryError("webgpu", { positions: slots, bytes: added * 4, left });
    }
    let words = this.#arenaWords;
    while (words < needed) words *= 2;
    words = Math.min(words, limit);
    const larger = this.#device.create(words * 4, "storage");
    this.#device.copyNow(this.#arena, larger, this.#used * 4);
    this.#arena.destroy();
    this.#arena = larger;
    this.#arenaWords = words;
    this.#poison(this.#used);
  }

  #poison(start: number): void {
    if (this.#fill === undefined) return;
    const words = new Uint32Array(this.#arenaWords - start).fill(this.#fill);
    this.#device.write(this.#arena, start * 4, words);
  }

  async step(rows: readonly DecoderRow[]): Promise<StepResult> {
    this.#check();
    const { layers, vocabulary } = this.#frame.shape;
    const caches = this.#caches.admit(rows, { rowsMax: this.rowsMax, vocabulary });
    if (rows.length === 0) return { logits: [], failures: new Map() };
    const step = beginStep(this.#frame, rows, caches);
    const words = new Uint32Array(rows.length * STEP_ROW_WORDS);
    rows.forEach(({ token }, i) => {
      const { address, slots } = caches[i]!;
      words.set([token, step.positions[i]!, address, slots], i * STEP_ROW_WORDS);
    });
    const read = await this.#plan.run({
      x: step.x,
      misplaced: step.misplaced,
      rows: words,
      count: rows.length,
      chosen: step.chosen,
      arena: this.#arena,
      isFused: rows.length <= this.#fusedRowsMax,
    });
    // Statuses of all rows come first, then logits of the chosen.
    const all = new Float32Array(read.buffer);
    return endStep(step, layers, read, (i) => {
      const start = rows.length + i * vocabulary;
      return all.slice(start, start + vocabulary);
    });
  }

  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    this.#plan.free();
    this.#arena.destroy();
  }

  #check(): void {
    if (!this.#open) throw new TensorError({ code: "tensor/closed", what: "decoder" });
    this.#device.check();
  }
}
