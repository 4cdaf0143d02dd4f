// Goal: instrumentation changes nothing that a canister can see. Method: run each module raw and
// instrumented, and compare the memory, the traps and the saved globals after each entry point.
import { deepEqual, equal, notEqual } from "node:assert/strict";
import { test } from "node:test";
import wabtInit from "wabt";
import { prepareModule } from "./prepare-module.ts";
import { HostStop, TestHost } from "./test-host.ts";

const wabt = await wabtInit();
const FEATURES = {
  memory64: true,
  tail_call: true,
  simd: true,
  bulk_memory: true,
  multi_value: true,
};

function compile(text: string): Uint8Array {
  return wabt.parseWat("test.wat", text, FEATURES).toBinary({}).buffer;
}

/** One step's outcome: the memory's non-zero bytes and whether it trapped. */
interface Outcome {
  readonly trap: string;
  readonly memory: string;
}

function digest(memory: WebAssembly.Memory): string {
  const bytes = new Uint8Array(memory.buffer);
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end--;
  return `${bytes.length}:${bytes.subarray(0, end).toHex()}`;
}

function outcome(run: () => unknown, memory: WebAssembly.Memory): Outcome {
  let trap = "";
  try {
    run();
  } catch (error) {
    if (error instanceof HostStop)
      trap = error.kind === "heap" ? "memory access out of bounds" : error.kind;
    else if (error instanceof WebAssembly.RuntimeError) trap = error.message;
    else throw error;
  }
  return { trap, memory: digest(memory) };
}

function entryPoints(module: WebAssembly.Module): string[] {
  return WebAssembly.Module.exports(module)
    .map(({ name }) => name)
    .filter((name) => name.startsWith("canister_"));
}

/** Compares all entry points, called twice in order. */
function compare(text: string): { host: TestHost; outcomes: Outcome[] } {
  const bytes = compile(text);
  const module = new WebAssembly.Module(bytes);
  const raw = new WebAssembly.Instance(module, {}).exports;
  const memory = raw["memory"] as WebAssembly.Memory;
  const host = new TestHost(prepareModule(bytes));
  equal(digest(host.heap), digest(memory), "after installation");
  const outcomes: Outcome[] = [];
  for (const name of [...entryPoints(module), ...entryPoints(module)]) {
    const expected = outcome(raw[name] as () => unknown, memory);
    const actual = outcome(() => host.call(name), host.heap);
    deepEqual(actual, expected, name);
    outcomes.push(actual);
  }
  return { host, outcomes };
}

