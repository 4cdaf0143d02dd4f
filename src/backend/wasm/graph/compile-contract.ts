// Records of contractions: matmul, the gradient grid, rotary embedding and attention.

import { assert } from "gyrotron/base";
import { attentionScale } from "gyrotron/numerics";
import {
  elementCount,
  type Node,
  productsBeforeSpill,
  rowCount,
  type TensorType,
} from "gyrotron/tensor";
import { roundUp } from "../layout.ts";
import { emitCopy } from "./compile-move.ts";
import type { Emitter, NodeContext } from "./emitter.ts";
import {
  columnsOf,
  exponentsOffset,
  paddedColumns,
  partsOf,
  scalesOffset,
  storedBytes,
} from "./storage.ts";

/** Left rows of a block stay in a core's cache while right rows pass by. */
const BLOCK_BYTES = 65536;
const SPILL_STEPS_MAX = 8192;
/** How many rows must read each key before copying heads together pays. */
const READERS_PER_COPY = 8;

/** Bytes that a contraction needs while it runs. */
export function contractionWorkspace(
  node: Node<number>,
  types: readonly TensorType<number>[],
): number {
  switch (node.op) {
    case "rotary":
      return elementCount(types[1]!.shape) * columnsOf(types[0]!) * 4;
    case "attention":
    case "attention-scores":
    case "attention-combine":
      if (!isPacked(node, types)) return 0;
      return types.slice(1).reduce((sum, type) => sum + roundUp(storedBytes(type), 64), 0);
    default:
      return 0;
  }
}

type MatmulNode = Extract<Node<number>, { op: "matmul" | "matmul-grid" }>;
type GridNode = Extract<Node<number>, { op: "to-grid" | "grid-add" | "from-grid" }>;

/** Emits matmul or an op of the grid. */
export function compileMatmul(
  emitter: Emitter,
  at: NodeContext,
  node: MatmulNode | GridNode,
): void {
  const units = elementCount(node.type.shape);
  const words = [at.inputs[0]!, columnsOf(node.type), at.out, at.inputs[1]!];
  switch (node.op) {
    case "matmul":
      return emitMatmul(emitter, at, 0, "non-finite");
    case "matmul-grid":
      emitter.emit(at, "checkGrid", 1, [at.inputs[2]!], "grid-overflow");
      return emitMatmul(emitter, at, at.inputs[2]!, "grid-overflow");
    case "to-grid":
      emitter.emit(at, "checkGrid", 1, [at.inputs[1]!], "grid-overflow");
      return emitter.emit(at, "toGrid", units, words, "grid-overflow");
    case "grid-add":
      return emitter.emit(at, "gridAdd", units, words, "grid-overflow");
    case "from-grid":
      emitter.emit(at, "checkGrid", 1, [at.inputs[1]!], "grid-overflow");
      return emitter.emit(at, "fromGrid", units, words, "non-finite");
  }
}

function emitMatmul(
  emitter: Emitter,
  at: NodeContext,
  grid: number,
  failure: "non-finite" | "grid-overflow",
): void {
  const [left, right] = at.types;
  assert(left?.element === "bfp" && right?.element === "bfp", "operands of a product are bfp");
  const [a, b] = at.inputs as [number, number];
  const isBatched = right.shape.length > 2;
  // One right operand for all: batch and rows are one axis.
  const rows = isBatched ? left.shape.at(-2)! : rowCount(left.shape);
  const columns = right.shape.at(-2)!;
  const batches = isBatched ? elementCount(right.shape.slice(0, -2)) : 1;
  const bytes = paddedColumns(left) * 2;
  // Rows of no mantissas have no bytes.
  const inCache = Math.max(4, Math.floor(BLOCK_BYTES / Math.max(bytes, 16)));
  const rowsABlock = Math.min(roundUp(inCache, 4), roundUp(Math.max(rows, 1), 4));
  const units = batches * Math.ceil(rows / rowsABlock) * Math.ceil(columns / 4);
  const spill = Math.floor(productsBeforeSpill(left.bits, right.bits) / 2);
  emitter.needScratch(32);
  const words = [
    ...[a, a + exponentsOffset(left), b, b + exponentsOffset(right)],
    ...[right.scaled ? b + scalesOffset(right) : 0, bytes, rows, columns, rowsABlock],
    ...[Math.min(spill, SPILL_STEPS_MAX), at.out, isBatched ? 1 : 0, grid],
  ];
  emitter.emit(at, "matmul", units, words, failure);
}

