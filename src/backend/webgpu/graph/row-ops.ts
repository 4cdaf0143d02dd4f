// Ops along the last axis with a workgroup for each row (docs/spec/01-numerics.md sections 2, 6, 16, 17):
// every sum is of integers in two words, so the number of threads does not matter.

import { decodeF32 } from "gyrotron/numerics";
import { elementCount, type Node, rowCount } from "gyrotron/tensor";
import { INVERSE_ROOT, LOG, SCORE } from "../wgsl/function.ts";
import { NORM } from "../wgsl/norm.ts";
import type { WgslPiece } from "../wgsl/piece.ts";
import { EXP2 } from "../wgsl/program.ts";
import { LIMBS, QUANTIZE } from "../wgsl/quantize.ts";
import { RATIO } from "../wgsl/ratio.ts";
import { ROUND_WIDE } from "../wgsl/round-float.ts";
import { SOFT_ADD, SOFT_FLOAT } from "../wgsl/soft-float.ts";
import { WIDE, WIDE_DIVIDE } from "../wgsl/wide.ts";
import type { NodeOf } from "./graph-node.ts";
import { type Kernel, rowKernel } from "./kernel.ts";
import { type Limbs, limbsOf, PACKED_BYTES, rowWords } from "./mantissas.ts";
import { lastAxis, type Plan } from "./plan.ts";
import { REDUCE_MAX, REDUCE_SUM } from "./reduction.ts";

/** Ops that this file plans. */
export type RowOp =
  | "sum"
  | "mean"
  | "variance"
  | "reduce-max"
  | "argmax"
  | "rms-norm"
  | "layer-norm"
  | "softmax"
  | "log-softmax"
  | "cross-entropy"
  | "quantize"
  | "quantize-columns";

/** Parameters of all kernels here: rows, columns n, node, then three of the op. */
const PARAMS = 8;

/** The row's largest magnitude, as bits. */
const ROW_LARGEST: WgslPiece = {
  name: "row-largest",
  needs: [REDUCE_MAX],
  text: /* wgsl */ `
fn rowLargest(base: u32, n: u32, l: u32) -> u32 {
  var largest = 0u;
  for (var i = l; i < n; i += WG) { largest = max(largest, in0[base + i] & 0x7fffffffu); }
  return reduceMax(l, largest);
}
`,
};

/** The row's largest value. */
const ROW_MAX: WgslPiece = {
  name: "row-max",
  needs: [REDUCE_MAX, SOFT_FLOAT],
  text: /* wgsl */ `
fn rowMaxKey(base: u32, n: u32, l: u32) -> u32 {
  var key = 0u;
  for (var i = l; i < n; i += WG) { key = max(key, softKey(in0[base + i])); }
  return reduceMax(l, key);
}
fn valueOfKey(key: u32) -> u32 {
  return select(~key, key ^ 0x80000000u, (key & 0x80000000u) != 0u);
}
`,
};

/** Sums of mantissas and of their squares on the grid of a row. */
const ROW_MOMENTS: WgslPiece = {
  name: "row-moments",
  needs: [QUANTIZE, REDUCE_SUM, WIDE],
  text: /* wgsl */ `
struct Moments { total: vec2u, squares: vec2u }
fn rowMoments(base: u32, n: u32, l: u32, e: i32) -> Moments {
  var total = vec2u(0u, 0u);
  var squares = vec2u(0u, 0u);
  for (var i = l; i < n; i += WG) {
    let m = gridMantissa(in0[base + i], e);
    total = wideAdd(total, wideOf(m));
    squares = wideAdd(squares, vec2u(u32(m * m), 0u));
  }
  return Moments(reduceSum(l, total), reduceSum(l, squares));
}
// n * squares - total^2, both of 16-bit mantissas and at most 32767 values.
fn rowSpread(n: u32, moments: Moments) -> vec2u {
  let whole = wideMagnitude(moments.total).x;
  return wideSubtract(wideTimes(moments.squares, n), wideProduct(whole, whole));
}
fn wideTimes(a: vec2u, b: u32) -> vec2u {
  let low = wideProduct(a.x, b);
  return vec2u(low.x, low.y + a.y * b);
}
`,
};

