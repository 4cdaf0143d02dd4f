// Every path of the products (one row or four; weights as they are or widened; sums within i32 or carried beyond)
// gives the exact sum rounded once, for any number of rows and columns, whatever the multipliers of blocks are.

import assert from "node:assert/strict";
import test from "node:test";
import { WasmDevice } from "./device.ts";
import { createWasmBackend } from "./index.ts";
import { matmulWords, placeMatrices } from "./pack.ts";
import type { BfpRows, PackedMatrix } from "gyrotron/tensor";

const ROWS_MAX = 9;

/** Mantissas that take both ends of their range often, as sums near the bounds do. */
function mantissa(i: number, bits: number): number {
  const top = 2 ** (bits - 1) - 1;
  if (i % 3 === 0) return top;
  if (i % 7 === 0) return -top;
  return ((i * 7919) % (2 * top + 1)) - top;
}

interface Shape {
  readonly rows: number;
  readonly inputs: number;
  readonly outputs: number;
  readonly leftBits: number;
  readonly bits: 8 | 14;
  /** Whether weights of 8 bits have multipliers. */
  readonly blocks: boolean;
}

/** The first column and the first row are all tops: the largest sum that the shape allows. */
function operands(shape: Shape): { left: BfpRows; weights: PackedMatrix } {
  const { rows, inputs, outputs, leftBits, bits, blocks } = shape;
  const mantissas = bits === 8 ? new Int8Array(inputs * outputs) : new Int16Array(inputs * outputs);
  mantissas.forEach((_, i) => {
    mantissas[i] = i < inputs ? 2 ** (bits - 1) - 1 : mantissa(i, bits);
  });
  const left = Int32Array.from({ length: rows * inputs }, (_, i) =>
    i < inputs ? 2 ** (leftBits - 1) - 1 : mantissa(i + 1, leftBits),
  );
  const chunks = Math.ceil(inputs / 32);
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
      ...(blocks && {
        blockScales: Uint8Array.from({ length: outputs * chunks }, (_, i) =>
          i < chunks ? 64 : 1 + ((i * 7919) % 64),
        ),
      }),
    },
  };
}

function expected(left: BfpRows, weights: PackedMatrix): Float32Array {
  const { inputs, outputs, blockScales } = weights;
  const chunks = Math.ceil(inputs / 32);
  const wide = weights.mantissas.length * left.exponents.length < 1e6;
  return Float32Array.from({ length: left.exponents.length * outputs }, (_, at) => {
    const r = Math.floor(at / outputs);
    const c = at % outputs;
    const product = (k: number): number =>
      left.mantissas[r * inputs + k]! *
      weights.mantissas[c * inputs + k]! *
      (blockScales?.[c * chunks + (k >> 5)] ?? 1);
    const sum = wide ? bigSum(inputs, product) : plainSum(inputs, product);
    return sum * weights.scales[c]! * 2 ** (left.exponents[r]! + weights.exponents[c]!);
  });
}

function bigSum(count: number, product: (k: number) => number): number {
  let sum = 0n;
  for (let k = 0; k < count; k++) sum += BigInt(product(k));
  return Number(sum);
}

/** An integer below 2^53 whatever the order, so binary64 computes it exactly. */
function plainSum(count: number, product: (k: number) => number): number {
  let sum = 0;
  for (let k = 0; k < count; k++) sum += product(k);
  return sum;
}

for (const [leftBits, bits, blocks] of [
  [8, 8, false],
  [14, 8, false],
  [8, 8, true],
  [14, 8, true],
  [15, 8, true],
  [16, 8, true],
  [14, 14, false],
  [15, 14, false],
  [16, 14, false],
] as const) {
  const name = `w${bits}a${leftBits}${blocks ? " with multipliers" : ""}`;
  test(`${name}: products of 1 to ${ROWS_MAX} rows are exact`, async () => {
    const backend = await createWasmBackend({ threads: 2 });
    // 2064 inputs of w8a14 without multipliers are the last whose sums fit 32 bits.
    for (const [inputs, outputs] of [
      [1, 1],
      [31, 5],
      [33, 8],
      [264, 13],
      [2064, 6],
      [2065, 9],
    ] as const) {
      for (let rows = 1; rows <= ROWS_MAX; rows++) {
        const { left, weights } = operands({ rows, inputs, outputs, leftBits, bits, blocks });
        const result = await backend.run({ op: "matmul", left, leftBits, weights });
        assert.equal(result.kind, "f32");
        assert.deepEqual(result.kind === "f32" && result.values, expected(left, weights));
      }
    }
    await backend.close();
  });
}

