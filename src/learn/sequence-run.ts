// One text while it is generated: which positions run next, and what becomes of their logits.

import { assert } from "gyrotron/base";
import { PURPOSE_SAMPLING, randomU64 } from "gyrotron/numerics";
import type { PreparedModel } from "gyrotron/model";
import type { DecoderRow, NonFinite, SequenceCache } from "gyrotron/tensor";
import { adjustLogits } from "./adjustment.ts";
import type { Drafter } from "./drafter.ts";
import type { GenerationOutcome, GenerationRequest } from "./generation-request.ts";
import { LogitsDigest } from "./logits-digest.ts";
import { generationCost } from "./quote.ts";
import { sampleToken } from "./sampling.ts";

/** One sequence of a batch. */
export class SequenceRun {
  readonly cache: SequenceCache;
  readonly drafter: Drafter | undefined;
  readonly #model: PreparedModel;
  readonly #request: GenerationRequest;
  readonly #limit: number;
  readonly #capacity: number;
  readonly #digest: LogitsDigest = new LogitsDigest();
  readonly #tokens: number[] = [];
  /** How often tokens stand in prompt and text. */
  readonly #counts: Map<number, number> = new Map();
  /** Prompt and text: what has run, then what still has to. */
  readonly #all: number[];
  /** What was guessed to follow `#all` and runs with it. */
  #guesses: readonly number[] = [];
  /** Whether the next step goes without guesses, because the last failed on one. */
  #isCareful = false;
  outcome: GenerationOutcome | undefined;
  steps = 0;

  constructor(
    model: PreparedModel,
    request: GenerationRequest,
    options: {
      cache: SequenceCache;
      limit: number;
      capacity: number;
      drafter: Drafter | undefined;
    },
  ) {
    this.#model = model;
    this.#request = request;
    this.#all = [...request.promptTokens];
    this.cache = options.cache;
    this.drafter = options.drafter;
    this.#limit = options.limit;
    this.#capacity = options.capacity;
    for (const token of request.promptTokens) this.#count(token);
  }

  /** The tokens whose positions are in the cache. */
  get known(): readonly number[] {
    return this.#all.slice(0, this.cache.length);
  }

  checkCancelled(): void {
    if (this.outcome === undefined && this.#request.isCancelled?.() === true) {
      this.outcome = { kind: "cancelled" };
    }
  }

  /** The next rows, `count` of what is known at most, `room` with guesses; logits from the last known one on. */
  async nextRows(count: number, room: number): Promise<DecoderRow[]> {
    const from = this.cache.length;
    const tokens = this.#all.slice(from, from + count);
    const isLast = from + tokens.length === this.#all.length;
    this.#guesses = [];
    if (isLast && this.drafter !== undefined && !this.#isCareful) {
      const free = Math.min(room - tokens.length, this.#capacity - this.#all.length);
      this.#guesses = await this.drafter.guess(this.#all, free);
    }
    this.#isCareful = false;
    this.steps += 1;
    return [...tokens, ...this.#guesses].map((token, i) => ({
      cache: this.cache,
      token,
      wantsLogits: isLast && i >= tokens.length - 1,
    }));
  }

  /** Draws tokens from the logits of the step's rows, as far as guesses were what is drawn. */
  async advance(logits: readonly (Float32Array | undefined)[]): Promise<void> {
    const given = logits.filter((row) => row !== undefined);
    if (given.length === 0) return;
    assert(given.length === this.#guesses.length + 1, "logits were asked for");
    for (const [i, row] of given.entries()) {
      const token = await this.#drawFrom(row);
      if (this.outcome !== undefined || token !== this.#guesses[i]) break;
    }
    // Positions of wrong guesses; of a finished text, those past its last token that ran.
    this.cache.truncate(Math.min(this.cache.length, this.#ran()));
  }

  /** Takes a failure, unless only a guess may have failed: then the step is run again without guesses. */
  fail(failure: NonFinite): void {
    if (failure.position < this.#all.length || this.#guesses.length === 0) {
      this.outcome = { kind: "non-finite", failure };
      return;
    }
    this.cache.truncate(Math.min(this.cache.length, this.#all.length - 1));
    this.#isCareful = true;
  }

  /** Positions whose tokens are settled and have run: all but the token drawn last. */
  #ran(): number {
    return this.#all.length - (this.outcome === undefined ? 1 : 0);
  }

  /** Draws the token that follows all so far. */
  async #drawFrom(logits: Float32Array): Promise<number> {
    const { onToken, isComplete, constraint, maxTokens } = this.#request;
    const position = this.#all.length - 1;
    this.#digest.add(position, logits);
    const token = this.#draw(logits, position);
    const isEnd = this.#model.endTokens.includes(token);
    if (!isEnd) this.#tokens.push(token);
    this.#count(token);
    if (!isEnd) constraint?.accept(token);
    const drawn = this.#tokens.length + (isEnd ? 1 : 0);
    await onToken?.({ token, position, logits, digest: this.#digest.value });
    if (isEnd) this.#finish("end", drawn);
    else if (isComplete?.() === true || this.#isDeadEnd()) this.#finish("stop", drawn);
    else if (drawn === maxTokens) this.#finish("length", drawn);
    else if (drawn === this.#limit) this.#finish("context", drawn);
    else this.#all.push(token);
    return token;
  }

  #draw(logits: Float32Array, position: number): number {
    const { sampling, adjustments, seed, sequence = 0 } = this.#request;
    const adjusted = adjustments ? adjustLogits(logits, adjustments, this.#counts) : logits;
    const random = (): bigint => randomU64({ seed, sequence, purpose: PURPOSE_SAMPLING, position });
    return sampleToken(adjusted, sampling, random, this.#allowed());
  }

  /** What the constraint allows, and the end where it allows that. */
  #allowed(): Uint8Array | undefined {
    const { constraint } = this.#request;
    if (constraint === undefined) return undefined;
    const allowed = constraint.allowed();
    if (!constraint.mayEnd) return allowed;
    const withEnd = allowed.slice();
    for (const token of this.#model.endTokens) withEnd[token] = 1;
    return withEnd;
  }

  /** Whether the constraint leaves nothing to say: the text is complete, or no token spells its rest. */
  #isDeadEnd(): boolean {
    const { constraint } = this.#request;
    return constraint !== undefined && !constraint.allowed().includes(1);
  }

  #count(token: number): void {
    this.#counts.set(token, (this.#counts.get(token) ?? 0) + 1);
  }

  #finish(finish: "end" | "stop" | "length" | "context", drawn: number): void {
    const cost = generationCost(this.#model, this.#request.promptTokens.length, drawn);
    const digest = this.#digest.value;
    this.outcome = { kind: "done", tokens: this.#tokens, finish, digest, drawn, cost };
  }
}
