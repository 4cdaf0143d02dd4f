// Snapshots of canisters in replicated state: the record, and the bytes beside it (memories in the
// same chunks as the canister's own, an uploaded module in chunks too, the chunk store by hash).
// Owns storage; who may do what, and prices, are in management/.

import { CHUNK_BYTES, type Codec, codec, present, readU64BigEndian } from "gyrotron/base";
import type { ImageState } from "gyrotron/canister";
import * as keys from "./keys.ts";
import { rawBytes } from "./overlay.ts";
import { type CanisterRecord, imageCodec } from "./records.ts";
import type { ReplicaState } from "./replica-state.ts";

const { bytes, fixedBytes, list, oneOf, option, record, u64 } = codec;

export type GlobalType = "i32" | "i64" | "f32" | "f64" | "v128";

/** Everything of a snapshot but memories, an uploaded module and stored chunks. Times in ns, sizes in bytes. */
export interface SnapshotRecord {
  number: bigint;
  source: "taken" | "uploaded";
  takenAtNs: bigint;
  /** Version of the canister when the snapshot was taken; of an uploaded one as it was made. */
  version: bigint;
  /** A module in state; undefined: it is uploaded in pieces. */
  moduleHash: Uint8Array | undefined;
  moduleBytes: bigint;
  image: ImageState;
  globalTypes: GlobalType[];
  certifiedData: Uint8Array | undefined;
  globalTimerNs: bigint;
  lowMemoryHook: CanisterRecord["lowMemoryHook"];
  storedChunkHashes: Uint8Array[];
  /** Content in all. */
  totalBytes: bigint;
}

const snapshotCodec: Codec<SnapshotRecord> = record<{
  [K in keyof SnapshotRecord]: SnapshotRecord[K];
}>({
  number: u64,
  source: oneOf("taken", "uploaded"),
  takenAtNs: u64,
  version: u64,
  moduleHash: option(fixedBytes(32)),
  moduleBytes: u64,
  image: imageCodec,
  globalTypes: list(oneOf("i32", "i64", "f32", "f64", "v128")),
  certifiedData: option(bytes),
  globalTimerNs: u64,
  lowMemoryHook: oneOf("notSatisfied", "ready", "executed"),
  storedChunkHashes: list(fixedBytes(32), 32),
  totalBytes: u64,
});

type Memory = Exclude<keys.SnapshotRegion, "storedChunk">;

/** The snapshots of one canister. */
export class SnapshotState {
  readonly #state: ReplicaState;
  readonly #id: Uint8Array;

  constructor(state: ReplicaState, id: Uint8Array) {
    this.#state = state;
    this.#id = id;
  }

  get(number: bigint): SnapshotRecord | undefined {
    return this.#state.overlay.get(snapshotCodec, keys.snapshotKey(this.#id, number));
  }

