// Text generation: prompts run in chunks, then one position a token, any number of sequences side by side.
// Chunking, batching and the backend change nothing but speed.

import { assert, present } from "gyrotron/base";
import { PURPOSE_SAMPLING, randomU64 } from "gyrotron/numerics";
import type { PreparedModel } from "gyrotron/model";
import type { Backend, Cost, Decoder, DecoderRow, NonFinite, SequenceCache } from "gyrotron/tensor";
import { adjustLogits, type Adjustments, checkAdjustments } from "./adjustment.ts";
import type { Constraint } from "./constraint.ts";
import { checkInteger, GenerationError } from "./error.ts";
import { LogitsDigest } from "./logits-digest.ts";
import { generationCost, tokensMax } from "./quote.ts";
import { checkSampling, sampleToken, type SamplingParameters } from "./sampling.ts";

/** One text to be continued. */
export interface GenerationRequest {
  /** With the begin token, if there is to be one. */
  readonly promptTokens: readonly number[];
  /** Tokens to draw at most; the context may allow fewer. */
  readonly maxTokens: number;
  readonly sampling: SamplingParameters;
  readonly adjustments?: Adjustments;
  /** What the text may be, from its first token on; used up by this request. */
  readonly constraint?: Constraint;
  /** u64. */
  readonly seed: bigint;
  /** u32 that tells sequences of one job apart. Default 0. */
  readonly sequence?: number;
  /** Called with each token and its logits as they are known; generation waits for the promise. */
  readonly onToken?: (token: GeneratedToken) => void | Promise<void>;
  /** Asked after each token that is no end token; true ends the generation with `stop`. */
  readonly isComplete?: () => boolean;
  /** Checked before each step; true ends the generation with `cancelled`. */
  readonly isCancelled?: () => boolean;
}

/** A token as it is drawn. */
export interface GeneratedToken {
  readonly token: number;
  /** Position of the logits it was drawn from. */
  readonly position: number;
  readonly logits: Float32Array;
  /** The digest of all logits so far. */
  readonly digest: Uint8Array;
}

/** How a generation ended. All fields but those of `cancelled` are the same on every device. */
export type GenerationOutcome =
  | {
      readonly kind: "done";
      /** What was drawn, without an end token. */
      readonly tokens: readonly number[];
      /** `stop` where the request or its constraint saw the text complete. */
      readonly finish: "end" | "stop" | "length" | "context";
      /** Chain over the logits of every drawn token. */
      readonly digest: Uint8Array;
      /** Tokens drawn, an end token included: what is charged. */
      readonly drawn: number;
      readonly cost: Cost;
    }
  | { readonly kind: "non-finite"; readonly failure: NonFinite }
  | { readonly kind: "cancelled" };

/** Where and how a model runs. */
export interface GeneratorOptions {
  readonly backend: Backend;
  /** Prompt positions a step takes; any number gives the same bits. Default: what the backend likes. */
  readonly chunk?: number;
}

/** A model resident on a backend. @throws TensorError if it does not fit */
export async function createGenerator(
  model: PreparedModel,
  options: GeneratorOptions,
): Promise<TextGenerator> {
  const decoder = await options.backend.createDecoder(model.weights);
  const chunk = options.chunk ?? decoder.rowsMax;
  checkInteger("chunk", chunk, { min: 1, max: decoder.rowsMax });
  return new TextGenerator(model, decoder, chunk);
}

/** Runs requests on one decoder. */
export class TextGenerator {
  readonly model: PreparedModel;
  readonly #decoder: Decoder;
  readonly #chunk: number;
  /** Ends when the step in progress ends: a decoder runs one at a time. */
  #busy: Promise<unknown> = Promise.resolve();

  constructor(model: PreparedModel, decoder: Decoder, chunk: number) {
    this.model = model;
    this.#decoder = decoder;
    this.#chunk = chunk;
  }

  /** @throws GenerationError on a request that cannot run */
  async generate(request: GenerationRequest): Promise<GenerationOutcome> {
    const [outcome] = await this.generateBatch([request]);
    return present(outcome);
  }

