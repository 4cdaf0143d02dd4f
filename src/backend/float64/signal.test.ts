// Exact results against binary64: an independent reading of every op, so a definition that is merely consistent
// with itself would show; and the ratios that the formats promise.

import assert from "node:assert/strict";
import test from "node:test";
import {
  createReferenceBackend,
  describeModelSignals,
  formatSignals,
  graphCases,
  signalToNoise,
} from "../index.ts";

const oracle = createReferenceBackend();

/** Decibels that an op on ordinary values keeps to by itself; what is not listed is correctly rounded. */
const LOCAL_DB: Readonly<Record<string, number>> = {
  "quantize-columns": 40,
  quantize: 40,
  attention: 70,
  "attention-combine": 70,
  softmax: 80,
  rotary: 80,
};

for (const sample of graphCases(false).filter(({ id }) => id.startsWith("graph/model/"))) {
  test(`${sample.id} stays near binary64`, async () => {
    const signals = await signalToNoise(oracle, sample.graph, sample.inputs);
    assert.ok(Array.isArray(signals), "the run fails");
    for (const { node, op, localDb, totalDb } of signals) {
      assert.ok(localDb >= (LOCAL_DB[op] ?? 85), `node ${node}, ${op}: ${localDb} dB`);
      assert.ok(totalDb >= 28, `node ${node}, ${op}: ${totalDb} dB in all`);
    }
  });
}

test("the table names each node, and a run that fails says so", async () => {
  const cases = graphCases(false);
  const chain = cases.find(({ id }) => id === "graph/elementwise/chain")!;
  const signals = await signalToNoise(oracle, chain.graph, chain.inputs);
  assert.ok(Array.isArray(signals));
  const table = formatSignals(signals);
  assert.match(table, /^ node  op +op dB +all dB\n +\d+  mul +\d+\.\d +\d+\.\d\n/);
  assert.equal(table.split("\n").length, signals.length + 1);
  const failing = cases.find(({ id }) => id === "graph/failure/order/chain")!;
  assert.deepEqual(await signalToNoise(oracle, failing.graph, failing.inputs), {
    kind: "non-finite",
    node: 1,
    row: 2,
  });
});

test("all models are described", async () => {
  const text = await describeModelSignals(oracle);
  assert.equal(text.match(/^graph\/model\//gm)?.length, 5);
  assert.equal(text.match(/op dB/g)?.length, 5);
});
