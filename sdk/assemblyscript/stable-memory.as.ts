// Stable memory: bytes that outlive upgrades, by their offset.

import { trap } from "./canister.as";
import { stable64Grow, stable64Read, stable64Size, stable64Write } from "./ic0.as";

const PAGE_BYTES: u64 = 65_536;

/** Its size in bytes. */
export function stableSize(): u64 {
  return (stable64Size() as u64) * PAGE_BYTES;
}

/** Grows it to hold `bytes` bytes; traps if the network gives no more. */
export function stableReserve(bytes: u64): void {
  const size = stableSize();
  if (bytes <= size) return;
  const pages = (bytes - size + PAGE_BYTES - 1) / PAGE_BYTES;
  if (stable64Grow(pages as i64) < 0) trap("stable memory cannot grow");
}

/** Writes bytes at an offset, and grows before if that is needed. */
export function stableWrite(offset: u64, bytes: Uint8Array): void {
  stableReserve(offset + bytes.length);
  stable64Write(offset as i64, bytes.dataStart as i64, bytes.length as i64);
}

/** Reads `length` bytes at an offset; traps beyond the end. */
export function stableRead(offset: u64, length: i32): Uint8Array {
  const bytes = new Uint8Array(length);
  stable64Read(bytes.dataStart as i64, offset as i64, length as i64);
  return bytes;
}
