// Assembles the instrumented module: imports of the runtime, rewritten code, and the functions that
// save and restore globals, call back through the table and guard stores.
// Spec: docs/spec/06-canister-runtime.md sections 2 and 3.
import { writeConstant } from "./constant.ts";
import { Body } from "./body.ts";
import { CodeSection } from "./code-section.ts";
import { BodyDecoder } from "./decode-body.ts";
import { FunctionEmitter, type Runtime } from "./function-emitter.ts";
import { type BodyContext, BodyInstrumenter } from "./instrument-body.ts";
import {
  addressTypeOf,
  type ElementSegment,
  type FunctionType,
  type Global,
  type Limits,
  type ValueType,
  VALUE_TYPE_BYTES,
  type WasmModule,
} from "./module.ts";
import { includedFunctions } from "./included-functions.ts";
import { writeNameSection } from "./name-section.ts";
import { Op, PREFIX_FD } from "./opcodes.ts";
import { type AddedFunction, StoreGuard } from "./store-guard.ts";
import { WasmWriter } from "./writer.ts";

/** Module name of the host's own imports. */
export const RUNTIME_MODULE = "gyrotron";
/** Pages of the side memory: global slots, then the dirty map of 6 GiB. */
export const SIDE_PAGES_MIN = 26;
/** Bytes of the side memory for each mutable global. */
export const GLOBAL_SLOT_BYTES = 16;

export interface Instrumented {
  readonly code: Uint8Array;
  readonly instructionCount: number;
  readonly mutatesInstance: boolean;
}

/** The instrumented form of a module that passed validation. */
export function instrumentModule(module: WasmModule): Instrumented {
  return new ModuleInstrumenter(module).run();
}

interface EntryFunction extends AddedFunction {
  readonly exportName: string;
}

class ModuleInstrumenter {
  readonly #module: WasmModule;
  readonly #types: FunctionType[];
  readonly #typeKeys: Map<string, number> = new Map();
  #runtime: Runtime;
  readonly #imports: readonly { name: string; type: FunctionType }[];
  readonly #firstAdded: number;
  readonly #entries: readonly EntryFunction[];
  readonly #guard: StoreGuard;
  readonly #output: WasmWriter;
  readonly #references: Set<number> = new Set();

