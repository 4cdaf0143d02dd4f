// What the main thread and its workers say to each other, by structured clone, in batches. One request
// has one answer, matched by number; errors keep their code.

import { NodeError, type NodeErrorInfo } from "./node-error.ts";
import type { MessagePort } from "node:worker_threads";
import type { PreparedModule } from "gyrotron/canister";
import type { Genesis } from "gyrotron/consensus";
import type { Block } from "gyrotron/replica";
import { StoreError, type StoreErrorInfo } from "gyrotron/store";
import type { Findings, Inquiry } from "./inquiry.ts";
import { Outbox } from "./outbox.ts";
import type { Authentications, Booted, CommittedBlock } from "./state-machine.ts";

/** What a worker is started with. */
export interface WorkerStart {
  statePath: string;
  /** URL of the module whose `createNodeReplica` makes the replica. */
  replicaModule: string;
  /** The executor's ends of the ports on which it announces, or a query worker's one end. */
  announcements: MessagePort[];
  /** Query workers among which the memory for idle canisters is divided; left out: it is not. */
  queryWorkers?: number;
}

/** From the executor to the query workers: a block's keys before its commit, and what it compiled. */
export type Announcement =
  | { kind: "keys"; height: bigint; keys: Uint8Array[] }
  /** V8 shares the code of a module between threads, so that none compiles it twice. */
  | { kind: "module"; module: PreparedModule };

/** To the executor. The answer to each is in `ExecutorAnswers`. */
export type ExecutorRequest =
  /** `genesis`: the network to make where the store is empty. */
  | { kind: "boot"; genesis: Genesis | undefined }
  | { kind: "execute"; block: Block; authenticated: Authentications }
  | { kind: "close" };

export interface ExecutorAnswers {
  boot: Booted;
  execute: CommittedBlock;
  close: undefined;
}

/** To the query runner. */
export type QueryRequest =
  | { kind: "boot" }
  | { kind: "advance"; height: bigint }
  | { kind: "inquire"; inquiry: Inquiry }
  | { kind: "close" };

export interface QueryAnswers {
  boot: undefined;
  advance: undefined;
  inquire: Findings;
  close: undefined;
}

export interface NumberedRequest<R> {
  number: number;
  request: R;
}

export type NumberedAnswer =
  { number: number; answer: unknown; failure?: undefined } | { number: number; failure: Failure };

/** An error on its way between threads. */
export interface Failure {
  message: string;
  stack: string | undefined;
  storeError: StoreErrorInfo | undefined;
  nodeError: NodeErrorInfo | undefined;
}

/** What of an error crosses to another thread. */
export function failureFrom(error: unknown): Failure {
  if (!(error instanceof Error))
    return {
      message: String(error),
      stack: undefined,
      storeError: undefined,
      nodeError: undefined,
    };
  const storeError = error instanceof StoreError ? error.info : undefined;
  const nodeError = error instanceof NodeError ? error.info : undefined;
  return { message: error.message, stack: error.stack, storeError, nodeError };
}

/** The error that a failure stands for: errors with a code as they were, all else is a host failure. */
export function errorFrom({
  message,
  stack,
  storeError,
  nodeError,
}: Failure): StoreError | NodeError {
  const error =
    storeError === undefined
      ? new NodeError(nodeError ?? { code: "node/host-failure", what: message })
      : new StoreError(storeError);
  // Where it happened, not where it was unpacked.
  if (stack !== undefined) error.stack = stack;
  return error;
}

/** Answers requests on a port, one after the other, in the order in which they come. */
export function serve<R>(port: MessagePort, handle: (request: R) => Promise<unknown>): void {
  const outbox = new Outbox<NumberedAnswer>((batch) => port.postMessage(batch));
  let previous: Promise<void> = Promise.resolve();
  const respond = async ({ number, request }: NumberedRequest<R>): Promise<void> => {
    try {
      outbox.add({ number, answer: await handle(request) });
    } catch (error) {
      outbox.add({ number, failure: failureFrom(error) });
    }
  };
  port.on("message", (batch: NumberedRequest<R>[]) => {
    for (const message of batch) previous = previous.then(() => respond(message));
  });
}
