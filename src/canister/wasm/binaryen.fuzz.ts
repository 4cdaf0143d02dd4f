// Modules that binaryen's fuzzer makes of random bytes: instrumented, each entry point ends as in the raw
// module under V8, and leaves the same memory and the same mutable globals. They hold what the programs of
// program.fuzz.ts do not: reference types, multiple results, tail calls, bulk memory on tables, 64-bit
// memories, every vector instruction. Binaryen keeps NaN out of them, so that no result is left open.
//   node --conditions=source src/canister/wasm/binaryen.fuzz.ts SECONDS [first seed]

import { deepEqual } from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import binaryen from "binaryen";
import { WasmError } from "./error.ts";
import { GLOBAL_SLOT_BYTES } from "./instrument-module.ts";
import { createRandom } from "./module.fuzz.ts";
import { type PreparedModule, prepareModule } from "./prepare-module.ts";
import { HostStop, TestHost } from "./test-host.ts";

// Binaryen comes with the AssemblyScript compiler.
const home = dirname(fileURLToPath(import.meta.resolve("binaryen")));

const FEATURES = ["mutable-globals", "sign-ext", "nontrapping-float-to-int", "bulk-memory"];
const MORE_FEATURES = ["simd", "multivalue", "tail-call", "reference-types", "memory64"];
/** What canisters may use, as binaryen counts it: without the features of garbage collection, types are written in their short form. */
export const CANISTER_FEATURES: number = [
  binaryen.Features.MutableGlobals,
  binaryen.Features.SignExt,
  binaryen.Features.NontrappingFPToInt,
  binaryen.Features.BulkMemory,
  binaryen.Features.BulkMemoryOpt,
  binaryen.Features.SIMD128,
  binaryen.Features.Multivalue,
  binaryen.Features.TailCall,
  binaryen.Features.ReferenceTypes,
  binaryen.Features.Memory64,
].reduce((all, feature) => all | feature, 0);
const PREFIX = "canister_update ";
/** Results of a function begin here in memory, beside what the module itself writes. */
const RESULT_ADDRESS = 48;

/** What became of a module: refused ones hold what canisters may not use, or are too odd for our host. */
export interface FuzzResult {
  readonly verdict: "compared" | "refused";
  readonly entryCount: number;
  readonly trapCount: number;
}

/** Runs module `seed` both ways. @throws AssertionError if they differ: that is a finding */
export function compareModule(seed: number): FuzzResult {
  return compareBytes(moduleOf(seed), `module ${seed}`);
}

/** Module `seed`, ready to be run. */
export function moduleOf(seed: number): Uint8Array {
  return withEntryPoints(generate(seed), seed);
}

/** Compares a module without imports, every entry point on instances of its own, twice in a row. */
export function compareBytes(bytes: Uint8Array, what: string): FuzzResult {
  let prepared: PreparedModule;
  try {
    prepared = prepareModule(bytes);
  } catch (error) {
    if (error instanceof WasmError) return { verdict: "refused", entryCount: 0, trapCount: 0 };
    throw error;
  }
  const module = new WebAssembly.Module(bytes.slice());
  const names = [...prepared.exports];
  let trapCount = 0;
  for (const name of names) {
    const raw = rawInstance(module);
    const host = hostOf(prepared);
    deepEqual(host instanceof TestHost ? "installed" : host, raw.ending, `start of ${what}`);
    if (!(host instanceof TestHost)) return { verdict: "compared", entryCount: 0, trapCount: 1 };
    for (let round = 0; round < 2; round++) {
      const where = `${name}, round ${round} of ${what}`;
      const expected = endingOf(raw.exports[name] as () => unknown);
      deepEqual(
        endingOf(() => host.call(name)),
        expected,
        where,
      );
      // What a trap leaves behind is undone, and a merged check may trap before some of the stores.
      if (expected !== "returned") {
        trapCount++;
        break;
      }
      compareStates(raw.exports, host, prepared, where);
    }
  }
  return { verdict: "compared", entryCount: names.length, trapCount };
}

function rawInstance(module: WebAssembly.Module): {
  exports: Record<string, unknown>;
  ending: string;
} {
  let exports: Record<string, unknown> = {};
  const ending = endingOf(() => {
    exports = new WebAssembly.Instance(module, {}).exports;
  });
  return { exports, ending: ending === "returned" ? "installed" : ending };
}

function hostOf(prepared: PreparedModule): TestHost | string {
  let host: TestHost | undefined;
  const ending = endingOf(() => {
    host = new TestHost(prepared);
  });
  return host ?? ending;
}

function compareStates(
  raw: Record<string, unknown>,
  host: TestHost,
  prepared: PreparedModule,
  where: string,
): void {
  const memory = raw["memory"] as WebAssembly.Memory;
  const [left, right] = [new Uint8Array(host.heap.buffer), new Uint8Array(memory.buffer)];
  deepEqual(left.length, right.length, `size of memory after ${where}`);
  deepEqual(Buffer.compare(left, right), 0, `memory after ${where}`);
  host.call("gyrotron:save");
  const slots = new DataView(host.side.buffer);
  for (const [index, { type }] of prepared.globals.entries()) {
    const at = index * GLOBAL_SLOT_BYTES;
    if (type === "v128") continue; // JavaScript cannot read such a global of the raw module.
    const value = (raw[`global ${index}`] as WebAssembly.Global).value as number | bigint;
    const saved = {
      i32: () => slots.getInt32(at, true),
      i64: () => slots.getBigInt64(at, true),
      f32: () => slots.getFloat32(at, true),
      f64: () => slots.getFloat64(at, true),
    }[type]();
    deepEqual(saved, value, `global ${index} after ${where}`);
  }
}

