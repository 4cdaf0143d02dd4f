// The conformance cases of graphs: every op over edge shapes and values, models of many ops, and runs that
// fail. A device runs each as it would serve it, and again with a trace of every node.

import { assert } from "gyrotron/base";
import type { GraphBackend, HostTensor, RunFailure, RunResult } from "gyrotron/tensor";
import { contractionCases } from "./graph-cases/contraction.ts";
import type { GraphCase } from "./graph-cases/draft.ts";
import { elementwiseCases } from "./graph-cases/elementwise.ts";
import { failureCases } from "./graph-cases/failure.ts";
import { layoutCases } from "./graph-cases/layout.ts";
import { modelCases } from "./graph-cases/model.ts";
import { randomCases } from "./graph-cases/random.ts";
import { rowCases } from "./graph-cases/rows.ts";

export type { GraphCase } from "./graph-cases/draft.ts";

/** All graph cases, in the order that the digest takes them. */
export function graphCases(full: boolean): GraphCase[] {
  return [
    ...layoutCases(full),
    ...elementwiseCases(full),
    ...rowCases(full),
    ...contractionCases(full),
    ...randomCases(full),
    ...modelCases(),
    ...failureCases(),
  ];
}

/** What a run with a trace found: the value of each node, or the failure; and whether the plain run agrees. */
export interface GraphOutcome {
  readonly failure: RunFailure | undefined;
  /** One for each node that is computed; none of a run that fails. */
  readonly values: readonly HostTensor[];
  /** By the plain run, in the order of the graph. */
  readonly outputs: readonly HostTensor[];
  readonly plainFailure: RunFailure | undefined;
}

/** Runs a case twice, plainly and with a trace. */
export async function runGraphCase(
  backend: GraphBackend,
  { graph, inputs }: GraphCase,
): Promise<GraphOutcome> {
  const plain = await backend.runGraph(graph, inputs);
  const traced = await backend.runGraph(graph, inputs, { trace: true });
  const isComputed = (_: HostTensor, i: number): boolean =>
    graph.nodes[i]!.op !== "input" && graph.nodes[i]!.op !== "constant";
  return {
    failure: traced.failure,
    values: traceOf(traced).filter(isComputed),
    outputs: graph.outputs.flatMap(({ name }) => {
      const output = plain.failure === undefined ? plain.outputs[name] : undefined;
      return output === undefined ? [] : [output];
    }),
    plainFailure: plain.failure,
  };
}

function traceOf(result: RunResult): readonly HostTensor[] {
  if (result.failure !== undefined) return [];
  assert(result.trace !== undefined, "a trace was asked for");
  return result.trace;
}
