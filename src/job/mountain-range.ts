// A Merkle mountain range over receipts: append-only, its state is a few peaks, and a proof shows that
// a receipt is the n-th leaf of a range with given peaks. Owns the arithmetic; nodes are stored elsewhere.

import {
  assert,
  type Codec,
  codec,
  concatBytes,
  equalBytes,
  present,
  u64BigEndian,
  utf8Bytes,
} from "gyrotron/base";
import { sha256 } from "gyrotron/hash";

/** The range as replicated state: number of leaves, and the roots of its perfect trees, largest first. */
export interface MountainRange {
  leafCount: bigint;
  peaks: Uint8Array[];
}

export const mountainRangeCodec: Codec<MountainRange> = codec.record<{
  leafCount: bigint;
  peaks: Uint8Array[];
}>({
  leafCount: codec.u64,
  peaks: codec.list(codec.fixedBytes(32), 32),
});

/** A node that an append made: `level` 0 is a leaf, `index` counts along its level. */
export interface RangeNode {
  level: number;
  index: bigint;
  hash: Uint8Array;
}

/** Siblings from the leaf up to its peak. */
export interface RangeProof {
  leafIndex: bigint;
  siblings: Uint8Array[];
}

/** One hash for the whole range: what certificates show. */
export function rangeRoot(range: MountainRange): Uint8Array {
  return sha256(utf8Bytes("gyrotron-receipts"), u64BigEndian(range.leafCount), ...range.peaks);
}

/** The range with one more leaf, and the nodes that this made. */
export function appendLeaf(
  range: MountainRange,
  leaf: Uint8Array,
): { range: MountainRange; nodes: RangeNode[] } {
  assert(leaf.length === 32, "a leaf is a hash");
  const peaks = [...range.peaks];
  let node: RangeNode = { level: 0, index: range.leafCount, hash: leaf };
  const nodes = [node];
  // Equal mountains merge, as carries do when a binary counter is incremented.
  while ((node.index & 1n) === 1n) {
    const left = present(peaks.pop(), "an odd node has a left neighbour");
    node = { level: node.level + 1, index: node.index >> 1n, hash: parentHash(left, node.hash) };
    nodes.push(node);
  }
  peaks.push(node.hash);
  return { range: { leafCount: range.leafCount + 1n, peaks }, nodes };
}

/** Proof for a leaf of a range of `leafCount` leaves, from stored nodes. */
export function proveLeaf(
  leafCount: bigint,
  leafIndex: bigint,
  node: (level: number, index: bigint) => Uint8Array,
): RangeProof {
  const height = heightOfMountain(leafCount, leafIndex);
  const siblings: Uint8Array[] = [];
  for (let level = 0; level < height; level++)
    siblings.push(node(level, (leafIndex >> BigInt(level)) ^ 1n));
  return { leafIndex, siblings };
}

/** Whether the proof shows `leaf` in the range. */
export function verifyLeaf(range: MountainRange, leaf: Uint8Array, proof: RangeProof): boolean {
  const { leafIndex, siblings } = proof;
  if (leafIndex < 0n || leafIndex >= range.leafCount) return false;
  if (siblings.length !== heightOfMountain(range.leafCount, leafIndex)) return false;
  let hash = leaf;
  siblings.forEach((sibling, level) => {
    const isRight = ((leafIndex >> BigInt(level)) & 1n) === 1n;
    hash = isRight ? parentHash(sibling, hash) : parentHash(hash, sibling);
  });
  const peak = range.peaks[peakNumber(range.leafCount, siblings.length)];
  return peak !== undefined && equalBytes(peak, hash);
}

/** Key of a stored node. */
export function rangeNodeKey(level: number, index: bigint): Uint8Array {
  return concatBytes(Uint8Array.of(level), u64BigEndian(index));
}

/** Height of the perfect tree that holds a leaf. */
function heightOfMountain(leafCount: bigint, leafIndex: bigint): number {
  assert(leafIndex < leafCount, "the leaf is in the range");
  let start = 0n;
  for (let height = leafCount.toString(2).length - 1; ; height--) {
    const size = 1n << BigInt(height);
    if ((leafCount & size) === 0n) continue;
    if (leafIndex < start + size) return height;
    start += size;
  }
}

/** Which peak belongs to the mountain of a height. */
function peakNumber(leafCount: bigint, height: number): number {
  let number = 0;
  for (let h = leafCount.toString(2).length - 1; h > height; h--)
    if ((leafCount & (1n << BigInt(h))) !== 0n) number++;
  return number;
}

function parentHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  return sha256(Uint8Array.of(0x01), left, right);
}
