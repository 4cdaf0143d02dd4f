// One job on one model: from messages to an encoded result. The result depends on the job and the
// model alone; backend, threads, chunks and company in a batch change nothing but the time.

import { assert } from "gyrotron/base";
import { encodeJobResult, type Job, JOB_RESULT_BYTES_MAX, type JobResult } from "gyrotron/job";
import type { GenerationOutcome, TextGenerator } from "gyrotron/learn";
import { TokenStream } from "gyrotron/model";
import type { LanguageModel } from "./language-model.ts";

/** A run's result and what it took, for reports. */
export interface JobRun {
  result: JobResult;
  encoded: Uint8Array;
  tokens: readonly number[];
}

/** Runs a job; `onText` gets the text so far after each token. @throws TensorError if the device fails */
export async function runJob(
  model: LanguageModel,
  generator: TextGenerator,
  job: Job,
  onText: (text: string) => void = () => {},
): Promise<JobRun> {
  const { prepared, tokenizer, frame } = model;
  const prompt = frame.promptOf(job.messages);
  if ("refused" in prompt)
    return finished({ kind: "failed", reason: "promptRefused", detail: prompt.refused }, []);
  // A prompt of no tokens is the beginning of a text.
  const promptTokens = prompt.length === 0 ? [prepared.beginToken] : prompt;
  const { context } = prepared.shape;
  // One token must fit behind the prompt.
  if (promptTokens.length >= context) {
    const detail = `${promptTokens.length} tokens, at most ${context - 1} fit`;
    return finished({ kind: "failed", reason: "promptTooLong", detail }, []);
  }
  const text = new GrowingText(new TokenStream(tokenizer), promptTokens);
  const { temperature, topK, topP, seed } = job.sampling;
  const outcome = await generator.generate({
    promptTokens,
    maxTokens: job.outputTokensMax,
    sampling: { temperature, topK, topP },
    seed,
    onToken({ token }) {
      if (!prepared.endTokens.includes(token)) onText(text.push(token));
    },
  });
  return resultOf(outcome, text, promptTokens.length);
}

function resultOf(outcome: GenerationOutcome, text: GrowingText, promptTokens: number): JobRun {
  if (outcome.kind === "non-finite") {
    const { op, position } = outcome.failure;
    const detail = `${op} is not finite at position ${position}`;
    return finished({ kind: "failed", reason: "arithmetic", detail }, []);
  }
  assert(outcome.kind === "done", "nobody cancels a job");
  const result: JobResult = {
    kind: "completed",
    text: text.end(),
    promptTokens,
    outputTokens: outcome.drawn,
    finish: outcome.finish === "end" ? "stop" : "length",
    logitsDigest: outcome.digest,
  };
  return finished(result, outcome.tokens);
}

function finished(result: JobResult, tokens: readonly number[]): JobRun {
  const encoded = encodeJobResult(result);
  assert(
    encoded.length <= JOB_RESULT_BYTES_MAX,
    "a text of the longest context fits into a result",
  );
  return { result, encoded, tokens };
}

/** Text behind the prompt as tokens arrive. */
class GrowingText {
  readonly #stream: TokenStream;
  #text = "";

  constructor(stream: TokenStream, promptTokens: readonly number[]) {
    this.#stream = stream;
    // The stream must have seen the prompt: what it drops or joins depends on what came before.
    for (const token of promptTokens) this.#stream.push(token);
  }

  push(token: number): string {
    this.#text += this.#stream.push(token);
    return this.#text;
  }

  end(): string {
    return this.#text + this.#stream.end();
  }
}
