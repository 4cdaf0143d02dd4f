// The state root (docs/spec/07-state-root.md): a binary Merkle trie over the bits of the keys of
// replicated state, updated in place. Holds one hash a node and the keys, never values. Keys of some
// types (the chunks of memories) form groups, whose nodes are made when the first of their keys is
// written: most of a large state is never touched by a run. Where the hashes are kept between runs is
// the caller's matter (`derived`).

import { assert, compareBytes, concatBytes, equalBytes, formatHex, present } from "gyrotron/base";
import { sha256 } from "gyrotron/crypto";
import type { StateView, StateWrite } from "./contract.ts";
import { StoreError } from "./store-error.ts";

/** What one block does to the trie. */
export interface TrieUpdate {
  root: Uint8Array;
  /** Hashes to persist: of each leaf's value by its key, and of the groups; a delete where one is gone. */
  derived: StateWrite[];
}

/** The trie of one state. */
export interface StateTrie {
  root(): Uint8Array;
  /** All hashes to keep, in no particular order. Of a rebuilt trie only: a loaded one has not seen all. */
  derived(): Iterable<StateWrite>;
  /**
   * Applies puts and deletes in order, while the source shows the state before them. Cost: the keys
   * written, times their depth. @throws StoreError `store/damaged` if a group is not what its hash says
   */
  apply(writes: readonly StateWrite[]): TrieUpdate;
}

/**
 * Type bytes, never 0, of keys that form groups: those that differ in their last byte only. All keys
 * that begin with the bytes of a group belong to it.
 */
export type GroupedTypes = ReadonlySet<number>;

/** What a loaded trie reads: the state and the hashes kept of it, and what to call them in an error. */
export interface TrieSource {
  readonly view: Pick<StateView, "range">;
  readonly derived: Pick<StateView, "range">;
  readonly path: string;
}

/** Trie from the persisted hashes: no value is read, and of a group only its own hash. */
export function loadStateTrie(source: TrieSource, groupedTypes: GroupedTypes): StateTrie {
  return new CritBitTrie(storedNodes(source.derived, groupedTypes), groupedTypes, source);
}

/** Trie from the values themselves, for a state without (trustworthy) derived data. */
export function rebuildStateTrie(
  view: Pick<StateView, "range">,
  groupedTypes: GroupedTypes,
): StateTrie {
  return new CritBitTrie(leavesOf(hashedEntries(view, ALL_KEYS)), groupedTypes, undefined);
}

/** Root of the state without keys. */
export function emptyStateRoot(): Uint8Array {
  return sha256(Uint8Array.of(TAG_EMPTY));
}

const TAG_LEAF = 0;
const TAG_FORK = 1;
const TAG_EMPTY = 2;
const HASH_BYTES = 32;

/** Comes before the bytes of a group in derived data, where no type of keys is 0. */
const GROUP_MARK = 0;
const ALL_KEYS: Uint8Array = new Uint8Array(0);

type HashEntry = readonly [key: Uint8Array, valueHash: Uint8Array];
type End = Leaf | Group;
type TrieNode = End | Fork;

interface Leaf {
  kind: "leaf";
  readonly key: Uint8Array;
  valueHash: Uint8Array;
  hash: Uint8Array | undefined;
}

/** The subtree of a group whose nodes have not been made. */
interface Group {
  kind: "group";
  /** What all its keys begin with: all but their last byte. */
  readonly key: Uint8Array;
  readonly hash: Uint8Array;
}

interface Fork {
  kind: "fork";
  /** Index of the first bit in which keys below differ; bit 0 is the highest of the first byte. */
  readonly bit: number;
  left: TrieNode;
  right: TrieNode;
  /** undefined while something below has changed. */
  hash: Uint8Array | undefined;
}

class CritBitTrie implements StateTrie {
  readonly #groupedTypes: GroupedTypes;
  /** undefined if there are no groups to open. */
  readonly #source: TrieSource | undefined;
  #top: TrieNode | undefined;

  constructor(nodes: Iterable<End>, groupedTypes: GroupedTypes, source: TrieSource | undefined) {
    this.#groupedTypes = groupedTypes;
    this.#source = source;
    this.#top = trieOf(nodes);
  }

  root(): Uint8Array {
    return this.#top === undefined ? emptyStateRoot() : hashOf(this.#top);
  }

