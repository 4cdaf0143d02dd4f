// A host for inline nodes whose clock moves only when told.

import type { NodeHost } from "gyrotron/node";

/** Virtual time; immediate callbacks run in real turns of the event loop. */
export class ManualHost implements NodeHost {
  #nowNs = 1_700_000_000_000_000_000n;
  readonly #timers = new Set<{ dueNs: bigint; callback: () => void }>();
  #randomCount = 0;

  nowNs(): bigint {
    return this.#nowNs;
  }

  schedule(delayNs: bigint, callback: () => void): () => void {
    if (delayNs === 0n) {
      const immediate = setImmediate(callback);
      return () => clearImmediate(immediate);
    }
    const timer = { dueNs: this.#nowNs + delayNs, callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  randomness(): Uint8Array {
    return new Uint8Array(32).fill(++this.#randomCount);
  }

  /** Moves the clock, firing what falls due. */
  pass(seconds: number): void {
    this.#nowNs += BigInt(Math.round(seconds * 1e9));
    for (const timer of [...this.#timers]) {
      if (timer.dueNs > this.#nowNs || !this.#timers.delete(timer)) continue;
      timer.callback();
    }
  }
}

/** Lets everything that is ready happen. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
}
