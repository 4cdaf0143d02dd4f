// A canister's linear memory as a live WebAssembly.Memory: logical size, dirty pages, undo, commit.
// Cost of a session grows with the pages it touches. Does not own limits on growth (execution.ts).

import { CHUNK_BYTES, OS_PAGE_BYTES, WASM_PAGE_BYTES, assert } from "gyrotron/base";
import { CanisterError } from "./error.ts";
import type { PageUndo } from "./page-undo.ts";
import type { SideMemory } from "./side-memory.ts";
import { heapAccessLimitExceeded, raise, trapped } from "./trap.ts";

/** 4 KiB pages in a 64 KiB page, and in a chunk. */
const OS_PAGES_PER_WASM_PAGE: number = WASM_PAGE_BYTES / OS_PAGE_BYTES;
const OS_PAGES_PER_CHUNK: number = CHUNK_BYTES / OS_PAGE_BYTES;
/** Marks a pre-image that is all zero and therefore not stored. */
const ZERO_PAGE = 0xffff_ffff;

/** What the heaps of one runtime share: only one of them has a session at a time. */
export interface HeapTracking {
  readonly side: SideMemory;
  readonly undo: PageUndo;
  /** 4 KiB pages that one session may change. */
  readonly dirtyPagesMax: number;
}

/** Linear memory with undo. Bytes at and above the logical size are always zero. */
export class HeapImage {
  readonly memory: WebAssembly.Memory;
  /** Index type i64. */
  readonly wide: boolean;
  /** All physical bytes. */
  bytes: Uint8Array;
  /** 64 KiB pages that the canister sees. */
  logicalPages: number;
  /** 64 KiB pages that V8 holds; never shrinks. */
  physicalPages: number;
  /** 4 KiB pages dirtied by the open session. */
  dirtyCount = 0;

  readonly #tracking: HeapTracking;
  #sessionStartPages: number;
  #dirtyPages: Uint32Array = new Uint32Array(64);
  #undoSlots: Uint32Array = new Uint32Array(64);
  /** 4 KiB pages at and above this one have never held anything but zero. */
  #usedEnd = 0;

  /** A zeroed memory. @throws CanisterError `canister/host-memory` */
  constructor(tracking: HeapTracking, wide: boolean, logicalPages: number, physicalPages: number) {
    assert(logicalPages <= physicalPages, "logical size above the physical one");
    this.#tracking = tracking;
    this.wide = wide;
    this.logicalPages = logicalPages;
    this.physicalPages = physicalPages;
    this.#sessionStartPages = logicalPages;
    this.memory = allocate(wide, physicalPages);
    this.bytes = new Uint8Array(this.memory.buffer);
  }

  get logicalBytes(): number {
    return this.logicalPages * WASM_PAGE_BYTES;
  }

  /** Upper bound of the bytes that this memory makes resident. */
  get usedBytes(): number {
    return this.#usedEnd * OS_PAGE_BYTES;
  }

  /** Fills in stored bytes outside of any session. */
  load(chunkIndex: number, chunk: Uint8Array | undefined): void {
    const start = chunkIndex * CHUNK_BYTES;
    assert(start + CHUNK_BYTES <= this.bytes.length, "chunk outside of the memory");
    if (chunk === undefined) {
      this.bytes.fill(0, start, start + CHUNK_BYTES);
    } else {
      assert(chunk.length === CHUNK_BYTES, "chunk of a wrong size");
      this.bytes.set(chunk, start);
    }
    this.#usedEnd = Math.max(this.#usedEnd, (chunkIndex + 1) * OS_PAGES_PER_CHUNK);
  }

  /** Takes over sizes committed elsewhere. Outside of any session. */
  adoptSizes(logicalPages: number, physicalPages: number): void {
    assert(this.dirtyCount === 0, "sizes change under a session");
    if (physicalPages > this.physicalPages) this.#growPhysical(physicalPages);
    this.logicalPages = logicalPages;
    this.#sessionStartPages = logicalPages;
  }

  begin(): void {
    assert(this.dirtyCount === 0, "a session is already open");
    this.#sessionStartPages = this.logicalPages;
  }

  /** Write barrier of one store: page numbers of its first and last byte. @throws TrapSignal */
  markStore(first: number, last: number): void {
    const end = this.logicalPages * OS_PAGES_PER_WASM_PAGE;
    if (first >= end || last >= end) raise(trapped("heap out of bounds"));
    const map = this.#tracking.side.dirtyMap;
    if (map[first] === 0) this.#markPage(first);
    if (map[last] === 0) this.#markPage(last);
  }

  /** Write barrier of a bulk operation. @throws TrapSignal */
  markRange(address: number, length: number): void {
    if (address + length > this.logicalBytes) raise(trapped("heap out of bounds"));
    this.touch(address, length);
  }

  /** Saves what the host is about to overwrite. The range must lie within the logical size. */
  touch(address: number, length: number): void {
    if (length === 0) return;
    const map = this.#tracking.side.dirtyMap;
    const last = Math.floor((address + length - 1) / OS_PAGE_BYTES);
    for (let page = Math.floor(address / OS_PAGE_BYTES); page <= last; page++) {
      if (map[page] === 0) this.#markPage(page);
    }
  }

  /** Sets the logical size, which only grows. @throws CanisterError `canister/host-memory` */
  growTo(logicalPages: number): void {
    assert(logicalPages >= this.logicalPages, "a heap cannot shrink");
    if (logicalPages > this.physicalPages) this.#growPhysical(logicalPages);
    this.logicalPages = logicalPages;
  }

