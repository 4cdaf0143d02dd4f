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
  MEMORY_TRAPS_ONLY,
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
  op: number;
  /** Index of the opening instruction, or -1 for the function itself. */
  readonly opener: number;
  /** Height below the block's parameters. */
  readonly height: number;
  readonly params: number;
  readonly results: number;
  /** Engine slots before the block. */
  readonly engineSlots: number;
}

/** Decodes the functions of a module that the engine has validated, one at a time into one body. */
export class BodyDecoder {
  readonly #module: WasmModule;
  readonly #body: Body;
  #reader: InstructionReader;
  readonly #frames: Frame[] = [];
  /** For each operand the instruction that made it, or -1 if several may have. */
  #stack = new Int32Array(256);
  #height = 0;
  readonly #floats = new FloatLocals();
  readonly #spans: StoreSpans;
  #loopDepth = 0;
  /** The last loop, call or bulk operation: no loop around it is unrolled. */
  #lastHeavy = -1;

  constructor(module: WasmModule, body: Body) {
    this.#module = module;
    this.#body = body;
    this.#reader = new InstructionReader(module);
    this.#spans = new StoreSpans(body);
  }

  /** Fills the body with function `index` of those defined in the module. */
  decode(index: number): void {
    const body = this.#body;
    const input = this.#reader;
    input.begin(index);
    const localTypes = input.locals();
    body.clear(localTypes);
    this.#spans.begin(localTypes.length);
    this.#floats.begin(localTypes, input.type.params.length);
    this.#height = 0;
    this.#loopDepth = 0;
    this.#lastHeavy = -1;
    this.#frames.length = 0;
    const results = input.type.results.length;
    this.#frames.push({ op: Op.BLOCK, opener: -1, height: 0, params: 0, results, engineSlots: 0 });
    this.#run();
    body.instructionCount = input.count;
    this.#floats.decide(body);
  }

  #run(): void {
    const body = this.#body;
    const input = this.#reader;
    const reader = input.reader;
    while (this.#frames.length > 0) {
      const start = reader.offset;
      const op = input.next();
      const at = body.push(op, start, reader.offset, input.a, input.b);
      if (op > Op.RETURN_CALL_INDIRECT || op === Op.NOP) this.#plain(op, at);
      else this.#control(op, at);
      if (this.#height > body.heightMax) body.heightMax = this.#height;
    }
    if (!reader.done) throw this.#malformed("code after the end of a function");
  }

  #malformed(what: string): WasmError {
    return this.#reader.reader.malformed(what);
  }

  #control(op: number, at: number): void {
    if (op !== Op.BLOCK) this.#spans.interrupt();
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
      default:
        return this.#call(op);
    }
  }

  #plain(op: number, at: number): void {
    switch (op) {
      case Op.LOCAL_GET:
        this.#body.roots[at] = Root.FIRST + 2 * this.#reader.a;
        this.#spans.read(this.#reader.a, at);
        return this.#push(at);
      case Op.LOCAL_SET:
        return this.#write(at);
      case Op.LOCAL_TEE:
        this.#body.roots[at] = Root.FIRST + 2 * this.#reader.a;
        this.#write(at);
        this.#spans.read(this.#reader.a, at);
        return this.#push(at);
      case Op.I32_CONST:
      case Op.I64_CONST:
        this.#body.roots[at] = Root.CONSTANT;
        return this.#push(at);
      default:
        return this.#compute(op, at);
    }
  }

  /** Takes the operand that instruction `at` writes to a local. */
  #write(at: number): void {
    const local = this.#reader.a;
    this.#spans.write(local, at);
    if (!this.#floats.any || !this.#floats.covers(local)) return this.#pop(Shape.NONE);
    const maker = this.#height === 0 ? -1 : this.#stack[--this.#height]!;
    this.#floats.define(this.#body, this.#module.bytes, local, maker, this.#loopDepth);
  }

  #compute(op: number, at: number): void {
    const body = this.#body;
    if (STORE_BYTES[op]! > 0) {
      this.#spans.store(op, at, this.#height < 2 ? -1 : this.#stack[this.#height - 2]!);
      body.roots[at] = this.#operandRoot(2);
    } else {
      if (MEMORY_TRAPS_ONLY[op] === 0) this.#interrupt(op, at);
      if (op === Op.I32_ADD || op === Op.I64_ADD || op === Op.I32_SUB || op === Op.I64_SUB) {
        // Sums keep the root of their first operand that is not a constant.
        const left = this.#operandRoot(2);
        body.roots[at] = left > Root.CONSTANT ? left : this.#operandRoot(1);
      } else if (op === Op.GLOBAL_GET) body.roots[at] = Root.FIRST + 2 * this.#reader.a + 1;
    }
    body.engineSlots += ENGINE_SLOTS[op]!;
    const reads = READS_SHAPE[op]!;
    for (let left = POPS[op]!; left > 0; left--) this.#pop(reads);
    for (let left = PUSHES[op]!; left > 0; left--) this.#push(at);
    if (op === Op.REF_FUNC) body.references.add(this.#reader.a);
  }

  /** What may trap or change more than its results and the heap. */
  #interrupt(op: number, at: number): void {
    this.#spans.interrupt();
    if (op === Op.MEMORY_GROW || (op >= Op.MEMORY_INIT && op <= Op.TABLE_FILL))
      this.#lastHeavy = at;
    if (
      op === Op.TABLE_SET ||
      op === Op.DATA_DROP ||
      (op >= Op.TABLE_INIT && op <= Op.TABLE_FILL && op !== PREFIX_FC + 16)
    ) {
      this.#body.mutatesInstance = true;
    }
  }

  #operandRoot(depth: number): number {
    const maker = depth > this.#height ? -1 : this.#stack[this.#height - depth]!;
    return maker < 0 ? Root.UNKNOWN : this.#body.roots[maker]!;
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
    const height = this.#height;
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
    frame.op = Op.ELSE;
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
    this.#take(Math.min(count, this.#height - frame.height));
    this.#height = frame.height;
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
    this.#height = this.#frames.at(-1)!.height;
  }

  #push(maker: number): void {
    if (this.#height === this.#stack.length) {
      const grown = new Int32Array(2 * this.#height);
      grown.set(this.#stack);
      this.#stack = grown;
    }
    this.#stack[this.#height++] = maker;
  }

  #pop(reads: number): void {
    if (this.#height === 0) throw this.#malformed("operand stack underflow");
    const maker = this.#stack[--this.#height]!;
    if (maker < 0 || reads === Shape.ANY) return;
    const op = this.#body.ops[maker]!;
    if (this.#floats.any && (op === Op.LOCAL_GET || op === Op.LOCAL_TEE)) {
      this.#floats.use(this.#body.a[maker]!, maker, reads, this.#loopDepth);
    }
    const makes = MAKES_SHAPE[op]!;
    if (makes !== Shape.NONE && makes !== reads) this.#body.flags[maker]! |= Flag.CANONICALISE;
  }

  #take(count: number): void {
    for (let left = count; left > 0; left--) this.#pop(Shape.NONE);
  }

  #give(count: number): void {
    for (let left = count; left > 0; left--) this.#push(-1);
  }
}
