// Snapshots of canisters: taking, loading, listing, deleting. Their content and transfer over the
// network are in snapshot-transfer.ts, their storage in state/snapshot-record.ts.

import {
  CHUNK_BYTES,
  concatBytes,
  equalBytes,
  GIB,
  present,
  readU64BigEndian,
  SNAPSHOTS_MAX,
  u64BigEndian,
  WASM_PAGE_BYTES,
} from "gyrotron/base";
import type { IdlPrincipal } from "gyrotron/candid";
import { GLOBAL_SLOT_BYTES, type PreparedModule, WasmError } from "gyrotron/canister";
import { formatPrincipal } from "gyrotron/crypto";
import { type BlockContext, installedModule } from "../block-context.ts";
import { charge, memoryUsage, missingFor } from "../cycles/balance.ts";
import { setCertifiedData } from "../execution/run.ts";
import { ErrorCode, executionReject, outOfCycles, type Reject, reject } from "../reject.ts";
import type { CanisterRecord } from "../state/records.ts";
import { type SnapshotRecord, SnapshotState } from "../state/snapshot-record.ts";
import { DIDL_EMPTY } from "./candid-constants.ts";
import {
  findCanister,
  findControlled,
  isController,
  isReject,
  type ManagementCall,
  type MethodResult,
  replyWith,
} from "./call.ts";
import { recordChange } from "./history.ts";
import { adoptModule, dropCode } from "./install.ts";
import { maySee } from "./visibility.ts";

/** Charged for taking or loading a snapshot, besides an instruction for each byte. */
const BASE_INSTRUCTIONS = 2_000_000_000n;
/** Stored bytes of memories that one message may copy (ours): they are in memory until the block ends. */
const COPY_BYTES_MAX: number = 2 * GIB;
/** Instructions of a round that a copied byte counts as. */
const ROUND_INSTRUCTIONS_PER_BYTE = 3n;
const DONE: MethodResult = { kind: "reply", bytes: DIDL_EMPTY };

/** take_canister_snapshot. */
export function takeSnapshot(
  context: BlockContext,
  call: ManagementCall,
  argument: {
    canister_id: IdlPrincipal;
    replace_snapshot: [] | [Uint8Array];
    uninstall_code: [] | [boolean];
  },
): MethodResult {
  const canister = findControlled(context, call, argument.canister_id);
  if (isReject(canister)) return canister;
  if (canister.code === undefined) {
    const text = `Failed to create snapshot for empty canister ${formatPrincipal(canister.id)}`;
    return reject(ErrorCode.canisterRejected, text);
  }
  const snapshots = new SnapshotState(context.state, canister.id);
  const copied = snapshots.storedBytesOf(canister.id);
  const refused = refuseCopy(canister, copied);
  if (refused !== undefined) return refused;
  const replaced = findReplaced(context, canister, argument.replace_snapshot[0]);
  if (replaced !== undefined && "kind" in replaced) return replaced;
  const snapshot = describe(context, canister);
  const unpaid = paySnapshot(context, canister, snapshot.totalBytes, replaced);
  if (unpaid !== undefined) return unpaid;
  if (replaced !== undefined) deleteSnapshot(context, canister, replaced);
  context.instructionsUsed += BigInt(copied) * ROUND_INSTRUCTIONS_PER_BYTE;
  addSnapshot(context, canister, snapshot);
  const moduleHash = present(snapshot.moduleHash);
  context.state.retainModule(moduleHash, present(context.state.module(moduleHash)).bytes);
  snapshots.fill(snapshot.number);
  if (argument.uninstall_code[0] === true) {
    dropCode(context, canister);
    recordChange(context, canister, call, { kind: "codeUninstall" });
  }
  context.state.putCanister(canister);
  return replyWith("snapshot", showSnapshot(canister.id, snapshot));
}

