// Hash trees as clients see them (IC interface, "certification"): the five kinds of nodes, their
// CBOR form, the root hash, and lookup. Owns no mutable state; the node's own tree is label-trie.ts.

import { compareBytes, concatBytes, DecodeError, utf8Bytes } from "gyrotron/base";
import type { CborValue } from "gyrotron/crypto";
import { decodeCbor, domainSeparator, encodeSelfDescribedCbor, sha256 } from "gyrotron/crypto";

/** Empty, fork, labelled subtree, leaf, or pruned subtree, laid out as in CBOR. */
export type HashTree =
  | readonly [0]
  | readonly [1, HashTree, HashTree]
  | readonly [2, Uint8Array, HashTree]
  | readonly [3, Uint8Array]
  | readonly [4, Uint8Array];

/** What a (pruned) tree proves about a path. */
export type LookupResult =
  | { kind: "found"; value: Uint8Array }
  | { kind: "absent" }
  | { kind: "unknown" }
  /** The path leads to a subtree, not to a leaf. */
  | { kind: "error" };

export const EMPTY_TREE: HashTree = [0];

/** How deep a received tree may nest: far more than any tree of ours, and safe for recursion. */
export const TREE_DEPTH_MAX = 512;
const HASH_BYTES = 32;
const SEPARATOR_EMPTY = domainSeparator("ic-hashtree-empty");
const SEPARATOR_FORK = domainSeparator("ic-hashtree-fork");
const SEPARATOR_LABELED = domainSeparator("ic-hashtree-labeled");
const SEPARATOR_LEAF = domainSeparator("ic-hashtree-leaf");

const forkBytes = concatBytes(SEPARATOR_FORK, new Uint8Array(2 * HASH_BYTES));

/** Hash of a tree without any node. */
export const EMPTY_TREE_HASH: Uint8Array = sha256(SEPARATOR_EMPTY);

/** Hash of a fork; most hashes of a block are of forks, hence the one buffer. */
export function hashFork(left: Uint8Array, right: Uint8Array): Uint8Array {
  forkBytes.set(left, SEPARATOR_FORK.length);
  forkBytes.set(right, SEPARATOR_FORK.length + HASH_BYTES);
  return sha256(forkBytes);
}

export function hashLabeled(label: Uint8Array, subtree: Uint8Array): Uint8Array {
  return sha256(SEPARATOR_LABELED, label, subtree);
}

export function hashLeaf(value: Uint8Array): Uint8Array {
  return sha256(SEPARATOR_LEAF, value);
}

/** Root hash of a tree, pruned or not. */
export function hashOfTree(tree: HashTree): Uint8Array {
  switch (tree[0]) {
    case 0:
      return EMPTY_TREE_HASH;
    case 1:
      return hashFork(hashOfTree(tree[1]), hashOfTree(tree[2]));
    case 2:
      return hashLabeled(tree[1], hashOfTree(tree[2]));
    case 3:
      return hashLeaf(tree[1]);
    case 4:
      return tree[1];
  }
}

/** CBOR of a tree behind the self-describing tag. */
export function encodeHashTree(tree: HashTree): Uint8Array {
  return encodeSelfDescribedCbor(tree);
}

/** @throws DecodeError `cbor/decode` or `hash-tree/decode` */
export function decodeHashTree(bytes: Uint8Array): HashTree {
  return hashTreeFromCbor(decodeCbor(bytes, { depthMax: TREE_DEPTH_MAX }));
}

/** The tree that a decoded CBOR value describes. @throws DecodeError `hash-tree/decode`; labels need not be sorted, lookups check that */
export function hashTreeFromCbor(value: CborValue | undefined): HashTree {
  if (!Array.isArray(value)) throw malformed("node is not an array");
  const [tag, first, second] = value;
  const arity = value.length;
  if (tag === 0n && arity === 1) return EMPTY_TREE;
  if (tag === 1n && arity === 3) return [1, hashTreeFromCbor(first), hashTreeFromCbor(second)];
  if (tag === 2n && arity === 3 && first instanceof Uint8Array)
    return [2, first, hashTreeFromCbor(second)];
  if (tag === 3n && arity === 2 && first instanceof Uint8Array) return [3, first];
  if (tag === 4n && arity === 2 && first instanceof Uint8Array && first.length === HASH_BYTES)
    return [4, first];
  throw malformed("unknown kind of node");
}

/** Looks a leaf up; anything the tree does not prove is `unknown`. */
export function lookupPath(tree: HashTree, path: readonly Uint8Array[]): LookupResult {
  const found = lookupSubtree(tree, path);
  if (found.kind !== "found") return found;
  const node = found.tree;
  if (node[0] === 3) return { kind: "found", value: node[1] };
  if (node[0] === 0) return { kind: "absent" };
  return node[0] === 4 ? { kind: "unknown" } : { kind: "error" };
}

/** Looks the subtree at a path up. */
export function lookupSubtree(
  tree: HashTree,
  path: readonly Uint8Array[],
): { kind: "found"; tree: HashTree } | { kind: "absent" } | { kind: "unknown" } {
  let current = tree;
  for (const label of path) {
    const step = findLabel(current, label);
    if (step.kind !== "found") return step;
    current = step.tree;
  }
  return { kind: "found", tree: current };
}

/** One level of a lookup: the label itself, or the revealed neighbours that rule it out. */
function findLabel(
  level: HashTree,
  label: Uint8Array,
): { kind: "found"; tree: HashTree } | { kind: "absent" } | { kind: "unknown" } {
  if (level[0] === 4) return { kind: "unknown" };
  let wasPruned = false; // directly left of the node looked at
  for (const node of levelNodes(level)) {
    if (node[0] === 4) {
      wasPruned = true;
      continue;
    }
    if (node[0] !== 2) continue;
    const order = compareBytes(label, node[1]);
    if (order === 0) return { kind: "found", tree: node[2] };
    if (order < 0) return { kind: wasPruned ? "unknown" : "absent" };
    wasPruned = false;
  }
  return { kind: wasPruned ? "unknown" : "absent" };
}

/** Nodes of one level from left to right. */
function levelNodes(level: HashTree): HashTree[] {
  if (level[0] !== 1) return level[0] === 0 ? [] : [level];
  return [...levelNodes(level[1]), ...levelNodes(level[2])];
}

/** All labels that a level reveals, in order. */
export function revealedLabels(level: HashTree): Uint8Array[] {
  return levelNodes(level).flatMap((node) => (node[0] === 2 ? [node[1]] : []));
}

function malformed(what: string): DecodeError {
  return new DecodeError({ code: "hash-tree/decode", what, offset: 0 });
}

/** Path of labels from texts and bytes. */
export function treePath(...labels: readonly (string | Uint8Array)[]): Uint8Array[] {
  return labels.map((label) => (typeof label === "string" ? utf8Bytes(label) : label));
}
