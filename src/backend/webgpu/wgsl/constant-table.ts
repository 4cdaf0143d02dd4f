// The tables of exp2 and sine (docs/spec/01-numerics.md sections 5 and 7) in a uniform buffer, which every
// pipeline binds as group 1, binding 0: arrays in the text would be copied into each thread by some compilers.
//
//   exp2Entry(i), i < 64; sineEntry(i), i <= 256

import { EXP2_TABLE, SINE_TABLE } from "gyrotron/numerics";
import type { WgslPiece } from "./piece.ts";

const SINE_START = 32;
/** Words of the buffer: 32 pairs of 16 bits, then a word for each sine, then padding to whole vectors. */
const WORDS = 292;

export const CONSTANT_TABLE: WgslPiece = {
  name: "constant-table",
  needs: [],
  text: /* wgsl */ `
@group(1) @binding(0) var<uniform> constantTable: array<vec4u, ${WORDS / 4}>;
fn constantWord(i: u32) -> u32 {
  return constantTable[i >> 2u][i & 3u];
}
fn exp2Entry(i: u32) -> u32 {
  return (constantWord(i >> 1u) >> ((i & 1u) << 4u)) & 0xffffu;
}
fn sineEntry(i: u32) -> u32 {
  return constantWord(${SINE_START}u + i);
}
`,
};

/** The buffer's content. */
export function constantTableWords(): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(WORDS);
  for (const [i, value] of EXP2_TABLE.entries()) words[i >> 1]! |= value << ((i & 1) * 16);
  words.set(SINE_TABLE, SINE_START);
  return words;
}
