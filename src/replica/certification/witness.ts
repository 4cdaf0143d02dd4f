// Pruned trees: from the full tree and the paths that a reader may see, the smallest tree with the
// same root hash that proves what is at those paths, or that nothing is there.

import type { HashTree } from "./hash-tree.ts";
import { EMPTY_TREE } from "./hash-tree.ts";
import type { Tree, TrieNode } from "./label-trie.ts";
import { bitAt, findEntry, neighbours, treeHash, trieHash } from "./label-trie.ts";

/**
 * The tree pruned to `paths`. A path that ends at a subtree reveals all of it; an absent label
 * reveals its two neighbours as labels over pruned subtrees, which proves the absence.
 */
export function createWitness(tree: Tree, paths: readonly (readonly Uint8Array[])[]): HashTree {
  return prunedTree(tree, selectionOf(paths));
}

/** What to reveal below a node: everything, or only these labels (keyed by hex). */
type Selection = { all: boolean; labels: Map<string, { label: Uint8Array; below: Selection }> };

function selectionOf(paths: readonly (readonly Uint8Array[])[]): Selection {
  const root: Selection = { all: false, labels: new Map() };
  for (const path of paths) {
    let current = root;
    for (const label of path) {
      const key = label.toHex();
      let next = current.labels.get(key);
      if (next === undefined) {
        next = { label, below: { all: false, labels: new Map() } };
        current.labels.set(key, next);
      }
      current = next.below;
    }
    current.all = true;
  }
  return root;
}

function prunedTree(tree: Tree, selection: Selection): HashTree {
  if (selection.all) return fullTree(tree);
  if (tree.kind === "leaf")
    return selection.labels.size === 0 ? [4, treeHash(tree)] : [3, tree.value];
  if (tree.root === undefined) return EMPTY_TREE;
  const revealed = new Map<string, Revealed>();
  for (const [key, { label, below }] of selection.labels) {
    const entry = findEntry(tree.root, label);
    if (entry !== undefined) {
      revealed.set(key, { label, tree: prunedTree(entry.child, below) });
      continue;
    }
    for (const near of neighbours(tree.root, label)) {
      const nearKey = near.label.toHex();
      // A neighbour that is itself selected is revealed with its content, whichever comes first.
      if (selection.labels.has(nearKey)) continue;
      revealed.set(nearKey, { label: near.label, tree: [4, treeHash(near.child)] });
    }
  }
  return prunedTrie(tree.root, [...revealed.values()]);
}

/** A label of the level and what is shown below it. */
type Revealed = { label: Uint8Array; tree: HashTree };

/** A trie with only `revealed` in view; all of them are labels of this trie. Cost: revealed labels times depth. */
function prunedTrie(node: TrieNode, revealed: readonly Revealed[]): HashTree {
  const [first] = revealed;
  if (first === undefined) return [4, trieHash(node)];
  if (node.kind === "entry") return [2, first.label, first.tree];
  const left = revealed.filter(({ label }) => bitAt(label, node.bit) === 0);
  const right = revealed.filter(({ label }) => bitAt(label, node.bit) === 1);
  return [1, prunedTrie(node.left, left), prunedTrie(node.right, right)];
}

function fullTree(tree: Tree): HashTree {
  if (tree.kind === "leaf") return [3, tree.value];
  return tree.root === undefined ? EMPTY_TREE : fullTrie(tree.root);
}

function fullTrie(node: TrieNode): HashTree {
  if (node.kind === "entry") return [2, node.label, fullTree(node.child)];
  return [1, fullTrie(node.left), fullTrie(node.right)];
}
