// GPU jobs as bytes: what is asked, what came out, and their identities. Canonical encodings whose
// hashes are signed, certified and checked by strangers (spec 05). Owns no state and no prices.

import { type Codec, codec, decodeWith, encodeWith, utf8Bytes } from "gyrotron/base";
import { sha256 } from "gyrotron/hash";

const { bytes, fixedBytes, list, oneOf, record, text, u32, u64, variant } = codec;

/** One message of a conversation. */
export interface ChatMessage {
  role: "system" | "user" | "assistant" | "tool";
  content: string;
}

/** How tokens are chosen; all integers, so that every device chooses the same. */
export interface SamplingParameters {
  /** In 1/65536; 0 is greedy. */
  temperature: number;
  /** 0: no limit. */
  topK: number;
  /** In 1/65536; 65536: no limit. */
  topP: number;
  /** u64. */
  seed: bigint;
}

/** A language model's job: everything that its result depends on. */
export interface Job {
  /** Identity of the prepared model. */
  modelHash: Uint8Array;
  messages: ChatMessage[];
  /** Upper bound on generated tokens. */
  outputTokensMax: number;
  sampling: SamplingParameters;
}

export const jobCodec: Codec<Job> = record<{ [K in keyof Job]: Job[K] }>({
  modelHash: fixedBytes(32),
  messages: list(
    record<{ role: ChatMessage["role"]; content: string }>({
      role: oneOf("system", "user", "assistant", "tool"),
      content: text,
    }),
    5,
  ),
  outputTokensMax: u32,
  sampling: record<{ [K in keyof SamplingParameters]: SamplingParameters[K] }>({
    temperature: u32,
    topK: u32,
    topP: u32,
    seed: u64,
  }),
});

/** What a job came to. Failures are results too: every device finds the same one. */
export type JobResult =
  | {
      kind: "completed";
      text: string;
      promptTokens: number;
      outputTokens: number;
      finish: "stop" | "length";
      /** SHA-256 over all logits of all evaluated positions. */
      logitsDigest: Uint8Array;
    }
  | { kind: "failed"; reason: "promptTooLong" | "arithmetic" | "promptRefused"; detail: string };

const resultCodec: Codec<JobResult> = variant<JobResult>({
  completed: record<{
    text: string;
    promptTokens: number;
    outputTokens: number;
    finish: "stop" | "length";
    logitsDigest: Uint8Array;
  }>({
    text,
    promptTokens: u32,
    outputTokens: u32,
    finish: oneOf("stop", "length"),
    logitsDigest: fixedBytes(32),
  }),
  failed: record<{ reason: "promptTooLong" | "arithmetic" | "promptRefused"; detail: string }>({
    reason: oneOf("promptTooLong", "arithmetic", "promptRefused"),
    detail: text,
  }),
});

/** Largest encoded result; what is larger would have to be an artifact. */
export const JOB_RESULT_BYTES_MAX: number = 1024 * 1024;

export const encodeJobResult = (result: JobResult): Uint8Array => encodeWith(resultCodec, result);

/** @throws DecodeError `codec/decode` */
export const decodeJobResult = (encoded: Uint8Array): JobResult => decodeWith(resultCodec, encoded);

/** A job's identity. */
export const jobHash = (job: Job): Uint8Array =>
  sha256(utf8Bytes("gyrotron-job"), encodeWith(jobCodec, job));

/** A result's identity. */
export const jobResultHash = (encoded: Uint8Array): Uint8Array =>
  sha256(utf8Bytes("gyrotron-job-result"), encoded);

/** What is kept of a delivered job for good. Amounts in cycles. */
export interface Receipt {
  job: Job;
  jobHash: Uint8Array;
  resultHash: Uint8Array;
  result: Uint8Array;
  /** Who asked: the calling canister. */
  caller: Uint8Array;
  /** Agreed before the run; the charge never exceeds it. */
  quoteMaximum: bigint;
  charged: bigint;
  timeNs: bigint;
}

/** Encoding of a receipt; its hash is a leaf of the mountain range. */
export const receiptCodec: Codec<Receipt> = record<{ [K in keyof Receipt]: Receipt[K] }>({
  job: jobCodec,
  jobHash: fixedBytes(32),
  resultHash: fixedBytes(32),
  result: bytes,
  caller: bytes,
  quoteMaximum: codec.u128,
  charged: codec.u128,
  timeNs: u64,
});

/** A receipt's identity. */
export const receiptHash = (receipt: Receipt): Uint8Array =>
  sha256(utf8Bytes("gyrotron-receipt"), encodeWith(receiptCodec, receipt));