function endingOf(run: () => unknown): string {
  try {
    run();
    return "returned";
  } catch (error) {
    if (error instanceof HostStop) {
      if (error.kind === "heap") return "memory access out of bounds";
      return error.kind === "stack" ? "stack overflow" : error.kind;
    }
    if (error instanceof RangeError && /call stack/.test(error.message)) return "stack overflow";
    if (error instanceof WebAssembly.RuntimeError) return error.message;
    throw error;
  }
}

/** A module of binaryen's fuzzer. */
function generate(seed: number): Uint8Array {
  const random = createRandom(seed);
  const bytes = Uint8Array.from({ length: 300 + random(6000) }, () => random(256));
  const features = [...FEATURES, ...MORE_FEATURES.filter(() => random(3) > 0)];
  const folder = mkdtempSync(join(tmpdir(), "gyrotron-fuzz-"));
  try {
    const [input, output] = [join(folder, "input"), join(folder, "output.wasm")];
    writeFileSync(input, bytes);
    const shape = ["-ttf", "--fuzz-preserve-imports-exports", "--denan"];
    const flags = ["-mvp", ...shape, ...features.map((name) => `--enable-${name}`)];
    if (random(2) === 0) flags.push("--no-fuzz-oob");
    execFileSync(process.execPath, [join(home, "bin/wasm-opt"), input, ...flags, "-o", output], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    return readFileSync(output);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * The module with an entry point for each function, which keeps a result in memory, and with its memory
 * and mutable globals exported.
 */
function withEntryPoints(bytes: Uint8Array, seed: number): Uint8Array {
  const random = createRandom(seed + 77);
  const module = binaryen.readBinaryWithFeatures(bytes, CANISTER_FEATURES);
  try {
    const called = functionsOf(module);
    const is64 = module.hasMemory() && module.getMemoryInfo().is64;
    if (!module.hasMemory()) module.setMemory(1, 1, "memory");
    else module.addMemoryExport("0", "memory");
    called.forEach(({ name, params, results }, index) => {
      const args = binaryen.expandType(params).map((type) => constant(module, type, random));
      const call = module.call(name, args, results);
      const body = keepResult(module, call, results, is64);
      const wrapper = `${PREFIX}${index}`;
      module.addFunction(wrapper, binaryen.none, binaryen.none, [], body);
      module.addFunctionExport(wrapper, wrapper);
    });
    let mutable = 0;
    for (let i = 0; i < module.getNumGlobals(); i++) {
      const info = binaryen.getGlobalInfo(module.getGlobalByIndex(i));
      if (info.mutable) module.addGlobalExport(info.name, `global ${mutable++}`);
    }
    return module.emitBinary();
  } finally {
    module.dispose();
  }
}

function functionsOf(module: binaryen.Module): binaryen.FunctionInfo[] {
  return Array.from({ length: module.getNumFunctions() }, (_, index) =>
    binaryen.getFunctionInfo(module.getFunctionByIndex(index)),
  );
}

function keepResult(
  module: binaryen.Module,
  call: binaryen.ExpressionRef,
  type: binaryen.Type,
  is64: boolean,
): binaryen.ExpressionRef {
  const at = is64 ? module.i64.const(BigInt(RESULT_ADDRESS)) : module.i32.const(RESULT_ADDRESS);
  switch (type) {
    case binaryen.none:
      return call;
    case binaryen.i32:
      return module.i32.store(0, 1, at, call);
    case binaryen.i64:
      return module.i64.store(0, 1, at, call);
    case binaryen.f32:
      return module.f32.store(0, 1, at, call);
    case binaryen.f64:
      return module.f64.store(0, 1, at, call);
    case binaryen.v128:
      return module.v128.store(0, 1, at, call);
    default:
      return module.drop(call);
  }
}

function constant(
  module: binaryen.Module,
  type: binaryen.Type,
  random: (below: number) => number,
): binaryen.ExpressionRef {
  const small = random(3) === 0 ? random(2 ** 31) : random(70);
  switch (type) {
    case binaryen.i32:
      return module.i32.const(small);
    case binaryen.i64:
      return module.i64.const(BigInt(small) * BigInt(random(2 ** 31)));
    case binaryen.f32:
      return module.f32.const(small / 4);
    case binaryen.f64:
      return module.f64.const(-small / 8);
    case binaryen.v128:
      return module.v128.const(Array.from({ length: 16 }, () => random(100)));
    default:
      return module.ref.null(type);
  }
}

if (import.meta.main) {
  const deadlineMs = performance.now() + 1000 * Number(process.argv[2] ?? 10);
  const first = Number(process.argv[3] ?? 1);
  let [seed, compared, entries, traps] = [first, 0, 0, 0];
  for (; performance.now() < deadlineMs; seed++) {
    const { verdict, entryCount, trapCount } = compareModule(seed);
    if (verdict === "compared") compared++;
    entries += entryCount;
    traps += trapCount;
  }
  const last = seed - 1;
  console.log(
    `modules ${first} to ${last}: ${compared} compared, ${entries} entry points, ${traps} traps, no finding`,
  );
}