const CASES: Record<string, string> = {
  "stores of every width, aligned and across pages": `
    (memory (export "memory") 2)
    (func (export "canister_update a") (local $i i32)
      (loop $l
        (i32.store (local.get $i) (local.get $i))
        (i32.store8 offset=4 (local.get $i) (local.get $i))
        (i32.store16 offset=6 (local.get $i) (local.get $i))
        (i64.store offset=8 (local.get $i) (i64.const -2))
        (i64.store8 offset=16 (local.get $i) (i64.const 77))
        (i64.store16 offset=18 (local.get $i) (i64.const 78))
        (i64.store32 offset=20 (local.get $i) (i64.const 79))
        (f32.store offset=24 (local.get $i) (f32.const 1.5))
        (f64.store offset=32 (local.get $i) (f64.const 2.5))
        (v128.store offset=48 (local.get $i) (v128.const i32x4 1 2 3 4))
        (v128.store32_lane offset=64 2 (local.get $i) (v128.const i32x4 1 2 3 4))
        (v128.store64_lane offset=72 1 (local.get $i) (v128.const i32x4 1 2 3 4))
        (v128.store8_lane offset=80 5 (local.get $i) (v128.const i32x4 1 2 3 4))
        (v128.store16_lane offset=82 5 (local.get $i) (v128.const i32x4 1 2 3 4))
        (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 96))) (i32.const 20000)))))
    (func (export "canister_update b")
      (i32.store (i32.const 32767) (i32.const -1))
      (i64.store (i32.const 40957) (i64.const -1))
      (i64.store align=1 (i32.const 45055) (i64.const -1))
      (i32.store16 (i32.const 49151) (i32.const -1))
      (v128.store align=1 (i32.const 53240) (v128.const i32x4 -1 -1 -1 -1))
      (v128.store (i32.const 57336) (v128.const i32x4 -1 -1 -1 -1)))
    (func (export "canister_update last byte") (i32.store8 (i32.const 131071) (i32.const 9)))
    (func (export "canister_update over the end") (i32.store (i32.const 131070) (i32.const 9)))
    (func (export "canister_update past the end") (i32.store offset=4294967295 (i32.const -1) (i32.const 9)))
    (func (export "canister_update wraps") (i64.store offset=9 (i32.const -1) (i64.const 9)))
    (func (export "canister_update load") (drop (i64.load offset=65536 (i32.const 65529))))`,
  "wasm64 stores": `
    (memory (export "memory") i64 2)
    (func (export "canister_update a") (local $i i64)
      (loop $l
        (i32.store (local.get $i) (i32.wrap_i64 (local.get $i)))
        (i64.store offset=8 (local.get $i) (local.get $i))
        (i32.store8 offset=17 (local.get $i) (i32.const 3))
        (br_if $l (i64.lt_u (local.tee $i (i64.add (local.get $i) (i64.const 24))) (i64.const 20000)))))
    (func (export "canister_update crossing")
      (i64.store (i64.const 32765) (i64.const -1))
      (i64.store align=1 (i64.const 40957) (i64.const -1)))
    (func (export "canister_update end") (i64.store (i64.const 131065) (i64.const 9)))
    (func (export "canister_update 4 GiB") (i64.store (i64.const 4294967296) (i64.const 9)))
    (func (export "canister_update 16 TiB") (i64.store (i64.const 17592186044416) (i64.const 9)))
    (func (export "canister_update 8 GiB") (i64.store8 (i64.const 8589934592) (i64.const 9)))
    (func (export "canister_update wraps") (i64.store offset=16 (i64.const -8) (i64.const 9)))
    (func (export "canister_update huge offset") (i64.store offset=0xfffffffffffffff0 (i64.const 24) (i64.const 9)))`,
  "return and branches to the function label": `
    (memory (export "memory") 1)
    (func $pick (param i32) (result i32)
      (block $a (block $b (block $c
        (br_table $a $b $c (local.get 0)))
        (return (i32.const 10)))
        (br 1 (i32.const 20)))
      (if (result i32) (local.get 0) (then (br 1 (i32.const 30))) (else (i32.const 31))))
    (func $both (param i32) (result i32)
      (i32.const 5) (br_if 0 (i32.eq (local.get 0) (i32.const 4))) (drop)
      (block (result i32) (br_table 0 1 0 (i32.const 6) (i32.sub (local.get 0) (i32.const 5))))
      (i32.add (call $pick (local.get 0))))
    (func (export "canister_update a") (local $i i32)
      (loop $l
        (i32.store (i32.mul (local.get $i) (i32.const 4)) (call $both (local.get $i)))
        (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 9)))))`,
  "several results and block parameters": `
    (memory (export "memory") 1)
    (func $two (param i32) (result i32 i64)
      (if (local.get 0) (then (return (i32.const 1) (i64.const 2))))
      (i32.const 3) (i64.const 4))
    (func (export "canister_update a") (local i32 i64)
      (call $two (i32.const 0)) (local.set 1) (local.set 0)
      (i32.store (i32.const 0) (local.get 0)) (i64.store (i32.const 8) (local.get 1))
      (call $two (i32.const 1)) (local.set 1) (local.set 0)
      (i32.store (i32.const 16) (local.get 0)) (i64.store (i32.const 24) (local.get 1))
      (i32.const 7) (i32.const 5)
      (loop $l (param i32 i32) (result i32 i32)
        (i32.const 1) (i32.sub) (local.tee 0)
        (if (param i32) (result i32) (local.get 0) (then (i32.const 1) (i32.mul)) (else))
        (local.get 0) (br_if $l))
      (local.set 0) (i32.store offset=32 (local.get 0)))`,
  "unreachable code": `
    (memory (export "memory") 1)
    (func $f (param i32) (result i32)
      (block $out (result i32)
        (br $out (i32.const 1))
        (i32.add) (loop (br 0)) (block (result f64) (unreachable)) (drop)
        (if (result i32) (then (i32.const 1)) (else (br 1 (i32.const 2)))) (drop))
      (return)
      (f32.add) (drop))
    (func (export "canister_update a")
      (i32.store (i32.const 4) (call $f (i32.const 3)))
      (block (br 0) (unreachable)))
    (func (export "canister_update b") (i32.store (i32.const 8) (i32.const 3)) (unreachable) (drop) (i32.store (i32.const 9)))
    (func (export "canister_update c") (loop $l (unreachable) (br $l)))`,
  "bulk memory": `
    (memory (export "memory") 2)
    (data $d "passive segment") (data $a (i32.const 100) "active")
    (func (export "canister_update a")
      (memory.fill (i32.const 4000) (i32.const 0xab) (i32.const 200))
      (memory.copy (i32.const 90000) (i32.const 4050) (i32.const 300))
      (memory.copy (i32.const 0) (i32.const 0) (i32.const 0))
      (memory.init $d (i32.const 8190) (i32.const 3) (i32.const 7))
      (memory.init $a (i32.const 0) (i32.const 0) (i32.const 0)))
    (func (export "canister_update init of an active segment") (memory.init $a (i32.const 0) (i32.const 0) (i32.const 1)))
    (func (export "canister_update fill past the end") (memory.fill (i32.const 131070) (i32.const 1) (i32.const 3)))
    (func (export "canister_update empty past the end") (memory.fill (i32.const 131073) (i32.const 1) (i32.const 0)))
    (func (export "canister_update empty at the end") (memory.fill (i32.const 131072) (i32.const 1) (i32.const 0)))
    (func (export "canister_update copy from past the end") (memory.copy (i32.const 0) (i32.const 131070) (i32.const 3)))
    (func (export "canister_update drop") (data.drop $d) (data.drop $a))
    (func (export "canister_update init after drop") (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)))`,
  "memory.size and memory.grow": `
    (memory (export "memory") 1 5)
    (func (export "canister_update a")
      (i32.store (i32.const 0) (memory.size))
      (i32.store (i32.const 4) (memory.grow (i32.const 2)))
      (i32.store (i32.const 8) (memory.size))
      (i32.store (i32.const 12) (memory.grow (i32.const 3)))
      (i32.store (i32.const 16) (memory.grow (i32.const -1)))
      (i32.store (i32.const 196604) (memory.grow (i32.const 0))))`,
  "calls, tables and references": `
    (memory (export "memory") 1)
    (table $t 4 8 funcref) (elem (i32.const 1) $one $two) (elem declare func $three) (elem $p func $two $one)
    (type $f (func (result i32)))
    (func $one (result i32) (i32.const 1)) (func $two (result i32) (i32.const 2)) (func $three (result i32) (i32.const 3))
    (func (export "canister_update a")
      (i32.store (i32.const 0) (call_indirect (type $f) (i32.const 1)))
      (table.set (i32.const 3) (ref.func $three))
      (i32.store (i32.const 4) (call_indirect (type $f) (i32.const 3)))
      (table.init $p (i32.const 0) (i32.const 0) (i32.const 2))
      (i32.store (i32.const 8) (call_indirect (type $f) (i32.const 0)))
      (i32.store (i32.const 12) (table.grow (ref.null func) (i32.const 2)))
      (i32.store (i32.const 16) (table.size))
      (table.fill (i32.const 4) (ref.func $two) (i32.const 2))
      (table.copy (i32.const 2) (i32.const 4) (i32.const 1))
      (i32.store (i32.const 20) (call_indirect (type $f) (i32.const 2)))
      (i32.store (i32.const 24) (ref.is_null (table.get (i32.const 5)))))
    (func (export "canister_update null") (drop (call_indirect (type $f) (i32.const 7))))
    (func (export "canister_update out of bounds") (drop (call_indirect (type $f) (i32.const 100))))
    (func (export "canister_update signature") (call_indirect (i32.const 1)))
    (func (export "canister_update drop") (elem.drop $p) (table.init $p (i32.const 0) (i32.const 0) (i32.const 1)))`,
  "tail calls": `
    (memory (export "memory") 1) (table 1 funcref) (elem (i32.const 0) $even)
    (func $even (param i32) (result i32)
      (if (result i32) (local.get 0) (then (return_call $odd (i32.sub (local.get 0) (i32.const 1)))) (else (i32.const 1))))
    (func $odd (param i32) (result i32)
      (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
      (return_call_indirect (param i32) (result i32) (i32.sub (local.get 0) (i32.const 1)) (i32.const 0)))
    (func (export "canister_update a")
      (i32.store (i32.const 0) (call $even (i32.const 1000001)))
      (i32.store (i32.const 4) (call $even (i32.const 1000000))))`,
  "integer traps": `
    (memory (export "memory") 1)
    (func (export "canister_update divide") (i32.store (i32.const 0) (i32.div_s (i32.const 1) (i32.load (i32.const 0)))))
    (func (export "canister_update overflow") (i32.store (i32.const 0) (i32.div_s (i32.const 0x80000000) (i32.const -1))))
    (func (export "canister_update remainder") (i64.store (i32.const 0) (i64.rem_u (i64.const 1) (i64.const 0))))
    (func (export "canister_update truncate") (i32.store (i32.const 0) (i32.trunc_f64_s (f64.const 1e10))))`,
  "start function and globals": `
    (memory (export "memory") 1)
    (global $a (mut i32) (i32.const 5)) (global $b i32 (i32.const 16)) (global $c (mut f64) (f64.const 1.25))
    (global $d i32 (i32.add (global.get $b) (i32.const 4)))
    (data (global.get $b) "data") (start $s)
    (func $s (global.set $a (i32.const 6)) (i32.store8 (i32.const 16) (i32.const 65)))
    (func (export "canister_update a") (i32.store (i32.const 0) (global.get $a)) (f64.store (i32.const 8) (global.get $c)) (global.set $a (global.get $d)))`,
  "nested loops and selects": `
    (memory (export "memory") 1)
    (func (export "canister_update a") (local $i i32) (local $j i32) (local $s i64)
      (loop $o (local.set $j (i32.const 0))
        (block $done (loop $n
          (br_if $done (i32.gt_u (local.get $j) (local.get $i)))
          (local.set $s (i64.add (local.get $s) (i64.extend_i32_u (select (local.get $i) (local.get $j) (i32.and (local.get $j) (i32.const 1))))))
          (local.set $j (i32.add (local.get $j) (i32.const 1))) (br $n)))
        (i64.store (i32.shl (local.get $i) (i32.const 3)) (local.get $s))
        (br_if $o (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 50)))))`,
};

