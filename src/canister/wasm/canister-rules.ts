// What the network asks of a module beyond validity: limits, imports of `ic0` only, entry points,
// metadata sections. The texts are those that canister developers know.
// Spec: docs/spec/06-canister-runtime.md section 1.
import {
  CODE_SECTION_BYTES_MAX,
  EXPORTED_METHODS_MAX,
  EXPORTED_METHOD_NAME_BYTES_MAX,
  FUNCTIONS_MAX,
  GLOBALS_MAX,
  ICP_CUSTOM_SECTIONS_BYTES_MAX,
  ICP_CUSTOM_SECTIONS_MAX,
  utf8Bytes,
  WASM32_MEMORY_BYTES_MAX,
  WASM64_MEMORY_BYTES_MAX,
  WASM_PAGE_BYTES,
} from "gyrotron/base";
import { WasmError } from "./error.ts";
import { ic0Signature } from "./ic0-signatures.ts";
import { addressTypeOf, type FunctionType, functionTypeIndex, type WasmModule } from "./module.ts";

/** A metadata section `icp:public <name>` or `icp:private <name>`. */
export interface MetadataSection {
  readonly name: string;
  readonly visibility: "public" | "private";
  readonly content: Uint8Array;
}

const ENTRY_POINTS: readonly string[] = [
  "canister_init",
  "canister_inspect_message",
  "canister_pre_upgrade",
  "canister_post_upgrade",
  "canister_heartbeat",
  "canister_global_timer",
  "canister_on_low_wasm_memory",
];
const METHOD_PREFIXES = [
  "canister_update ",
  "canister_query ",
  "canister_composite_query ",
] as const;
const METHOD_KINDS =
  "`canister_update <name>`, `canister_query <name>`, or `canister_composite_query <name>`";

/** Checks everything here. @throws WasmError with the reason */
export function checkCanisterRules(module: WasmModule): void {
  checkLimits(module);
  checkImports(module);
  checkExports(module);
}

function limit(what: string): WasmError {
  return new WasmError({ code: "canister/wasm-limit", what });
}

function checkLimits(module: WasmModule): void {
  if (module.codeSectionBytes > CODE_SECTION_BYTES_MAX) {
    throw limit(
      `Wasm module code section size of ${module.codeSectionBytes} exceeds the maximum allowed size of ${CODE_SECTION_BYTES_MAX}.`,
    );
  }
  checkCount("globals", module.globals.length, GLOBALS_MAX);
  checkCount("functions", module.functions.length, FUNCTIONS_MAX);
  if (module.memories.length > 1) throw limit("Wasm module defined more than one memory.");
  const memory = module.memories[0];
  if (memory !== undefined) {
    const bytesMax =
      memory.addressType === "i32" ? WASM32_MEMORY_BYTES_MAX : WASM64_MEMORY_BYTES_MAX;
    const pagesMax = BigInt(bytesMax / WASM_PAGE_BYTES);
    if (memory.min > pagesMax) {
      throw limit(
        `Wasm module defined an initial memory of ${memory.min} pages which exceeds the maximum number allowed ${pagesMax}.`,
      );
    }
  }
  for (const global of module.globals) {
    if (global.mutable && (global.type === "funcref" || global.type === "externref")) {
      throw limit(
        "Wasm module defined a mutable global of a reference type, which is not allowed.",
      );
    }
  }
}

function checkCount(what: string, count: number, max: number): void {
  if (count <= max) return;
  throw limit(
    `Wasm module defined ${count} ${what} which exceeds the maximum number allowed ${max}.`,
  );
}

function checkImports(module: WasmModule): void {
  const address = addressTypeOf(module);
  for (const { module: from, name, kind, typeIndex } of module.imports) {
    if (kind !== "function") {
      throw new WasmError({
        code: "canister/wasm-imports",
        what: `Module imports ${kind} '${name}' from '${from}'; only functions of 'ic0' can be imported.`,
      });
    }
    const expected = from === "ic0" ? ic0Signature(name, address) : undefined;
    if (expected === undefined) {
      throw new WasmError({
        code: "canister/wasm-imports",
        what: `Module imports function '${name}' from '${from}' that is not exported by the runtime.`,
      });
    }
    checkSignature(name, expected, module.types[typeIndex]);
  }
}

