// Scalars as 32 bytes, big endian, and from uniform bytes.

import { present, parseHex } from "gyrotron/base";

/** The number that big-endian bytes are. */
export function scalarOf(bytes: Uint8Array): bigint {
  return bytes.length === 0 ? 0n : BigInt(`0x${bytes.toHex()}`);
}

/** 32 big-endian bytes. */
export function bytesOfScalar(scalar: bigint): Uint8Array {
  return present(parseHex(scalar.toString(16).padStart(64, "0")), "a scalar has 32 bytes");
}
