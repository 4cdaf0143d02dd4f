// Goal: what the text tools of differential.test.ts cannot write agrees with V8 too: 64-bit tables, bulk
// operations and growth of 64-bit memories, references in locals, selects and tables.
import { equal } from "node:assert/strict";
import { test } from "node:test";
import binaryen from "binaryen";
import { CANISTER_FEATURES, compareBytes } from "./binaryen.fuzz.ts";

interface Family {
  readonly text: string;
  /** Of the entry points, each of which is called twice unless it traps. */
  readonly traps: number;
}

const FAMILIES: Record<string, Family> = {
  "64-bit tables": {
    traps: 4,
    text: `(memory (export "memory") 1) (type $f (func (result i32)))
      (table $t i64 4 9 funcref) (elem $p funcref (ref.func $two) (ref.func $one))
      (elem (table $t) (i64.const 1) func $one $two)
      (func $one (type $f) (i32.const 11)) (func $two (type $f) (i32.const 22))
      (func (export "canister_update calls")
        (i32.store (i32.const 0) (call_indirect $t (type $f) (i64.const 1)))
        (table.set $t (i64.const 3) (ref.func $one))
        (i32.store (i32.const 4) (call_indirect $t (type $f) (i64.const 3)))
        (i64.store (i32.const 8) (table.grow $t (ref.func $two) (i64.const 2)))
        (i64.store (i32.const 16) (table.size $t))
        (i64.store (i32.const 24) (table.grow $t (ref.null func) (i64.const 9223372036854775807)))
        (table.init $t $p (i64.const 0) (i32.const 0) (i32.const 2))
        (table.copy $t $t (i64.const 2) (i64.const 0) (i64.const 1))
        (table.fill $t (i64.const 5) (ref.func $one) (i64.const 1))
        (i32.store (i32.const 32) (call_indirect $t (type $f) (i64.const 0)))
        (i32.store (i32.const 36) (call_indirect $t (type $f) (i64.const 5)))
        (i32.store (i32.const 40) (ref.is_null (table.get $t (i64.const 3)))))
      (func $tail (result i32) (return_call_indirect $t (type $f) (i64.const 2)))
      (func (export "canister_update tail call") (i32.store (i32.const 0) (call $tail)))
      (func (export "canister_update null") (drop (call_indirect $t (type $f) (i64.const 0))))
      (func (export "canister_update beyond 4 GiB") (drop (call_indirect $t (type $f) (i64.const 4294967297))))
      (func (export "canister_update get") (drop (table.get $t (i64.const -1))))
      (func (export "canister_update fill") (table.fill $t (i64.const 3) (ref.null func) (i64.const 2)))`,
  },
  "64-bit memory: bulk and growth": {
    traps: 5,
    text: `(memory (export "memory") i64 1 4) (data $d "passive")
      (func (export "canister_update bulk")
        (memory.fill (i64.const 4090) (i32.const 0xcd) (i64.const 5000))
        (memory.copy (i64.const 20000) (i64.const 4000) (i64.const 9000))
        (memory.copy (i64.const 4000) (i64.const 4096) (i64.const 9000))
        (memory.init $d (i64.const 65529) (i32.const 0) (i32.const 7))
        (memory.fill (i64.const 65536) (i32.const 1) (i64.const 0)))
      (func (export "canister_update grow")
        (i64.store (i64.const 0) (memory.grow (i64.const 1)))
        (i64.store (i64.const 8) (memory.grow (i64.const 4294967296)))
        (i64.store (i64.const 16) (memory.grow (i64.const -1)))
        (i64.store (i64.const 131064) (memory.size)))
      (func (export "canister_update fill far") (memory.fill (i64.const 4294967296) (i32.const 1) (i64.const 1)))
      (func (export "canister_update fill over") (memory.fill (i64.const 65535) (i32.const 1) (i64.const 2)))
      (func (export "canister_update wraps") (memory.fill (i64.const -1) (i32.const 1) (i64.const 3)))
      (func (export "canister_update copy") (memory.copy (i64.const 0) (i64.const -8) (i64.const 16)))
      (func (export "canister_update init") (memory.init $d (i64.const 4294967296) (i32.const 0) (i32.const 1)))`,
  },
  "references in locals, parameters, selects and results": {
    traps: 1,
    text: `(memory (export "memory") 1) (type $f (func (param i32) (result i32)))
      (table $t 4 4 funcref) (table $e 2 5 externref) (global $never externref (ref.null extern))
      (elem declare func $inc $dec)
      (func $inc (type $f) (i32.add (local.get 0) (i32.const 1)))
      (func $dec (type $f) (i32.sub (local.get 0) (i32.const 1)))
      (func $pick (param $c i32) (result funcref)
        (select (result funcref) (ref.func $inc) (ref.func $dec) (local.get $c)))
      (func $pair (param $r externref) (result externref funcref) (local.get $r) (ref.func $dec))
      (func (export "canister_update a") (local $r funcref) (local $x externref)
        (i32.store (i32.const 0) (ref.is_null (local.get $r)))
        (local.set $r (call $pick (i32.const 1)))
        (table.set $t (i32.const 0) (local.get $r))
        (table.set $t (i32.const 1) (call $pick (i32.const 0)))
        (i32.store (i32.const 4) (call_indirect $t (type $f) (i32.const 40) (i32.const 0)))
        (i32.store (i32.const 8) (call_indirect $t (type $f) (i32.const 40) (i32.const 1)))
        (local.set $x (block (result externref) (drop (ref.is_null (global.get $never))) (local.get $x)))
        (i32.store (i32.const 12) (table.grow $e (local.get $x) (i32.const 2)))
        (i32.store (i32.const 16) (ref.is_null (table.get $e (i32.const 3)))))
      (func (export "canister_update b") (drop (table.get $e (i32.const 4))))`,
  },
  "tail calls with many arguments, through loops and selects": {
    traps: 0,
    text: `(memory (export "memory") 1) (type $s (func (param i64 f64 i32 v128) (result i64)))
      (table 2 2 funcref) (elem (i32.const 0) $a $b)
      (func $a (type $s)
        (if (i32.eqz (local.get 2)) (then (return (i64.add (local.get 0) (i64.trunc_sat_f64_s (local.get 1))))))
        (return_call_indirect (type $s)
          (i64.add (local.get 0) (i64x2.extract_lane 0 (local.get 3))) (f64.add (local.get 1) (f64.const 0.5))
          (i32.sub (local.get 2) (i32.const 1)) (i64x2.add (local.get 3) (v128.const i64x2 1 2))
          (i32.and (local.get 2) (i32.const 1))))
      (func $b (type $s)
        (loop $again
          (local.set 2 (i32.sub (local.get 2) (i32.const 1)))
          (br_if $again (i32.gt_u (i32.and (local.get 2) (i32.const 3)) (i32.const 2))))
        (return_call $a (local.get 0) (local.get 1)
          (select (local.get 2) (i32.const 0) (i32.gt_s (local.get 2) (i32.const 0))) (local.get 3)))
      (func (export "canister_update run")
        (i64.store (i32.const 0)
          (call $a (i64.const 5) (f64.const 1) (i32.const 300000) (v128.const i64x2 3 4))))`,
  },
};

for (const [name, { text, traps }] of Object.entries(FAMILIES)) {
  test(`raw and instrumented agree: ${name}`, () => {
    const module = binaryen.parseText(`(module ${text})`);
    // Without the features of garbage collection, types are written in their short form.
    module.setFeatures(CANISTER_FEATURES);
    const result = compareBytes(module.emitBinary(), name);
    module.dispose();
    equal(result.verdict, "compared");
    equal(result.trapCount, traps);
  });
}
