// First pass over a function body: splits it into instructions, leaves out code that cannot be
// reached, and finds what the second pass needs ahead of time: operand height, labels that are
// branched to, calls, loops, and float results whose NaN bits can be seen.
import { type Body, Flag, Root, UNROLLED_ROUNDS } from "./body.ts";
import type { WasmError } from "./error.ts";
import { FloatLocals } from "./float-locals.ts";
import { InstructionReader } from "./instruction-reader.ts";
import { StoreSpans } from "./store-spans.ts";
import { functionTypeIndex, type WasmModule } from "./module.ts";
import {
  ENGINE_SLOTS,
  MAKES_SHAPE,
  Op,
  POPS,
  PREFIX_FC,
  PUSHES,
  READS_SHAPE,
  Shape,
  STORE_BYTES,
} from "./opcodes.ts";

/** Longest loop that is unrolled. */
const UNROLLED_INSTRUCTIONS_MAX = 48;

interface Frame {
  readonly op: number;
  /** Index of the opening instruction, or -1 for the function itself. */
  readonly opener: number;
  /** Height below the block's parameters. */
  readonly height: number;
  readonly params: number;
  readonly results: number;
  /** Engine slots before the block. */
  readonly engineSlots: number;
}

/** Decodes function `index` of those defined in a module that the engine has validated. */
export function decodeBody(module: WasmModule, index: number, body: Body): void {
  new BodyDecoder(module, index, body).run();
}

class BodyDecoder {
  readonly #module: WasmModule;
  readonly #body: Body;
  readonly #reader: InstructionReader;
  readonly #frames: Frame[] = [];
  /** For each operand the instruction that made it, or -1 if several may have. */
  readonly #stack: number[] = [];
  readonly #floats: FloatLocals;
  readonly #spans: StoreSpans;
  #loopDepth = 0;
  /** The last loop, call or bulk operation: no loop around it is unrolled. */
  #lastHeavy = -1;

