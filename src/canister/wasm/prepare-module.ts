// From uploaded bytes to a module that the runtime can execute: decompression, validation by our
// rules and by the engine, instrumentation. Spec: docs/spec/06-canister-runtime.md sections 1 to 3.
import { assert, MODULE_BYTES_MAX } from "gyrotron/base";
import { sha256 } from "gyrotron/crypto";
import { checkCanisterRules, type MetadataSection, metadataSections } from "./canister-rules.ts";
import { WasmError } from "./error.ts";
import { gunzip } from "./gunzip.ts";
import type { AddressType } from "./ic0-signatures.ts";
import { instrumentModule } from "./instrument-module.ts";
import { addressTypeOf, type WasmModule } from "./module.ts";
import { parseModule } from "./parse-module.ts";

/** A mutable global that survives between executions. */
export interface PreparedGlobal {
  readonly type: "i32" | "i64" | "f32" | "f64" | "v128";
}

/** An active data segment, which the host writes when the module is installed. */
export interface PreparedData {
  /** Byte address in the heap. */
  readonly offset: bigint;
  readonly bytes: Uint8Array;
}

/** A validated and instrumented canister module. */
export interface PreparedModule {
  /** SHA-256 of the uploaded bytes, compressed or not. */
  readonly hash: Uint8Array;
  /** The instrumented module, compiled; V8 compiles lazily, so this costs little until functions run. */
  readonly compiled: WebAssembly.Module;
  /** Size of its code. */
  readonly compiledBytes: number;
  /** Type of heap addresses, and of pointers in the system API. */
  readonly addressType: AddressType;
  /** Initial size of the heap in 64 KiB pages. */
  readonly memoryPagesMin: bigint;
  /** Declared maximum in 64 KiB pages. */
  readonly memoryPagesMax: bigint | undefined;
  /** Mutable globals in slot order. */
  readonly globals: readonly PreparedGlobal[];
  readonly activeData: readonly PreparedData[];
  /** Names of all entry points, such as `canister_update greet`. */
  readonly exports: ReadonlySet<string>;
  /** Metadata sections, names without their prefix. */
  readonly customSections: readonly MetadataSection[];
  readonly hasStart: boolean;
  readonly hasTable: boolean;
  /** Whether code can change tables or drop segments, so that an instance must not be reused. */
  readonly mutatesInstance: boolean;
  /** Index type of table 0, that is of callbacks. */
  readonly tableIndexType: AddressType;
  /** Instructions in all functions, for the charge of compiling. */
  readonly instructionCount: number;
}

/** Validates and instruments an uploaded module. @throws WasmError if it cannot be installed */
export function prepareModule(uploaded: Uint8Array): PreparedModule {
  const bytes = decompress(uploaded);
  const module = parseModule(bytes);
  checkCanisterRules(module);
  const customSections = metadataSections(module);
  if (!WebAssembly.validate(bytes)) {
    throw new WasmError({
      code: "canister/wasm-rejected",
      what: "Failed to validate wasm module: types or indices do not match.",
    });
  }
  const { code, instructionCount, mutatesInstance } = instrumentModule(module);
  const compiled = compile(code);
  const memory = module.memories[0];
  return {
    hash: sha256(uploaded),
    compiled,
    compiledBytes: code.length,
    addressType: addressTypeOf(module),
    memoryPagesMin: memory?.min ?? 0n,
    memoryPagesMax: memory === undefined ? 0n : memory.max,
    globals: mutableGlobals(module),
    activeData: activeData(module),
    exports: entryPoints(module),
    customSections,
    hasStart: module.start !== undefined,
    hasTable: module.tables[0]?.element === "funcref",
    mutatesInstance,
    tableIndexType: module.tables[0]?.addressType ?? "i32",
    instructionCount,
  };
}

function compile(code: Uint8Array): WebAssembly.Module {
  try {
    return new WebAssembly.Module(code);
  } catch (cause) {
    // The original was valid, so it is one of the engine's limits that the additions exceed.
    if (cause instanceof WebAssembly.CompileError)
      throw new WasmError({ code: "canister/wasm-too-complex" });
    throw cause;
  }
}

function decompress(uploaded: Uint8Array): Uint8Array {
  const isGzip = uploaded[0] === 0x1f && uploaded[1] === 0x8b && uploaded[2] === 0x08;
  // Never the host's decompressor: what counts as valid must be the same everywhere.
  const bytes = isGzip ? gunzip(uploaded, MODULE_BYTES_MAX) : uploaded;
  if (bytes.length > MODULE_BYTES_MAX) {
    throw new WasmError({
      code: "canister/wasm-limit",
      what: `Wasm module size of ${bytes.length} exceeds the maximum allowed size of ${MODULE_BYTES_MAX}.`,
    });
  }
  return bytes;
}

function mutableGlobals(module: WasmModule): PreparedGlobal[] {
  const globals: PreparedGlobal[] = [];
  for (const { type, mutable } of module.globals) {
    if (!mutable) continue;
    assert(type !== "funcref" && type !== "externref", "mutable reference global");
    globals.push({ type });
  }
  return globals;
}

function activeData(module: WasmModule): PreparedData[] {
  const segments: PreparedData[] = [];
  for (const { offset, bytes } of module.data) {
    if (offset === undefined) continue;
    assert(offset.kind === "i32" || offset.kind === "i64", "offset is an integer");
    segments.push({ offset: offset.bits, bytes: bytes.slice() });
  }
  return segments;
}

function entryPoints(module: WasmModule): Set<string> {
  const names = module.exports.filter(
    ({ name, kind }) => kind === "function" && name.startsWith("canister_"),
  );
  return new Set(names.map(({ name }) => name));
}
