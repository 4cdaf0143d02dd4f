// The canister runtime of one thread: opens sessions on cached or loaded images.

import { GIB, assert, formatHex } from "gyrotron/base";
import type {
  CanisterRuntime,
  ChunkReader,
  ImageSession,
  ImageSource,
  ImageState,
} from "../contract.ts";
import { Engine } from "./engine.ts";
import { checkEngineTraps } from "./engine-trap.ts";
import { ImageCache } from "./image-cache.ts";
import { LiveImage, loadImage } from "./live-image.ts";
import { Session } from "./session.ts";
import { StableImage } from "./stable-image.ts";

/** Bounds of a runtime's caches, and whom it serves. */
export interface CanisterRuntimeOptions {
  /** Bytes of linear memory, and of stable memory's chunks, that idle images may hold (default 4 GiB). */
  readonly cachedBytesMax?: number;
  /** Idle images (default 256; each reserves several GiB of address space). */
  readonly cachedImagesMax?: number;
  /**
   * Executions here become part of state (default). A runtime for queries may set it to false: then
   * a memory that a query grew in V8 stays in use, which replicated executions must not see.
   */
  readonly replicated?: boolean;
}

/** A runtime for this thread. @throws CanisterError `canister/host-failure` if V8 words traps unexpectedly */
export function createCanisterRuntime(options: CanisterRuntimeOptions = {}): CanisterRuntime {
  checkEngineTraps();
  return new Runtime(options);
}

class Runtime implements CanisterRuntime {
  readonly #engine: Engine;
  readonly #cache: ImageCache;
  readonly #replicated: boolean;
  #openKey: string | undefined = undefined;
  /** After a failure of the host the dirty map may hold marks of nobody. */
  #hasFailed = false;

  constructor(options: CanisterRuntimeOptions) {
    this.#engine = new Engine();
    this.#cache = new ImageCache({
      bytesMax: options.cachedBytesMax ?? 4 * GIB,
      imagesMax: options.cachedImagesMax ?? 256,
    });
    this.#replicated = options.replicated ?? true;
  }

  get cachedBytes(): number {
    return this.#cache.bytes;
  }

  open(source: ImageSource): ImageSession {
    const key = formatHex(source.canisterId);
    const cached = this.#cache.get(key);
    const isCurrent = cached?.matches(source, this.#replicated) ?? false;
    const image = cached !== undefined && isCurrent ? cached : loadImage(this.#engine, key, source);
    image.stable.begin((index) => source.chunks.stableChunk(index));
    return this.#session(image);
  }

  create(canisterId: Uint8Array, generation: bigint): ImageSession {
    const stable = new StableImage(0, () => undefined);
    stable.begin(() => undefined);
    return this.#session(new LiveImage(formatHex(canisterId), generation, undefined, stable));
  }

  refresh(
    canisterId: Uint8Array,
    state: ImageState,
    generation: bigint,
    heapChunks: readonly number[],
    chunks: ChunkReader,
  ): void {
    const image = this.#cache.get(formatHex(canisterId));
    if (image?.program === undefined) return;
    assert(this.#openKey !== image.key, "an open image cannot be refreshed");
    const { program } = image;
    program.heap.adoptSizes(state.heapPages, state.heapPagesPhysical);
    for (const index of heapChunks) program.heap.load(index, chunks.heapChunk(index));
    image.stable.adopt(state.stablePages);
    program.globals = state.globals.slice();
    image.generation = generation;
  }

  evict(canisterId: Uint8Array): void {
    const key = formatHex(canisterId);
    assert(this.#openKey !== key, "an open image cannot be evicted");
    this.#cache.delete(key);
  }

  #session(image: LiveImage): Session {
    assert(this.#openKey === undefined, "another session is open");
    assert(!this.#hasFailed, "the runtime has failed before");
    this.#openKey = image.key;
    return new Session(this.#engine, image, (end) => {
      this.#openKey = undefined;
      if (end === "kept") this.#cache.keep(image);
      else this.#cache.delete(image.key);
      if (end === "failed") this.#hasFailed = true;
    });
  }
}
