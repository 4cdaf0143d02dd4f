// The store without a disk: the twin that tests and in-process networks use. Durable for as long as
// the object lives.

import { assert, concatBytes, u64BigEndian } from "gyrotron/base";
import type { Commit, StateHeader, Store } from "./contract.ts";
import { MemoryView } from "./memory-view.ts";

/** An empty store in memory. */
export function createMemoryStore(): Store {
  return new MemoryStore();
}

class MemoryStore implements Store {
  readonly view = new MemoryView();
  readonly derived = new MemoryView();
  readonly archive = new MemoryView();
  readonly #blocks = new MemoryView();
  #header: StateHeader | undefined;

  header(): StateHeader | undefined {
    return this.#header;
  }

  block(height: bigint): Uint8Array | undefined {
    return this.#blocks.get(u64BigEndian(height));
  }

  commit(commit: Commit): void {
    assertFollows(this.#header, commit.header);
    // Copies: a store must not change when its caller reuses a buffer.
    this.view.apply(commit.writes.map(copyWrite));
    this.derived.apply(commit.derived.map(copyWrite));
    this.archive.apply(commit.archive.map(copyWrite));
    this.#blocks.apply([
      { key: u64BigEndian(commit.header.height), value: concatBytes(commit.block) },
    ]);
    this.#header = { ...commit.header };
  }

  async close(): Promise<void> {
    // Nothing to release.
  }
}

/** Asserts that blocks are committed one after the other. */
export function assertFollows(last: StateHeader | undefined, next: StateHeader): void {
  assert(
    last === undefined || next.height === last.height + 1n,
    "blocks are committed in order of height",
  );
  assert(last === undefined || next.timeNs > last.timeNs, "time moves forward with every block");
  assert(next.stateRoot.length === 32, "a state root has 32 bytes");
}

function copyWrite({ key, value }: Commit["writes"][number]): Commit["writes"][number] {
  return { key: concatBytes(key), value: value === undefined ? undefined : concatBytes(value) };
}
