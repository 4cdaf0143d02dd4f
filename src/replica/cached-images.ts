// Keeps a query thread's live memories in step with what the execution thread commits: changed chunks
// are read again, and a canister whose code or image was replaced is forgotten.

import type { StateView } from "gyrotron/store";
import type { ExecutionEngine } from "./block-context.ts";
import { KEY_PREFIX, parseHeapChunkKey } from "./state/keys.ts";
import type { CanisterRecord } from "./state/records.ts";
import { ReplicaState } from "./state/replica-state.ts";

/** The images that a replica may have cached. */
export class CachedImages {
  readonly #engine: ExecutionEngine;
  /** Code and generation last seen of each canister. */
  readonly #versions = new Map<string, string>();

  constructor(engine: ExecutionEngine) {
    this.#engine = engine;
  }

  /** Brings cached images up to `view`, after another thread has committed `keys`. */
  refresh(view: StateView, keys: readonly Uint8Array[]): void {
    const state = new ReplicaState(view);
    for (const { id, indexes } of changedHeaps(keys)) {
      const canister = state.canister(id);
      if (canister === undefined || !this.#isSameCode(canister)) this.#engine.runtime.evict(id);
      else {
        const { image, generation } = canister;
        this.#engine.runtime.refresh(id, image, generation, indexes, state.chunks(id));
      }
      if (canister === undefined) this.#versions.delete(id.toHex());
    }
  }

  #isSameCode({ id, code, generation }: CanisterRecord): boolean {
    const name = id.toHex();
    const version = `${generation} ${code?.moduleHash.toHex() ?? ""}`;
    const isSame = this.#versions.get(name) === version;
    this.#versions.set(name, version);
    return isSame && code !== undefined;
  }
}

/** The canisters among changed keys, with the heap chunks that changed. */
function changedHeaps(keys: readonly Uint8Array[]): { id: Uint8Array; indexes: number[] }[] {
  const changed = new Map<string, { id: Uint8Array; indexes: number[] }>();
  const note = (id: Uint8Array): { indexes: number[] } => {
    const name = id.toHex();
    const found = changed.get(name) ?? { id, indexes: [] };
    changed.set(name, found);
    return found;
  };
  for (const key of keys) {
    if (key[0] === KEY_PREFIX.canister[0]) note(key.slice(2));
    if (key[0] !== KEY_PREFIX.heapChunk[0]) continue;
    const { id, index } = parseHeapChunkKey(key);
    note(id).indexes.push(index);
  }
  return [...changed.values()];
}
