// Properties of graphs with shrinking: every op and every gradient, over edge shapes and edge values, has the
// oracle's bits on the CPU's kernels, with any number of threads, any split of the work, and garbage wherever
// nothing has been written.

import assert from "node:assert/strict";
import test, { after, before } from "node:test";
import fc from "fast-check";
import {
  type Backend,
  differentiate,
  GRADIENT_OPS,
  type GraphBackend,
  GraphBuilder,
  resolveGraph,
  TensorError,
} from "gyrotron/tensor";
import {
  drawsArbitrary,
  rebuildGraph,
  writeCase,
  writeChain,
  WRITERS,
} from "./graph-arbitrary.fuzz.ts";
import { type GraphCase, runGraphCase } from "./graph-cases.ts";
import { describeDifference } from "./graph-conformance.ts";
import { createReferenceBackend, createWasmBackend } from "./index.ts";

const seed = Number(process.env["GYROTRON_SEED"] ?? 7);
const numRuns = Number(process.env["GYROTRON_RUNS"] ?? 12);
const oracle = createReferenceBackend();
let devices: (Backend & GraphBackend)[] = [];

before(async () => {
  devices = await Promise.all([
    createWasmBackend(),
    createWasmBackend({ threads: 2, fill: 0xa5, schedule: 11 }),
    createWasmBackend({ threads: 3, fill: 0x7f, schedule: 12345 }),
  ]);
});

after(async () => {
  for (const device of devices) await device.close();
});

/** Fails if any device has other bits than the oracle, in any node of either run. */
async function compare(sample: GraphCase): Promise<void> {
  const expected = await runGraphCase(oracle, sample);
  for (const [i, device] of devices.entries()) {
    const difference = describeDifference(sample, expected, await runGraphCase(device, sample));
    assert.equal(difference, undefined, `device ${i}: ${difference}`);
  }
}

const ops = Object.keys(WRITERS) as (keyof typeof WRITERS)[];

for (const op of ops) {
  test(`${op} has the same bits everywhere`, async () => {
    const property = fc.asyncProperty(drawsArbitrary, (draws) => compare(writeCase(op, draws)));
    await fc.assert(property, { seed, numRuns });
  });
}

test("chains of ops have the same bits everywhere", async () => {
  const property = fc.asyncProperty(drawsArbitrary, (draws) => compare(writeChain(draws)));
  await fc.assert(property, { seed, numRuns: 4 * numRuns });
});

/** The gradient of a weighed sum of the outputs by all f32 inputs, if there are any. */
function gradientCase(sample: GraphCase): GraphCase | undefined {
  const g = new GraphBuilder();
  const values = rebuildGraph(g, sample.graph);
  const reals = values.filter(
    (value) => value.type.element === "f32" && g.nodeOf(value).op === "input",
  );
  const results = sample.graph.outputs
    .map(({ node }) => values[node]!)
    .map((value) => (value.type.element === "bfp" ? g.dequantize(value) : value))
    .filter((value) => value.type.element === "f32");
  if (reals.length === 0 || results.length === 0) return undefined;
  const loss = results.map((value) => g.sum(g.mul(value, value))).reduce((a, b) => g.add(a, b));
  for (const [i, gradient] of differentiate(g, loss, reals).entries()) {
    g.output(`gradient${i}`, gradient);
  }
  const graph = resolveGraph(g.build(), {});
  const inputs = graph.nodes.flatMap((node) =>
    node.op === "input" ? [[node.name, sample.inputs[node.name]!] as const] : [],
  );
  return { id: `${sample.id}/gradient`, graph, inputs: Object.fromEntries(inputs) };
}

for (const op of ops.filter((kind) => GRADIENT_OPS.includes(kind))) {
  test(`the gradient of ${op} has the same bits everywhere`, async () => {
    let count = 0;
    const property = fc.asyncProperty(drawsArbitrary, async (draws) => {
      let sample: GraphCase | undefined;
      try {
        sample = gradientCase(writeCase(op, draws));
      } catch (error) {
        if (error instanceof TensorError && error.info.code === "tensor/no-gradient") return;
        throw error;
      }
      if (sample === undefined) return;
      count++;
      await compare(sample);
    });
    await fc.assert(property, { seed, numRuns });
    assert.ok(count > 0, "no example has a gradient");
  });
}
