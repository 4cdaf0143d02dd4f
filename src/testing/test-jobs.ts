// Language models of a test network: names that canisters can ask, and answers that the test makes up.
// What a job costs and how it is paid is as on any network.

import { decodeWith, utf8Bytes } from "gyrotron/base";
import { ed25519PublicKeyDer, sha256, signEd25519 } from "gyrotron/crypto";
import { encodeJobResult, type JobResult, jobResultHash, type ModelRecord } from "gyrotron/job";
import {
  encodeResultMessage,
  encodeSignedStatement,
  KEY_PREFIX,
  type NodeStatement,
  type PendingJob,
  pendingJobCodec,
} from "gyrotron/replica";
import type { StateView } from "gyrotron/store";
import { TestError } from "./test-error.ts";

/** A job that waits for its answer. */
export interface WaitingJob {
  readonly number: bigint;
  readonly model: string;
  readonly messages: readonly { role: string; content: string }[];
}

/** What a model is said to cost; a small one unless given. */
export type ModelOptions = Partial<Omit<ModelRecord, "name" | "hash">>;

const SMALL_MODEL = {
  contextTokensMax: 8192,
  macsPerToken: 1_000_000_000n,
  macsPerPosition: 1_000n,
  frameTokensMax: 8,
  messageTokensMax: 8,
};

/** The jobs of one network. */
export class TestJobs {
  readonly #view: StateView;
  readonly #nodeSeed: Uint8Array;
  readonly #submit: (transaction: Uint8Array) => void;

  constructor(view: StateView, nodeSeed: Uint8Array, submit: (transaction: Uint8Array) => void) {
    this.#view = view;
    this.#nodeSeed = nodeSeed;
    this.#submit = submit;
  }

  /** Makes a model known by name; from the next block on canisters can ask it. */
  addModel(name: string, options: ModelOptions = {}): void {
    const hash = sha256(utf8Bytes(name));
    this.#say({ kind: "registerModel", model: { name, hash, ...SMALL_MODEL, ...options } });
  }

  /** Jobs without an answer, oldest first. */
  waiting(): WaitingJob[] {
    return [...this.#view.range(KEY_PREFIX.job)].map(([, bytes]) => {
      const { number, modelName, job } = decodeWith(pendingJobCodec, bytes) satisfies PendingJob;
      return { number, model: modelName, messages: job.messages };
    });
  }

  /** Answers a job with the next block. @throws TestError `testing/unknown-job` */
  answer(number: bigint, text: string, tokens: { prompt?: number; output?: number } = {}): void {
    this.#deliver(number, {
      kind: "completed",
      text,
      promptTokens: tokens.prompt ?? 1,
      outputTokens: tokens.output ?? 1,
      finish: "stop",
      logitsDigest: sha256(utf8Bytes(text)),
    });
  }

  /** Lets a job fail with the next block. @throws TestError `testing/unknown-job` */
  fail(
    number: bigint,
    detail: string,
    reason: Extract<JobResult, { kind: "failed" }>["reason"] = "promptTooLong",
  ): void {
    this.#deliver(number, { kind: "failed", reason, detail });
  }

  #deliver(job: bigint, result: JobResult): void {
    if (!this.waiting().some(({ number }) => number === job))
      throw new TestError({ code: "testing/unknown-job", job });
    const bytes = encodeJobResult(result);
    this.#say({ kind: "attest", job, resultHash: jobResultHash(bytes) });
    this.#submit(encodeResultMessage(job, bytes));
  }

  #say(statement: NodeStatement): void {
    const sign = (message: Uint8Array): Uint8Array => signEd25519(this.#nodeSeed, message);
    this.#submit(encodeSignedStatement(statement, ed25519PublicKeyDer(this.#nodeSeed), sign));
  }
}
