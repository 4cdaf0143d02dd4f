// Admission of native kernels: before a device uses them, products, attention and gates run on it natively and in
// Wasm, and every byte must be equal. Shapes are small; values are such that sums leave 32 bits and results f32.

import { attentionScale } from "gyrotron/numerics";
import {
  blocksOf,
  LEVEL_MAX,
  LEVEL_WEIGHT_MAX,
  mantissaMax,
  type MatrixBits,
  type OpCall,
  type PackedMatrix,
  TensorError,
} from "gyrotron/tensor";
import { CaseValues } from "../case-values.ts";
import type { WasmDevice } from "./device.ts";
import {
  attentionScratchBytes,
  CACHE_HEADER_BYTES,
  cacheBytes,
  encodeProgram,
  type KernelCall,
} from "./layout.ts";
import { productScratchBytes } from "./pack.ts";
import { runSingleOp } from "./single-op.ts";

type Product = Extract<OpCall, { op: "matmul" }>;

interface ProductShape {
  readonly rows: number;
  readonly inputs: number;
  readonly outputs: number;
  readonly leftBits: number;
  readonly bits: MatrixBits;
}

/** One, two and more rows; inputs and outputs that fill no block, group or tile. */
const PRODUCTS: readonly ProductShape[] = [
  { rows: 1, inputs: 1, outputs: 1, leftBits: 8, bits: 8 },
  { rows: 1, inputs: 201, outputs: 35, leftBits: 14, bits: 8 },
  { rows: 1, inputs: 133, outputs: 23, leftBits: 15, bits: 14 },
  { rows: 2, inputs: 100, outputs: 33, leftBits: 14, bits: 8 },
  { rows: 2, inputs: 64, outputs: 9, leftBits: 16, bits: 14 },
  { rows: 3, inputs: 37, outputs: 50, leftBits: 8, bits: 8 },
  { rows: 15, inputs: 40, outputs: 82, leftBits: 14, bits: 8 },
  { rows: 15, inputs: 68, outputs: 50, leftBits: 16, bits: 14 },
  { rows: 25, inputs: 136, outputs: 82, leftBits: 14, bits: 8 },
  { rows: 34, inputs: 40, outputs: 34, leftBits: 14, bits: 14 },
  { rows: 1, inputs: 224, outputs: 35, leftBits: 14, bits: 4 },
  { rows: 2, inputs: 96, outputs: 9, leftBits: 14, bits: 4 },
  { rows: 15, inputs: 32, outputs: 82, leftBits: 16, bits: 4 },
  { rows: 25, inputs: 160, outputs: 35, leftBits: 14, bits: 4 },
];

interface AttentionShape {
  readonly rows: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headSize: number;
  /** Before the first row's. */
  readonly positions: number;
  readonly exponents: readonly [number, number];
}

/** Heads that share keys or do not; scores that are flat, which makes large sums, and steep. */
const ATTENTIONS: readonly AttentionShape[] = [
  { rows: 1, heads: 3, kvHeads: 1, headSize: 64, positions: 0, exponents: [-12, -10] },
  { rows: 18, heads: 3, kvHeads: 1, headSize: 64, positions: 37, exponents: [-14, -11] },
  { rows: 5, heads: 4, kvHeads: 3, headSize: 46, positions: 50, exponents: [-40, -39] },
  { rows: 2, heads: 2, kvHeads: 2, headSize: 128, positions: 33, exponents: [-10, 10] },
];

/** More than any of these has. */
const POSITIONS_MAX = 1024;

/** Runs both kinds of kernels on a device that has both. @throws TensorError `tensor/native-differs` */
export function checkNative(device: WasmDevice): void {
  // Scratch stays, and so must not be what is released.
  device.reserveScratch(Math.max(productScratchBytes(0), attentionScratchBytes(POSITIONS_MAX)));
  const { mark } = device;
  for (const shape of PRODUCTS) {
    const name = `product of ${shape.bits} bits, ${shape.rows} rows`;
    const draw = new CaseValues(`native ${JSON.stringify(shape)}`);
    for (const call of [randomProduct(draw, shape), largestProduct(shape)])
      compare(device, name, () => bytesOf(runSingleOp(device, call)));
  }
  for (const shape of ATTENTIONS) {
    const draw = new CaseValues(`native ${JSON.stringify(shape)}`);
    const run = placeAttention(device, draw, shape);
    compare(device, `attention of ${shape.rows} rows`, run);
  }
  compare(device, "gate", placeGate(device, new CaseValues("native gate")));
  device.release(mark);
}

/** @throws TensorError `tensor/native-differs` */
function compare(device: WasmDevice, what: string, run: () => Uint8Array): void {
  const results = [0, 1].map((native) => {
    device.setWord(device.control("native"), native);
    return run();
  });
  const [wasm, native] = results as [Uint8Array, Uint8Array];
  if (wasm.length === native.length && wasm.every((byte, i) => byte === native[i])) return;
  throw new TensorError({ code: "tensor/native-differs", what });
}

/** What an op gave, as bytes. */
function bytesOf(result: ReturnType<typeof runSingleOp>): Uint8Array {
  if (result.kind === "f32") return new Uint8Array(result.values.buffer);
  return Uint8Array.of(result.kind === "non-finite" ? result.row : 0);
}

function randomProduct(draw: CaseValues, shape: ProductShape): Product {
  const { rows, inputs, outputs, leftBits, bits } = shape;
  return {
    op: "matmul",
    left: draw.bfp(rows, inputs, leftBits, [-30, 10]),
    leftBits,
    weights:
      bits === 4
        ? draw.levels(outputs, inputs, [-20, 10])
        : draw.matrix(outputs, inputs, bits, [-20, 10]),
  };
}

