// SHA-2, the only hashes that everything below signatures needs: an area of its own, so that whoever hashes
// a model does not load curves. The portable default is noble; a host injects what is faster and equal.

import { sha224 as nobleSha224, sha256 as nobleSha256 } from "@noble/hashes/sha2.js";
import { concatBytes } from "gyrotron/base";

/** An implementation of SHA-256. */
export interface HashProvider {
  /** SHA-256 of one byte string; the result is a fresh array of 32 bytes. */
  sha256(bytes: Uint8Array): Uint8Array;
  /** SHA-256 of bytes that come in pieces. */
  createSha256(): Sha256Stream;
}

/** A hash in progress. */
export interface Sha256Stream {
  update(bytes: Uint8Array): void;
  /** A fresh array of 32 bytes; nothing may follow. */
  digest(): Uint8Array;
}

/** The portable implementation, by noble. */
export const nobleHashes: HashProvider = {
  sha256: (bytes) => nobleSha256(bytes),
  createSha256() {
    const hash = nobleSha256.create();
    return { update: (bytes) => void hash.update(bytes), digest: () => hash.digest() };
  },
};

let current: HashProvider = nobleHashes;

/** Replaces the implementation for this thread; called at start, before any other use. */
export function setHashProvider({ sha256, createSha256 }: HashProvider): void {
  current = { sha256, createSha256 };
}

/** A SHA-256 that takes its bytes in pieces. */
export function createSha256(): Sha256Stream {
  return current.createSha256();
}

/** SHA-256 of the concatenation of `parts`. */
export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  return current.sha256(parts.length === 1 ? parts[0]! : concatBytes(...parts));
}

/** SHA-224 of the concatenation of `parts`; used for principals only. */
export function sha224(...parts: readonly Uint8Array[]): Uint8Array {
  return nobleSha224(concatBytes(...parts));
}