/** Powers of two below the row's maximum, and their sum (section 17). */
const ROW_POWERS: WgslPiece = {
  name: "row-powers",
  needs: [SOFT_ADD, SCORE, EXP2, REDUCE_SUM],
  text: /* wgsl */ `
struct Power { u: u32, k: u32 }
fn powerBelow(largest: u32, x: u32) -> Power {
  let t = scoreOf(softSubtract(largest, x));
  return Power(exp2Fraction((0u - t) & 0xffffu), (t + 0xffffu) >> 16u);
}
fn rowPowers(base: u32, n: u32, l: u32, largest: u32) -> vec2u {
  var total = vec2u(0u, 0u);
  for (var i = l; i < n; i += WG) {
    let power = powerBelow(largest, in0[base + i]);
    total = wideAdd(total, vec2u(select((power.u << 16u) >> min(power.k, 31u), 0u, power.k > 31u), 0u));
  }
  return reduceSum(l, total);
}
// floor(total * 2^-places) with 24 bits.
fn placesOf(total: vec2u) -> u32 {
  return 40u - wideLeadingZeros(total);
}
`,
};

const ROW_LOG_SUM: WgslPiece = {
  name: "row-log-sum",
  needs: [ROW_POWERS, LOG],
  text: /* wgsl */ `
fn logSum(total: vec2u) -> u32 {
  let k = placesOf(total);
  let m = wideShiftRight(total, k).x;
  return roundInteger((i32(k) - 8) * LOG_OF_TWO + logFraction(m - 0x800000u), -24);
}
`,
};

const SUM_BODY = /* wgsl */ `
fn row(r: u32, l: u32) {
  let n = param(1u);
  let e = gridExponent(rowLargest(r * n, n, l), param(3u), -149);
  var total = vec2u(0u, 0u);
  for (var i = l; i < n; i += WG) { total = wideAdd(total, wideOf(gridMantissa(in0[r * n + i], e))); }
  let sum = reduceSum(l, total);
  if (l == 0u) {
    let y = RESULT;
    out0[r] = y;
    if (isBad(y)) { fail(param(2u), r); }
  }
}`;

interface RowSource {
  readonly pieces: readonly WgslPiece[];
  readonly body: string;
  readonly reads?: number;
}

