// Reads the instructions of one function body with their immediates. Bounds what it reads; whether
// indices and types fit together is for the engine's validator to say.
import { FUNCTION_BODY_INSTRUCTIONS_MAX } from "gyrotron/base";
import { WasmError } from "./error.ts";
import type { FunctionType, ValueType, WasmModule } from "./module.ts";
import { IMMEDIATE, Immediate, PREFIX_FC, PREFIX_FD } from "./opcodes.ts";
import { WasmReader } from "./reader.ts";

/** V8 takes 50,000 locals in a function; the second pass adds a few. */
const LOCALS_MAX = 49_900;
/** Memory offsets above this are out of bounds whatever the address; they are clamped to it. */
const OFFSET_MAX = 2 ** 40;

const VOID: FunctionType = { params: [], results: [] };
const ONE_RESULT: Readonly<Record<ValueType, FunctionType>> = {
  i32: { params: [], results: ["i32"] },
  i64: { params: [], results: ["i64"] },
  f32: { params: [], results: ["f32"] },
  f64: { params: [], results: ["f64"] },
  v128: { params: [], results: ["v128"] },
  funcref: { params: [], results: ["funcref"] },
  externref: { params: [], results: ["externref"] },
};

/** 1 for immediates that are one index. */
const IS_INDEX: Uint8Array = new Uint8Array(Math.max(...Object.values(Immediate)) + 1);
for (const kind of [
  Immediate.LABEL,
  Immediate.FUNCTION,
  Immediate.LOCAL,
  Immediate.GLOBAL,
  Immediate.TABLE,
  Immediate.DATA,
  Immediate.ELEMENT,
])
  IS_INDEX[kind] = 1;

/** A cursor over the instructions of one function of a module, then of the next. */
export class InstructionReader {
  reader: WasmReader;
  type: FunctionType = VOID;
  /** Instructions read so far. */
  count = 0;
  /** Main immediate of the last instruction: an index, a memory offset or an i32 constant. */
  a = 0;
  /** Second immediate: the alignment hint of a memory access, or an index. */
  b = 0;
  /** Type of a block. */
  block: FunctionType = VOID;
  /** Labels of a br_table. */
  labels: number[] = [];
  readonly #module: WasmModule;
  #index = 0;

  constructor(module: WasmModule) {
    this.#module = module;
    this.reader = new WasmReader(module.bytes, 0, 0);
  }

  /** Goes to the beginning of function `index` of those defined in the module. */
  begin(index: number): void {
    const { start, end } = this.#module.bodies[index]!;
    this.#index = index;
    this.reader = new WasmReader(this.#module.bytes, start, end);
    this.type = this.typeAt(this.#module.functions[index]!);
    this.count = 0;
  }

  /** Types of parameters and locals, which come before the code. */
  locals(): ValueType[] {
    const reader = this.reader;
    const types: ValueType[] = [...this.type.params];
    const groups = reader.count();
    for (let group = 0; group < groups; group++) {
      const count = reader.u32();
      const type = reader.valueType();
      if (types.length + count > LOCALS_MAX)
        throw reader.unsupported("too many locals in a function");
      for (let i = 0; i < count; i++) types.push(type);
    }
    return types;
  }

  /** Reads an instruction; returns its opcode, its immediates go to the fields. */
  next(): number {
    const reader = this.reader;
    const { bytes, offset: start, end } = reader;
    if (start >= end) throw reader.malformed("unexpected end");
    const op = bytes[start]!;
    const kind = IMMEDIATE[op]!;
    this.a = 0;
    this.b = 0;
    this.count++;
    if (this.count > FUNCTION_BODY_INSTRUCTIONS_MAX) throw this.#tooLong();
    reader.offset = start + 1;
    if (kind === Immediate.NONE) return op;
    // Nine of ten immediates are one byte, or two of a memory access.
    const first = start + 1 < end ? bytes[start + 1]! : 0x80;
    if (first < 0x80) {
      if (IS_INDEX[kind] === 1) {
        this.a = first;
        reader.offset = start + 2;
        return op;
      }
      if (kind === Immediate.I32) {
        this.a = (first << 25) >> 25;
        reader.offset = start + 2;
        return op;
      }
      const second = start + 2 < end ? bytes[start + 2]! : 0x80;
      if (kind === Immediate.MEMARG && first < 0x20 && second < 0x80) {
        this.a = second;
        this.b = first;
        reader.offset = start + 3;
        return op;
      }
    }
    if (op === 0xfc || op === 0xfd) return this.#nextPrefixed(op, start);
    if (kind === Immediate.ABSENT) throw reader.unsupported("instruction", start);
    this.#readImmediates(kind);
    return op;
  }

  #nextPrefixed(prefix: number, start: number): number {
    const reader = this.reader;
    const code = reader.u32();
    if (code > 0xff) throw reader.unsupported("instruction", start);
    const op = (prefix === 0xfc ? PREFIX_FC : PREFIX_FD) + code;
    const kind = IMMEDIATE[op]!;
    if (kind === Immediate.ABSENT) throw reader.unsupported("instruction", start);
    this.#readImmediates(kind);
    return op;
  }

  #tooLong(): WasmError {
    return new WasmError({
      code: "canister/wasm-limit",
      what: `Wasm module contains a function at index ${this.#index} of size ${this.count} that exceeds the maximum allowed size of ${FUNCTION_BODY_INSTRUCTIONS_MAX}.`,
    });
  }

