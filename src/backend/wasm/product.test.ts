// Every path of the products (one, two or four rows; widened weights; sums within i32 or carried beyond) gives
// the exact sum rounded once, for any number of rows and columns.

import assert from "node:assert/strict";
import test from "node:test";
import { createWasmBackend } from "./index.ts";
import type { BfpRows, PackedMatrix } from "gyrotron/tensor";

const ROWS_MAX = 13;

/** Mantissas that take both ends of their range often, as sums near the bounds do. */
function mantissa(i: number, bits: number): number {
  const top = 2 ** (bits - 1) - 1;
  if (i % 3 === 0) return top;
  if (i % 7 === 0) return -top;
  return ((i * 7919) % (2 * top + 1)) - top;
}

function operands(
  rows: number,
  inputs: number,
  outputs: number,
  leftBits: number,
  bits: 8 | 14,
): { left: BfpRows; weights: PackedMatrix } {
  const mantissas = bits === 8 ? new Int8Array(inputs * outputs) : new Int16Array(inputs * outputs);
  // The first column and every row are all tops: the largest sum that the shape allows.
  mantissas.forEach((_, i) => {
    mantissas[i] = i < inputs ? 2 ** (bits - 1) - 1 : mantissa(i, bits);
  });
  const left = Int32Array.from({ length: rows * inputs }, (_, i) =>
    i < inputs ? 2 ** (leftBits - 1) - 1 : mantissa(i + 1, leftBits),
  );
  return {
    left: {
      columns: inputs,
      mantissas: left,
      exponents: Int32Array.from({ length: rows }, (_, r) => -3 - r),
    },
    weights: {
      inputs,
      outputs,
      bits,
      mantissas,
      scales: Uint8Array.from({ length: outputs }, (_, c) => 128 + ((c * 37) % 128)),
      exponents: Int16Array.from({ length: outputs }, (_, c) => (c % 5) - 9),
    },
  };
}

/** The sum of products is an integer below 2^53 whatever the order, so binary64 computes it exactly. */
function expected(left: BfpRows, weights: PackedMatrix): Float32Array {
  const { inputs, outputs } = weights;
  const rows = left.exponents.length;
  return Float32Array.from({ length: rows * outputs }, (_, at) => {
    const r = Math.floor(at / outputs);
    const c = at % outputs;
    let sum = 0;
    for (let k = 0; k < inputs; k++) {
      sum += left.mantissas[r * inputs + k]! * weights.mantissas[c * inputs + k]!;
    }
    return sum * weights.scales[c]! * 2 ** (left.exponents[r]! + weights.exponents[c]!);
  });
}

for (const [leftBits, bits] of [
  [8, 8],
  [14, 8],
  [14, 14],
] as const) {
  test(`w${bits}a${leftBits}: products of 1 to ${ROWS_MAX} rows are exact`, async () => {
    const backend = await createWasmBackend({ threads: 2 });
    // 2064 and 8256 inputs of w8a14 are the last that fit 32 bits in total and in a lane.
    for (const [inputs, outputs] of [
      [1, 1],
      [31, 5],
      [33, 8],
      [264, 13],
      [2064, 6],
      [2065, 9],
      [8257, 3],
    ] as const) {
      for (let rows = 1; rows <= ROWS_MAX; rows++) {
        const { left, weights } = operands(rows, inputs, outputs, leftBits, bits);
        const result = await backend.run({ op: "matmul", left, leftBits, weights });
        assert.equal(result.kind, "f32");
        assert.deepEqual(result.kind === "f32" && result.values, expected(left, weights));
      }
    }
    await backend.close();
  });
}

test("the largest contraction is exact, and a row that is not finite is found in every tile", async () => {
  const backend = await createWasmBackend();
  const largest = operands(1, 65536, 2, 14, 14);
  const result = await backend.run({ op: "matmul", leftBits: 14, ...largest });
  assert.deepEqual(result.kind === "f32" && result.values, expected(largest.left, largest.weights));
  for (let rows = 1; rows <= ROWS_MAX; rows++) {
    for (let bad = 0; bad < rows; bad++) {
      const { left, weights } = operands(rows, 64, 9, 14, 8);
      left.exponents[bad] = 122;
      weights.exponents.fill(-60);
      weights.exponents[(bad * 5) % 9] = 40;
      const found = await backend.run({ op: "matmul", left, leftBits: 14, weights });
      assert.deepEqual(found, { kind: "non-finite", row: bad });
    }
  }
  await backend.close();
});