for (const [name, text] of Object.entries(CASES)) {
  test(`raw and instrumented agree: ${name}`, () => {
    compare(`(module ${text})`);
  });
}

test("every written page is marked, and no other", () => {
  const { host } = compare(`(module (memory (export "memory") 4)
    (func (export "canister_update a")
      (i32.store8 (i32.const 4096) (i32.const 1)) (i64.store (i32.const 12286) (i64.const -1))
      (memory.fill (i32.const 20480) (i32.const 1) (i32.const 8192))))`);
  deepEqual(host.dirtyPages, [1, 2, 3, 5, 6]);
  equal(host.marks, 2, "the second run finds all pages dirty");
});

test("a store between the logical and the physical size traps", () => {
  const host = new TestHost(
    prepareModule(
      compile(
        `(module (memory 1) (func (export "canister_update a") (i64.store (i32.const 65532) (i64.const 1))))`,
      ),
    ),
  );
  host.heap.grow(1);
  deepEqual(
    outcome(() => host.call("canister_update a"), host.heap).trap,
    "memory access out of bounds",
  );
});

test("a 64-bit table", () => {
  // The text tools lack 64-bit tables, so the flag and the index of table.init are patched.
  const bytes =
    compile(`(module (memory i64 1) (global $g (mut i64) (i64.const 0)) (type $t (func (param i64)))
    (table 2 2 funcref) (elem $e func $f) (func $f (type $t) (global.set $g (local.get 0)))
    (func (export "canister_update a") (table.init $e (i32.const 1) (i32.const 0) (i32.const 1))))`);
  patch(bytes, [0x04, 0x05, 0x01, 0x70, 0x01, 0x02, 0x02], 4, 0x05);
  patch(bytes, [0x41, 0x01, 0x41, 0x00, 0x41, 0x01], 0, 0x42);
  const prepared = prepareModule(bytes);
  equal(prepared.tableIndexType, "i64");
  equal(prepared.mutatesInstance, true);
  const host = new TestHost(prepared);
  host.call("canister_update a");
  host.call("gyrotron:callback", 1n, 77n);
  host.call("gyrotron:save");
  equal(new BigInt64Array(host.side.buffer)[0], 77n);
});

/** Sets the byte at `at` in the only occurrence of `pattern`. */
function patch(bytes: Uint8Array, pattern: number[], at: number, value: number): void {
  const found = bytes.findIndex((_, i) => pattern.every((byte, k) => bytes[i + k] === byte));
  notEqual(found, -1);
  bytes[found + at] = value;
}
