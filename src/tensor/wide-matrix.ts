// The integers that a matrix in blocks stands for, as a matrix of 14 bits without blocks: the same numbers in the
// one form that every device takes (docs/spec/01-numerics.md sections 2.2 and 2.3).

import { BLOCK_SIZE, blocksOf, type PackedMatrix } from "./decoder-shape.ts";
import type { MatrixBits } from "./precision.ts";

/** Matrices side by side in one of the forms that a device takes as they are, else all with 14 bits. */
export function inOneForm(
  matrices: readonly PackedMatrix[],
  forms: readonly MatrixBits[],
): readonly PackedMatrix[] {
  const isTaken = forms.some((bits) => matrices.every((matrix) => matrix.bits === bits));
  return isTaken ? matrices : matrices.map(widenMatrix);
}

/** The same weights with 14 bits; the matrix itself if it has them already. */
export function widenMatrix(matrix: PackedMatrix): PackedMatrix {
  const { outputs, inputs, bits, scales, exponents } = matrix;
  if (bits === 14) return matrix;
  // Read once: of a matrix in a file each read is one of the file.
  const { mantissas, blockScales, blockOffsets } = matrix;
  const blocks = blocksOf(inputs);
  const wide = new Int16Array(outputs * inputs);
  for (let c = 0; c < outputs; c++) {
    for (let b = 0; b < blocks; b++) {
      const scale = blockScales?.[c * blocks + b] ?? 1;
      const offset = blockOffsets?.[c * blocks + b] ?? 0;
      const end = Math.min(inputs, (b + 1) * BLOCK_SIZE);
      for (let k = b * BLOCK_SIZE; k < end; k++) {
        const i = c * inputs + k;
        const mantissa = bits === 4 ? (mantissas[i >> 1]! >> (4 * (i & 1))) & 15 : mantissas[i]!;
        wide[i] = mantissa * scale + offset;
      }
    }
  }
  return { outputs, inputs, bits: 14, mantissas: wide, scales, exponents };
}
