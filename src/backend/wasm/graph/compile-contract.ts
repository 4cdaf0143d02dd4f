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
import type { Emitter, NodeContext } from "./emitter.ts";
import { columnsOf, exponentsOffset, paddedColumns, scalesOffset } from "./storage.ts";

/** Left rows of a block stay in a core's cache while right rows pass by. */
const BLOCK_BYTES = 65536;
const SPILL_STEPS_MAX = 8192;

/** Bytes that a contraction needs while it runs. */
export function contractionWorkspace(
  node: Node<number>,
  types: readonly TensorType<number>[],
): number {
  switch (node.op) {
    case "rotary":
      return elementCount(types[1]!.shape) * columnsOf(types[0]!) * 4;
    case "attention":
      return packedBytes(types[1]!) + packedBytes(types[2]!);
    case "attention-scores":
    case "attention-combine":
      return packedBytes(types[1]!);
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
  const inCache = Math.max(2, Math.floor(BLOCK_BYTES / bytes));
  const rowsABlock = Math.min(roundUp(inCache, 2), roundUp(Math.max(rows, 1), 2));
  const units = batches * Math.ceil(rows / rowsABlock) * Math.ceil(columns / 4);
  const spill = Math.floor(productsBeforeSpill(left.bits, right.bits) / 2);
  emitter.needScratch(96);
  const words = [
    ...[a, a + exponentsOffset(left), b, b + exponentsOffset(right)],
    ...[right.scaled ? b + scalesOffset(right) : 0, bytes, rows, columns, rowsABlock],
    ...[Math.min(spill, SPILL_STEPS_MAX), at.out, isBatched ? 1 : 0, grid],
  ];
  emitter.emit(at, "matmul", units, words, failure);
}

/** Heads, positions, slots of exponents and bytes of keys or values packed by head. */
function packedShape(type: TensorType<number>): {
  units: number;
  heads: number;
  positions: number;
  exponents: number;
} {
  const [batch, positions, heads] = type.shape as [number, number, number];
  const units = batch * heads;
  const slots = roundUp(positions, 2);
  return { units, heads, positions, exponents: units * slots * paddedColumns(type) * 2 };
}

function packedBytes(type: TensorType<number>): number {
  const { units, positions, exponents } = packedShape(type);
  return roundUp(exponents + units * roundUp(positions, 2) * 4, 64);
}

type AttentionNode = Extract<
  Node<number>,
  { op: "rotary" | "attention" | "attention-scores" | "attention-combine" }
>;

/** Emits rotary embedding or attention. */
export function compileAttention(emitter: Emitter, at: NodeContext, node: AttentionNode): void {
  if (node.op === "rotary") return compileRotary(emitter, at, node);
  const isCombine = node.op === "attention-combine";
  const [first, second] = at.types as [TensorType<number>, TensorType<number>];
  // Scores are [B, H, T, P], queries [B, T, H, d].
  const batch = first.shape[0]!;
  const heads = first.shape[isCombine ? 1 : 2]!;
  const rows = first.shape[isCombine ? 2 : 1]!;
  const { heads: groups, positions } = packedShape(second);
  const size = columnsOf(second);
  const units = batch * heads * rows;
  if (units === 0 || elementCount(node.type.shape) === 0) return;
  const keys = at.workspace;
  const values = keys + (node.op === "attention" ? packedBytes(second) : 0);
  if (!isCombine) emitPack(emitter, at, "packKeys", 1, keys);
  if (node.op !== "attention-scores") {
    emitPack(emitter, at, "packValues", isCombine ? 1 : 2, values);
  }
  const scale = attentionScale(size);
  emitter.needScratch(positions * 6 + 64);
  const { exponents } = packedShape(second);
  const words = [
    ...[at.inputs[0]!, isCombine ? 0 : at.inputs[0]! + exponentsOffset(first), at.out],
    ...[keys, keys + exponents, values, values + exponents],
    ...[heads, positions, rows, groups, size, paddedColumns(second)],
    ...[scale.mantissa, scale.exponent, node.causal ? 1 : 0],
  ];
  if (node.op === "attention-scores") return emitter.emit(at, "attentionScores", units, words);
  const kernel = isCombine ? "attentionCombine" : "attention";
  emitter.emit(at, kernel, units, words, "non-finite");
}

function emitPack(
  emitter: Emitter,
  at: NodeContext,
  kernel: "packKeys" | "packValues",
  operand: number,
  to: number,
): void {
  const type = at.types[operand]!;
  const from = at.inputs[operand]!;
  const { units, heads, positions, exponents } = packedShape(type);
  const words = [from, from + exponentsOffset(type), to, to + exponents, heads, positions];
  emitter.emit(at, kernel, units, [...words, paddedColumns(type)]);
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
