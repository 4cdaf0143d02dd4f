// Sections of a module, from untrusted bytes. Types of code and indices are left to the engine's
// own validator; everything is bounded by the size of the input.
import { readConstant } from "./constant.ts";
import type {
  BodyRange,
  ConstantValue,
  CustomSection,
  DataSegment,
  ElementSegment,
  Export,
  FunctionType,
  Global,
  Import,
  ImportKind,
  Limits,
  Table,
  WasmModule,
} from "./module.ts";
import { WasmReader } from "./reader.ts";

const MAGIC = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
const KINDS: readonly ImportKind[] = ["function", "table", "memory", "global", "tag"];
/** Section ids in the order in which sections must appear; 12 is the data count. */
const SECTION_ORDER = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 10, 11];

type Draft = { -readonly [K in keyof WasmModule]: WasmModule[K] };

/** The parsed module. @throws WasmError on malformed or unsupported input */
export function parseModule(bytes: Uint8Array): WasmModule {
  const reader = new WasmReader(bytes);
  for (const byte of MAGIC) {
    if (reader.done || reader.u8() !== byte) throw reader.malformed("not a WebAssembly module", 0);
  }
  const draft: Draft = {
    bytes,
    types: [],
    imports: [],
    functions: [],
    tables: [],
    memories: [],
    globals: [],
    exports: [],
    start: undefined,
    elements: [],
    dataCount: undefined,
    data: [],
    bodies: [],
    codeSectionBytes: 0,
    customs: [],
  };
  const customs: CustomSection[] = [];
  let position = -1;
  while (!reader.done) {
    const offset = reader.offset;
    const id = reader.u8();
    const section = reader.sub(reader.u32());
    if (id === 0) {
      customs.push({ name: section.name(), content: section.take(section.end - section.offset) });
      continue;
    }
    const order = SECTION_ORDER.indexOf(id);
    if (order < 0) throw reader.unsupported(`section ${id}`, offset);
    if (order <= position) throw reader.malformed(`section ${id} is out of order`, offset);
    position = order;
    readSection(id, section, draft);
    if (!section.done) throw section.malformed("trailing bytes in a section");
  }
  draft.customs = customs;
  if (draft.bodies.length !== draft.functions.length) {
    throw reader.malformed("function and code sections disagree");
  }
  if (draft.dataCount !== undefined && draft.dataCount !== draft.data.length) {
    throw reader.malformed("data count and data sections disagree");
  }
  return draft;
}

function readSection(id: number, reader: WasmReader, draft: Draft): void {
  switch (id) {
    case 1:
      draft.types = list(reader, readFunctionType);
      break;
    case 2:
      draft.imports = list(reader, readImport);
      break;
    case 3:
      draft.functions = list(reader, (r) => r.u32());
      break;
    case 4:
      draft.tables = list(reader, readTable);
      break;
    case 5:
      draft.memories = list(reader, readLimits);
      break;
    case 6:
      draft.globals = readGlobals(reader);
      break;
    case 7:
      draft.exports = list(reader, readExport);
      break;
    case 8:
      draft.start = reader.u32();
      break;
    case 9:
      draft.elements = list(reader, (r) => readElement(r, draft.globals));
      break;
    case 10:
      draft.codeSectionBytes = reader.end - reader.offset;
      draft.bodies = list(reader, readBody);
      break;
    case 11:
      draft.data = list(reader, (r) => readData(r, draft.globals));
      break;
    default:
      draft.dataCount = reader.u32();
  }
}

function list<T>(reader: WasmReader, read: (reader: WasmReader) => T): T[] {
  const count = reader.count();
  const items: T[] = [];
  for (let i = 0; i < count; i++) items.push(read(reader));
  return items;
}

