// This node's part in outside tasks: signs and makes requests for what the state has pending, attests
// what it got from the world, and hands in the bytes. Everything pending is derived from state, so a
// restarted node goes on by itself. Owns neither keys nor sockets nor consensus.

import { encodeWith, equalBytes } from "gyrotron/base";
import { sha256 } from "gyrotron/crypto";
import {
  encodeTaskAttestation,
  encodeTaskResult,
  type OutcallResult,
  outcallResultCodec,
  type OutcallWork,
  type OutsideTask,
  type SigningWork,
  taskResultHash,
} from "gyrotron/replica";

/** A task as a block left it; undefined: settled. */
export interface TaskChange {
  number: bigint;
  task: OutsideTask | undefined;
}

/** What the runner needs of the node. */
export interface TaskRunnerHost {
  /** This node's place among the network's; below zero: none. */
  nodeIndex: number;
  publicKeyDer: Uint8Array;
  /** Ed25519 signature with the node's key. */
  sign(message: Uint8Array): Uint8Array;
  /** The signature or encrypted key that a canister asked for. */
  signTask(work: SigningWork): Promise<Uint8Array>;
  /** Response of the world, transformed. Never rejects but for failures of this node. */
  request(work: OutcallWork): Promise<OutcallResult>;
  /** Hands a transaction to consensus. */
  submit(transaction: { id: string; bytes: Uint8Array }): "accepted" | "known" | "full";
  onFailure(task: OutsideTask, error: unknown): void;
}

/** Requests that a node has open at once; the others wait for their turn. */
const REQUESTS_MAX = 64;

/** Follows the state's tasks and works on them. */
export class TaskRunner {
  readonly #host: TaskRunnerHost;
  readonly #pending = new Map<bigint, OutsideTask>();
  /** Tasks that wait to run, oldest first. */
  readonly #queue = new Set<bigint>();
  /** Results of this node for tasks that are not settled. */
  readonly #results = new Map<bigint, Uint8Array>();
  /** Transactions that consensus had no room for. */
  #outbox: Uint8Array[] = [];
  #runningCount = 0;
  #isClosed = false;

  constructor(host: TaskRunnerHost) {
    this.#host = host;
  }

  /** Takes in what a block (or the start) says of tasks. */
  update(changes: readonly TaskChange[]): void {
    const waiting = this.#outbox;
    this.#outbox = [];
    for (const transaction of waiting) this.#submit(transaction);
    for (const { number, task } of changes) {
      if (task === undefined) this.#forget(number);
      else this.#follow(task);
    }
    this.#work();
  }

  close(): void {
    this.#isClosed = true;
  }

  #follow(task: OutsideTask): void {
    const isNew = !this.#pending.has(task.number);
    this.#pending.set(task.number, task);
    if (isNew && this.#isMine(task)) this.#queue.add(task.number);
    this.#handIn(task);
  }

  #isMine({ work }: OutsideTask): boolean {
    const { nodeIndex } = this.#host;
    if (nodeIndex < 0) return false;
    return work.kind === "sign" || work.node === undefined || work.node === nodeIndex;
  }

  #forget(number: bigint): void {
    this.#pending.delete(number);
    this.#queue.delete(number);
    this.#results.delete(number);
  }

  /** Bytes of an outcall go into a block once their hash is agreed on. */
  #handIn(task: OutsideTask): void {
    const result = this.#results.get(task.number);
    if (result === undefined || task.agreed === undefined) return;
    if (equalBytes(task.agreed, taskResultHash(result)))
      this.#submit(encodeTaskResult(task.number, result));
  }

  #work(): void {
    for (const number of this.#queue) {
      if (this.#isClosed || this.#runningCount >= REQUESTS_MAX) return;
      this.#queue.delete(number);
      const task = this.#pending.get(number);
      if (task === undefined) continue;
      this.#runningCount++;
      void this.#run(task).finally(() => {
        this.#runningCount--;
        this.#work();
      });
    }
  }

  async #run(task: OutsideTask): Promise<void> {
    const { work, number } = task;
    try {
      if (work.kind === "sign") {
        this.#submit(encodeTaskResult(number, await this.#host.signTask(work)));
        return;
      }
      const result = encodeWith(outcallResultCodec, await this.#host.request(work));
      const current = this.#pending.get(number);
      if (current === undefined || this.#isClosed) return;
      this.#results.set(number, result);
      const { publicKeyDer } = this.#host;
      const attestation = encodeTaskAttestation(
        number,
        taskResultHash(result),
        publicKeyDer,
        (message) => this.#host.sign(message),
      );
      this.#submit(attestation);
      // After a restart the attestation of before may already have decided.
      this.#handIn(current);
    } catch (error) {
      // This node abstains; the others decide, or the deadline does.
      if (!this.#isClosed) this.#host.onFailure(task, error);
    }
  }

  #submit(bytes: Uint8Array): void {
    if (this.#isClosed) return;
    const id = sha256(bytes).toHex();
    if (this.#host.submit({ id, bytes }) === "full") this.#outbox.push(bytes);
  }
}
