// A graph's program for one place in device memory: where its values lie, and what must be written there
// besides operands. It depends on the graph, the place and the number of threads alone, so it can be kept.

import type { ResolvedGraph } from "gyrotron/tensor";
import { roundUp } from "../layout.ts";
import { compileNode, needOf, turnedForQuantize } from "./compile.ts";
import { Emitter } from "./emitter.ts";
import { placeGraph } from "./placement.ts";
import { encodeGraph, type GraphRecord } from "./record.ts";

const ALIGNMENT = 64;

/** A graph compiled for the memory from `base` on. */
export interface GraphProgram {
  readonly base: number;
  /** Of the memory, values included. */
  readonly bytes: number;
  readonly records: readonly GraphRecord[];
  /** Address of each node's value. */
  readonly values: readonly number[];
  /** Address of the records' words. */
  readonly program: number;
  /** Address of a word for each record, which takes the row that failed. */
  readonly fails: number;
  readonly scratch: { readonly address: number; readonly bytesAThread: number };
  /** The program and what kernels read besides values. */
  readonly data: readonly { readonly address: number; readonly words: Int32Array | Uint32Array }[];
}

/** Compiles a graph. With `keepsAll`, no value's memory is used again. */
export function compileGraph(
  graph: ResolvedGraph,
  options: { base: number; threads: number; keepsAll: boolean },
): GraphProgram {
  const { base, threads, keepsAll } = options;
  const turned = keepsAll ? [] : turnedForQuantize(graph);
  const needs = graph.nodes.map((_, i) => {
    const need = needOf(graph, i);
    return turned[i] === true ? { ...need, isAlias: true } : need;
  });
  const placement = placeGraph(graph, needs, keepsAll);
  const values = placement.values.map((offset) => base + offset);
  let top = base + roundUp(placement.bytes, ALIGNMENT);
  const take = (bytes: number): number => {
    const address = top;
    top = roundUp(top + bytes, ALIGNMENT);
    return address;
  };
  const data: { address: number; words: Int32Array | Uint32Array }[] = [];
  const place = (words: Int32Array | Uint32Array): number => {
    const address = take(words.byteLength);
    data.push({ address, words });
    return address;
  };
  const emitter = new Emitter(place);
  graph.nodes.forEach((node, index) => {
    if (needs[index]!.isAlias) return;
    compileNode(emitter, {
      ...{ index, node, out: values[index]! },
      types: node.inputs.map((input) => graph.nodes[input]!.type),
      inputs: node.inputs.map((input) => values[input]!),
      workspace: base + placement.workspaces[index]!,
      isTurned: turned[node.inputs[0] ?? -1] === true,
    });
  });
  const { records, scratchBytes } = emitter;
  const fails = take(records.length * 4);
  const program = place(encodeGraph(records, fails));
  const scratch = { address: take(scratchBytes * threads), bytesAThread: scratchBytes };
  return { base, bytes: top - base, records, values, program, fails, scratch, data };
}
