// Writes one function body: instructions, temporaries, gas and stack bookkeeping, branch hints.
// Knows nothing of the original instructions; instrument-body.ts drives it.
import { assert } from "gyrotron/base";
import { type CodeSection, localGroups } from "./code-section.ts";
import type { AddressType } from "./ic0-signatures.ts";
import { VALUE_TYPE_BYTES, type ValueType } from "./module.ts";
import { Op, PREFIX_FC, PREFIX_FD } from "./opcodes.ts";
import { WasmWriter } from "./writer.ts";

/** Indices, in the instrumented module, of what instrumentation adds. */
export interface Runtime {
  readonly address: AddressType;
  /** Functions imported by the original module; later indices move by `functionShift`. */
  readonly importCount: number;
  readonly functionShift: number;
  readonly gasGlobal: number;
  readonly stackGlobal: number;
  readonly pagesGlobal: number;
  readonly refill: number;
  readonly mark: number;
  readonly markRange: number;
  readonly grow: number;
  readonly stackOverflow: number;
}

/** Where the dirty map lies in the side memory. */
export const DIRTY_MAP_OFFSET = 65_536;
/** Memory index of the side memory. */
export const SIDE_MEMORY = 1;
/** log2 of the page size that the dirty map counts. */
export const PAGE_SHIFT = 12;

/** What a temporary local is for: with its type this tells it apart from others of the function. */
export const Temporary = {
  STACK: 0,
  STORED: 1,
  BASE: 2,
  FIRST: 3,
  LAST: 4,
  COUNT: 5,
  SECOND: 6,
  FLOAT: 7,
  LANES: 8,
  LOW: 9,
  HIGH: 10,
  STEPS: 11,
} as const;

/** Bits of a key of a temporary that tell what it is for; those above are of its type. */
const TEMPORARY_BITS = 4;
/** Low bits of a value type's byte, which differ from type to type. */
const TYPE_MASK = 0x1f;

/** Writes one body after another; gas lives in a local of each. */
export class FunctionEmitter {
  readonly runtime: Runtime;
  readonly code: WasmWriter = new WasmWriter();
  gas = 0;
  /** Offsets in `code` of branches that are seldom taken. */
  readonly #hints: number[] = [];
  #paramCount = 0;
  #locals: ValueType[] = [];
  /** Index of each temporary, or 0: the first local is never one. */
  readonly #temporaries = new Uint32Array((TYPE_MASK + 1) << TEMPORARY_BITS);
  #hasTemporaries = false;

  constructor(runtime: Runtime) {
    this.runtime = runtime;
  }

  /** Starts a body with these parameters and locals. */
  begin(locals: readonly ValueType[], paramCount: number): void {
    this.code.clear();
    this.#hints.length = 0;
    this.#locals = [...locals];
    this.#paramCount = paramCount;
    if (this.#hasTemporaries) this.#temporaries.fill(0);
    this.#hasTemporaries = false;
    this.gas = this.#addLocal("i64");
  }

  /** The local of this type for this purpose (of `Temporary`), which no other code of the function uses. */
  temporary(type: ValueType, purpose: number): number {
    const key = ((VALUE_TYPE_BYTES[type] & TYPE_MASK) << TEMPORARY_BITS) | purpose;
    const found = this.#temporaries[key]!;
    if (found !== 0) return found;
    const index = this.#addLocal(type);
    this.#temporaries[key] = index;
    this.#hasTemporaries = true;
    return index;
  }

  /** One instruction without immediates, or two. */
  op(code: number, next = -1): void {
    if (code >= PREFIX_FC) {
      this.code.u8(code >= PREFIX_FD ? 0xfd : 0xfc);
      this.code.u32(code & 0xff);
    } else this.code.u8(code);
    if (next >= 0) this.op(next);
  }

  opIndex(code: number, index: number): void {
    if (code < PREFIX_FC && index < 0x80) return this.code.pair(code, index);
    this.op(code);
    this.code.u32(index);
  }

  get(local: number): void {
    this.opIndex(Op.LOCAL_GET, local);
  }

  set(local: number): void {
    this.opIndex(Op.LOCAL_SET, local);
  }

  tee(local: number): void {
    this.opIndex(Op.LOCAL_TEE, local);
  }

  i32(value: number): void {
    this.op(Op.I32_CONST);
    this.code.signed(value | 0);
  }

  i64(value: number): void {
    this.op(Op.I64_CONST);
    this.code.signed(value);
  }

  /** A constant of the address type. */
  addressConst(value: number): void {
    if (this.runtime.address === "i32") this.i32(value);
    else this.i64(value);
  }

  /** The 64-bit or the 32-bit opcode, by address type. */
  addressOp(code32: number, code64: number): void {
    this.op(this.runtime.address === "i32" ? code32 : code64);
  }

  /** Opens an `if` without results that is seldom entered. */
  ifUnlikely(): void {
    this.#hints.push(this.code.length);
    this.code.pair(Op.IF, 0x40);
  }

  end(): void {
    this.op(Op.END);
  }

  /** Subtracts instructions from the gas local. */
  charge(weight: number): void {
    if (weight === 0) return;
    this.get(this.gas);
    this.i64(weight);
    this.op(Op.I64_SUB);
    this.set(this.gas);
  }

  /** Asks the host for more when the gas local went below zero. */
  checkGas(): void {
    this.get(this.gas);
    this.i64(0);
    this.op(Op.I64_LT_S);
    this.ifUnlikely();
    this.get(this.gas);
    this.opIndex(Op.CALL, this.runtime.refill);
    this.set(this.gas);
    this.end();
  }

  /** Writes the gas local, less `weight`, to the global. */
  spillGas(weight = 0): void {
    this.get(this.gas);
    if (weight > 0) {
      this.i64(weight);
      this.op(Op.I64_SUB);
    }
    this.opIndex(Op.GLOBAL_SET, this.runtime.gasGlobal);
  }

  reloadGas(): void {
    this.opIndex(Op.GLOBAL_GET, this.runtime.gasGlobal);
    this.set(this.gas);
  }

  /** Adds the finished body to `section`. */
  finish(section: CodeSection): void {
    this.end();
    section.add(localGroups(this.#locals, this.#paramCount), this.code, this.#hints);
  }

  #addLocal(type: ValueType): number {
    this.#locals.push(type);
    assert(this.#locals.length < 2 ** 31);
    return this.#locals.length - 1;
  }
}
