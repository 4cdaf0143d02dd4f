// A static memory plan: where each value of a graph lies in one block of memory, so that values that are never
// alive together share bytes. A plan depends on the graph and the sizes alone.

import { assert, present } from "gyrotron/base";
import { dimBounds, maximumOfDim } from "./dimension.ts";
import type { Graph } from "./graph.ts";
import { storageBytes } from "./storage.ts";
import type { OpKind } from "./op.ts";

/** What a plan needs to know of a node. */
export interface PlannedNode {
  readonly op: OpKind;
  readonly inputs: readonly number[];
  /** Bytes that its result takes. */
  readonly bytes: number;
}

/** Where values lie. */
export interface MemoryPlan {
  /** First byte of each node's value. A reshape lies where its operand does. */
  readonly offsets: readonly number[];
  /** Bytes of the block. */
  readonly peakBytes: number;
}

/**
 * Places values by falling size among those alive at the same time, lowest offset first. Inputs, constants and
 * outputs live through the whole run, others from their node to their last user. With `keepAll`, so does every
 * value (a trace).
 */
export function planMemory(
  nodes: readonly PlannedNode[],
  outputs: readonly number[],
  options: { alignment?: number; keepAll?: boolean } = {},
): MemoryPlan {
  const { alignment = 64, keepAll = false } = options;
  assert(Number.isInteger(alignment) && alignment >= 1, "alignment is a positive integer");
  const roots = rootsOf(nodes);
  const spans = liveSpans(nodes, outputs, roots, keepAll);
  const order = [...spans.keys()].filter((i) => roots[i] === i && spans[i]!.bytes > 0);
  order.sort((a, b) => spans[b]!.bytes - spans[a]!.bytes || a - b);
  const offsets: number[] = Array.from({ length: nodes.length }, () => 0);
  const placed: number[] = [];
  let peakBytes = 0;
  for (const index of order) {
    const span = spans[index]!;
    let offset = 0;
    for (const other of placed) {
      const rival = spans[other]!;
      if (rival.last < span.first || span.last < rival.first) continue;
      // `placed` is sorted by offset: the first gap that is wide enough is taken.
      if (offset + span.bytes <= offsets[other]!) break;
      const end = offsets[other]! + rival.bytes;
      offset = Math.max(offset, Math.ceil(end / alignment) * alignment);
    }
    offsets[index] = offset;
    peakBytes = Math.max(peakBytes, offset + span.bytes);
    const place = placed.findIndex((other) => offsets[other]! > offset);
    placed.splice(place < 0 ? placed.length : place, 0, index);
  }
  return { offsets: roots.map((root) => offsets[root]!), peakBytes };
}

/** The plan of a graph at the largest sizes that its symbols allow. */
export function planGraph(graph: Graph, options: { alignment?: number } = {}): MemoryPlan {
  const bounds = dimBounds(graph.symbols);
  const nodes = graph.nodes.map((node): PlannedNode => {
    const shape = node.type.shape.map((size) => maximumOfDim(size, bounds));
    return { op: node.op, inputs: node.inputs, bytes: storageBytes({ ...node.type, shape }) };
  });
  return planMemory(
    nodes,
    graph.outputs.map(({ node }) => node),
    options,
  );
}

interface Span {
  readonly bytes: number;
  readonly first: number;
  readonly last: number;
}

/** The node whose memory each node uses: its own but for a reshape. */
function rootsOf(nodes: readonly PlannedNode[]): number[] {
  const roots: number[] = [];
  for (const [i, node] of nodes.entries()) {
    roots.push(node.op === "reshape" ? present(roots[present(node.inputs[0])]) : i);
  }
  return roots;
}

function liveSpans(
  nodes: readonly PlannedNode[],
  outputs: readonly number[],
  roots: readonly number[],
  keepAll: boolean,
): Span[] {
  const end = nodes.length;
  const last = nodes.map((_, i) => i);
  for (const [i, node] of nodes.entries()) {
    for (const input of node.inputs) last[roots[input]!] = Math.max(last[roots[input]!]!, i);
  }
  for (const output of outputs) last[roots[output]!] = end;
  return nodes.map(({ op, bytes }, i) => {
    const isGiven = op === "input" || op === "constant";
    return {
      bytes,
      first: isGiven ? 0 : i,
      last: isGiven || keepAll ? end : last[i]!,
    };
  });
}
