// One job on one model: from messages to an encoded result. The result depends on the job and the
// model alone; backend, threads, chunks and company in a batch change nothing but the time.

import { assert } from "gyrotron/base";
import { encodeJobResult, type Job, JOB_RESULT_BYTES_MAX, type JobResult } from "gyrotron/job";
import type {
  Adjustments,
  Constraint,
  GeneratedToken,
  GenerationOutcome,
  TextGenerator,
} from "gyrotron/learn";
import { TokenStream } from "gyrotron/model";
import { GrowingText } from "./growing-text.ts";
import type { LanguageModel } from "./language-model.ts";

/** A run's result and what it took, for reports. */
export interface JobRun {
  result: JobResult;
  encoded: Uint8Array;
  tokens: readonly number[];
}

/** What a run may ask for that jobs of the network do not have. */
export interface RunControls {
  readonly adjustments?: Adjustments;
  readonly constraint?: Constraint;
  /** Least weight of a candidate in 1/65536 of the largest. */
  readonly minP?: number;
  /** Texts that end the answer and are no part of it; none is empty. */
  readonly stops?: readonly string[];
  /** Sees each token with its logits as it is drawn. */
  readonly onToken?: (token: GeneratedToken) => void;
}

/** Runs a job; `onText` gets the text so far after each token. @throws TensorError if the device fails */
export async function runJob(
  model: LanguageModel,
  generator: TextGenerator,
  job: Job,
  onText: (text: string) => void = () => {},
  controls: RunControls = {},
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
  const { adjustments, constraint, minP = 0, stops = [], onToken } = controls;
  const text = new GrowingText(new TokenStream(tokenizer), promptTokens, stops);
  const { temperature, topK, topP, seed } = job.sampling;
  const outcome = await generator.generate({
    promptTokens,
    maxTokens: job.outputTokensMax,
    sampling: { temperature, topK, topP, minP },
    seed,
    ...(adjustments && { adjustments }),
    ...(constraint && { constraint }),
    onToken(drawn) {
      onToken?.(drawn);
      if (!prepared.endTokens.includes(drawn.token)) onText(text.push(drawn.token));
    },
    isComplete: () => text.isStopped || text.isFull,
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
  const isCut = text.isFull && !text.isStopped;
  const result: JobResult = {
    kind: "completed",
    text: text.end(),
    promptTokens,
    outputTokens: outcome.drawn,
    finish: outcome.finish === "end" || (outcome.finish === "stop" && !isCut) ? "stop" : "length",
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
