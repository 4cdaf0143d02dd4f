// Goal: gas and stack accounting is exact, bounded and the same on every path.
import { equal, ok, throws } from "node:assert/strict";
import { test } from "node:test";
import wabtInit from "wabt";
import { prepareModule } from "./prepare-module.ts";
import { HostStop, TestHost, type TestHostOptions } from "./test-host.ts";

const wabt = await wabtInit();
const FEATURES = { memory64: true, tail_call: true, bulk_memory: true };

function host(text: string, options: TestHostOptions = {}): TestHost {
  const bytes = wabt.parseWat("metering.wat", `(module ${text})`, FEATURES).toBinary({}).buffer;
  return new TestHost(prepareModule(bytes), options);
}

function gasOf(code: string, rest = "(memory 2)"): bigint {
  const one = host(`${rest} (func (export "canister_update a") ${code})`);
  one.call("canister_update a");
  return one.gasUsed;
}

const COSTS: [code: string, gas: bigint][] = [
  ["", 0n],
  ["(nop)", 1n],
  ["(drop (i32.add (i32.const 1) (i32.const 2)))", 4n],
  ["(drop (i32.div_u (i32.const 1) (i32.const 2)))", 13n],
  ["(drop (f64.add (f64.const 1) (f64.const 2)))", 5n],
  ["(drop (i32.load (i32.const 1)))", 3n],
  ["(i32.store (i32.const 1) (i32.const 1))", 3n],
  ["(return)", 1n],
  ["(block (br 0) (nop) (nop))", 2n],
  ["(if (i32.const 1) (then (nop)) (else (nop) (nop)))", 4n],
  ["(if (i32.const 0) (then (nop)) (else (nop) (nop)))", 5n],
  ["(if (i32.const 0) (then (nop)))", 3n],
  ["(block (br_if 0 (i32.const 1)) (nop)) (nop)", 4n],
  ["(block (br_if 0 (i32.const 0)) (nop)) (nop)", 5n],
  ["(memory.fill (i32.const 0) (i32.const 1) (i32.const 1000))", 1103n],
  ["(memory.fill (i32.const 0) (i32.const 1) (i32.const 0))", 103n],
  ["(memory.copy (i32.const 0) (i32.const 1) (i32.const 50))", 153n],
  ["(drop (memory.size))", 21n],
  ["(drop (memory.grow (i32.const 1)))", 302n],
  ["(call $f)", 8n],
  ["(return_call $f)", 6n],
  ["(call_indirect (i32.const 0))", 14n],
];

for (const [code, gas] of COSTS) {
  test(`gas of ${code === "" ? "an empty function" : code}`, () => {
    equal(
      gasOf(
        code,
        "(memory 2) (table 1 funcref) (elem (i32.const 0) $f) (func $f (nop) (nop) (nop))",
      ),
      gas,
    );
  });
}

test("loads and stores of a 64-bit memory weigh two", () => {
  equal(gasOf("(i32.store (i64.const 1) (i32.load (i64.const 1)))", "(memory i64 1)"), 6n);
  equal(
    gasOf("(memory.fill (i64.const 0) (i32.const 1) (i64.const 1000))", "(memory i64 1)"),
    1103n,
  );
});

test("a loop costs the same per round", () => {
  const loop = (rounds: number): bigint =>
    gasOf(
      `(local i32) (loop (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const ${rounds}))))`,
    );
  equal(loop(1001) - loop(1000), loop(2) - loop(1));
  equal(loop(1), 8n);
});

test("a short loop costs what it says, whatever round it leaves in", () => {
  for (const rounds of [1, 2, 3, 4, 5, 6, 9, 100]) {
    const byTest = gasOf(
      `(local i32) (loop (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const ${rounds}))))`,
    );
    equal(byTest, 8n * BigInt(rounds));
    const byBranch = gasOf(
      `(local i32) (block (loop (br_if 1 (i32.eq (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const ${rounds}))) (br_if 0 (i32.const 1))))`,
    );
    equal(byBranch, 11n * BigInt(rounds) - 3n);
  }
});

const ENDLESS: [name: string, text: string][] = [
  ["loop", `(func (export "canister_update a") (loop (br 0)))`],
  ["loop with br_table", `(func (export "canister_update a") (loop (br_table 0 0 (i32.const 3))))`],
  ["tail call", `(func $a (export "canister_update a") (return_call $a))`],
  [
    "indirect tail call",
    `(table 1 funcref) (elem (i32.const 0) $a) (func $a (export "canister_update a") (return_call_indirect (i32.const 0)))`,
  ],
  [
    "bulk",
    `(memory 1) (func (export "canister_update a") (loop (memory.fill (i32.const 0) (i32.const 0) (i32.const 65536)) (br 0)))`,
  ],
  [
    "calls that double",
    `(func $0 (nop)) ${Array.from({ length: 60 }, (_, i) => `(func $${i + 1} (call $${i}) (call $${i}))`).join("")} (func (export "canister_update a") (call $60))`,
  ],
  ["start", `(start $s) (func $s (loop (br 0)))`],
];

for (const [name, text] of ENDLESS) {
  test(`runs out of gas: ${name}`, () => {
    let gas = 0n;
    throws(
      () => {
        const one = host(text, { gas: 1_000_000n });
        try {
          one.call("canister_update a");
        } finally {
          gas = one.gasUsed;
        }
      },
      (error) => error instanceof HostStop && error.kind === "gas",
    );
    if (name !== "start") ok(gas >= 0n);
  });
}

test("the stack budget ends recursion at a depth that its sizes fix", () => {
  const text = `(memory 1) (func $f (param i32) (i32.store (i32.const 0) (local.get 0)) (call $f (i32.add (local.get 0) (i32.const 1))))
    (func (export "canister_update a") (call $f (i32.const 1)))`;
  const one = host(text, { stackBytes: 1_000_000 });
  throws(
    () => one.call("canister_update a"),
    (error) => error instanceof HostStop && error.kind === "stack",
  );
  // 128 + 16 x 1 for the entry (one operand); 128 + 16 x (1 local + 2 operands) + 3 for each $f, whose
  // addition counts one engine slot and whose store counts two.
  equal(new Int32Array(one.heap.buffer)[0], Math.floor((1_000_000 - 144) / 179));
});

test("the stack is given back by returns, and a tail call takes none", () => {
  const text = `(func $f (param i32) (if (local.get 0) (then (call $g) (return_call $f (i32.sub (local.get 0) (i32.const 1))))))
    (func $g (call $h)) (func $h (call $i)) (func $i)
    (func (export "canister_update a") (local i32) (loop (call $g) (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 1000)))) (call $f (i32.const 100000)))`;
  host(text, { stackBytes: 1000 }).call("canister_update a");
});

test("a large frame without calls is charged too", () => {
  const text = `(func (export "canister_update a") (local ${"i32 ".repeat(500)}))`;
  throws(
    () => host(text, { stackBytes: 8000 }).call("canister_update a"),
    (error) => error instanceof HostStop && error.kind === "stack",
  );
  host(text, { stackBytes: 8200 }).call("canister_update a");
});

test("unreachable spills what was used before the trap", () => {
  const one = host(`(func (export "canister_update a") (nop) (nop) (unreachable))`);
  throws(() => one.call("canister_update a"), WebAssembly.RuntimeError);
  equal(one.gasUsed, 3n);
});
