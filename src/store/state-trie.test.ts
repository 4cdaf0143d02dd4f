// The incremental trie against the definition of the state root, written down naively.

import { test } from "node:test";
import * as fc from "fast-check";
import {
  assert,
  compareBytes,
  concatBytes,
  equalBytes,
  formatHex,
  u32BigEndian,
} from "gyrotron/base";
import { sha256 } from "gyrotron/crypto";
import type { StateWrite } from "./contract.ts";
import { MemoryView } from "./memory-view.ts";
import {
  emptyStateRoot,
  loadStateTrie,
  rebuildStateTrie,
  type StateTrie,
  type TrieSource,
} from "./state-trie.ts";
import { StoreError } from "./store-error.ts";

type Entry = readonly [Uint8Array, Uint8Array];

/** The specification word for word: no caches, no incremental update. */
function naiveRoot(entries: readonly Entry[], bit = 0): Uint8Array {
  if (entries.length === 0) return sha256(Uint8Array.of(2));
  const [first] = entries;
  if (entries.length === 1) {
    return sha256(
      concatBytes(Uint8Array.of(0), u32BigEndian(first![0].length), first![0], sha256(first![1])),
    );
  }
  const isSet = ([key]: Entry): boolean => ((key[bit >> 3]! >> (7 - (bit % 8))) & 1) === 1;
  const left = entries.filter((entry) => !isSet(entry));
  const right = entries.filter(isSet);
  if (left.length === 0 || right.length === 0) return naiveRoot(entries, bit + 1);
  return sha256(concatBytes(Uint8Array.of(1), naiveRoot(left, bit + 1), naiveRoot(right, bit + 1)));
}

/** What a store keeps. */
class Kept implements TrieSource {
  readonly view = new MemoryView();
  readonly derived = new MemoryView();
  readonly path = "memory";

  apply(trie: StateTrie, writes: readonly StateWrite[]): Uint8Array {
    const update = trie.apply(writes);
    this.view.apply(writes);
    this.derived.apply(update.derived);
    return update.root;
  }
}

function sameEntries(left: MemoryView, right: MemoryView): boolean {
  const bytesOf = (view: MemoryView): Uint8Array =>
    concatBytes(...[...view.range(new Uint8Array(0))].flat());
  return equalBytes(bytesOf(left), bytesOf(right));
}

/** A trie on nothing. */
const emptyTrie = (): StateTrie => loadStateTrie(new Kept(), new Set());

/** Prefix-free keys of several lengths: the length, then bytes of a small alphabet so that keys collide. */
const key = fc
  .array(fc.constantFrom(0, 1, 128, 255), { maxLength: 4 })
  .map((bytes) => Uint8Array.from([bytes.length + 1, ...bytes]));
/** Which of them form groups: one of one byte has none to differ in. */
const groupedTypes = fc.subarray([2, 3, 4, 5]).map((types) => new Set(types));
const write: fc.Arbitrary<StateWrite> = fc.record({
  key,
  value: fc.option(fc.uint8Array({ maxLength: 3 }), { nil: undefined, freq: 3 }),
});
const block = fc.record({ writes: fc.array(write, { maxLength: 8 }), isRestarted: fc.boolean() });
const blocks = fc.array(block, { maxLength: 12 });

test("the incremental root is the naive root after every block, and after every restart", () => {
  fc.assert(
    fc.property(blocks, groupedTypes, (history, types) => {
      const kept = new Kept();
      // One that makes nodes when they are needed, one that has them all, one without groups.
      let lazy = loadStateTrie(kept, types);
      const eager = rebuildStateTrie(kept.view, types);
      const flat = emptyTrie();
      for (const { writes, isRestarted } of history) {
        if (isRestarted) lazy = loadStateTrie(kept, types);
        const root = kept.apply(lazy, writes);
        const expected = naiveRoot([...kept.view.range(new Uint8Array(0))]);
        assert(equalBytes(root, expected));
        assert(equalBytes(lazy.root(), expected));
        assert(equalBytes(eager.apply(writes).root, expected));
        assert(equalBytes(flat.apply(writes).root, expected));
        assert(equalBytes(loadStateTrie(kept, types).root(), expected));
        const rebuilt = rebuildStateTrie(kept.view, types);
        assert(equalBytes(rebuilt.root(), expected));
        const hashes = new MemoryView();
        hashes.apply([...rebuilt.derived()]);
        assert(sameEntries(hashes, kept.derived));
        const groups = [...kept.derived.range(Uint8Array.of(0))].length;
        assert(kept.derived.size === kept.view.size + groups);
      }
    }),
    { seed: 1, numRuns: 300 },
  );
});

