// A canister as it lives on this thread: memories, globals and, if it may be reused, the instance.
// All of it is a cache of state. Owns no sessions.

import { assert, equalBytes } from "gyrotron/base";
import type { ImageSource, ImageState } from "../contract.ts";
import { GLOBAL_SLOT_BYTES, type PreparedModule } from "../wasm/index.ts";
import type { CanisterInstance, Engine } from "./engine.ts";
import { HeapImage } from "./heap-image.ts";
import { StableImage } from "./stable-image.ts";

/** Code, linear memory and globals, which an installation replaces together. */
export interface LiveProgram {
  readonly module: PreparedModule;
  readonly heap: HeapImage;
  globals: Uint8Array;
  /** Kept only if the module never changes what an instance holds besides globals. */
  instance: CanisterInstance | undefined;
}

/** A cached canister. */
export class LiveImage {
  readonly key: string;
  generation: bigint;
  program: LiveProgram | undefined;
  readonly stable: StableImage;

  constructor(
    key: string,
    generation: bigint,
    program: LiveProgram | undefined,
    stable: StableImage,
  ) {
    this.key = key;
    this.generation = generation;
    this.program = program;
    this.stable = stable;
  }

  /** Bytes of linear and stable memory that this image may hold resident. */
  get bytes(): number {
    return (this.program?.heap.usedBytes ?? 0) + this.stable.keptBytes;
  }

  /** What persists besides chunks. */
  state(): ImageState {
    const program = this.program;
    assert(program !== undefined, "an empty image has no state");
    return {
      heapPages: program.heap.logicalPages,
      heapPagesPhysical: program.heap.physicalPages,
      stablePages: this.stable.pages,
      globals: program.globals,
    };
  }

  /** Whether this image is the one described; `exactPhysical` also compares V8's size. */
  matches(source: ImageSource, exactPhysical: boolean): boolean {
    const program = this.program;
    if (program === undefined || this.generation !== source.generation) return false;
    const { heap } = program;
    return (
      heap.logicalPages === source.image.heapPages &&
      (heap.physicalPages === source.image.heapPagesPhysical ||
        (!exactPhysical && heap.physicalPages > source.image.heapPagesPhysical)) &&
      this.stable.pages === source.image.stablePages &&
      same(program.globals, source.image.globals) &&
      same(program.module.hash, source.module.hash)
    );
  }
}

/** A live image with the stored content. @throws CanisterError `canister/host-memory` */
export function loadImage(engine: Engine, key: string, source: ImageSource): LiveImage {
  const { image, module, chunks } = source;
  assert(image.globals.length === module.globals.length * GLOBAL_SLOT_BYTES, "globals do not fit");
  const wide = module.addressType === "i64";
  const heap = new HeapImage(engine, wide, image.heapPages, image.heapPagesPhysical);
  for (const [index, bytes] of chunks.heapChunks()) heap.load(index, bytes);
  const stable = new StableImage(image.stablePages, (index) => chunks.stableChunk(index));
  const program = { module, heap, globals: image.globals.slice(), instance: undefined };
  return new LiveImage(key, source.generation, program, stable);
}

function same(left: Uint8Array, right: Uint8Array): boolean {
  return left === right || equalBytes(left, right);
}
