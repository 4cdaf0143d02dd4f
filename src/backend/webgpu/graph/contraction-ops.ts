// Matmuls of bfp rows, to f32 and onto a gradient grid (docs/spec/01-numerics.md sections 3 and 18). Mantissas
// of up to 14 bits are multiplied as bytes, whose sums fit a word for every permitted length; wider ones
// in tiles that move to two words as often as is provably needed. Few rows on the left get a kernel
// that reads each row on the right once.

import { assert } from "gyrotron/base";
import { type BfpType, elementCount, rowCount } from "gyrotron/tensor";
import { GRID } from "../wgsl/grid.ts";
import type { WgslPiece } from "../wgsl/piece.ts";
import { ROUND_WIDE } from "../wgsl/round-float.ts";
import { WIDE } from "../wgsl/wide.ts";
import type { NodeOf } from "./graph-node.ts";
import { elementGroups, elementKernel, type Kernel, rowKernel } from "./kernel.ts";
import { type Limbs, limbsOf, mantissaReader, mantissaWords, rowWords } from "./mantissas.ts";
import type { Plan, Slot } from "./plan.ts";

type Contraction = NodeOf<"matmul" | "matmul-grid">;

/** Threads of a tile: so many times so many. */
const SIDE = 16;
/** Rows on the left that the kernel for few rows takes together. */
const FEW = 4;

/**
 * Parameters: tiles, node, M, N, K, tiles along N, tiles of one product, words before the left and the right
 * exponents, right rows of one batch entry (0 if shared), right rows in all, whether scaled, tiles of products
 * between spills, words of a left and of a right row.
 */
const PARAMS = 16;

/** What becomes of a sum: `finish(sum, leftRow, rightRow, at)`. */
function finishPiece(op: Contraction["op"]): WgslPiece {
  const isGrid = op === "matmul-grid";
  return {
    name: `finish-${op}`,
    needs: [WIDE, isGrid ? GRID : ROUND_WIDE],
    text: /* wgsl */ `
fn finish(unscaled: vec2u, leftRow: u32, rightRow: u32, at: u32) {
  let e = i32(in0[param(7u) + leftRow]) + i32(in1[param(8u) + rightRow]);
  var sum = unscaled;
  if (param(11u) != 0u) {
    let scale = in1[param(8u) + param(10u) + rightRow];
    let low = wideProduct(sum.x, scale);
    sum = vec2u(low.x, low.y + sum.y * scale);
  }
  ${isGrid ? STORE_GRID : STORE_FLOAT}
}`,
  };
}

const STORE_FLOAT = /* wgsl */ `let y = roundSigned(sum, e);
  out0[at] = y;
  if (isBad(y)) { fail(param(1u), leftRow); }`;

const STORE_GRID = /* wgsl */ `let grid = i32(in2[0]);
  let y = gridScaled(wideSign(sum), wideMagnitude(sum), e - clamp(grid, -400, 200));
  out0[2u * at] = y.value.x;
  out0[2u * at + 1u] = y.value.y;
  if (!isGrid(grid)) { failRange(param(1u), 0u); }
  if (y.isOver) { failRange(param(1u), leftRow); }`;

/** Which batch entry and corner of it a tile of a size has. */
function tilePlace(size: number): string {
  return /* wgsl */ `
  let m = param(2u);
  let n = param(3u);
  let batch = tile / param(6u);
  let inBatch = tile % param(6u);
  let y0 = inBatch / param(5u) * ${size}u;
  let x0 = inBatch % param(5u) * ${size}u;
  let ly = l / ${SIDE}u;
  let lx = l % ${SIDE}u;`;
}

/** Products of one tile of words: as many as fit a word, or two by two. */
const INNER = {
  tiles: /* wgsl */ `
    for (var k = 0u; k < 16u; k++) { part += left[ly][k] * right[lx][k]; }
    spillIn -= 1u;
    if (spillIn == 0u) { sum = wideAdd(sum, wideOf(part)); part = 0; spillIn = param(12u); }`,
  pairs: /* wgsl */ `
    for (var k = 0u; k < 16u; k += 2u) {
      sum = wideAdd(sum, wideOf(left[ly][k] * right[lx][k] + left[ly][k + 1u] * right[lx][k + 1u]));
    }`,
} as const;

