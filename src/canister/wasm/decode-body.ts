// First pass over a function body: splits it into instructions, leaves out code that cannot be
// reached, and finds what the second pass needs ahead of time: operand height, labels that are
// branched to, calls, loops, and float results whose NaN bits can be seen.
import { FUNCTION_BODY_INSTRUCTIONS_MAX } from "gyrotron/base";
import { WasmError } from "./error.ts";
import { functionTypeIndex, type FunctionType, type ValueType, type WasmModule } from "./module.ts";
import {
  IMMEDIATE,
  Immediate,
  MAKES_SHAPE,
  Op,
  POPS,
  PREFIX_FC,
  PREFIX_FD,
  PUSHES,
  READS_SHAPE,
  Shape,
  STORE_BYTES,
} from "./opcodes.ts";
import { FloatLocals } from "./float-locals.ts";
import { WasmReader } from "./reader.ts";

/** V8 takes 50,000 locals in a function; the second pass adds a few. */
const LOCALS_MAX = 49_900;
/** Memory offsets above this are out of bounds whatever the address; they are clamped to it. */
const OFFSET_MAX = 2 ** 40;

export const Flag = {
  /** The result is visible bit by bit, so its NaN must be canonical. */
  CANONICALISE: 1,
  /** A branch goes to this block's label. */
  TARGETED: 2,
} as const;

/** What an address is computed from, as far as that is plain to see; locals and globals follow. */
const Root = { UNKNOWN: 0, CONSTANT: 1, FIRST: 2 } as const;

interface Frame {
  readonly op: number;
  /** Index of the opening instruction, or -1 for the function itself. */
  readonly opener: number;
  /** Height below the block's parameters. */
  readonly height: number;
  readonly params: number;
  readonly results: number;
}

const VOID: FunctionType = { params: [], results: [] };

/** A decoded function; the arrays are reused by the next `decode`. */
export class Body {
  /** Reachable instructions. */
  count = 0;
  ops: Uint16Array<ArrayBuffer> = new Uint16Array(1024);
  /** Byte range of each instruction in the module. */
  starts: Uint32Array<ArrayBuffer> = new Uint32Array(1024);
  ends: Uint32Array<ArrayBuffer> = new Uint32Array(1024);
  /** Main immediate: index, memory offset or type; for a memory access `b` is the alignment hint. */
  a: Float64Array<ArrayBuffer> = new Float64Array(1024);
  b: Uint32Array<ArrayBuffer> = new Uint32Array(1024);
  flags: Uint8Array<ArrayBuffer> = new Uint8Array(1024);
  /** For a value and for a store: which local or global its address comes from (`Root`). */
  roots: Uint32Array<ArrayBuffer> = new Uint32Array(1024);

  localTypes: ValueType[] = [];
  heightMax = 0;
  /** All instructions, unreachable ones too. */
  instructionCount = 0;
  /** Whether any function is called, imports included. */
  callsAny = false;
  /** Whether functions other than imports are called. */
  calls = false;
  loops = false;
  /** Whether the function's own label is branched to. */
  returns = false;
  mutatesInstance = false;
  /** Functions whose references are taken. */
  readonly references: Set<number> = new Set();

  reserve(): void {
    if (this.count < this.ops.length) return;
    const length = this.ops.length * 2;
    this.ops = grow(this.ops, new Uint16Array(length));
    this.starts = grow(this.starts, new Uint32Array(length));
    this.ends = grow(this.ends, new Uint32Array(length));
    this.a = grow(this.a, new Float64Array(length));
    this.b = grow(this.b, new Uint32Array(length));
    this.flags = grow(this.flags, new Uint8Array(length));
    this.roots = grow(this.roots, new Uint32Array(length));
  }
}

function grow<T extends { set(from: T): void }>(from: T, to: T): T {
  to.set(from);
  return to;
}

/** Decodes function `index` of those defined in a module that the engine has validated. */
export function decodeBody(module: WasmModule, index: number, body: Body): void {
  new BodyDecoder(module, index, body).run();
}

