// A whole answer computed in different ways: tokens and logits must not depend on threads, batches, kept caches,
// chunks of the prompt or guesses. Owns no expectations about what the answer says.

import assert from "node:assert/strict";
import { createWasmBackend } from "gyrotron/backend";
import {
  createGenerator,
  type GenerationOutcome,
  type GenerationRequest,
  type GeneratorOptions,
  GREEDY,
  type TextGenerator,
} from "gyrotron/learn";
import type { PreparedModel } from "gyrotron/model";
import type { Backend } from "gyrotron/tensor";

/** Tokens of an answer. */
export const ANSWER_TOKENS = 64;

/** Tokens and the digest of all logits. */
export interface Answer {
  readonly tokens: readonly number[];
  readonly digest: string;
}

/** A model, and one of the same vocabulary that guesses for it. */
export interface Models {
  readonly model: PreparedModel;
  readonly draft: PreparedModel;
}

/** A way to compute answers to the same requests. */
export interface Way {
  readonly name: string;
  run(models: Models, requests: readonly GenerationRequest[]): Promise<Answer[]>;
}

/** The likeliest answer to a prompt, and one that is drawn. */
export function answerRequests(promptTokens: readonly number[]): GenerationRequest[] {
  const common = { promptTokens, maxTokens: ANSWER_TOKENS };
  const drawn = { temperature: 65_536, topP: 60_000, topK: 0 };
  return [
    { ...common, sampling: GREEDY, seed: 0n },
    { ...common, sampling: drawn, seed: 7n },
  ];
}

/** One after the other on one thread: what all others are compared with. */
export const PLAIN: Way = {
  name: "1 thread",
  run: async ({ model }, requests) =>
    answersOn(await createWasmBackend({ threads: 1 }), model, requests),
};

/** The others on the CPU. */
export const OTHER_WAYS: readonly Way[] = [
  {
    name: "2 threads",
    run: async ({ model }, requests) =>
      answersOn(await createWasmBackend({ threads: 2 }), model, requests),
  },
  {
    name: "in a batch with other texts",
    run: ({ model }, requests) =>
      using(model, {}, async (generator) => {
        const others = requests.map((request, i) => shortened(request, 3 + i));
        const mixed = requests.flatMap((request, i) => [others[i] ?? request, request]);
        const outcomes = await generator.generateBatch(mixed);
        return outcomes.filter((_, i) => i % 2 === 1).map(answerOf);
      }),
  },
  {
    name: "after texts that begin alike",
    run: ({ model }, requests) =>
      using(model, { keptCaches: 2 }, async (generator) => {
        const answers: Answer[] = [];
        for (const request of requests) {
          await generator.generate({ ...shortened(request, 2), maxTokens: 3 });
          answers.push(answerOf(await generator.generate(request)));
        }
        assert.ok(generator.work.spared > 0, "no position was spared");
        return answers;
      }),
  },
  {
    name: "the prompt in chunks of 5",
    run: async ({ model }, requests) =>
      answersOn(await createWasmBackend(), model, requests, { chunk: 5 }),
  },
  {
    name: "with a model that guesses 4 tokens ahead",
    run: ({ model, draft }, requests) =>
      using(draft, {}, async (guesser) => {
        const options = { draft: { generator: guesser, tokens: 4 } };
        return answersOn(await createWasmBackend(), model, requests, options);
      }),
  },
];

/** Answers of a model on a backend, which is closed; the model's end tokens do not end them. */
export async function answersOn(
  backend: Backend,
  model: PreparedModel,
  requests: readonly GenerationRequest[],
  options: Omit<GeneratorOptions, "backend"> = {},
): Promise<Answer[]> {
  try {
    const generator = await createGenerator(endless(model), { keptCaches: 0, ...options, backend });
    const answers: Answer[] = [];
    for (const request of requests) answers.push(answerOf(await generator.generate(request)));
    await generator.close();
    return answers;
  } finally {
    await backend.close();
  }
}

async function using<T>(
  model: PreparedModel,
  options: Omit<GeneratorOptions, "backend">,
  body: (generator: TextGenerator) => Promise<T>,
): Promise<T> {
  const backend = await createWasmBackend();
  try {
    const generator = await createGenerator(endless(model), { keptCaches: 0, ...options, backend });
    const result = await body(generator);
    await generator.close();
    return result;
  } finally {
    await backend.close();
  }
}

/** So that every answer has its full length. */
function endless(model: PreparedModel): PreparedModel {
  return { ...model, endTokens: [] };
}

/** Another text: its prompt lacks the last tokens. */
function shortened(request: GenerationRequest, tokens: number): GenerationRequest {
  return { ...request, promptTokens: request.promptTokens.slice(0, -tokens) };
}

function answerOf(outcome: GenerationOutcome): Answer {
  assert.ok(outcome.kind === "done", outcome.kind);
  assert.equal(outcome.tokens.length, ANSWER_TOKENS);
  return { tokens: outcome.tokens, digest: outcome.digest.toHex() };
}
