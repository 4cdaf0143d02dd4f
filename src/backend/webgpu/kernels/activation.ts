// Rows of f32 on the grid that a matmul takes them in: as they are, or through norm and gain. Each workgroup
// that multiplies a row may do this for itself; a kernel of its own does it once for many rows.
//
//   prepareRow(l, row) -> RowState        all reductions of the row
//   packedWord(state, row, limb, word)    four mantissas' bytes

import { GRID_BITS } from "gyrotron/tensor";
import type { ShaderSource } from "../device.ts";
import { LAYER_NORM, NORM } from "../wgsl/norm.ts";
import { composeWgsl, type WgslPiece } from "../wgsl/piece.ts";
import { LIMBS, QUANTIZE } from "../wgsl/quantize.ts";
import { ROUND_WORD } from "../wgsl/round-float.ts";
import { SOFT_ADD, SOFT_MULTIPLY } from "../wgsl/soft-float.ts";
import { paramsPiece, statusPiece, workgroupPiece } from "./workgroup.ts";

/** `norm`: rms_norm and gain; `layer`: layer_norm, gain and bias; `plain`: the row itself. */
export type RowSource = "norm" | "layer" | "plain";

/** Signed bytes of an activation. */
export type Limbs = 1 | 2 | 3;

/** Bytes that mantissas of so many bits take: two hold up to 16383. */
export function limbsOf(bits: number): Limbs {
  return bits <= 8 ? 1 : bits <= 15 ? 2 : 3;
}

/** Words of parameters that name a row's norm and grid, from parameter `ROW_PARAMS` on. */
export const ROW_PARAMS = 12;
export const ROW_PARAM_COUNT = 8;

/** Parameters of a source: sizes of the row, its grid, and of a norm its epsilon and op. */
export interface RowParams {
  readonly columns: number;
  readonly stride: number;
  readonly bits: number;
  readonly epsilon?: readonly [mantissa: number, exponent: number, floor: number];
  readonly gainOp?: number;
}

export function rowParamWords({ columns, stride, bits, epsilon, gainOp }: RowParams): number[] {
  return [columns, stride, bits, ...(epsilon ?? [0, 0, 0]), gainOp ?? 0, 0];
}

/** The rows at binding `first` and, for a norm, the gain (then the bias) at the next. Needs params, status, workgroup. */
export function rowSourcePiece(source: RowSource, limbs: Limbs, first: number): WgslPiece {
  const p = (i: number): string => `param(${ROW_PARAMS + i}u)`;
  const s = (i: number): string => `signedParam(${ROW_PARAMS + i}u)`;
  const norm = /* wgsl */ `
@group(0) @binding(${first + 1}) var<storage, read> gain: array<u32>;
fn rowValue(state: RowState, row: u32, i: u32) -> u32 {
  return softMultiply(normValue(gridMantissa(rawValue(row, i), state.grid), state.factor), gain[i]);
}
fn prepareRow(l: u32, row: u32) -> RowState {
  let n = ${p(0)};
  var largest = 0u;
  for (var i = l; i < n; i += WG) { largest = max(largest, rawValue(row, i) & 0x7fffffffu); }
  let grid = gridExponent(workgroupMax(l, largest), ${GRID_BITS}u, ${s(5)});
  var low = 0u;
  var high = 0u;
  for (var i = l; i < n; i += WG) {
    let m = gridMantissa(rawValue(row, i), grid);
    let square = u32(m * m);
    low += square & 0xffffu;
    high += square >> 16u;
  }
  let squares = workgroupSquares(l, low, high);
  let sum = wideAdd(squares, epsilonOnGrid(n, ${p(3)}, ${s(4)}, grid));
  var state = RowState(grid, normFactor(sum, n), 0, 0);
  var top = 0u;
  for (var i = l; i < n; i += WG) {
    let value = rowValue(state, row, i);
    if (isBad(value)) { failRow(row, ${p(6)}); }
    top = max(top, value & 0x7fffffffu);
  }
  state.exponent = gridExponent(workgroupMax(l, top), ${p(2)}, -149);
  return state;
}`;
  const layer = /* wgsl */ `
@group(0) @binding(${first + 1}) var<storage, read> gain: array<u32>;
fn scaledValue(state: RowState, row: u32, i: u32) -> u32 {
  let m = i32(${p(0)}) * gridMantissa(rawValue(row, i), state.grid) - state.total;
  return softMultiply(layerNormValue(m, state.factor), gain[i]);
}
fn rowValue(state: RowState, row: u32, i: u32) -> u32 {
  return softAdd(scaledValue(state, row, i), gain[${p(0)} + i]);
}
fn prepareRow(l: u32, row: u32) -> RowState {
  let n = ${p(0)};
  var largest = 0u;
  for (var i = l; i < n; i += WG) { largest = max(largest, rawValue(row, i) & 0x7fffffffu); }
  let grid = gridExponent(workgroupMax(l, largest), ${GRID_BITS}u, ${s(5)});
  var low = 0u;
  var high = 0u;
  var part = 0;
  for (var i = l; i < n; i += WG) {
    let m = gridMantissa(rawValue(row, i), grid);
    let square = u32(m * m);
    low += square & 0xffffu;
    high += square >> 16u;
    part += m;
  }
  let squares = workgroupSquares(l, low, high);
  let total = bitcast<i32>(workgroupSum(l, bitcast<u32>(part)));
  let epsilon = epsilonOnGrid(n * n, ${p(3)}, ${s(4)}, grid);
  var state = RowState(grid, layerNormFactor(n, total, squares, epsilon), 0, total);
  var top = 0u;
  for (var i = l; i < n; i += WG) {
    if (isBad(scaledValue(state, row, i))) { failRow(row, ${p(6)}); }
    let value = rowValue(state, row, i);
    if (isBad(value)) { failRow(row, ${p(6)} + 1u); }
    top = max(top, value & 0x7fffffffu);
  }
  state.exponent = gridExponent(workgroupMax(l, top), ${p(2)}, -149);
  return state;
}`;
  const plain = /* wgsl */ `
fn rowValue(state: RowState, row: u32, i: u32) -> u32 {
  return rawValue(row, i);
}
fn prepareRow(l: u32, row: u32) -> RowState {
  let n = ${p(0)};
  var largest = 0u;
  for (var i = l; i < n; i += WG) { largest = max(largest, rawValue(row, i) & 0x7fffffffu); }
  return RowState(0, NormFactor(0u, 0), gridExponent(workgroupMax(l, largest), ${p(2)}, -149), 0);
}`;
  return {
    name: "row-source",
    needs: [
      ...[QUANTIZE, LIMBS, NORM, SOFT_MULTIPLY, ROUND_WORD],
      ...(source === "layer" ? [LAYER_NORM, SOFT_ADD] : []),
    ],
    text: /* wgsl */ `
@group(0) @binding(${first}) var<storage, read> source: array<u32>;
struct RowState { grid: i32, factor: NormFactor, exponent: i32, total: i32 }
fn rawValue(row: u32, i: u32) -> u32 {
  return source[row * ${p(1)} + i];
}
${{ norm, layer, plain }[source].trim()}
fn rowMantissa(state: RowState, row: u32, i: u32) -> i32 {
  if (i >= ${p(0)}) { return 0; }
  return gridMantissa(rowValue(state, row, i), state.exponent);
}
// The bytes of four mantissas: of each limb one word.
fn packedWords(state: RowState, row: u32, word: u32) -> array<u32, ${limbs}> {
  var words: array<u32, ${limbs}>;
  for (var k = 0u; k < 4u; k++) {
    let m = rowMantissa(state, row, (word << 2u) + k);
${limbBytes(limbs)}
  }
  return words;
}
`,
  };
}

