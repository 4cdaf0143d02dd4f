// Snapshots over the network: their metadata and bytes are read in slices, and others are made by
// uploading the same. An uploaded snapshot is all zero until its bytes come.

import {
  CERTIFIED_DATA_BYTES_MAX,
  CHUNK_STORE_CHUNK_BYTES_MAX,
  CHUNK_STORE_CHUNKS_MAX,
  GLOBALS_MAX,
  MODULE_BYTES_MAX,
  present,
  STABLE_MEMORY_BYTES_MAX,
  WASM64_MEMORY_BYTES_MAX,
  WASM_PAGE_BYTES,
} from "gyrotron/base";
import { fromIdlPrincipal, type IdlPrincipal } from "gyrotron/candid";
import { sha256 } from "gyrotron/crypto";
import type { BlockContext } from "../block-context.ts";
import { ErrorCode, type Reject, reject } from "../reject.ts";
import type { CanisterRecord } from "../state/records.ts";
import { type SnapshotRecord, SnapshotState } from "../state/snapshot-record.ts";
import { DIDL_EMPTY } from "./candid-constants.ts";
import {
  findControlled,
  isReject,
  type ManagementCall,
  type MethodResult,
  replyWith,
} from "./call.ts";
import { optional, showSource } from "./history.ts";
import { type GivenGlobal, packGlobals, unpackGlobals } from "./snapshot-globals.ts";
import {
  addSnapshot,
  deleteSnapshot,
  findReadable,
  findReplaced,
  findSnapshot,
  paySnapshot,
  snapshotBytes,
  snapshotId,
} from "./snapshots.ts";

/** Bytes of one slice. */
const SLICE_BYTES_MAX = 2_000_000;
/** Instructions charged for a slice, besides one for each byte. */
const SLICE_INSTRUCTIONS = 5_000_000n;
const HOOK_NAMES = {
  notSatisfied: "condition_not_satisfied",
  ready: "ready",
  executed: "executed",
} as const;

type Region = "wasm_module" | "wasm_memory" | "stable_memory";
type GivenHook = { condition_not_satisfied: null } | { ready: null } | { executed: null };

/** Where bytes lie that are to be read. */
export type ReadKind =
  | { [K in Region]: Record<K, { offset: bigint; size: bigint }> }[Region]
  | { wasm_chunk: { hash: Uint8Array } };

/** Where uploaded bytes belong. */
export type UploadKind =
  { [K in Region]: Record<K, { offset: bigint }> }[Region] | { wasm_chunk: null };

/** Metadata of a snapshot as one gives it. */
export interface GivenMetadata {
  canister_id: IdlPrincipal;
  replace_snapshot: [] | [Uint8Array];
  wasm_module_size: bigint;
  globals: GivenGlobal[];
  wasm_memory_size: bigint;
  stable_memory_size: bigint;
  certified_data: Uint8Array;
  global_timer: [] | [{ inactive: null } | { active: bigint }];
  on_low_wasm_memory_hook_status: [] | [GivenHook];
}

/** read_canister_snapshot_metadata. */
export function readSnapshotMetadata(
  context: BlockContext,
  call: ManagementCall,
  argument: { canister_id: IdlPrincipal; snapshot_id: Uint8Array },
): MethodResult {
  const found = findForReading(context, call, argument);
  if ("kind" in found) return found;
  const { snapshot } = found;
  const { image, globalTimerNs, lowMemoryHook } = snapshot;
  return replyWith("snapshotMetadata", {
    source: showSource(snapshot.source),
    taken_at_timestamp: snapshot.takenAtNs,
    wasm_module_size: snapshot.moduleBytes,
    globals: unpackGlobals(snapshot.globalTypes, image.globals),
    wasm_memory_size: bytesOfPages(image.heapPages),
    stable_memory_size: bytesOfPages(image.stablePages),
    wasm_chunk_store: snapshot.storedChunkHashes.map((hash) => ({ hash })),
    canister_version: snapshot.version,
    certified_data: snapshot.certifiedData ?? new Uint8Array(),
    global_timer: [globalTimerNs === 0n ? { inactive: null } : { active: globalTimerNs }],
    on_low_wasm_memory_hook_status: optional({ [HOOK_NAMES[lowMemoryHook]]: null }),
  });
}