  constructor(module: WasmModule) {
    this.#module = module;
    this.#output = new WasmWriter(2 * module.bytes.length);
    this.#types = [...module.types];
    const address = addressTypeOf(module);
    this.#imports = [
      { name: "refill", type: { params: ["i64"], results: ["i64"] } },
      { name: "mark", type: { params: ["i32", "i32"], results: [] } },
      { name: "mark_range", type: { params: [address, address], results: [] } },
      { name: "grow", type: { params: [address], results: [address] } },
      { name: "stack_overflow", type: { params: [], results: [] } },
    ];
    const imported = module.imports.length;
    this.#runtime = {
      address,
      importCount: imported,
      functionShift: this.#imports.length,
      gasGlobal: module.globals.length,
      stackGlobal: module.globals.length + 1,
      pagesGlobal: module.globals.length + 2,
      refill: imported,
      mark: imported + 1,
      markRange: imported + 2,
      grow: imported + 3,
      stackOverflow: imported + 4,
    };
    const defined = imported + this.#imports.length;
    this.#firstAdded = defined + module.functions.length;
    const entries = this.#entryFunctions();
    this.#runtime = { ...this.#runtime, refill: this.#firstAdded + entries.length };
    this.#guard = new StoreGuard(
      address,
      module.globals.length + 3,
      this.#firstAdded + entries.length + 1,
    );
    this.#entries = entries;
  }

  run(): Instrumented {
    const module = this.#module;
    const body = new Body();
    const decoder = new BodyDecoder(module, body);
    const defined = module.imports.length + this.#imports.length;
    const bodies = new CodeSection(defined, 2 * module.codeSectionBytes);
    const emit = new FunctionEmitter(this.#runtime);
    let instructionCount = 0;
    let mutatesInstance = false;
    const included = includedFunctions(module);
    const context: BodyContext = {
      module,
      runtime: this.#runtime,
      guard: this.#guard,
      includedWeight: (index) => included.get(index),
      typeIndexOf: (type) => this.#typeIndexOf(type),
    };
    const instrumenter = new BodyInstrumenter(context, body, emit);
    for (let i = 0; i < module.functions.length; i++) {
      decoder.decode(i);
      instructionCount += body.instructionCount;
      mutatesInstance ||= body.mutatesInstance;
      for (const index of body.references) this.#references.add(index);
      const isIncluded = included.has(module.imports.length + i);
      instrumenter.run(module.types[module.functions[i]!]!, isIncluded);
      emit.finish(bodies);
    }
    const added = [...this.#entries, this.#refillFunction(), ...this.#guard.functions()];
    for (const { type, write } of added) {
      emit.begin(type.params, type.params.length);
      write(emit);
      emit.finish(bodies);
    }
    this.#write(
      bodies,
      added.map(({ type }) => type),
    );
    return { code: this.#output.finish(), instructionCount, mutatesInstance };
  }

  #write(bodies: CodeSection, added: readonly FunctionType[]): void {
    const output = this.#output;
    output.bytes(0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00);
    // Further types may be registered while these sections are written, so types come last here.
    const imports = this.#importSection();
    const functions = this.#functionSection(added);
    output.section(1, this.#typeSection());
    output.section(2, imports);
    output.section(3, functions);
    output.section(4, this.#tableSection());
    output.section(6, this.#globalSection());
    output.section(7, this.#exportSection());
    output.section(9, this.#elementSection());
    output.section(12, this.#dataCountSection());
    output.section(0, ...bodies.hints());
    output.section(10, ...bodies.bodies());
    output.section(11, this.#dataSection());
    output.section(0, writeNameSection(this.#module, this.#mapFunction));
  }

  readonly #mapFunction = (index: number): number =>
    index < this.#runtime.importCount ? index : index + this.#runtime.functionShift;

  #typeIndexOf(type: FunctionType): number {
    const key = `${type.params.join()}:${type.results.join()}`;
    const found = this.#typeKeys.get(key);
    if (found !== undefined) return found;
    this.#types.push(type);
    this.#typeKeys.set(key, this.#types.length - 1);
    return this.#types.length - 1;
  }

  #typeSection(): WasmWriter {
    return vector(this.#types, (writer, type) => {
      writer.u8(0x60);
      writeTypes(writer, type.params);
      writeTypes(writer, type.results);
    });
  }

  #importSection(): WasmWriter {
    const writer = new WasmWriter();
    writer.u32(this.#module.imports.length + this.#imports.length + 2);
    for (const { module, name, typeIndex } of this.#module.imports) {
      writeImport(writer, module, name, 0);
      writer.u32(typeIndex);
    }
    writeImport(writer, RUNTIME_MODULE, "heap", 2);
    writer.bytes(this.#runtime.address === "i32" ? 0 : 4, 0);
    writeImport(writer, RUNTIME_MODULE, "side", 2);
    writer.bytes(0, SIDE_PAGES_MIN);
    for (const { name, type } of this.#imports) {
      writeImport(writer, RUNTIME_MODULE, name, 0);
      writer.u32(this.#typeIndexOf(type));
    }
    return writer;
  }

  #functionSection(added: readonly FunctionType[]): WasmWriter {
    const indices = added.map((type) => this.#typeIndexOf(type));
    return vector([...this.#module.functions, ...indices], (writer, index) => writer.u32(index));
  }

  #tableSection(): WasmWriter {
    return vector(this.#module.tables, (writer, table) => {
      writer.u8(VALUE_TYPE_BYTES[table.element]);
      writeLimits(writer, table);
    });
  }

  #globalSection(): WasmWriter {
    const { address } = this.#runtime;
    const zero = (type: "i32" | "i64"): Global => ({
      type,
      mutable: true,
      value: { kind: type, bits: 0n },
    });
    const added = [zero("i64"), zero("i32"), zero(address)];
    added.push(...this.#guard.globals.map(zero));
    return vector([...this.#module.globals, ...added], (writer, global) => {
      writer.bytes(VALUE_TYPE_BYTES[global.type], global.mutable ? 1 : 0);
      writeConstant(writer, global.value, this.#mapFunction);
    });
  }

  #exportSection(): WasmWriter {
    const { gasGlobal, stackGlobal, pagesGlobal } = this.#runtime;
    const items: { name: string; kind: number; index: number }[] = [
      { name: "gyrotron:gas", kind: 3, index: gasGlobal },
      { name: "gyrotron:stack", kind: 3, index: stackGlobal },
      { name: "gyrotron:pages", kind: 3, index: pagesGlobal },
    ];
    this.#entries.forEach(({ exportName }, i) => {
      items.push({ name: exportName, kind: 0, index: this.#firstAdded + i });
    });
    return vector(items, (writer, item) => {
      writer.name(item.name);
      writer.u8(item.kind);
      writer.u32(item.index);
    });
  }

  #elementSection(): WasmWriter {
    const segments = [...this.#module.elements];
    if (this.#references.size > 0) {
      // An export that is dropped may have been what allowed `ref.func` of its function.
      const items = [...this.#references].map((index) => ({ kind: "function", index }) as const);
      segments.push({
        mode: "declarative",
        table: 0,
        offset: undefined,
        element: "funcref",
        items,
      });
    }
    return vector(segments, (writer, segment) => this.#writeElement(writer, segment));
  }

  /** Always in the general form: explicit table, items as expressions. */
  #writeElement(writer: WasmWriter, segment: ElementSegment): void {
    const flags = { active: 6, passive: 5, declarative: 7 };
    writer.u32(flags[segment.mode]);
    if (segment.offset !== undefined) {
      writer.u32(segment.table);
      writeConstant(writer, segment.offset, this.#mapFunction);
    }
    writer.u8(VALUE_TYPE_BYTES[segment.element]);
    writer.u32(segment.items.length);
    for (const item of segment.items) writeConstant(writer, item, this.#mapFunction);
  }

  #dataCountSection(): WasmWriter {
    const writer = new WasmWriter();
    if (this.#module.dataCount !== undefined) writer.u32(this.#module.dataCount);
    return writer;
  }

  /** Active segments become empty passive ones: the host applies them, and indices stay valid. */
  #dataSection(): WasmWriter {
    return vector(this.#module.data, (writer, { offset, bytes }) => {
      writer.u8(1);
      writer.u32(offset === undefined ? bytes.length : 0);
      if (offset === undefined) writer.raw(bytes);
    });
  }

  /** What the host can call. Entries reset the store guard, then leave the stack to the original. */
  #entryFunctions(): EntryFunction[] {
    const { address } = this.#runtime;
    const nothing: FunctionType = { params: [], results: [] };
    const entries: EntryFunction[] = [
      {
        exportName: "gyrotron:save",
        type: nothing,
        write: (emit) => this.#writeTransfer(emit, "save"),
      },
      {
        exportName: "gyrotron:load",
        type: nothing,
        write: (emit) => this.#writeTransfer(emit, "load"),
      },
    ];
    const enter = (exportName: string, index: number): void => {
      const write = (emit: FunctionEmitter): void => {
        this.#guard.writeReset(emit);
        emit.opIndex(Op.RETURN_CALL, this.#mapFunction(index));
      };
      entries.push({ exportName, type: nothing, write });
    };
    for (const { name, kind, index } of this.#module.exports) {
      if (kind === "function" && name.startsWith("canister_")) enter(name, index);
    }
    if (this.#module.start !== undefined) enter("gyrotron:start", this.#module.start);
    const table = this.#module.tables[0];
    if (table?.element === "funcref") {
      const type: FunctionType = { params: [table.addressType, address], results: [] };
      const write = (emit: FunctionEmitter): void => {
        this.#guard.writeReset(emit);
        emit.get(1);
        emit.get(0);
        emit.opIndex(
          Op.RETURN_CALL_INDIRECT,
          this.#typeIndexOf({ params: [address], results: [] }),
        );
        emit.code.u32(0);
      };
      entries.push({ exportName: "gyrotron:callback", type, write });
    }
    return entries;
  }

  /** Passes on to the host; V8 unrolls loops up to a size, and calls of imports take more of it. */
  #refillFunction(): AddedFunction {
    return {
      type: { params: ["i64"], results: ["i64"] },
      write: (emit) => {
        emit.get(0);
        emit.opIndex(Op.CALL, this.#module.imports.length);
      },
    };
  }

  /** Copies all mutable globals to their slots of the side memory, or back. */
  #writeTransfer(emit: FunctionEmitter, direction: "save" | "load"): void {
    let slot = 0;
    this.#module.globals.forEach(({ type, mutable }, index) => {
      if (!mutable) return;
      emit.i32(0);
      if (direction === "save") emit.opIndex(Op.GLOBAL_GET, index);
      const access = TRANSFER[type];
      emit.op(direction === "save" ? access.store : access.load);
      emit.code.u8(0x40);
      emit.code.u32(1);
      emit.code.u32(slot * GLOBAL_SLOT_BYTES);
      if (direction === "load") emit.opIndex(Op.GLOBAL_SET, index);
      slot++;
    });
  }
}

const NEVER = { load: Op.UNREACHABLE, store: Op.UNREACHABLE };
/** Loads and stores by type; references cannot be saved, so such globals are refused earlier. */
const TRANSFER: Readonly<Record<ValueType, { load: number; store: number }>> = {
  i32: { load: 0x28, store: 0x36 },
  i64: { load: 0x29, store: 0x37 },
  f32: { load: 0x2a, store: 0x38 },
  f64: { load: 0x2b, store: 0x39 },
  v128: { load: PREFIX_FD, store: PREFIX_FD + 11 },
  funcref: NEVER,
  externref: NEVER,
};

/** A vector section's content; empty (so left out) if there are no items. */
function vector<T>(items: readonly T[], write: (writer: WasmWriter, item: T) => void): WasmWriter {
  const writer = new WasmWriter();
  if (items.length === 0) return writer;
  writer.u32(items.length);
  for (const item of items) write(writer, item);
  return writer;
}

function writeTypes(writer: WasmWriter, types: readonly ValueType[]): void {
  writer.u32(types.length);
  for (const type of types) writer.u8(VALUE_TYPE_BYTES[type]);
}

function writeImport(writer: WasmWriter, module: string, name: string, kind: number): void {
  writer.name(module);
  writer.name(name);
  writer.u8(kind);
}

function writeLimits(writer: WasmWriter, { addressType, min, max }: Limits): void {
  writer.u8((addressType === "i64" ? 4 : 0) | (max === undefined ? 0 : 1));
  writer.u64(min);
  if (max !== undefined) writer.u64(max);
}
