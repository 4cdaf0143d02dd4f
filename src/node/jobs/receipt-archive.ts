// Receipts as this node keeps them: bodies by hash, an index by the user's request, and the nodes of
// the mountain range from which proofs are made. Written with the block that made them.

import {
  concatBytes,
  decodeWith,
  present,
  readU64BigEndian,
  u64BigEndian,
  utf8Bytes,
} from "gyrotron/base";
import {
  type MountainRange,
  mountainRangeCodec,
  proveLeaf,
  rangeNodeKey,
  receiptCodec,
  receiptHash,
} from "gyrotron/job";
import { type NewReceipt, receiptsKey } from "gyrotron/replica";
import type { StateView, StateWrite } from "gyrotron/store";

const BODY = utf8Bytes("r");
const BY_REQUEST = utf8Bytes("q");
const RANGE_NODE = utf8Bytes("n");
const HASH_BYTES = 32;

/** A receipt with what shows that it is in the range of a state. */
export interface ArchivedReceipt {
  receipt: Uint8Array;
  leafIndex: bigint;
  siblings: Uint8Array[];
  range: MountainRange;
}

/** Which receipts: one by its hash, or all that a user's request led to. */
export type ReceiptSelector = { hash: Uint8Array } | { requestId: Uint8Array };

/** What is kept of a new receipt. */
export function archiveWrites(made: NewReceipt): StateWrite[] {
  const hash = receiptHash(decodeWith(receiptCodec, made.receipt));
  const writes: StateWrite[] = [
    {
      key: concatBytes(BODY, hash),
      value: concatBytes(u64BigEndian(made.leafIndex), made.receipt),
    },
  ];
  if (made.requestId !== undefined) {
    const key = concatBytes(BY_REQUEST, made.requestId, u64BigEndian(made.job));
    writes.push({ key, value: hash });
  }
  for (const { level, index, hash } of made.nodes) {
    writes.push({ key: concatBytes(RANGE_NODE, rangeNodeKey(level, index)), value: hash });
  }
  return writes;
}

/** Receipts with their proofs in the range that `view` has; the archive is of the same block or a later one. */
export function findReceipts(
  view: StateView,
  archive: StateView,
  selector: ReceiptSelector,
): ArchivedReceipt[] {
  const hashes =
    "hash" in selector
      ? [selector.hash]
      : [...archive.range(concatBytes(BY_REQUEST, selector.requestId))].map(([, hash]) => hash);
  const range = readRange(view);
  return hashes.flatMap((hash) => {
    const body = hash.length === HASH_BYTES ? archive.get(concatBytes(BODY, hash)) : undefined;
    if (body === undefined) return [];
    const leafIndex = readU64BigEndian(body);
    const { siblings } = proveLeaf(range.leafCount, leafIndex, (level, index) =>
      present(
        archive.get(concatBytes(RANGE_NODE, rangeNodeKey(level, index))),
        "range node is kept",
      ),
    );
    return [{ receipt: body.slice(8), leafIndex, siblings, range }];
  });
}

function readRange(view: StateView): MountainRange {
  const bytes = view.get(receiptsKey);
  return bytes === undefined ? { leafCount: 0n, peaks: [] } : decodeWith(mountainRangeCodec, bytes);
}
