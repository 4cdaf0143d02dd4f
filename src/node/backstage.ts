// The two rooms behind the main thread: the executor, which changes the state, and the query runner,
// which reads it. Their contracts, and both in one thread for tests and replays. Owns no threads.

import { assert } from "gyrotron/base";
import type { Genesis } from "gyrotron/consensus";
import type { Block, Replica } from "gyrotron/replica";
import type { Store } from "gyrotron/store";
import type { Findings, Inquiry } from "./inquiry.ts";
import { QueryMachine } from "./query-machine.ts";
import {
  type Authentications,
  type Booted,
  bootStateMachine,
  type CommittedBlock,
  type StateMachine,
} from "./state-machine.ts";

/** Changes the state, a block at a time. A rejection means a host failure: it is over. */
export interface Executor {
  readonly booted: Booted;
  /** Resolves when the block is durable. */
  execute(block: Block, authenticated: Authentications): Promise<CommittedBlock>;
  close(): Promise<void>;
}

/** Runs queries and pre-checks on whole, durable states. */
export interface QueryRunner {
  /** A block is durable. Later inquiries see it. */
  advance(height: bigint): void;
  inquire(inquiry: Inquiry): Promise<Findings>;
  close(): Promise<void>;
}

/** Both rooms on one store in this thread, with a replica each. @throws StoreError */
export function createInlineBackstage(
  createReplica: (replicated: boolean) => Replica,
  store: Store,
  genesis: Genesis,
): { executor: Executor; queries: QueryRunner } {
  const queries = new InlineQueryRunner(createReplica(false), store);
  const announce = (height: bigint, keys: Uint8Array[]): void =>
    queries.machine.announce(height, keys);
  const machine = bootStateMachine(createReplica(true), store, genesis, announce);
  return { executor: new InlineExecutor(machine, store), queries };
}

class InlineExecutor implements Executor {
  readonly booted: Booted;
  readonly #machine: StateMachine;
  readonly #store: Store;

  constructor(machine: StateMachine, store: Store) {
    this.#machine = machine;
    this.#store = store;
    this.booted = machine.booted;
  }

  async execute(block: Block, authenticated: Authentications): Promise<CommittedBlock> {
    return this.#machine.execute(block, authenticated);
  }

  close(): Promise<void> {
    return this.#store.close();
  }
}

class InlineQueryRunner implements QueryRunner {
  readonly machine: QueryMachine;

  constructor(replica: Replica, store: Store) {
    this.machine = new QueryMachine(replica, {
      get view() {
        return store.view;
      },
      get archive() {
        return store.archive;
      },
      header: () => store.header(),
      renew() {
        // A store that is read where it is written always shows its last commit.
      },
    });
  }

  advance(height: bigint): void {
    this.machine.advance(height);
    assert(this.machine.height >= height, "the state has reached what was committed");
  }

  async inquire(inquiry: Inquiry): Promise<Findings> {
    return this.machine.inquire(inquiry);
  }

  async close(): Promise<void> {
    // The executor closes the store.
  }
}