  #readImmediates(kind: number): void {
    const reader = this.reader;
    switch (kind) {
      case Immediate.NONE:
        break;
      case Immediate.LABEL:
      case Immediate.FUNCTION:
      case Immediate.LOCAL:
      case Immediate.GLOBAL:
      case Immediate.TABLE:
      case Immediate.DATA:
      case Immediate.ELEMENT:
        this.a = reader.u32();
        break;
      case Immediate.BLOCK:
        this.block = this.#readBlockType();
        break;
      case Immediate.LABELS:
        this.labels = [];
        for (let left = reader.count() + 1; left > 0; left--) this.labels.push(reader.u32());
        break;
      case Immediate.INDIRECT:
      case Immediate.ELEMENT_TABLE:
      case Immediate.TABLE_TABLE:
        this.a = reader.u32();
        this.b = reader.u32();
        break;
      case Immediate.TYPES:
        for (let left = reader.count(); left > 0; left--) reader.valueType();
        break;
      case Immediate.MEMARG:
        this.#readMemarg();
        break;
      case Immediate.MEMARG_LANE:
        this.#readMemarg();
        reader.u8();
        break;
      case Immediate.MEMORY:
        this.#readMemory();
        break;
      case Immediate.MEMORY_MEMORY:
        this.#readMemory();
        this.#readMemory();
        break;
      case Immediate.DATA_MEMORY:
        this.a = reader.u32();
        this.#readMemory();
        break;
      case Immediate.I32:
        this.a = reader.s32();
        break;
      case Immediate.I64:
        reader.skip64();
        break;
      case Immediate.F32:
        reader.skip(4);
        break;
      case Immediate.F64:
        reader.skip(8);
        break;
      case Immediate.REF_TYPE:
        reader.referenceType();
        break;
      case Immediate.LANE:
        reader.u8();
        break;
      default:
        reader.skip(16);
    }
  }

  #readBlockType(): FunctionType {
    const reader = this.reader;
    const byte = reader.bytes[reader.offset] ?? 0;
    if (byte === 0x40) {
      reader.u8();
      return VOID;
    }
    if (byte >= 0x40 && byte < 0x80) return ONE_RESULT[reader.valueType()];
    const index = reader.s33();
    if (index < 0) throw reader.malformed("block type");
    return this.typeAt(index);
  }

  #readMemarg(): void {
    const reader = this.reader;
    const start = reader.offset;
    const align = reader.u32();
    if (align >= 32) throw reader.unsupported("multiple memories", start);
    this.a = reader.u64AtMost(OFFSET_MAX);
    this.b = align;
  }

  #readMemory(): void {
    const start = this.reader.offset;
    if (this.reader.u32() !== 0) throw this.reader.unsupported("multiple memories", start);
  }

  typeAt(index: number): FunctionType {
    const type = this.#module.types[index];
    if (type === undefined) throw this.reader.malformed(`unknown type ${index}`);
    return type;
  }
}
