// Parts of a decoder's layer that not every model has (docs/spec/01-numerics.md section 10): biases with what
// comes after them, GELU without a gate, norms of heads. Models without them have these steps fused into products.

import { GRID_BITS } from "gyrotron/tensor";
import type { ShaderSource } from "../device.ts";
import { LOOK } from "../wgsl/function.ts";
import { NORM } from "../wgsl/norm.ts";
import { composeWgsl, type WgslPiece } from "../wgsl/piece.ts";
import { SILU } from "../wgsl/program.ts";
import { QUANTIZE } from "../wgsl/quantize.ts";
import { SOFT_ADD, SOFT_MULTIPLY } from "../wgsl/soft-float.ts";
import { paramsPiece, statusPiece, workgroupPiece } from "./workgroup.ts";

/** `bias`: in place; the others add it first: to the residual, through GELU, or through silu times the other half. */
export type FinishKind = "bias" | "residual" | "gelu" | "gate";

export const FINISH_KINDS: readonly FinishKind[] = ["bias", "residual", "gelu", "gate"];

const THREADS = 128;
const HEAD_THREADS = 64;

/** Results for each workgroup of a row. */
export const FINISH_COLUMNS: number = THREADS;

const PIECES: Readonly<Record<FinishKind, readonly WgslPiece[]>> = {
  bias: [],
  residual: [],
  gelu: [LOOK],
  gate: [SILU, SOFT_MULTIPLY],
};

const BODIES: Readonly<Record<FinishKind, string>> = {
  bias: "rows[base + i] = biased(row, base, i);",
  residual: /* wgsl */ `let y = softAdd(result[row * n + i], biased(row, base, i));
    if (isBad(y)) { failRow(row, param(5u)); }
    result[row * n + i] = y;`,
  gelu: /* wgsl */ `let y = geluTanh(biased(row, base, i));
    if (isBad(y)) { failRow(row, param(5u)); }
    result[row * n + i] = y;`,
  gate: /* wgsl */ `let activated = silu(biased(row, base, i));
    let y = softMultiply(activated, biased(row, base, n + i));
    if (isBad(activated)) { failRow(row, param(5u)); }
    if (isBad(y)) { failRow(row, param(5u) + 1u); }
    result[row * n + i] = y;`,
};

/**
 * What comes after a product that is stored (y: row). Bindings: params (0 results of a row, 1 stride of the rows, 2
 * the bias's op, 3 and 4 the columns from which it counts one and two more, 5 the op after it, 6 whether there is
 * a bias), rows, table of functions, bias, result, status. Rows of `gate` are gate and up.
 */
export function finishShader(kind: FinishKind): ShaderSource {
  const main: WgslPiece = {
    name: "main",
    needs: [paramsPiece(8), statusPiece(5), workgroupPiece(THREADS), SOFT_ADD, ...PIECES[kind]],
    text: /* wgsl */ `
@group(0) @binding(1) var<storage, read_write> rows: array<u32>;
@group(0) @binding(3) var<storage, read> bias: array<u32>;
@group(0) @binding(4) var<storage, read_write> result: array<u32>;
fn biased(row: u32, base: u32, i: u32) -> u32 {
  if (param(6u) == 0u) { return rows[base + i]; }
  let y = softAdd(rows[base + i], bias[i]);
  let later = select(0u, 1u, i >= param(3u)) + select(0u, 1u, i >= param(4u));
  if (isBad(y)) { failRow(row, param(2u) + later); }
  return y;
}
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) w: vec3u, @builtin(num_workgroups) g: vec3u, @builtin(local_invocation_index) l: u32) {
  let row = w.y;
  let n = param(0u);
  let base = row * param(1u);
  for (var i = w.x * WG + l; i < n; i += g.x * WG) {
    ${BODIES[kind]}
  }
}
`,
  };
  return {
    name: `finish ${kind}`,
    code: composeWgsl([main]),
    bindings: ["uniform", "write", "read", "read", "write", "write"],
  };
}

/**
 * RMS norm and gain of heads' slices in place (x: head, y: row). Bindings: params (0 first column, 1 head size, 2
 * stride of the rows, 3 to 5 epsilon and floor, 6 the gain's op), rows, gain, status.
 */
export function headNormShader(): ShaderSource {
  const main: WgslPiece = {
    name: "main",
    needs: [
      ...[paramsPiece(8), statusPiece(3), workgroupPiece(HEAD_THREADS)],
      ...[QUANTIZE, NORM, SOFT_MULTIPLY],
    ],
    text: /* wgsl */ `
@group(0) @binding(1) var<storage, read_write> rows: array<u32>;
@group(0) @binding(2) var<storage, read> gain: array<u32>;
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) w: vec3u, @builtin(local_invocation_index) l: u32) {
  let n = param(1u);
  let base = w.y * param(2u) + param(0u) + w.x * n;
  var largest = 0u;
  for (var i = l; i < n; i += WG) { largest = max(largest, rows[base + i] & 0x7fffffffu); }
  let e = gridExponent(workgroupMax(l, largest), ${GRID_BITS}u, signedParam(5u));
  var low = 0u;
  var high = 0u;
  for (var i = l; i < n; i += WG) {
    let m = gridMantissa(rows[base + i], e);
    let square = u32(m * m);
    low += square & 0xffffu;
    high += square >> 16u;
  }
  let squares = workgroupSquares(l, low, high);
  let factor = normFactor(wideAdd(squares, epsilonOnGrid(n, param(3u), signedParam(4u), e)), n);
  for (var i = l; i < n; i += WG) {
    let y = softMultiply(normValue(gridMantissa(rows[base + i], e), factor), gain[i]);
    if (isBad(y)) { failRow(w.y, param(6u)); }
    rows[base + i] = y;
  }
}
`,
  };
  return {
    name: "head-norm",
    code: composeWgsl([main]),
    bindings: ["uniform", "write", "read", "write"],
  };
}
