// Second pass over a function body: writes it again with gas and stack accounting, write barriers
// and canonical NaNs. Spec: docs/spec/06-canister-runtime.md section 3.
import { present } from "gyrotron/base";
import { type Body, Flag, UNROLLED_ROUNDS } from "./body.ts";
import { type FunctionEmitter, type Runtime, Temporary } from "./function-emitter.ts";
import {
  type FunctionType,
  VALUE_TYPE_BYTES,
  valueTypeFromByte,
  type WasmModule,
} from "./module.ts";
import {
  MAKES_SHAPE,
  Op,
  OPCODE_COUNT,
  PREFIX_FC,
  Shape,
  STORE_BYTES,
  STORE_TYPE,
  WEIGHT_32,
  WEIGHT_64,
} from "./opcodes.ts";
import { SPAN_BYTES_MAX } from "./store-spans.ts";
import type { StoreGuard } from "./store-guard.ts";

/** Stack bytes charged for a call, besides its locals and operands. */
export const FRAME_BYTES = 128;
/** Stack bytes charged for each parameter, local and operand. */
export const SLOT_BYTES = 16;
/** A function that calls no other defined function is charged no stack up to this many bytes. */
export const LEAF_BYTES_FREE = 1024;
/** Dynamic charges of 64-bit counts stop here; larger counts are out of bounds anyway. */
const COUNT_MAX = 2 ** 34;

/**
 * Stack bytes that a call of this function is charged. The engine's frame never takes more than four
 * times that, whatever it keeps: without a loop it keeps no result that is not computed twice.
 */
export function stackBytesOf(body: Body): number {
  const frame = FRAME_BYTES + SLOT_BYTES * (body.localTypes.length + body.heightMax);
  if (!body.calls) return frame;
  return frame + (body.loops ? 2 : 1) * body.engineSlots;
}

export interface BodyContext {
  readonly module: WasmModule;
  readonly runtime: Runtime;
  readonly guard: StoreGuard;
  /** Weight of a function whose callers charge for it, else undefined. */
  readonly includedWeight: (index: number) => number | undefined;
  /** Index in the new module of a function type, added if need be. */
  readonly typeIndexOf: (type: FunctionType) => number;
}

/** Writes the decoded bodies of a module, one at a time, to an emitter. */
export class BodyInstrumenter {
  readonly #context: BodyContext;
  readonly #runtime: Runtime;
  readonly #body: Body;
  readonly #emit: FunctionEmitter;
  readonly #weights: Uint16Array;
  #type: FunctionType = { params: [], results: [] };
  #isIncluded = false;
  /** Index of the instruction that opened each block. */
  readonly #openers: number[] = [];
  #stackBytes = 0;
  /** Number of blocks around the unrolled loop that is being written, if one is. */
  #exitFrame: number | undefined;
  readonly #caches: Map<number, number> = new Map();
  /** Weight of the straight line so far that is not yet charged. */
  #pending = 0;

  constructor(context: BodyContext, body: Body, emit: FunctionEmitter) {
    this.#context = context;
    this.#runtime = context.runtime;
    this.#body = body;
    this.#emit = emit;
    this.#weights = context.runtime.address === "i32" ? WEIGHT_32 : WEIGHT_64;
  }

  /** Writes the instrumented form of the body, of type `type`; an included one charges nothing. */
  run(type: FunctionType, isIncluded: boolean): void {
    this.#type = type;
    this.#isIncluded = isIncluded;
    this.#emit.begin(this.#body.localTypes, type.params.length);
    this.#openers.length = 0;
    this.#stackBytes = stackBytesOf(this.#body);
    this.#exitFrame = undefined;
    this.#pending = 0;
    if (this.#caches.size > 0) this.#caches.clear();
    if (!this.#isIncluded) this.#enter();
    if (this.#body.returns) this.#openWrapper();
    this.#range(0, this.#body.count);
  }

  #range(start: number, end: number): void {
    const { ops, flags, starts, ends, unrolled } = this.#body;
    for (let at = start; at < end; at++) {
      let op = ops[at]!;
      if (IS_COPIED[op] === 1 && (flags[at]! & Flag.CANONICALISE) === 0) {
        // What is copied lies in one piece: nothing is left out but behind a branch.
        const first = at;
        do {
          this.#pending += this.#weights[op]!;
          at++;
          op = ops[at]!;
        } while (at < end && IS_COPIED[op] === 1 && (flags[at]! & Flag.CANONICALISE) === 0);
        this.#emit.code.slice(this.#context.module.bytes, starts[first]!, ends[at - 1]!);
        at--;
        continue;
      }
      const loopEnd = op === Op.LOOP ? unrolled.get(at) : undefined;
      if (loopEnd === undefined) {
        this.#pending += this.#weights[op]!;
        this.#instruction(op, at);
      } else {
        this.#unroll(at, loopEnd);
        at = loopEnd;
      }
    }
  }

  /** Several rounds of a short loop in a row, with one check of the gas. */
  #unroll(start: number, end: number): void {
    const emit = this.#emit;
    const test = end - 1;
    this.#flush();
    emit.code.bytes(Op.BLOCK, 0x40);
    this.#exitFrame = this.#openers.length;
    this.#openers.push(start);
    this.#copy(start);
    emit.checkGas();
    for (let round = 1; round <= UNROLLED_ROUNDS; round++) {
      this.#range(start + 1, test);
      this.#pending += this.#weights[Op.BR_IF]!;
      this.#flush();
      if (round < UNROLLED_ROUNDS) {
        emit.op(Op.I32_EQZ);
        emit.opIndex(Op.BR_IF, 1);
      } else this.#copy(test);
    }
    this.#openers.pop();
    emit.end();
    emit.end();
    this.#exitFrame = undefined;
  }

  /** The depth of a label here: an unrolled loop has one block more around it. */
  #label(depth: number): number {
    const frame = this.#openers.length - 1 - depth;
    return this.#exitFrame !== undefined && frame < this.#exitFrame ? depth + 1 : depth;
  }

