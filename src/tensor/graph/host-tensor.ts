// Values on the host: how to make them, which are valid, and their types.

import { TensorError } from "../error.ts";
import { mantissaMax } from "../precision.ts";
import type { HostBfp, HostTensor, TensorType } from "./value.ts";
import { elementCount, rowCount } from "./value.ts";

/** An f32 tensor; numbers are rounded to f32. @throws TensorError `tensor/input` if the length is not the shape's */
export function hostF32(shape: readonly number[], data: ArrayLike<number>): HostTensor {
  return valid({ element: "f32", shape, data: Float32Array.from(data, positiveZero) });
}

/** An i32 tensor. @throws TensorError `tensor/input` */
export function hostI32(shape: readonly number[], data: ArrayLike<number>): HostTensor {
  return valid({ element: "i32", shape, data: Int32Array.from(data) });
}

/** A mask. @throws TensorError `tensor/input` */
export function hostBool(shape: readonly number[], data: ArrayLike<boolean>): HostTensor {
  return valid({ element: "bool", shape, data: Uint8Array.from(data, Number) });
}

/** Values on a gradient grid. @throws TensorError `tensor/input` */
export function hostI64(shape: readonly number[], data: ArrayLike<bigint>): HostTensor {
  return valid({ element: "i64", shape, data: BigInt64Array.from(data) });
}

/** The type of a value. */
export function hostType(value: HostTensor): TensorType<number> {
  const { element, shape } = value;
  if (element !== "bfp") return { element, shape };
  return { element, shape, bits: value.bits, scaled: value.scales !== undefined };
}

/** What is wrong with a value, or undefined. -0 counts as wrong: see `withoutNegativeZero`. */
export function findHostFault(value: HostTensor): string | undefined {
  const { element, shape, data } = value;
  if (!shape.every((size) => Number.isSafeInteger(size) && size >= 0)) return "a size is negative";
  if (data.length !== elementCount(shape)) {
    return `${data.length} elements for ${elementCount(shape)}`;
  }
  switch (element) {
    case "f32":
      return isAllFinite(data) ? undefined : "a value that is not finite, or -0";
    case "bool":
      return data.every((byte) => byte <= 1) ? undefined : "a bool that is not 0 or 1";
    case "i64":
      return data.every(isOnGrid) ? undefined : "a grid value of magnitude 2^62 or more";
    case "bfp":
      return findBfpFault(value);
    case "i32":
      return undefined;
  }
}

/** The value with +0 for every -0; the same object if it has none. */
export function withoutNegativeZero(value: HostTensor): HostTensor {
  if (value.element !== "f32" || !hasNegativeZero(value.data)) return value;
  return { ...value, data: value.data.map(positiveZero) };
}

function findBfpFault(value: HostBfp): string | undefined {
  const { bits, shape, data, exponents, scales } = value;
  if (shape.length === 0) return "bfp needs an axis";
  if (!(Number.isInteger(bits) && bits >= 8 && bits <= 16)) return "bits outside 8..16";
  const rows = rowCount(shape);
  if (exponents.length !== rows) return `${exponents.length} exponents for ${rows} rows`;
  const max = mantissaMax(bits);
  if (!isWithin(data, max)) return `a mantissa outside -${max}..${max}`;
  if (!exponents.every((e) => e >= -149 && e <= 122)) return "an exponent outside -149..122";
  if (scales === undefined) return undefined;
  if (scales.length !== rows) return `${scales.length} scales for ${rows} rows`;
  return scales.every((scale) => scale >= 128) ? undefined : "a scale below 128";
}

function isWithin(data: Int32Array, max: number): boolean {
  for (const mantissa of data) if (mantissa > max || mantissa < -max) return false;
  return true;
}

function valid(value: HostTensor): HostTensor {
  const actual = findHostFault(value);
  if (actual === undefined) return value;
  const expected = `a valid ${value.element}[${value.shape.join(", ")}]`;
  throw new TensorError({ code: "tensor/input", input: "", expected, actual });
}

/** Whether no value is a NaN, an infinity or -0, by their bits: weights are many. */
function isAllFinite(data: Float32Array): boolean {
  const bits = new Uint32Array(data.buffer, data.byteOffset, data.length);
  for (const word of bits) {
    if ((word & 0x7f80_0000) === 0x7f80_0000 || word === 0x8000_0000) return false;
  }
  return true;
}

/** Whether a value is -0. */
function hasNegativeZero(data: Float32Array): boolean {
  const bits = new Uint32Array(data.buffer, data.byteOffset, data.length);
  for (const word of bits) if (word === 0x8000_0000) return true;
  return false;
}

const GRID_MAX = 2n ** 62n;

function isOnGrid(x: bigint): boolean {
  return x < GRID_MAX && x > -GRID_MAX;
}

function positiveZero(x: number): number {
  return x === 0 ? 0 : x;
}
