// Kernels of single ops: embedding, elementwise ops, quantize, norm, argmax. The decoder has its own fused ones,
// made of the same pieces.

import { GRID_BITS } from "gyrotron/tensor";
import type { BindingKind, ShaderSource } from "../device.ts";
import { NORM } from "../wgsl/norm.ts";
import { composeWgsl, type WgslPiece } from "../wgsl/piece.ts";
import { SILU } from "../wgsl/program.ts";
import { QUANTIZE } from "../wgsl/quantize.ts";
import { ROUND_WORD } from "../wgsl/round-float.ts";
import { SOFT_ADD, SOFT_FLOAT, SOFT_MULTIPLY } from "../wgsl/soft-float.ts";
import { paramsPiece, statusPiece, workgroupPiece } from "./workgroup.ts";

const THREADS = 128;

function shader(
  name: string,
  bindings: readonly BindingKind[],
  needs: readonly WgslPiece[],
  text: string,
): ShaderSource {
  return { name, code: composeWgsl([{ name: "main", needs, text }]), bindings };
}

const ENTRY = /* wgsl */ `@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) w: vec3u, @builtin(num_workgroups) g: vec3u, @builtin(local_invocation_index) l: u32)`;

/**
 * Rows of a table, or of the part of it that this dispatch has for each workgroup. Bindings: params
 * (0 columns, 1 first token, 2 tokens, 3 words from one row's token to the next, 4 rows), table, tokens, result.
 */
export function embedShader(): ShaderSource {
  return shader(
    "embed",
    ["uniform", "read", "read", "write"],
    [paramsPiece(8), workgroupPiece(THREADS)],
    /* wgsl */ `
@group(0) @binding(1) var<storage, read> table: array<u32>;
@group(0) @binding(2) var<storage, read> tokens: array<u32>;
@group(0) @binding(3) var<storage, read_write> result: array<u32>;
${ENTRY} {
  let row = w.y * g.x + w.x;
  if (row >= param(4u)) { return; }
  let token = tokens[row * param(3u)] - param(1u);
  if (token >= param(2u)) { return; }
  let n = param(0u);
  for (var i = l; i < n; i += WG) { result[row * n + i] = table[token * n + i]; }
}
`,
  );
}

/** One value of each pair, or of each value: `add`, `multiply`, `silu`. */
export type ElementOp = "add" | "multiply" | "silu";

/** Bindings: params (0 count, 1 columns), left, right, result, status. */
export function elementShader(op: ElementOp): ShaderSource {
  const value = {
    add: "softAdd(left[i], right[i])",
    multiply: "softMultiply(left[i], right[i])",
    silu: "silu(left[i])",
  }[op];
  const piece = { add: SOFT_ADD, multiply: SOFT_MULTIPLY, silu: SILU }[op];
  return shader(
    op,
    ["uniform", "read", "read", "write", "write"],
    [paramsPiece(8), statusPiece(4), workgroupPiece(THREADS), piece, ROUND_WORD],
    /* wgsl */ `
@group(0) @binding(1) var<storage, read> left: array<u32>;
@group(0) @binding(2) var<storage, read> right: array<u32>;
@group(0) @binding(3) var<storage, read_write> result: array<u32>;
${ENTRY} {
  for (var i = w.x * WG + l; i < param(0u); i += g.x * WG) {
    let y = ${value};
    if (isBad(y)) { failRow(i / param(1u), 0u); }
    result[i] = y;
  }
}
`,
  );
}

/** Row for each workgroup. Bindings: params (0 columns, 1 bits, 4 rows), rows, mantissas, exponents. */
export function quantizeShader(): ShaderSource {
  return shader(
    "quantize",
    ["uniform", "read", "write", "write"],
    [paramsPiece(8), workgroupPiece(THREADS), QUANTIZE],
    /* wgsl */ `
@group(0) @binding(1) var<storage, read> rows: array<u32>;
@group(0) @binding(2) var<storage, read_write> mantissas: array<u32>;
@group(0) @binding(3) var<storage, read_write> exponents: array<u32>;
${ENTRY} {
  let row = w.y * g.x + w.x;
  if (row >= param(4u)) { return; }
  let n = param(0u);
  var largest = 0u;
  for (var i = l; i < n; i += WG) { largest = max(largest, rows[row * n + i] & 0x7fffffffu); }
  let e = gridExponent(workgroupMax(l, largest), param(1u), -149);
  for (var i = l; i < n; i += WG) { mantissas[row * n + i] = u32(gridMantissa(rows[row * n + i], e)); }
  if (l == 0u) { exponents[row] = u32(e); }
}
`,
  );
}

/** Row for each workgroup. Bindings: params (0 columns, 1 to 3 epsilon and floor, 4 rows), rows, result, status. */
export function normShader(): ShaderSource {
  return shader(
    "rms-norm",
    ["uniform", "read", "write", "write"],
    [paramsPiece(8), statusPiece(3), workgroupPiece(THREADS), QUANTIZE, NORM],
    /* wgsl */ `
@group(0) @binding(1) var<storage, read> rows: array<u32>;
@group(0) @binding(2) var<storage, read_write> result: array<u32>;
${ENTRY} {
  let row = w.y * g.x + w.x;
  if (row >= param(4u)) { return; }
  let n = param(0u);
  var largest = 0u;
  for (var i = l; i < n; i += WG) { largest = max(largest, rows[row * n + i] & 0x7fffffffu); }
  let e = gridExponent(workgroupMax(l, largest), ${GRID_BITS}u, signedParam(3u));
  var low = 0u;
  var high = 0u;
  for (var i = l; i < n; i += WG) {
    let m = gridMantissa(rows[row * n + i], e);
    let square = u32(m * m);
    low += square & 0xffffu;
    high += square >> 16u;
  }
  let squares = workgroupSquares(l, low, high);
  let factor = normFactor(wideAdd(squares, epsilonOnGrid(n, param(1u), signedParam(2u), e)), n);
  for (var i = l; i < n; i += WG) {
    let y = normValue(gridMantissa(rows[row * n + i], e), factor);
    if (isBad(y)) { failRow(row, 0u); }
    result[row * n + i] = y;
  }
}
`,
  );
}

/** Row for each workgroup; the lowest index of the largest. Bindings: params (0 columns, 4 rows), rows, result. */
export function argmaxShader(): ShaderSource {
  return shader(
    "argmax",
    ["uniform", "read", "write"],
    [paramsPiece(8), workgroupPiece(THREADS), SOFT_FLOAT],
    /* wgsl */ `
@group(0) @binding(1) var<storage, read> rows: array<u32>;
@group(0) @binding(2) var<storage, read_write> result: array<u32>;
${ENTRY} {
  let row = w.y * g.x + w.x;
  if (row >= param(4u)) { return; }
  let n = param(0u);
  var largest = 0u;
  for (var i = l; i < n; i += WG) { largest = max(largest, softKey(rows[row * n + i])); }
  let top = workgroupMax(l, largest);
  // The largest complement is that of the lowest index.
  var best = 0u;
  for (var i = l; i < n; i += WG) {
    if (softKey(rows[row * n + i]) == top) { best = max(best, ~i); }
  }
  let index = ~workgroupMax(l, best);
  if (l == 0u) { result[row] = index; }
}
`,
  );
}
