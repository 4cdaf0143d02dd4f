// Prepared weights in device memory, in the order of kernels/pack.as.ts: groups of four columns, columns padded
// to a multiple of 4 and k to a multiple of 8 with zeros. Mantissas take 4, 8 or 16 bits each.

import { assert, present } from "gyrotron/base";
import { powerOfTwo } from "gyrotron/numerics";
import {
  BLOCK_SIZE,
  checkPackedMatrix,
  inOneForm,
  mantissaMax,
  type MatrixBits,
  type PackedMatrix,
} from "gyrotron/tensor";
import type { WasmDevice } from "./device.ts";
import { encodeProgram, RECORD_WORDS, roundUp } from "./layout.ts";

/** How many blocks fit a lane, for the rows of a product (kernels/spill.as.ts). */
const SPILLS_BYTES = 65536;
/** Scratch of products of up to 8192 inputs. */
export const PRODUCT_SCRATCH_BYTES: number = 131072 + SPILLS_BYTES;
/** Mantissas that are copied before they are put in order, at most, unless a group has more. */
const STAGED_BYTES = 1 << 20;
/** Blocks of the windows that the kernel finds sums of squares of. */
const WINDOWS: readonly number[] = Array.from({ length: 14 }, (_, j) => [
  2 ** j,
  3 * 2 ** j,
]).flat();
const SUM_MAX = 2 ** 31 - 1;
/** The unit of sums of squares. */
const SQUARES_UNIT = 4096;
/** Largest magnitudes of a weight: of 14 bits, which levels take, and of 8 bits times a multiplier. */
const WEIGHT_MAX = 8191;
const SCALED_MAX = 127 * 64;
/** Bytes of a mantissa, and of what each 32 k of a column have besides. */
const MANTISSA_BYTES = { 4: 0.5, 8: 1, 14: 2 };
const FACTOR_BYTES = { 4: 4, 8: 1, 14: 0 };

/** A matrix in device memory. */
export interface DeviceMatrix {
  readonly address: number;
  /** For each 32 k of a column a byte, or of levels two u16: multiplier and offset. */
  readonly multipliers: number;
  /** One binary64 `D * 2^e` per padded column. */
  readonly scales: number;
  readonly blocks: number;
  readonly groups: number;
  readonly bits: MatrixBits;
  /** For each of `WINDOWS`, a binary64: the largest sum of a row's squares over so many blocks whose products fit a lane. */
  readonly limits: number;
}

/** Scratch of a product: two groups of columns, widened to i16. */
export function productScratchBytes(inputs: number): number {
  return Math.max(PRODUCT_SCRATCH_BYTES, roundUp(inputs, 8) * 16 + SPILLS_BYTES);
}

/** Places matrices with equal inputs side by side as one. Sees to scratch for their products. */
export function placeMatrices(device: WasmDevice, sources: readonly PackedMatrix[]): DeviceMatrix {
  for (const matrix of sources) checkPackedMatrix(matrix);
  const matrices = inOneForm(sources, [4, 8, 14]);
  const { inputs, bits } = present(matrices[0]);
  const outputs = matrices.reduce((sum, matrix) => sum + matrix.outputs, 0);
  const blocks = roundUp(inputs, 8) / 8;
  const groups = roundUp(outputs, 4) / 4;
  const scales = new Float64Array(groups * 4);
  let column = 0;
  for (const matrix of matrices) {
    assert(matrix.inputs === inputs && matrix.bits === bits, "matrices side by side must match");
    for (let c = 0; c < matrix.outputs; c++, column++)
      scales[column] = matrix.scales[c]! * powerOfTwo(matrix.exponents[c]!);
  }
  device.reserveScratch(productScratchBytes(inputs));
  const columnBytes = blocks * 8 * MANTISSA_BYTES[bits];
  const factorBytes = Math.ceil(inputs / BLOCK_SIZE) * FACTOR_BYTES[bits];
  const placed = {
    address: device.allocateUnset(groups * 4 * columnBytes),
    multipliers: factorBytes > 0 ? device.allocateUnset(groups * 4 * factorBytes) : 0,
    scales: device.place(scales),
    limits: device.allocateUnset(WINDOWS.length * 8),
    ...{ blocks, groups, bits },
  };
  const mark = device.mark;
  const squares = packGroups(device, matrices, placed, { columnBytes, factorBytes });
  device.release(mark);
  device.write(placed.limits, limitsOf(squares, blocks));
  return placed;
}

/** Bytes of a column's mantissas, and of its multipliers and offsets. */
interface ColumnSize {
  readonly columnBytes: number;
  readonly factorBytes: number;
}

/**
 * Copies columns to where the kernel takes them from, some groups at a time. Returns for each of `WINDOWS` the
 * largest sum of a column's squares over so many blocks, in `SQUARES_UNIT`.
 */
