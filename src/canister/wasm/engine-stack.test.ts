// Goal: the logical stack ends before the engine's own does, also for functions that make the
// compiler keep thousands of results across a call. Method: endless recursion in a worker with the
// stack that the runtime gives, compiled by either compiler alone; only the host may end it.
import { equal } from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { isMainThread, Worker } from "node:worker_threads";
import wabtInit from "wabt";
import { prepareModule } from "./prepare-module.ts";
import { HostStop, TestHost } from "./test-host.ts";

const STACK_MIB = 64;
const CHILD = "--recurse";

/** Terms that need not be computed again after the call, by name. */
const TERMS: Record<string, (i: number) => string> = {
  integers: (i) =>
    `(local.set $s (i32.sub (i32.mul (local.get $x) (i32.const ${2 * i + 1_000_003})) (local.get $s)))`,
  floats: (i) =>
    `(local.set $z (f64.add (local.get $z) (f64.mul (f64.convert_i32_s (local.get $x)) (f64.const ${i}.5))))`,
  vectors: (i) =>
    `(local.set $v (f32x4.add (local.get $v) (f32x4.mul (f32x4.splat (local.get $q)) (v128.const i32x4 ${i} 3 4 5))))`,
  addresses: (i) =>
    `(local.set $s (i32.xor (local.get $s) (i32.load offset=${4 * i} (i32.mul (local.get $x) (i32.const ${i})))))`,
};

function program(name: string, count: number, isLoop: boolean): string {
  const terms = Array.from({ length: count }, (_, i) => TERMS[name]!(i));
  const call = `(drop (call $f (local.get $x)))`;
  const body = isLoop
    ? `(loop ${terms.join("")} ${call} (br_if 0 (i32.load (i32.const 0))))`
    : `${terms.join("")} ${call} ${terms.toReversed().join("")}`;
  return `(module (memory 10) (func $f (param $x i32) (result i32)
    (local $s i32) (local $z f64) (local $q f32) (local $v v128)
    (local.set $q (f32.convert_i32_s (local.get $x))) ${body}
    (i32.store (i32.const 0) (i32x4.extract_lane 0 (local.get $v))) (f64.store (i32.const 8) (local.get $z)) (local.get $s))
    (func (export "canister_update a") (drop (call $f (i32.const 5)))))`;
}

/** What ended each program, in a worker. */
async function recurse(): Promise<void> {
  const wabt = await wabtInit();
  for (const name of Object.keys(TERMS)) {
    for (const count of [1, 1000]) {
      for (const isLoop of [false, true]) {
        const bytes = wabt.parseWat(name, program(name, count, isLoop)).toBinary({}).buffer;
        let ending = "returned";
        try {
          new TestHost(prepareModule(bytes)).call("canister_update a");
        } catch (error) {
          ending = error instanceof HostStop ? error.kind : String(error);
        }
        if (ending !== "stack") console.log(`${name} ${count} ${isLoop}: ${ending}`);
      }
    }
  }
  console.log("done");
}

if (!isMainThread) await recurse();
else if (process.argv.includes(CHILD)) {
  new Worker(new URL(import.meta.url), { resourceLimits: { stackSizeMb: STACK_MIB } });
} else {
  for (const flag of ["--liftoff-only", "--no-liftoff"]) {
    test(`the logical stack ends first with ${flag}`, () => {
      const args = [flag, "--conditions=source", fileURLToPath(import.meta.url), CHILD];
      const child = spawnSync(process.execPath, args, { encoding: "utf8", timeout: 120_000 });
      equal(child.stdout, "done\n", child.stderr.slice(-2000));
    });
  }
}
