// Copies of 4 KiB pages as they were before a session first wrote to them. Owns the space, which is
// kept from session to session; the heap knows which page lies in which slot.

import { MIB, OS_PAGE_BYTES, present } from "gyrotron/base";

const BLOCK_BYTES = MIB;
const BLOCK_PAGES: number = BLOCK_BYTES / OS_PAGE_BYTES;
/** Space kept between sessions. */
const BLOCKS_KEPT = 32;

/** An arena of saved pages. */
export class PageUndo {
  readonly #blocks: Uint8Array[] = [];
  #used = 0;

  /** Saves the page at `offset` of `source`; returns its slot. */
  save(source: Uint8Array, offset: number): number {
    const slot = this.#used++;
    const blockIndex = Math.floor(slot / BLOCK_PAGES);
    if (blockIndex === this.#blocks.length) this.#blocks.push(new Uint8Array(BLOCK_BYTES));
    const block = present(this.#blocks[blockIndex]);
    block.set(
      source.subarray(offset, offset + OS_PAGE_BYTES),
      (slot % BLOCK_PAGES) * OS_PAGE_BYTES,
    );
    return slot;
  }

  /** The saved page; valid until the next clear. */
  page(slot: number): Uint8Array {
    const block = present(this.#blocks[Math.floor(slot / BLOCK_PAGES)]);
    const start = (slot % BLOCK_PAGES) * OS_PAGE_BYTES;
    return block.subarray(start, start + OS_PAGE_BYTES);
  }

  clear(): void {
    this.#used = 0;
    if (this.#blocks.length > BLOCKS_KEPT) this.#blocks.length = BLOCKS_KEPT;
  }
}
