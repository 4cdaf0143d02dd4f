// The graph cases themselves: each is a graph that can be built, with inputs that would be let in; names are
// unique, every op is among them, and failures are exactly those of the cases that are to fail.

import assert from "node:assert/strict";
import test from "node:test";
import {
  findHostFault,
  GraphBuilder,
  OP_KINDS,
  type ResolvedGraph,
  resolveGraph,
} from "gyrotron/tensor";
import { rebuildGraph } from "./graph-arbitrary.fuzz.ts";
import { graphCases, runGraphCase } from "./graph-cases.ts";
import { createReferenceBackend } from "./index.ts";

const cases = graphCases(true);

/** The graph as the builder makes it, which infers every type and proves every accumulator. */
function rebuild(graph: ResolvedGraph): ResolvedGraph {
  const g = new GraphBuilder();
  const values = rebuildGraph(g, graph);
  for (const { name, node } of graph.outputs) g.output(name, values[node]!);
  return resolveGraph(g.build(), {});
}

for (const { id, graph, inputs } of cases) {
  test(`${id} is a valid graph`, () => {
    assert.deepEqual(rebuild(graph), graph);
    for (const value of Object.values(inputs)) assert.equal(findHostFault(value), undefined);
  });
}

test("names are unique, and every op is in a quick case", () => {
  assert.equal(new Set(cases.map(({ id }) => id)).size, cases.length);
  const found = new Set(graphCases(false).flatMap(({ graph }) => graph.nodes.map(({ op }) => op)));
  assert.deepEqual(
    OP_KINDS.filter((op) => !found.has(op)),
    [],
  );
});

test("the cases that fail are those that are to fail, plain and traced alike", async () => {
  const oracle = createReferenceBackend();
  for (const sample of cases) {
    const { failure, plainFailure, values } = await runGraphCase(oracle, sample);
    assert.deepEqual(plainFailure, failure);
    assert.equal(failure !== undefined, sample.id.startsWith("graph/failure/"), sample.id);
    for (const value of values) {
      if (value.element !== "f32") continue;
      assert.ok(!value.data.some((x) => Object.is(x, -0)), `-0 in ${sample.id}`);
    }
  }
});
