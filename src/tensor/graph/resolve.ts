// From a graph to a run: sizes are bound from the inputs' shapes or given, every condition is checked on the
// numbers, inputs are checked against their types.

import { present } from "gyrotron/base";
import { TensorError } from "../error.ts";
import type { Dim } from "./dimension.ts";
import { dim, evaluateDim, formatDim } from "./dimension.ts";
import type { GraphBackend, ResolvedGraph, RunInputs } from "./executable.ts";
import type { Graph } from "./graph.ts";
import { inputsOf } from "./graph.ts";
import { findHostFault, hostType, withoutNegativeZero } from "./host-tensor.ts";
import { inferType } from "./infer.ts";
import type { Node } from "./op.ts";
import { equalTypes, formatType } from "./type-check.ts";
import type { HostTensor, TensorType } from "./value.ts";

/** Values of the symbols, by name. */
export type Sizes = Readonly<Record<string, number>>;

/** A graph ready to run, and the inputs that it uses, -0 replaced by +0. */
export interface PreparedRun {
  readonly graph: ResolvedGraph;
  readonly inputs: RunInputs;
}

/**
 * The graph with numbers for sizes. Every symbol must be given. Equal calls may give the same object.
 * @throws TensorError `tensor/dimension`, and what `inferType` throws where these sizes break a condition
 */
export function resolveGraph(graph: Graph, sizes: Sizes): ResolvedGraph {
  const values = new Map<string, number>();
  for (const { name, max } of graph.symbols) {
    const size = sizes[name];
    if (size === undefined) throw unknownSize(name);
    if (!(Number.isInteger(size) && size >= 0 && size <= max)) {
      throw badSize(`${name} is ${size}, not an integer in 0..${max}`);
    }
    values.set(name, size);
  }
  const known = recent.get(graph) ?? new Map<string, ResolvedGraph>();
  recent.set(graph, known);
  const key = [...values.values()].join();
  const found = known.get(key);
  if (found !== undefined) return found;
  const resolved = resolveWith(graph, values);
  const [oldest] = known.keys();
  if (known.size >= RECENT_MAX) known.delete(present(oldest));
  known.set(key, resolved);
  return resolved;
}

/**
 * Graphs resolved lately, by graph and sizes: a loop of training or decoding runs the same few again and again, and
 * a backend may know the same object again.
 */
const recent = new WeakMap<Graph, Map<string, ResolvedGraph>>();
const RECENT_MAX = 16;

/**
 * Binds the sizes from the inputs' shapes and those given, and checks the inputs.
 * Inputs that the graph does not use are left out.
 * @throws TensorError `tensor/input`, `tensor/dimension`, and what `resolveGraph` throws
 */
export function prepareRun(graph: Graph, inputs: RunInputs, sizes: Sizes = {}): PreparedRun {
  const used: Record<string, HostTensor> = {};
  for (const { name, type } of inputsOf(graph)) {
    const value = Object.hasOwn(inputs, name) ? inputs[name] : undefined;
    if (value === undefined) throw badInput(name, formatType(type), "nothing");
    used[name] = withoutNegativeZero(value);
    const fault = findHostFault(used[name]);
    if (fault !== undefined) throw badInput(name, "a valid tensor", fault);
  }
  const resolved = resolveGraph(graph, bindSizes(graph, used, sizes));
  for (const node of resolved.nodes) {
    if (node.op !== "input") continue;
    const actual = constantType(hostType(present(used[node.name])));
    const expected = constantType(node.type);
    if (!equalTypes(actual, expected)) {
      throw badInput(node.name, formatType(expected), formatType(actual));
    }
  }
  return { graph: resolved, inputs: used };
}

/**
 * Runs a graph on a backend and gives its outputs by name.
 * @throws TensorError `tensor/run-failed` with the op and row, and what `prepareRun` throws
 */
export async function runGraph(
  backend: GraphBackend,
  graph: Graph,
  inputs: RunInputs,
  sizes: Sizes = {},
): Promise<Readonly<Record<string, HostTensor>>> {
  const prepared = prepareRun(graph, inputs, sizes);
  const result = await backend.runGraph(prepared.graph, prepared.inputs);
  if (result.failure === undefined) return result.outputs;
  const { kind, node, row } = result.failure;
  const { op } = present(prepared.graph.nodes[node]);
  throw new TensorError({ code: "tensor/run-failed", kind, node, op, row });
}

