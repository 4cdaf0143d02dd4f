// The table of embeddings, f32 `[vocabulary, width]`. It is the largest tensor of many models and a step
// needs a row for each token only, so it is read by rows: it may lie in a file.

import { assert } from "gyrotron/base";

/** Rows of f32, one for each token. Immutable. */
export interface EmbeddingTable {
  readonly vocabulary: number;
  readonly width: number;
  /** So many rows from token `first` on, end to end. Nobody writes to them. */
  rows(first: number, count: number): Float32Array;
}

/** Rows read at once by who needs them all, in bytes. */
const WINDOW_BYTES = 1 << 20;

/** A table in memory. */
export function embeddingTable(values: Float32Array, width: number): EmbeddingTable {
  const vocabulary = values.length / width;
  assert(Number.isInteger(vocabulary), "whole rows");
  return {
    vocabulary,
    width,
    rows(first, count) {
      assert(first >= 0 && count >= 0 && first + count <= vocabulary, "rows of the table");
      return values.subarray(first * width, (first + count) * width);
    },
  };
}

/** All rows in order, a window at a time, each with its first token. */
export function* embeddingWindows(
  table: EmbeddingTable,
): Generator<{ first: number; rows: Float32Array }> {
  const { vocabulary, width } = table;
  const step = Math.max(1, Math.floor(WINDOW_BYTES / 4 / width));
  for (let first = 0; first < vocabulary; first += step)
    yield { first, rows: table.rows(first, Math.min(step, vocabulary - first)) };
}

/** The rows of tokens end to end: what the first op of a decoder gives. */
export function embedTokens(table: EmbeddingTable, tokens: readonly number[]): Float32Array {
  const x = new Float32Array(tokens.length * table.width);
  tokens.forEach((token, i) => x.set(table.rows(token, 1), i * table.width));
  return x;
}

/** Adds to each row that of its position, one f32 sum each. Gives the rows in which one is not finite. */
export function addPositions(
  x: Float32Array,
  table: EmbeddingTable,
  positions: readonly number[],
): number[] {
  const { width } = table;
  const failed: number[] = [];
  positions.forEach((position, r) => {
    const own = x.subarray(r * width, (r + 1) * width);
    const added = table.rows(position, 1);
    // A binary64 sum rounded to binary32 is the binary32 sum.
    for (let i = 0; i < width; i++) own[i] = own[i]! + added[i]! + 0;
    if (!own.every(Number.isFinite)) failed.push(r);
  });
  return failed;
}
