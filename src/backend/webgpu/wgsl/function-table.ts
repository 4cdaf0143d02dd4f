// The tables of the functions of section 15 of docs/spec/01-numerics.md in one storage buffer, which a
// kernel that needs it binds as binding 2 of group 0.
//
//   tanhEntry(i), erfEntry(i), tailEntry(i), tailTanhEntry(i)    i <= 1024
//   logEntry(i), i <= 256; logCurveEntry(i), i < 256

import {
  erfTable,
  logCurveTable,
  logTable,
  tailTable,
  tailTanhTable,
  tanhTable,
} from "gyrotron/numerics";
import type { WgslPiece } from "./piece.ts";

const TABLES = [
  ["tanhEntry", tanhTable],
  ["erfEntry", erfTable],
  ["tailEntry", tailTable],
  ["tailTanhEntry", tailTanhTable],
  ["logEntry", logTable],
  ["logCurveEntry", logCurveTable],
] as const;
/** Words that each table may take. */
const STRIDE = 1025;

export const FUNCTION_TABLE: WgslPiece = {
  name: "function-table",
  needs: [],
  text: /* wgsl */ `
@group(0) @binding(2) var<storage, read> functionTable: array<u32>;
${TABLES.map(
  ([name], i) => `fn ${name}(i: u32) -> u32 { return functionTable[${i * STRIDE}u + i]; }`,
).join("\n")}
`,
};

/** The buffer's content. */
export function functionTableWords(): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(TABLES.length * STRIDE);
  TABLES.forEach(([, table], i) => words.set(table(), i * STRIDE));
  return words;
}
