// Goal: the network's rules for modules, each with the text that developers see.
import { deepEqual, equal, notDeepEqual, ok, match } from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { concatBytes, utf8Bytes } from "gyrotron/base";
import wabtInit from "wabt";
import { WasmError } from "./error.ts";
import { ic0Names, ic0Signature } from "./ic0-signatures.ts";
import { prepareModule } from "./prepare-module.ts";

const wabt = await wabtInit();

function compile(text: string): Uint8Array {
  const features = {
    memory64: true,
    multi_memory: true,
    exceptions: true,
    threads: true,
    gc: true,
  };
  return wabt.parseWat("rules.wat", `(module ${text})`, features).toBinary({}).buffer;
}

/** A custom section; contents shorter than 2^14 bytes. */
function custom(name: string, content: Uint8Array): Uint8Array {
  const label = utf8Bytes(name);
  const size = 1 + label.length + content.length;
  return concatBytes(
    Uint8Array.of(0, (size & 0x7f) | 0x80, size >> 7, label.length),
    label,
    content,
  );
}

function refusal(bytes: Uint8Array): string {
  try {
    prepareModule(bytes);
  } catch (error) {
    if (error instanceof WasmError)
      return `${error.info.code.slice("canister/wasm-".length)}: ${error.message}`;
    throw error;
  }
  return "accepted";
}

const SIMPLE = `(memory 1) (func (export "canister_update a"))`;
const IMPORTS = "imports: Wasm module has an invalid import section. ";
const EXPORTS = "exports: Wasm module has an invalid export section. ";
const SIGNATURE = "signature: Wasm module has an invalid function signature. ";

const REFUSED: [name: string, text: string, message: string][] = [
  [
    "a function of another module",
    `(import "env" "f" (func))`,
    `${IMPORTS}Module imports function 'f' from 'env' that is not exported by the runtime.`,
  ],
  [
    "an unknown function",
    `(import "ic0" "f" (func))`,
    `${IMPORTS}Module imports function 'f' from 'ic0' that is not exported by the runtime.`,
  ],
  [
    "a property of objects",
    `(import "ic0" "constructor" (func))`,
    `${IMPORTS}Module imports function 'constructor' from 'ic0' that is not exported by the runtime.`,
  ],
  [
    "the runtime's own module",
    `(import "gyrotron" "refill" (func (param i64) (result i64)))`,
    `${IMPORTS}Module imports function 'refill' from 'gyrotron' that is not exported by the runtime.`,
  ],
  [
    "an imported memory",
    `(import "env" "memory" (memory 1))`,
    `${IMPORTS}Module imports memory 'memory' from 'env'; only functions of 'ic0' can be imported.`,
  ],
  [
    "an imported table",
    `(import "env" "table" (table 1 funcref))`,
    `${IMPORTS}Module imports table 'table' from 'env'; only functions of 'ic0' can be imported.`,
  ],
  [
    "an imported global",
    `(import "ic0" "g" (global i32))`,
    `${IMPORTS}Module imports global 'g' from 'ic0'; only functions of 'ic0' can be imported.`,
  ],
  [
    "a wrong parameter",
    `(import "ic0" "trap" (func (param i32)))`,
    `${SIGNATURE}Expected input params [I32, I32] for 'trap', got [I32].`,
  ],
  [
    "a wrong result",
    `(import "ic0" "time" (func (result i32)))`,
    `${SIGNATURE}Expected return type [I64] for 'time', got [I32].`,
  ],
  [
    "32-bit pointers with a 64-bit memory",
    `(import "ic0" "trap" (func (param i32 i32))) (memory i64 1)`,
    `${SIGNATURE}Expected input params [I64, I64] for 'trap', got [I32, I32].`,
  ],
  [
    "a 32-bit function with a 64-bit memory",
    `(import "ic0" "stable_size" (func (result i32))) (memory i64 1)`,
    `${IMPORTS}Module imports function 'stable_size' from 'ic0' that is not exported by the runtime.`,
  ],
  [
    "a reserved export",
    `(func (export "canister_foo"))`,
    `${EXPORTS}Exporting reserved function 'canister_foo' with "canister_" prefix.`,
  ],
  [
    "one method of two kinds",
    `(func (export "canister_update a")) (func (export "canister_query a"))`,
    `${EXPORTS}Duplicate function 'a' exported multiple times with different call types: update, query, or composite_query.`,
  ],
  [
    "an entry point with a parameter",
    `(func (export "canister_init") (param i32))`,
    `${SIGNATURE}Expected input params [] for 'canister_init', got [I32].`,
  ],
  [
    "an entry point with a result",
    `(func (export "canister_query a") (result i64) (i64.const 1))`,
    `${SIGNATURE}Expected return type [] for 'canister_query a', got [I64].`,
  ],
  [
    "an import as entry point",
    `(import "ic0" "msg_reply" (func $f)) (export "canister_update a" (func $f))`,
    `${EXPORTS}Function 'canister_update a' is imported; an entry point must be defined in the module.`,
  ],
  [
    "too many globals",
    "(global i32 (i32.const 0))".repeat(1001),
    "limit: Wasm module defined 1001 globals which exceeds the maximum number allowed 1000.",
  ],
  [
    "too many functions",
    "(func)".repeat(50_001),
    "limit: Wasm module defined 50001 functions which exceeds the maximum number allowed 50000.",
  ],
  ["two memories", "(memory 1) (memory 1)", "limit: Wasm module defined more than one memory."],
  [
    "a memory above 6 GiB",
    "(memory i64 98305)",
    "limit: Wasm module defined an initial memory of 98305 pages which exceeds the maximum number allowed 98304.",
  ],
  [
    "a mutable reference",
    "(global (mut funcref) (ref.null func))",
    "limit: Wasm module defined a mutable global of a reference type, which is not allowed.",
  ],
  [
    "shared memory",
    "(memory 1 1 shared)",
    "unsupported: Wasm module uses an unsupported feature: shared memory (at offset 11)",
  ],
  [
    "atomic instructions",
    "(memory 1) (func (drop (i32.atomic.load (i32.const 0))))",
    "unsupported: Wasm module uses an unsupported feature: instruction (at offset 30)",
  ],
  [
    "exceptions",
    "(tag $e) (func (throw $e))",
    "unsupported: Wasm module uses an unsupported feature: section 13 (at offset 18)",
  ],
];

