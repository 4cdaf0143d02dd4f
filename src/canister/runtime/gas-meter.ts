// Instructions of one execution. The canister holds a slice of the limit in its own counter and
// comes back for the next; system calls and dirty pages are charged here. Spec 06 §5.

import { instructionLimitExceeded, raise } from "./trap.ts";

/** Instructions handed out at a time, and so the rounding of a charge when V8 traps. */
export const GAS_SLICE = 1_000_000n;

/** Instructions for each 4 KiB page that an execution dirties. */
export const DIRTY_PAGE_INSTRUCTIONS = 1_000;

/** Counts one execution's instructions. */
export class GasMeter {
  readonly #counter: WebAssembly.Global;
  readonly #limit: bigint;
  readonly #first: bigint;
  #granted: bigint;
  #exhausted = false;
  readonly #dirtyPages: () => number;

  /** Puts the first slice into the instance's counter. `dirtyPages` counts this execution's so far. */
  constructor(counter: WebAssembly.Global, limit: bigint, dirtyPages: () => number) {
    this.#counter = counter;
    this.#limit = limit;
    this.#dirtyPages = dirtyPages;
    this.#first = limit < GAS_SLICE ? limit : GAS_SLICE;
    this.#granted = this.#first;
    counter.value = this.#first;
  }

  /** Whether no canister code has spilled its counter yet, as it does before every call it makes. */
  get isUntouched(): boolean {
    return this.#granted === this.#first && this.#counter.value === this.#first;
  }

  /** The counter after it went below zero to `left`. @throws TrapSignal if the limit is reached */
  refill(left: bigint): bigint {
    const missing = -left;
    const available = this.#limit - this.#granted - this.#pageCharge();
    if (missing > available) {
      this.#exhausted = true;
      raise(instructionLimitExceeded(this.#limit));
    }
    const slice = missing + GAS_SLICE;
    const grant = slice < available ? slice : available;
    this.#granted += grant;
    return left + grant;
  }

  /** Takes what a system call costs. Only while the counter is spilled. @throws TrapSignal */
  charge(instructions: number): void {
    const left = (this.#counter.value as bigint) - BigInt(instructions);
    this.#counter.value = left < 0n ? this.refill(left) : left;
  }

  /** Ends a finished execution: what it owes beyond its last slice must still fit. @throws TrapSignal */
  settle(): void {
    if (this.#total() <= this.#limit) return;
    this.#exhausted = true;
    raise(instructionLimitExceeded(this.#limit));
  }

  /** Instructions used up to the last spill, at most the limit. */
  used(): bigint {
    const total = this.#total();
    return this.#exhausted || total > this.#limit ? this.#limit : total;
  }

  #total(): bigint {
    return this.#granted - (this.#counter.value as bigint) + this.#pageCharge();
  }

  /** Instructions for dirty pages, which are not taken out of a slice. */
  #pageCharge(): bigint {
    return BigInt(this.#dirtyPages() * DIRTY_PAGE_INSTRUCTIONS);
  }
}
