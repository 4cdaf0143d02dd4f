// The laws of exact arithmetic on the CPU's kernels; and that float sums break them, so that a law which holds
// says something. Gradients of up to a hundred units are dealt out to up to a hundred workers.

import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import type { GraphBackend, HostTensor } from "gyrotron/tensor";
import { f32Type, graphCase, i64Type, list, type Value } from "./graph-cases/draft.ts";
import { LAWS } from "./graph-laws-fixture.ts";
import { graphMutants } from "./graph-mutants.ts";
import { createReferenceBackend, createWasmBackend } from "./index.ts";

const seed = Number(process.env["GYROTRON_SEED"] ?? 7);

async function brokenLaws(backend: GraphBackend): Promise<string[]> {
  const broken: string[] = [];
  for (const { name, check } of LAWS) {
    const difference = await check(backend);
    if (difference !== undefined) broken.push(`${name}: ${difference}`);
  }
  return broken;
}

test("the CPU's kernels keep the laws, with one thread and with five", async () => {
  for (const options of [{ threads: 1 }, { threads: 5, schedule: 3, fill: 0xee }]) {
    const backend = await createWasmBackend(options);
    assert.deepEqual(await brokenLaws(backend), []);
    await backend.close();
  }
});

test("the oracle keeps the laws", async () => {
  assert.deepEqual(await brokenLaws(createReferenceBackend()), []);
});

const breakers: readonly [string, RegExp][] = [
  ["matmul-in-f32", /^permuting the contraction of matmul/],
  ["sum-in-f32", /^permuting sum/],
  ["variance-by-moments", /^permuting variance/],
  ["softmax-rescaled-online", /^permuting softmax/],
  ["scatter-in-f32", /^updates of scatter-add/],
  ["combine-in-float", /^attention fused/],
  ["causal-off-by-one", /^prefill, chunks|^attention fused/],
];

for (const [name, law] of breakers) {
  test(`${name} breaks a law`, async () => {
    const mutant = graphMutants().find((other) => other.name === name);
    assert.ok(mutant);
    const broken = await brokenLaws(mutant);
    assert.ok(
      broken.some((line) => law.test(line)),
      broken.join("; "),
    );
  });
}

const UNITS = 100;
const [INPUTS, OUTPUTS, TOKENS] = [3, 2, 4];

/** The gradient of each unit on its grid, in one graph; units differ by up to 2^20 in size. */
async function unitGradients(backend: GraphBackend): Promise<bigint[][]> {
  const { graph, inputs } = graphCase("units", (d) => {
    const grid = d.i32([], [-26]);
    for (let unit = 0; unit < UNITS; unit++) {
      const scale = 2 ** (unit % 21);
      const x = d.f32([INPUTS, TOKENS], d.draw.moderate(INPUTS * TOKENS));
      const dy = d.f32(
        [OUTPUTS, TOKENS],
        d.draw.moderate(OUTPUTS * TOKENS).map((v) => v * scale),
      );
      const operands = [d.quantize(dy, 14), d.quantize(x, 14), grid];
      d.node({ op: "matmul-grid" }, operands, i64Type([OUTPUTS, INPUTS]));
    }
  });
  const result = await backend.runGraph(graph, inputs);
  assert.equal(result.failure, undefined);
  return graph.outputs.map(({ name }) => {
    const value = (result.outputs as Record<string, HostTensor>)[name]!;
    assert.equal(value.element, "i64");
    return Array.from(value.data as BigInt64Array);
  });
}

/** Sums units in a graph that adds each worker's, then the workers'. */
async function addUp(
  backend: GraphBackend,
  units: readonly bigint[][],
  workers: readonly (readonly number[])[],
): Promise<string> {
  const { graph, inputs } = graphCase("sum", (d) => {
    const add = (a: Value, b: Value): Value => d.like({ op: "grid-add" }, a, b);
    const value = (unit: number): Value => d.i64([OUTPUTS, INPUTS], units[unit]!);
    const totals = workers
      .filter((share) => share.length > 0)
      .map((share) => share.map(value).reduce(add));
    const grid = d.i32([], [-26]);
    d.node({ op: "from-grid" }, [totals.reduce(add), grid], f32Type([OUTPUTS, INPUTS]));
  });
  const result = await backend.runGraph(graph, inputs);
  assert.equal(result.failure, undefined);
  return Object.values(result.outputs as Record<string, HostTensor>)[0]!.data.join();
}

test("a hundred units on one to a hundred workers add up to the same bits", async () => {
  const backend = await createWasmBackend({ threads: 2, schedule: 9 });
  const units = await unitGradients(backend);
  assert.deepEqual(units, await unitGradients(createReferenceBackend()));
  const all = list(UNITS, (i) => i);
  const alone = await addUp(backend, units, [all]);
  const deal = fc.tuple(
    fc.integer({ min: 1, max: 100 }),
    fc.shuffledSubarray(all, { minLength: UNITS }),
  );
  const property = fc.asyncProperty(deal, async ([workers, order]) => {
    // A worker that dies leaves its units to the next: any assignment may come about.
    const shares = list(workers, (w) => order.filter((unit, i) => (i * 7 + unit) % workers === w));
    assert.equal(await addUp(backend, units, shares), alone);
  });
  await fc.assert(property, { seed, numRuns: 25 });
  await backend.close();
});