function checkSignature(
  name: string,
  expected: FunctionType,
  actual: FunctionType | undefined,
): void {
  if (actual === undefined) {
    throw new WasmError({
      code: "canister/wasm-signature",
      what: `Function type of '${name}' not found.`,
    });
  }
  for (const [side, field] of [
    ["input params", "params"],
    ["return type", "results"],
  ] as const) {
    if (expected[field].join() === actual[field].join()) continue;
    throw new WasmError({
      code: "canister/wasm-signature",
      what: `Expected ${side} ${formatTypes(expected[field])} for '${name}', got ${formatTypes(actual[field])}.`,
    });
  }
}

function formatTypes(types: readonly string[]): string {
  return `[${types.map((type) => type[0]!.toUpperCase() + type.slice(1)).join(", ")}]`;
}

function exportError(what: string): WasmError {
  return new WasmError({ code: "canister/wasm-exports", what });
}

function checkExports(module: WasmModule): void {
  const methods = new Set<string>();
  let nameBytes = 0;
  for (const { name, kind, index } of module.exports) {
    if (kind !== "function" || !name.startsWith("canister_")) continue;
    const prefix = METHOD_PREFIXES.find((candidate) => name.startsWith(candidate));
    if (prefix === undefined && !ENTRY_POINTS.includes(name)) {
      throw exportError(`Exporting reserved function '${name}' with "canister_" prefix.`);
    }
    if (prefix !== undefined) {
      const method = name.slice(prefix.length);
      if (methods.has(method)) {
        throw exportError(
          `Duplicate function '${method}' exported multiple times with different call types: update, query, or composite_query.`,
        );
      }
      methods.add(method);
      nameBytes += utf8Bytes(method).length;
    }
    if (index < module.imports.length) {
      throw exportError(
        `Function '${name}' is imported; an entry point must be defined in the module.`,
      );
    }
    checkSignature(
      name,
      { params: [], results: [] },
      module.types[functionTypeIndex(module, index) ?? -1],
    );
  }
  if (methods.size > EXPORTED_METHODS_MAX) {
    throw exportError(
      `The number of exported functions called ${METHOD_KINDS} exceeds ${EXPORTED_METHODS_MAX}.`,
    );
  }
  if (nameBytes > EXPORTED_METHOD_NAME_BYTES_MAX) {
    throw exportError(
      `The sum of \`<name>\` lengths in exported functions called ${METHOD_KINDS} exceeds ${EXPORTED_METHOD_NAME_BYTES_MAX}.`,
    );
  }
}

/** The metadata sections of a module, in order. @throws WasmError on a bad name, too many or too large */
export function metadataSections(module: WasmModule): MetadataSection[] {
  const sections: MetadataSection[] = [];
  let bytes = 0;
  for (const { name, content } of module.customs) {
    if (!name.startsWith("icp:")) continue;
    const rest = name.slice("icp:".length);
    const visibility = (["public", "private"] as const).find((word) => rest.startsWith(`${word} `));
    if (visibility === undefined) {
      throw new WasmError({
        code: "canister/wasm-custom-section",
        what: `Invalid custom section: Custom section '${name}' is neither 'icp:public <name>' nor 'icp:private <name>'.`,
      });
    }
    const label = rest.slice(visibility.length + 1);
    if (sections.some((section) => section.name === label)) {
      throw new WasmError({
        code: "canister/wasm-custom-section",
        what: `Invalid custom section: Custom section ${label} already exists.`,
      });
    }
    sections.push({ name: label, visibility, content: content.slice() });
    bytes += content.length;
  }
  checkCount("custom sections", sections.length, ICP_CUSTOM_SECTIONS_MAX);
  if (bytes > ICP_CUSTOM_SECTIONS_BYTES_MAX) {
    throw new WasmError({
      code: "canister/wasm-custom-section",
      what: `Invalid custom sections: total size of the custom sections exceeds the maximum allowed: size ${bytes} bytes, allowed ${ICP_CUSTOM_SECTIONS_BYTES_MAX} bytes.`,
    });
  }
  return sections;
}