class BodyDecoder {
  readonly #module: WasmModule;
  readonly #index: number;
  readonly #body: Body;
  readonly #reader: WasmReader;
  readonly #type: FunctionType;
  readonly #frames: Frame[] = [];
  /** For each operand the instruction that made it, or -1 if several may have. */
  readonly #stack: number[] = [];
  #a = 0;
  #b = 0;
  #block: FunctionType = VOID;
  #labels: number[] = [];
  #floats: FloatLocals = new FloatLocals([], 0);
  #loopDepth = 0;

  constructor(module: WasmModule, index: number, body: Body) {
    const range = module.bodies[index]!;
    this.#module = module;
    this.#index = index;
    this.#body = body;
    this.#reader = new WasmReader(module.bytes, range.start, range.end);
    this.#type = this.#typeAt(module.functions[index]!);
  }

  run(): void {
    const body = this.#body;
    const reader = this.#reader;
    body.count = 0;
    body.heightMax = 0;
    body.instructionCount = 0;
    body.callsAny = false;
    body.calls = false;
    body.loops = false;
    body.returns = false;
    body.mutatesInstance = false;
    body.references.clear();
    body.localTypes = this.#readLocals();
    this.#floats = new FloatLocals(body.localTypes, this.#type.params.length);
    const results = this.#type.results.length;
    this.#frames.push({ op: Op.BLOCK, opener: -1, height: 0, params: 0, results });
    while (this.#frames.length > 0) {
      const start = reader.offset;
      const op = this.#readInstruction();
      const count = body.count;
      body.reserve();
      body.ops[count] = op;
      body.starts[count] = start;
      body.ends[count] = reader.offset;
      body.a[count] = this.#a;
      body.b[count] = this.#b;
      body.flags[count] = 0;
      body.roots[count] = Root.UNKNOWN;
      body.count++;
      this.#apply(op, count);
      if (this.#stack.length > body.heightMax) body.heightMax = this.#stack.length;
    }
    if (!reader.done) throw reader.malformed("code after the end of a function");
    this.#floats.decide(body);
  }

  #readLocals(): ValueType[] {
    const reader = this.#reader;
    const types: ValueType[] = [...this.#type.params];
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

  /** Reads an instruction; its immediates go to the fields of this object. */
  #readInstruction(): number {
    const reader = this.#reader;
    const start = reader.offset;
    let op = reader.u8();
    if (op === 0xfc || op === 0xfd) {
      const code = reader.u32();
      if (code > 0xff) throw reader.unsupported("instruction", start);
      op = (op === 0xfc ? PREFIX_FC : PREFIX_FD) + code;
    }
    const kind = IMMEDIATE[op]!;
    if (kind === Immediate.ABSENT) throw reader.unsupported("instruction", start);
    this.#body.instructionCount++;
    if (this.#body.instructionCount > FUNCTION_BODY_INSTRUCTIONS_MAX) {
      throw new WasmError({
        code: "canister/wasm-limit",
        what: `Wasm module contains a function at index ${this.#index} of size ${this.#body.instructionCount} that exceeds the maximum allowed size of ${FUNCTION_BODY_INSTRUCTIONS_MAX}.`,
      });
    }
    this.#a = 0;
    this.#b = 0;
    this.#readImmediates(kind);
    return op;
  }

  #readImmediates(kind: number): void {
    const reader = this.#reader;
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
        this.#a = reader.u32();
        break;
      case Immediate.BLOCK:
        this.#block = this.#readBlockType();
        break;
      case Immediate.LABELS:
        this.#labels = [];
        for (let left = reader.count() + 1; left > 0; left--) this.#labels.push(reader.u32());
        break;
      case Immediate.INDIRECT:
      case Immediate.ELEMENT_TABLE:
      case Immediate.TABLE_TABLE:
        this.#a = reader.u32();
        this.#b = reader.u32();
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
        this.#a = reader.u32();
        this.#readMemory();
        break;
      case Immediate.I32:
        reader.s32();
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
    const reader = this.#reader;
    const byte = reader.bytes[reader.offset] ?? 0;
    if (byte === 0x40) {
      reader.u8();
      return VOID;
    }
    if (byte >= 0x40 && byte < 0x80) return { params: [], results: [reader.valueType()] };
    const index = reader.s33();
    if (index < 0) throw reader.malformed("block type");
    return this.#typeAt(index);
  }

