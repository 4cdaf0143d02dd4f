// Values of the host as words of a buffer and back: bools take a word each, i64 two (low first), bfp its
// mantissas, then exponents, then scales.

import { elementCount, type HostTensor, rowCount, type TensorType } from "gyrotron/tensor";

/** The words of a value. */
export function wordsOfHost(value: HostTensor): Uint32Array {
  switch (value.element) {
    case "f32":
    case "i32":
    case "i64": {
      const { buffer, byteOffset, byteLength } = value.data;
      return new Uint32Array(buffer, byteOffset, byteLength / 4);
    }
    case "bool":
      return Uint32Array.from(value.data);
    case "bfp": {
      const { data, exponents, scales } = value;
      const words = new Int32Array(data.length + exponents.length + (scales?.length ?? 0));
      words.set(data);
      words.set(exponents, data.length);
      if (scales !== undefined) words.set(scales, data.length + exponents.length);
      return new Uint32Array(words.buffer);
    }
  }
}

/** A value of a type from its words. */
export function hostOfWords(type: TensorType<number>, words: Uint32Array<ArrayBuffer>): HostTensor {
  const { shape } = type;
  const own = words.slice();
  switch (type.element) {
    case "f32":
      return { element: "f32", shape, data: new Float32Array(own.buffer) };
    case "i32":
      return { element: "i32", shape, data: new Int32Array(own.buffer) };
    case "i64":
      return { element: "i64", shape, data: new BigInt64Array(own.buffer) };
    case "bool":
      return { element: "bool", shape, data: Uint8Array.from(own) };
    case "bfp": {
      const count = elementCount(shape);
      const rows = rowCount(shape);
      const integers = new Int32Array(own.buffer);
      return {
        element: "bfp",
        shape,
        bits: type.bits,
        data: integers.slice(0, count),
        exponents: integers.slice(count, count + rows),
        scales: type.scaled ? Uint8Array.from(integers.slice(count + rows)) : undefined,
      };
    }
  }
}