/** A kernel for mantissas of any width: a thread for each element of a tile. */
function wordKernel(op: Contraction["op"], shape: KernelShape, inner: keyof typeof INNER): Kernel {
  return rowKernel({
    name: `${op}-${inner}`,
    pieces: [
      finishPiece(op),
      mantissaReader("leftMantissa", "in0", shape.left),
      mantissaReader("rightMantissa", "in1", shape.right),
    ],
    reads: op === "matmul" ? 2 : 3,
    writes: 1,
    params: PARAMS,
    workgroupSize: SIDE * SIDE,
    body: /* wgsl */ `
var<workgroup> left: array<array<i32, 16>, 16>;
var<workgroup> right: array<array<i32, 16>, 16>;
fn row(tile: u32, l: u32) {${tilePlace(SIDE)}
  let length = param(4u);
  let leftRow = batch * m + y0 + ly;
  let loadRow = batch * param(9u) + x0 + ly;
  var sum = vec2u(0u, 0u);
  var part = 0;
  var spillIn = param(12u);
  for (var start = 0u; start < length; start += 16u) {
    let k = start + lx;
    var a = 0;
    var b = 0;
    if (y0 + ly < m && k < length) { a = leftMantissa(leftRow * param(13u), param(13u), k); }
    if (x0 + ly < n && k < length) { b = rightMantissa(loadRow * param(14u), param(14u), k); }
    left[ly][lx] = a;
    right[ly][lx] = b;
    workgroupBarrier();${INNER[inner]}
    workgroupBarrier();
  }
  if (y0 + ly < m && x0 + lx < n) {
    let rightRow = batch * param(9u) + x0 + lx;
    finish(wideAdd(sum, wideOf(part)), leftRow, rightRow, leftRow * n + x0 + lx);
  }
}`,
  });
}

/** How the operands lie. */
interface KernelShape {
  readonly left: Limbs;
  readonly right: Limbs;
}

/** Texts made for every combination of indices. */
function each(counts: readonly number[], text: (...at: number[]) => string): string {
  const [count = 0, ...rest] = counts;
  return Array.from({ length: count }, (_, i) =>
    rest.length === 0 ? text(i) : each(rest, (...at) => text(i, ...at)),
  ).join("\n");
}

/** The sum of products of limbs: power p counts 2^(7 p). */
function powersText(powers: number, name: (power: number) => string): string {
  return Array.from({ length: powers }, (_, p) => p).reduce(
    (sum, p) =>
      p === 0
        ? `wideOf(${name(0)})`
        : `wideAdd(${sum}, wideShiftLeft(wideOf(${name(p)}), ${7 * p}u))`,
    "",
  );
}

/** A kernel for bytes: each thread computes `block * block` elements of a tile. */
function byteKernel(
  op: Contraction["op"],
  left: 1 | 2,
  right: 1 | 2,
  block: number,
  dot: WgslPiece,
): Kernel {
  const tile = SIDE * block;
  const depth = 8;
  const powers = left + right - 1;
  const load = (
    name: string,
    input: string,
    limbs: number,
    origin: string,
    size: string,
  ): string => /* wgsl */ `
    for (var i = l; i < ${tile * depth * limbs}u; i += WG) {
      let word = i % ${depth}u;
      let at = i / ${depth}u % ${tile}u;
      let limb = i / ${depth * tile}u;
      var value = 0u;
      if (${origin} + at < ${size} && start + word < words) {
        value = ${input}[(${name}Base + ${origin} + at) * ${limbs}u * words + limb * words + start + word];
      }
      ${name}[i] = value;
    }`;
  const place = (limb: number, at: string): string =>
    `${limb * tile * depth}u + (${at}) * ${depth}u + k`;
  return rowKernel({
    name: `${op}-bytes-${left}-${right}-${block}`,
    pieces: [finishPiece(op), dot],
    reads: op === "matmul" ? 2 : 3,
    writes: 1,
    params: PARAMS,
    workgroupSize: SIDE * SIDE,
    body: /* wgsl */ `
var<workgroup> left: array<u32, ${tile * depth * left}>;
var<workgroup> right: array<u32, ${tile * depth * right}>;
fn row(tile: u32, l: u32) {${tilePlace(tile)}
  let leftBase = batch * m;
  let rightBase = batch * param(9u);
  let words = (param(4u) + 3u) / 4u;
${each([block, block, powers], (i, j, p) => `  var s${i}${j}${p} = 0;`)}
  for (var start = 0u; start < words; start += ${depth}u) {${load("left", "in0", left, "y0", "m")}
${load("right", "in1", right, "x0", "n")}
    workgroupBarrier();
    for (var k = 0u; k < ${depth}u; k++) {
${each([block, left], (i, a) => `      let a${i}${a} = left[${place(a, `ly + ${i * SIDE}u`)}];`)}
${each([block, right], (j, b) => `      let b${j}${b} = right[${place(b, `lx + ${j * SIDE}u`)}];`)}
${each([block, block, left, right], (i, j, a, b) => `      s${i}${j}${a + b} += dotBytes(a${i}${a}, b${j}${b});`)}
    }
    workgroupBarrier();
  }
${each(
  [block, block],
  (i, j) => `  if (y0 + ly + ${i * SIDE}u < m && x0 + lx + ${j * SIDE}u < n) {
    let y = leftBase + y0 + ly + ${i * SIDE}u;
    let x = x0 + lx + ${j * SIDE}u;
    finish(${powersText(powers, (p) => `s${i}${j}${p}`)}, y, rightBase + x, y * n + x);
  }`,
)}
}`,
  });
}

