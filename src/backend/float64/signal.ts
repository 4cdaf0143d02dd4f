// The signal-to-noise ratio of every node of a graph, exact against binary64: where a format loses accuracy.

import { assert, present } from "gyrotron/base";
import type { GraphBackend, OpKind, ResolvedGraph, RunFailure, RunInputs } from "gyrotron/tensor";
import { graphCases } from "../graph-cases.ts";
import { interpretNode } from "./interpret.ts";
import { type FloatTensor, floatOf } from "./tensor.ts";

/** Decibels of one node; an infinity where all bits agree with binary64. */
export interface NodeSignal {
  readonly node: number;
  readonly op: OpKind;
  /** What this op alone adds: against binary64 on the exact operands. */
  readonly localDb: number;
  /** What has come together: against the whole graph in binary64. */
  readonly totalDb: number;
}

/** The ratio of each computed node of f32, bfp or grid values, in order; or why the run has none. */
export async function signalToNoise(
  backend: GraphBackend,
  graph: ResolvedGraph,
  inputs: RunInputs,
): Promise<readonly NodeSignal[] | RunFailure> {
  const result = await backend.runGraph(graph, inputs, { trace: true });
  if (result.failure !== undefined) return result.failure;
  assert(result.trace !== undefined, "a trace was asked for");
  const ideal: FloatTensor[] = [];
  const signals: NodeSignal[] = [];
  for (const [i, node] of graph.nodes.entries()) {
    const value = present(result.trace[i]);
    const exact = floatOf(value);
    if (node.op === "input" || node.op === "constant") {
      ideal.push(exact);
      continue;
    }
    const operands = node.inputs.map((input) => floatOf(present(result.trace![input])));
    const local = interpretNode(node, operands, value);
    const total = interpretNode(
      node,
      node.inputs.map((input) => present(ideal[input])),
      value,
    );
    ideal.push(total);
    if (value.element === "bool" || value.element === "i32") continue;
    signals.push({
      node: i,
      op: node.op,
      localDb: decibels(exact, local),
      totalDb: decibels(exact, total),
    });
  }
  return signals;
}

/** The tables of all conformance cases that are models, for people. */
export async function describeModelSignals(backend: GraphBackend): Promise<string> {
  const tables: string[] = [];
  for (const { id, graph, inputs } of graphCases(false)) {
    if (!id.startsWith("graph/model/")) continue;
    const signals = await signalToNoise(backend, graph, inputs);
    tables.push(`${id}\n${"kind" in signals ? signals.kind : formatSignals(signals)}`);
  }
  return tables.join("\n\n");
}

/** A table for people: node, op, decibels of the op alone and of all so far. */
export function formatSignals(signals: readonly NodeSignal[]): string {
  const lines = signals.map(
    ({ node, op, localDb, totalDb }) =>
      `${String(node).padStart(5)}  ${op.padEnd(18)} ${text(localDb)} ${text(totalDb)}`,
  );
  return [
    ` node  ${"op".padEnd(18)} ${"op dB".padStart(8)} ${"all dB".padStart(8)}`,
    ...lines,
  ].join("\n");
}

function text(db: number): string {
  return (db === Infinity ? "exact" : db.toFixed(1)).padStart(8);
}

function decibels(exact: FloatTensor, ideal: FloatTensor): number {
  let [signal, noise] = [0, 0];
  ideal.data.forEach((x, i) => {
    signal += x * x;
    noise += (x - exact.data[i]!) ** 2;
  });
  return noise === 0 ? Infinity : 10 * Math.log10(signal / noise);
}