  #branch(op: number, at: number): void {
    this.#flush();
    if (this.#exitFrame === undefined) return this.#copy(at);
    if (op !== Op.BR_TABLE) return this.#emit.opIndex(op, this.#label(this.#body.a[at]!));
    const labels = this.#body.tables.get(at)!;
    this.#emit.opIndex(op, labels.length - 1);
    for (const label of labels) this.#emit.code.u32(this.#label(label));
  }

  #enter(): void {
    const emit = this.#emit;
    if (this.#body.calls || this.#stackBytes > LEAF_BYTES_FREE) {
      emit.opIndex(Op.GLOBAL_GET, this.#runtime.stackGlobal);
      emit.i32(this.#stackBytes);
      emit.op(Op.I32_SUB);
      emit.tee(this.#stackLocal);
      emit.i32(0);
      emit.op(Op.I32_LT_S);
      emit.ifUnlikely();
      emit.opIndex(Op.CALL, this.#runtime.stackOverflow);
      emit.end();
    }
    emit.reloadGas();
    // Without calls and loops a function ends soon, and its caller checks next.
    if (this.#body.calls) emit.checkGas();
  }

  /** A block in place of the function's own label, so that all exits meet before the last spill. */
  #openWrapper(): void {
    const { results } = this.#type;
    this.#emit.op(Op.BLOCK);
    if (results.length === 0) this.#emit.code.u8(0x40);
    else if (results.length === 1) this.#emit.code.u8(VALUE_TYPE_BYTES[results[0]!]);
    else this.#emit.code.signed(this.#context.typeIndexOf({ params: [], results }));
  }

  get #stackLocal(): number {
    return this.#emit.temporary("i32", Temporary.STACK);
  }

  #instruction(op: number, at: number): void {
    switch (op) {
      case Op.BLOCK:
        this.#openers.push(at);
        return this.#copy(at);
      case Op.LOOP:
        this.#openers.push(at);
        this.#flush();
        this.#copy(at);
        return this.#emit.checkGas();
      case Op.IF:
        this.#openers.push(at);
        this.#flush();
        return this.#copy(at);
      case Op.BR:
      case Op.BR_IF:
      case Op.BR_TABLE:
        return this.#branch(op, at);
      case Op.ELSE:
        this.#flush();
        return this.#copy(at);
      case Op.END:
        return this.#end(at);
      case Op.RETURN:
        this.#flush();
        return this.#emit.opIndex(Op.BR, this.#label(this.#openers.length));
      case Op.UNREACHABLE:
        this.#spill();
        return this.#copy(at);
      case Op.CALL:
      case Op.CALL_INDIRECT:
      case Op.RETURN_CALL:
      case Op.RETURN_CALL_INDIRECT:
        return this.#call(op, at);
      case Op.REF_FUNC:
        return this.#emit.opIndex(op, this.#functionIndex(this.#body.a[at]!));
      case Op.MEMORY_SIZE:
        return this.#emit.opIndex(Op.GLOBAL_GET, this.#runtime.pagesGlobal);
      case Op.MEMORY_GROW:
        this.#spill();
        this.#emit.opIndex(Op.CALL, this.#runtime.grow);
        return this.#emit.reloadGas();
      default:
        return this.#plain(op, at);
    }
  }

  #plain(op: number, at: number): void {
    if (STORE_BYTES[op]! > 0) return this.#store(op, at);
    if (op >= Op.MEMORY_INIT && op <= Op.TABLE_FILL) return this.#bulk(op, at);
    this.#copy(at);
    if ((this.#body.flags[at]! & Flag.CANONICALISE) === 0) return;
    const isLocal = op === Op.LOCAL_GET || op === Op.LOCAL_TEE;
    this.#canonicalise(isLocal ? this.#body.b[at]! : MAKES_SHAPE[op]!);
  }

  #copy(at: number): void {
    this.#emit.code.slice(this.#context.module.bytes, this.#body.starts[at]!, this.#body.ends[at]!);
  }

  #flush(): void {
    this.#emit.charge(this.#pending);
    this.#pending = 0;
  }

