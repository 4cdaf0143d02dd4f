// Matmuls of bfp rows, to f32 and onto a gradient grid (docs/spec/01-numerics.md sections 3 and 18): tiles in
// workgroup memory, sums in one word for as many products as provably fit, then in two.

import { elementCount, type Node } from "gyrotron/tensor";
import { GRID } from "../wgsl/grid.ts";
import type { WgslPiece } from "../wgsl/piece.ts";
import { ROUND_WIDE } from "../wgsl/round-float.ts";
import { WIDE } from "../wgsl/wide.ts";
import type { NodeOf } from "./graph-node.ts";
import { elementGroups, elementKernel, type Kernel, rowKernel } from "./kernel.ts";
import type { Plan, Slot } from "./plan.ts";

/** Rows, columns and products of a tile. */
const TILE = 16;

type Contraction = NodeOf<"matmul" | "matmul-grid">;

/**
 * Parameters: tiles, node, M, N, K, tiles along N, tiles of one product, words of all left mantissas, of all
 * right ones, right rows of one batch entry (0 if shared), right rows in all, whether scaled, tiles of products
 * between spills.
 */
const PARAMS = 16;

/** What becomes of a sum: `finish(sum, exponent, at, row)`. */
const TO_FLOAT: WgslPiece = {
  name: "finish",
  needs: [ROUND_WIDE],
  text: /* wgsl */ `
fn finish(sum: vec2u, e: i32, at: u32, row: u32) {
  let y = roundSigned(sum, e);
  out0[at] = y;
  if (isBad(y)) { fail(param(1u), row); }
}
`,
};

const TO_GRID: WgslPiece = {
  name: "finish",
  needs: [GRID],
  text: /* wgsl */ `
fn finish(sum: vec2u, e: i32, at: u32, row: u32) {
  let grid = i32(in2[0]);
  let y = gridScaled(wideSign(sum), wideMagnitude(sum), e - clamp(grid, -400, 200));
  out0[2u * at] = y.value.x;
  out0[2u * at + 1u] = y.value.y;
  if (!isGrid(grid)) { failRange(param(1u), 0u); }
  if (y.isOver) { failRange(param(1u), row); }
}
`,
};

/** Products of one tile that fit a word together, and the rest of the tile. */
const INNER_WHOLE = /* wgsl */ `
    for (var k = 0u; k < 16u; k++) { part += left[ly][k] * right[lx][k]; }
    spillIn -= 1u;
    if (spillIn == 0u) { sum = wideAdd(sum, wideOf(part)); part = 0; spillIn = param(12u); }`;

const INNER_PAIRS = /* wgsl */ `
    for (var k = 0u; k < 16u; k += 2u) {
      sum = wideAdd(sum, wideOf(left[ly][k] * right[lx][k] + left[ly][k + 1u] * right[lx][k + 1u]));
    }`;

function tileBody(inner: string): string {
  return /* wgsl */ `
var<workgroup> left: array<array<i32, 16>, 16>;
var<workgroup> right: array<array<i32, 16>, 16>;
fn scaled(sum: vec2u, scale: u32) -> vec2u {
  let low = wideProduct(sum.x, scale);
  return vec2u(low.x, low.y + sum.y * scale);
}
fn row(tile: u32, l: u32) {
  let m = param(2u);
  let n = param(3u);
  let length = param(4u);
  let batch = tile / param(6u);
  let inBatch = tile % param(6u);
  let ly = l / 16u;
  let lx = l % 16u;
  let y = inBatch / param(5u) * 16u + ly;
  let x = inBatch % param(5u) * 16u + lx;
  let leftRow = batch * m + y;
  let rightRow = batch * param(9u) + x;
  // The thread loads element lx of the tile's left row ly, and of its right row ly.
  let loadRow = inBatch % param(5u) * 16u + ly;
  var sum = vec2u(0u, 0u);
  var part = 0;
  var spillIn = param(12u);
  for (var start = 0u; start < length; start += 16u) {
    let k0 = start + lx;
    var a = 0;
    var b = 0;
    if (y < m && k0 < length) { a = i32(in0[leftRow * length + k0]); }
    if (loadRow < n && k0 < length) { b = i32(in1[(batch * param(9u) + loadRow) * length + k0]); }
    left[ly][lx] = a;
    right[ly][lx] = b;
    workgroupBarrier();${inner}
    workgroupBarrier();
  }
  sum = wideAdd(sum, wideOf(part));
  if (y < m && x < n) {
    let e = i32(in0[param(7u) + leftRow]) + i32(in1[param(8u) + rightRow]);
    if (param(11u) != 0u) { sum = scaled(sum, in1[param(8u) + param(10u) + rightRow]); }
    finish(sum, e, leftRow * n + x, leftRow);
  }
}`;
}