/** read_canister_snapshot_data: a slice of at most 2,000,000 bytes, or a stored chunk. */
export function readSnapshotData(
  context: BlockContext,
  call: ManagementCall,
  argument: { canister_id: IdlPrincipal; snapshot_id: Uint8Array; kind: ReadKind },
): MethodResult {
  const found = findForReading(context, call, argument);
  if ("kind" in found) return found;
  const { canister, snapshot } = found;
  const snapshots = new SnapshotState(context.state, canister.id);
  if ("wasm_chunk" in argument.kind) {
    const { hash } = argument.kind.wasm_chunk;
    const isKnown = snapshot.storedChunkHashes.some((known) => known.toHex() === hash.toHex());
    if (!isKnown) return badSlice(`no chunk has the hash ${hash.toHex()}`);
    return replyWith("snapshotData", {
      chunk: present(snapshots.storedChunk(snapshot.number, hash), "the chunk is stored"),
    });
  }
  const { region, offset, size } = sliceOf(argument.kind);
  const refused = checkSlice(snapshot, region, offset, size);
  if (refused !== undefined) return refused;
  return replyWith("snapshotData", {
    chunk: readRegion(context, snapshots, snapshot, region, Number(offset), Number(size)),
  });
}

/** upload_canister_snapshot_metadata: makes a snapshot of zeros. */
export function uploadSnapshotMetadata(
  context: BlockContext,
  call: ManagementCall,
  argument: GivenMetadata,
): MethodResult {
  const canister = findControlled(context, call, argument.canister_id);
  if (isReject(canister)) return canister;
  const described = describeUpload(context, canister, argument);
  if ("kind" in described) return described;
  const replaced = findReplaced(context, canister, argument.replace_snapshot[0]);
  if (replaced !== undefined && "kind" in replaced) return replaced;
  const unpaid = paySnapshot(context, canister, described.totalBytes, replaced);
  if (unpaid !== undefined) return unpaid;
  if (replaced !== undefined) deleteSnapshot(context, canister, replaced);
  addSnapshot(context, canister, described);
  context.state.putCanister(canister);
  const id = snapshotId(fromIdlPrincipal(argument.canister_id), described.number);
  return replyWith("snapshotId", { snapshot_id: id });
}

/** upload_canister_snapshot_data: bytes of a snapshot that was made by uploading. */
export function uploadSnapshotData(
  context: BlockContext,
  call: ManagementCall,
  argument: {
    canister_id: IdlPrincipal;
    snapshot_id: Uint8Array;
    kind: UploadKind;
    chunk: Uint8Array;
  },
): MethodResult {
  const canister = findControlled(context, call, argument.canister_id);
  if (isReject(canister)) return canister;
  const snapshot = findSnapshot(context, canister, argument.snapshot_id);
  if ("kind" in snapshot) return snapshot;
  if (snapshot.source !== "uploaded") {
    const text = "Only canister snapshots created by metadata upload can be mutated.";
    return reject(ErrorCode.snapshotImmutable, text);
  }
  const { chunk } = argument;
  const snapshots = new SnapshotState(context.state, canister.id);
  context.instructionsUsed += SLICE_INSTRUCTIONS + BigInt(chunk.length);
  if ("wasm_chunk" in argument.kind) return uploadStoredChunk(context, canister, snapshot, chunk);
  const { region, offset } = sliceOf(argument.kind);
  const refused = checkSlice(snapshot, region, offset, BigInt(chunk.length));
  if (refused !== undefined) return refused;
  snapshots.write(snapshot.number, MEMORY_OF[region], Number(offset), chunk);
  return { kind: "reply", bytes: DIDL_EMPTY };
}

const MEMORY_OF = { wasm_module: "module", wasm_memory: "heap", stable_memory: "stable" } as const;

function findForReading(
  context: BlockContext,
  call: ManagementCall,
  argument: { canister_id: IdlPrincipal; snapshot_id: Uint8Array },
): { canister: CanisterRecord; snapshot: SnapshotRecord } | Reject {
  const canister = findReadable(context, call, argument.canister_id);
  if (isReject(canister)) return canister;
  const snapshot = findSnapshot(context, canister, argument.snapshot_id);
  return "kind" in snapshot ? snapshot : { canister, snapshot };
}

function uploadStoredChunk(
  context: BlockContext,
  canister: CanisterRecord,
  snapshot: SnapshotRecord,
  chunk: Uint8Array,
): MethodResult {
  if (chunk.length > CHUNK_STORE_CHUNK_BYTES_MAX)
    return badSlice(`a chunk has at most ${CHUNK_STORE_CHUNK_BYTES_MAX} bytes`);
  const hash = sha256(chunk);
  if (snapshot.storedChunkHashes.some((known) => known.toHex() === hash.toHex()))
    return { kind: "reply", bytes: DIDL_EMPTY };
  if (snapshot.storedChunkHashes.length >= CHUNK_STORE_CHUNKS_MAX)
    return badSlice(`a snapshot has at most ${CHUNK_STORE_CHUNKS_MAX} chunks`);
  const storedChunkHashes = [...snapshot.storedChunkHashes, hash];
  const grown = { ...snapshot, storedChunkHashes };
  const totalBytes = snapshotBytes(grown);
  canister.snapshotBytes += totalBytes - snapshot.totalBytes;
  const snapshots = new SnapshotState(context.state, canister.id);
  snapshots.put({ ...grown, totalBytes });
  snapshots.putStoredChunk(snapshot.number, hash, chunk);
  context.state.putCanister(canister);
  return { kind: "reply", bytes: DIDL_EMPTY };
}

