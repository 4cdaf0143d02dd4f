// Transactions that wait for a block, first come first served, bounded in count and bytes.

import { assert, INGRESS_BYTES_MAX, MIB } from "gyrotron/base";
import type { PendingTransaction, Submission } from "./contract.ts";

export const MEMPOOL_COUNT_MAX = 10_000;
export const MEMPOOL_BYTES_MAX: number = 64 * MIB;
export const BLOCK_TRANSACTIONS_MAX = 1_000;
/** Bytes of transactions in a block; room for at least one of the largest. */
export const BLOCK_TRANSACTION_BYTES_MAX: number = 4 * MIB;

assert(BLOCK_TRANSACTION_BYTES_MAX >= INGRESS_BYTES_MAX, "every transaction fits into a block");
assert(MEMPOOL_BYTES_MAX >= BLOCK_TRANSACTION_BYTES_MAX, "a full mempool fills a block");

/** The waiting transactions, by id. */
export class Mempool {
  readonly #waiting = new Map<string, Uint8Array>();
  #byteCount = 0;

  get count(): number {
    return this.#waiting.size;
  }

  get byteCount(): number {
    return this.#byteCount;
  }

  has(id: string): boolean {
    return this.#waiting.has(id);
  }

  add({ id, bytes }: PendingTransaction): Submission {
    assert(bytes.length <= BLOCK_TRANSACTION_BYTES_MAX, "a transaction fits into a block");
    if (this.#waiting.has(id)) return "known";
    const isFull =
      this.#waiting.size >= MEMPOOL_COUNT_MAX || this.#byteCount + bytes.length > MEMPOOL_BYTES_MAX;
    if (isFull) return "full";
    this.#waiting.set(id, bytes);
    this.#byteCount += bytes.length;
    return "accepted";
  }

  /** Removes what the next block takes: the oldest transactions within its limits. */
  take(): PendingTransaction[] {
    const taken: PendingTransaction[] = [];
    let takenBytes = 0;
    for (const [id, bytes] of this.#waiting) {
      takenBytes += bytes.length;
      if (taken.length >= BLOCK_TRANSACTIONS_MAX || takenBytes > BLOCK_TRANSACTION_BYTES_MAX) break;
      taken.push({ id, bytes });
    }
    for (const { id, bytes } of taken) {
      this.#waiting.delete(id);
      this.#byteCount -= bytes.length;
    }
    return taken;
  }
}