  /** Oldest first. */
  all(): SnapshotRecord[] {
    return this.#state.overlay
      .keys(keys.snapshotPrefix(this.#id))
      .map((key) => present(this.get(readU64BigEndian(key, key.length - 8))));
  }

  put(snapshot: SnapshotRecord): void {
    this.#state.overlay.put(snapshotCodec, keys.snapshotKey(this.#id, snapshot.number), snapshot);
  }

  delete({ number, moduleHash }: SnapshotRecord): void {
    const { overlay } = this.#state;
    for (const key of overlay.keys(keys.snapshotContentPrefix(this.#id, number)))
      overlay.delete(key);
    if (moduleHash !== undefined) this.#state.releaseModule(moduleHash);
    overlay.delete(keys.snapshotKey(this.#id, number));
  }

  /** Bytes that are stored of a canister's memories and chunk store, zero chunks left out. */
  storedBytesOf(id: Uint8Array): number {
    const { overlay } = this.#state;
    const chunks =
      overlay.keys(keys.heapPrefix(id)).length + overlay.keys(keys.stablePrefix(id)).length;
    return chunks * CHUNK_BYTES;
  }

  /** Copies the canister's memories and chunk store into snapshot `number`. */
  fill(number: bigint): void {
    const id = this.#id;
    for (const [region, prefix] of this.#pairs(id, id, number)) this.#copy(prefix, region);
  }

  /** Copies snapshot `number` of this canister into memories and chunk store of `target`, which are empty. */
  restore(number: bigint, target: Uint8Array): void {
    for (const [region, prefix] of this.#pairs(target, this.#id, number))
      this.#copy(region, prefix);
  }

  /** `length` bytes of a memory or an uploaded module. */
  read(number: bigint, memory: Memory, offset: number, length: number): Uint8Array {
    const result = new Uint8Array(length);
    forEachChunk(offset, length, (index, start, at, count) => {
      const chunk = this.#chunk(number, memory, index);
      if (chunk !== undefined) result.set(chunk.subarray(start, start + count), at);
    });
    return result;
  }

  /** Overwrites bytes of an uploaded snapshot. Chunks that become all zero are absent. */
  write(number: bigint, memory: Memory, offset: number, source: Uint8Array): void {
    const { overlay } = this.#state;
    forEachChunk(offset, source.length, (index, start, at, count) => {
      const chunk = new Uint8Array(CHUNK_BYTES);
      const before = this.#chunk(number, memory, index);
      if (before !== undefined) chunk.set(before);
      chunk.set(source.subarray(at, at + count), start);
      const key = keys.snapshotChunkKey(this.#id, number, memory, index);
      if (chunk.some((byte) => byte !== 0)) overlay.put(rawBytes, key, chunk);
      else overlay.delete(key);
    });
  }

  storedChunk(number: bigint, hash: Uint8Array): Uint8Array | undefined {
    return this.#state.overlay.read(keys.snapshotStoredChunkKey(this.#id, number, hash));
  }

  putStoredChunk(number: bigint, hash: Uint8Array, chunk: Uint8Array): void {
    const key = keys.snapshotStoredChunkKey(this.#id, number, hash);
    this.#state.overlay.put(rawBytes, key, chunk);
  }

  #chunk(number: bigint, memory: Memory, index: number): Uint8Array | undefined {
    return this.#state.overlay.read(keys.snapshotChunkKey(this.#id, number, memory, index));
  }

  /** Where a snapshot's regions and the canister's own are: keys below them have the same ends. */
  #pairs(
    canister: Uint8Array,
    owner: Uint8Array,
    number: bigint,
  ): (readonly [Uint8Array, Uint8Array])[] {
    return [
      [keys.snapshotRegionPrefix(owner, number, "heap"), keys.heapPrefix(canister)],
      [keys.snapshotRegionPrefix(owner, number, "stable"), keys.stablePrefix(canister)],
      [keys.snapshotRegionPrefix(owner, number, "storedChunk"), keys.storedChunkPrefix(canister)],
    ];
  }

  #copy(from: Uint8Array, to: Uint8Array): void {
    const { overlay } = this.#state;
    for (const key of overlay.keys(from)) {
      const target = new Uint8Array(to.length + key.length - from.length);
      target.set(to);
      target.set(key.subarray(from.length), to.length);
      // A copy: the store may reuse its buffer.
      overlay.put(rawBytes, target, present(overlay.read(key)).slice());
    }
  }
}

/** Visits a byte range chunk by chunk: chunk, start in it, offset in the range, length. */
function forEachChunk(
  offset: number,
  length: number,
  visit: (index: number, start: number, at: number, count: number) => void,
): void {
  for (let at = 0; at < length;) {
    const index = Math.floor((offset + at) / CHUNK_BYTES);
    const start = offset + at - index * CHUNK_BYTES;
    const count = Math.min(CHUNK_BYTES - start, length - at);
    visit(index, start, at, count);
    at += count;
  }
}
