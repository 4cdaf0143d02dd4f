// Every way to be wrong that we know of is told apart by the quick graph cases, and the wrong programs without
// their faults are not.

import assert from "node:assert/strict";
import test from "node:test";
import { describeDifference } from "./graph-conformance.ts";
import { graphCases, runGraphCase } from "./graph-cases.ts";
import { graphControls, type GraphMutant, graphMutants } from "./graph-mutants.ts";
import { createReferenceBackend } from "./index.ts";

const cases = graphCases(false);
const oracle = createReferenceBackend();

/** The first case that a backend gets wrong, among those with an op that is not the oracle's. */
async function findMismatch({ mutated, ...backend }: GraphMutant): Promise<string | undefined> {
  for (const sample of cases) {
    if (!sample.graph.nodes.some(({ op }) => mutated.includes(op))) continue;
    const expected = await runGraphCase(oracle, sample);
    const difference = describeDifference(sample, expected, await runGraphCase(backend, sample));
    if (difference !== undefined) return `${sample.id}: ${difference}`;
  }
  return undefined;
}

for (const mutant of graphMutants()) {
  test(`the quick graph cases reject ${mutant.name}`, async () => {
    assert.ok(await findMismatch(mutant), "no case tells it from the oracle");
  });
}

for (const control of graphControls()) {
  test(`the quick graph cases accept ${control.name}`, async () => {
    assert.equal(await findMismatch(control), undefined);
  });
}