/** load_canister_snapshot: of the canister itself or of another that the caller controls too. */
export function loadSnapshot(
  context: BlockContext,
  call: ManagementCall,
  argument: { canister_id: IdlPrincipal; snapshot_id: Uint8Array },
): MethodResult {
  const canister = findControlled(context, call, argument.canister_id);
  if (isReject(canister)) return canister;
  const found = findSource(context, call, canister, argument.snapshot_id);
  if ("kind" in found) return found;
  const { owner, snapshot } = found;
  const snapshots = new SnapshotState(context.state, owner.id);
  const module = moduleOf(context, canister, snapshots, snapshot);
  if ("kind" in module) return module;
  const mismatch = mismatchOf(module.prepared, snapshot);
  if (mismatch !== undefined) {
    return reject(
      ErrorCode.invalidManagementPayload,
      `The snapshot cannot be loaded: ${mismatch}.`,
    );
  }
  const unpaid = payLoad(context, canister, snapshot);
  if (unpaid !== undefined) return unpaid;
  context.instructionsUsed += snapshot.totalBytes;

  context.engine.runtime.evict(canister.id);
  context.state.deleteMemories(canister.id);
  context.state.clearStoredChunks(canister.id);
  snapshots.restore(snapshot.number, canister.id);
  const { image } = snapshot;
  canister.image = { ...image, heapPagesPhysical: image.heapPages };
  canister.generation = context.state.takeGeneration();
  canister.storedChunks = snapshot.storedChunkHashes.length;
  adoptModule(context, canister, module.prepared, module.bytes);
  setCertifiedData(context, canister.id, snapshot.certifiedData);
  context.state.setGlobalTimer(canister, snapshot.globalTimerNs);
  canister.lowMemoryHook = snapshot.lowMemoryHook;
  canister.version++;
  recordChange(context, canister, call, {
    kind: "loadSnapshot",
    fromCanister: equalBytes(owner.id, canister.id) ? undefined : owner.id,
    snapshotId: argument.snapshot_id,
    version: snapshot.version,
    takenAtNs: snapshot.takenAtNs,
    source: snapshot.source,
  });
  context.state.putCanister(canister);
  return DONE;
}

/** list_canister_snapshots: for controllers and whom the setting snapshot_visibility names. */
export function listSnapshots(
  context: BlockContext,
  call: ManagementCall,
  argument: { canister_id: IdlPrincipal },
): MethodResult {
  const canister = findReadable(context, call, argument.canister_id);
  if (isReject(canister)) return canister;
  const snapshots = new SnapshotState(context.state, canister.id).all();
  return replyWith(
    "snapshots",
    snapshots.map((snapshot) => showSnapshot(canister.id, snapshot)),
  );
}

/** delete_canister_snapshot. */
export function deleteCanisterSnapshot(
  context: BlockContext,
  call: ManagementCall,
  argument: { canister_id: IdlPrincipal; snapshot_id: Uint8Array },
): MethodResult {
  const canister = findControlled(context, call, argument.canister_id);
  if (isReject(canister)) return canister;
  const snapshot = findSnapshot(context, canister, argument.snapshot_id);
  if ("kind" in snapshot) return snapshot;
  deleteSnapshot(context, canister, snapshot);
  context.state.putCanister(canister);
  return DONE;
}

/** Deletes every snapshot of a canister. The caller saves the record. */
export function deleteAllSnapshots(context: BlockContext, canister: CanisterRecord): void {
  if (canister.snapshotBytes === 0n) return;
  for (const snapshot of new SnapshotState(context.state, canister.id).all())
    deleteSnapshot(context, canister, snapshot);
}

/** A canister whose snapshots the caller may read. */
export function findReadable(
  context: BlockContext,
  call: ManagementCall,
  id: IdlPrincipal,
): CanisterRecord | Reject {
  const canister = findCanister(context, id);
  if (isReject(canister)) return canister;
  if (maySee(canister, canister.settings.snapshotVisibility, call.sender)) return canister;
  return findControlled(context, call, id);
}

/** A snapshot by its id, which must be one of `canister`. */
export function findSnapshot(
  context: BlockContext,
  canister: CanisterRecord,
  id: Uint8Array,
): SnapshotRecord | Reject {
  const parsed = parseSnapshotId(id);
  if (parsed !== undefined && !equalBytes(parsed.owner, canister.id)) {
    const text = `The snapshot ${id.toHex()} does not belong to canister ${formatPrincipal(canister.id)}`;
    return reject(ErrorCode.canisterRejected, text);
  }
  const snapshot = parsed && new SnapshotState(context.state, canister.id).get(parsed.number);
  return snapshot ?? snapshotNotFound(canister.id, id);
}

