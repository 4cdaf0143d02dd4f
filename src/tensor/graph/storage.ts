// Bytes that values take: the measure of cost and of memory plans.

import { elementCount, rowCount, type TensorType } from "./value.ts";

/** Bytes of an element; mantissas of 8 bits take one, wider ones two. */
export function elementBytes(type: TensorType<unknown>): number {
  switch (type.element) {
    case "bool":
      return 1;
    case "f32":
    case "i32":
      return 4;
    case "i64":
      return 8;
    case "bfp":
      return type.bits === 8 ? 1 : 2;
  }
}

/** Bytes of a value: its elements and, for bfp, 4 for each row's exponent and 1 for its scale. */
export function storageBytes(type: TensorType<number>): number {
  const elements = elementCount(type.shape) * elementBytes(type);
  if (type.element !== "bfp") return elements;
  return elements + rowCount(type.shape) * (type.scaled ? 5 : 4);
}