test("the largest contractions are exact", async () => {
  const backend = await createWasmBackend();
  for (const [leftBits, bits] of [
    [14, 8],
    [16, 8],
    [16, 14],
  ] as const) {
    for (const rows of [1, 5]) {
      const shape = { rows, inputs: 65536, outputs: 2, leftBits, bits, blocks: bits === 8 };
      const { left, weights } = operands(shape);
      const result = await backend.run({ op: "matmul", leftBits, left, weights });
      assert.deepEqual(result.kind === "f32" && result.values, expected(left, weights));
    }
  }
  // The scratch that they took is still there for a smaller one.
  const small = operands({ rows: 4, inputs: 40, outputs: 8, leftBits: 14, bits: 8, blocks: true });
  const result = await backend.run({ op: "matmul", leftBits: 14, ...small });
  assert.deepEqual(result.kind === "f32" && result.values, expected(small.left, small.weights));
  await backend.close();
});

test("sums are carried as often as the weights at hand ask for, wherever the large ones are", async () => {
  const backend = await createWasmBackend();
  const inputs = 1200;
  for (let large = 0; large < inputs; large += 56) {
    for (const bits of [8, 14] as const) {
      const shape = { rows: 4, inputs, outputs: 4, leftBits: 16, bits, blocks: bits === 8 };
      const { left, weights } = operands(shape);
      left.mantissas.fill(32767);
      weights.mantissas.fill(1);
      weights.blockScales?.fill(1);
      const top = 2 ** (bits - 1) - 1;
      for (let column = 0; column < 4; column++) {
        const at = column * inputs + Math.min(large + column * 8, inputs - 64);
        weights.mantissas.fill(column % 2 === 0 ? top : -top, at, at + 64);
      }
      weights.blockScales?.fill(64, 0, 38);
      const result = await backend.run({ op: "matmul", leftBits: 16, left, weights });
      assert.deepEqual(result.kind === "f32" && result.values, expected(left, weights));
    }
  }
  await backend.close();
});

test("sums are carried as often as the rows at hand ask for, wherever the large ones are", async () => {
  const backend = await createWasmBackend();
  const inputs = 600;
  for (const [leftBits, bits, most] of [
    [14, 8, 8191],
    [14, 14, 8191],
    [16, 14, 32767],
    // By squares 16 of these and 24 weights fit a lane, 24 of these or 32 weights do not.
    [16, 14, 12000],
  ] as const) {
    for (let large = 0; large < inputs; large += 20) {
      for (const length of [24, 40, 200]) {
        const shape = { rows: 6, inputs, outputs: 4, leftBits, bits, blocks: bits === 8 };
        const { left, weights } = operands(shape);
        left.mantissas.fill(0);
        weights.mantissas.fill(0);
        weights.blockScales?.fill(64);
        const end = Math.min(large + length, inputs);
        // One row of each tile is large, and one column: the others must not hide them.
        for (const row of [2, 5]) {
          left.mantissas.fill(most, row * inputs + large, row * inputs + end);
        }
        weights.mantissas.fill(1 - 2 ** (bits - 1), 3 * inputs + large, 3 * inputs + end);
        weights.mantissas.fill(2 ** (bits - 1) - 1, inputs + 256, inputs + 288);
        const result = await backend.run({ op: "matmul", leftBits, left, weights });
        assert.deepEqual(result.kind === "f32" && result.values, expected(left, weights));
      }
    }
  }
  await backend.close();
});

