// The engine of a network of one: decides a block when there is a reason for one, never two at a
// time. Reasons: transactions, work left, a timer of the state machine, a read that found the last
// block old, or a minute without one. Clock, timers and randomness are handed in.

import { assert } from "gyrotron/base";
import type { Block } from "gyrotron/replica";
import type {
  AfterBlock,
  ConsensusEngine,
  ConsensusStatus,
  DecidedHandler,
  PendingTransaction,
  Submission,
} from "./contract.ts";
import { Mempool } from "./mempool.ts";

/** A block at least this often, so that certificates stay fresh. */
export const SOLO_IDLE_NS = 60_000_000_000n;

/** What the engine needs of its host. */
export interface SoloHost {
  /** Wall clock, ns since 1970; may jump. */
  nowNs(): bigint;
  /** Calls back once after `delayNs` (0: soon, in a fresh turn); returns the way to cancel. */
  schedule(delayNs: bigint, callback: () => void): () => void;
  /** 32 unpredictable bytes. */
  randomness(): Uint8Array;
  /** Id of this node, which proposes all blocks. */
  readonly nodeId: Uint8Array;
  /** The handler rejected: the state machine has stopped. */
  onFailure(error: unknown): void;
}

/** An engine that decides alone. */
export function createSoloEngine(host: SoloHost): ConsensusEngine {
  return new SoloEngine(host);
}

class SoloEngine implements ConsensusEngine {
  readonly #host: SoloHost;
  readonly #mempool = new Mempool();
  #state: ConsensusStatus["state"] = "stopped";
  #onDecided: DecidedHandler | undefined;
  #last: { height: bigint; timeNs: bigint } = { height: 0n, timeNs: 0n };
  #after: AfterBlock = { moreWork: false, wakeupNs: undefined };
  #isTouched = false;
  /** Ids in the block in flight. */
  #inFlight = new Set<string>();
  #cancelTimer: (() => void) | undefined;
  #whenStopped: (() => void)[] = [];
  #isStopping = false;

  constructor(host: SoloHost) {
    this.#host = host;
  }

  start(last: { height: bigint; timeNs: bigint } & AfterBlock, onDecided: DecidedHandler): void {
    assert(this.#onDecided === undefined, "an engine starts once");
    this.#onDecided = onDecided;
    this.#last = { height: last.height, timeNs: last.timeNs };
    this.#after = { moreWork: last.moreWork, wakeupNs: last.wakeupNs };
    this.#state = "idle";
    this.#plan();
  }

  submit(transaction: PendingTransaction): Submission {
    if (this.#inFlight.has(transaction.id)) return "known";
    const submission = this.#mempool.add(transaction);
    if (submission === "accepted") this.#plan();
    return submission;
  }

  touch(): void {
    this.#isTouched = true;
    this.#plan();
  }

  status(): ConsensusStatus {
    return {
      state: this.#state,
      ...this.#last,
      mempoolCount: this.#mempool.count,
      mempoolBytes: this.#mempool.byteCount,
    };
  }

  stop(): Promise<void> {
    this.#isStopping = true;
    this.#cancelTimer?.();
    if (this.#state === "idle") this.#state = "stopped";
    if (this.#state !== "executing") return Promise.resolve();
    return new Promise((resolve) => this.#whenStopped.push(resolve));
  }

  /** Sets the timer of the next block; while one is in flight its end plans anew. */
  #plan(): void {
    if (this.#state !== "idle") return;
    this.#cancelTimer?.();
    this.#cancelTimer = this.#host.schedule(this.#delayNs(), () => this.#decide());
  }

  #delayNs(): bigint {
    const hasReason = this.#mempool.count > 0 || this.#after.moreWork || this.#isTouched;
    if (hasReason) return 0n;
    const idleUntilNs = this.#last.timeNs + SOLO_IDLE_NS;
    const { wakeupNs } = this.#after;
    const dueNs = wakeupNs !== undefined && wakeupNs < idleUntilNs ? wakeupNs : idleUntilNs;
    const delayNs = dueNs - this.#host.nowNs();
    // A clock that was set back must not silence the network.
    return delayNs < 0n ? 0n : delayNs > SOLO_IDLE_NS ? SOLO_IDLE_NS : delayNs;
  }

  #decide(): void {
    if (this.#state !== "idle") return;
    this.#cancelTimer = undefined;
    this.#state = "executing";
    this.#isTouched = false;
    const taken = this.#mempool.take();
    this.#inFlight = new Set(taken.map(({ id }) => id));
    void this.#execute(this.#nextBlock(taken.map(({ bytes }) => bytes)));
  }

  #nextBlock(transactions: Uint8Array[]): Block {
    const nowNs = this.#host.nowNs();
    const { height, timeNs } = this.#last;
    const randomness = this.#host.randomness();
    assert(randomness.length === 32, "randomness has 32 bytes");
    return {
      height: height + 1n,
      timeNs: nowNs > timeNs ? nowNs : timeNs + 1n,
      randomness,
      proposer: this.#host.nodeId,
      transactions,
    };
  }

  async #execute(block: Block): Promise<void> {
    assert(this.#onDecided !== undefined && block.timeNs > this.#last.timeNs);
    try {
      this.#after = await this.#onDecided(block);
      this.#last = { height: block.height, timeNs: block.timeNs };
      this.#state = this.#isStopping ? "stopped" : "idle";
    } catch (error) {
      this.#state = "failed";
      this.#host.onFailure(error);
    }
    this.#inFlight.clear();
    for (const resolve of this.#whenStopped) resolve();
    this.#plan();
  }
}