const kernels = new Map<string, Kernel>();

function tileKernel(op: Contraction["op"], isPairwise: boolean): Kernel {
  const name = `${op}-${isPairwise ? "pairs" : "tiles"}`;
  const known = kernels.get(name);
  if (known !== undefined) return known;
  const kernel = rowKernel({
    name,
    pieces: [WIDE, op === "matmul" ? TO_FLOAT : TO_GRID],
    reads: op === "matmul" ? 2 : 3,
    writes: 1,
    params: PARAMS,
    workgroupSize: TILE * TILE,
    body: tileBody(isPairwise ? INNER_PAIRS : INNER_WHOLE),
  });
  kernels.set(name, kernel);
  return kernel;
}

/** Plans a matmul. */
export function planContraction(plan: Plan, index: number, node: Contraction): void {
  const left = plan.inputType(node, 0);
  const right = plan.inputType(node, 1);
  const [m, length] = left.shape.slice(-2) as [number, number];
  const n = right.shape.at(-2)!;
  const batches = elementCount(left.shape.slice(0, -2));
  const isShared = right.shape.length === 2;
  const target = plan.define(index);
  // Products that fit a signed word together.
  const together = Math.floor((2 ** 31 - 1) / (mantissaMax(left) * mantissaMax(right)));
  const tilesBetweenSpills = Math.floor(together / TILE);
  const across = Math.ceil(n / TILE);
  const perBatch = Math.ceil(m / TILE) * across;
  if (node.op === "matmul-grid" && elementCount(node.type.shape) === 0)
    planGridCheck(plan, index, plan.input(node, 2));
  plan.add({
    kernel: tileKernel(node.op, tilesBetweenSpills === 0),
    params: [
      batches * perBatch,
      index,
      m,
      n,
      length,
      across,
      perBatch,
      elementCount(left.shape),
      elementCount(right.shape),
      isShared ? 0 : n,
      elementCount(right.shape.slice(0, -1)),
      right.element === "bfp" && right.scaled ? 1 : 0,
      Math.max(1, tilesBetweenSpills),
    ],
    reads: node.inputs.map((_, position) => plan.input(node, position)),
    writes: [target],
    workgroups: batches * perBatch,
  });
}

function mantissaMax(type: Node<number>["type"]): number {
  return type.element === "bfp" ? 2 ** (type.bits - 1) - 1 : 1;
}

const GRID_CHECK = elementKernel({
  name: "grid-check",
  pieces: [GRID],
  reads: 1,
  writes: 0,
  params: 4,
  body: "fn element(i: u32) { if (!isGrid(i32(in0[0]))) { failRange(param(1u), 0u); } }",
});

/** Plans the check of a grid's exponent for a value without elements. */
export function planGridCheck(plan: Plan, index: number, exponent: Slot): void {
  plan.add({
    kernel: GRID_CHECK,
    params: [1, index],
    reads: [exponent],
    writes: [],
    workgroups: elementGroups(1),
  });
}
