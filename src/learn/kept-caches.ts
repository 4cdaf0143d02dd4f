// Caches of finished texts, so that a prompt that begins like one of them runs from where it differs. Cached
// positions do not depend on what follows them, so this changes no bit.

import type { SequenceCache } from "gyrotron/tensor";

/** Shorter beginnings are not worth a copy. */
const SHARED_TOKENS_MIN = 8;

interface Kept {
  readonly tokens: readonly number[];
  readonly cache: SequenceCache;
}

/** The last texts' caches, the most recently used last. */
export class KeptCaches {
  readonly #most: number;
  #kept: Kept[] = [];

  constructor(most: number) {
    this.#most = most;
  }

  /** A cache that holds what the prompt shares with a kept text, but never all of the prompt: its last token must run. */
  fork(prompt: readonly number[], capacity: number): SequenceCache | undefined {
    let best: Kept | undefined;
    let most = SHARED_TOKENS_MIN - 1;
    for (const kept of this.#kept) {
      const shared = Math.min(sharedLength(kept.tokens, prompt), prompt.length - 1);
      if (shared > most) [best, most] = [kept, shared];
    }
    if (best === undefined) return undefined;
    this.#kept = [...this.#kept.filter((kept) => kept !== best), best];
    return best.cache.fork(most, capacity);
  }

  /** Takes over a finished text's cache, whose positions are those of `tokens`. */
  keep(tokens: readonly number[], cache: SequenceCache): void {
    // A text that begins like this one and is no longer adds nothing to it.
    const covered = (kept: Kept): boolean =>
      sharedLength(kept.tokens, tokens) === kept.tokens.length;
    for (const kept of this.#kept.filter(covered)) kept.cache.free();
    this.#kept = [...this.#kept.filter((kept) => !covered(kept)), { tokens, cache }];
    while (this.#kept.length > this.#most) this.#kept.shift()?.cache.free();
  }

  clear(): void {
    for (const { cache } of this.#kept) cache.free();
    this.#kept = [];
  }
}

/** Tokens that two texts begin with alike. */
export function sharedLength(left: readonly number[], right: readonly number[]): number {
  const most = Math.min(left.length, right.length);
  let length = 0;
  while (length < most && left[length] === right[length]) length++;
  return length;
}