  /** Outcomes in the order of the requests. @throws GenerationError if any request cannot run */
  async generateBatch(requests: readonly GenerationRequest[]): Promise<GenerationOutcome[]> {
    for (const request of requests) checkRequest(this.model, request);
    const runs: SequenceRun[] = [];
    try {
      for (const request of requests) runs.push(this.#start(request));
      for (;;) {
        for (const run of runs) run.checkCancelled();
        const active = runs.filter((run) => run.outcome === undefined);
        if (active.length === 0) return runs.map((run) => present(run.outcome));
        // When there are more sequences than rows, those not taken now come first next time.
        await this.#step(active.sort((a, b) => a.steps - b.steps));
      }
    } finally {
      for (const run of runs) run.cache.free();
    }
  }

  close(): Promise<void> {
    return this.#decoder.close();
  }

  #start(request: GenerationRequest): SequenceRun {
    const prompt = request.promptTokens.length;
    const limit = tokensMax(this.model, prompt);
    const most = Math.min(limit, request.maxTokens);
    const cache = this.#decoder.createCache(prompt + most - 1);
    return new SequenceRun(this.model, request, { cache, limit });
  }

  async #step(active: readonly SequenceRun[]): Promise<void> {
    const rows: DecoderRow[] = [];
    const taken: { run: SequenceRun; last: number }[] = [];
    for (const run of active) {
      const room = this.#decoder.rowsMax - rows.length;
      if (room === 0) break;
      rows.push(...run.nextRows(Math.min(room, this.#chunk)));
      taken.push({ run, last: rows.length - 1 });
    }
    const step = this.#busy.then(() => this.#decoder.step(rows));
    this.#busy = step.catch(() => undefined);
    const { logits, failures } = await step;
    for (const { run, last } of taken) {
      const failure = failures.get(run.cache);
      if (failure !== undefined) run.outcome = { kind: "non-finite", failure };
      else await run.advance(logits[last]);
    }
  }
}

/** One sequence of a batch. */
class SequenceRun {
  readonly cache: SequenceCache;
  readonly #model: PreparedModel;
  readonly #request: GenerationRequest;
  readonly #limit: number;
  readonly #digest: LogitsDigest = new LogitsDigest();
  readonly #tokens: number[] = [];
  /** How often tokens stand in prompt and text. */
  readonly #counts: Map<number, number> = new Map();
  /** Tokens still to be run: what is left of the prompt, or the last token drawn. */
  #waiting: readonly number[];
  #position = 0;
  outcome: GenerationOutcome | undefined;
  steps = 0;

  constructor(
    model: PreparedModel,
    request: GenerationRequest,
    options: { cache: SequenceCache; limit: number },
  ) {
    this.#model = model;
    this.#request = request;
    this.#waiting = request.promptTokens;
    this.cache = options.cache;
    this.#limit = options.limit;
    for (const token of request.promptTokens) this.#count(token);
  }

  checkCancelled(): void {
    if (this.outcome === undefined && this.#request.isCancelled?.() === true) {
      this.outcome = { kind: "cancelled" };
    }
  }

  /** The next rows, `count` at most; logits are wanted of the last known token only. */
  nextRows(count: number): DecoderRow[] {
    const tokens = this.#waiting.slice(0, count);
    this.#waiting = this.#waiting.slice(count);
    this.#position += tokens.length;
    this.steps += 1;
    const isLast = this.#waiting.length === 0;
    return tokens.map((token, i) => ({
      cache: this.cache,
      token,
      wantsLogits: isLast && i === tokens.length - 1,
    }));
  }

  /** Draws the next token, if the step reached the last known one. */
  async advance(logits: Float32Array | undefined): Promise<void> {
    if (this.#waiting.length > 0) return;
    assert(logits !== undefined, "logits were asked for");
    const { onToken, isComplete, constraint, maxTokens } = this.#request;
    const position = this.#position - 1;
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
    else this.#waiting = [token];
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

function checkRequest(model: PreparedModel, request: GenerationRequest): void {
  const { vocabulary } = model.shape;
  tokensMax(model, request.promptTokens.length);
  for (const token of request.promptTokens) {
    if (!(Number.isInteger(token) && token >= 0 && token < vocabulary)) {
      throw new GenerationError({ code: "learn/token-unknown", token, vocabulary });
    }
  }
  checkInteger("maxTokens", request.maxTokens, { min: 1, max: 2 ** 31 - 1 });
  checkInteger("sequence", request.sequence ?? 0, { min: 0, max: 2 ** 32 - 1 });
  checkSampling(request.sampling);
  if (request.adjustments !== undefined) checkAdjustments(request.adjustments, vocabulary);
}