function limbBytes(limbs: Limbs): string {
  if (limbs === 1) return "    words[0] |= byteAt(m, k);";
  if (limbs === 2)
    return "    words[0] |= byteAt(limbLow(m), k);\n    words[1] |= byteAt(limbHigh(m), k);";
  return `    let rest = limbRest(m);
    words[0] |= byteAt(m - (rest << 7u), k);
    words[1] |= byteAt(limbLow(rest), k);
    words[2] |= byteAt(limbHigh(rest), k);`;
}

/** Threads that prepare a row in a kernel of its own. */
const PREPARE_THREADS = 128;

/**
 * Prepares a row for each workgroup: `out` gets `[slot][limb][words]`, `exponents` one for each slot. Bindings:
 * params (0: words of a limb), row map, source, gain, out, exponents, status.
 */
export function prepareShader(source: RowSource, limbs: Limbs): ShaderSource {
  const main: WgslPiece = {
    name: "main",
    needs: [
      paramsPiece(ROW_PARAMS + ROW_PARAM_COUNT),
      statusPiece(6),
      workgroupPiece(PREPARE_THREADS),
      rowSourcePiece(source, limbs, 2),
    ],
    text: /* wgsl */ `
@group(0) @binding(1) var<storage, read> rowMap: array<u32>;
@group(0) @binding(4) var<storage, read_write> packed: array<u32>;
@group(0) @binding(5) var<storage, read_write> exponents: array<u32>;
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) w: vec3u, @builtin(local_invocation_index) l: u32) {
  let slot = w.x;
  let row = rowMap[1u + slot];
  let state = prepareRow(l, row);
  let words = param(0u);
  for (var i = l; i < words; i += WG) {
    let bytes = packedWords(state, row, i);
${Array.from({ length: limbs }, (_, k) => `    packed[(slot * ${limbs}u + ${k}u) * words + i] = bytes[${k}];`).join("\n")}
  }
  if (l == 0u) { exponents[slot] = bitcast<u32>(state.exponent); }
}
`,
  };
  return {
    name: `prepare ${source} ${limbs}`,
    code: composeWgsl([main]),
    bindings: ["uniform", "read", "read", "read", "write", "write", "write"],
  };
}
