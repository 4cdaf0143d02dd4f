// The decoder on a WebGPU device: weights, buffers and caches that stay there, and one command buffer a step.
// What is dispatched is decoder-plan.ts's; here are rows, caches, statuses and memory.

import { assert, present } from "gyrotron/base";
import {
  addPositions,
  type Decoder,
  type DecoderFrame,
  type DecoderRow,
  type DecoderWeights,
  describeOp,
  embedTokens,
  frameOf,
  type NonFinite,
  type SequenceCache,
  type StepResult,
  TensorError,
} from "gyrotron/tensor";
import { cacheCopies } from "../cache-copy.ts";
import { cacheMemoryError, CachePlaces } from "../cache-places.ts";
import { DecoderPlan } from "./decoder-plan.ts";
import type { WebGpuDevice } from "./device.ts";
import type { GpuBuffer } from "./gpu-interface.ts";
import { STEP_ROW_WORDS } from "./kernels/rotate.ts";
import { cacheLayerWords } from "./kernels/rotate.ts";
import { STATUS_GOOD } from "./kernels/workgroup.ts";
import type { WgslPiece } from "./wgsl/piece.ts";

const ROWS_MAX = 64;
/** Logits of a step that are kept at once. */
const LOGIT_BYTES_MAX: number = 2 ** 27;
const ARENA_WORDS_MIN: number = 2 ** 16;
/** Rows up to which preparing a row in each workgroup is cheaper than dispatches of its own. */
const FUSED_ROWS_MAX = 4;

class WebGpuCache implements SequenceCache {
  readonly owner: WebGpuDecoder;
  readonly word: number;
  readonly slots: number;
  readonly capacity: number;
  length = 0;
  open = true;

  constructor(owner: WebGpuDecoder, word: number, slots: number, capacity: number) {
    this.owner = owner;
    this.word = word;
    this.slots = slots;
    this.capacity = capacity;
  }

  truncate(length: number): void {
    assert(length >= 0 && length <= this.length, "a cache is cut, not extended");
    this.length = length;
  }

  fork(length: number, capacity: number): SequenceCache {
    assert(this.open && length <= this.length && length <= capacity, "a fork of what is there");
    return this.owner.copyCache(this, length, capacity);
  }

  free(): void {
    if (!this.open) return;
    this.open = false;
    this.owner.reclaim(this);
  }
}

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
  readonly #places: CachePlaces = new CachePlaces();
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
    const { layers, kvHeads, headSize, context } = this.#frame.shape;
    if (!(capacity >= 1 && capacity <= context)) {
      throw new TensorError({
        code: "tensor/limit",
        what: "cache capacity",
        limit: context,
        actual: capacity,
      });
    }
    const slots = this.#slotsFor(capacity);
    const words = layers * cacheLayerWords(kvHeads, slots, headSize);
    const word = this.#places.take(slots, () => this.#allocate(words, slots));
    return new WebGpuCache(this, word, slots, capacity);
  }

  /** A cache with the first positions of another. */
  copyCache(cache: WebGpuCache, length: number, capacity: number): SequenceCache {
    const copy = this.createCache(capacity);
    assert(copy instanceof WebGpuCache, "a cache of this decoder");
    const { layers, kvHeads, headSize } = this.#frame.shape;
    const sizes = { positions: length, fromSlots: cache.slots, toSlots: copy.slots };
    const shape = { layers, kvHeads, unitBytes: headSize * 2 };
    const ranges = cacheCopies(shape, sizes).map(({ from, to, bytes }) => ({
      from: cache.word * 4 + from,
      to: copy.word * 4 + to,
      bytes,
    }));
    this.#device.moveWithin(this.#arena, ranges);
    copy.length = length;
    return copy;
  }

  /** Takes back a freed cache's memory for the next one of its size. */
  reclaim(cache: WebGpuCache): void {
    if (this.#places.giveBack(cache.slots, cache.word)) this.#used = 0;
  }

  /** Few sizes, so that freed caches fit the next ones: powers of two from 32, or the whole context. */
  #slotsFor(capacity: number): number {
    let slots = 32;
    while (slots < capacity) slots *= 2;
    return Math.min(slots, this.#frame.shape.context);
  }

  /** The first of so many words of the arena, which grows by doubling. */
  #allocate(words: number, slots: number): number {
    const word = this.#used;
    if (word + words > this.#arenaWords) this.#grow(words, slots);
    this.#used = word + words;
    return word;
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
    const caches = this.#admit(rows);
    if (rows.length === 0) return { logits: [], failures: new Map() };
    const positions = caches.map((cache) => cache.length++);
    const chosen = rows.flatMap((row, i) => (row.wantsLogits ? [i] : []));
    const words = new Uint32Array(rows.length * STEP_ROW_WORDS);
    rows.forEach(({ token }, i) => {
      const { word, slots } = caches[i]!;
      words.set([token, positions[i]!, word, slots], i * STEP_ROW_WORDS);
    });
    const { embedding, positions: learned } = this.#frame;
    const x = embedTokens(
      embedding,
      rows.map((row) => row.token),
    );
    const misplaced = learned === undefined ? [] : addPositions(x, learned, positions);
    const read = await this.#plan.run({
      x,
      misplaced,
      rows: words,
      count: rows.length,
      chosen,
      arena: this.#arena,
      isFused: rows.length <= this.#fusedRowsMax,
    });
    return this.#collect(caches, positions, chosen, read);
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

  /** Checks the rows and returns their caches. */
  #admit(rows: readonly DecoderRow[]): WebGpuCache[] {
    if (rows.length > this.rowsMax) {
      throw new TensorError({
        code: "tensor/limit",
        what: "rows",
        limit: this.rowsMax,
        actual: rows.length,
      });
    }
    const added = new Map<WebGpuCache, number>();
    const caches = rows.map(({ cache, token }) => {
      assert(cache instanceof WebGpuCache && cache.owner === this, "a cache of another decoder");
      assert(token >= 0 && token < this.#frame.shape.vocabulary, "token out of range");
      if (!cache.open) throw new TensorError({ code: "tensor/closed", what: "cache" });
      added.set(cache, (added.get(cache) ?? 0) + 1);
      return cache;
    });
    for (const [cache, count] of added) {
      if (cache.length + count > cache.capacity) {
        const position = cache.capacity;
        throw new TensorError({ code: "tensor/context-full", capacity: position, position });
      }
    }
    return caches;
  }

  /** Reads statuses, then logits, and tells failures from results. */
  #collect(
    caches: readonly WebGpuCache[],
    positions: readonly number[],
    chosen: readonly number[],
    read: Uint32Array<ArrayBuffer>,
  ): StepResult {
    const { layers, vocabulary } = this.#frame.shape;
    const failures = new Map<SequenceCache, NonFinite>();
    // Rows of a cache stand in rising position, so the first that failed is the one to report.
    caches.forEach((cache, i) => {
      const op = present(read[i]);
      if (op === STATUS_GOOD || failures.has(cache)) return;
      failures.set(cache, { position: present(positions[i]), op: describeOp(layers, op) });
    });
    const all = new Float32Array(read.buffer);
    const logits: (Float32Array | undefined)[] = caches.map(() => undefined);
    chosen.forEach((row, i) => {
      if (failures.has(present(caches[row]))) return;
      const start = caches.length + i * vocabulary;
      logits[row] = all.slice(start, start + vocabulary);
    });
    return { logits, failures };
  }
}
