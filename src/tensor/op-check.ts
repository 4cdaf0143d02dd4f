// Shape checks of op calls, shared by all backends: a backend may trust what has passed here.

import type { BfpRows, OpCall } from "./backend-contract.ts";
import type { PackedMatrix } from "./decoder-shape.ts";
import {
  BLOCK_SCALE_MAX,
  BLOCK_SIZE,
  blocksOf,
  DECODER_LIMITS,
  LEVEL_MAX,
  LEVEL_WEIGHT_MAX,
} from "./decoder-shape.ts";
import { TensorError } from "./error.ts";
import { ATTENTION_BITS, mantissaMax } from "./precision.ts";

const COLUMNS_MAX = 65536;

/** The number of rows of a call. @throws TensorError `tensor/shape-mismatch`, `tensor/limit` */
export function checkOpCall(call: OpCall): number {
  switch (call.op) {
    case "quantize":
      limit("bits", call.bits, 16);
      require(call.op, call.bits >= 8, "bits below 8");
      return rowsOf(call.op, call.x, call.columns);
    case "matmul":
      return checkMatmul(call.left, call.leftBits, call.weights);
    case "add":
    case "multiply":
      require(call.op, call.left.length === call.right.length, "operands differ in length");
      return rowsOf(call.op, call.left, call.columns);
    case "embed": {
      const entries = rowsOf(call.op, call.table, call.columns);
      require(call.op, call.tokens.every((token) => token < entries), "token out of range");
      return call.tokens.length;
    }
    case "rms-norm":
      require(call.op, isEpsilon(call.epsilon), "epsilon is not an f32 in 0..1");
      limit("columns", call.columns, COLUMNS_MAX);
      return rowsOf(call.op, call.x, call.columns);
    case "argmax":
    case "silu":
      return rowsOf(call.op, call.x, call.columns);
    case "rotary": {
      checkHeadSize(call.op, call.headSize);
      require(call.op, call.steps.length * 2 === call.headSize, "one step per pair expected");
      const rows = rowsOf(call.op, call.x, call.heads * call.headSize);
      require(call.op, rows === call.positions.length, "one position per row expected");
      return rows;
    }
    case "attention":
      return checkAttention(call);
  }
}

/** Whether a number can be the epsilon of a norm. */
export function isEpsilon(value: number): boolean {
  return Math.fround(value) === value && value >= 0 && value <= 1 && !Object.is(value, -0);
}

function checkMatmul(left: BfpRows, leftBits: number, weights: PackedMatrix): number {
  limit("left bits", leftBits, 16);
  limit("contraction", weights.inputs, COLUMNS_MAX);
  require("matmul", weights.inputs >= 1 &&
    left.columns === weights.inputs, "contraction lengths differ");
  checkBfp("matmul", left, leftBits);
  checkPackedMatrix(weights);
  return left.exponents.length;
}

/** @throws TensorError if the parts of a packed matrix do not fit together */
export function checkPackedMatrix(weights: PackedMatrix): void {
  // Those in a file are what its reader makes them, and are not read to be checked.
  if (weights.readRows === undefined) checkMantissas(weights);
  require("matmul", weights.scales.length === weights.outputs, "one scale per output expected");
  require("matmul", weights.exponents.length ===
    weights.outputs, "one exponent per output expected");
  if (weights.bits === 4) return checkLevels(weights);
  const { blockScales } = weights;
  require("matmul", weights.blockOffsets === undefined, "block offsets are for levels of 4 bits");
  if (blockScales === undefined) return;
  require("matmul", weights.bits === 8 &&
    blockScales instanceof Uint8Array, "block scales are for weights of 8 bits");
  require("matmul", blockScales.length ===
    weights.outputs * blocksOf(weights.inputs), "one block scale per 32 inputs expected");
  require("matmul", areBlockScales(blockScales), "block scale out of range");
}

function checkMantissas({ mantissas, outputs, inputs, bits }: PackedMatrix): void {
  require("matmul", mantissas.length ===
    outputs * inputs * (bits === 4 ? 0.5 : 1), "mantissas missing");
  const types = { 4: Uint8Array, 8: Int8Array, 14: Int16Array };
  require("matmul", mantissas instanceof types[bits], "mantissa type");
}

/** A loop, because a model has millions of them. */
function areBlockScales(scales: ArrayLike<number>): boolean {
  for (let i = 0; i < scales.length; i++) {
    if (scales[i]! < 1 || scales[i]! > BLOCK_SCALE_MAX) return false;
  }
  return true;
}

function checkLevels({ outputs, inputs, blockScales, blockOffsets }: PackedMatrix): void {
  const blocks = outputs * blocksOf(inputs);
  require("matmul", inputs % BLOCK_SIZE === 0, "levels come in blocks of 32 inputs");
  if (
    !(blockScales instanceof Uint16Array && blockScales.length === blocks) ||
    blockOffsets?.length !== blocks
  )
    return require("matmul", false, "a block scale and offset per 32 inputs expected");
  require("matmul", areLevels(blockScales, blockOffsets), "levels leave 14 bits");
}

/** Whether the lowest and the highest level of each block are integers of 14 bits. */
function areLevels(scales: Uint16Array, offsets: Int16Array): boolean {
  for (let i = 0; i < scales.length; i++) {
    const lowest = offsets[i]!;
    if (lowest < -LEVEL_WEIGHT_MAX || lowest + LEVEL_MAX * scales[i]! > LEVEL_WEIGHT_MAX)
      return false;
  }
  return true;
}

function checkAttention(call: OpCall & { op: "attention" }): number {
  checkHeadSize(call.op, call.headSize);
  require(call.op, call.kvHeads >= 1 &&
    call.heads % call.kvHeads === 0, "heads do not divide into groups");
  const positions = call.keys.exponents.length / call.kvHeads;
  require(call.op, Number.isInteger(positions) && positions >= 1, "positions missing");
  limit("positions", positions, DECODER_LIMITS.context);
  require(call.op, call.queries.exponents.length === call.heads, "one query row per head expected");
  require(call.op, call.values.exponents.length ===
    call.keys.exponents.length, "keys and values differ");
  for (const rows of [call.queries, call.keys, call.values]) {
    require(call.op, rows.columns === call.headSize, "rows are not head slices");
    checkBfp(call.op, rows, ATTENTION_BITS);
  }
  return 1;
}

function checkBfp(op: string, rows: BfpRows, bits: number): void {
  require(op, rows.mantissas.length ===
    rows.exponents.length * rows.columns, "mantissas and exponents differ");
  const max = mantissaMax(bits);
  require(op, rows.mantissas.every((m) => m >= -max && m <= max), "mantissa out of range");
  require(op, rows.exponents.every((e) => e >= -149 && e <= 122), "exponent out of range");
}

function checkHeadSize(op: string, headSize: number): void {
  limit("head size", headSize, DECODER_LIMITS.headSize);
  require(op, headSize >= 2 && headSize % 2 === 0, "head size is not even");
}

function rowsOf(op: string, x: Float32Array, columns: number): number {
  limit("columns", columns, 2 ** 20);
  require(op, Number.isInteger(columns) &&
    columns >= 1 &&
    x.length % columns === 0, "rows are not whole");
  return x.length / columns;
}

function require(op: string, condition: boolean, what: string): void {
  if (!condition) throw new TensorError({ code: "tensor/shape-mismatch", op, what });
}

function limit(what: string, actual: number, max: number): void {
  if (actual > max) throw new TensorError({ code: "tensor/limit", what, limit: max, actual });
}