type AttentionNode = Extract<
  Node<number>,
  { op: "rotary" | "attention" | "attention-scores" | "attention-combine" }
>;

/** Whether keys and values are worth a copy in which each head's rows are neighbours. */
function isPacked(node: Node<number>, types: readonly TensorType<number>[]): boolean {
  const [first, second] = types as [TensorType<number>, TensorType<number>];
  const isCombine = node.op === "attention-combine";
  const [heads, rows] = isCombine
    ? [first.shape[1]!, first.shape[2]!]
    : [first.shape[2]!, first.shape[1]!];
  const groups = second.shape[2]!;
  return groups > 1 && (rows * heads) / groups >= READERS_PER_COPY;
}

/** Emits rotary embedding or attention. */
export function compileAttention(emitter: Emitter, at: NodeContext, node: AttentionNode): void {
  if (node.op === "rotary") return compileRotary(emitter, at, node);
  const isCombine = node.op === "attention-combine";
  const [first, second] = at.types as [TensorType<number>, TensorType<number>];
  // Scores are [B, H, T, P], queries [B, T, H, d].
  const heads = first.shape[isCombine ? 1 : 2]!;
  const rows = first.shape[isCombine ? 2 : 1]!;
  const units = first.shape[0]! * heads * rows;
  if (elementCount(node.type.shape) === 0) return;
  const [, positions, groups] = second.shape as [number, number, number];
  const copies = isPacked(node, at.types);
  const operands = at.types.map((type, i) => {
    const address = at.inputs[i]!;
    const isQuery = i === 0;
    if (isQuery || !copies) return { address, type };
    const to = at.workspace + (i - 1) * roundUp(storedBytes(type), 64);
    packHeads(emitter, at, type, address, to);
    return { address: to, type };
  });
  const words = operands.map(({ address, type }) => [address, address + exponentsOffset(type)]);
  const [keys, values] = isCombine ? [[0, 0], words[1]!] : [words[1]!, words[2] ?? [0, 0]];
  const size = columnsOf(second);
  const padded = paddedColumns(second);
  const scale = attentionScale(size);
  // 16 heads at most are computed together: graph-attention.as.ts.
  const together = copies || node.op !== "attention" ? 1 : Math.min(heads, 16);
  emitter.needScratch(
    (positions + 8) * 4 + 16 + together * ((positions + 8) * 6 + padded * 8 + 32),
  );
  const all = [
    ...[...(isCombine ? [at.inputs[0]!, 0] : words[0]!), at.out, ...keys, ...values],
    ...[heads, positions, rows, groups, size, padded, scale.mantissa, scale.exponent],
    ...[node.causal ? 1 : 0, copies ? 1 : 0],
  ];
  if (node.op === "attention-scores") return emitter.emit(at, "attentionScores", units, all);
  emitter.emit(at, isCombine ? "attentionCombine" : "attention", units, all, "non-finite");
}

/** Copies [B, P, G, d] as [B, G, P, d], exponents likewise. */
function packHeads(
  emitter: Emitter,
  at: NodeContext,
  type: TensorType<number>,
  from: number,
  to: number,
): void {
  const [batch, positions, groups] = type.shape as [number, number, number];
  for (const { offset, bytes } of partsOf(type)) {
    const whole = positions * groups * bytes;
    const copy = {
      shape: [batch, groups, positions],
      stepsIn: [whole, bytes, groups * bytes],
      stepsOut: [whole, positions * bytes, bytes],
      bytes,
    };
    emitCopy(emitter, at, copy, from + offset, to + offset, false);
  }
}

function compileRotary(
  emitter: Emitter,
  at: NodeContext,
  node: Extract<Node<number>, { op: "rotary" }>,
): void {
  const [x, positions] = at.inputs as [number, number];
  const size = columnsOf(node.type);
  const heads = node.type.shape.at(-2)!;
  const steps = emitter.place(Uint32Array.from(node.steps));
  const turn = [steps, size / 2, at.workspace, positions, node.inverse ? 1 : 0];
  emitter.emit(at, "angles", elementCount(at.types[1]!.shape), turn);
  emitter.needScratch(roundUp(size, 8) * 2);
  const words = [x, size, at.out, at.workspace, heads, node.interleaved ? 1 : 0];
  emitter.emit(at, "rotary", rowCount(node.type.shape), words, "non-finite");
}
