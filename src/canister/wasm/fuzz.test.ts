// Smoke runs of the fuzz targets, with fixed seeds. With GYROTRON_FUZZ_SECONDS=600 the modules of
// binaryen's fuzzer run for ten minutes, from a seed that GYROTRON_FUZZ_SEED gives.
import { ok } from "node:assert/strict";
import { test } from "node:test";
import wabtInit from "wabt";
import { compareModule } from "./binaryen.fuzz.ts";
import { mutants, prepareAnything } from "./module.fuzz.ts";
import { compareProgram } from "./program.fuzz.ts";

const SOURCE = `(module
  (type $t (func (param i32) (result i32))) (import "ic0" "msg_reply" (func $reply)) (memory 1 2)
  (table 4 funcref) (elem (i32.const 1) $f) (elem declare func $g) (data (i32.const 8) "abc") (data $p "def")
  (global $m (mut i64) (i64.const 5)) (global f64 (f64.const 1)) (start $s)
  (func $f (type $t) (block $b (br_if $b (local.get 0))) (i32.add (local.get 0) (i32.const 1)))
  (func $g (param f32 v128) (result f32 i64) (f32.add (local.get 0) (f32.const 1)) (i64.const 3))
  (func $s (memory.init $p (i32.const 0) (i32.const 0) (i32.const 3)) (table.set (i32.const 0) (ref.func $g)))
  (func (export "canister_update a") (local f64)
    (if (i32.load (i32.const 4)) (then (call $reply)) (else (return_call $s)))
    (loop $l (br_table $l 1 0 (call_indirect (type $t) (i32.const 2) (i32.const 1))))))`;

test("hostile bytes give a module or a WasmError", async () => {
  const wabt = await wabtInit();
  const module = wabt.parseWat("seed.wat", SOURCE, { tail_call: true }).toBinary({}).buffer;
  ok(prepareAnything(module));
  let accepted = 0;
  for (const bytes of mutants({ corpus: [module], seed: 1, count: 3000 })) {
    if (prepareAnything(bytes)) accepted++;
  }
  ok(accepted > 20 && accepted < 1500, `${accepted} accepted`);
});

test("random programs run as their raw form does", () => {
  for (let seed = 1; seed <= 60; seed++) compareProgram(seed);
});

test("modules of binaryen's fuzzer run as V8 runs them raw", () => {
  const { GYROTRON_FUZZ_SECONDS: seconds, GYROTRON_FUZZ_SEED: first } = process.env;
  const deadlineMs = performance.now() + 1000 * Number(seconds ?? 0);
  let [entries, traps] = [0, 0];
  for (let seed = Number(first ?? 2), left = 4; ; seed++, left--) {
    if (left <= 0 && performance.now() >= deadlineMs) break;
    const { entryCount, trapCount } = compareModule(seed);
    entries += entryCount;
    traps += trapCount;
  }
  ok(entries > 50 && traps > 5, `${entries} entry points, ${traps} traps`);
});