  #readMemarg(): void {
    const reader = this.#reader;
    const start = reader.offset;
    const align = reader.u32();
    if (align >= 32) throw reader.unsupported("multiple memories", start);
    const offset = reader.u64();
    this.#a = offset > BigInt(OFFSET_MAX) ? OFFSET_MAX : Number(offset);
    this.#b = align;
  }

  #readMemory(): void {
    const start = this.#reader.offset;
    if (this.#reader.u32() !== 0) throw this.#reader.unsupported("multiple memories", start);
  }

  #typeAt(index: number): FunctionType {
    const type = this.#module.types[index];
    if (type === undefined) throw this.#reader.malformed(`unknown type ${index}`);
    return type;
  }

  #apply(op: number, at: number): void {
    switch (op) {
      case Op.BLOCK:
      case Op.LOOP:
      case Op.IF:
        return this.#open(op, at);
      case Op.ELSE:
        return this.#alternative();
      case Op.END:
        return this.#close();
      case Op.BR_IF:
        this.#take(1);
        return this.#branch(this.#a);
      case Op.BR:
        this.#branch(this.#a);
        return this.#skipUnreachable();
      case Op.BR_TABLE:
        this.#take(1);
        for (const label of new Set(this.#labels)) this.#branch(label);
        return this.#skipUnreachable();
      case Op.RETURN:
        this.#branch(this.#frames.length - 1);
        return this.#skipUnreachable();
      case Op.UNREACHABLE:
        return this.#skipUnreachable();
      case Op.CALL:
      case Op.CALL_INDIRECT:
      case Op.RETURN_CALL:
      case Op.RETURN_CALL_INDIRECT:
        return this.#call(op);
      default:
        return this.#plain(op, at);
    }
  }

  #plain(op: number, at: number): void {
    const reads = READS_SHAPE[op]!;
    this.#body.roots[at] = this.#rootOf(op);
    if ((op === Op.LOCAL_SET || op === Op.LOCAL_TEE) && this.#floats.covers(this.#a)) {
      const maker = this.#stack.pop() ?? -1;
      this.#floats.define(this.#body, this.#module.bytes, this.#a, maker, this.#loopDepth);
      if (op === Op.LOCAL_TEE) this.#stack.push(at);
      return;
    }
    for (let left = POPS[op]!; left > 0; left--) this.#pop(reads);
    for (let left = PUSHES[op]!; left > 0; left--) this.#stack.push(at);
    if (op === Op.REF_FUNC) this.#body.references.add(this.#a);
    if (
      op === Op.TABLE_SET ||
      op === Op.DATA_DROP ||
      (op >= Op.TABLE_INIT && op <= Op.TABLE_FILL && op !== PREFIX_FC + 16)
    ) {
      this.#body.mutatesInstance = true;
    }
  }

  /** Sums keep the root of their first operand that is not a constant. */
  #rootOf(op: number): number {
    switch (op) {
      case Op.LOCAL_GET:
      case Op.LOCAL_TEE:
        return Root.FIRST + 2 * this.#a;
      case Op.GLOBAL_GET:
        return Root.FIRST + 2 * this.#a + 1;
      case Op.I32_CONST:
      case Op.I64_CONST:
        return Root.CONSTANT;
      case Op.I32_ADD:
      case Op.I64_ADD:
      case Op.I32_SUB:
      case Op.I64_SUB: {
        const left = this.#operandRoot(2);
        return left > Root.CONSTANT ? left : this.#operandRoot(1);
      }
      default:
        return STORE_BYTES[op]! > 0 ? this.#operandRoot(2) : Root.UNKNOWN;
    }
  }

  #operandRoot(depth: number): number {
    const maker = this.#stack.at(-depth);
    return maker === undefined || maker < 0 ? Root.UNKNOWN : this.#body.roots[maker]!;
  }

  #call(op: number): void {
    const indirect = op === Op.CALL_INDIRECT || op === Op.RETURN_CALL_INDIRECT;
    const typeIndex = indirect ? this.#a : (functionTypeIndex(this.#module, this.#a) ?? -1);
    const type = this.#typeAt(typeIndex);
    this.#take(type.params.length + (indirect ? 1 : 0));
    this.#body.callsAny = true;
    if (indirect || this.#a >= this.#module.imports.length) this.#body.calls = true;
    if (op === Op.RETURN_CALL || op === Op.RETURN_CALL_INDIRECT) return this.#skipUnreachable();
    this.#give(type.results.length);
  }

  #open(op: number, at: number): void {
    const { params, results } = this.#block;
    if (op === Op.IF) this.#take(1);
    if (op === Op.LOOP) {
      this.#body.loops = true;
      this.#loopDepth++;
    }
    this.#take(params.length);
    const height = this.#stack.length;
    this.#give(params.length);
    this.#frames.push({ op, opener: at, height, params: params.length, results: results.length });
  }

  #alternative(): void {
    const frame = this.#frames.at(-1);
    if (frame?.op !== Op.IF) throw this.#reader.malformed("else without if");
    this.#settle(frame, frame.results);
    this.#give(frame.params);
    this.#frames[this.#frames.length - 1] = { ...frame, op: Op.ELSE };
  }

  #close(): void {
    const frame = this.#frames.at(-1)!;
    this.#settle(frame, frame.results);
    if (frame.op === Op.LOOP) this.#loopDepth--;
    this.#frames.pop();
    this.#give(frame.results);
  }

  /** Takes what the end of a block leaves, whose bits may be seen later. */
  #settle(frame: Frame, count: number): void {
    this.#take(Math.min(count, this.#stack.length - frame.height));
    this.#stack.length = frame.height;
  }

  /** A branch to `depth`: the operands it carries become visible, and stay for the fall-through. */
  #branch(depth: number): void {
    const frame = this.#frames[this.#frames.length - 1 - depth];
    if (frame === undefined) throw this.#reader.malformed("branch to an unknown label");
    if (frame.opener >= 0) this.#body.flags[frame.opener]! |= Flag.TARGETED;
    else this.#body.returns = true;
    const carried = frame.op === Op.LOOP ? frame.params : frame.results;
    this.#take(carried);
    this.#give(carried);
  }

  /** Leaves out instructions up to the `else` or `end` that makes code reachable again. */
  #skipUnreachable(): void {
    const reader = this.#reader;
    for (let depth = 0; ;) {
      const start = reader.offset;
      const next = reader.bytes[start];
      if (depth === 0 && start < reader.end && (next === Op.ELSE || next === Op.END)) break;
      const op = this.#readInstruction();
      if (op === Op.BLOCK || op === Op.LOOP || op === Op.IF) depth++;
      else if (op === Op.END) depth--;
    }
    this.#stack.length = this.#frames.at(-1)!.height;
  }

  #pop(reads: number): void {
    const maker = this.#stack.pop();
    if (maker === undefined) throw this.#reader.malformed("operand stack underflow");
    if (maker < 0 || reads === Shape.ANY) return;
    const op = this.#body.ops[maker]!;
    if (op === Op.LOCAL_GET || op === Op.LOCAL_TEE) {
      this.#floats.use(this.#body.a[maker]!, maker, reads, this.#loopDepth);
    }
    const makes = MAKES_SHAPE[op]!;
    if (makes !== Shape.NONE && makes !== reads) this.#body.flags[maker]! |= Flag.CANONICALISE;
  }

  #take(count: number): void {
    for (let left = count; left > 0; left--) this.#pop(Shape.NONE);
  }

  #give(count: number): void {
    for (let left = count; left > 0; left--) this.#stack.push(-1);
  }
}