/** A kernel for bytes and few rows on the left: a workgroup for each row on the right. */
function fewKernel(op: Contraction["op"], left: 1 | 2, right: 1 | 2, dot: WgslPiece): Kernel {
  const powers = left + right - 1;
  const sums = FEW * powers;
  return rowKernel({
    name: `${op}-few-${left}-${right}`,
    pieces: [finishPiece(op), dot],
    reads: op === "matmul" ? 2 : 3,
    writes: 1,
    params: PARAMS,
    workgroupSize: 64,
    body: /* wgsl */ `
var<workgroup> partial: array<array<i32, ${sums}>, WG>;
fn row(tile: u32, l: u32) {
  let m = param(2u);
  let n = param(3u);
  let x = tile % n;
  let leftBase = tile / n * m;
  let rightRow = tile / n * param(9u) + x;
  let words = (param(4u) + 3u) / 4u;
${each([FEW, powers], (i, p) => `  var s${i}${p} = 0;`)}
${each([FEW], (i) => `  let at${i} = (leftBase + min(${i}u, m - 1u)) * ${left}u * words;`)}
  for (var k = l; k < words; k += WG) {
${each([right], (b) => `    let b${b} = in1[rightRow * ${right}u * words + ${b}u * words + k];`)}
${each([FEW, left], (i, a) => `    let a${i}${a} = in0[at${i} + ${a}u * words + k];`)}
${each([FEW, left, right], (i, a, b) => `    s${i}${a + b} += dotBytes(a${i}${a}, b${b});`)}
  }
${each([FEW, powers], (i, p) => `  partial[l][${i * powers + p}] = s${i}${p};`)}
  for (var s = WG / 2u; s > 0u; s = s >> 1u) {
    workgroupBarrier();
    if (l < s) {
      for (var i = 0u; i < ${sums}u; i++) { partial[l][i] += partial[l + s][i]; }
    }
  }
  workgroupBarrier();
  if (l < m) {
    let first = l * ${powers}u;
    let sum = ${powersText(powers, (p) => `partial[0][first + ${p}u]`)};
    finish(sum, leftBase + l, rightRow, (leftBase + l) * n + x);
  }
}`,
  });
}

const kernels = new Map<string, Kernel>();

function known(name: string, make: () => Kernel): Kernel {
  const kernel = kernels.get(name) ?? make();
  kernels.set(name, kernel);
  return kernel;
}

interface Choice {
  readonly kernel: Kernel;
  /** Rows and columns of a tile. */
  readonly tile: readonly [number, number];
}

function chooseKernel(plan: Plan, node: Contraction, m: number, n: number): Choice {
  const { op } = node;
  const [left, right] = operands(plan, node).map(({ bits }) => limbsOf(bits)) as [Limbs, Limbs];
  if (left === "word" || right === "word") {
    const inner = productsTogether(plan, node) < SIDE ? "pairs" : "tiles";
    const make = (): Kernel => wordKernel(op, { left, right }, inner);
    return { kernel: known(`${op} ${left} ${right} ${inner}`, make), tile: [SIDE, SIDE] };
  }
  const { dot } = plan;
  if (m <= FEW) {
    const make = (): Kernel => fewKernel(op, left, right, dot);
    return { kernel: known(`${op} ${left} ${right} few ${dot.name}`, make), tile: [FEW, 1] };
  }
  const block = m > 2 * SIDE && n > 2 * SIDE ? 4 : 1;
  const make = (): Kernel => byteKernel(op, left, right, block, dot);
  return {
    kernel: known(`${op} ${left} ${right} ${block} ${dot.name}`, make),
    tile: [SIDE * block, SIDE * block],
  };
}

/** Products that fit a signed word together. */
function productsTogether(plan: Plan, node: Contraction): number {
  const [left, right] = operands(plan, node);
  return Math.floor((2 ** 31 - 1) / ((2 ** (left.bits - 1) - 1) * (2 ** (right.bits - 1) - 1)));
}

function operands(plan: Plan, node: Contraction): [BfpType<number>, BfpType<number>] {
  const left = plan.inputType(node, 0);
  const right = plan.inputType(node, 1);
  assert(left.element === "bfp" && right.element === "bfp", "a matmul of bfp");
  return [left, right];
}

/** Plans a matmul. */
export function planContraction(plan: Plan, index: number, node: Contraction): void {
  const [left, right] = operands(plan, node);
  const [m, length] = left.shape.slice(-2) as [number, number];
  const n = right.shape.at(-2)!;
  const batches = elementCount(left.shape.slice(0, -2));
  const { kernel, tile } = chooseKernel(plan, node, m, n);
  const across = Math.ceil(n / tile[1]);
  const perBatch = Math.ceil(m / tile[0]) * across;
  const target = plan.define(index);
  if (node.op === "matmul-grid" && elementCount(node.type.shape) === 0)
    planGridCheck(plan, index, plan.input(node, 2));
  plan.add({
    kernel,
    params: [
      batches * perBatch,
      index,
      m,
      n,
      length,
      across,
      perBatch,
      mantissaWords(left),
      mantissaWords(right),
      right.shape.length === 2 ? 0 : n,
      rowCount(right.shape),
      right.scaled ? 1 : 0,
      Math.max(1, Math.floor(productsTogether(plan, node) / SIDE)),
      rowWords(left.bits, length),
      rowWords(right.bits, length),
    ],
    reads: node.inputs.map((_, position) => plan.input(node, position)),
    writes: [target],
    workgroups: batches * perBatch,
  });
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