  *derived(): Iterable<StateWrite> {
    const groups = new Map<string, Uint8Array>();
    const pending = this.#top === undefined ? [] : [this.#top];
    for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
      if (node.kind === "fork") pending.push(node.right, node.left);
      else {
        assert(node.kind === "leaf", "all nodes have been made");
        this.#addGroup(groups, node.key);
        yield { key: node.key, value: node.valueHash };
      }
    }
    for (const group of groups.values()) yield this.#groupHash(group);
  }

  apply(writes: readonly StateWrite[]): TrieUpdate {
    const derived: StateWrite[] = [];
    const groups = new Map<string, Uint8Array>();
    for (const { key } of writes) this.#addGroup(groups, key);
    for (const group of groups.values()) derived.push(...this.#open(group));
    for (const { key, value } of writes) {
      const valueHash = value === undefined ? undefined : sha256(value);
      if (valueHash === undefined) this.#delete(key);
      else this.#put(key, valueHash);
      derived.push({ key, value: valueHash });
    }
    const root = this.root();
    for (const group of groups.values()) derived.push(this.#groupHash(group));
    return { root, derived };
  }

  /** Notes the group of a key, if it belongs to one. */
  #addGroup(groups: Map<string, Uint8Array>, key: Uint8Array): void {
    if (!this.#groupedTypes.has(key[0]!)) return;
    const group = key.subarray(0, -1);
    const name = group.toHex();
    if (!groups.has(name)) groups.set(name, group.slice());
  }

  /** Makes the nodes of a group, if that has not been done. What is to be kept of them and was lost. */
  #open(group: Uint8Array): StateWrite[] {
    let above: Fork | undefined;
    let node = this.#top;
    while (node?.kind === "fork") {
      above = node;
      node = childOf(node, group);
    }
    if (node?.kind !== "group" || !equalBytes(node.key, group)) return [];
    const { view, derived, path } = present(this.#source);
    const nodes = trieOf(leavesOf(derived.range(group)));
    if (nodes !== undefined && equalBytes(hashOf(nodes), node.hash)) {
      this.#replace(above, group, nodes);
      return [];
    }
    const entries = [...hashedEntries(view, group)];
    const rebuilt = trieOf(leavesOf(entries));
    if (rebuilt === undefined || !equalBytes(hashOf(rebuilt), node.hash)) {
      const what = `the values at keys ${formatHex(group)}.. are not what was stored`;
      throw new StoreError({ code: "store/damaged", path, what });
    }
    this.#replace(above, group, rebuilt);
    return entries.map(([key, value]) => ({ key, value }));
  }

  /** What is kept of a group whose nodes are there: its hash, or nothing if it has no keys. */
  #groupHash(group: Uint8Array): StateWrite {
    let node = this.#top;
    while (node?.kind === "fork" && node.bit < group.length * 8) node = childOf(node, group);
    const first = node && firstKey(node).subarray(0, group.length);
    const isThere = first !== undefined && equalBytes(first, group);
    return { key: markedGroup(group), value: isThere ? hashOf(present(node)) : undefined };
  }

  #put(key: Uint8Array, valueHash: Uint8Array): void {
    if (this.#top === undefined) {
      this.#top = { kind: "leaf", key: key.slice(), valueHash, hash: undefined };
      return;
    }
    const nearest = this.#nearestEnd(key);
    if (nearest.kind === "leaf" && equalBytes(nearest.key, key)) {
      this.#touch(key);
      nearest.valueHash = valueHash;
      nearest.hash = undefined;
      return;
    }
    this.#insert(
      { kind: "leaf", key: key.slice(), valueHash, hash: undefined },
      firstDifferentBit(nearest.key, key),
    );
  }

  #insert(leaf: Leaf, bit: number): void {
    let above: Fork | undefined;
    let node = present(this.#top);
    while (node.kind === "fork" && node.bit < bit) {
      node.hash = undefined;
      above = node;
      node = childOf(node, leaf.key);
    }
    const isRight = bitOf(leaf.key, bit);
    const fork: Fork = {
      kind: "fork",
      bit,
      left: isRight ? node : leaf,
      right: isRight ? leaf : node,
      hash: undefined,
    };
    this.#replace(above, leaf.key, fork);
  }

  #delete(key: Uint8Array): void {
    if (this.#top === undefined || !equalBytes(this.#nearestEnd(key).key, key)) return;
    let grandparent: Fork | undefined;
    let parent: Fork | undefined;
    let node: TrieNode = this.#top;
    while (node.kind === "fork") {
      node.hash = undefined;
      grandparent = parent;
      parent = node;
      node = childOf(node, key);
    }
    if (parent === undefined) this.#top = undefined;
    else this.#replace(grandparent, key, parent.left === node ? parent.right : parent.left);
  }

  /** Puts `node` where the path of `key` leaves `above` (the top if undefined). */
  #replace(above: Fork | undefined, key: Uint8Array, node: TrieNode): void {
    if (above === undefined) this.#top = node;
    else if (bitOf(key, above.bit)) above.right = node;
    else above.left = node;
  }

  /** Where the bits of `key` lead: to `key` itself if it is there. */
  #nearestEnd(key: Uint8Array): End {
    let node = present(this.#top);
    while (node.kind === "fork") node = childOf(node, key);
    return node;
  }

  #touch(key: Uint8Array): void {
    let node = present(this.#top);
    while (node.kind === "fork") {
      node.hash = undefined;
      node = childOf(node, key);
    }
  }
}

