// The key space of replicated state (spec 07 §1). Keys are prefix-free: one type byte, then fields of
// fixed length or with a length prefix. Owns the layout of keys, not of values.

import { concatBytes, u32BigEndian, u64BigEndian } from "gyrotron/base";

const type = (letter: string): Uint8Array => Uint8Array.of(letter.charCodeAt(0));
const sized = (bytes: Uint8Array): Uint8Array => concatBytes(Uint8Array.of(bytes.length), bytes);

/** Prefixes of all keys of one type. */
export const KEY_PREFIX = {
  network: type("n"),
  system: type("s"),
  canister: type("c"),
  publicInfo: type("p"),
  heapChunk: type("h"),
  stableChunk: type("t"),
  module: type("m"),
  ingress: type("i"),
  ingressExpiry: type("x"),
  callContext: type("k"),
  callback: type("b"),
  message: type("q"),
  ready: type("r"),
  timer: type("w"),
  task: type("e"),
  log: type("l"),
  history: type("y"),
  storedChunk: type("u"),
} as const;

/** Network configuration, written once at genesis. */
export const networkKey: Uint8Array = KEY_PREFIX.network;
/** Counters of the state machine. */
export const systemKey: Uint8Array = KEY_PREFIX.system;
export const canisterKey = (id: Uint8Array): Uint8Array => concatBytes(KEY_PREFIX.canister, sized(id));
/** What the certified tree shows of a canister (CanisterPublicInfo). */
export const publicInfoKey = (id: Uint8Array): Uint8Array => concatBytes(KEY_PREFIX.publicInfo, sized(id));
export const heapPrefix = (id: Uint8Array): Uint8Array => concatBytes(KEY_PREFIX.heapChunk, sized(id));
export const heapChunkKey = (id: Uint8Array, index: number): Uint8Array => concatBytes(heapPrefix(id), u32BigEndian(index));
export const stablePrefix = (id: Uint8Array): Uint8Array => concatBytes(KEY_PREFIX.stableChunk, sized(id));
export const stableChunkKey = (id: Uint8Array, index: number): Uint8Array => concatBytes(stablePrefix(id), u32BigEndian(index));
/** Uploaded module bytes by SHA-256, with a reference count. */
export const moduleKey = (hash: Uint8Array): Uint8Array => concatBytes(KEY_PREFIX.module, hash);
/** Status of a request (IngressStatus), by request id. */
export const ingressKey = (requestId: Uint8Array): Uint8Array => concatBytes(KEY_PREFIX.ingress, requestId);