const SOURCES: Readonly<Record<RowOp, RowSource>> = {
  sum: {
    pieces: [ROW_LARGEST, QUANTIZE, REDUCE_SUM, ROUND_WIDE],
    body: SUM_BODY.replace("RESULT", "roundSigned(sum, e)"),
  },
  mean: {
    pieces: [ROW_LARGEST, QUANTIZE, REDUCE_SUM, ROUND_WIDE, RATIO],
    body: SUM_BODY.replace("RESULT", "roundRatio(wideSign(sum), wideMagnitude(sum), n, e)"),
  },
  variance: {
    pieces: [ROW_LARGEST, ROW_MOMENTS, RATIO],
    body: /* wgsl */ `
fn row(r: u32, l: u32) {
  let n = param(1u);
  let e = gridExponent(rowLargest(r * n, n, l), 16u, -149);
  let moments = rowMoments(r * n, n, l, e);
  if (l == 0u) {
    let y = roundRatioSquare(0u, rowSpread(n, moments), n, 2 * e);
    out0[r] = y;
    if (isBad(y)) { fail(param(2u), r); }
  }
}`,
  },
  "reduce-max": {
    pieces: [ROW_MAX],
    body: /* wgsl */ `
fn row(r: u32, l: u32) {
  let n = param(1u);
  let key = rowMaxKey(r * n, n, l);
  if (l == 0u) { out0[r] = valueOfKey(key); }
}`,
  },
  argmax: {
    pieces: [ROW_MAX],
    body: /* wgsl */ `
fn row(r: u32, l: u32) {
  let n = param(1u);
  let key = rowMaxKey(r * n, n, l);
  var first = 0xffffffffu;
  for (var i = l; i < n; i += WG) {
    if (softKey(in0[r * n + i]) == key) { first = min(first, i); }
  }
  let found = reduceMax(l, ~first);
  if (l == 0u) { out0[r] = ~found; }
}`,
  },
  "rms-norm": {
    pieces: [ROW_LARGEST, ROW_MOMENTS, NORM],
    body: /* wgsl */ `
fn row(r: u32, l: u32) {
  let n = param(1u);
  let e = gridExponent(rowLargest(r * n, n, l), 16u, i32(param(3u)));
  let moments = rowMoments(r * n, n, l, e);
  let epsilon = epsilonOnGrid(n, param(4u), i32(param(5u)), e);
  let factor = normFactor(wideAdd(moments.squares, epsilon), n);
  for (var i = l; i < n; i += WG) {
    out0[r * n + i] = normValue(gridMantissa(in0[r * n + i], e), factor);
  }
}`,
  },
  "layer-norm": {
    pieces: [ROW_LARGEST, ROW_MOMENTS, NORM, INVERSE_ROOT, ROUND_WIDE],
    body: /* wgsl */ `
fn row(r: u32, l: u32) {
  let n = param(1u);
  let e = gridExponent(rowLargest(r * n, n, l), 16u, i32(param(3u)));
  let moments = rowMoments(r * n, n, l, e);
  // n^2 is below 2^30.
  let sum = wideAdd(rowSpread(n, moments), epsilonOnGrid(n * n, param(4u), i32(param(5u)), e));
  let j = (41 - i32(wideLeadingZeros(sum))) >> 1u;
  var v = wideShiftRight(sum, u32(max(2 * j, 0)));
  if (j < 0) { v = wideShiftLeft(sum, u32(-2 * j)); }
  let root = inverseRoot(max(v.x, 1u));
  let total = i32(moments.total.x);
  for (var i = l; i < n; i += WG) {
    let m = i32(n) * gridMantissa(in0[r * n + i], e) - total;
    let y = roundWide(u32(m) & 0x80000000u, wideProduct(u32(abs(m)), root), -28 - j);
    out0[r * n + i] = select(y, 0u, wideIsZero(sum));
  }
}`,
  },
  softmax: {
    pieces: [ROW_MAX, ROW_POWERS, WIDE_DIVIDE, ROUND_WIDE],
    body: /* wgsl */ `
fn row(r: u32, l: u32) {
  let n = param(1u);
  // Rows in a group see one more column each; groups of one row see all.
  let queries = param(3u);
  let seen = n - queries + r % queries + 1u;
  let largest = valueOfKey(rowMaxKey(r * n, seen, l));
  let total = rowPowers(r * n, seen, l, largest);
  let j = placesOf(total);
  let share = wideDivide(vec2u(0u, 0x8000u), wideShiftRight(total, j).x).value.x;
  for (var i = l; i < n; i += WG) {
    var y = 0u;
    if (i < seen) {
      let power = powerBelow(largest, in0[r * n + i]);
      y = roundWide(0u, wideProduct(power.u, share), -i32(power.k) - i32(j) - 31);
    }
    out0[r * n + i] = y;
  }
}`,
  },
  "log-softmax": {
    pieces: [ROW_MAX, ROW_LOG_SUM],
    body: /* wgsl */ `
fn row(r: u32, l: u32) {
  let n = param(1u);
  let largest = valueOfKey(rowMaxKey(r * n, n, l));
  let lse = logSum(rowPowers(r * n, n, l, largest));
  for (var i = l; i < n; i += WG) {
    let distance = softSubtract(in0[r * n + i], largest);
    let y = softSubtract(distance, lse);
    out0[r * n + i] = y;
    if (isBad(distance) || isBad(y)) { fail(param(2u), r); }
  }
}`,
  },
  "cross-entropy": {
    pieces: [ROW_MAX, ROW_LOG_SUM],
    reads: 2,
    body: /* wgsl */ `
fn row(r: u32, l: u32) {
  let n = param(1u);
  let largest = valueOfKey(rowMaxKey(r * n, n, l));
  let lse = logSum(rowPowers(r * n, n, l, largest));
  if (l == 0u) {
    let target_ = in1[r];
    if (target_ >= n) { failRange(param(2u), r); }
    let distance = softSubtract(in0[r * n + min(target_, n - 1u)], largest);
    let y = softSubtract(lse, distance);
    out0[r] = y;
    if (isBad(distance) || isBad(y)) { fail(param(2u), r); }
  }
}`,
  },
  quantize: {
    pieces: [ROW_LARGEST, QUANTIZE],
    body: /* wgsl */ `
fn row(r: u32, l: u32) {
  let n = param(1u);
  let e = gridExponent(rowLargest(r * n, n, l), param(3u), -149);
  WRITE_MANTISSAS
  if (l == 0u) { out0[param(4u) * param(0u) + r] = u32(e); }
}`,
  },
  "quantize-columns": {
    pieces: [ROW_LARGEST, SOFT_FLOAT],
    body: /* wgsl */ `
struct ColumnGrid { scale: u32, exponent: i32 }
fn columnGrid(largest: u32, limit: u32) -> ColumnGrid {
  let mantissa = softMantissa(largest);
  if (mantissa == 0u) { return ColumnGrid(128u, -149); }
  let zeros = countLeadingZeros(mantissa) - 8u;
  let m = mantissa << zeros;
  let e = softExponent(largest) - i32(zeros);
  // The least exponent with which the factor 255 is enough.
  let top = limit * 255u;
  let places = countLeadingZeros(top) - 8u;
  let exponent = clamp(e + i32(places) + select(1, 0, m <= top << places), -149, 122);
  // limit * 2^18 is above any m.
  let shift = u32(clamp(exponent - e, 0, 18));
  let divisor = limit << shift;
  return ColumnGrid(max(128u, (m + divisor - 1u) / divisor), exponent);
}
fn columnMantissa(x: u32, grid: ColumnGrid) -> i32 {
  let shift = softExponent(x) - grid.exponent;
  let m = softMantissa(x) << u32(clamp(shift, 0, 31));
  let divisor = grid.scale << u32(clamp(-shift, 0, 24));
  let rest = m % divisor;
  let whole = m / divisor;
  // What is left is below 2^24 where the divisor is not small.
  let isUp = rest > divisor - rest || (rest == divisor - rest && (whole & 1u) == 1u);
  let magnitude = select(whole + select(0u, 1u, isUp), 0u, shift < -24);
  return i32(select(magnitude, 0u - magnitude, (x & 0x80000000u) != 0u));
}
fn row(r: u32, l: u32) {
  let n = param(1u);
  let rows = param(0u);
  let grid = columnGrid(rowLargest(r * n, n, l), param(3u));
  WRITE_MANTISSAS
  if (l == 0u) {
    out0[rows * param(4u) + r] = u32(grid.exponent);
    out0[rows * param(4u) + rows + r] = grid.scale;
  }
}`,
  },
};