  /** Ends the session; returns the chunks whose bytes differ (null: all zero) in ascending order. */
  commit(): Map<number, Uint8Array | null> {
    const changed = this.#changedChunks();
    this.#close();
    this.#sessionStartPages = this.logicalPages;
    return this.#copyChunks(changed);
  }

  /** Ends the session and puts back what it changed; the physical size stays. */
  rollback(): void {
    for (let i = 0; i < this.dirtyCount; i++) {
      const start = this.#dirtyPages[i]! * OS_PAGE_BYTES;
      const slot = this.#undoSlots[i]!;
      if (slot === ZERO_PAGE) this.bytes.fill(0, start, start + OS_PAGE_BYTES);
      else this.bytes.set(this.#tracking.undo.page(slot), start);
    }
    this.#close();
    this.logicalPages = this.#sessionStartPages;
  }

  #markPage(page: number): void {
    const { side, undo, dirtyPagesMax } = this.#tracking;
    if (this.dirtyCount >= dirtyPagesMax) raise(heapAccessLimitExceeded(dirtyPagesMax));
    side.dirtyMap[page] = 1;
    const i = this.dirtyCount++;
    if (i === this.#dirtyPages.length) this.#extendLists();
    const isNew = page >= this.#usedEnd || page >= this.#sessionStartPages * OS_PAGES_PER_WASM_PAGE;
    this.#dirtyPages[i] = page;
    this.#undoSlots[i] = isNew ? ZERO_PAGE : undo.save(this.bytes, page * OS_PAGE_BYTES);
    if (page >= this.#usedEnd) this.#usedEnd = page + 1;
  }

  #extendLists(): void {
    const pages = new Uint32Array(this.#dirtyPages.length * 2);
    pages.set(this.#dirtyPages);
    this.#dirtyPages = pages;
    const slots = new Uint32Array(pages.length);
    slots.set(this.#undoSlots);
    this.#undoSlots = slots;
  }

  /** Chunks with a page whose bytes differ from before, each once, in ascending order. */
  #changedChunks(): Uint32Array {
    const changed = new Uint32Array(this.dirtyCount);
    let count = 0;
    for (let i = 0; i < this.dirtyCount; i++) {
      const page = this.#dirtyPages[i]!;
      const start = page * OS_PAGE_BYTES;
      const current = this.bytes.subarray(start, start + OS_PAGE_BYTES);
      const slot = this.#undoSlots[i]!;
      const same =
        slot === ZERO_PAGE ? isZero(current) : sameWords(current, this.#tracking.undo.page(slot));
      if (!same) changed[count++] = Math.floor(page / OS_PAGES_PER_CHUNK);
    }
    const sorted = changed.subarray(0, count).sort();
    let unique = 0;
    for (let i = 0; i < count; i++) {
      if (i === 0 || sorted[i] !== sorted[i - 1]) sorted[unique++] = sorted[i]!;
    }
    return sorted.subarray(0, unique);
  }

  /** Copies of chunks in one buffer: allocating each apart costs more than the copying. */
  #copyChunks(indices: Uint32Array): Map<number, Uint8Array | null> {
    const copies = new Uint8Array(indices.length * CHUNK_BYTES);
    const chunks = new Map<number, Uint8Array | null>();
    let end = 0;
    for (const index of indices) {
      const start = index * CHUNK_BYTES;
      const view = this.bytes.subarray(start, start + CHUNK_BYTES);
      if (isZero(view)) {
        chunks.set(index, null);
        continue;
      }
      copies.set(view, end);
      chunks.set(index, copies.subarray(end, end + CHUNK_BYTES));
      end += CHUNK_BYTES;
    }
    return chunks;
  }

  #close(): void {
    const map = this.#tracking.side.dirtyMap;
    for (let i = 0; i < this.dirtyCount; i++) map[this.#dirtyPages[i]!] = 0;
    this.dirtyCount = 0;
    if (this.#dirtyPages.length > 65_536) {
      this.#dirtyPages = new Uint32Array(64);
      this.#undoSlots = new Uint32Array(64);
    }
    this.#tracking.undo.clear();
  }

  #growPhysical(pages: number): void {
    const delta = pages - this.physicalPages;
    try {
      this.memory.grow(this.wide ? BigInt(delta) : delta);
    } catch (cause) {
      throw new CanisterError({ code: "canister/host-memory", what: "grow", pages }, { cause });
    }
    this.physicalPages = pages;
    this.bytes = new Uint8Array(this.memory.buffer);
  }
}

function allocate(wide: boolean, pages: number): WebAssembly.Memory {
  try {
    return wide
      ? new WebAssembly.Memory({ initial: BigInt(pages), address: "i64" })
      : new WebAssembly.Memory({ initial: pages });
  } catch (cause) {
    throw new CanisterError({ code: "canister/host-memory", what: "allocate", pages }, { cause });
  }
}

/** Whether all bytes are zero; for aligned ranges of whole words. */
export function isZero(bytes: Uint8Array): boolean {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  for (let i = 0; i < words.length; i++) if (words[i] !== 0) return false;
  return true;
}

/** Whether two aligned ranges of whole words of one length hold the same bytes. */
export function sameWords(left: Uint8Array, right: Uint8Array): boolean {
  const a = new Uint32Array(left.buffer, left.byteOffset, left.length / 4);
  const b = new Uint32Array(right.buffer, right.byteOffset, right.length / 4);
  assert(a.length === b.length, "ranges of different lengths");
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
