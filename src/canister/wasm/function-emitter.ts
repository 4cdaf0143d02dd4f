// Writes one function body: instructions, temporaries, gas and stack bookkeeping, branch hints.
// Knows nothing of the original instructions; instrument-body.ts drives it.
import { assert } from "gyrotron/base";
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

/** A body under construction; gas lives in a local of it. */
export class FunctionEmitter {
  readonly runtime: Runtime;
  readonly code: WasmWriter = new WasmWriter();
  readonly gas: number;
  /** Offsets in `code` of branches that are seldom taken. */
  readonly #hints: number[] = [];
  readonly #paramCount: number;
  readonly #locals: ValueType[];
  readonly #temporaries: Map<string, number> = new Map();

  constructor(runtime: Runtime, locals: readonly ValueType[], paramCount: number) {
    this.runtime = runtime;
    this.#locals = [...locals];
    this.#paramCount = paramCount;
    this.gas = this.#addLocal("i64");
  }

  /** The local of this name and type, which no other code of the function uses. */
  temporary(type: ValueType, name: string): number {
    const key = `${type} ${name}`;
    const found = this.#temporaries.get(key);
    if (found !== undefined) return found;
    const index = this.#addLocal(type);
    this.#temporaries.set(key, index);
    return index;
  }

  op(...codes: number[]): void {
    for (const code of codes) {
      if (code >= PREFIX_FC) {
        this.code.u8(code >= PREFIX_FD ? 0xfd : 0xfc);
        this.code.u32(code & 0xff);
      } else this.code.u8(code);
    }
  }

  opIndex(code: number, index: number): void {
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
    this.code.bytes(Op.IF, 0x40);
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

  /** The body with its locals, and the offsets of the hinted branches in it. */
  finish(): { bytes: Uint8Array; hints: readonly number[] } {
    this.end();
    const body = new WasmWriter();
    this.#writeLocals(body);
    const shift = body.length;
    body.raw(this.code.view());
    return { bytes: body.finish(), hints: this.#hints.map((offset) => offset + shift) };
  }

  #writeLocals(writer: WasmWriter): void {
    const groups: { type: ValueType; count: number }[] = [];
    for (const type of this.#locals.slice(this.#paramCount)) {
      const last = groups.at(-1);
      if (last?.type === type) last.count++;
      else groups.push({ type, count: 1 });
    }
    writer.u32(groups.length);
    for (const { type, count } of groups) {
      writer.u32(count);
      writer.u8(VALUE_TYPE_BYTES[type]);
    }
  }

  #addLocal(type: ValueType): number {
    this.#locals.push(type);
    assert(this.#locals.length < 2 ** 31);
    return this.#locals.length - 1;
  }
}