/** Text that writes row r of mantissas given by an expression in x, in rows of `param(4u)` words. */
function writeMantissas(limbs: Limbs, mantissa: string): string {
  if (limbs === "word") {
    return `for (var i = l; i < n; i += WG) { let x = in0[r * n + i]; out0[r * n + i] = u32(${mantissa}); }`;
  }
  const store = {
    1: "out0[at] = packedBytes(m);",
    2: /* wgsl */ `let high = vec4i(limbHigh(m.x), limbHigh(m.y), limbHigh(m.z), limbHigh(m.w));
    out0[at] = packedBytes(m - (high << vec4u(7u, 7u, 7u, 7u)));
    out0[at + (param(4u) >> 1u)] = packedBytes(high);`,
  }[limbs];
  return /* wgsl */ `for (var w = l; w < (n + 3u) / 4u; w += WG) {
    var m = vec4i(0, 0, 0, 0);
    for (var j = 0u; j < min(4u, n - 4u * w); j++) { let x = in0[r * n + 4u * w + j]; m[j] = ${mantissa}; }
    let at = r * param(4u) + w;
    ${store}
  }`;
}

const kernels = new Map<string, Kernel>();

/** The kernel of an op with workgroups of a size; limbs are those of the mantissas that it writes, if any. */
function kernelFor(op: RowOp, workgroupSize: number, limbs: Limbs = "word"): Kernel {
  const name = `${op}-${limbs}-${workgroupSize}`;
  const known = kernels.get(name);
  if (known !== undefined) return known;
  const { pieces, reads } = SOURCES[op];
  const mantissa = op === "quantize" ? "gridMantissa(x, e)" : "columnMantissa(x, grid)";
  const body = SOURCES[op].body.replace("WRITE_MANTISSAS", writeMantissas(limbs, mantissa));
  const kernel = rowKernel({
    name,
    pieces: [...pieces, LIMBS, PACKED_BYTES],
    reads: reads ?? 1,
    writes: 1,
    params: PARAMS,
    workgroupSize,
    body,
  });
  kernels.set(name, kernel);
  return kernel;
}