  /** Charges the straight line and writes what is left to the global. */
  #spill(): void {
    this.#emit.spillGas(this.#pending);
    this.#pending = 0;
  }

  #end(at: number): void {
    const opener = this.#openers.pop();
    if (opener !== undefined) {
      const op = this.#body.ops[opener]!;
      const joins =
        op === Op.IF || (op === Op.BLOCK && (this.#body.flags[opener]! & Flag.TARGETED) !== 0);
      if (joins) this.#flush();
      return this.#copy(at);
    }
    if (this.#isIncluded) return;
    if (this.#body.returns) {
      this.#flush();
      this.#emit.end();
    }
    this.#spill();
  }

  #functionIndex(index: number): number {
    return index < this.#runtime.importCount ? index : index + this.#runtime.functionShift;
  }

  #call(op: number, at: number): void {
    const emit = this.#emit;
    const indirect = op === Op.CALL_INDIRECT || op === Op.RETURN_CALL_INDIRECT;
    const tail = op === Op.RETURN_CALL || op === Op.RETURN_CALL_INDIRECT;
    const index = this.#body.a[at]!;
    const included = indirect ? undefined : this.#context.includedWeight(index);
    if (included !== undefined) {
      // The callee neither charges nor calls: its weight is part of this straight line.
      this.#pending += included;
      if (tail) this.#spill();
      return emit.opIndex(op, this.#functionIndex(index));
    }
    this.#spill();
    if (indirect || index >= this.#runtime.importCount) {
      emit.get(this.#stackLocal);
      if (tail) {
        // The frame goes away before the call: give its charge back.
        emit.i32(this.#stackBytes);
        emit.op(Op.I32_ADD);
      }
      emit.opIndex(Op.GLOBAL_SET, this.#runtime.stackGlobal);
    }
    if (indirect) this.#copy(at);
    else emit.opIndex(op, this.#functionIndex(index));
    if (!tail) emit.reloadGas();
  }

  /** The write barrier, then the store. */
  #store(op: number, at: number): void {
    if ((this.#body.flags[at]! & Flag.COVERED) !== 0) return this.#copy(at);
    const emit = this.#emit;
    const value = emit.temporary(present(valueTypeFromByte(STORE_TYPE[op]!)), Temporary.STORED);
    const base = emit.temporary(this.#runtime.address, Temporary.BASE);
    const offset = this.#body.a[at]!;
    const { low, high } = this.#body.spans.get(at) ?? {
      low: offset,
      high: offset + STORE_BYTES[op]!,
    };
    const first = low === 0 ? base : emit.temporary(this.#runtime.address, Temporary.FIRST);
    emit.set(value);
    emit.set(base);
    if (low !== 0) {
      emit.get(base);
      emit.addressConst(low);
      emit.addressOp(Op.I32_ADD, Op.I64_ADD);
      emit.set(first);
    }
    const cache = this.#cacheOf(widthClass(high - low), this.#body.roots[at]!);
    this.#context.guard.writeCheck(emit, cache, first, high - low);
    emit.get(base);
    emit.get(value);
    this.#copy(at);
  }

  /** The cache of accesses of this width to the object that `root` names in this function. */
  #cacheOf(bytes: number, root: number): number {
    const key = root * 2 * SPAN_BYTES_MAX + bytes;
    const found = this.#caches.get(key);
    if (found !== undefined) return found;
    const cache = this.#context.guard.take(bytes);
    this.#caches.set(key, cache);
    return cache;
  }

  /** Bulk operations are charged by length; those that write the heap mark their range first. */
  #bulk(op: number, at: number): void {
    const emit = this.#emit;
    const { address } = this.#runtime;
    if (op === Op.DATA_DROP || op === Op.ELEM_DROP || op === PREFIX_FC + 16) return this.#copy(at);
    this.#flush();
    const countType = this.#countType(op, at);
    const count = emit.temporary(countType, Temporary.COUNT);
    if (op < Op.MEMORY_INIT || op > Op.MEMORY_FILL) {
      emit.tee(count);
      this.#chargeCount(count, countType);
      return this.#copy(at);
    }
    const second = emit.temporary(op === Op.MEMORY_COPY ? address : "i32", Temporary.SECOND);
    const base = emit.temporary(address, Temporary.BASE);
    emit.set(count);
    emit.set(second);
    emit.set(base);
    this.#chargeCount(count, countType);
    emit.get(count);
    emit.op(countType === "i32" ? Op.I32_EQZ : Op.I64_EQZ, Op.I32_EQZ);
    emit.code.bytes(Op.IF, 0x40);
    emit.spillGas();
    emit.get(base);
    emit.get(count);
    if (countType !== address) emit.op(Op.I64_EXTEND_I32_U);
    emit.opIndex(Op.CALL, this.#runtime.markRange);
    emit.reloadGas();
    emit.end();
    emit.get(base);
    emit.get(second);
    emit.get(count);
    this.#copy(at);
  }

  #countType(op: number, at: number): "i32" | "i64" {
    const { tables } = this.#context.module;
    const tableType = (index: number): "i32" | "i64" => present(tables[index]).addressType;
    switch (op) {
      case Op.MEMORY_COPY:
      case Op.MEMORY_FILL:
        return this.#runtime.address;
      case Op.TABLE_GROW:
      case Op.TABLE_FILL:
        return tableType(this.#body.a[at]!);
      case Op.TABLE_COPY:
        return tableType(this.#body.a[at]!) === "i64" ? tableType(this.#body.b[at]!) : "i32";
      default:
        return "i32";
    }
  }

  #chargeCount(count: number, type: "i32" | "i64"): void {
    const emit = this.#emit;
    emit.get(emit.gas);
    emit.get(count);
    if (type === "i32") emit.op(Op.I64_EXTEND_I32_U);
    else {
      emit.i64(COUNT_MAX);
      emit.get(count);
      emit.i64(COUNT_MAX);
      emit.op(Op.I64_LT_U, Op.SELECT);
    }
    emit.op(Op.I64_SUB);
    emit.set(emit.gas);
    emit.checkGas();
  }

  /** With a float result on the stack: replaces any NaN by the canonical one. */
  #canonicalise(shape: number): void {
    const emit = this.#emit;
    const { type, notEqual, vector } = present(CANONICAL[shape]);
    const value = emit.temporary(type, Temporary.FLOAT);
    emit.tee(value);
    emit.get(value);
    emit.op(notEqual);
    if (vector) {
      emit.tee(emit.temporary("v128", Temporary.LANES));
      emit.op(Op.V128_ANY_TRUE);
    }
    emit.ifUnlikely();
    if (vector) {
      emit.op(Op.V128_CONST);
      emit.code.raw(CANONICAL_BYTES[shape]!);
      emit.get(value);
      emit.get(emit.temporary("v128", Temporary.LANES));
      emit.op(Op.V128_BITSELECT);
    } else {
      emit.op(shape === Shape.F32 ? Op.F32_CONST : Op.F64_CONST);
      emit.code.raw(CANONICAL_BYTES[shape]!);
    }
    emit.set(value);
    emit.end();
    emit.get(value);
  }
}

/** 1 for instructions that are written as they were read, unless their NaNs must be canonical. */
const IS_COPIED: Uint8Array = new Uint8Array(OPCODE_COUNT);
for (let op = Op.RETURN_CALL_INDIRECT + 1; op < OPCODE_COUNT; op++) {
  const isBulk = op >= Op.MEMORY_INIT && op <= Op.TABLE_FILL;
  const isMoved = op === Op.REF_FUNC || op === Op.MEMORY_SIZE || op === Op.MEMORY_GROW;
  if (STORE_BYTES[op] === 0 && !isBulk && !isMoved) IS_COPIED[op] = 1;
}

/** The width of the caches that serve accesses of `bytes`: a power of two. */
function widthClass(bytes: number): number {
  let width = 1;
  while (width < bytes) width *= 2;
  return width;
}

interface Canonical {
  readonly type: "f32" | "f64" | "v128";
  readonly notEqual: number;
  readonly vector: boolean;
}

const CANONICAL: readonly (Canonical | undefined)[] = [
  undefined,
  { type: "f32", notEqual: Op.F32_NE, vector: false },
  { type: "f64", notEqual: Op.F64_NE, vector: false },
  { type: "v128", notEqual: Op.F32X4_NE, vector: true },
  { type: "v128", notEqual: Op.F64X2_NE, vector: true },
];

const F32_NAN = [0, 0, 0xc0, 0x7f];
const F64_NAN = [0, 0, 0, 0, 0, 0, 0xf8, 0x7f];
const CANONICAL_BYTES: readonly Uint8Array[] = [
  [],
  F32_NAN,
  F64_NAN,
  [...F32_NAN, ...F32_NAN, ...F32_NAN, ...F32_NAN],
  [...F64_NAN, ...F64_NAN],
].map((bytes) => Uint8Array.from(bytes));