test("a row that is not finite is found in every tile", async () => {
  const backend = await createWasmBackend();
  for (let rows = 1; rows <= ROWS_MAX; rows++) {
    for (let bad = 0; bad < rows; bad++) {
      const shape = { rows, inputs: 64, outputs: 9, leftBits: 14, bits: 8, blocks: true } as const;
      const { left, weights } = operands(shape);
      left.exponents[bad] = 122;
      weights.exponents.fill(-60);
      weights.exponents[(bad * 5) % 9] = 40;
      const found = await backend.run({ op: "matmul", left, leftBits: 14, weights });
      assert.deepEqual(found, { kind: "non-finite", row: bad });
    }
  }
  await backend.close();
});

/** The integers of levels: what `q * m + o` is for each weight. */
interface Levels {
  readonly inputs: number;
  readonly outputs: number;
  readonly level: (column: number, k: number) => number;
  /** Multiplier and offset of a block. */
  readonly factors: (column: number, block: number) => readonly [number, number];
}

/** A matrix of levels, and the same with 14 bits, weight by weight. */
function levelMatrix({ inputs, outputs, level, factors }: Levels): {
  levels: PackedMatrix;
  wide: PackedMatrix;
} {
  const chunks = inputs / 32;
  const mantissas = new Uint8Array((inputs * outputs) / 2);
  const blockScales = new Uint16Array(chunks * outputs);
  const blockOffsets = new Int16Array(chunks * outputs);
  const wide = new Int16Array(inputs * outputs);
  for (let c = 0; c < outputs; c++) {
    for (let k = 0; k < inputs; k++) {
      const block = c * chunks + (k >> 5);
      const [m, o] = factors(c, k >> 5);
      blockScales[block] = m;
      blockOffsets[block] = o;
      const i = c * inputs + k;
      mantissas[i >> 1]! |= level(c, k) << (4 * (i & 1));
      wide[i] = level(c, k) * m + o;
    }
  }
  const scales = Uint8Array.from({ length: outputs }, (_, c) => 128 + ((c * 37) % 128));
  const exponents = Int16Array.from({ length: outputs }, (_, c) => (c % 5) - 9);
  const frame = { inputs, outputs, scales, exponents };
  return {
    levels: { ...frame, bits: 4, mantissas, blockScales, blockOffsets },
    wide: { ...frame, bits: 14, mantissas: wide },
  };
}

/** Ends of the ranges of levels, multipliers and offsets, and much between. */
function mixedLevels(inputs: number, outputs: number): Levels {
  return {
    ...{ inputs, outputs },
    level: (c, k) => (k % 3 === 0 ? 15 : k % 7 === 0 ? 0 : (c * 31 + k * 7919) % 16),
    factors: (c, block) => {
      const i = c * 37 + block;
      const m = i % 5 === 0 ? 1092 : i % 11 === 0 ? 0 : (i * 7919) % 1093;
      const room = 2 * 8191 - 15 * m;
      return [m, -8191 + (i % 3 === 0 ? room : i % 4 === 0 ? 0 : (i * 104729) % (room + 1))];
    },
  };
}

/** Rows of the largest mantissas and some between. */
function mixedRows(rows: number, columns: number, bits: number): BfpRows {
  return {
    columns,
    mantissas: Int32Array.from({ length: rows * columns }, (_, i) => mantissa(i + 1, bits)),
    exponents: Int32Array.from({ length: rows }, (_, r) => -3 - r),
  };
}

for (const leftBits of [8, 14, 16]) {
  test(`w4a${leftBits}: products of levels are exact`, async () => {
    for (const threads of [1, 2]) {
      const backend = await createWasmBackend({ threads });
      for (const [inputs, outputs] of [
        [32, 1],
        [64, 3],
        [160, 5],
        [160, 9],
        [1536, 37],
        [8192, 9],
      ] as const) {
        const { levels, wide } = levelMatrix(mixedLevels(inputs, outputs));
        for (const rows of [1, 2, 3, 4, 5, 17]) {
          const left = mixedRows(rows, inputs, leftBits);
          const result = await backend.run({ op: "matmul", left, leftBits, weights: levels });
          assert.deepEqual(result.kind === "f32" && result.values, expected(left, wide));
        }
      }
      await backend.close();
    }
  });
}

