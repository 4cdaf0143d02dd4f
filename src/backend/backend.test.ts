// Compliance of the backends with different settings, the mutants, and what the kernels are made of.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import wabt from "wabt";
import { TensorError } from "gyrotron/tensor";
import { declareBackendSuite } from "./suite.ts";
import { createReferenceBackend, createWasmBackend, runConformance } from "./index.ts";
import { controlBackends, mutantBackends } from "./mutants.ts";
import { KERNELS_BASE64 } from "./wasm/build/kernels.ts";

const opTable = readFileSync(join(import.meta.dirname, "../../docs/spec/03-op-table.md"), "utf8");

/** Number and digest of the quick cases as published: they change only with the op table or the cases. */
const [, quickCount, QUICK_DIGEST] =
  /\| quick\s*\|\s*(\d+)\s*\| `([0-9a-f]{64})` \|/.exec(opTable) ?? [];

const runner = {
  test: (name: string, body: () => Promise<void>) => void test(name, body),
  equal: assert.equal,
};

declareBackendSuite("wasm", () => createWasmBackend(), runner);
declareBackendSuite(
  "wasm, 2 threads, poisoned",
  () => createWasmBackend({ threads: 2, fill: 0xa5 }),
  runner,
);
declareBackendSuite(
  "wasm, 3 threads, poisoned",
  () => createWasmBackend({ threads: 3, fill: 0x7f }),
  runner,
);
declareBackendSuite("oracle", async () => createReferenceBackend(), runner);

test("the digest of the quick cases is the published one", async () => {
  const report = await runConformance(createReferenceBackend(), "quick");
  assert.equal(report.digest, QUICK_DIGEST);
  assert.equal(report.mismatches.length, 0);
  assert.equal(report.cases, Number(quickCount));
});

for (const mutant of mutantBackends()) {
  test(`the quick cases reject ${mutant.name}`, async () => {
    const report = await runConformance(mutant, "quick");
    assert.ok(report.mismatches.length > 0, "no case tells it from the oracle");
    assert.notEqual(report.digest, QUICK_DIGEST);
  });
}

for (const control of controlBackends()) {
  test(`the quick cases accept ${control.name}`, async () => {
    const report = await runConformance(control, "quick");
    assert.deepEqual(report.mismatches, []);
    assert.equal(report.digest, QUICK_DIGEST);
  });
}

test("a backend without graphs, or that refuses one, fails their cases only", async () => {
  const { runGraph, ...withoutGraphs } = createReferenceBackend();
  const report = await runConformance(withoutGraphs, "quick");
  assert.ok(report.mismatches.every((id) => id.startsWith("graph/")));
  assert.equal(report.cases, Number(quickCount));
  const refusing = await runConformance(
    {
      ...withoutGraphs,
      runGraph: (graph, ...rest) => {
        if (graph.nodes.every(({ op }) => op !== "sample")) return runGraph(graph, ...rest);
        throw new TensorError({ code: "tensor/unsupported", backend: "test", what: "sample" });
      },
    },
    "quick",
  );
  assert.deepEqual(refusing.mismatches, ["graph/random/sample"]);
});

test("threads out of range are refused", async () => {
  await assert.rejects(createWasmBackend({ threads: 0 }), /tensor\/limit/);
  await assert.rejects(createWasmBackend({ threads: 65 }), /tensor\/limit/);
});

/**
 * Float instructions that kernels/*.as.ts argue to be exact or to round once; all others are banned. Which
 * functions may hold them is in wasm/static.test.ts.
 */
const FLOAT_ALLOWED = new Set(
  `f32.add f32.sub f32.mul f32.neg f32.abs f32.max f32.const f32.load f32.store f32.eq f32.ne f32.ge f32.gt
   f32.demote_f64 f32.reinterpret_i32
   f64.add f64.sub f64.mul f64.div f64.sqrt f64.nearest f64.floor f64.abs f64.min f64.max f64.const f64.load
   f64.store f64.lt f64.gt f64.ge f64.convert_i32_s f64.convert_i32_u f64.convert_i64_s f64.convert_i64_u
   f64.promote_f32 f64.reinterpret_i64
   f64x2.convert_low_i32x4_s f64x2.convert_low_i32x4_u f64x2.promote_low_f32x4 f64x2.add f64x2.sub f64x2.mul
   f64x2.div f64x2.sqrt f64x2.nearest f64x2.floor f64x2.min f64x2.max f64x2.neg f64x2.splat f64x2.extract_lane
   f64x2.replace_lane
   f32x4.add f32x4.sub f32x4.mul f32x4.div f32x4.sqrt f32x4.abs f32x4.nearest f32x4.min f32x4.max f32x4.pmin
   f32x4.pmax f32x4.eq f32x4.lt f32x4.le f32x4.gt f32x4.ge f32x4.splat f32x4.extract_lane
   f32x4.convert_i32x4_s f32x4.demote_f64x2_zero`.split(/\s+/),
);

test("the kernels hold no relaxed instruction and no float instruction without an argument", async () => {
  const tools = await wabt();
  const module = tools.readWasm(Uint8Array.fromBase64(KERNELS_BASE64), {
    simd: true,
    threads: true,
    bulk_memory: true,
  });
  const text = module.toText({});
  module.destroy();
  const found = new Set(text.match(/\b(f32|f64|f32x4|f64x2|[iv]\d+(x\d+)?)\.[a-z0-9_]+/g));
  assert.ok(found.has("i32x4.dot_i16x8_s"), "the text is not that of the kernels");
  const names = [...found];
  assert.deepEqual(
    names.filter((name) => name.includes("relaxed")),
    [],
  );
  assert.deepEqual(
    names.filter((name) => name.startsWith("f") && !FLOAT_ALLOWED.has(name)),
    [],
  );
  // Conversions to integers saturate: a value that is not finite may not trap a neighbour's work.
  assert.deepEqual(
    names.filter((name) => /trunc_(?!sat)/.test(name)),
    [],
  );
  assert.ok(!text.includes("(data "), "each thread would write it again");
});
