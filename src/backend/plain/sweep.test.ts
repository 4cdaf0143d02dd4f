// The plain programs against the oracle on strata of all f32 and on all 2^16 fractions; then the CPU's kernels
// against the plain programs on many more. GYROTRON_SWEEP=1 is exhaustive and takes hours.

import assert from "node:assert/strict";
import test from "node:test";
import { f32FromBits, roundToF32 } from "gyrotron/numerics";
import { placeOnHost, type UnaryOp } from "gyrotron/tensor";
import fc from "fast-check";
import { createReferenceBackend, createWasmBackend } from "../index.ts";
import { unaryFunction } from "../reference/graph/elementwise.ts";
import { sweepFunctions, sweepUnary } from "./sweep.ts";
import { nearestF32, PLAIN_UNARY } from "./unary.ts";

const ops = Object.keys(PLAIN_UNARY) as UnaryOp[];
const stride = Number(process.env["GYROTRON_SWEEP"] ?? 16381);

test("rounding in plain numbers is R32", () => {
  const property = fc.property(
    fc.maxSafeInteger(),
    fc.integer({ min: -260, max: 120 }),
    (mantissa, exponent) => {
      const expected = roundToF32(BigInt(mantissa), exponent);
      const actual = nearestF32(mantissa, exponent);
      assert.ok(Object.is(actual, Number.isFinite(expected) ? expected : NaN));
    },
  );
  fc.assert(property, { seed: Number(process.env["GYROTRON_SEED"] ?? 7), numRuns: 3000 });
});

for (const op of ops) {
  test(`${op}: the plain program has the oracle's bits`, () => {
    const exact = unaryFunction(op);
    const check = (x: number): void => {
      if (!Number.isFinite(x) || Object.is(x, -0)) return;
      const wanted = exact(x);
      const got = PLAIN_UNARY[op](x);
      if (Number.isFinite(wanted) ? Object.is(wanted, got) : Number.isNaN(got)) return;
      assert.fail(`${op}(${x}) = ${got}, not ${wanted}`);
    };
    for (let bits = 5; bits < 2 ** 32; bits += 524287) check(f32FromBits(bits));
    // Where the tables are looked up: steps of the fraction in [1, 2), and both signs of [0, 16).
    for (let i = 0; i < 4096; i++) {
      check(1 + i / 4096);
      check(i / 256);
      check(-i / 256 + 0);
    }
  });
}

test("the CPU's kernels have the plain programs' bits", async () => {
  const backend = await createWasmBackend({ threads: 2 });
  for (const op of ops) {
    const report = await sweepUnary(backend, op, { stride, offset: stride >> 1 });
    assert.ok(report.inputs > 2 ** 31 / stride / 2, `${op}: ${report.inputs} inputs`);
    assert.deepEqual(report.mismatches, [], op);
  }
  await backend.close();
});

test("a sweep says how far it is, and reports every function once", async () => {
  const backend = await createWasmBackend();
  const shares = new Map<UnaryOp, number[]>();
  const reported: UnaryOp[] = [];
  await sweepFunctions(
    backend,
    { stride: 8191, offset: 0 },
    {
      advance: (op, share) => void shares.set(op, [...(shares.get(op) ?? []), share]),
      report: ({ op }) => void reported.push(op),
    },
  );
  assert.deepEqual(reported, ops);
  for (const op of ops) {
    const heard = shares.get(op)!;
    assert.ok(heard.length > 2);
    assert.equal(heard[0], 0);
    assert.equal(heard.at(-1), 1);
    assert.ok(heard.every((share, i) => i === 0 || share > heard[i - 1]!));
  }
  await backend.close();
});

test("a sweep finds what is wrong", async () => {
  const oracle = createReferenceBackend();
  const wrong = {
    placeTensors: placeOnHost,
    runGraph: async (...call: Parameters<typeof oracle.runGraph>) => {
      const [graph, inputs] = call;
      const nodes = graph.nodes.map((node) =>
        node.op === "gelu" ? { ...node, op: "gelu-tanh" as const } : node,
      );
      return oracle.runGraph({ ...graph, nodes }, inputs);
    },
  };
  const { mismatches } = await sweepUnary(wrong, "gelu", { stride: 2 ** 21 + 1, offset: 0 });
  assert.ok(mismatches.length > 0);
});
