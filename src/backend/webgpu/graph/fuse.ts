// Which elementwise nodes become one kernel. A group runs where its last member stands in the graph, so a
// node may join only if nothing outside the group used an earlier member before it; broadcasts that
// only elementwise nodes of their shape use are read in place.

import {
  BINARY_OPS,
  COMPARE_OPS,
  type Node,
  type OpKind,
  type ResolvedGraph,
  UNARY_OPS,
} from "gyrotron/tensor";

/** Inputs of an elementwise op that are read by its own rule, not at the element's index. */
export const SIDE_INPUTS: Partial<Record<OpKind, number>> = {
  "to-grid": 1,
  "from-grid": 1,
  dropout: 1,
};

const ELEMENTWISE: ReadonlySet<OpKind> = new Set<OpKind>([
  ...UNARY_OPS,
  ...BINARY_OPS,
  ...COMPARE_OPS,
  "and",
  "or",
  "not",
  "select",
  "convert",
  "to-grid",
  "grid-add",
  "from-grid",
  "dropout",
  "iota",
  "dequantize",
]);

/** Whether a node is computed element by element. */
export function isElementwise(node: Node<number>): boolean {
  return ELEMENTWISE.has(node.op);
}

/** Nodes that one kernel computes, in order. */
export interface Group {
  readonly members: readonly number[];
  /** Members that others need. */
  readonly results: readonly number[];
}

export interface Fusion {
  /** Groups by the node where they run: their last member. */
  readonly groups: ReadonlyMap<number, Group>;
  /** Broadcasts that are never written down. */
  readonly views: ReadonlySet<number>;
}

export interface FusionLimits {
  /** Buffers that a kernel may read and write. */
  readonly buffers: number;
  /** Nodes in a kernel. */
  readonly members: number;
}

/** Groups for a graph; with `members` 1 each node is a kernel of its own. */
export function fuse(graph: ResolvedGraph, limits: FusionLimits): Fusion {
  const users = usersOf(graph);
  const outputs = new Set(graph.outputs.map(({ node }) => node));
  const views = limits.members > 1 ? findViews(graph, users, outputs) : new Set<number>();
  const groups: Grouping[] = [];
  const groupOf = new Map<number, Grouping>();
  const context = { graph, users, outputs, views, limits };
  graph.nodes.forEach((node, i) => {
    if (!isElementwise(node)) return;
    let own: Grouping = { members: [i], isOpen: true };
    const near = new Set(fusable(node).flatMap((input) => groupOf.get(input) ?? []));
    for (const group of near) {
      const joined = [...group.members, ...own.members].toSorted((a, b) => a - b);
      if (!group.isOpen || !canBe(context, joined)) continue;
      group.isOpen = false;
      own = { members: joined, isOpen: true };
    }
    for (const member of own.members) groupOf.set(member, own);
    groups.push(own);
  });
  const kept = groups.filter((group) => group.isOpen);
  return {
    views,
    groups: new Map(
      kept.map(({ members }) => [
        members.at(-1)!,
        { members, results: resultsOf(context, members) },
      ]),
    ),
  };
}

interface Grouping {
  readonly members: readonly number[];
  /** False once it is part of a larger one. */
  isOpen: boolean;
}

interface FusionContext {
  readonly graph: ResolvedGraph;
  readonly users: readonly (readonly number[])[];
  readonly outputs: ReadonlySet<number>;
  readonly views: ReadonlySet<number>;
  readonly limits: FusionLimits;
}

/** Inputs whose values a kernel could hold in a register. */
function fusable(node: Node<number>): readonly number[] {
  if (node.op === "dequantize") return [];
  return node.inputs.slice(0, SIDE_INPUTS[node.op] ?? node.inputs.length);
}

/** Who uses each node; a view's users use its source too. */
function usersOf(graph: ResolvedGraph): number[][] {
  const users: number[][] = graph.nodes.map(() => []);
  graph.nodes.forEach((node, i) => {
    for (const input of new Set(node.inputs)) users[input]!.push(i);
  });
  return users;
}

function findViews(
  graph: ResolvedGraph,
  users: readonly (readonly number[])[],
  outputs: ReadonlySet<number>,
): Set<number> {
  const views = new Set<number>();
  graph.nodes.forEach((node, i) => {
    if (node.op !== "broadcast" || node.type.element === "bfp" || node.type.element === "i64")
      return;
    const isPlain = users[i]!.every((user) => {
      const other = graph.nodes[user]!;
      return isElementwise(other) && fusable(other).includes(i) && !sideInput(other, i);
    });
    if (isPlain && !outputs.has(i)) views.add(i);
  });
  return views;
}

function sideInput(node: Node<number>, input: number): boolean {
  const from = SIDE_INPUTS[node.op];
  return from !== undefined && node.inputs.slice(from).includes(input);
}

/** Whether these nodes may be one kernel. */
function canBe(context: FusionContext, members: readonly number[]): boolean {
  const { graph, users, views, limits } = context;
  const inside = new Set(members);
  const last = members.at(-1)!;
  const [first] = members;
  const shape = graph.nodes[first!]!.type.shape;
  const isUsedBefore = (node: number): boolean =>
    users[node]!.some((user) => user < last && !inside.has(user));
  const fits = members.every((member) => {
    const other = graph.nodes[member]!;
    const isSameShape =
      other.type.shape.length === shape.length &&
      other.type.shape.every((size, k) => size === shape[k]);
    const readsAside = other.inputs.some(
      (input) => inside.has(sourceOf(context, input)) && !isDirect(other, input, views),
    );
    return isSameShape && !readsAside && !isUsedBefore(member);
  });
  if (!fits || members.length > limits.members) return false;
  return (
    leavesOf(graph, views, members).length + resultsOf(context, members).length <= limits.buffers
  );
}

function sourceOf({ graph, views }: FusionContext, node: number): number {
  return views.has(node) ? graph.nodes[node]!.inputs[0]! : node;
}

function isDirect(node: Node<number>, input: number, views: ReadonlySet<number>): boolean {
  return !views.has(input) && fusable(node).includes(input) && !sideInput(node, input);
}

function resultsOf({ users, outputs }: FusionContext, members: readonly number[]): number[] {
  const inside = new Set(members);
  return members.filter(
    (member) => outputs.has(member) || users[member]!.some((user) => !inside.has(user)),
  );
}

/** Buffers that the members read: nodes outside, with the sources of views in place of views. */
export function leavesOf(
  graph: ResolvedGraph,
  views: ReadonlySet<number>,
  members: readonly number[],
): number[] {
  const inside = new Set(members);
  const leaves = new Set<number>();
  for (const member of members) {
    for (const input of graph.nodes[member]!.inputs) {
      if (!inside.has(input)) leaves.add(views.has(input) ? graph.nodes[input]!.inputs[0]! : input);
    }
  }
  return [...leaves];
}
