// Text generation: prompts run in chunks, then one position a token, any number of sequences side by side.
// Chunking, batching and the backend change nothing but speed.

import { present } from "gyrotron/base";
import type { PreparedModel } from "gyrotron/model";
import {
  type Backend,
  type Decoder,
  type DecoderRow,
  type SequenceCache,
  type StepResult,
  TensorError,
} from "gyrotron/tensor";
import { Drafter } from "./drafter.ts";
import { checkInteger } from "./error.ts";
import {
  checkRequest,
  type GenerationOutcome,
  type GenerationRequest,
} from "./generation-request.ts";
import { KeptCaches } from "./kept-caches.ts";
import { tokensMax } from "./quote.ts";
import { SequenceRun } from "./sequence-run.ts";

/** Where and how a model runs. */
export interface GeneratorOptions {
  readonly backend: Backend;
  /** Prompt positions a step takes; any number gives the same bits. Default: what the backend likes. */
  readonly chunk?: number;
  /** Caches of finished texts that are kept, so that prompts beginning alike need not be run again. Default 2. */
  readonly keptCaches?: number;
  /** A smaller model of the same vocabulary that guesses ahead; what it guesses wrong costs time and changes no bit. */
  readonly draft?: DraftOptions;
}

/** Who guesses, and how far ahead. */
export interface DraftOptions {
  readonly generator: TextGenerator;
  /** Tokens guessed before each step, 1..16. */
  readonly tokens: number;
}

/** A model resident on a backend. @throws TensorError if it does not fit */
export async function createGenerator(
  model: PreparedModel,
  options: GeneratorOptions,
): Promise<TextGenerator> {
  const decoder = await options.backend.createDecoder(model.weights);
  const chunk = options.chunk ?? decoder.rowsMax;
  checkInteger("chunk", chunk, { min: 1, max: decoder.rowsMax });
  const keptCaches = options.keptCaches ?? 2;
  checkInteger("keptCaches", keptCaches, { min: 0, max: 1024 });
  const { draft } = options;
  if (draft !== undefined) {
    checkInteger("draft tokens", draft.tokens, { min: 1, max: Math.min(16, decoder.rowsMax - 1) });
    const { vocabulary } = draft.generator.model.shape;
    checkInteger("draft vocabulary", vocabulary, {
      min: model.shape.vocabulary,
      max: model.shape.vocabulary,
    });
  }
  return new TextGenerator(model, { decoder, chunk, kept: new KeptCaches(keptCaches), draft });
}

interface GeneratorParts {
  readonly decoder: Decoder;
  readonly chunk: number;
  readonly kept: KeptCaches;
  readonly draft: DraftOptions | undefined;
}

/** Runs requests on one decoder. */
export class TextGenerator {
  readonly model: PreparedModel;
  readonly #parts: GeneratorParts;
  /** Ends when the step in progress ends: a decoder runs one at a time. */
  #busy: Promise<unknown> = Promise.resolve();
  /** Positions run so far, and positions that kept caches spared. */
  readonly work: { run: number; spared: number } = { run: 0, spared: 0 };

  constructor(model: PreparedModel, parts: GeneratorParts) {
    this.model = model;
    this.#parts = parts;
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
      for (const run of runs) {
        run.drafter?.close();
        const { known, cache } = run;
        if (run.outcome?.kind === "done") this.#parts.kept.keep(known, cache);
        else cache.free();
      }
    }
  }

  /** Rows of one step, after those of other texts. */
  async runRows(rows: readonly DecoderRow[]): Promise<StepResult> {
    const step = this.#busy.then(() => this.#parts.decoder.step(rows));
    this.#busy = step.catch(() => undefined);
    this.work.run += rows.length;
    return step;
  }

  /** An empty cache. */
  createCache(capacity: number): SequenceCache {
    return this.#parts.decoder.createCache(capacity);
  }

  close(): Promise<void> {
    this.#parts.kept.clear();
    return this.#parts.decoder.close();
  }

  #start(request: GenerationRequest): SequenceRun {
    const { promptTokens } = request;
    const { draft } = this.#parts;
    const prompt = promptTokens.length;
    const limit = tokensMax(this.model, prompt);
    const most = Math.min(limit, request.maxTokens);
    // Guesses may reach past the last token, but not past the context.
    const ahead = draft === undefined ? 0 : draft.tokens;
    const capacity = Math.min(prompt + most - 1 + ahead, this.model.shape.context);
    const cache = this.#cacheFor(promptTokens, capacity);
    this.work.spared += cache.length;
    try {
      const drafter =
        draft && new Drafter(draft.generator, request, { most: draft.tokens, positions: capacity });
      return new SequenceRun(this.model, request, { cache, limit, capacity, drafter });
    } catch (error) {
      cache.free();
      throw error;
    }
  }

  /** A cache with what the prompt shares with a kept text; where memory is short, those give way. */
  #cacheFor(prompt: readonly number[], capacity: number): SequenceCache {
    const { kept } = this.#parts;
    try {
      return kept.fork(prompt, capacity) ?? this.createCache(capacity);
    } catch (error) {
      if (!(error instanceof TensorError && error.info.code === "tensor/cache-memory")) throw error;
      kept.clear();
      return this.createCache(capacity);
    }
  }

  async #step(active: readonly SequenceRun[]): Promise<void> {
    const rows: DecoderRow[] = [];
    const taken: { run: SequenceRun; from: number }[] = [];
    const { rowsMax } = this.#parts.decoder;
    for (const run of active) {
      const room = rowsMax - rows.length;
      if (room === 0) break;
      taken.push({ run, from: rows.length });
      rows.push(...(await run.nextRows(Math.min(room, this.#parts.chunk), room)));
    }
    const { logits, failures } = await this.runRows(rows);
    for (const [i, { run, from }] of taken.entries()) {
      const failure = failures.get(run.cache);
      if (failure === undefined) await run.advance(logits.slice(from, taken[i + 1]?.from));
      else run.fail(failure);
    }
  }
}
