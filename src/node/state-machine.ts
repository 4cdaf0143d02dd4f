// One replica on one store: boot, then a block at a time: execute, hash, commit. Runs in the
// execution thread, or in the only thread of an inline node and of a replay. Owns no clock.

import { assert, decodeWith, equalBytes } from "gyrotron/base";
import {
  type AfterBlock,
  decodeGenesis,
  encodeBlock,
  encodeGenesis,
  type Genesis,
} from "gyrotron/consensus";
import {
  type AuthenticatedSender,
  type Block,
  CERTIFIED_PREFIXES,
  CHUNK_TYPES,
  type ConsoleLine,
  jobNumberOfKey,
  KEY_PREFIX,
  type NetworkConfig,
  type OutsideTask,
  outsideTaskCodec,
  outsideTaskNumberOfKey,
  type PendingJob,
  pendingJobCodec,
  type Replica,
} from "gyrotron/replica";
import {
  emptyStateRoot,
  loadStateTrie,
  rebuildStateTrie,
  type StateHeader,
  type StateTrie,
  type StateWrite,
  type Store,
  StoreError,
} from "gyrotron/store";
import type { JobChange } from "./jobs/job-runner.ts";
import { archiveWrites } from "./jobs/receipt-archive.ts";
import type { TaskChange } from "./outcalls/task-runner.ts";

/** What is known after boot. */
export interface Booted {
  config: NetworkConfig;
  header: StateHeader;
  wakeupNs: bigint | undefined;
  /** Public information and request statuses: what the certified tree is made of. */
  publicEntries: (readonly [key: Uint8Array, value: Uint8Array])[];
  pendingJobs: PendingJob[];
  pendingTasks: OutsideTask[];
}

/** What a committed block changed, as far as other threads care. */
export interface CommittedBlock extends AfterBlock {
  header: StateHeader;
  publicWrites: StateWrite[];
  jobChanges: JobChange[];
  taskChanges: TaskChange[];
  console: ConsoleLine[];
}

/** Aligned with a block's transactions: what this node has checked of their signatures. */
export type Authentications = readonly (AuthenticatedSender | undefined)[];

/** Told which keys a block writes, just before it is committed. */
export type Announcement = (height: bigint, keys: Uint8Array[]) => void;

/** A state machine that has booted. */
export interface StateMachine {
  readonly booted: Booted;
  /** Executes and commits; durable when it returns. After an exception the machine is unusable. */
  execute(block: Block, authenticated?: Authentications): CommittedBlock;
}

/** Boots on what the store (kept in `path`) holds, or makes `genesis` there. @throws StoreError `store/damaged` if the state is not what its root says */
export function bootStateMachine(
  replica: Replica,
  store: Store,
  genesis: Genesis | undefined,
  announce: Announcement = () => {},
  path = "memory",
): StateMachine {
  const { trie, repairs } = openTrie(store, path);
  const machine = new Machine(replica, store, trie, repairs, announce, path);
  if (store.header() === undefined) machine.makeGenesis(genesis);
  return machine;
}

/** Whether a key is part of what the certified tree shows. */
export function isPublicKey(key: Uint8Array): boolean {
  return CERTIFIED_PREFIXES.some((prefix) => key[0] === prefix[0]);
}

class Machine implements StateMachine {
  readonly #replica: Replica;
  readonly #store: Store;
  readonly #trie: StateTrie;
  readonly #announce: Announcement;
  readonly #path: string;
  #repairs: StateWrite[];

  constructor(
    replica: Replica,
    store: Store,
    trie: StateTrie,
    repairs: StateWrite[],
    announce: Announcement,
    path: string,
  ) {
    this.#replica = replica;
    this.#store = store;
    this.#trie = trie;
    this.#repairs = repairs;
    this.#announce = announce;
    this.#path = path;
  }

