// Weights and activations as the kernels read them: bytes of mantissas in whole vectors of 16, scales and
// exponents in one word, in parts that fit a binding.

import { present } from "gyrotron/base";
import {
  type BfpRows,
  blocksOf,
  checkPackedMatrix,
  inOneForm,
  type PackedMatrix,
} from "gyrotron/tensor";
import type { WebGpuDevice } from "./device.ts";
import type { GpuBuffer } from "./gpu-interface.ts";
import type { Limbs } from "./kernels/activation.ts";

/** Bytes of one weight: 1 where 32 of them have a multiplier. */
export type WeightLimbs = 1 | 2;

/** Outputs `first` to `first + outputs - 1` of a matrix, on the device. */
export interface MatrixShard {
  readonly first: number;
  readonly outputs: number;
  readonly weights: GpuBuffer;
  readonly columns: GpuBuffer;
}

/** A matrix on the device, cut by outputs where one binding does not hold it. */
export interface DeviceMatrix {
  readonly inputs: number;
  readonly outputs: number;
  readonly limbs: WeightLimbs;
  /** Vectors of 16 bytes that a limb of one output has. */
  readonly vectors: number;
  readonly shards: readonly MatrixShard[];
}

/** Vectors of 16 bytes for so many mantissas. */
export function vectorsOf(inputs: number): number {
  return Math.ceil(inputs / 16);
}

/** One output of some matrix. */
interface Column {
  readonly matrix: PackedMatrix;
  readonly index: number;
}

/** Places matrices of equal inputs and widths below each other, or interleaved output by output. */
export function placeMatrices(
  device: WebGpuDevice,
  matrices: readonly PackedMatrix[],
  isInterleaved = false,
): DeviceMatrix {
  for (const matrix of matrices) checkPackedMatrix(matrix);
  const placed = inOneForm(matrices, [8, 14]);
  const { inputs, bits } = present(placed[0]);
  const limbs: WeightLimbs = bits === 8 ? 1 : 2;
  const vectors = vectorsOf(inputs);
  const columns = isInterleaved ? interleaved(placed) : placed.flatMap(columnsOf);
  // Behind weights of one byte stand the multipliers, one byte each.
  const bytesOfColumn = 16 * (limbs === 1 ? vectors + Math.ceil(vectors / 32) : 2 * vectors);
  // Pairs of interleaved outputs stay together.
  const most = Math.max(2, Math.floor(device.shardBytesMax / bytesOfColumn / 2) * 2);
  const shards: MatrixShard[] = [];
  for (let first = 0; first < columns.length; first += most) {
    const part = columns.slice(first, first + most);
    const bytes = new Int8Array(part.length * bytesOfColumn);
    part.forEach(({ matrix, index }, i) => {
      const row = matrix.mantissas.subarray(index * inputs, (index + 1) * inputs);
      const at = i * bytesOfColumn;
      writeLimbs(row, limbs, vectors, bytes, at);
      if (limbs === 2) return;
      const blocks = blocksOf(inputs);
      const scales = bytes.subarray(at + vectors * 16, at + vectors * 16 + blocks);
      const { blockScales } = matrix;
      if (blockScales === undefined) scales.fill(1);
      else scales.set(blockScales.subarray(index * blocks, (index + 1) * blocks));
    });
    const words = Uint32Array.from(part, ({ matrix, index }) => {
      const exponent = present(matrix.exponents[index]);
      return ((exponent << 16) | present(matrix.scales[index])) >>> 0;
    });
    const weights = device.upload(bytes);
    shards.push({ first, outputs: part.length, weights, columns: device.upload(words) });
  }
  return { inputs, outputs: columns.length, limbs, vectors, shards };
}

/** Frees a matrix. */
export function freeMatrix(matrix: DeviceMatrix): void {
  for (const { weights, columns } of matrix.shards) {
    weights.destroy();
    columns.destroy();
  }
}

/** Rows of mantissas as `prepareShader` leaves them. */
export function packRows(rows: BfpRows, limbs: Limbs): Int8Array<ArrayBuffer> {
  const vectors = vectorsOf(rows.columns);
  const bytesOfRow = vectors * 16 * limbs;
  const bytes = new Int8Array(rows.exponents.length * bytesOfRow);
  for (let r = 0; r < rows.exponents.length; r++) {
    const row = rows.mantissas.subarray(r * rows.columns, (r + 1) * rows.columns);
    writeLimbs(row, limbs, vectors, bytes, r * bytesOfRow);
  }
  return bytes;
}

function columnsOf(matrix: PackedMatrix): Column[] {
  return Array.from({ length: matrix.outputs }, (_, index) => ({ matrix, index }));
}

function interleaved(matrices: readonly PackedMatrix[]): Column[] {
  const { outputs } = present(matrices[0]);
  return Array.from({ length: outputs }, (_, index) =>
    matrices.map((matrix) => ({ matrix, index })),
  ).flat();
}

function writeLimbs(
  row: Int32Array | PackedMatrix["mantissas"],
  limbs: Limbs,
  vectors: number,
  bytes: Int8Array,
  at: number,
): void {
  if (limbs === 1) {
    bytes.set(row, at);
    return;
  }
  const plane = vectors * 16;
  for (let i = 0; i < row.length; i++) {
    let rest = row[i]!;
    for (let k = 0; k + 1 < limbs; k++) {
      const upper = (rest + 64) >> 7;
      // The last two bytes of 15 bits: 16383 is 127 * 128 + 127.
      const carried = k + 2 === limbs ? Math.min(upper, 127) : upper;
      bytes[at + k * plane + i] = rest - (carried << 7);
      rest = carried;
    }
    bytes[at + (limbs - 1) * plane + i] = rest;
  }
}
