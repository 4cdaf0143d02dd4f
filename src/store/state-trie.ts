// The state root (docs/spec/07-state-root.md): a binary Merkle trie over the bits of the keys of
// replicated state, updated in place. Holds one hash a node and the keys, never values. Where the
// value hashes are kept between runs is the caller's matter (`derived`).

import { assert, compareBytes, present } from "gyrotron/base";
import { sha256 } from "gyrotron/crypto";
import type { StateView, StateWrite } from "./contract.ts";

/** What one block does to the trie. */
export interface TrieUpdate {
  root: Uint8Array;
  /** Leaf value hashes to persist, by state key; a delete where the key is gone. */
  derived: StateWrite[];
}

/** The trie of one state. */
export interface StateTrie {
  readonly leafCount: number;
  root(): Uint8Array;
  /** The value hashes of all leaves, ascending by key: what a lost `derived` held. */
  derived(): Iterable<StateWrite>;
  /** Applies puts and deletes in order. Cost: the keys written, times their depth. */
  apply(writes: readonly StateWrite[]): TrieUpdate;
}

/** Trie from the persisted value hashes: linear, no value is read. */
export function loadStateTrie(derived: Pick<StateView, "range">): StateTrie {
  return new CritBitTrie(derived.range(new Uint8Array(0)));
}

/** Trie from the values themselves, for a state without (trustworthy) derived data. */
export function rebuildStateTrie(view: Pick<StateView, "range">): StateTrie {
  return new CritBitTrie(hashedEntries(view));
}

/** Root of the state without keys. */
export function emptyStateRoot(): Uint8Array {
  return sha256(Uint8Array.of(TAG_EMPTY));
}

const TAG_LEAF = 0;
const TAG_FORK = 1;
const TAG_EMPTY = 2;
const HASH_BYTES = 32;

type TrieNode = Leaf | Fork;

interface Leaf {
  kind: "leaf";
  readonly key: Uint8Array;
  valueHash: Uint8Array;
  hash: Uint8Array | undefined;
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
  #top: TrieNode | undefined;
  leafCount = 0;

  /** @param entries keys with value hashes, ascending by key */
  constructor(entries: Iterable<readonly [key: Uint8Array, valueHash: Uint8Array]>) {
    const spine: Fork[] = [];
    let last: Leaf | undefined;
    for (const [key, valueHash] of entries) {
      assert(valueHash.length === HASH_BYTES, "derived data holds hashes");
      const leaf: Leaf = { kind: "leaf", key, valueHash, hash: undefined };
      this.#append(spine, last, leaf);
      last = leaf;
      this.leafCount++;
    }
  }

  root(): Uint8Array {
    return this.#top === undefined ? emptyStateRoot() : hashOf(this.#top);
  }

  *derived(): Iterable<StateWrite> {
    const pending = this.#top === undefined ? [] : [this.#top];
    for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
      if (node.kind === "leaf") yield { key: node.key, value: node.valueHash };
      else pending.push(node.right, node.left);
    }
  }

  apply(writes: readonly StateWrite[]): TrieUpdate {
    const derived: StateWrite[] = [];
    for (const { key, value } of writes) {
      const valueHash = value === undefined ? undefined : sha256(value);
      if (valueHash === undefined) this.#delete(key);
      else this.#put(key, valueHash);
      derived.push({ key, value: valueHash });
    }
    return { root: this.root(), derived };
  }

  /** Adds the leaf with the greatest key so far below the rightmost path. */
  #append(spine: Fork[], last: Leaf | undefined, leaf: Leaf): void {
    if (last === undefined) {
      this.#top = leaf;
      return;
    }
    assert(compareBytes(last.key, leaf.key) < 0, "keys ascend");
    const bit = firstDifferentBit(last.key, leaf.key);
    let below: TrieNode = last;
    while (spine.length > 0 && spine[spine.length - 1]!.bit > bit) below = spine.pop()!;
    const fork: Fork = { kind: "fork", bit, left: below, right: leaf, hash: undefined };
    const above = spine[spine.length - 1];
    if (above === undefined) this.#top = fork;
    else above.right = fork;
    spine.push(fork);
  }

  #put(key: Uint8Array, valueHash: Uint8Array): void {
    if (this.#top === undefined) {
      this.#top = { kind: "leaf", key: key.slice(), valueHash, hash: undefined };
      this.leafCount++;
      return;
    }
    const nearest = this.#nearestLeaf(key);
    if (compareBytes(nearest.key, key) === 0) {
      this.#touch(key);
      nearest.valueHash = valueHash;
      nearest.hash = undefined;
      return;
    }
    this.#insert(
      { kind: "leaf", key: key.slice(), valueHash, hash: undefined },
      firstDifferentBit(nearest.key, key),
    );
    this.leafCount++;
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
    if (this.#top === undefined || compareBytes(this.#nearestLeaf(key).key, key) !== 0) return;
    let grandparent: Fork | undefined;
    let parent: Fork | undefined;
    let node: TrieNode = this.#top;
    while (node.kind === "fork") {
      node.hash = undefined;
      grandparent = parent;
      parent = node;
      node = childOf(node, key);
    }
    this.leafCount--;
    if (parent === undefined) this.#top = undefined;
    else this.#replace(grandparent, key, parent.left === node ? parent.right : parent.left);
  }

  /** Puts `node` where the path of `key` leaves `above` (the top if undefined). */
  #replace(above: Fork | undefined, key: Uint8Array, node: TrieNode): void {
    if (above === undefined) this.#top = node;
    else if (bitOf(key, above.bit)) above.right = node;
    else above.left = node;
  }

  /** The leaf where the bits of `key` lead: `key` itself if it is there. */
  #nearestLeaf(key: Uint8Array): Leaf {
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

function* hashedEntries(
  view: Pick<StateView, "range">,
): Iterable<readonly [Uint8Array, Uint8Array]> {
  for (const [key, value] of view.range(new Uint8Array(0))) yield [key, sha256(value)];
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

/** Preimage of a fork's hash, used again and again: a start hashes hundreds of thousands. */
const forkPreimage: Uint8Array = new Uint8Array(1 + 2 * HASH_BYTES);
forkPreimage[0] = TAG_FORK;

/** Hash of a subtree. The depth is at most the bits of a key, so recursion is bounded. */
function hashOf(node: TrieNode): Uint8Array {
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
