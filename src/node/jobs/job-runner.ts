// This node's part in GPU jobs: runs what the state has pending on its accelerator, off the critical
// path, attests the results, and hands in the bytes once enough nodes agree. Everything pending is
// derived from state, so a restarted node goes on by itself. Owns no accelerator and no consensus.

import { equalBytes } from "gyrotron/base";
import { sha256 } from "gyrotron/crypto";
import { type Job, jobResultHash, type ModelRecord } from "gyrotron/job";
import {
  encodeResultMessage,
  encodeSignedStatement,
  type NodeStatement,
  type PendingJob,
} from "gyrotron/replica";

/** Runs jobs on a device. */
export interface JobAccelerator {
  /** Models that it holds; it abstains from jobs of others. */
  readonly models: readonly ModelRecord[];
  /** What computes, for people. */
  readonly device: string;
  /** Encoded result of a job; `onText` gets the text as it grows. A rejection is a failure of this node, not a result. */
  run(job: Job, onText: (text: string) => void): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** A pending job as a block left it; undefined: settled. */
export interface JobChange {
  number: bigint;
  job: PendingJob | undefined;
}

/** What the runner needs of the node. */
export interface JobRunnerHost {
  accelerator: JobAccelerator;
  publicKeyDer: Uint8Array;
  /** Ed25519 signature with the node's key. */
  sign(message: Uint8Array): Uint8Array;
  /** Hands a transaction to consensus. */
  submit(transaction: { id: string; bytes: Uint8Array }): "accepted" | "known" | "full";
  /** Text of an unfinished answer, as it grows. */
  onPreview(job: PendingJob, text: string): void;
  onFailure(job: PendingJob, error: unknown): void;
}

/** Follows the state's jobs and works on them, one at a time, callers taking turns. */
export class JobRunner {
  readonly #host: JobRunnerHost;
  readonly #pending = new Map<bigint, PendingJob>();
  /** Jobs that wait to run, by caller. */
  readonly #queues = new Map<string, bigint[]>();
  /** Results of this node for jobs that are not settled. */
  readonly #results = new Map<bigint, Uint8Array>();
  /** Transactions that consensus had no room for. */
  #outbox: Uint8Array[] = [];
  #isRunning = false;
  #isClosed = false;

  constructor(host: JobRunnerHost) {
    this.#host = host;
  }

  /** Proposes this node's models; the state ignores what it knows. */
  announceModels(): void {
    for (const model of this.#host.accelerator.models) this.#say({ kind: "registerModel", model });
  }

  /** Takes in what a block (or the start) says of jobs. */
  update(changes: readonly JobChange[]): void {
    const waiting = this.#outbox;
    this.#outbox = [];
    for (const transaction of waiting) this.#submit(transaction);
    for (const { number, job } of changes) {
      if (job === undefined) this.#forget(number);
      else this.#follow(job);
    }
    void this.#work();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#host.accelerator.close();
  }

  #follow(job: PendingJob): void {
    const isNew = !this.#pending.has(job.number);
    this.#pending.set(job.number, job);
    if (isNew && this.#canRun(job)) {
      const caller = job.origin.canisterId.toHex();
      const queue = this.#queues.get(caller) ?? [];
      queue.push(job.number);
      this.#queues.set(caller, queue);
    }
    this.#handIn(job);
  }

  #forget(number: bigint): void {
    this.#pending.delete(number);
    this.#results.delete(number);
  }

  /** Bytes go into a block once their hash is agreed on. */
  #handIn(job: PendingJob): void {
    const result = this.#results.get(job.number);
    if (result === undefined || job.agreed === undefined) return;
    if (equalBytes(job.agreed, jobResultHash(result)))
      this.#submit(encodeResultMessage(job.number, result));
  }

  async #work(): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    for (let job = this.#next(); job !== undefined && !this.#isClosed; job = this.#next())
      await this.#run(job);
    this.#isRunning = false;
  }

  async #run(job: PendingJob): Promise<void> {
    try {
      const result = await this.#host.accelerator.run(job.job, (text) =>
        this.#host.onPreview(job, text),
      );
      const current = this.#pending.get(job.number);
      if (current === undefined || this.#isClosed) return;
      this.#results.set(job.number, result);
      this.#say({ kind: "attest", job: job.number, resultHash: jobResultHash(result) });
      // After a restart the attestation of before may already have decided.
      this.#handIn(current);
    } catch (error) {
      // This node abstains; the others decide, or the deadline does.
      if (!this.#isClosed) this.#host.onFailure(job, error);
    }
  }

  /** The oldest job of the caller whose turn it is; that caller goes to the end. */
  #next(): PendingJob | undefined {
    for (const [caller, queue] of this.#queues) {
      this.#queues.delete(caller);
      const job = this.#shiftPending(queue);
      if (queue.length > 0) this.#queues.set(caller, queue);
      if (job !== undefined) return job;
    }
    return undefined;
  }

  #shiftPending(queue: bigint[]): PendingJob | undefined {
    for (let number = queue.shift(); number !== undefined; number = queue.shift()) {
      const job = this.#pending.get(number);
      if (job !== undefined) return job;
    }
    return undefined;
  }

  #canRun(job: PendingJob): boolean {
    return this.#host.accelerator.models.some(({ hash }) => equalBytes(hash, job.job.modelHash));
  }

  #say(statement: NodeStatement): void {
    const { publicKeyDer } = this.#host;
    this.#submit(
      encodeSignedStatement(statement, publicKeyDer, (message) => this.#host.sign(message)),
    );
  }

  #submit(bytes: Uint8Array): void {
    if (this.#isClosed) return;
    const id = sha256(bytes).toHex();
    if (this.#host.submit({ id, bytes }) === "full") this.#outbox.push(bytes);
  }
}
