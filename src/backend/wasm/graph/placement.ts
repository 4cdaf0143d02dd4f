// Where each value of a run lies in one arena. The plan is the graphs' own (gyrotron/tensor); here it learns
// how much memory values take on this device, which are no copies, and what a node needs while it runs.

import { planMemory, type PlannedNode, type ResolvedGraph } from "gyrotron/tensor";
import { storedBytes } from "./storage.ts";

/** Offsets of a graph's values in its arena. */
export interface Placement {
  readonly bytes: number;
  /** By node; meaningless where the value lies elsewhere. */
  readonly values: readonly number[];
  /** By node; meaningless where the node needs no workspace. */
  readonly workspaces: readonly number[];
}

/** What a node needs besides its value. */
export interface NodeNeed {
  /** Whether the node's value is its operand's memory, as it moves nothing. */
  readonly isAlias: boolean;
  /** Whether the value lies outside the arena. */
  readonly isElsewhere: boolean;
  /** Bytes needed while the node runs. */
  readonly workspace: number;
}

/** Places a graph's values. With `keepAll`, every value outlives the run. */
export function placeGraph(
  graph: ResolvedGraph,
  needs: readonly NodeNeed[],
  keepAll: boolean,
): Placement {
  const planned: PlannedNode[] = [];
  const places: number[] = [];
  const workspaces: number[] = [];
  graph.nodes.forEach((node, i) => {
    const { isAlias, isElsewhere, workspace } = needs[i]!;
    const inputs = node.inputs.map((input) => places[input]!);
    workspaces.push(planned.length);
    if (workspace > 0) {
      // A value that only this node uses, of any op that moves nothing.
      planned.push({ op: "iota", inputs, bytes: workspace });
      inputs.push(planned.length - 1);
    }
    places.push(planned.length);
    const bytes = isElsewhere ? 0 : storedBytes(node.type);
    planned.push({ op: opOf(node.op, isAlias), inputs, bytes });
  });
  const outputs = graph.outputs.map(({ node }) => places[node]!);
  const { offsets, peakBytes } = planMemory(planned, outputs, { keepAll });
  return {
    bytes: peakBytes,
    values: places.map((place) => offsets[place]!),
    workspaces: workspaces.map((place) => offsets[place]!),
  };
}

/** The plan knows a value without memory of its own by its op. */
function opOf(op: PlannedNode["op"], isAlias: boolean): PlannedNode["op"] {
  if (isAlias) return "reshape";
  return op === "reshape" ? "broadcast" : op;
}
