// The key space of replicated state (spec 07). Keys are prefix-free: one type byte, then fields of
// fixed length or with a length prefix. Owns the layout of keys, not of values.

import {
  concatBytes,
  readU32BigEndian,
  readU64BigEndian,
  u32BigEndian,
  u64BigEndian,
  utf8Bytes,
} from "gyrotron/base";

const type = (letter: string): Uint8Array => Uint8Array.of(letter.charCodeAt(0));
const sized = (bytes: Uint8Array): Uint8Array => concatBytes(Uint8Array.of(bytes.length), bytes);

/** Prefixes of all keys of one type. */
export const KEY_PREFIX: Readonly<Record<KeyType, Uint8Array>> = {
  network: type("n"),
  system: type("s"),
  canister: type("c"),
  publicInfo: type("p"),
  heapChunk: type("h"),
  stableChunk: type("t"),
  module: type("m"),
  ingress: type("i"),
  ingressPruning: type("x"),
  callContext: type("k"),
  callback: type("b"),
  callDeadline: type("d"),
  inbox: type("j"),
  message: type("q"),
  timer: type("w"),
  task: type("e"),
  log: type("l"),
  storedChunk: type("u"),
  job: type("g"),
  jobDeadline: type("v"),
  model: type("o"),
  receipts: type("z"),
  retired: type("r"),
  stopDeadline: type("a"),
  token: type("y"),
  history: type("H"),
  snapshot: type("S"),
  snapshotContent: type("C"),
  sweep: type("W"),
  subnetMetrics: type("M"),
  outsideTask: type("T"),
  outsideDeadline: type("D"),
  lastReport: type("Q"),
  nodeMetrics: type("N"),
};

/** The types of keys, by what they hold. */
export type KeyType =
  | "network"
  | "system"
  | "canister"
  | "publicInfo"
  | "heapChunk"
  | "stableChunk"
  | "module"
  | "ingress"
  | "ingressPruning"
  | "callContext"
  | "callback"
  | "callDeadline"
  | "inbox"
  | "message"
  | "timer"
  | "task"
  | "log"
  | "storedChunk"
  | "job"
  | "jobDeadline"
  | "model"
  | "receipts"
  | "retired"
  | "stopDeadline"
  | "token"
  | "history"
  | "snapshot"
  | "snapshotContent"
  | "sweep"
  | "subnetMetrics"
  | "outsideTask"
  | "outsideDeadline"
  | "lastReport"
  | "nodeMetrics";

/** Types of keys that end in the number of a chunk: many of them, few of which a run of a node touches. */
export const CHUNK_TYPES: ReadonlySet<number> = new Set(
  [KEY_PREFIX.heapChunk, KEY_PREFIX.stableChunk, KEY_PREFIX.snapshotContent].map(([byte]) => byte!),
);

const ofCanister = (prefix: Uint8Array, id: Uint8Array): Uint8Array =>
  concatBytes(prefix, sized(id));
const numbered = (prefix: Uint8Array, id: Uint8Array, number: bigint): Uint8Array =>
  concatBytes(ofCanister(prefix, id), u64BigEndian(number));
const timed = (prefix: Uint8Array, timeNs: bigint, rest: Uint8Array): Uint8Array =>
  concatBytes(prefix, u64BigEndian(timeNs), rest);

/** Network configuration, written once at genesis. */
export const networkKey: Uint8Array = KEY_PREFIX.network;
/** Counters and the run queue of the state machine. */
export const systemKey: Uint8Array = KEY_PREFIX.system;
export const canisterKey = (id: Uint8Array): Uint8Array => ofCanister(KEY_PREFIX.canister, id);
/** Id of a deleted canister that somebody had chosen. */
export const retiredKey = (id: Uint8Array): Uint8Array => ofCanister(KEY_PREFIX.retired, id);
/** What the certified tree shows of a canister. */
export const publicInfoKey = (id: Uint8Array): Uint8Array => ofCanister(KEY_PREFIX.publicInfo, id);
export const heapPrefix = (id: Uint8Array): Uint8Array => ofCanister(KEY_PREFIX.heapChunk, id);
export const heapChunkKey = (id: Uint8Array, index: number): Uint8Array =>
  concatBytes(heapPrefix(id), u32BigEndian(index));
export const stablePrefix = (id: Uint8Array): Uint8Array => ofCanister(KEY_PREFIX.stableChunk, id);
export const stableChunkKey = (id: Uint8Array, index: number): Uint8Array =>
  concatBytes(stablePrefix(id), u32BigEndian(index));
/** Uploaded module bytes by SHA-256, with a reference count. */
export const moduleKey = (hash: Uint8Array): Uint8Array => concatBytes(KEY_PREFIX.module, hash);
/** Status of a request, by request id. */
export const ingressKey = (requestId: Uint8Array): Uint8Array =>
  concatBytes(KEY_PREFIX.ingress, requestId);
/** When a request's status may be forgotten. */
export const ingressPruningKey = (timeNs: bigint, requestId: Uint8Array): Uint8Array =>
  timed(KEY_PREFIX.ingressPruning, timeNs, requestId);
export const callContextKey = (id: Uint8Array, number: bigint): Uint8Array =>
  numbered(KEY_PREFIX.callContext, id, number);
export const callContextPrefix = (id: Uint8Array): Uint8Array =>
  ofCanister(KEY_PREFIX.callContext, id);
export const callbackKey = (id: Uint8Array, number: bigint): Uint8Array =>
  numbered(KEY_PREFIX.callback, id, number);
