// System calls on stable memory, 64-bit and the old 32-bit ones.

import {
  GIB,
  STABLE_DIRTY_BYTES_MAX,
  STABLE_MEMORY_BYTES_MAX,
  WASM_PAGE_BYTES,
} from "gyrotron/base";
import { raise, stableAccessLimitExceeded, trapped } from "../runtime/trap.ts";
import { type Execution, unsigned } from "./execution.ts";
import type { Host } from "./host.ts";
import { INSTALL_MODES } from "./mode.ts";
import { RULES, type SystemCalls } from "./rules.ts";

type Names =
  | "stable64_size"
  | "stable64_grow"
  | "stable64_write"
  | "stable64_read"
  | "stable_size"
  | "stable_grow"
  | "stable_write"
  | "stable_read";

const PAGES_MAX: number = STABLE_MEMORY_BYTES_MAX / WASM_PAGE_BYTES;
/** What the 32-bit calls can address. */
const NARROW_PAGES_MAX: number = (4 * GIB) / WASM_PAGE_BYTES;
/** More may change while code is installed, less in a query. */
const INSTALL_DIRTY_BYTES_MAX: number = 4 * STABLE_DIRTY_BYTES_MAX;
const QUERY_DIRTY_BYTES_MAX: number = STABLE_DIRTY_BYTES_MAX / 2;

/** The calls of this file. */
export function stableMemoryCalls(host: Host): SystemCalls<Names> {
  return {
    stable64_size: () => BigInt(host.enter(RULES.stable64_size).stable.pages),
    stable64_grow: (delta: bigint) =>
      BigInt(grow(host.enter(RULES.stable64_grow), unsigned(delta), PAGES_MAX)),
    stable64_write: (offset: bigint, source: bigint, size: bigint) => {
      write(host.enter(RULES.stable64_write), "stable64_write", offset, source, size);
    },
    stable64_read: (target: bigint, offset: bigint, size: bigint) => {
      read(host.enter(RULES.stable64_read), "stable64_read", target, offset, size);
    },
    stable_size: () => narrow(host.enter(RULES.stable_size)).stable.pages,
    stable_grow: (delta: number) =>
      grow(narrow(host.enter(RULES.stable_grow)), delta >>> 0, NARROW_PAGES_MAX),
    stable_write: (offset: number, source: number, size: number) => {
      write(narrow(host.enter(RULES.stable_write)), "stable_write", offset, source, size);
    },
    stable_read: (target: number, offset: number, size: number) => {
      read(narrow(host.enter(RULES.stable_read)), "stable_read", target, offset, size);
    },
  };
}

function narrow(e: Execution): Execution {
  if (e.stable.pages > NARROW_PAGES_MAX) {
    raise(trapped("32 bit stable memory api used on a memory larger than 4GB"));
  }
  return e;
}

function grow(e: Execution, delta: number, pagesMax: number): number {
  const before = e.stable.pages;
  if (before + delta > pagesMax || !e.takeGrowable(delta)) return -1;
  e.stable.pages = before + delta;
  return before;
}

function read(
  e: Execution,
  name: string,
  target: number | bigint,
  offset: number | bigint,
  size: number | bigint,
): void {
  const [from, length] = stableRange(e, offset, size);
  const bytes = e.writable(`ic0.${name} heap`, target, length);
  e.payStableChunks(from, length);
  e.stable.read(from, bytes);
}

function write(
  e: Execution,
  name: string,
  offset: number | bigint,
  source: number | bigint,
  size: number | bigint,
): void {
  const [from, length] = stableRange(e, offset, size);
  const bytes = e.read(`ic0.${name} heap`, source, length);
  const limit = dirtyBytesMax(e);
  e.payStableChunks(from, length);
  // Whole chunks: a changed one takes its full size in memory, however little of it changed.
  if (e.stable.writtenBytes(from, length) > limit) raise(stableAccessLimitExceeded(limit));
  e.stable.write(from, bytes);
}

function stableRange(
  e: Execution,
  offset: number | bigint,
  size: number | bigint,
): [from: number, length: number] {
  const from = unsigned(offset);
  const length = unsigned(size);
  if (from + length > e.stable.bytes) raise(trapped("stable memory out of bounds"));
  return [from, length];
}

function dirtyBytesMax(e: Execution): number {
  if ((e.modeBit & INSTALL_MODES) !== 0) return INSTALL_DIRTY_BYTES_MAX;
  return e.isLocal ? QUERY_DIRTY_BYTES_MAX : STABLE_DIRTY_BYTES_MAX;
}
