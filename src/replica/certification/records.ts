// What the certified tree shows of requests, canisters and the subnet, as records with codecs, and
// how each record becomes a subtree (IC interface, "the system state tree").

import { codec, type Codec, EMPTY_BYTES, encodeUleb128, utf8Bytes } from "gyrotron/base";
import { comparePrincipals, encodeCbor, encodeSelfDescribedCbor } from "gyrotron/crypto";
import type { Level, Tree } from "./label-trie.ts";
import { createLeaf, createLevel } from "./label-trie.ts";

/** How far a request has come. `done`: the reply was pruned, the id is kept against replay. */
export type IngressStatus =
  | { kind: "received" }
  | { kind: "processing" }
  | { kind: "replied"; reply: Uint8Array }
  | { kind: "rejected"; rejectCode: number; message: string; errorCode: string }
  | { kind: "done" };

/** A custom section `icp:<visibility> <name>` of a module. */
export interface CanisterMetadata {
  name: string;
  visibility: "public" | "private";
  content: Uint8Array;
}

/** What anyone may learn of a canister through certificates (private metadata: its controllers only). */
export interface CanisterPublicInfo {
  controllers: Uint8Array[];
  /** SHA-256 of the module as uploaded; absent while there is none. */
  moduleHash?: Uint8Array | undefined;
  certifiedData?: Uint8Array | undefined;
  createdNs: bigint;
  installedNs?: bigint | undefined;
  metadata: CanisterMetadata[];
}

/** Kind of a subnet, as certified. */
export type SubnetType = "application" | "system" | "verified_application" | "cloud_engine";

/** A subnet as certified; the node's own is the only one with nodes. */
export interface SubnetInfo {
  publicKeyDer: Uint8Array;
  type: SubnetType;
  /** Closed ranges of canister ids, sorted; all in one shard. */
  canisterRanges: readonly (readonly [first: Uint8Array, last: Uint8Array])[];
  nodes: readonly { id: Uint8Array; publicKeyDer: Uint8Array }[];
}

/** Totals of a subnet since genesis. */
export interface SubnetMetrics {
  canisterCount: bigint;
  canisterStateBytes: bigint;
  /** Below 2^128. */
  consumedCyclesTotal: bigint;
  updateTransactionsTotal: bigint;
}

export const ingressStatusCodec: Codec<IngressStatus> = codec.variant<IngressStatus>({
  received: codec.record({}),
  processing: codec.record({}),
  replied: codec.record({ reply: codec.bytes }),
  rejected: codec.record({ rejectCode: codec.u8, message: codec.text, errorCode: codec.text }),
  done: codec.record({}),
});

export const canisterPublicInfoCodec: Codec<CanisterPublicInfo> = codec.record({
  controllers: codec.list(codec.bytes, 4),
  moduleHash: codec.option(codec.bytes),
  certifiedData: codec.option(codec.bytes),
  createdNs: codec.u64,
  installedNs: codec.option(codec.u64),
  metadata: codec.list(
    codec.record({
      name: codec.text,
      visibility: codec.oneOf("public", "private"),
      content: codec.bytes,
    }),
    9,
  ),
});

/** `/request_status/<id>`. */
export function ingressStatusTree(status: IngressStatus): Level {
  const entries: (readonly [Uint8Array, Tree])[] = [[utf8Bytes("status"), textLeaf(status.kind)]];
  if (status.kind === "replied") entries.push([utf8Bytes("reply"), createLeaf(status.reply)]);
  if (status.kind === "rejected") {
    entries.push([utf8Bytes("reject_code"), natLeaf(status.rejectCode)]);
    entries.push([utf8Bytes("reject_message"), textLeaf(status.message)]);
    entries.push([utf8Bytes("error_code"), textLeaf(status.errorCode)]);
  }
  return createLevel(entries);
}

/** `/canister/<id>`. */
export function canisterTree(info: CanisterPublicInfo): Level {
  const controllers = info.controllers.toSorted(comparePrincipals);
  const entries: (readonly [Uint8Array, Tree])[] = [
    [utf8Bytes("controllers"), createLeaf(encodeSelfDescribedCbor(controllers))],
    [utf8Bytes("canister_creation_timestamp"), natLeaf(info.createdNs)],
  ];
  if (info.moduleHash !== undefined || info.certifiedData !== undefined) {
    entries.push([utf8Bytes("certified_data"), createLeaf(info.certifiedData ?? EMPTY_BYTES)]);
  }
  if (info.moduleHash !== undefined)
    entries.push([utf8Bytes("module_hash"), createLeaf(info.moduleHash)]);
  if (info.installedNs !== undefined)
    entries.push([utf8Bytes("last_install_timestamp"), natLeaf(info.installedNs)]);
  if (info.metadata.length > 0) {
    const sections = info.metadata.map(
      ({ name, content }) => [utf8Bytes(name), createLeaf(content)] as const,
    );
    entries.push([utf8Bytes("metadata"), createLevel(sections)]);
  }
  return createLevel(entries);
}

/** `/subnet/<id>`. */
export function subnetTree(info: SubnetInfo, metrics: SubnetMetrics | undefined): Level {
  const nodes = info.nodes.map(({ id, publicKeyDer }) => {
    return [id, createLevel([[utf8Bytes("public_key"), createLeaf(publicKeyDer)]])] as const;
  });
  const entries: (readonly [Uint8Array, Tree])[] = [
    [utf8Bytes("public_key"), createLeaf(info.publicKeyDer)],
    [utf8Bytes("type"), textLeaf(info.type)],
    [utf8Bytes("canister_ranges"), createLeaf(encodeSelfDescribedCbor(info.canisterRanges))],
  ];
  if (nodes.length > 0) entries.push([utf8Bytes("node"), createLevel(nodes)]);
  if (metrics !== undefined) entries.push([utf8Bytes("metrics"), metricsLeaf(metrics)]);
  return createLevel(entries);
}

/** `/canister_ranges/<id>`: one shard, named after the first id. */
export function canisterRangesTree(info: SubnetInfo): Level {
  const [first] = info.canisterRanges;
  if (first === undefined) return createLevel([]);
  return createLevel([[first[0], createLeaf(encodeSelfDescribedCbor(info.canisterRanges))]]);
}

/** ULEB128, as numbers are in the state tree. */
export function natLeaf(value: bigint | number): Tree {
  return createLeaf(encodeUleb128(value));
}

/** Totals of a subnet, as they are in the state tree. */
export function metricsLeaf(metrics: SubnetMetrics): Tree {
  return createLeaf(encodeMetrics(metrics));
}

function textLeaf(text: string): Tree {
  return createLeaf(utf8Bytes(text));
}

/** Cycles are two halves of 64 bits under integer keys; the higher one is null when zero. */
function encodeMetrics(metrics: SubnetMetrics): Uint8Array {
  const high = metrics.consumedCyclesTotal >> 64n;
  const cycles = new Map([
    [0, BigInt.asUintN(64, metrics.consumedCyclesTotal)],
    [1, high === 0n ? null : high],
  ]);
  return encodeCbor({
    num_canisters: metrics.canisterCount,
    canister_state_bytes: metrics.canisterStateBytes,
    consumed_cycles_total: cycles,
    update_transactions_total: metrics.updateTransactionsTotal,
  });
}
