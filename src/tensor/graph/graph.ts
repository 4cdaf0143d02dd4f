// A graph: nodes in order, outputs by name, sizes still open. Immutable and checked as a whole; only what
// the outputs need is in it. Its bytes are in encode.ts, its identity is their hash.

import { assert, present } from "gyrotron/base";
import { TensorError } from "../error.ts";
import type { Dim, DimBounds, DimSymbol } from "./dimension.ts";
import { dimBounds, symbolsOfDim } from "./dimension.ts";
import { inferType, isName } from "./infer.ts";
import { GRAPH_LIMITS, OP_TABLE_VERSION } from "./op-list.ts";
import { proveGraph } from "./proof.ts";
import type { InputRole, Node } from "./op.ts";
import { equalTypes, formatType } from "./type-check.ts";
import type { TensorType } from "./value.ts";

/** A result of a graph. With `updates`, it is the next value of the state input of that name. */
export interface GraphOutput {
  readonly name: string;
  readonly node: number;
  readonly updates: string | undefined;
}

/** Nodes before their users; symbols sorted by name, each in use; every node needed by an output. */
export interface Graph {
  readonly version: number;
  readonly symbols: readonly DimSymbol[];
  readonly nodes: readonly Node<Dim>[];
  readonly outputs: readonly GraphOutput[];
}

/** An input of a graph. */
export interface GraphInput {
  readonly node: number;
  readonly name: string;
  readonly role: InputRole;
  readonly type: TensorType<Dim>;
}

/**
 * Checks nodes and outputs, drops what no output needs, and proves that no accumulator overflows.
 * @throws TensorError `tensor/graph`, `tensor/type`, `tensor/attribute`, `tensor/limit`, `tensor/dimension`, `tensor/overflow`
 */
export function createGraph(
  symbols: readonly DimSymbol[],
  nodes: readonly Node<Dim>[],
  outputs: readonly GraphOutput[],
): Graph {
  checkSymbols(symbols);
  const bounds = dimBounds(symbols);
  requireLimit("nodes", nodes.length, GRAPH_LIMITS.nodes);
  requireLimit("outputs", outputs.length, GRAPH_LIMITS.outputs);
  let edges = 0;
  let terms = 0;
  for (const [index, node] of nodes.entries()) {
    // Bounds on the whole, so that checking takes a time that grows with the bytes at most.
    edges += node.inputs.length;
    terms += dimsOfNode(node).reduce((sum, size) => sum + size.terms.length, 0);
    requireLimit("operands of all nodes", edges, GRAPH_LIMITS.edges);
    requireLimit("terms of all sizes", terms, GRAPH_LIMITS.terms);
    checkNode(nodes, index, node, bounds);
  }
  for (const { node } of outputs) {
    if (nodes[node] === undefined) throw fault(`an output of node ${node}, which does not exist`);
  }
  const pruned = prune(nodes, outputs);
  const used = new Set(pruned.nodes.flatMap(symbolsOfNode));
  const graph: Graph = {
    version: OP_TABLE_VERSION,
    symbols: symbols.filter(({ name }) => used.has(name)).sort(byName),
    ...pruned,
  };
  checkNames(graph);
  proveGraph(graph);
  return graph;
}

/** The inputs of a graph in order. */
export function inputsOf(graph: Graph): GraphInput[] {
  return graph.nodes.flatMap((node, i) =>
    node.op === "input" ? [{ node: i, name: node.name, role: node.role, type: node.type }] : [],
  );
}

function checkSymbols(symbols: readonly DimSymbol[]): void {
  requireLimit("symbols", symbols.length, GRAPH_LIMITS.symbols);
  const names = new Set<string>();
  for (const { name, max } of symbols) {
    if (!isName(name)) throw fault(`a symbol named ${name}`);
    if (names.has(name)) throw fault(`two symbols named ${name}`);
    if (!(Number.isInteger(max) && max >= 1 && max <= GRAPH_LIMITS.elements)) {
      throw fault(`the symbol ${name} with the maximum ${max}`);
    }
    names.add(name);
  }
}

function checkNode(
  nodes: readonly Node<Dim>[],
  index: number,
  node: Node<Dim>,
  bounds: DimBounds,
): void {
  for (const input of node.inputs) {
    if (!(Number.isInteger(input) && input >= 0 && input < index)) {
      throw fault(`node ${index} uses node ${input}, which is not before it`);
    }
  }
  const types = node.inputs.map((input) => nodes[input]!.type);
  const type = inferType(node, types, node.type, bounds);
  if (!equalTypes(type, node.type)) {
    throw new TensorError({
      code: "tensor/type",
      op: node.op,
      input: "result",
      expected: formatType(type),
      actual: formatType(node.type),
    });
  }
}

/** Keeps what outputs need, in the same order. */
function prune(
  nodes: readonly Node<Dim>[],
  outputs: readonly GraphOutput[],
): { nodes: Node<Dim>[]; outputs: GraphOutput[] } {
  const needed = new Uint8Array(nodes.length);
  for (const { node } of outputs) needed[node] = 1;
  for (let i = nodes.length - 1; i >= 0; i--) {
    if (needed[i] === 1) for (const input of nodes[i]!.inputs) needed[input] = 1;
  }
  const places = new Map<number, number>();
  const kept: Node<Dim>[] = [];
  for (const [i, node] of nodes.entries()) {
    if (needed[i] === 0) continue;
    places.set(i, kept.length);
    kept.push({ ...node, inputs: node.inputs.map((input) => present(places.get(input))) });
  }
  return {
    nodes: kept,
    outputs: outputs.map((output) => ({ ...output, node: present(places.get(output.node)) })),
  };
}

function checkNames(graph: Graph): void {
  const inputs = new Map<string, GraphInput>();
  for (const input of inputsOf(graph)) {
    if (inputs.has(input.name)) throw fault(`two inputs named ${input.name}`);
    inputs.set(input.name, input);
  }
  if (graph.outputs.length === 0) throw fault("no outputs");
  const names = new Set<string>();
  const updated = new Set<string>();
  for (const { name, node, updates } of graph.outputs) {
    if (!isName(name)) throw fault(`an output named ${name}`);
    if (names.has(name)) throw fault(`two outputs named ${name}`);
    names.add(name);
    if (updates === undefined) continue;
    const state = inputs.get(updates);
    if (state?.role !== "state")
      throw fault(`${name} updates ${updates}, which is no state in use`);
    if (updated.has(updates)) throw fault(`two outputs update ${updates}`);
    updated.add(updates);
    const { type } = graph.nodes[node]!;
    if (!equalTypes({ ...type, shape: [] }, { ...state.type, shape: [] })) {
      throw fault(`${name} is ${formatType(type)}, but ${updates} is ${formatType(state.type)}`);
    }
  }
}

/** The sizes in a node. */
function dimsOfNode(node: Node<Dim>): Dim[] {
  const dims = [...node.type.shape];
  if (node.op === "slice") dims.push(...node.starts);
  if (node.op === "pad") dims.push(...node.low);
  return dims;
}

/** Names of the symbols in a node. */
function symbolsOfNode(node: Node<Dim>): string[] {
  return dimsOfNode(node).flatMap((size) => [...symbolsOfDim(size)]);
}

function byName(left: DimSymbol, right: DimSymbol): number {
  assert(left.name !== right.name, "names are unique");
  return left.name < right.name ? -1 : 1;
}

function requireLimit(what: string, actual: number, limit: number): void {
  if (actual > limit) throw new TensorError({ code: "tensor/limit", what, limit, actual });
}

function fault(what: string): TensorError {
  return new TensorError({ code: "tensor/graph", what });
}
