// Guesses what comes next with a smaller model, drawing with the same random numbers as the model that
// decides: a guess is right if and only if that model draws the same token.

import { assert } from "gyrotron/base";
import { PURPOSE_SAMPLING, randomU64 } from "gyrotron/numerics";
import type { SequenceCache } from "gyrotron/tensor";
import type { GenerationRequest } from "./generation-request.ts";
import type { TextGenerator } from "./generator.ts";
import { sharedLength } from "./kept-caches.ts";
import { sampleToken } from "./sampling.ts";

/** The draft model's view of one text. */
export class Drafter {
  readonly #generator: TextGenerator;
  readonly #request: GenerationRequest;
  readonly #most: number;
  readonly #capacity: number;
  readonly #cache: SequenceCache;
  /** The tokens in the cache. */
  #seen: number[] = [];
  #isOpen = true;

  /** `most` tokens are guessed at a time, and none behind `positions` of the text. */
  constructor(
    generator: TextGenerator,
    request: GenerationRequest,
    { most, positions }: { most: number; positions: number },
  ) {
    this.#generator = generator;
    this.#request = request;
    this.#most = most;
    this.#capacity = Math.min(positions, generator.model.shape.context);
    this.#cache = generator.createCache(this.#capacity);
  }

  /** Tokens that may follow `all`, at most `room`; none where the draft model cannot tell. */
  async guess(all: readonly number[], room: number): Promise<readonly number[]> {
    const guesses: number[] = [];
    const count = Math.min(this.#most, room, this.#capacity - all.length);
    while (guesses.length < count) {
      const token = await this.#next([...all, ...guesses]);
      if (token === undefined) break;
      guesses.push(token);
    }
    return guesses;
  }

  close(): void {
    if (this.#isOpen) this.#cache.free();
    this.#isOpen = false;
  }

  async #next(tokens: readonly number[]): Promise<number | undefined> {
    // The last token must run for its logits.
    const shared = Math.min(sharedLength(this.#seen, tokens), tokens.length - 1);
    this.#cache.truncate(shared);
    this.#seen = tokens.slice(0, shared);
    let logits: Float32Array | undefined;
    while (this.#seen.length < tokens.length) {
      const part = tokens.slice(this.#seen.length, this.#seen.length + 32);
      const last = this.#seen.length + part.length === tokens.length;
      const rows = part.map((token, i) => ({
        cache: this.#cache,
        token,
        wantsLogits: last && i === part.length - 1,
      }));
      const result = await this.#generator.runRows(rows);
      if (result.failures.size > 0) {
        this.#cache.truncate(0);
        this.#seen = [];
        return undefined;
      }
      this.#seen.push(...part);
      logits = result.logits.at(-1);
    }
    assert(logits !== undefined, "logits were asked for");
    const { sampling, seed, sequence = 0 } = this.#request;
    const position = tokens.length - 1;
    const random = (): bigint => randomU64({ seed, sequence, purpose: PURPOSE_SAMPLING, position });
    return sampleToken(logits, sampling, random);
  }
}
