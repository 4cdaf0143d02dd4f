// A store for tests that dies at a chosen commit, before or after the bytes reach the disk. Until
// they do, a commit is visible in its own view only; the crash drops it, as a power cut would.

import { assert } from "gyrotron/base";
import type { Commit, StateHeader, StateView, Store } from "./contract.ts";
import { assertFollows } from "./memory-store.ts";
import { MemoryView } from "./memory-view.ts";
import { StoreError } from "./store-error.ts";

/** When the store dies: at the n-th commit from now (0 is the next). */
export interface CrashPlan {
  commit: number;
  moment: "before-flush" | "after-flush";
}

/** A store whose power can fail. */
export interface FaultyStore extends Store {
  readonly crashed: boolean;
  /** Drops everything unflushed; every later use fails. */
  crash(): void;
}

/** Wraps `disk`, which survives the crash and can be wrapped again for the next start. */
export function createFaultyStore(disk: Store, plan?: CrashPlan): FaultyStore {
  return new PoweredStore(disk, plan);
}

interface UnflushedState {
  view: MemoryView;
  derived: MemoryView;
  archive: MemoryView;
  header: StateHeader;
  block: Uint8Array;
}

class PoweredStore implements FaultyStore {
  readonly #disk: Store;
  readonly #plan: CrashPlan | undefined;
  #commitCount = 0;
  /** Copy of the state with the commit that is on its way to the disk. */
  #cache: UnflushedState | undefined;
  crashed = false;

  constructor(disk: Store, plan: CrashPlan | undefined) {
    this.#disk = disk;
    this.#plan = plan;
  }

  get view(): StateView {
    this.#requirePower();
    return this.#cache?.view ?? this.#disk.view;
  }

  get derived(): StateView {
    this.#requirePower();
    return this.#cache?.derived ?? this.#disk.derived;
  }

  get archive(): StateView {
    this.#requirePower();
    return this.#cache?.archive ?? this.#disk.archive;
  }

  header(): StateHeader | undefined {
    this.#requirePower();
    return this.#cache?.header ?? this.#disk.header();
  }

  block(height: bigint): Uint8Array | undefined {
    this.#requirePower();
    return this.#cache?.header.height === height ? this.#cache.block : this.#disk.block(height);
  }

  commit(commit: Commit): void {
    this.#requirePower();
    const moment = this.#plan?.commit === this.#commitCount++ ? this.#plan.moment : undefined;
    this.#write(commit);
    if (moment === "before-flush") this.crash();
    this.#flush(commit);
    if (moment === "after-flush") this.crash();
    this.#requirePower();
  }

  crash(): void {
    this.#cache = undefined;
    this.crashed = true;
  }

  async close(): Promise<void> {
    this.#cache = undefined;
  }

  /** Into the page cache: readers of this process see it, the disk does not. */
  #write(commit: Commit): void {
    assertFollows(this.#disk.header(), commit.header);
    const view = new MemoryView(this.#disk.view.range(new Uint8Array(0)));
    const derived = new MemoryView(this.#disk.derived.range(new Uint8Array(0)));
    view.apply(commit.writes);
    derived.apply(commit.derived);
    const archive = new MemoryView(this.#disk.archive.range(new Uint8Array(0)));
    archive.apply(commit.archive);
    this.#cache = { view, derived, archive, header: commit.header, block: commit.block };
  }

  #flush(commit: Commit): void {
    this.#requirePower();
    assert(this.#cache !== undefined, "what is flushed has been written");
    this.#disk.commit(commit);
    this.#cache = undefined;
  }

  #requirePower(): void {
    if (this.crashed)
      throw new StoreError({ code: "store/failed", path: "memory", what: "power is off" });
  }
}
