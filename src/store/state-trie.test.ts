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
import { emptyStateRoot, loadStateTrie, rebuildStateTrie } from "./state-trie.ts";

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

function sameEntries(left: MemoryView, right: MemoryView): boolean {
  const bytesOf = (view: MemoryView): Uint8Array =>
    concatBytes(...[...view.range(new Uint8Array(0))].flat());
  return equalBytes(bytesOf(left), bytesOf(right));
}

/** Prefix-free keys of several lengths: a length byte, then bytes of a small alphabet so that keys collide. */
const key = fc
  .array(fc.constantFrom(0, 1, 128, 255), { maxLength: 4 })
  .map((bytes) => Uint8Array.from([bytes.length, ...bytes]));
const write: fc.Arbitrary<StateWrite> = fc.record({
  key,
  value: fc.option(fc.uint8Array({ maxLength: 3 }), { nil: undefined, freq: 3 }),
});
const blocks = fc.array(fc.array(write, { maxLength: 8 }), { maxLength: 12 });

test("the incremental root is the naive root after every block, and after every restart", () => {
  fc.assert(
    fc.property(blocks, (history) => {
      const state = new MemoryView();
      const derived = new MemoryView();
      const trie = loadStateTrie(derived);
      for (const writes of history) {
        const update = trie.apply(writes);
        state.apply(writes);
        derived.apply(update.derived);
        const expected = naiveRoot([...state.range(new Uint8Array(0))]);
        assert(equalBytes(update.root, expected));
        assert(equalBytes(trie.root(), expected));
        assert(equalBytes(loadStateTrie(derived).root(), expected));
        assert(equalBytes(rebuildStateTrie(state).root(), expected));
        const leaves = new MemoryView();
        leaves.apply([...trie.derived()]);
        assert(sameEntries(leaves, derived));
        assert(trie.leafCount === state.size && derived.size === state.size);
      }
    }),
    { seed: 1, numRuns: 300 },
  );
});

test("the root does not depend on the order in which keys came", () => {
  const entries = Array.from({ length: 200 }, (_, i) => ({
    key: u32BigEndian(i * 7919),
    value: u32BigEndian(i),
  }));
  const ascending = loadStateTrie(new MemoryView()).apply(entries).root;
  const shuffled = entries.toSorted((a, b) => compareBytes(sha256(a.key), sha256(b.key)));
  const trie = loadStateTrie(new MemoryView());
  for (const entry of shuffled) trie.apply([entry]);
  assert(equalBytes(trie.root(), ascending));
});

test("the root of known states is fixed", () => {
  const hexOf = (writes: StateWrite[]): string =>
    formatHex(loadStateTrie(new MemoryView()).apply(writes).root);
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