/** Sizes from the shapes of the inputs: each dimension that has one unknown symbol, once, gives it. */
function bindSizes(graph: Graph, inputs: RunInputs, given: Sizes): Sizes {
  const known = new Map<string, number>();
  for (const { name } of graph.symbols) {
    const size = Object.hasOwn(given, name) ? given[name] : undefined;
    if (size !== undefined) known.set(name, size);
  }
  let equations = inputsOf(graph).flatMap(({ name, type }) => {
    const { shape } = present(inputs[name]);
    if (shape.length !== type.shape.length) {
      throw badInput(
        name,
        formatType(type),
        formatType(constantType(hostType(present(inputs[name])))),
      );
    }
    return type.shape.map((size, axis) => ({ size, value: shape[axis]!, input: name }));
  });
  for (let progress = true; progress;) {
    progress = false;
    equations = equations.filter(({ size, value, input }) => {
      const unknown = unknownOf(size, known);
      if (unknown === undefined) return true;
      if (unknown === "") {
        const expected = evaluateDim(size, known);
        if (expected === value) return false;
        throw badInput(input, `a size ${formatDim(size)} = ${expected}`, String(value));
      }
      const solved = solve(size, unknown, value, known);
      if (solved === undefined) throw badInput(input, `a size ${formatDim(size)}`, String(value));
      known.set(unknown, solved);
      progress = true;
      return false;
    });
  }
  return Object.fromEntries(known);
}

/** The one unknown symbol of a size if it stands in one term and alone there; empty if all are known. */
function unknownOf(size: Dim, known: ReadonlyMap<string, number>): string | undefined {
  const unknown = size.terms.flatMap(({ symbols }) => symbols.filter((name) => !known.has(name)));
  return unknown.length > 1 ? undefined : (unknown[0] ?? "");
}

/** The value of the unknown symbol, an integer from 0 on, or undefined. */
function solve(
  size: Dim,
  unknown: string,
  value: number,
  known: ReadonlyMap<string, number>,
): number | undefined {
  const at = (x: number): number => evaluateDim(size, new Map([...known, [unknown, x]]));
  const slope = at(1) - at(0);
  const solved = (value - at(0)) / slope;
  return Number.isInteger(solved) && solved >= 0 ? solved : undefined;
}

function resolveWith(graph: Graph, values: ReadonlyMap<string, number>): ResolvedGraph {
  const none: ReadonlyMap<string, number> = new Map();
  const types: TensorType<Dim>[] = [];
  const nodes = graph.nodes.map((node): Node<number> => {
    const resolved = resolveNode(node, values);
    // The same conditions as for symbols, now exact; the claimed type is checked against them.
    const exact = toConstants(resolved);
    const type = inferType(
      exact,
      node.inputs.map((input) => types[input]!),
      exact.type,
      none,
    );
    types.push(type);
    return resolved;
  });
  return { nodes, outputs: graph.outputs.map(({ name, node }) => ({ name, node })) };
}

function resolveNode(node: Node<Dim>, values: ReadonlyMap<string, number>): Node<number> {
  const size = (value: Dim): number => {
    const result = evaluateDim(value, values);
    if (Number.isSafeInteger(result) && result >= 0) return result;
    throw badSize(`${formatDim(value)} is ${result} in ${node.op}`);
  };
  const type = { ...node.type, shape: node.type.shape.map(size) };
  if (node.op === "slice") return { ...node, starts: node.starts.map(size), type };
  if (node.op === "pad") return { ...node, low: node.low.map(size), type };
  return { ...node, type };
}

function toConstants(node: Node<number>): Node<Dim> {
  const type = constantType(node.type);
  if (node.op === "slice") return { ...node, starts: node.starts.map(dim), type };
  if (node.op === "pad") return { ...node, low: node.low.map(dim), type };
  return { ...node, type };
}

function constantType(type: TensorType<number>): TensorType<Dim> {
  return { ...type, shape: type.shape.map(dim) };
}

function unknownSize(name: string): TensorError {
  return badSize(`the size ${name} is not known from the inputs`);
}

function badSize(what: string): TensorError {
  return new TensorError({ code: "tensor/dimension", what });
}

function badInput(input: string, expected: string, actual: string): TensorError {
  return new TensorError({ code: "tensor/input", input, expected, actual });
}
