// Executor and query runner as worker threads on one data folder, seen from the main thread.

import { MessageChannel, Worker } from "node:worker_threads";
import { assert, present } from "gyrotron/base";
import type { Genesis } from "gyrotron/consensus";
import type { Block } from "gyrotron/replica";
import type { Executor, QueryRunner } from "./backstage.ts";
import type { Findings, Inquiry } from "./inquiry.ts";
import { NodeError } from "./node-error.ts";
import { Outbox } from "./outbox.ts";
import { chooseWorker } from "./query-placement.ts";
import type { Authentications, Booted, CommittedBlock } from "./state-machine.ts";
import {
  errorFrom,
  type ExecutorAnswers,
  type ExecutorRequest,
  type NumberedAnswer,
  type NumberedRequest,
  type QueryAnswers,
  type QueryRequest,
  type WorkerStart,
} from "./worker-protocol.ts";

/** What the workers need to start. */
export interface BackstageOptions {
  statePath: string;
  /** Makes the genesis while the workers load; undefined: the store must hold a state. */
  makeGenesis: (() => Genesis) | undefined;
  /** Module whose `createNodeReplica` each worker calls. */
  replicaModule: URL;
  /** Threads that answer queries. */
  queryWorkers: number;
}

/** Starts the workers; the executor boots first. @throws StoreError NodeError */
export async function startThreadedBackstage(
  options: BackstageOptions,
): Promise<{ executor: Executor; queries: QueryRunner }> {
  const { statePath, makeGenesis, queryWorkers } = options;
  assert(queryWorkers >= 1, "queries need a thread");
  const replicaModule = options.replicaModule.href;
  const channels = Array.from({ length: queryWorkers }, () => new MessageChannel());
  const executor = new WorkerClient<ExecutorRequest, ExecutorAnswers>("execution-worker", {
    statePath,
    replicaModule,
    announcements: channels.map(({ port1 }) => port1),
  });
  const queries = channels.map(
    ({ port2 }) =>
      new WorkerClient<QueryRequest, QueryAnswers>("query-worker", {
        statePath,
        replicaModule,
        announcements: [port2],
        queryWorkers,
      }),
  );
  try {
    const booted = await executor.request({ kind: "boot", genesis: makeGenesis?.() });
    // After the executor: the folder is complete now.
    await Promise.all(queries.map((worker) => worker.request({ kind: "boot" })));
    return {
      executor: new ThreadedExecutor(executor, booted),
      queries: new ThreadedQueryRunner(queries),
    };
  } catch (error) {
    await Promise.all([executor, ...queries].map((worker) => worker.terminate()));
    throw error;
  }
}

class ThreadedExecutor implements Executor {
  readonly #worker: WorkerClient<ExecutorRequest, ExecutorAnswers>;
  readonly booted: Booted;

  constructor(worker: WorkerClient<ExecutorRequest, ExecutorAnswers>, booted: Booted) {
    this.#worker = worker;
    this.booted = booted;
  }

  execute(block: Block, authenticated: Authentications): Promise<CommittedBlock> {
    return this.#worker.request({ kind: "execute", block, authenticated });
  }

  close(): Promise<void> {
    return this.#worker.close();
  }
}

/** Several query workers as one. Each has its own copy of what it has answered for, so canisters have a home. */
class ThreadedQueryRunner implements QueryRunner {
  readonly #workers: { client: WorkerClient<QueryRequest, QueryAnswers>; openCount: number }[];

  constructor(clients: WorkerClient<QueryRequest, QueryAnswers>[]) {
    this.#workers = clients.map((client) => ({ client, openCount: 0 }));
  }

  advance(height: bigint): void {
    // Inquiries name the height they need; this only keeps announcements from piling up without them.
    if (height % ADVANCE_EVERY !== 0n) return;
    for (const { client } of this.#workers) {
      // A failure will meet the next inquiry too, which can report it.
      client.request({ kind: "advance", height }).catch(() => {});
    }
  }

  async inquire(inquiry: Inquiry): Promise<Findings> {
    const openCounts = this.#workers.map(({ openCount }) => openCount);
    const canisterId = inquiry.kind === "receipts" ? undefined : inquiry.content.canisterId;
    const worker = present(this.#workers[chooseWorker(openCounts, canisterId)]);
    worker.openCount += 1;
    try {
      return await worker.client.request({ kind: "inquire", inquiry });
    } finally {
      worker.openCount -= 1;
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map(({ client }) => client.close()));
  }
}

/** The instrumented stack budget of canisters is 16 MiB; V8 needs several times that in its slowest tier. */
const WORKER_STACK_MIB = 64;
/** V8 would take 48 MiB in each thread and give none back; canister memories are not part of it. */
const WORKER_YOUNG_GENERATION_MIB = 8;
/** Blocks between two reminders to the query runner. */
const ADVANCE_EVERY = 16n;
const CLOSE_REQUEST = { kind: "close" } as const;

/** Requests to one worker, each with its answer. */
class WorkerClient<R extends { kind: string }, A> {
  readonly #worker: Worker;
  readonly #open = new Map<number, PromiseWithResolvers<unknown>>();
  readonly #outbox: Outbox<NumberedRequest<unknown>>;
  #lastNumber = 0;
  #end: Error | undefined;

  constructor(name: string, start: WorkerStart) {
    // This file runs from source or compiled; the worker beside it likewise.
    const extension = import.meta.url.endsWith(".ts") ? ".ts" : ".js";
    this.#worker = new Worker(new URL(`./${name}${extension}`, import.meta.url), {
      name,
      workerData: start,
      transferList: start.announcements,
      resourceLimits: {
        stackSizeMb: WORKER_STACK_MIB,
        maxYoungGenerationSizeMb: WORKER_YOUNG_GENERATION_MIB,
      },
    });
    this.#outbox = new Outbox((batch) => this.#worker.postMessage(batch));
    this.#worker.on("message", (batch: NumberedAnswer[]) => {
      for (const message of batch) this.#settle(message);
    });
    this.#worker.on("error", (cause) =>
      this.#fail(hostFailure(`${name}: ${String(cause)}`, cause)),
    );
    this.#worker.on("exit", (code) => this.#fail(hostFailure(`${name} exited with code ${code}`)));
  }

  request<K extends R["kind"] & keyof A>(request: Extract<R, { kind: K }>): Promise<A[K]> {
    if (this.#end !== undefined) return Promise.reject(this.#end);
    return this.#post(request) as Promise<A[K]>;
  }

  /** Lets it finish and release its store, then ends the thread. */
  async close(): Promise<void> {
    try {
      if (this.#end === undefined) await this.#post(CLOSE_REQUEST);
    } finally {
      await this.terminate();
    }
  }

  async terminate(): Promise<void> {
    this.#end ??= new NodeError({ code: "node/stopped" });
    await this.#worker.terminate();
  }

  #post(request: unknown): Promise<unknown> {
    const number = ++this.#lastNumber;
    const answer = Promise.withResolvers<unknown>();
    this.#open.set(number, answer);
    this.#outbox.add({ number, request });
    return answer.promise;
  }

  #settle(message: NumberedAnswer): void {
    const answer = this.#open.get(message.number);
    this.#open.delete(message.number);
    if (message.failure === undefined) answer?.resolve(message.answer);
    else answer?.reject(errorFrom(message.failure));
  }

  #fail(error: Error): void {
    this.#end ??= error;
    for (const answer of this.#open.values()) answer.reject(this.#end);
    this.#open.clear();
  }
}

function hostFailure(what: string, cause?: unknown): NodeError {
  return new NodeError({ code: "node/host-failure", what }, { cause });
}
