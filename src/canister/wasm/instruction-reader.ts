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

/** A cursor over the instructions of function `index` of those defined in the module. */
export class InstructionReader {
  readonly reader: WasmReader;
  readonly type: FunctionType;
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
  readonly #index: number;

  constructor(module: WasmModule, index: number) {
    const { start, end } = module.bodies[index]!;
    this.#module = module;
    this.#index = index;
    this.reader = new WasmReader(module.bytes, start, end);
    this.type = this.typeAt(module.functions[index]!);
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
    const start = reader.offset;
    let op = reader.u8();
    if (op === 0xfc || op === 0xfd) {
      const code = reader.u32();
      if (code > 0xff) throw reader.unsupported("instruction", start);
      op = (op === 0xfc ? PREFIX_FC : PREFIX_FD) + code;
    }
    const kind = IMMEDIATE[op]!;
    if (kind === Immediate.ABSENT) throw reader.unsupported("instruction", start);
    this.count++;
    if (this.count > FUNCTION_BODY_INSTRUCTIONS_MAX) {
      throw new WasmError({
        code: "canister/wasm-limit",
        what: `Wasm module contains a function at index ${this.#index} of size ${this.count} that exceeds the maximum allowed size of ${FUNCTION_BODY_INSTRUCTIONS_MAX}.`,
      });
    }
    this.a = 0;
    this.b = 0;
    this.#readImmediates(kind);
    return op;
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
        reader.s64();
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
    if (byte >= 0x40 && byte < 0x80) return { params: [], results: [reader.valueType()] };
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
