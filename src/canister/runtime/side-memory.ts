// The second memory of every instrumented module, one for the whole runtime: slots in which the
// globals travel, and the dirty map that the write barrier reads. Layout: spec 06 §3.

import { assert } from "gyrotron/base";
import { DIRTY_MAP_OFFSET, GLOBAL_SLOT_BYTES, SIDE_PAGES_MIN } from "../wasm/index.ts";

/** Slots and dirty map of the session that is open. */
export class SideMemory {
  readonly memory: WebAssembly.Memory = new WebAssembly.Memory({ initial: SIDE_PAGES_MIN });
  /** One byte per 4 KiB page of the heap: 0 clean, 1 dirty. */
  readonly dirtyMap: Uint8Array = new Uint8Array(this.memory.buffer, DIRTY_MAP_OFFSET);
  readonly #slots: Uint8Array = new Uint8Array(this.memory.buffer, 0, DIRTY_MAP_OFFSET);

  /** Copy of the first `count` slots. */
  readGlobals(count: number): Uint8Array {
    return this.#slots.slice(0, count * GLOBAL_SLOT_BYTES);
  }

  writeGlobals(globals: Uint8Array): void {
    assert(globals.length <= this.#slots.length, "too many globals");
    this.#slots.set(globals);
  }

  /** Zeroes the slots, so that the unused bytes of narrow globals are always zero. */
  clearGlobals(count: number): void {
    this.#slots.fill(0, 0, count * GLOBAL_SLOT_BYTES);
  }
}