  get booted(): Booted {
    const { view } = this.#store;
    const header = this.#store.header();
    const genesisBytes = this.#store.block(0n);
    if (header === undefined || genesisBytes === undefined)
      throw damaged(this.#path, "there is no genesis record");
    const { config } = decodeGenesis(genesisBytes);
    const publicEntries = CERTIFIED_PREFIXES.flatMap((prefix) => [...view.range(prefix)]);
    const pendingJobs = [...view.range(KEY_PREFIX.job)].map(([, value]) =>
      decodeWith(pendingJobCodec, value),
    );
    const pendingTasks = [...view.range(KEY_PREFIX.outsideTask)].map(([, value]) =>
      decodeWith(outsideTaskCodec, value),
    );
    const wakeupNs = this.#replica.wakeup(view);
    return { config, header, wakeupNs, publicEntries, pendingJobs, pendingTasks };
  }

  makeGenesis(genesis: Genesis | undefined): void {
    if (genesis === undefined) throw damaged(this.#path, "the state is empty");
    const writes = this.#replica.genesis(genesis.config, genesis.timeNs);
    this.#commit(0n, genesis.timeNs, encodeGenesis(genesis), writes);
  }

  execute(block: Block, authenticated?: Authentications): CommittedBlock {
    const executed = this.#replica.execute(this.#store.view, block, authenticated);
    const { writes, console, receipts, moreWork, wakeupNs } = executed;
    const archive = receipts.flatMap(archiveWrites);
    const header = this.#commit(block.height, block.timeNs, encodeBlock(block), writes, archive);
    const publicWrites = writes.filter(({ key }) => isPublicKey(key));
    const jobChanges = jobChangesOf(writes);
    const taskChanges = taskChangesOf(writes);
    return { header, publicWrites, jobChanges, taskChanges, console, moreWork, wakeupNs };
  }

  #commit(
    height: bigint,
    timeNs: bigint,
    block: Uint8Array,
    writes: StateWrite[],
    archive: StateWrite[] = [],
  ): StateHeader {
    const { root, derived } = this.#trie.apply(writes);
    const header: StateHeader = { height, timeNs, stateRoot: root };
    // Before the commit: whoever sees the new state must find the announcement waiting.
    this.#announce(
      height,
      writes.map(({ key }) => key),
    );
    this.#store.commit({ header, block, writes, derived: [...this.#repairs, ...derived], archive });
    this.#repairs = [];
    assert(this.#store.header()?.height === height, "the store has what was committed");
    return header;
  }
}

/** What a block's writes say of jobs. */
function jobChangesOf(writes: readonly StateWrite[]): JobChange[] {
  return writes
    .filter(({ key }) => key[0] === KEY_PREFIX.job[0])
    .map(({ key, value }) => ({
      number: jobNumberOfKey(key),
      job: value && decodeWith(pendingJobCodec, value),
    }));
}

/** What a block's writes say of outside tasks. */
function taskChangesOf(writes: readonly StateWrite[]): TaskChange[] {
  return writes
    .filter(({ key }) => key[0] === KEY_PREFIX.outsideTask[0])
    .map(({ key, value }) => ({
      number: outsideTaskNumberOfKey(key),
      task: value && decodeWith(outsideTaskCodec, value),
    }));
}

/** The trie of the stored state, with the writes that mend derived data if it was absent or wrong. */
function openTrie(store: Store, path: string): { trie: StateTrie; repairs: StateWrite[] } {
  const expected = store.header()?.stateRoot ?? emptyStateRoot();
  const trie = loadStateTrie({ view: store.view, derived: store.derived, path }, CHUNK_TYPES);
  if (equalBytes(trie.root(), expected)) return { trie, repairs: [] };
  const rebuilt = rebuildStateTrie(store.view, CHUNK_TYPES);
  if (!equalBytes(rebuilt.root(), expected))
    throw damaged(path, "the state is not the one that its root names");
  return { trie: rebuilt, repairs: derivedRepairs(store, rebuilt) };
}

function derivedRepairs(store: Store, trie: StateTrie): StateWrite[] {
  const all = new Uint8Array(0);
  const removals = [...store.derived.range(all)].map(([key]) => ({ key, value: undefined }));
  return [...removals, ...trie.derived()];
}

function damaged(path: string, what: string): StoreError {
  return new StoreError({ code: "store/damaged", path, what });
}
