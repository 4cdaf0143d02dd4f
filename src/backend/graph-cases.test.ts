// The graph cases themselves: each is a graph that can be built, with inputs that would be let in; names are
// unique, every op is among them, and failures are exactly those of the cases that are to fail: each kind of
// each op that the op table names, and no other.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
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

test("quick cases fail in every way that the op table lists, and in no other", async () => {
  const oracle = createReferenceBackend();
  const found = new Set<string>();
  for (const sample of graphCases(false)) {
    if (!sample.id.startsWith("graph/failure/")) continue;
    const { failure } = await runGraphCase(oracle, sample);
    found.add(`${sample.graph.nodes[failure!.node]!.op} ${failure!.kind}`);
  }
  assert.deepEqual([...found].toSorted(byText), listedFailures().toSorted(byText));
});

/** The column of errors of the op table: an op and a kind of failure each. */
function listedFailures(): string[] {
  const path = join(import.meta.dirname, "../../docs/spec/03-op-table.md");
  const section = readFileSync(path, "utf8").split("\n## Ops\n")[1]!.split("\n#")[0]!;
  return section.split("\n").flatMap((line) => {
    if (!line.startsWith("| `")) return [];
    const cells = line.split("|").map((cell) => cell.trim());
    const kinds = cells[9]!.split(" ").filter(Boolean);
    const ops = [...cells[1]!.matchAll(/`([^`]+)`/g)].map(([, op]) => op!);
    return ops.flatMap((op) => kinds.map((kind) => `${op} ${FAILURES.get(kind) ?? kind}`));
  });
}

const FAILURES = new Map([
  ["F", "non-finite"],
  ["I", "index-out-of-range"],
  ["G", "grid-overflow"],
]);

function byText(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}
