// Runs recursions, traps and float code in a worker with a large stack and prints how each ended, for
// a test that compares V8's compiler tiers, each in a process of its own.

import { Worker, isMainThread } from "node:worker_threads";
import { present } from "gyrotron/base";
import type { ExecutionResult } from "gyrotron/canister";
import { TestCanister, importsOf } from "./fixture.ts";

const LOCALS = Array.from({ length: 40 }, () => "i64").join(" ");

/** Shapes of frames: small, with many locals, with a high operand stack, through the table. */
const MODULE = `(module
  ${importsOf("i32", "msg_reply", "msg_reply_data_append")}
  (memory 2)
  (table 1 funcref) (elem (i32.const 0) $indirect)
  (func $small (call $small) (drop (i32.const 1)))
  (func $wide (param i64) (local ${LOCALS})
    (call $wide (i64.add (local.get 0) (i64.const 1))) (local.set 1 (local.get 0)))
  (func $high (param i32) (result i32)
    (i32.add (i32.add (i32.add (local.get 0) (i32.const 1)) (i32.add (local.get 0) (i32.const 2)))
      (i32.add (i32.const 3) (call $high (i32.add (local.get 0) (i32.const 1))))))
  (func $indirect (call_indirect (i32.const 0)) (drop (i32.const 1)))
  (func $deep (param i32)
    (if (local.get 0) (then (call $deep (i32.sub (local.get 0) (i32.const 1))) (drop (i32.const 0)))))
  (func $spin (param i32) (result f64) (local $sum f64)
    (loop $again
      (f64.store (i32.const 8) (local.get $sum))
      (local.set $sum (f64.add (f64.load (i32.const 8))
        (f64.div (f64.sqrt (f64.convert_i32_s (i32.sub (i32.const 700) (local.get 0)))) (f64.const 3))))
      (if (f64.ne (local.get $sum) (local.get $sum)) (then (local.set $sum (f64.const 1))))
      (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (local.get $sum))
  (func (export "canister_update float")
    (f64.store (i32.const 0) (call $spin (i32.const 300000)))
    (call $msg_reply_data_append (i32.const 0) (i32.const 8)) (call $msg_reply))
  (func (export "canister_update divide")
    (drop (i32.div_s (i32.trunc_sat_f64_s (call $spin (i32.const 200000))) (i32.const 0))))
  (func (export "canister_update store")
    (f64.store (i32.const 131065) (call $spin (i32.const 200000))))
  (func (export "canister_update convert")
    (drop (i32.trunc_f64_s (f64.mul (call $spin (i32.const 200000)) (f64.const 1e300)))))
  (func (export "canister_update small") (call $small))
  (func (export "canister_update wide") (call $wide (i64.const 0)))
  (func (export "canister_update high") (drop (call $high (i32.const 0))))
  (func (export "canister_update indirect") (call $indirect))
  (func (export "canister_update fits") (call $deep (i32.const 50000))))`;

const NAMES = ["small", "wide", "high", "indirect", "fits", "float", "divide", "store", "convert"];

if (isMainThread) {
  new Worker(new URL(import.meta.url), { resourceLimits: { stackSizeMb: 64 } });
} else {
  const canister = TestCanister.install(MODULE);
  const lines: string[] = [];
  for (let round = 0; round < 3; round++) {
    for (const name of NAMES) {
      const result = canister.update(name);
      lines.push(`${name}: ${endOf(result)}, ${result.instructionsUsed}`);
    }
  }
  process.stdout.write(`${lines.join("\n")}\n`);
}

function endOf(result: ExecutionResult): string {
  if (result.kind === "trapped") return present(result.trap.message.split(".\n")[0]);
  const { response } = result.changes;
  return response?.kind === "reply" ? response.bytes.toHex() : "finished";
}