for (const [name, text, message] of REFUSED) {
  test(`refused: ${name}`, () => equal(refusal(compile(text)), message));
}

test("refused: relaxed vector instructions", () => {
  // i32x4.relaxed_trunc_f32x4_s, which the text tools do not know.
  const bytes = compile("(func (drop (i8x16.popcnt (v128.const i32x4 0 0 0 0))))");
  const at = bytes.findIndex((_, i) => bytes[i] === 0xfd && bytes[i + 1] === 98);
  const relaxed = concatBytes(
    bytes.subarray(0, at),
    Uint8Array.of(0xfd, 0x81, 0x02),
    bytes.subarray(at + 2),
  );
  const [section, body] = [relaxed.lastIndexOf(10, at - 18), at - 20];
  relaxed[section + 1]! += 1;
  relaxed[body]! += 1;
  equal(refusal(relaxed).split(":")[0], "unsupported");
});

test("refused: code that does not type-check, by a text of our own", () => {
  const bytes = compile("(func (result i32) (i32.const 1))");
  const at = bytes.findIndex((_, i) => bytes[i] === 0x41 && bytes[i + 1] === 1);
  bytes[at] = 0x42;
  equal(refusal(bytes), "rejected: Failed to validate wasm module: types or indices do not match.");
});

test("accepted: all of ic0, in both widths", () => {
  for (const address of ["i32", "i64"] as const) {
    const names = ic0Names(address);
    ok(names.length > 60);
    const imports = names.map((name) => {
      const { params, results } = ic0Signature(name, address)!;
      return `(import "ic0" "${name}" (func (param ${params.join(" ")}) (result ${results.join(" ")})))`;
    });
    const prepared = prepareModule(
      compile(`${imports.join("")} (memory ${address === "i64" ? "i64" : ""} 1)`),
    );
    equal(prepared.addressType, address);
  }
});

test("accepted: names with any text, and other exports", () => {
  const { exports } = prepareModule(
    compile(
      `(func (export "canister_update <a b> \\u{e9}")) (func (export "canister_heartbeat")) (func (export "other") (param i32))`,
    ),
  );
  deepEqual([...exports], ["canister_update <a b> \u00e9", "canister_heartbeat"]);
});

test("numbers and lengths of methods", () => {
  const methods = (count: number, name: (i: number) => string): Uint8Array =>
    compile(
      `(func $f) ${Array.from({ length: count }, (_, i) => `(export "canister_query ${name(i)}" (func $f))`).join("")}`,
    );
  equal(refusal(methods(1000, String)), "accepted");
  equal(
    refusal(methods(1001, String)).startsWith(`${EXPORTS}The number of exported functions`),
    true,
  );
  equal(refusal(methods(2, (i) => `${i}`.padStart(10_000, "x"))), "accepted");
  equal(
    refusal(methods(2, (i) => `${i}`.padStart(10_001, "x"))).startsWith(`${EXPORTS}The sum of`),
    true,
  );
});