/** The snapshot to be replaced, or why another cannot be made; undefined: none is replaced. */
export function findReplaced(
  context: BlockContext,
  canister: CanisterRecord,
  id: Uint8Array | undefined,
): SnapshotRecord | Reject | undefined {
  if (id !== undefined) return findSnapshot(context, canister, id);
  const count = new SnapshotState(context.state, canister.id).all().length;
  if (count < SNAPSHOTS_MAX) return undefined;
  const text = `Canister ${formatPrincipal(canister.id)} has reached the maximum number of snapshots allowed: ${SNAPSHOTS_MAX}.`;
  return reject(ErrorCode.canisterRejected, text);
}

/** Charges for making a snapshot, and refuses one that the canister could not pay the storage of. */
export function paySnapshot(
  context: BlockContext,
  canister: CanisterRecord,
  bytes: bigint,
  replaced: SnapshotRecord | undefined,
): Reject | undefined {
  const grown = {
    ...canister,
    snapshotBytes: canister.snapshotBytes + bytes - (replaced?.totalBytes ?? 0n),
  };
  const price = context.prices.execution(BASE_INSTRUCTIONS + bytes, false);
  const missing = missingFor(grown, price, context.prices);
  if (missing > 0n) {
    const text = `Canister cannot grow memory by ${bytes} bytes due to insufficient cycles. At least ${missing} additional cycles are required.`;
    return reject(ErrorCode.insufficientCyclesForMemory, text);
  }
  charge(canister, "instructions", price);
  return undefined;
}

/** Saves a new snapshot and counts it. The caller saves the canister. */
export function addSnapshot(
  context: BlockContext,
  canister: CanisterRecord,
  snapshot: SnapshotRecord,
): void {
  canister.nextSnapshot = snapshot.number + 1n;
  canister.snapshotBytes += snapshot.totalBytes;
  new SnapshotState(context.state, canister.id).put(snapshot);
}

/** Deletes a snapshot and its content. The caller saves the canister. */
export function deleteSnapshot(
  context: BlockContext,
  canister: CanisterRecord,
  snapshot: SnapshotRecord,
): void {
  canister.snapshotBytes -= snapshot.totalBytes;
  new SnapshotState(context.state, canister.id).delete(snapshot);
}

/** Bytes that a snapshot counts. */
export function snapshotBytes(snapshot: Omit<SnapshotRecord, "totalBytes">): bigint {
  const { image, moduleBytes, certifiedData, storedChunkHashes } = snapshot;
  const pages = BigInt(image.heapPages + image.stablePages);
  return (
    pages * BigInt(WASM_PAGE_BYTES) +
    moduleBytes +
    BigInt(image.globals.length + (certifiedData?.length ?? 0)) +
    BigInt(storedChunkHashes.length) * BigInt(64 * CHUNK_BYTES)
  );
}

/** A snapshot as its list shows it. */
export function showSnapshot(owner: Uint8Array, snapshot: SnapshotRecord): unknown {
  return {
    id: snapshotId(owner, snapshot.number),
    taken_at_timestamp: snapshot.takenAtNs,
    total_size: snapshot.totalBytes,
  };
}

/** Id of a snapshot: the canister's, and a number of eight bytes. */
export function snapshotId(owner: Uint8Array, number: bigint): Uint8Array {
  return concatBytes(owner, u64BigEndian(number));
}

function parseSnapshotId(id: Uint8Array): { owner: Uint8Array; number: bigint } | undefined {
  if (id.length <= 8) return undefined;
  return { owner: id.slice(0, -8), number: readU64BigEndian(id, id.length - 8) };
}

function describe(context: BlockContext, canister: CanisterRecord): SnapshotRecord {
  const code = present(canister.code);
  const snapshot = {
    number: canister.nextSnapshot,
    source: "taken",
    takenAtNs: context.timeNs,
    version: canister.version,
    moduleHash: code.moduleHash,
    moduleBytes: BigInt(code.moduleBytes),
    image: canister.image,
    globalTypes: installedModule(context, canister).globals.map(({ type }) => type),
    certifiedData: context.state.publicInfo(canister.id)?.certifiedData,
    globalTimerNs: canister.globalTimerNs,
    lowMemoryHook: canister.lowMemoryHook,
    storedChunkHashes: context.state.storedChunkHashes(canister.id),
  } as const;
  return { ...snapshot, totalBytes: snapshotBytes(snapshot) };
}

