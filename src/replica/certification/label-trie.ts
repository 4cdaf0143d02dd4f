// The node's own tree: persistent, labelled, with cached hashes. Every level is a crit-bit trie over
// the bits of its labels, so its shape, and with it the root hash, depends only on what the level
// holds and never on the order of changes (spec 07 §3). A change copies one way from the root; the
// rest is shared, so an old version stays valid for readers.

import { assert, equalBytes } from "gyrotron/base";
import { EMPTY_TREE_HASH, hashFork, hashLabeled, hashLeaf } from "./hash-tree.ts";

/** A subtree: a leaf with a value, or a level of labels (perhaps none). */
export type Tree = LeafNode | Level;

export interface LeafNode {
  readonly kind: "leaf";
  readonly value: Uint8Array;
  hash: Uint8Array | undefined;
}

export interface Level {
  readonly kind: "level";
  readonly root: TrieNode | undefined;
}

/** A node of one level's trie. */
export type TrieNode = Fork | Entry;

export interface Fork {
  readonly kind: "fork";
  /** First bit in which the labels on the left (0) and on the right (1) differ. */
  readonly bit: number;
  readonly left: TrieNode;
  readonly right: TrieNode;
  hash: Uint8Array | undefined;
}

export interface Entry {
  readonly kind: "entry";
  readonly label: Uint8Array;
  readonly child: Tree;
  hash: Uint8Array | undefined;
}

export const EMPTY_LEVEL: Level = { kind: "level", root: undefined };

export function createLeaf(value: Uint8Array): LeafNode {
  return { kind: "leaf", value, hash: undefined };
}

/** A level from its entries, in any order; a label may appear once only. */
export function createLevel(entries: Iterable<readonly [label: Uint8Array, child: Tree]>): Level {
  let root: TrieNode | undefined;
  for (const [label, child] of entries) {
    assert(findEntry(root, label) === undefined, "a label appears twice in one level");
    root = withEntry(root, createEntry(label, child));
  }
  return { kind: "level", root };
}

/** The subtree at a path, or undefined. */
export function getTree(tree: Tree, path: readonly Uint8Array[]): Tree | undefined {
  let current: Tree | undefined = tree;
  for (const label of path) {
    if (current?.kind !== "level") return undefined;
    current = findEntry(current.root, label)?.child;
  }
  return current;
}

/** A copy of `level` with `child` at `path`; levels on the way appear as needed. */
export function withTree(level: Level, path: readonly Uint8Array[], child: Tree): Level {
  const [label, ...rest] = path;
  assert(label !== undefined, "a path has at least one label");
  if (rest.length === 0)
    return { kind: "level", root: withEntry(level.root, createEntry(label, child)) };
  const below = findEntry(level.root, label)?.child ?? EMPTY_LEVEL;
  assert(below.kind === "level", "a leaf has no labels below it");
  return {
    kind: "level",
    root: withEntry(level.root, createEntry(label, withTree(below, rest, child))),
  };
}

/** A copy of `level` with nothing at `path`; a level left empty stays. */
export function withoutTree(level: Level, path: readonly Uint8Array[]): Level {
  const [label, ...rest] = path;
  assert(label !== undefined, "a path has at least one label");
  const entry = findEntry(level.root, label);
  if (entry === undefined) return level;
  if (rest.length === 0) return { kind: "level", root: withoutEntry(level.root, label) };
  assert(entry.child.kind === "level", "a leaf has no labels below it");
  return {
    kind: "level",
    root: withEntry(level.root, createEntry(label, withoutTree(entry.child, rest))),
  };
}

/** Root hash; computed once per node and kept. */
export function treeHash(tree: Tree): Uint8Array {
  if (tree.kind === "leaf") return (tree.hash ??= hashLeaf(tree.value));
  return tree.root === undefined ? EMPTY_TREE_HASH : trieHash(tree.root);
}

export function trieHash(node: TrieNode): Uint8Array {
  if (node.kind === "entry") return (node.hash ??= hashLabeled(node.label, treeHash(node.child)));
  return (node.hash ??= hashFork(trieHash(node.left), trieHash(node.right)));
}

/** The entry with exactly this label. */
export function findEntry(root: TrieNode | undefined, label: Uint8Array): Entry | undefined {
  if (root === undefined) return undefined;
  const candidate = nearestEntry(root, label);
  return equalBytes(candidate.label, label) ? candidate : undefined;
}

