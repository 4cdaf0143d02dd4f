// The oracle runs graphs: node after node in order, each by its definition, and stops at the first that
// fails (docs/spec/01-numerics.md section 22).

import { present } from "gyrotron/base";
import {
  allInputs,
  type HostTensor,
  type ResolvedGraph,
  type RunInputs,
  type RunOptions,
  type RunResult,
} from "gyrotron/tensor";
import { evaluate, type GraphOps } from "./graph/ops.ts";

export { EXACT_GRAPH_OPS, type GraphOps } from "./graph/ops.ts";

/** Runs a resolved graph. `ops` exists for mutants. */
export function runReferenceGraph(
  ops: GraphOps,
  graph: ResolvedGraph,
  inputs: RunInputs,
  options: RunOptions = {},
): RunResult {
  const values: HostTensor[] = [];
  const given = allInputs(inputs, options);
  for (const [index, node] of graph.nodes.entries()) {
    if (node.op === "input") {
      values.push(present(given[node.name], "an input is missing"));
      continue;
    }
    if (node.op === "constant") {
      values.push(node.value);
      continue;
    }
    const outcome = evaluate(
      ops,
      node,
      node.inputs.map((input) => present(values[input], "a node before its inputs")),
    );
    if ("failure" in outcome) {
      return { failure: { kind: outcome.failure, node: index, row: outcome.row } };
    }
    values.push(outcome);
  }
  const outputs = graph.outputs.map(({ name, node }) => [name, present(values[node])] as const);
  return {
    failure: undefined,
    outputs: Object.fromEntries(outputs),
    trace: options.trace === true ? values : undefined,
  };
}
