// How bfp values lie in a buffer: rows of mantissas in whole words, then an exponent for each row, then a scale
// for each. Mantissas of up to 8 bits are bytes, those of up to 14 bits two bytes in two halves of the
// row (`high * 128 + low`, as in wgsl/quantize.ts), so that products are dot products of bytes; wider ones
// take a word each. What fills the last word is zero.

import { type BfpType, rowCount } from "gyrotron/tensor";
import type { WgslPiece } from "../wgsl/piece.ts";

/** Bytes of a mantissa, or `word`. */
export type Limbs = 1 | 2 | "word";

/** How mantissas of a width lie. */
export function limbsOf(bits: number): Limbs {
  if (bits <= 8) return 1;
  return bits <= 14 ? 2 : "word";
}

/** Words of a row of mantissas. */
export function rowWords(bits: number, columns: number): number {
  const limbs = limbsOf(bits);
  return limbs === "word" ? columns : limbs * limbWords(columns);
}

/** Words of one limb of a row. */
export function limbWords(columns: number): number {
  return Math.ceil(columns / 4);
}

/** Words before the exponents. */
export function mantissaWords(type: BfpType<number>): number {
  return rowCount(type.shape) * rowWords(type.bits, type.shape.at(-1)!);
}

/** `packedBytes(m)`: the low bytes of four integers in a word. */
export const PACKED_BYTES: WgslPiece = {
  name: "packed-bytes",
  needs: [],
  text: /* wgsl */ `
fn packedBytes(m: vec4i) -> u32 {
  return (u32(m.x) & 255u) | ((u32(m.y) & 255u) << 8u) | ((u32(m.z) & 255u) << 16u) | (u32(m.w) << 24u);
}
`,
};

/** `signedByte(word, k)`: byte k mod 4 with its sign. */
const SIGNED_BYTE: WgslPiece = {
  name: "signed-byte",
  needs: [],
  text: /* wgsl */ `
fn signedByte(word: u32, k: u32) -> i32 {
  return (bitcast<i32>(word) << (24u - 8u * (k & 3u))) >> 24u;
}
`,
};

/** `NAME(start, words, k)`: mantissa k of the row of so many words that starts there. */
export function mantissaReader(name: string, buffer: string, limbs: Limbs): WgslPiece {
  const at = {
    1: `signedByte(${buffer}[start + (k >> 2u)], k)`,
    2: `signedByte(${buffer}[start + (k >> 2u)], k) + 128 * signedByte(${buffer}[start + (words >> 1u) + (k >> 2u)], k)`,
    word: `i32(${buffer}[start + k])`,
  }[limbs];
  return {
    name: `${name}-${limbs}`,
    needs: [SIGNED_BYTE],
    text: `fn ${name}(start: u32, words: u32, k: u32) -> i32 {\n  return ${at};\n}`,
  };
}
