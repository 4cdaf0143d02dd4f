// Weights and activations as the kernels read them: bytes of mantissas in whole vectors of 16, scales and
// exponents in one word, in parts that fit a binding.

import { present } from "gyrotron/base";
import { type BfpRows, checkPackedMatrix, type PackedMatrix } from "gyrotron/tensor";
import type { WebGpuDevice } from "./device.ts";
import type { GpuBuffer } from "./gpu-interface.ts";

/** Bytes of one mantissa. */
export type Limbs = 1 | 2;

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
  readonly limbs: Limbs;
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
  const { inputs, bits } = present(matrices[0]);
  const limbs: Limbs = bits === 8 ? 1 : 2;
  const vectors = vectorsOf(inputs);
  const columns = isInterleaved ? interleaved(matrices) : matrices.flatMap(columnsOf);
  const bytesOfColumn = vectors * 16 * limbs;
  // Pairs of interleaved outputs stay together.
  const most = Math.max(2, Math.floor(device.shardBytesMax / bytesOfColumn / 2) * 2);
  const shards: MatrixShard[] = [];
  for (let first = 0; first < columns.length; first += most) {
    const part = columns.slice(first, first + most);
    const bytes = new Int8Array(part.length * bytesOfColumn);
    part.forEach(({ matrix, index }, i) => {
      const row = matrix.mantissas.subarray(index * inputs, (index + 1) * inputs);
      writeLimbs(row, limbs, vectors, bytes, i * bytesOfColumn);
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
  row: Int8Array | Int16Array | Int32Array,
  limbs: Limbs,
  vectors: number,
  bytes: Int8Array,
  at: number,
): void {
  if (limbs === 1) {
    bytes.set(row, at);
    return;
  }
  const high = at + vectors * 16;
  for (let i = 0; i < row.length; i++) {
    const m = row[i]!;
    const upper = (m + 64) >> 7;
    bytes[at + i] = m - (upper << 7);
    bytes[high + i] = upper;
  }
}
