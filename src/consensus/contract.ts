// What decides the order of transactions and the time of blocks, whether in this process or across
// machines. Owns no state machine: blocks go to a handler, which executes and commits them.

import type { Block } from "gyrotron/replica";

/** What became of a transaction handed in. */
export type Submission = "accepted" | "known" | "full";

/** A transaction on its way into a block. */
export interface PendingTransaction {
  /** Names the transaction: submitted twice it goes into one block only. Lower-case hex. */
  id: string;
  bytes: Uint8Array;
}

/** What the state machine still wants after a block. */
export interface AfterBlock {
  /** Another block at once. */
  moreWork: boolean;
  /** Block time at which work falls due, ns. */
  wakeupNs: bigint | undefined;
}

/** Executes and commits decided blocks, one after the other. A rejection stops the engine. */
export type DecidedHandler = (block: Block) => Promise<AfterBlock>;

/** Facts for the operator. */
export interface ConsensusStatus {
  state: "idle" | "executing" | "stopped" | "failed";
  /** Last block that was executed and committed. */
  height: bigint;
  timeNs: bigint;
  mempoolCount: number;
  mempoolBytes: number;
}

/** Orders transactions into blocks. */
export interface ConsensusEngine {
  /** Starts deciding blocks after the given one. */
  start(last: { height: bigint; timeNs: bigint } & AfterBlock, onDecided: DecidedHandler): void;
  /** Puts a transaction into the mempool: `known` while it is there or in the block in flight. */
  submit(transaction: PendingTransaction): Submission;
  /** A read found the last block old: decide one, empty if need be. */
  touch(): void;
  status(): ConsensusStatus;
  /** Decides no more blocks and waits for the one in flight. */
  stop(): Promise<void>;
}