function packGroups(
  device: WasmDevice,
  matrices: readonly PackedMatrix[],
  target: DeviceMatrix,
  size: ColumnSize,
): number[] {
  const { columnBytes, factorBytes } = size;
  const { blocks, groups, bits } = target;
  const step = Math.min(groups, Math.max(1, Math.floor(STAGED_BYTES / (4 * columnBytes))));
  const staged = device.allocateUnset(step * 4 * columnBytes);
  const stagedFactors = device.allocateUnset(step * 4 * factorBytes);
  const program = device.allocateUnset(RECORD_WORDS * 4);
  const sums = device.place(new Int32Array(device.threads * WINDOWS.length * 4));
  for (let group = 0; group < groups; group += step) {
    const count = Math.min(step, groups - group);
    stage(device, matrices, { from: group * 4, count: count * 4, staged, stagedFactors, ...size });
    const words = [
      ...[staged, stagedFactors, target.address + group * 4 * columnBytes],
      ...[target.multipliers + group * 4 * factorBytes, blocks, count, bits, sums],
    ];
    device.write(program, encodeProgram([{ op: "pack", rows: device.control("rows"), words }]));
    device.run(program, 1);
  }
  // The kernel stops at the first window that holds all.
  const found = WINDOWS.map(() => 0);
  device.readI32(sums, device.threads * WINDOWS.length * 4).forEach((sum, i) => {
    const window = (i >> 2) % WINDOWS.length;
    found[window] = Math.max(found[window]!, sum);
  });
  const total = Math.max(...found);
  return WINDOWS.map((window, i) => (window < blocks ? found[i]! : total));
}

/** The limits of a matrix, see kernels/spill.as.ts. */
function limitsOf(squares: readonly number[], blocks: number): Float64Array {
  return Float64Array.from(WINDOWS, (window, i) => {
    const most = present(squares[i]) * SQUARES_UNIT;
    // A little less, as this is rounded.
    return (sumMax(window < blocks) ** 2 / most) * (1 - 2 ** -40);
  });
}

/** What products may add up to in a lane; one that goes on holds the lower half of what was there before. */
function sumMax(goesOn: boolean): number {
  return SUM_MAX - (goesOn ? 65535 : 0);
}

/** Where columns `from` to `from + count` of matrices side by side are copied to. */
interface Staging extends ColumnSize {
  readonly from: number;
  readonly count: number;
  readonly staged: number;
  readonly stagedFactors: number;
}

/** Copies columns of matrices side by side, padded with zeros, and their multipliers. */
function stage(device: WasmDevice, matrices: readonly PackedMatrix[], to: Staging): void {
  const { columnBytes, factorBytes } = to;
  const { inputs, bits } = present(matrices[0]);
  const bytes = inputs * MANTISSA_BYTES[bits];
  const isPadded = bytes < columnBytes;
  const columns = matrices.reduce((sum, { outputs }) => sum + outputs, 0);
  const words = device.words(to.staged, (to.count * columnBytes) / 4);
  if (isPadded || to.from + to.count > columns) words.fill(0);
  device.words(to.stagedFactors, (to.count * factorBytes) / 4).fill(bits === 8 ? 0x01010101 : 0);
  let start = to.from;
  for (const matrix of matrices) {
    const { outputs } = matrix;
    const first = Math.max(start, 0);
    const end = Math.min(start + to.count, outputs);
    // Columns without padding are copied at once.
    const run = isPadded ? 1 : Math.max(end - first, 1);
    for (let c = first; c < end; c += run) {
      const at = to.staged + (c - start) * columnBytes;
      const target = new Uint8Array(words.buffer, at, run * bytes);
      if (matrix.readRows === undefined)
        target.set(bytesOf(matrix.mantissas, c * bytes, run * bytes));
      else matrix.readRows(c, target);
    }
    if (first < end) stageFactors(device, matrix, to, { first, end, start });
    start -= outputs;
  }
}

/** Copies multipliers; those of levels are followed, after those of all columns, by the offsets. */
function stageFactors(
  device: WasmDevice,
  { inputs, bits, blockScales, blockOffsets }: PackedMatrix,
  to: Staging,
  { first, end, start }: { first: number; end: number; start: number },
): void {
  const chunks = Math.ceil(inputs / BLOCK_SIZE);
  const bytes = chunks * (bits === 4 ? 2 : 1);
  const at = to.stagedFactors + (first - start) * bytes;
  const part = [first * chunks, end * chunks] as const;
  if (blockScales !== undefined) device.write(at, blockScales.subarray(...part));
  if (blockOffsets !== undefined)
    device.write(at + to.count * bytes, blockOffsets.subarray(...part));
}

function bytesOf(
  { buffer, byteOffset }: ArrayBufferView,
  from: number,
  length: number,
): Uint8Array {
  return new Uint8Array(buffer, byteOffset + from, length);
}

/** Words 4.. of a matmul record. */
export function matmulWords(call: {
  left: number;
  exponents: number;
  leftBits: number;
  matrix: DeviceMatrix;
  out: number;
  op: number;
  second?: number;
  third?: number;
}): number[] {
  const { matrix } = call;
  const most = mantissaMax(call.leftBits);
  const spill = Math.floor(sumMax(true) / (8 * most * WEIGHT_MAX));
  const isDirect = BLOCK_SIZE * most * SCALED_MAX <= SUM_MAX;
  assert(spill >= 1, "a block of products fits a lane");
  return [
    ...[call.left, call.exponents, matrix.address, matrix.scales, matrix.blocks, matrix.groups],
    ...[spill, matrix.bits, call.out, matrix.groups * 4],
    ...[call.op, call.second ?? 0x7fffffff, call.third ?? 0x7fffffff],
    ...[matrix.multipliers, isDirect ? 1 : 0, matrix.limits],
  ];
}
