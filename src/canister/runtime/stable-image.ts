// A canister's stable memory: sparse 16 KiB chunks read on demand, and the chunks that the open
// session wrote, kept apart until commit. Does not own limits on growth (execution.ts).

import { CHUNK_BYTES, OS_PAGE_BYTES, WASM_PAGE_BYTES, assert } from "gyrotron/base";
import { isZero, sameWords } from "./heap-image.ts";

/** Chunks kept between sessions, read or written. */
const CHUNKS_KEPT = 2048;

const ZERO_CHUNK: Uint8Array = new Uint8Array(CHUNK_BYTES);

/** Reads a stored chunk; undefined means all zero. */
export type StableReader = (index: number) => Uint8Array | undefined;

/** A chunk that the session wrote: its bytes now, before, and which of its 4 KiB pages are dirty. */
interface WrittenChunk {
  readonly bytes: Uint8Array;
  readonly before: Uint8Array;
  dirty: number;
}

/** Stable memory with undo. */
export class StableImage {
  /** 64 KiB pages. */
  pages: number;
  /** 4 KiB pages dirtied by the open session. */
  dirtyCount = 0;
  #sessionStartPages: number;
  #reader: StableReader;
  #reset = false;
  readonly #cached: Map<number, Uint8Array> = new Map();
  readonly #written: Map<number, WrittenChunk> = new Map();

  constructor(pages: number, reader: StableReader) {
    this.pages = pages;
    this.#sessionStartPages = pages;
    this.#reader = reader;
  }

  get bytes(): number {
    return this.pages * WASM_PAGE_BYTES;
  }

  /** Bytes of the chunks that are kept between sessions. */
  get keptBytes(): number {
    return this.#cached.size * CHUNK_BYTES;
  }

  /** Whether the open session dropped everything stored. */
  get isReset(): boolean {
    return this.#reset;
  }

  /** Starts a session that reads stored chunks with `reader`. */
  begin(reader: StableReader): void {
    assert(this.#written.size === 0 && !this.#reset, "a session is already open");
    this.#reader = reader;
    this.#sessionStartPages = this.pages;
  }

  /** Outside of any session: forgets cached chunks, which changed elsewhere. */
  adopt(pages: number): void {
    assert(this.#written.size === 0, "chunks change under a session");
    this.#cached.clear();
    this.pages = pages;
    this.#sessionStartPages = pages;
  }

  /** Drops the whole content, within the session. */
  reset(): void {
    this.#written.clear();
    this.#reset = true;
    this.dirtyCount = 0;
    this.pages = 0;
  }

  /** Copies `target.length` bytes at `offset`, which lie within the size. */
  read(offset: number, target: Uint8Array): void {
    eachChunk(offset, target.length, (index, start, at, length) => {
      const chunk = this.#written.get(index)?.bytes ?? this.#stored(index);
      target.set(chunk.subarray(start, start + length), at);
    });
  }

  /** Overwrites bytes at `offset`, which lie within the size. */
  write(offset: number, source: Uint8Array): void {
    eachChunk(offset, source.length, (index, start, at, length) => {
      let chunk = this.#written.get(index);
      if (chunk === undefined) {
        const before = this.#stored(index);
        chunk = { bytes: before.slice(), before, dirty: 0 };
        this.#written.set(index, chunk);
      }
      chunk.bytes.set(source.subarray(at, at + length), start);
      const last = Math.floor((start + length - 1) / OS_PAGE_BYTES);
      for (let page = Math.floor(start / OS_PAGE_BYTES); page <= last; page++) {
        if ((chunk.dirty & (1 << page)) !== 0) continue;
        chunk.dirty |= 1 << page;
        this.dirtyCount++;
      }
    });
  }

  /** Bytes of all chunks that the session has written once it has also written this range. */
  writtenBytes(offset: number, length: number): number {
    let count = this.#written.size;
    eachChunk(offset, length, (index) => {
      if (!this.#written.has(index)) count++;
    });
    return count * CHUNK_BYTES;
  }

  /** Ends the session; returns the chunks whose bytes differ (null: all zero) in ascending order. */
  commit(): Map<number, Uint8Array | null> {
    const indices = [...this.#written.keys()].sort((a, b) => a - b);
    const chunks = new Map<number, Uint8Array | null>();
    if (this.#reset) this.#cached.clear();
    for (const index of indices) {
      const chunk = this.#written.get(index);
      assert(chunk !== undefined);
      if (sameWords(chunk.bytes, chunk.before)) continue;
      chunks.set(index, isZero(chunk.bytes) ? null : chunk.bytes);
      this.#remember(index, chunk.bytes);
    }
    this.#close();
    this.#sessionStartPages = this.pages;
    return chunks;
  }

  /** Ends the session and forgets what it changed. */
  rollback(): void {
    this.#close();
    this.pages = this.#sessionStartPages;
  }

  #close(): void {
    this.#written.clear();
    this.#reset = false;
    this.dirtyCount = 0;
  }

  #stored(index: number): Uint8Array {
    if (this.#reset) return ZERO_CHUNK;
    const cached = this.#cached.get(index);
    if (cached !== undefined) return cached;
    const stored = this.#reader(index);
    assert(stored === undefined || stored.length === CHUNK_BYTES, "chunk of a wrong size");
    // A copy: the store may reuse its buffer, and words need an aligned one.
    const chunk = stored === undefined ? ZERO_CHUNK : stored.slice();
    this.#remember(index, chunk);
    return chunk;
  }

  #remember(index: number, chunk: Uint8Array): void {
    if (this.#cached.size >= CHUNKS_KEPT) this.#cached.clear();
    this.#cached.set(index, chunk);
  }
}

/** Visits the parts of a byte range chunk by chunk: chunk index, start in the chunk, offset in the range, length. */
function eachChunk(
  offset: number,
  length: number,
  visit: (index: number, start: number, at: number, length: number) => void,
): void {
  let at = 0;
  while (at < length) {
    const index = Math.floor((offset + at) / CHUNK_BYTES);
    const start = offset + at - index * CHUNK_BYTES;
    const part = Math.min(CHUNK_BYTES - start, length - at);
    visit(index, start, at, part);
    at += part;
  }
}
