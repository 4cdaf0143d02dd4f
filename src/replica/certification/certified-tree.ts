// The tree that the network signs: which records are in it, how it follows the state block by block,
// and reading it. Derived from replicated state and header time; never part of state itself.
// Owns no key and no signature: certificate.ts does those.

import { assert } from "gyrotron/base";
import type { HashTree } from "./hash-tree.ts";
import { treePath } from "./hash-tree.ts";
import type { Level } from "./label-trie.ts";
import {
  createLeaf,
  EMPTY_LEVEL,
  entriesOf,
  getTree,
  treeHash,
  withoutTree,
  withTree,
} from "./label-trie.ts";
import type { CanisterPublicInfo, IngressStatus, SubnetInfo, SubnetMetrics } from "./records.ts";
import {
  canisterRangesTree,
  canisterTree,
  ingressStatusTree,
  metricsLeaf,
  natLeaf,
  subnetTree,
} from "./records.ts";
import { createWitness } from "./witness.ts";

/** One record put (or, where the value is undefined, removed). */
export type TreeChange =
  | { kind: "request"; id: Uint8Array; status?: IngressStatus | undefined }
  | { kind: "canister"; id: Uint8Array; info?: CanisterPublicInfo | undefined }
  | {
      kind: "subnet";
      id: Uint8Array;
      info?: SubnetInfo | undefined;
      metrics?: SubnetMetrics | undefined;
    }
  /** Of a subnet that is in the tree. */
  | { kind: "subnetMetrics"; id: Uint8Array; metrics: SubnetMetrics | undefined };

/** One signed version of the tree, unaffected by later changes. */
export interface CertifiedSnapshot {
  readonly timeNs: bigint;
  readonly rootHash: Uint8Array;
  /** The tree pruned to `paths` and `/time`. */
  witness(paths: readonly (readonly Uint8Array[])[]): HashTree;
  /** Value of the leaf at a path, if there is one. */
  leaf(path: readonly Uint8Array[]): Uint8Array | undefined;
  /** Labels directly below a path, in order; none if there is no level. */
  labels(path: readonly Uint8Array[]): Uint8Array[];
}

const TIME = treePath("time");
const STATE_ROOT = treePath("gyrotron");

/** The live tree: changes go in block by block, snapshots come out. */
export class CertifiedTree {
  #root: Level = EMPTY_LEVEL;
  #snapshot: CertifiedSnapshot | undefined;

  /** Applies the records that a block changed, in order. Logarithmic in the size of the tree for each. */
  apply(changes: readonly TreeChange[]): void {
    for (const change of changes) this.#root = applied(this.#root, change);
  }

  /** Sets time and state root, and gives the hash to sign. */
  root(timeNs: bigint, stateRoot: Uint8Array): Uint8Array {
    this.#root = withTree(this.#root, TIME, natLeaf(timeNs));
    this.#root = withTree(this.#root, STATE_ROOT, createLeaf(stateRoot));
    this.#snapshot = createSnapshot(this.#root, timeNs);
    return this.#snapshot.rootHash;
  }

  /** The version that the last `root` hashed. */
  snapshot(): CertifiedSnapshot {
    assert(this.#snapshot !== undefined, "the tree has no root yet");
    return this.#snapshot;
  }

  /** Pruned tree of the version that the last `root` hashed. */
  witness(paths: readonly (readonly Uint8Array[])[]): HashTree {
    return this.snapshot().witness(paths);
  }
}

function createSnapshot(root: Level, timeNs: bigint): CertifiedSnapshot {
  return {
    timeNs,
    rootHash: treeHash(root),
    witness: (paths) => createWitness(root, [TIME, ...paths]),
    leaf(path) {
      const node = getTree(root, path);
      return node?.kind === "leaf" ? node.value : undefined;
    },
    labels(path) {
      const node = getTree(root, path);
      return node?.kind === "level" ? [...entriesOf(node.root)].map(({ label }) => label) : [];
    },
  };
}

function applied(root: Level, change: TreeChange): Level {
  switch (change.kind) {
    case "request": {
      const path = treePath("request_status", change.id);
      return change.status === undefined
        ? withoutTree(root, path)
        : withTree(root, path, ingressStatusTree(change.status));
    }
    case "canister": {
      const path = treePath("canister", change.id);
      return change.info === undefined
        ? withoutTree(root, path)
        : withTree(root, path, canisterTree(change.info));
    }
    case "subnetMetrics": {
      const path = treePath("subnet", change.id, "metrics");
      return change.metrics === undefined
        ? withoutTree(root, path)
        : withTree(root, path, metricsLeaf(change.metrics));
    }
    case "subnet": {
      const path = treePath("subnet", change.id);
      const rangesPath = treePath("canister_ranges", change.id);
      if (change.info === undefined) return withoutTree(withoutTree(root, path), rangesPath);
      const withSubnet = withTree(root, path, subnetTree(change.info, change.metrics));
      return withTree(withSubnet, rangesPath, canisterRangesTree(change.info));
    }
  }
}
