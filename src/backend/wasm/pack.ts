// Prepared weights in the kernels' layout: groups of four columns, in each for every 8 k four times 8
// mantissas; columns padded to a multiple of 4 and k to a multiple of 8 with zeros. They take 8 or 16 bits each.

import { assert, present } from "gyrotron/base";
import { powerOfTwo } from "gyrotron/numerics";
import { checkPackedMatrix, mantissaMax, type PackedMatrix } from "gyrotron/tensor";
import type { WasmDevice } from "./device.ts";
import { roundUp } from "./layout.ts";

/** Scratch that makes products fast: a group of columns of up to 8192 inputs, widened to i16. */
export const PRODUCT_SCRATCH_BYTES: number = 65536;

/** A matrix in device memory. */
export interface DeviceMatrix {
  readonly address: number;
  /** One binary64 `D * 2^e` per padded column. */
  readonly scales: number;
  readonly blocks: number;
  readonly groups: number;
  readonly bits: number;
}

/** Places matrices with equal inputs side by side as one. */
export function placeMatrices(device: WasmDevice, matrices: readonly PackedMatrix[]): DeviceMatrix {
  for (const matrix of matrices) checkPackedMatrix(matrix);
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
  const place = inputs % 8 === 0 && outputs % 4 === 0 ? placeWhole : placePadded;
  const address = place(device, matrices, { blocks, groups, bits });
  return { address, scales: device.place(scales), blocks, groups, bits };
}

interface PackedSize {
  readonly blocks: number;
  readonly groups: number;
  readonly bits: number;
}

/** Places what has nothing to pad: eight mantissas at a time, straight into the device's memory. */
function placeWhole(
  device: WasmDevice,
  matrices: readonly PackedMatrix[],
  { blocks, groups, bits }: PackedSize,
): number {
  // Words that eight mantissas take.
  const run = bits === 8 ? 2 : 4;
  const address = device.allocateUnset(groups * blocks * 16 * run);
  const packed = device.words(address, groups * blocks * 4 * run);
  let column = 0;
  for (const { outputs, mantissas } of matrices) {
    const source = wordsOf(mantissas);
    let from = 0;
    for (let c = 0; c < outputs; c++, column++) {
      let to = ((column >> 2) * blocks * 4 + (column & 3)) * run;
      for (let block = 0; block < blocks; block++, to += 4 * run) {
        packed[to] = source[from++]!;
        packed[to + 1] = source[from++]!;
        if (run === 2) continue;
        packed[to + 2] = source[from++]!;
        packed[to + 3] = source[from++]!;
      }
    }
  }
  return address;
}

function placePadded(
  device: WasmDevice,
  matrices: readonly PackedMatrix[],
  { blocks, groups, bits }: PackedSize,
): number {
  const count = groups * blocks * 32;
  const packed = bits === 8 ? new Int8Array(count) : new Int16Array(count);
  let column = 0;
  for (const { outputs, inputs, mantissas } of matrices) {
    for (let c = 0; c < outputs; c++, column++) {
      const target = (column >> 2) * blocks * 32 + (column & 3) * 8;
      const source = c * inputs;
      for (let k = 0; k < inputs; k++)
        packed[target + (k >> 3) * 32 + (k & 7)] = mantissas[source + k]!;
    }
  }
  return device.place(packed);
}

/** Mantissas four bytes at a time. */
function wordsOf(mantissas: Int8Array | Int16Array): Int32Array {
  const { byteOffset } = mantissas;
  const { buffer, byteLength } = byteOffset % 4 === 0 ? mantissas : mantissas.slice();
  return new Int32Array(buffer, byteOffset % 4 === 0 ? byteOffset : 0, byteLength / 4);
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
  // Each block adds two products to a lane, which still holds the lower half of what was there before.
  const largest = mantissaMax(call.leftBits) * mantissaMax(matrix.bits);
  const spill = Math.floor((2 ** 31 - 1 - 65535) / (2 * largest));
  return [
    ...[call.left, call.exponents, matrix.address, matrix.scales, matrix.blocks, matrix.groups],
    ...[Math.min(spill, 0x7fffffff), matrix.bits, call.out, matrix.groups * 4],
    ...[call.op, call.second ?? 0x7fffffff, call.third ?? 0x7fffffff],
  ];
}
