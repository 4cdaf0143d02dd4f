// Replaying a block log from genesis: the same blocks give the same roots, on any machine and in any
// tier of V8's compilers. Needs no accelerator and no network.

import { decodeBlock, decodeGenesis } from "gyrotron/consensus";
import type { Replica } from "gyrotron/replica";
import { createMemoryStore, type StateHeader, type Store } from "gyrotron/store";
import { bootStateMachine } from "./state-machine.ts";

/** The entries of a store's block log: the genesis record, then the blocks. */
export function* blockLogOf(store: Pick<Store, "block">): Iterable<Uint8Array> {
  for (let height = 0n; ; height++) {
    const entry = store.block(height);
    if (entry === undefined) return;
    yield entry;
  }
}

/** Executes a block log on an empty store; yields the header after each entry. @throws DecodeError */
export function* replayBlockLog(
  entries: Iterable<Uint8Array>,
  replica: Replica,
  store: Store = createMemoryStore(),
): Iterable<StateHeader> {
  const iterator = entries[Symbol.iterator]();
  const first = iterator.next();
  if (first.done === true) return;
  const machine = bootStateMachine(replica, store, decodeGenesis(first.value));
  yield machine.booted.header;
  for (let next = iterator.next(); next.done !== true; next = iterator.next()) {
    yield machine.execute(decodeBlock(next.value)).header;
  }
}
