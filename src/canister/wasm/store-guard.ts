// The write barrier. A store is let through if it lies in a range of dirty pages that its site has
// cached in two globals; else a guard looks into the dirty map, asks the host to mark clean pages,
// and caches the dirty range around the store. Sites that store to the same object share a cache;
// caches are forgotten on every entry from the host. Spec: docs/spec/06-canister-runtime.md §3.3.
import { assert } from "gyrotron/base";
import {
  DIRTY_MAP_OFFSET,
  type FunctionEmitter,
  PAGE_SHIFT,
  SIDE_MEMORY,
  Temporary,
} from "./function-emitter.ts";
import type { AddressType } from "./ic0-signatures.ts";
import type { FunctionType } from "./module.ts";
import { Op } from "./opcodes.ts";

/** Caches for each width of store; sites beyond share them in turn. */
const CACHES_PER_WIDTH = 24;
/** Steps of 16 pages by which a cached range is extended, in each direction. */
const EXTENSION_STEPS_MAX = 64;
/** Of the misses on dirty pages only every so many-th moves a range: they may come by turns. */
const MISSES_PER_MOVE = 8;

/** Two globals: the range's first address, and at how many addresses in it an access may start. */
interface Cache {
  /** Longest access served. */
  readonly bytes: number;
}

/** A function that instrumentation adds. */
export interface AddedFunction {
  readonly type: FunctionType;
  readonly write: (emit: FunctionEmitter) => void;
}

/** Hands out caches while bodies are written, and writes the functions that serve them. */
export class StoreGuard {
  readonly #address: AddressType;
  readonly #firstGlobal: number;
  readonly #firstFunction: number;
  readonly #caches: Cache[] = [];
  readonly #byWidth: Map<number, number[]> = new Map();
  readonly #turns: Map<number, number> = new Map();

  /** `firstFunction` is the index of `probe`; the guards of all caches follow it. */
  constructor(address: AddressType, firstGlobal: number, firstFunction: number) {
    this.#address = address;
    this.#firstGlobal = firstGlobal;
    this.#firstFunction = firstFunction;
  }

