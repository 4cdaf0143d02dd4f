// One running execution: its context, its memories and counters, and what it has done so far. The
// system calls are spread over the files beside this one; each works on the current Execution.

import {
  CHUNK_BYTES,
  EMPTY_BYTES,
  LOCAL_PAYLOAD_BYTES_MAX,
  WASM32_MEMORY_BYTES_MAX,
  WASM64_MEMORY_BYTES_MAX,
  WASM_PAGE_BYTES,
  assert,
} from "gyrotron/base";
import type { ExecutionChanges, ExecutionContext, OutgoingCall } from "../contract.ts";
import type { GasMeter } from "../runtime/gas-meter.ts";
import type { HeapImage } from "../runtime/heap-image.ts";
import type { StableImage } from "../runtime/stable-image.ts";
import { contractViolation, raise, wasmMemoryLimitExceeded, wrongMode } from "../runtime/trap.ts";
import { LogBuffer } from "./log-buffer.ts";
import { COMPOSITE_MODES, LOCAL_MODES, MODE_BIT, MODE_NAME } from "./mode.ts";
import type { SystemCallRule } from "./rules.ts";

/** Chunks of stable memory that an execution may return to without paying for them again. */
const RECENT_CHUNKS_MAX = 1024;
/** Instructions for each other one that it comes to: a read from the store. */
const CHUNK_INSTRUCTIONS = 2_000;

/** A call between call_new and call_perform. */
export type PendingCall = Omit<
  OutgoingCall,
  "argument" | "transmissionCharge" | "responseReserved" | "callbackReserved"
> & { readonly argument: ByteParts };

/** What an execution works on. */
export interface ExecutionParts {
  readonly context: ExecutionContext;
  readonly heap: HeapImage;
  readonly stable: StableImage;
  readonly gas: GasMeter;
  /** The instance's counter that memory.size reads. */
  readonly pages: WebAssembly.Global;
  /** Maximum of the module's memory in 64 KiB pages, if it declares one. */
  readonly heapPagesMax: number | undefined;
}

/** State of one execution. */
export class Execution {
  readonly context: ExecutionContext;
  readonly modeBit: number;
  readonly heap: HeapImage;
  readonly stable: StableImage;
  readonly gas: GasMeter;
  readonly logs: LogBuffer = new LogBuffer();
  readonly calls: OutgoingCall[] = [];
  /** Bytes of their arguments. */
  callBytes = 0;
  /** How many of the calls go to each callee (hex). */
  readonly queuedByCallee: Map<string, number> = new Map();
  readonly reply: ByteParts = new ByteParts();
  response: ExecutionChanges["response"] = undefined;
  accepted = false;
  /** Main balance as the canister sees it now. */
  balance: bigint;
  cyclesAccepted = 0n;
  cyclesBurned = 0n;
  pendingCall: PendingCall | undefined = undefined;
  certifiedData: Uint8Array | undefined = undefined;
  globalTimerNs: bigint | undefined = undefined;

  readonly #pages: WebAssembly.Global;
  readonly #heapPagesMax: number;
  #growableBytes: bigint;
  readonly #recentChunks: Set<number> = new Set();

  constructor(parts: ExecutionParts) {
    this.context = parts.context;
    this.modeBit = MODE_BIT[parts.context.mode];
    this.heap = parts.heap;
    this.stable = parts.stable;
    this.gas = parts.gas;
    this.#pages = parts.pages;
    this.balance = parts.context.cyclesBalance;
    this.#growableBytes = parts.context.growableBytes;
    const limit = parts.heap.wide ? WASM64_MEMORY_BYTES_MAX : WASM32_MEMORY_BYTES_MAX;
    this.#heapPagesMax = Math.min(parts.heapPagesMax ?? Infinity, limit / WASM_PAGE_BYTES);
  }

  /** Runs on one node only. */
  get isLocal(): boolean {
    return (this.modeBit & LOCAL_MODES) !== 0;
  }

  /** Part of a composite query: nothing is charged. */
  get isComposite(): boolean {
    return (this.modeBit & COMPOSITE_MODES) !== 0;
  }

  /** What may be spent without freezing the canister. */
  get liquidBalance(): bigint {
    const liquid = this.balance - this.context.freezingLimit;
    return liquid > 0n ? liquid : 0n;
  }

  get hasResponded(): boolean {
    return this.context.responded || this.response !== undefined;
  }

  get cyclesAvailable(): bigint {
    return this.hasResponded ? 0n : this.context.cyclesAvailable - this.cyclesAccepted;
  }

  /** Checks the mode and takes the fixed cost of a system call. @throws TrapSignal */
  enter(rule: SystemCallRule): void {
    if ((rule.modes & this.modeBit) === 0)
      raise(wrongMode(rule.name, MODE_NAME[this.context.mode]));
    this.gas.charge(rule.cost);
  }

  /** A size or pointer as the canister's index type. */
  index(value: number): number | bigint {
    return this.heap.wide ? BigInt(value) : value;
  }

  /** A copy of the canister's bytes, paid for. `what` names the argument. @throws TrapSignal */
  read(what: string, source: number | bigint, size: number | bigint): Uint8Array {
    const start = unsigned(source);
    const length = unsigned(size);
    this.gas.charge(length);
    this.#checkRange(what, start, length);
    return this.heap.bytes.slice(start, start + length);
  }

