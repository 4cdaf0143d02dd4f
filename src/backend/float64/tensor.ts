// Tensors of binary64.

import type { HostTensor } from "gyrotron/tensor";

/** Numbers of a shape; a bfp is what it stands for, a grid value is in units of the grid. */
export interface FloatTensor {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

/** The numbers of a value. */
export function floatOf(value: HostTensor): FloatTensor {
  const { shape, data } = value;
  if (value.element !== "bfp") return { shape, data: Float64Array.from(data, Number) };
  const length = shape.at(-1)!;
  const numbers = Float64Array.from(value.data, (m, i) => {
    const row = Math.floor(i / length);
    return m * (value.scales?.[row] ?? 1) * 2 ** value.exponents[row]!;
  });
  return { shape, data: numbers };
}