/** A trie of three groups of memory chunks (type 7), and what is kept of it. */
function groupedState(): { kept: Kept; root: Uint8Array; load: () => StateTrie } {
  const kept = new Kept();
  const load = (): StateTrie => loadStateTrie(kept, new Set([7]));
  const chunk = (index: number): StateWrite => ({
    key: Uint8Array.of(7, index >> 8, index & 255),
    value: u32BigEndian(index),
  });
  const writes = Array.from({ length: 700 }, (_, index) => chunk(index));
  const other = { key: Uint8Array.of(6, 1), value: Uint8Array.of(1) };
  return { kept, root: kept.apply(load(), [...writes, other]), load };
}

const touched = [{ key: Uint8Array.of(7, 1, 3), value: Uint8Array.of(9) }];

test("a start reads the hashes of groups, not those of their keys", () => {
  const { kept, root, load } = groupedState();
  let reads = 0;
  const derived: TrieSource["derived"] = {
    *range(prefix) {
      for (const entry of kept.derived.range(prefix)) {
        reads++;
        yield entry;
      }
    },
  };
  const trie = loadStateTrie({ ...kept, derived }, new Set([7]));
  assert(equalBytes(trie.root(), root));
  assert(reads === 4, "three groups and one key");
  const update = trie.apply(touched);
  assert(reads === 4 + 256, "the group that was touched");
  assert(update.derived.length === 2, "the value's hash and the group's");
  assert(equalBytes(update.root, kept.apply(load(), touched)));
});

test("a changed hash of a group shows in the root, a changed hash in a group when it is touched", () => {
  const damaged = Uint8Array.of(7, 1, 200);
  const first = groupedState();
  first.kept.derived.apply([{ key: Uint8Array.of(0, 7, 1), value: sha256(damaged) }]);
  assert(!equalBytes(first.load().root(), first.root));

  const { kept, root, load } = groupedState();
  kept.derived.apply([{ key: damaged, value: sha256(damaged) }]);
  const trie = load();
  assert(equalBytes(trie.root(), root));
  // The value is there still: its hash is computed again, and is among what is to be kept.
  const update = trie.apply(touched);
  assert(equalBytes(update.root, rebuiltWith(kept, touched)));
  kept.derived.apply(update.derived);
  kept.view.apply(touched);
  kept.view.apply([{ key: damaged, value: Uint8Array.of(1) }]);
  assert(equalBytes(load().apply(touched).root, update.root), "hashes alone make nodes");
  kept.derived.apply([{ key: damaged, value: undefined }]);
  assert(codeOf(() => load().apply(touched)) === "store/damaged", "nor hash nor value is right");
});

function rebuiltWith(kept: Kept, writes: readonly StateWrite[]): Uint8Array {
  return rebuildStateTrie(kept.view, new Set()).apply(writes).root;
}

function codeOf(action: () => unknown): string | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    return error instanceof StoreError ? error.info.code : String(error);
  }
}

test("the root does not depend on the order in which keys came", () => {
  const entries = Array.from({ length: 200 }, (_, i) => ({
    key: u32BigEndian(i * 7919),
    value: u32BigEndian(i),
  }));
  const ascending = emptyTrie().apply(entries).root;
  const shuffled = entries.toSorted((a, b) => compareBytes(sha256(a.key), sha256(b.key)));
  const trie = emptyTrie();
  for (const entry of shuffled) trie.apply([entry]);
  assert(equalBytes(trie.root(), ascending));
});

test("the root of known states is fixed", () => {
  const hexOf = (writes: StateWrite[]): string => formatHex(emptyTrie().apply(writes).root);
  assert(
    formatHex(emptyStateRoot()) ===
      "dbc1b4c900ffe48d575b5da5c638040125f65db0fe3e24494b76ea986457d986",
  );
  assert(hexOf([{ key: Uint8Array.of(110), value: Uint8Array.of(1) }]) === KNOWN_ONE);
  assert(
    hexOf([
      { key: Uint8Array.of(110), value: Uint8Array.of(1) },
      { key: Uint8Array.of(115), value: Uint8Array.of() },
    ]) === KNOWN_TWO,
  );
});

// Computed apart from this program, with the command-line tool of OpenSSL.
const KNOWN_ONE = "9d827ae7059eb8b745ab73f2830dda26613c07f02bd47658db688785ee62ee26";
const KNOWN_TWO = "f1889560275d79e972ef6401d9bd41574b419c155a767c2dbcee0a16a7e8396c";