  /** Whether a range lies within the canister's memory. */
  isWithinHeap(source: number | bigint, size: number | bigint): boolean {
    return unsigned(source) + unsigned(size) <= this.heap.logicalBytes;
  }

  /** The canister's bytes in place, about to be overwritten and paid for. @throws TrapSignal */
  writable(what: string, target: number | bigint, size: number): Uint8Array {
    const start = unsigned(target);
    this.gas.charge(size);
    this.#checkRange(what, start, size);
    this.heap.touch(start, size);
    return this.heap.bytes.subarray(start, start + size);
  }

  /** `size` bytes of `bytes` from `offset` to the canister's memory. @throws TrapSignal */
  copyOut(
    what: string,
    bytes: Uint8Array,
    target: number | bigint,
    offset: number | bigint,
    size: number | bigint,
  ): void {
    const from = unsigned(offset);
    const length = unsigned(size);
    if (from + length > bytes.length) {
      raise(contractViolation(rangeText(`${what} payload`, "offset", from, length, bytes.length)));
    }
    this.writable(`${what} heap`, target, length).set(bytes.subarray(from, from + length));
  }

  /** A 128-bit number, little endian, to the canister's memory. @throws TrapSignal */
  copyOutU128(what: string, value: bigint, target: number | bigint): void {
    const bytes = this.writable(`${what} heap`, target, 16);
    const view = new DataView(bytes.buffer, bytes.byteOffset, 16);
    view.setBigUint64(0, BigInt.asUintN(64, value), true);
    view.setBigUint64(8, value >> 64n, true);
  }

  /** memory.grow: the old size, or undefined if it is refused. @throws TrapSignal, CanisterError */
  growHeap(deltaPages: number): number | undefined {
    const before = this.heap.logicalPages;
    const after = before + deltaPages;
    if (after > this.#heapPagesMax) return undefined;
    if (deltaPages === 0) return before;
    const limit = this.context.wasmMemoryLimitBytes;
    const bytes = BigInt(after) * BigInt(WASM_PAGE_BYTES);
    if (limit > 0n && bytes > limit) raise(wasmMemoryLimitExceeded(limit, bytes));
    if (!this.takeGrowable(deltaPages)) return undefined;
    this.heap.growTo(after);
    this.#pages.value = this.index(after);
    return before;
  }

  /** Whether the memories may grow by so many 64 KiB pages; if so, that much is used up. */
  takeGrowable(pages: number): boolean {
    const bytes = BigInt(pages) * BigInt(WASM_PAGE_BYTES);
    if (bytes > this.#growableBytes) return false;
    this.#growableBytes -= bytes;
    return true;
  }

  /** Pays for the chunks of a range of stable memory. @throws TrapSignal */
  payStableChunks(offset: number, length: number): void {
    if (length === 0) return;
    const last = Math.floor((offset + length - 1) / CHUNK_BYTES);
    for (let index = Math.floor(offset / CHUNK_BYTES); index <= last; index++) {
      if (this.#recentChunks.has(index)) continue;
      if (this.#recentChunks.size === RECENT_CHUNKS_MAX) this.#recentChunks.clear();
      this.#recentChunks.add(index);
      this.gas.charge(CHUNK_INSTRUCTIONS);
    }
  }

  /** Effects of the finished execution. */
  changes(): ExecutionChanges {
    assert(this.cyclesAccepted <= this.context.cyclesAvailable, "accepted more than available");
    return {
      response: this.response,
      accepted: this.accepted,
      cyclesAccepted: this.cyclesAccepted,
      cyclesBurned: this.cyclesBurned,
      calls: this.calls,
      certifiedData: this.certifiedData,
      globalTimerNs: this.globalTimerNs,
    };
  }

  #checkRange(what: string, start: number, length: number): void {
    const end = this.heap.logicalBytes;
    if (start + length > end) raise(contractViolation(rangeText(what, "src", start, length, end)));
  }
}

/** Byte strings appended one after another. */
export class ByteParts {
  #bytes: Uint8Array = EMPTY_BYTES;
  length = 0;

  append(part: Uint8Array): void {
    const length = this.length + part.length;
    assert(length <= LOCAL_PAYLOAD_BYTES_MAX, "appended beyond every limit");
    if (this.length === 0) {
      this.#bytes = part;
    } else {
      if (length > this.#bytes.length) {
        const grown = new Uint8Array(Math.max(length, 2 * this.#bytes.length));
        grown.set(this.#bytes.subarray(0, this.length));
        this.#bytes = grown;
      }
      this.#bytes.set(part, this.length);
    }
    this.length = length;
  }

  /** All of them in one. */
  join(): Uint8Array {
    return this.length === this.#bytes.length ? this.#bytes : this.#bytes.slice(0, this.length);
  }
}

/** A pointer or size as an unsigned number; from 2^53 on only roughly, which no check can confuse. */
export function unsigned(value: number | bigint): number {
  return typeof value === "number" ? value >>> 0 : Number(BigInt.asUintN(64, value));
}

function rangeText(what: string, name: string, start: number, length: number, end: number): string {
  return `${what}: ${name}=${BigInt(start)} + length=${BigInt(length)} exceeds the slice size=${end}`;
}
