// A graph's program for one place in device memory: where its values lie, and what must be written there
// besides operands. It depends on the graph, the place and the number of threads alone, so it can be kept.

import { assert } from "gyrotron/base";
import { isSameType, type ResolvedGraph } from "gyrotron/tensor";
import { roundUp } from "../layout.ts";
import { compileNode, needOf, turnedForQuantize } from "./compile.ts";
import { Emitter } from "./emitter.ts";
import { placeGraph } from "./placement.ts";
import { encodeGraph, type GraphRecord } from "./record.ts";
import type { PlacedTensor } from "./resident.ts";

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

/** What a program depends on besides its graph. */
export interface ProgramOptions {
  readonly base: number;
  readonly threads: number;
  /** Whether no value's memory is used again. */
  readonly keepsAll: boolean;
  /** Inputs that lie elsewhere already. */
  readonly resident: ReadonlyMap<string, PlacedTensor>;
}

/** Compiles a graph. */
export function compileGraph(graph: ResolvedGraph, options: ProgramOptions): GraphProgram {
  const { base, threads, keepsAll, resident } = options;
  const turned = keepsAll ? [] : turnedForQuantize(graph);
  const needs = graph.nodes.map((_, i) => {
    const need = { ...needOf(graph, i), isElsewhere: residentOf(graph, i, resident) !== undefined };
    return turned[i] === true ? { ...need, isAlias: true } : need;
  });
  const placement = placeGraph(graph, needs, keepsAll);
  const values: number[] = [];
  graph.nodes.forEach((node, i) => {
    const found = residentOf(graph, i, resident)?.address;
    // The value of an alias is its operand's, wherever that lies.
    const address = needs[i]!.isAlias ? values[node.inputs[0]!] : found;
    values.push(address ?? base + placement.values[i]!);
  });
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

/** The place of a node that is a resident input. */
function residentOf(
  graph: ResolvedGraph,
  index: number,
  resident: ReadonlyMap<string, PlacedTensor>,
): PlacedTensor | undefined {
  const node = graph.nodes[index]!;
  const found = node.op === "input" ? resident.get(node.name) : undefined;
  const isRight = found === undefined || isSameType(found.type, node.type);
  assert(isRight, "a resident tensor of another type");
  return found;
}
