// Runs deep recursions in a worker with a large stack and prints how each ended, for a test that
// compares V8's compiler tiers, each in a process of its own.

import { Worker, isMainThread } from "node:worker_threads";
import { TestCanister } from "./fixture.ts";

const LOCALS = Array.from({ length: 40 }, () => "i64").join(" ");

/** Shapes of frames: small, with many locals, with a high operand stack, through the table. */
const MODULE = `(module
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
  (func (export "canister_update small") (call $small))
  (func (export "canister_update wide") (call $wide (i64.const 0)))
  (func (export "canister_update high") (drop (call $high (i32.const 0))))
  (func (export "canister_update indirect") (call $indirect))
  (func (export "canister_update fits") (call $deep (i32.const 50000))))`;

if (isMainThread) {
  new Worker(new URL(import.meta.url), { resourceLimits: { stackSizeMb: 64 } });
} else {
  const canister = TestCanister.install(MODULE);
  const lines: string[] = [];
  for (let round = 0; round < 3; round++) {
    for (const name of ["small", "wide", "high", "indirect", "fits"]) {
      const result = canister.update(name);
      const end = result.kind === "trapped" ? result.trap.message.split(".\n")[0]! : "finished";
      lines.push(`${name}: ${end}, ${result.instructionsUsed}`);
    }
  }
  process.stdout.write(`${lines.join("\n")}\n`);
}