function readFunctionType(reader: WasmReader): FunctionType {
  const offset = reader.offset;
  const form = reader.u8();
  if (form !== 0x60) throw reader.unsupported(`type form 0x${form.toString(16)}`, offset);
  return {
    params: list(reader, (r) => r.valueType()),
    results: list(reader, (r) => r.valueType()),
  };
}

function readImport(reader: WasmReader): Import {
  const module = reader.name();
  const name = reader.name();
  const kind = readKind(reader);
  let typeIndex = 0;
  if (kind === "function") typeIndex = reader.u32();
  else if (kind === "table") readTable(reader);
  else if (kind === "memory") readLimits(reader);
  else if (kind === "global") {
    reader.valueType();
    reader.u8();
  } else throw reader.unsupported("exception tags");
  return { module, name, kind, typeIndex };
}

function readKind(reader: WasmReader): ImportKind {
  const offset = reader.offset;
  const byte = reader.u8();
  const kind = KINDS[byte];
  if (kind === undefined) throw reader.malformed(`unknown import or export kind ${byte}`, offset);
  return kind;
}

function readTable(reader: WasmReader): Table {
  const element = reader.referenceType();
  return { element, ...readLimits(reader) };
}

function readLimits(reader: WasmReader): Limits {
  const offset = reader.offset;
  const flags = reader.u8();
  if (flags > 7) throw reader.unsupported(`limits flags ${flags}`, offset);
  if ((flags & 2) !== 0) throw reader.unsupported("shared memory", offset);
  const addressType = (flags & 4) === 0 ? "i32" : "i64";
  const read = (): bigint => (addressType === "i32" ? BigInt(reader.u32()) : reader.u64());
  const min = read();
  return { addressType, min, max: (flags & 1) === 0 ? undefined : read() };
}

function readGlobals(reader: WasmReader): Global[] {
  const globals: Global[] = [];
  const count = reader.count();
  for (let i = 0; i < count; i++) {
    const type = reader.valueType();
    const mutability = reader.u8();
    if (mutability > 1) throw reader.malformed("unknown mutability", reader.offset - 1);
    globals.push({ type, mutable: mutability === 1, value: readConstant(reader, globals) });
  }
  return globals;
}

function readExport(reader: WasmReader): Export {
  const offset = reader.offset;
  return { name: reader.name(), kind: readKind(reader), index: reader.u32(), offset };
}

function readElement(reader: WasmReader, globals: readonly Global[]): ElementSegment {
  const flagsOffset = reader.offset;
  const flags = reader.u32();
  if (flags > 7) throw reader.malformed(`unknown element segment flags ${flags}`, flagsOffset);
  const active = (flags & 1) === 0;
  const explicit = (flags & 2) !== 0;
  const expressions = (flags & 4) !== 0;
  const mode = active ? "active" : explicit ? "declarative" : "passive";
  const table = active && explicit ? reader.u32() : 0;
  const offset = active ? readConstant(reader, globals) : undefined;
  let element: "funcref" | "externref" = "funcref";
  if (!active || explicit) {
    if (expressions) element = reader.referenceType();
    else if (reader.u8() !== 0) throw reader.malformed("unknown element kind", reader.offset - 1);
  }
  const items = list(reader, (r): ConstantValue =>
    expressions ? readConstant(r, globals) : { kind: "function", index: r.u32() },
  );
  return { mode, table, offset, element, items };
}

function readBody(reader: WasmReader): BodyRange {
  const body = reader.sub(reader.u32());
  return { start: body.offset, end: body.end };
}

function readData(reader: WasmReader, globals: readonly Global[]): DataSegment {
  const flagsOffset = reader.offset;
  const flags = reader.u32();
  if (flags > 2) throw reader.malformed(`unknown data segment flags ${flags}`, flagsOffset);
  if (flags === 2 && reader.u32() !== 0) throw reader.unsupported("multiple memories", flagsOffset);
  const offset = flags === 1 ? undefined : readConstant(reader, globals);
  return { offset, bytes: reader.take(reader.u32()) };
}