/** Leaves and groups from what is kept, ascending by key: type after type, since groups lie apart. */
function* storedNodes(
  derived: Pick<StateView, "range">,
  groupedTypes: GroupedTypes,
): Iterable<End> {
  for (let type = 1; type <= 0xff; type++) {
    if (!groupedTypes.has(type)) yield* leavesOf(derived.range(Uint8Array.of(type)));
    else
      for (const [key, hash] of derived.range(Uint8Array.of(GROUP_MARK, type))) {
        assert(hash.length === HASH_BYTES, "derived data holds hashes");
        yield { kind: "group", key: key.subarray(1), hash };
      }
  }
}

function* leavesOf(entries: Iterable<HashEntry>): Iterable<Leaf> {
  for (const [key, valueHash] of entries) {
    assert(valueHash.length === HASH_BYTES, "derived data holds hashes");
    yield { kind: "leaf", key, valueHash, hash: undefined };
  }
}

function* hashedEntries(view: Pick<StateView, "range">, prefix: Uint8Array): Iterable<HashEntry> {
  for (const [key, value] of view.range(prefix)) yield [key, sha256(value)];
}

/** The trie of leaves and groups that come in ascending order: each is added below the rightmost path. */
function trieOf(nodes: Iterable<End>): TrieNode | undefined {
  const spine: Fork[] = [];
  let last: End | undefined;
  for (const node of nodes) {
    if (last !== undefined) {
      assert(compareBytes(last.key, node.key) < 0, "keys ascend");
      const bit = firstDifferentBit(last.key, node.key);
      let below: TrieNode = last;
      while (spine.length > 0 && spine[spine.length - 1]!.bit > bit) below = spine.pop()!;
      const fork: Fork = { kind: "fork", bit, left: below, right: node, hash: undefined };
      const above = spine[spine.length - 1];
      if (above !== undefined) above.right = fork;
      spine.push(fork);
    }
    last = node;
  }
  return spine[0] ?? last;
}

function markedGroup(group: Uint8Array): Uint8Array {
  return concatBytes(Uint8Array.of(GROUP_MARK), group);
}

function firstKey(node: TrieNode): Uint8Array {
  let first = node;
  while (first.kind === "fork") first = first.left;
  return first.key;
}

function childOf(fork: Fork, key: Uint8Array): TrieNode {
  return bitOf(key, fork.bit) ? fork.right : fork.left;
}

/** Bit of a key; past its end 0, which only a lookup of an absent key can ask for. */
function bitOf(key: Uint8Array, bit: number): boolean {
  return (((key[bit >>> 3] ?? 0) >>> (7 - (bit & 7))) & 1) === 1;
}

function firstDifferentBit(left: Uint8Array, right: Uint8Array): number {
  const length = Math.min(left.length, right.length);
  for (let i = 0; i < length; i++) {
    const difference = left[i]! ^ right[i]!;
    if (difference !== 0) return i * 8 + Math.clz32(difference) - 24;
  }
  assert(false, "state keys are prefix-free");
}

/** Preimage of a fork's hash, used again and again: a large state has hundreds of thousands. */
const forkPreimage: Uint8Array = new Uint8Array(1 + 2 * HASH_BYTES);
forkPreimage[0] = TAG_FORK;

/** Hash of a subtree. The depth is at most the bits of a key, so recursion is bounded. */
function hashOf(node: TrieNode): Uint8Array {
  if (node.kind === "group") return node.hash;
  if (node.hash !== undefined) return node.hash;
  if (node.kind === "leaf") node.hash = sha256(leafPreimage(node));
  else {
    const left = hashOf(node.left);
    const right = hashOf(node.right);
    forkPreimage.set(left, 1);
    forkPreimage.set(right, 1 + HASH_BYTES);
    node.hash = sha256(forkPreimage);
  }
  return node.hash;
}

/** Tag, length of the key as u32 big-endian, key, hash of the value. */
function leafPreimage({ key, valueHash }: Leaf): Uint8Array {
  const { length } = key;
  const preimage = new Uint8Array(5 + length + HASH_BYTES);
  preimage[0] = TAG_LEAF;
  preimage[1] = length >>> 24;
  preimage[2] = length >>> 16;
  preimage[3] = length >>> 8;
  preimage[4] = length;
  preimage.set(key, 5);
  preimage.set(valueHash, 5 + length);
  return preimage;
}