  constructor(module: WasmModule, index: number, body: Body) {
    this.#module = module;
    this.#body = body;
    this.#reader = new InstructionReader(module, index);
    body.clear(this.#reader.locals());
    this.#spans = new StoreSpans(body);
    this.#floats = new FloatLocals(body.localTypes, this.#reader.type.params.length);
  }

  run(): void {
    const body = this.#body;
    const input = this.#reader;
    const results = input.type.results.length;
    this.#frames.push({ op: Op.BLOCK, opener: -1, height: 0, params: 0, results, engineSlots: 0 });
    while (this.#frames.length > 0) {
      const start = input.reader.offset;
      const op = input.next();
      this.#apply(op, body.push(op, start, input.reader.offset, input.a, input.b));
      if (this.#stack.length > body.heightMax) body.heightMax = this.#stack.length;
    }
    if (!input.reader.done) throw this.#malformed("code after the end of a function");
    body.instructionCount = input.count;
    this.#floats.decide(body);
  }

  #malformed(what: string): WasmError {
    return this.#reader.reader.malformed(what);
  }

  #apply(op: number, at: number): void {
    this.#spans.follow(op, at, STORE_BYTES[op]! > 0 ? (this.#stack.at(-2) ?? -1) : -1);
    switch (op) {
      case Op.BLOCK:
      case Op.LOOP:
      case Op.IF:
        return this.#open(op, at);
      case Op.ELSE:
        return this.#alternative();
      case Op.END:
        return this.#close(at);
      case Op.BR_IF:
        this.#take(1);
        return this.#branch(this.#reader.a);
      case Op.BR:
        this.#branch(this.#reader.a);
        return this.#skipUnreachable();
      case Op.BR_TABLE:
        this.#take(1);
        this.#body.tables.set(at, this.#reader.labels);
        for (const label of new Set(this.#reader.labels)) this.#branch(label);
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
    this.#body.engineSlots += ENGINE_SLOTS[op]!;
    if ((op === Op.LOCAL_SET || op === Op.LOCAL_TEE) && this.#floats.covers(this.#reader.a)) {
      const maker = this.#stack.pop() ?? -1;
      this.#floats.define(this.#body, this.#module.bytes, this.#reader.a, maker, this.#loopDepth);
      if (op === Op.LOCAL_TEE) this.#stack.push(at);
      return;
    }
    for (let left = POPS[op]!; left > 0; left--) this.#pop(reads);
    for (let left = PUSHES[op]!; left > 0; left--) this.#stack.push(at);
    if (op === Op.MEMORY_GROW || (op >= Op.MEMORY_INIT && op <= Op.TABLE_FILL))
      this.#lastHeavy = at;
    if (op === Op.REF_FUNC) this.#body.references.add(this.#reader.a);
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
        return Root.FIRST + 2 * this.#reader.a;
      case Op.GLOBAL_GET:
        return Root.FIRST + 2 * this.#reader.a + 1;
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
    const typeIndex = indirect
      ? this.#reader.a
      : (functionTypeIndex(this.#module, this.#reader.a) ?? -1);
    const type = this.#reader.typeAt(typeIndex);
    this.#take(type.params.length + (indirect ? 1 : 0));
    this.#body.callsAny = true;
    this.#lastHeavy = this.#body.count;
    if (indirect || this.#reader.a >= this.#module.imports.length) this.#body.calls = true;
    if (op === Op.RETURN_CALL || op === Op.RETURN_CALL_INDIRECT) return this.#skipUnreachable();
    this.#give(type.results.length);
  }

  #open(op: number, at: number): void {
    const { params, results } = this.#reader.block;
    if (op === Op.IF) this.#take(1);
    if (op === Op.LOOP) {
      this.#body.loops = true;
      this.#loopDepth++;
      this.#lastHeavy = at;
    }
    this.#take(params.length);
    const height = this.#stack.length;
    this.#give(params.length);
    this.#frames.push({
      op,
      opener: at,
      height,
      params: params.length,
      results: results.length,
      engineSlots: this.#body.engineSlots,
    });
  }

  #alternative(): void {
    const frame = this.#frames.at(-1);
    if (frame?.op !== Op.IF) throw this.#malformed("else without if");
    this.#settle(frame, frame.results);
    this.#give(frame.params);
    this.#frames[this.#frames.length - 1] = { ...frame, op: Op.ELSE };
  }

  #close(at: number): void {
    const frame = this.#frames.at(-1)!;
    this.#settle(frame, frame.results);
    if (frame.op === Op.LOOP) {
      this.#loopDepth--;
      if (this.#isTight(frame, at)) {
        this.#body.unrolled.set(frame.opener, at);
        const added = this.#body.engineSlots - frame.engineSlots;
        this.#body.engineSlots += (UNROLLED_ROUNDS - 1) * added;
      }
    }
    this.#frames.pop();
    this.#give(frame.results);
  }

  /** Whether a loop that ends at `end` is short, innermost, without calls, and ends in its test. */
  #isTight(frame: Frame, end: number): boolean {
    if (frame.params + frame.results > 0 || this.#lastHeavy > frame.opener) return false;
    const repeats = this.#body.ops[end - 1] === Op.BR_IF && this.#body.a[end - 1] === 0;
    return repeats && end - frame.opener <= UNROLLED_INSTRUCTIONS_MAX;
  }

  /** Takes what the end of a block leaves, whose bits may be seen later. */
  #settle(frame: Frame, count: number): void {
    this.#take(Math.min(count, this.#stack.length - frame.height));
    this.#stack.length = frame.height;
  }

  /** A branch to `depth`: the operands it carries become visible, and stay for the fall-through. */
  #branch(depth: number): void {
    const frame = this.#frames[this.#frames.length - 1 - depth];
    if (frame === undefined) throw this.#malformed("branch to an unknown label");
    if (frame.opener >= 0) this.#body.flags[frame.opener]! |= Flag.TARGETED;
    else this.#body.returns = true;
    const carried = frame.op === Op.LOOP ? frame.params : frame.results;
    this.#take(carried);
    this.#give(carried);
  }

  /** Leaves out instructions up to the `else` or `end` that makes code reachable again. */
  #skipUnreachable(): void {
    const input = this.#reader;
    const { reader } = input;
    for (let depth = 0; ;) {
      const start = reader.offset;
      const next = reader.bytes[start];
      if (depth === 0 && start < reader.end && (next === Op.ELSE || next === Op.END)) break;
      const op = input.next();
      if (op === Op.BLOCK || op === Op.LOOP || op === Op.IF) depth++;
      else if (op === Op.END) depth--;
    }
    this.#stack.length = this.#frames.at(-1)!.height;
  }

  #pop(reads: number): void {
    const maker = this.#stack.pop();
    if (maker === undefined) throw this.#malformed("operand stack underflow");
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