test("levels with the largest sums are exact, of either sign", async () => {
  const backend = await createWasmBackend();
  for (const [inputs, leftBits] of [
    [1536, 14],
    [8224, 14],
    [8224, 16],
    [65536, 14],
    [65536, 16],
  ] as const) {
    const top = 2 ** (leftBits - 1) - 1;
    for (const [name, level, m, o] of [
      ["top", 15, 1092, -8189],
      ["bottom", 0, 1092, -8191],
      ["level alone", 15, 546, 0],
      ["offset alone", 15, 0, 8191],
      ["offset against level", 15, 1092, -8191],
    ] as const) {
      // The second column's products are all of one sign.
      const { levels, wide } = levelMatrix({
        ...{ inputs, outputs: 2, factors: () => [m, o] },
        level: (c, k) => (c === 0 || k % 2 === 0 ? level : 15 - level),
      });
      for (const rows of inputs === 65536 ? [1, 4] : [1, 2, 4]) {
        const left = mixedRows(rows, inputs, leftBits);
        left.mantissas.forEach((_, i) => {
          // The first row's add up to -1 modulo 1024 in each block.
          if (i < inputs) left.mantissas[i] = i % 32 === 0 ? top - 993 : top;
          else left.mantissas[i] = i % 2 === 1 ? -top : top;
        });
        const result = await backend.run({ op: "matmul", left, leftBits, weights: levels });
        assert.deepEqual(result.kind === "f32" && result.values, expected(left, wide), name);
      }
    }
  }
  await backend.close();
});

test("levels stand side by side with each other and with other weights", async () => {
  for (const others of [false, true]) {
    const device = await WasmDevice.create({ threads: 2 });
    // More columns than are staged at once; parts begin within a group of four.
    const inputs = 8192;
    const parts = [270, 9, 5].map((outputs) => levelMatrix(mixedLevels(inputs, outputs)));
    const sources = parts.map(({ levels }) => levels);
    const wide = parts.map(({ wide }) => wide);
    // One whose levels are read from a file, as far as this can tell.
    const { mantissas } = sources[1]!;
    sources[1] = {
      ...sources[1]!,
      mantissas: new Uint8Array(0),
      readRows: (first, target) =>
        target.set(mantissas.subarray(first * (inputs / 2), first * (inputs / 2) + target.length)),
    };
    if (others) {
      const shape = { rows: 1, inputs, outputs: 3, leftBits: 14, bits: 8, blocks: true } as const;
      const { weights } = operands(shape);
      // With other weights beside them levels are widened, which reads them whole.
      sources[1] = parts[1]!.levels;
      sources.push(weights);
      wide.push(weights);
    }
    const matrix = placeMatrices(device, sources);
    assert.equal(matrix.bits, others ? 14 : 4);
    for (const rows of [1, 2, 3]) {
      const left = mixedRows(rows, inputs, 14);
      const columns = matrix.groups * 4;
      const out = device.allocate(rows * columns * 4);
      const status = device.allocate(rows * 4);
      device.resetStatus(status, rows);
      const words = matmulWords({
        left: device.place(Int16Array.from(left.mantissas)),
        exponents: device.place(left.exponents),
        ...{ leftBits: 14, matrix, out, op: 0 },
      });
      device.setWord(device.control("rows"), rows);
      const call = { op: "matmul", rows: device.control("rows"), status, words } as const;
      device.run(device.placeProgram([call]), 1);
      const result = device.readF32(out, rows * columns);
      for (let r = 0; r < rows; r++) {
        let column = r * columns;
        for (const part of wide) {
          const one = {
            ...left,
            mantissas: left.mantissas.subarray(r * inputs, (r + 1) * inputs),
            exponents: left.exponents.subarray(r, r + 1),
          };
          const values = result.subarray(column, column + part.outputs);
          assert.deepEqual(values, expected(one, part));
          column += part.outputs;
        }
      }
    }
    await device.close();
  }
});