/** The largest sums there are, of either sign; the last row's and column's exponents leave f32. */
function largestProduct({ rows, inputs, outputs, leftBits, bits }: ProductShape): Product {
  const weights: PackedMatrix = {
    ...{ outputs, inputs, bits },
    ...largestWeights(outputs, inputs, bits),
    scales: new Uint8Array(outputs).fill(255),
    exponents: Int16Array.from({ length: outputs }, (_, c) => (c + 1 === outputs ? 50 : -9)),
  };
  const left = {
    columns: inputs,
    mantissas: new Int32Array(rows * inputs).fill(mantissaMax(leftBits)),
    exponents: Int32Array.from({ length: rows }, (_, r) => (r + 1 === rows && r > 1 ? 60 : -3)),
  };
  return { op: "matmul", left, leftBits, weights };
}

/** As large as they get; every third column's below zero. */
function largestWeights(
  outputs: number,
  inputs: number,
  bits: MatrixBits,
): Pick<PackedMatrix, "mantissas" | "blockScales" | "blockOffsets"> {
  const isBelow = (column: number): boolean => column % 3 === 0;
  const blocks = blocksOf(inputs);
  const length = outputs * inputs;
  if (bits === 4) {
    const step = 1092;
    const highest = LEVEL_WEIGHT_MAX - LEVEL_MAX * step;
    return {
      mantissas: Uint8Array.from({ length: length / 2 }, (_, i) =>
        isBelow(Math.floor((2 * i) / inputs)) ? 0 : 255,
      ),
      blockScales: new Uint16Array(outputs * blocks).fill(step),
      blockOffsets: Int16Array.from({ length: outputs * blocks }, (_, i) =>
        isBelow(Math.floor(i / blocks)) ? -LEVEL_WEIGHT_MAX : highest,
      ),
    };
  }
  const most = mantissaMax(bits);
  const weight = (_: unknown, i: number): number =>
    isBelow(Math.floor(i / inputs)) ? -most : most;
  if (bits === 14) return { mantissas: Int16Array.from({ length }, weight) };
  return {
    mantissas: Int8Array.from({ length }, weight),
    blockScales: new Uint8Array(outputs * blocks).fill(64),
  };
}

/** Rows of one sequence that attend to what came before; returns how to run them. */
function placeAttention(
  device: WasmDevice,
  draw: CaseValues,
  shape: AttentionShape,
): () => Uint8Array {
  const { rows, heads, kvHeads, headSize, positions, exponents } = shape;
  const padded = Math.ceil(headSize / 8) * 8;
  const capacity = (positions + rows + 1) & ~1;
  const mantissas = (count: number, unit: number): Int16Array =>
    Int16Array.from({ length: count * unit }, (_, i) =>
      i % unit < headSize ? draw.integer(-4095, 4095) : 0,
    );
  const scales = (count: number): Int32Array =>
    Int32Array.from({ length: count }, () => draw.integer(...exponents));
  const cache = device.allocate(cacheBytes({ layers: 1, kvHeads, padded, capacity }));
  device.setWord(cache, capacity);
  const keys = cache + CACHE_HEADER_BYTES;
  const half = kvHeads * capacity * padded * 2;
  device.write(keys, mantissas(kvHeads * capacity, padded));
  // The values of two positions stand side by side; they are as large as they get.
  device.write(keys + half, new Int16Array(half / 2).fill(4095));
  device.write(keys + 2 * half, scales(2 * kvHeads * capacity));
  const scale = attentionScale(headSize);
  const out = device.allocate(rows * heads * headSize * 4);
  const words = [
    ...[device.place(mantissas(rows * heads, padded)), device.place(scales(rows * heads))],
    ...[heads, kvHeads, headSize, padded, scale.mantissa, scale.exponent, out, 0],
  ];
  const places = Uint32Array.from({ length: rows }, (_, r) => positions + r);
  const at = {
    positions: device.place(places),
    caches: device.place(new Uint32Array(rows).fill(cache)),
  };
  return () => {
    device.setWord(device.control("positions"), at.positions);
    device.setWord(device.control("caches"), at.caches);
    return runCall(device, { op: "attend", words }, rows, {
      at: out,
      words: rows * heads * headSize,
    });
  };
}

function placeGate(device: WasmDevice, draw: CaseValues): () => Uint8Array {
  const [rows, n] = [3, 77];
  const x = device.place(
    Float32Array.of(...draw.moderate(2 * n), ...draw.wild(2 * n), ...draw.spread(2 * n, 100, 140)),
  );
  const out = device.allocate(rows * n * 4);
  const words = [x, 2 * n, n, n, out, 5];
  return () => runCall(device, { op: "gate", words }, rows, { at: out, words: rows * n });
}

/** Runs a call; its output and status, as bytes. */
function runCall(
  device: WasmDevice,
  call: Pick<KernelCall, "op" | "words">,
  count: number,
  output: { at: number; words: number },
): Uint8Array {
  const rows = device.control("rows");
  const status = device.allocate(count * 4);
  device.resetStatus(status, count);
  device.setWord(rows, count);
  device.words(output.at, output.words).fill(0);
  device.run(device.place(encodeProgram([{ ...call, rows, status }])), 1);
  return new Uint8Array(
    Int32Array.of(...device.readI32(output.at, output.words), ...device.readI32(status, count))
      .buffer,
  );
}