function describeUpload(
  context: BlockContext,
  canister: CanisterRecord,
  given: GivenMetadata,
): SnapshotRecord | Reject {
  const heapPages = pagesOf(given.wasm_memory_size, WASM64_MEMORY_BYTES_MAX);
  const stablePages = pagesOf(given.stable_memory_size, STABLE_MEMORY_BYTES_MAX);
  if (heapPages === undefined || stablePages === undefined)
    return badSlice("a memory is not made of whole pages, or is too large");
  if (given.wasm_module_size > BigInt(MODULE_BYTES_MAX)) return badSlice("the module is too large");
  if (given.globals.length > GLOBALS_MAX) return badSlice("there are too many globals");
  if (given.certified_data.length > CERTIFIED_DATA_BYTES_MAX)
    return badSlice("the certified data are too long");
  const [timer] = given.global_timer;
  const globals = packGlobals(given.globals);
  if (globals === undefined) return badSlice("a global is out of range");
  const [hook] = given.on_low_wasm_memory_hook_status;
  const snapshot = {
    number: canister.nextSnapshot,
    source: "uploaded",
    takenAtNs: context.timeNs,
    version: canister.version,
    moduleHash: undefined,
    moduleBytes: given.wasm_module_size,
    image: { heapPages, heapPagesPhysical: heapPages, stablePages, globals: globals.bytes },
    globalTypes: globals.types,
    certifiedData: given.certified_data.length === 0 ? undefined : given.certified_data,
    globalTimerNs: timer !== undefined && "active" in timer ? timer.active : 0n,
    lowMemoryHook: hookOf(hook),
    storedChunkHashes: [],
  } as const;
  const described = { ...snapshot, storedChunkHashes: [], globalTypes: globals.types };
  return { ...described, totalBytes: snapshotBytes(described) };
}

function hookOf(given: GivenHook | undefined): CanisterRecord["lowMemoryHook"] {
  if (given === undefined || "condition_not_satisfied" in given) return "notSatisfied";
  return "ready" in given ? "ready" : "executed";
}

function sliceOf(kind: Exclude<ReadKind | UploadKind, { wasm_chunk: unknown }>): {
  region: Region;
  offset: bigint;
  size: bigint;
} {
  const [[region, slice]] = Object.entries(kind) as [[Region, { offset: bigint; size?: bigint }]];
  return { region, offset: slice.offset, size: slice.size ?? 0n };
}

function checkSlice(
  snapshot: SnapshotRecord,
  region: Region,
  offset: bigint,
  size: bigint,
): Reject | undefined {
  if (size > BigInt(SLICE_BYTES_MAX))
    return badSlice(`a slice has at most ${SLICE_BYTES_MAX} bytes`);
  const end = {
    wasm_module: snapshot.moduleBytes,
    wasm_memory: bytesOfPages(snapshot.image.heapPages),
    stable_memory: bytesOfPages(snapshot.image.stablePages),
  }[region];
  if (offset + size <= end) return undefined;
  return badSlice(`the slice at ${offset} of ${size} bytes is past the end, which is ${end}`);
}

function readRegion(
  context: BlockContext,
  snapshots: SnapshotState,
  snapshot: SnapshotRecord,
  region: Region,
  offset: number,
  size: number,
): Uint8Array {
  const { moduleHash, number } = snapshot;
  if (region !== "wasm_module" || moduleHash === undefined)
    return snapshots.read(number, MEMORY_OF[region], offset, size);
  const module = present(context.state.module(moduleHash), "a snapshot's module is stored");
  return module.bytes.slice(offset, offset + size);
}

function pagesOf(bytes: bigint, max: number): number | undefined {
  if (bytes > BigInt(max) || bytes % BigInt(WASM_PAGE_BYTES) !== 0n) return undefined;
  return Number(bytes / BigInt(WASM_PAGE_BYTES));
}

function bytesOfPages(pages: number): bigint {
  return BigInt(pages) * BigInt(WASM_PAGE_BYTES);
}

function badSlice(what: string): Reject {
  return reject(ErrorCode.invalidManagementPayload, `Invalid snapshot payload: ${what}.`);
}