/** Deadline of a best-effort call. */
export const callDeadlineKey = (timeNs: bigint, id: Uint8Array, callback: bigint): Uint8Array =>
  timed(KEY_PREFIX.callDeadline, timeNs, concatBytes(sized(id), u64BigEndian(callback)));
export const inboxKey = (id: Uint8Array): Uint8Array => ofCanister(KEY_PREFIX.inbox, id);
export const messageKey = (id: Uint8Array, number: bigint): Uint8Array =>
  numbered(KEY_PREFIX.message, id, number);
/** Global timer of a canister, ordered by time. */
export const timerKey = (timeNs: bigint, id: Uint8Array): Uint8Array =>
  timed(KEY_PREFIX.timer, timeNs, sized(id));
/** When a stop call that waits is given up. */
export const stopDeadlineKey = (timeNs: bigint, id: Uint8Array): Uint8Array =>
  timed(KEY_PREFIX.stopDeadline, timeNs, sized(id));
export const taskKey = (number: bigint): Uint8Array =>
  concatBytes(KEY_PREFIX.task, u64BigEndian(number));
export const logKey = (id: Uint8Array): Uint8Array => ofCanister(KEY_PREFIX.log, id);
export const storedChunkKey = (id: Uint8Array, hash: Uint8Array): Uint8Array =>
  concatBytes(ofCanister(KEY_PREFIX.storedChunk, id), hash);
export const storedChunkPrefix = (id: Uint8Array): Uint8Array =>
  ofCanister(KEY_PREFIX.storedChunk, id);

/** The last changes of a canister's code and controllers. */
export const historyKey = (id: Uint8Array): Uint8Array => ofCanister(KEY_PREFIX.history, id);
export const snapshotPrefix = (id: Uint8Array): Uint8Array => ofCanister(KEY_PREFIX.snapshot, id);
export const snapshotKey = (id: Uint8Array, number: bigint): Uint8Array =>
  numbered(KEY_PREFIX.snapshot, id, number);
/** Where a snapshot keeps each kind of bytes. */
export const SNAPSHOT_REGION = { heap: 0, stable: 1, module: 2, storedChunk: 3 } as const;
/** A kind of bytes that a snapshot keeps. */
export type SnapshotRegion = keyof typeof SNAPSHOT_REGION;
export const snapshotContentPrefix = (id: Uint8Array, number: bigint): Uint8Array =>
  numbered(KEY_PREFIX.snapshotContent, id, number);
export const snapshotRegionPrefix = (
  id: Uint8Array,
  number: bigint,
  region: SnapshotRegion,
): Uint8Array =>
  concatBytes(snapshotContentPrefix(id, number), Uint8Array.of(SNAPSHOT_REGION[region]));
export const snapshotChunkKey = (
  id: Uint8Array,
  number: bigint,
  region: Exclude<SnapshotRegion, "storedChunk">,
  index: number,
): Uint8Array => concatBytes(snapshotRegionPrefix(id, number, region), u32BigEndian(index));
/** A chunk of the chunk store in a snapshot, by its SHA-256. */
export const snapshotStoredChunkKey = (
  id: Uint8Array,
  number: bigint,
  hash: Uint8Array,
): Uint8Array => concatBytes(snapshotRegionPrefix(id, number, "storedChunk"), hash);
/** When a canister that does nothing may have run out of cycles. */
export const sweepKey = (timeNs: bigint, id: Uint8Array): Uint8Array =>
  timed(KEY_PREFIX.sweep, timeNs, sized(id));
/** Totals of the subnet; the key names it, since the certified tree does. */
export const subnetMetricsKey = (subnetId: Uint8Array): Uint8Array =>
  ofCanister(KEY_PREFIX.subnetMetrics, subnetId);
/** Work that nodes do outside of the state machine and that is not settled. */
export const outsideTaskKey = (number: bigint): Uint8Array =>
  concatBytes(KEY_PREFIX.outsideTask, u64BigEndian(number));
export const outsideDeadlineKey = (timeNs: bigint, number: bigint): Uint8Array =>
  timed(KEY_PREFIX.outsideDeadline, timeNs, u64BigEndian(number));

/** Number of a node's last report on queries. */
export const lastReportKey = (node: number): Uint8Array =>
  concatBytes(KEY_PREFIX.lastReport, u32BigEndian(node));

/** What nodes have proposed on one day, counted from 1970. */
export const nodeMetricsKey = (day: bigint): Uint8Array =>
  concatBytes(KEY_PREFIX.nodeMetrics, u64BigEndian(day));

/** A GPU job that is not settled. */
export const jobKey = (number: bigint): Uint8Array =>
  concatBytes(KEY_PREFIX.job, u64BigEndian(number));
export const jobDeadlineKey = (timeNs: bigint, number: bigint): Uint8Array =>
  timed(KEY_PREFIX.jobDeadline, timeNs, u64BigEndian(number));
/** A model by name. */
export const modelNameKey = (name: string): Uint8Array =>
  ofCanister(KEY_PREFIX.model, utf8Bytes(name));
/** Peaks of the receipts' mountain range. */
export const receiptsKey: Uint8Array = KEY_PREFIX.receipts;

/** The u64 after the type byte of a time-ordered key. */
export const timeOfKey = (key: Uint8Array): bigint => readU64BigEndian(key, 1);
/** The canister and chunk number of a heap chunk's key. */
export function parseHeapChunkKey(key: Uint8Array): { id: Uint8Array; index: number } {
  const length = key[1]!;
  return { id: key.slice(2, 2 + length), index: readU32BigEndian(key, 2 + length) };
}