test("metadata sections", () => {
  const simple = compile(SIMPLE);
  const content = Uint8Array.of(1, 2, 3);
  const { customSections } = prepareModule(
    concatBytes(
      simple,
      custom("icp:public candid:service", content),
      custom("other", content),
      custom("icp:private a b", content),
    ),
  );
  deepEqual(customSections, [
    { name: "candid:service", visibility: "public", content },
    { name: "a b", visibility: "private", content },
  ]);
  const prefix = "custom-section: Wasm module has an invalid custom section. ";
  const refused = (...names: string[]): string =>
    refusal(concatBytes(simple, ...names.map((name) => custom(name, content))));
  equal(
    refused("icp:secret a"),
    `${prefix}Invalid custom section: Custom section 'icp:secret a' is neither 'icp:public <name>' nor 'icp:private <name>'.`,
  );
  equal(
    refused("icp:public a", "icp:private a"),
    `${prefix}Invalid custom section: Custom section a already exists.`,
  );
  equal(refused(...Array.from({ length: 16 }, (_, i) => `icp:public ${i}`)), "accepted");
  equal(
    refused(...Array.from({ length: 17 }, (_, i) => `icp:public ${i}`)),
    "limit: Wasm module defined 17 custom sections which exceeds the maximum number allowed 16.",
  );
  const large = (bytes: number): Uint8Array => {
    const label = utf8Bytes("icp:public a");
    const size = 1 + label.length + bytes;
    const leb = [(size & 0x7f) | 0x80, ((size >> 7) & 0x7f) | 0x80, size >> 14];
    const head = Uint8Array.of(0, ...leb, label.length, ...label);
    return concatBytes(simple, head, new Uint8Array(bytes));
  };
  equal(refusal(large(1_048_576)), "accepted");
  equal(
    refusal(large(1_048_577)),
    `${prefix}Invalid custom sections: total size of the custom sections exceeds the maximum allowed: size 1048577 bytes, allowed 1048576 bytes.`,
  );
});

test("a module of more than 100 MiB", () => {
  equal(
    refusal(new Uint8Array(104_857_601)),
    "limit: Wasm module size of 104857601 exceeds the maximum allowed size of 104857600.",
  );
});

test("gzip", () => {
  const simple = compile(SIMPLE);
  const compressed = gzipSync(simple);
  const prepared = prepareModule(compressed);
  const { hash: _, compiled, ...rest } = prepareModule(simple);
  const { hash: __, compiled: ___, ...unpacked } = prepared;
  deepEqual(unpacked, rest);
  deepEqual(WebAssembly.Module.exports(prepared.compiled), WebAssembly.Module.exports(compiled));
  notDeepEqual(prepared.hash, prepareModule(simple).hash, "the hash is of the uploaded bytes");
  match(refusal(compressed.subarray(0, 30)), /^compression: Failed to decode wasm module: gzip: /);
  const large = gzipSync(new Uint8Array(104_857_601), { level: 1 });
  match(refusal(large), /^compression: Failed to decode wasm module: gzip: /);
});

test("size of the code section and of a function", () => {
  const body = (size: number): Uint8Array => {
    const simple = compile(`(func)`);
    const at = simple.lastIndexOf(10);
    const leb = (n: number): number[] => [
      (n & 0x7f) | 0x80,
      ((n >> 7) & 0x7f) | 0x80,
      ((n >> 14) & 0x7f) | 0x80,
      (n >> 21) & 0x7f,
    ];
    const nops = new Uint8Array(size).fill(1);
    nops[0] = 0;
    nops[size - 1] = 0x0b;
    return concatBytes(
      simple.subarray(0, at),
      Uint8Array.from([10, ...leb(size + 5), 1, ...leb(size)]),
      nops,
    );
  };
  equal(refusal(body(1_000_001)), "accepted");
  equal(
    refusal(body(1_000_002)),
    "limit: Wasm module contains a function at index 0 of size 1000001 that exceeds the maximum allowed size of 1000000.",
  );
  equal(
    refusal(body(10_485_760)),
    "limit: Wasm module code section size of 10485765 exceeds the maximum allowed size of 10485760.",
  );
});
