// Goal: tensors that stay on a device are what they were when they were placed, for any graph and any run, and their
// memory comes back. Method: the quick cases with part of their inputs resident; two graphs by one set.

import { deepEqual, equal, rejects } from "node:assert/strict";
import { test } from "node:test";
import { AssertionError } from "gyrotron/base";
import { f32, GraphBuilder, hostF32, type ResolvedGraph, resolveGraph } from "gyrotron/tensor";
import { graphCases } from "./graph-cases.ts";
import { findGraphMismatches } from "./graph-conformance.ts";
import { createReferenceBackend, createWasmBackend } from "./index.ts";
import { findResidentFaults, placingBackend } from "./resident-fixture.ts";
import { WasmDevice } from "./wasm/device.ts";
import { WasmGraphs } from "./wasm/graph/run.ts";

const CASES = graphCases(false);

test("the oracle's quick cases with resident inputs", async () => {
  const placing = placingBackend(createReferenceBackend());
  deepEqual(await findGraphMismatches(placing, CASES), []);
});

for (const options of [
  { threads: 1, fill: 0xa5 },
  { threads: 3, schedule: 7 },
]) {
  test(`wasm's quick cases with resident inputs, ${options.threads} threads`, async () => {
    const device = await WasmDevice.create(options);
    const placing = placingBackend(new WasmGraphs(device));
    deepEqual(await findGraphMismatches(placing, CASES), []);
    placing.freeAll();
    // By now the tables of functions are there, so that nothing else takes memory for good.
    const { mark } = device;
    deepEqual(await findGraphMismatches(placing, CASES.slice(0, 40)), []);
    placing.freeAll();
    equal(device.mark, mark);
    await device.close();
  });
}

test("the oracle keeps the contract of resident tensors", async () => {
  deepEqual(await findResidentFaults(createReferenceBackend()), []);
});

test("wasm keeps it too, and refuses another device's tensors", async () => {
  const backend = await createWasmBackend({ threads: 2 });
  deepEqual(await findResidentFaults(backend), []);
  const other = await createWasmBackend();
  const resident = await other.placeTensors({});
  await rejects(backend.runGraph(emptyGraph(), {}, { resident }), AssertionError);
  await backend.close();
  await other.close();
});

test("a resident tensor has the type that the graph says", async () => {
  const backend = await createWasmBackend();
  const g = new GraphBuilder();
  g.output("y", g.neg(g.input("x", f32(2))));
  const graph = resolveGraph(g.build(), {});
  const resident = await backend.placeTensors({ x: hostF32([3], [1, 2, 3]) });
  await rejects(backend.runGraph(graph, {}, { resident }), AssertionError);
  await backend.close();
});

function emptyGraph(): ResolvedGraph {
  const g = new GraphBuilder();
  g.output("y", g.iota([2], 0));
  return resolveGraph(g.build(), {});
}
