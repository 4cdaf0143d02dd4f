// What backends see and offer: a graph with all sizes known, and its results or its first error.

import type { InputRole, Node } from "./op.ts";
import type { ResidentTensors } from "./resident.ts";
import type { HostTensor } from "./value.ts";

/** A graph whose dimensions are numbers; only nodes that the outputs need, inputs before users. */
export interface ResolvedGraph {
  readonly nodes: readonly Node<number>[];
  readonly outputs: readonly ResolvedOutput[];
}

/** A node whose value is asked for, by name. */
export interface ResolvedOutput {
  readonly name: string;
  readonly node: number;
}

/** What a run reports instead of outputs: the smallest node in order, then its smallest row (section 22). */
export interface RunFailure {
  readonly kind: "non-finite" | "index-out-of-range" | "grid-overflow";
  readonly node: number;
  readonly row: number;
}

/** Outputs by name, or a failure. With `trace`, the value of each node in order. */
export type RunResult =
  | {
      readonly failure: undefined;
      readonly outputs: Readonly<Record<string, HostTensor>>;
      readonly trace: readonly HostTensor[] | undefined;
    }
  | { readonly failure: RunFailure };

/** Values of the inputs, by name. */
export type RunInputs = Readonly<Record<string, HostTensor>>;

/** What a backend offers to graphs. */
export interface GraphBackend {
  /**
   * Runs a resolved graph on host values. With `trace`, no intermediate result is skipped and each is returned.
   * Inputs have been checked against the graph (types, shapes, ranges of mantissas) by the caller.
   */
  runGraph(graph: ResolvedGraph, inputs: RunInputs, options?: RunOptions): Promise<RunResult>;
  /**
   * Copies tensors to where the backend runs; `options.resident` names them as inputs of any run, by any graph.
   * They have been checked as `inputs` have. @throws TensorError `tensor/limit`, `tensor/closed`
   */
  placeTensors(tensors: RunInputs): Promise<ResidentTensors>;
}

/** What a run keeps, and what is there already. */
export interface RunOptions {
  readonly trace?: boolean;
  /** Tensors of the same backend: inputs of their names are these, and `inputs` need not have them. */
  readonly resident?: ResidentTensors | undefined;
}

/** The inputs of a resolved graph in the order of their nodes. */
export function graphInputs(
  graph: ResolvedGraph,
): { node: number; name: string; role: InputRole }[] {
  return graph.nodes.flatMap((node, i) =>
    node.op === "input" ? [{ node: i, name: node.name, role: node.role }] : [],
  );
}