/** Threads for rows of a length: few where there is little to do. */
export function rowWorkgroup(plan: Plan, columns: number): number {
  return plan.rowWorkgroup ?? (columns <= 512 ? 64 : 256);
}

/** Plans an op with a workgroup for each row of its first operand. */
export function planRows(plan: Plan, index: number, node: NodeOf<RowOp>): void {
  const { shape } = plan.inputType(node, 0);
  const columns = lastAxis(shape);
  const reads = node.inputs.map((_, position) => plan.input(node, position));
  const rows = rowCount(shape);
  const isIdle =
    columns === 0 && elementCount(node.type.shape) === 0 && node.type.element !== "bfp";
  plan.add({
    kernel: kernelFor(node.op, rowWorkgroup(plan, columns), limbsOfNode(node)),
    params: [rows, columns, index, ...extraParams(plan, node)],
    reads,
    writes: [plan.define(index)],
    workgroups: isIdle ? 0 : rows,
  });
}

function limbsOfNode(node: Node<number>): Limbs {
  return node.type.element === "bfp" ? limbsOf(node.type.bits) : "word";
}

/** Plans the index of the largest value of each row of the first operand. */
export function planArgmax(plan: Plan, index: number, node: NodeOf<"argmax" | "sample">): void {
  const { shape } = plan.inputType(node, 0);
  const columns = lastAxis(shape);
  plan.add({
    kernel: kernelFor("argmax", rowWorkgroup(plan, columns)),
    params: [rowCount(shape), columns, index],
    reads: [plan.input(node, 0)],
    writes: [plan.define(index)],
    workgroups: rowCount(shape),
  });
}

function extraParams(plan: Plan, node: NodeOf<RowOp>): number[] {
  switch (node.op) {
    case "sum":
    case "mean":
    case "variance":
      return [node.bits];
    case "quantize":
      return [node.bits, rowWords(node.bits, lastAxis(node.type.shape))];
    case "quantize-columns":
      return [2 ** (node.bits - 1) - 1, rowWords(node.bits, lastAxis(node.type.shape))];
    case "rms-norm":
      return epsilonParams(node.epsilon, 45);
    case "layer-norm":
      return epsilonParams(node.epsilon, 29);
    case "softmax":
      return [node.causal ? Math.max(1, plan.inputType(node, 0).shape.at(-2)!) : 1];
    default:
      return [];
  }
}

/** The least exponent of the row's grid, and the mantissa and exponent of epsilon. */
function epsilonParams(epsilon: number, places: number): number[] {
  if (epsilon === 0) return [-149, 0, 0];
  const { mantissa, exponent } = decodeF32(epsilon);
  const log = exponent + mantissa.toString(2).length - 1;
  return [Math.max(-149, Math.ceil((log - places) / 2)), Number(mantissa), exponent];
}

/** A node that `planRows` takes. */
export function isRowOp(node: Node<number>): node is NodeOf<RowOp> {
  return Object.hasOwn(SOURCES, node.op);
}
