// What each op costs, by the formulas of docs/spec/03-op-table.md: known from sizes alone, before a run.

import { present } from "gyrotron/base";
import type { Cost } from "../cost.ts";
import type { ResolvedGraph } from "./executable.ts";
import type { Graph } from "./graph.ts";
import type { Node } from "./op.ts";
import { resolveGraph, type Sizes } from "./resolve.ts";
import { elementBytes, storageBytes } from "./storage.ts";
import { elementCount, type TensorType } from "./value.ts";

/** Cost of a node or a graph; dispatches are those of a device that fuses nothing. */
export interface GraphCost extends Cost {
  readonly dispatches: number;
}

/** The cost of one run at these sizes, and of each node in order. */
export function graphCost(graph: Graph, sizes: Sizes): { total: GraphCost; nodes: GraphCost[] } {
  return resolvedCost(resolveGraph(graph, sizes));
}

/** The same for a graph whose sizes are known. */
export function resolvedCost(graph: ResolvedGraph): { total: GraphCost; nodes: GraphCost[] } {
  const nodes = graph.nodes.map((node) =>
    nodeCost(
      node,
      node.inputs.map((input) => present(graph.nodes[input]).type),
    ),
  );
  const total = nodes.reduce(
    (sum, cost) => ({
      multiplyAdds: sum.multiplyAdds + cost.multiplyAdds,
      bytes: sum.bytes + cost.bytes,
      dispatches: sum.dispatches + cost.dispatches,
    }),
    { multiplyAdds: 0n, bytes: 0n, dispatches: 0 },
  );
  return { total, nodes };
}

/** The cost of one node: multiply-adds of its contraction, bytes read once and written once, one dispatch. */
export function nodeCost(node: Node<number>, operands: readonly TensorType<number>[]): GraphCost {
  const isFree = node.op === "input" || node.op === "constant" || node.op === "reshape";
  if (isFree) return { multiplyAdds: 0n, bytes: 0n, dispatches: 0 };
  return {
    multiplyAdds: multiplyAddsOf(node, operands),
    bytes: bytesOf(node, operands),
    dispatches: 1,
  };
}

function multiplyAddsOf(node: Node<number>, operands: readonly TensorType<number>[]): bigint {
  const [first, second] = operands;
  const elements = BigInt(elementCount(first?.shape ?? []));
  switch (node.op) {
    case "variance":
    case "rms-norm":
    case "layer-norm":
      return elements;
    case "rotary":
      return 2n * elements;
    case "matmul":
    case "matmul-grid":
      return elements * BigInt(present(second).shape.at(-2)!);
    case "attention": {
      const [batch, rows, heads, size] = present(first).shape;
      const pairs = visiblePairs(rows!, present(second).shape[1]!, node.causal);
      return 2n * BigInt(batch!) * BigInt(heads!) * BigInt(size!) * pairs;
    }
    case "attention-scores": {
      const [batch, rows, heads, size] = present(first).shape;
      const pairs = visiblePairs(rows!, present(second).shape[1]!, node.causal);
      return BigInt(batch!) * BigInt(heads!) * BigInt(size!) * pairs;
    }
    case "attention-combine": {
      const [batch, heads, rows, positions] = present(first).shape;
      const pairs = visiblePairs(rows!, positions!, node.causal);
      return BigInt(batch!) * BigInt(heads!) * BigInt(present(second).shape[3]!) * pairs;
    }
    default:
      return 0n;
  }
}

/** Pairs of a query row and a position that it sees. */
function visiblePairs(rows: number, positions: number, causal: boolean): bigint {
  const all = BigInt(rows) * BigInt(positions);
  // Row t misses the rows - 1 - t positions that come after it.
  return causal ? all - (BigInt(rows) * BigInt(rows - 1)) / 2n : all;
}

function bytesOf(node: Node<number>, operands: readonly TensorType<number>[]): bigint {
  const result = BigInt(storageBytes(node.type));
  const [first, second] = operands;
  switch (node.op) {
    // What is not chosen is not read.
    case "slice":
    case "broadcast":
      return node.op === "slice" ? 2n * result : result + BigInt(storageBytes(present(first)));
    case "gather":
      return 2n * result + BigInt(storageBytes(present(second)));
    case "take-along": {
      const chosen = elementCount(node.type.shape) * elementBytes(node.type);
      return BigInt(chosen) + result + BigInt(storageBytes(present(second)));
    }
    default:
      return operands.reduce((sum, type) => sum + BigInt(storageBytes(type)), result);
  }
}
