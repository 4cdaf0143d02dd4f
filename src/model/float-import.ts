// Exact import of stored floats: F16, BF16 and F32, little end first, become f32 without rounding.
// -0 becomes +0; a NaN or an infinity is an error of the file.

import { DecodeError } from "gyrotron/base";
import { f32FromBits } from "gyrotron/numerics";

/** A stored floating-point type. */
export type FloatType = "F16" | "BF16" | "F32";

export function floatBytes(type: FloatType): number {
  return type === "F32" ? 4 : 2;
}

/** The values at `offset` of a file. @throws DecodeError `tensor/decode` at the first that is not finite */
export function importFloats(
  file: Uint8Array,
  range: { offset: number; count: number; type: FloatType },
): Float32Array {
  const { offset, count, type } = range;
  const values = new Float32Array(count);
  const bytes = file.subarray(offset, offset + count * floatBytes(type));
  importFloatsInto(values, bytes, { offset, type });
  return values;
}

/** Fills `values` from stored ones, which lie at `offset` of their file. @throws as `importFloats` */
export function importFloatsInto(
  values: Float32Array,
  bytes: Uint8Array,
  { offset, type }: { offset: number; type: FloatType },
): void {
  const size = floatBytes(type);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let i = 0; i < values.length; i++) {
    const value =
      type === "F32"
        ? view.getFloat32(i * 4, true)
        : type === "BF16"
          ? f32FromBits((view.getUint16(i * 2, true) << 16) >>> 0)
          : halfToF32(view.getUint16(i * 2, true));
    if (!Number.isFinite(value)) {
      throw new DecodeError({
        code: "tensor/decode",
        what: "value is not finite",
        offset: offset + i * size,
      });
    }
    values[i] = value + 0;
  }
}

/** The value of binary16 bits; not finite where they are not. */
export function halfToF32(bits: number): number {
  const sign = (bits & 0x8000) << 16;
  const field = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (field === 31) return f32FromBits((sign | 0x7f800000 | (fraction << 13)) >>> 0);
  if (field === 0) return (sign === 0 ? fraction : -fraction) / 16777216;
  return f32FromBits((sign | ((field + 112) << 23) | (fraction << 13)) >>> 0);
}