  /** Types of the globals that follow each other from `firstGlobal` on. */
  get globals(): AddressType[] {
    return ["i32", ...this.#caches.flatMap(() => [this.#address, this.#address])];
  }

  /** The next cache for accesses of at most `bytes` bytes. */
  take(bytes: number): number {
    const caches = this.#byWidth.get(bytes) ?? [];
    this.#byWidth.set(bytes, caches);
    const turn = this.#turns.get(bytes) ?? 0;
    this.#turns.set(bytes, turn + 1);
    if (turn < CACHES_PER_WIDTH) caches.push(this.#caches.push({ bytes }) - 1);
    return caches[turn % CACHES_PER_WIDTH]!;
  }

  /** Lets stores to `bytes` bytes from the address in local `first` pass, by way of `cache`. */
  writeCheck(emit: FunctionEmitter, cache: number, first: number, bytes: number): void {
    assert(bytes <= this.#caches[cache]!.bytes, "access wider than its cache allows");
    emit.get(first);
    emit.opIndex(Op.GLOBAL_GET, this.#startGlobal(cache));
    emit.addressOp(Op.I32_SUB, Op.I64_SUB);
    emit.opIndex(Op.GLOBAL_GET, this.#startGlobal(cache) + 1);
    emit.addressOp(Op.I32_GE_U, Op.I64_GE_U);
    emit.ifUnlikely();
    emit.get(first);
    emit.i32(bytes);
    emit.opIndex(Op.CALL, this.#firstFunction + 2 + cache);
    emit.end();
  }

  /** Forgets all ranges. */
  writeReset(emit: FunctionEmitter): void {
    this.#caches.forEach((_, cache) => {
      emit.addressConst(0);
      emit.opIndex(Op.GLOBAL_SET, this.#startGlobal(cache) + 1);
    });
  }

  /** Types and bodies of `admit`, `extent` and the guards, in order. */
  functions(): AddedFunction[] {
    const address = this.#address;
    return [
      {
        type: { params: [address, "i32"], results: ["i32"] },
        write: (emit) => this.#writeAdmit(emit),
      },
      {
        type: { params: [address, "i32"], results: [address, address] },
        write: (emit) => this.#writeExtent(emit),
      },
      ...this.#caches.map((_, cache): AddedFunction => ({
        type: { params: [address, "i32"], results: [] },
        write: (emit) => this.#writeGuard(emit, cache),
      })),
    ];
  }

  #startGlobal(cache: number): number {
    assert(cache < this.#caches.length, "unknown cache");
    return this.#firstGlobal + 1 + 2 * cache;
  }

  /** (address, bytes): admits the stores, and from time to time moves the cache to where it is. */
  #writeGuard(emit: FunctionEmitter, cache: number): void {
    emit.get(0);
    emit.get(1);
    emit.opIndex(Op.CALL, this.#firstFunction);
    emit.code.bytes(Op.IF, 0x40);
    emit.get(0);
    emit.i32(this.#caches[cache]!.bytes);
    emit.opIndex(Op.CALL, this.#firstFunction + 1);
    emit.opIndex(Op.GLOBAL_SET, this.#startGlobal(cache) + 1);
    emit.opIndex(Op.GLOBAL_SET, this.#startGlobal(cache));
    emit.end();
  }

  /** (address, bytes of the store): has clean pages marked; whether the cache should move. */
  #writeAdmit(emit: FunctionEmitter): void {
    const first = emit.temporary("i32", Temporary.FIRST);
    const last = emit.temporary("i32", Temporary.LAST);
    emit.get(0);
    pageOfAddress(emit);
    emit.tee(first);
    loadDirty(emit);
    emit.get(0);
    emit.get(1);
    if (this.#address === "i64") emit.op(Op.I64_EXTEND_I32_U);
    emit.addressOp(Op.I32_ADD, Op.I64_ADD);
    emit.addressConst(1);
    emit.addressOp(Op.I32_SUB, Op.I64_SUB);
    pageOfAddress(emit);
    emit.tee(last);
    loadDirty(emit);
    emit.op(Op.I32_AND, Op.I32_EQZ);
    emit.code.bytes(Op.IF, 0x40);
    emit.get(first);
    emit.get(last);
    emit.opIndex(Op.CALL, emit.runtime.mark);
    emit.i32(1);
    emit.op(Op.RETURN);
    emit.end();
    emit.opIndex(Op.GLOBAL_GET, this.#firstGlobal);
    emit.i32(1);
    emit.op(Op.I32_ADD);
    emit.i32(MISSES_PER_MOVE - 1);
    emit.op(Op.I32_AND);
    emit.opIndex(Op.GLOBAL_SET, this.#firstGlobal);
    emit.opIndex(Op.GLOBAL_GET, this.#firstGlobal);
    emit.op(Op.I32_EQZ);
  }

  /** (address, bytes of the store) -> (start of the dirty range, addresses a store may start at). */
  #writeExtent(emit: FunctionEmitter): void {
    const low = emit.temporary("i32", Temporary.LOW);
    const high = emit.temporary("i32", Temporary.HIGH);
    const steps = emit.temporary("i32", Temporary.STEPS);
    emit.get(0);
    pageOfAddress(emit);
    emit.tee(low);
    emit.i32(1);
    emit.op(Op.I32_ADD);
    emit.set(high);
    extend(emit, high, steps, "up");
    extend(emit, low, steps, "down");
    this.#addressOfPage(emit, () => emit.get(low));
    this.#addressOfPage(emit, () => {
      emit.get(high);
      emit.get(low);
      emit.op(Op.I32_SUB);
    });
    emit.get(1);
    if (this.#address === "i64") emit.op(Op.I64_EXTEND_I32_U);
    emit.addressOp(Op.I32_SUB, Op.I64_SUB);
    emit.addressConst(1);
    emit.addressOp(Op.I32_ADD, Op.I64_ADD);
  }

  #addressOfPage(emit: FunctionEmitter, page: () => void): void {
    page();
    if (this.#address === "i64") emit.op(Op.I64_EXTEND_I32_U);
    emit.addressConst(PAGE_SHIFT);
    emit.addressOp(Op.I32_SHL, Op.I64_SHL);
  }
}

/** With an address on the stack: its page number as i32. */
function pageOfAddress(emit: FunctionEmitter): void {
  emit.addressConst(PAGE_SHIFT);
  emit.addressOp(Op.I32_SHR_U, Op.I64_SHR_U);
  if (emit.runtime.address === "i64") emit.op(Op.I32_WRAP_I64);
}

/** With a page number on the stack: its byte of the dirty map. */
function loadDirty(emit: FunctionEmitter): void {
  emit.op(Op.I32_LOAD8_U);
  sideMemarg(emit, DIRTY_MAP_OFFSET);
}

function sideMemarg(emit: FunctionEmitter, offset: number): void {
  emit.code.u8(0x40);
  emit.code.u32(SIDE_MEMORY);
  emit.code.u32(offset);
}

/** Moves `edge` by 16 pages at a time while all of them are dirty. */
function extend(
  emit: FunctionEmitter,
  edge: number,
  steps: number,
  direction: "up" | "down",
): void {
  emit.i32(EXTENSION_STEPS_MAX);
  emit.set(steps);
  emit.code.bytes(Op.BLOCK, 0x40, Op.LOOP, 0x40);
  if (direction === "down") {
    // Below page 0 the side memory holds globals, not pages.
    emit.get(edge);
    emit.i32(16);
    emit.op(Op.I32_LT_U);
    emit.opIndex(Op.BR_IF, 1);
  }
  emit.get(edge);
  emit.op(Op.V128_LOAD);
  sideMemarg(emit, direction === "up" ? DIRTY_MAP_OFFSET : DIRTY_MAP_OFFSET - 16);
  emit.op(Op.I8X16_ALL_TRUE, Op.I32_EQZ);
  emit.opIndex(Op.BR_IF, 1);
  emit.get(edge);
  emit.i32(direction === "up" ? 16 : -16);
  emit.op(Op.I32_ADD);
  emit.set(edge);
  emit.get(steps);
  emit.i32(1);
  emit.op(Op.I32_SUB);
  emit.tee(steps);
  emit.opIndex(Op.BR_IF, 0);
  emit.end();
  emit.end();
}
