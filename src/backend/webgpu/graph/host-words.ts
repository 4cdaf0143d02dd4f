// Values of the host as words of a buffer and back: bools take a word each, i64 two (low first), bfp as
// mantissas.ts says. Hosts have their low bytes first, as every host of WebGPU does.

import {
  type BfpType,
  elementCount,
  type HostBfp,
  type HostTensor,
  rowCount,
  type TensorType,
} from "gyrotron/tensor";
import { limbsOf, limbWords, mantissaWords } from "./mantissas.ts";

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
    case "bfp":
      return wordsOfBfp(value);
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
    case "bfp":
      return bfpOfWords(type, new Int32Array(own.buffer));
  }
}

function wordsOfBfp(value: HostBfp): Uint32Array {
  const { data, exponents, scales, shape, bits } = value;
  const first = mantissaWords({ ...value, scaled: scales !== undefined });
  const words = new Int32Array(first + exponents.length + (scales?.length ?? 0));
  words.set(exponents, first);
  if (scales !== undefined) words.set(scales, first + exponents.length);
  const limbs = limbsOf(bits);
  if (limbs === "word") {
    words.set(data);
    return new Uint32Array(words.buffer);
  }
  const columns = shape.at(-1)!;
  const limbBytes = 4 * limbWords(columns);
  const bytes = new Int8Array(words.buffer);
  for (let r = 0; r < exponents.length; r++) {
    const start = r * limbs * limbBytes;
    for (let k = 0; k < columns; k++) {
      const m = data[r * columns + k]!;
      const high = limbs === 1 ? 0 : (m + 64) >> 7;
      bytes[start + k] = m - (high << 7);
      if (limbs === 2) bytes[start + limbBytes + k] = high;
    }
  }
  return new Uint32Array(words.buffer);
}

function bfpOfWords(type: BfpType<number>, words: Int32Array<ArrayBuffer>): HostBfp {
  const { shape, bits, scaled } = type;
  const rows = rowCount(shape);
  const first = mantissaWords(type);
  const limbs = limbsOf(bits);
  const columns = shape.at(-1)!;
  const limbBytes = 4 * limbWords(columns);
  const bytes = new Int8Array(words.buffer);
  const data = new Int32Array(elementCount(shape));
  if (limbs === "word") data.set(words.subarray(0, first));
  else {
    for (let r = 0; r < rows; r++) {
      const start = r * limbs * limbBytes;
      for (let k = 0; k < columns; k++) {
        const high = limbs === 1 ? 0 : bytes[start + limbBytes + k]!;
        data[r * columns + k] = bytes[start + k]! + 128 * high;
      }
    }
  }
  return {
    element: "bfp",
    shape,
    bits,
    data,
    exponents: words.slice(first, first + rows),
    scales: scaled ? Uint8Array.from(words.subarray(first + rows)) : undefined,
  };
}