function refuseCopy(canister: CanisterRecord, bytes: number): Reject | undefined {
  if (bytes <= COPY_BYTES_MAX) return undefined;
  const text = `The memories of canister ${formatPrincipal(canister.id)} hold ${bytes} bytes, at most ${COPY_BYTES_MAX} fit into a snapshot on this network.`;
  return reject(ErrorCode.canisterRejected, text);
}

/** The canister that a snapshot to be loaded belongs to, and the snapshot. */
function findSource(
  context: BlockContext,
  call: ManagementCall,
  target: CanisterRecord,
  id: Uint8Array,
): { owner: CanisterRecord; snapshot: SnapshotRecord } | Reject {
  const parsed = parseSnapshotId(id);
  const owner = parsed && context.state.canister(parsed.owner);
  if (owner === undefined) return snapshotNotFound(target.id, id);
  if (!isController(owner, call.sender)) {
    const text = `The snapshot ${id.toHex()} does not belong to canister ${formatPrincipal(target.id)}`;
    return reject(ErrorCode.canisterRejected, text);
  }
  const snapshot = findSnapshot(context, owner, id);
  return "kind" in snapshot ? snapshot : { owner, snapshot };
}

function snapshotNotFound(owner: Uint8Array, id: Uint8Array): Reject {
  const text = `Could not find the snapshot ID ${id.toHex()} for canister ${formatPrincipal(owner)}.`;
  return reject(ErrorCode.snapshotNotFound, text);
}

function moduleOf(
  context: BlockContext,
  canister: CanisterRecord,
  snapshots: SnapshotState,
  snapshot: SnapshotRecord,
): { prepared: PreparedModule; bytes: Uint8Array } | Reject {
  const { moduleHash, number, moduleBytes } = snapshot;
  const bytes =
    moduleHash === undefined
      ? snapshots.read(number, "module", 0, Number(moduleBytes))
      : present(context.state.module(moduleHash), "a snapshot's module is stored").bytes;
  try {
    return { prepared: context.engine.modules.prepare(bytes), bytes };
  } catch (error) {
    if (!(error instanceof WasmError)) throw error;
    const text = `Canister's Wasm module is not valid: ${error.message}`;
    return executionReject(canister.id, ErrorCode.invalidWasm, text);
  }
}

/** Why memories and globals of an uploaded snapshot do not fit its module. */
function mismatchOf(module: PreparedModule, snapshot: SnapshotRecord): string | undefined {
  const { image, globalTypes } = snapshot;
  const pages = BigInt(image.heapPages);
  if (pages < module.memoryPagesMin) return "the Wasm memory is smaller than the module's";
  if (module.memoryPagesMax !== undefined && pages > module.memoryPagesMax)
    return "the Wasm memory is larger than the module allows";
  if (module.addressType === "i32" && image.heapPages * WASM_PAGE_BYTES > 4 * GIB)
    return "the Wasm memory is larger than 4 GiB";
  const isSame =
    globalTypes.length === module.globals.length &&
    module.globals.every(({ type }, index) => type === globalTypes[index]);
  if (!isSame || image.globals.length !== globalTypes.length * GLOBAL_SLOT_BYTES)
    return "its globals are not those of the module";
  return undefined;
}

function payLoad(
  context: BlockContext,
  canister: CanisterRecord,
  snapshot: SnapshotRecord,
): Reject | undefined {
  const price = context.prices.execution(BASE_INSTRUCTIONS + snapshot.totalBytes, false);
  const after = {
    ...canister,
    code: canister.code && { ...canister.code, moduleBytes: Number(snapshot.moduleBytes) },
    image: snapshot.image,
    storedChunks: snapshot.storedChunkHashes.length,
  };
  const missing = missingFor(
    memoryUsage(after).total > memoryUsage(canister).total ? after : canister,
    price,
    context.prices,
  );
  if (missing > 0n) return outOfCycles(canister.id, missing);
  charge(canister, "instructions", price);
  return undefined;
}