/** The entries next to a label that is absent: the last before it and the first after it. */
export function neighbours(root: TrieNode | undefined, label: Uint8Array): Entry[] {
  if (root === undefined) return [];
  const critical = criticalBit(nearestEntry(root, label).label, label);
  assert(critical !== undefined, "the label is present");
  let before: TrieNode | undefined;
  let after: TrieNode | undefined;
  let node: TrieNode = root;
  // Down to where the label would be inserted, remembering the nearest turns to either side.
  while (node.kind === "fork" && node.bit < critical) {
    if (bitAt(label, node.bit) === 0) {
      after = node.right;
      node = node.left;
    } else {
      before = node.left;
      node = node.right;
    }
  }
  if (bitAt(label, critical) === 0) after = node;
  else before = node;
  const found: Entry[] = [];
  if (before !== undefined) found.push(lastEntry(before));
  if (after !== undefined) found.push(firstEntry(after));
  return found;
}

/** All entries of a trie in label order. */
export function* entriesOf(root: TrieNode | undefined): Generator<Entry> {
  if (root === undefined) return;
  if (root.kind === "entry") {
    yield root;
    return;
  }
  yield* entriesOf(root.left);
  yield* entriesOf(root.right);
}

function createEntry(label: Uint8Array, child: Tree): Entry {
  return { kind: "entry", label, child, hash: undefined };
}

function createFork(bit: number, left: TrieNode, right: TrieNode): Fork {
  return { kind: "fork", bit, left, right, hash: undefined };
}

function withEntry(root: TrieNode | undefined, entry: Entry): TrieNode {
  if (root === undefined) return entry;
  return inserted(root, entry, criticalBit(nearestEntry(root, entry.label).label, entry.label));
}

/** `critical` is the first bit in which the label differs from its nearest; undefined: replace that one. */
function inserted(node: TrieNode, entry: Entry, critical: number | undefined): TrieNode {
  if (node.kind === "fork" && (critical === undefined || node.bit < critical)) {
    return bitAt(entry.label, node.bit) === 0
      ? createFork(node.bit, inserted(node.left, entry, critical), node.right)
      : createFork(node.bit, node.left, inserted(node.right, entry, critical));
  }
  if (critical === undefined) return entry;
  return bitAt(entry.label, critical) === 0
    ? createFork(critical, entry, node)
    : createFork(critical, node, entry);
}

/** The label is known to be present. */
function withoutEntry(node: TrieNode | undefined, label: Uint8Array): TrieNode | undefined {
  if (node === undefined || node.kind === "entry") return undefined;
  const isLeft = bitAt(label, node.bit) === 0;
  const kept = withoutEntry(isLeft ? node.left : node.right, label);
  if (kept === undefined) return isLeft ? node.right : node.left;
  return isLeft ? createFork(node.bit, kept, node.right) : createFork(node.bit, node.left, kept);
}

/** The entry that the label's bits lead to: equal to it, or sharing the longest known prefix. */
function nearestEntry(root: TrieNode, label: Uint8Array): Entry {
  let node = root;
  while (node.kind === "fork") node = bitAt(label, node.bit) === 0 ? node.left : node.right;
  return node;
}

function firstEntry(root: TrieNode): Entry {
  let node = root;
  while (node.kind === "fork") node = node.left;
  return node;
}

function lastEntry(root: TrieNode): Entry {
  let node = root;
  while (node.kind === "fork") node = node.right;
  return node;
}

/** Bits of a label: for every byte a 1 and the byte, then zeros for ever. So no label is a prefix of another. */
const BITS_PER_BYTE = 9;

/** The bit that a fork at `bit` turns on. */
export function bitAt(label: Uint8Array, bit: number): number {
  const rest = bit % BITS_PER_BYTE;
  const byte = label[(bit - rest) / BITS_PER_BYTE];
  if (byte === undefined) return 0;
  return rest === 0 ? 1 : (byte >> (8 - rest)) & 1;
}

/** Index of the first bit in which two labels differ, or undefined if they are equal. */
function criticalBit(left: Uint8Array, right: Uint8Array): number | undefined {
  const length = Math.max(left.length, right.length);
  for (let i = 0; i < length; i++) {
    const a = left[i];
    const b = right[i];
    if (a === undefined || b === undefined) return i * BITS_PER_BYTE;
    if (a !== b) return i * BITS_PER_BYTE + 1 + Math.clz32(a ^ b) - 24;
  }
  return undefined;
}
