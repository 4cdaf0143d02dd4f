// Matrix products with what comes before and after them fused: rows quantized (or norm, gain and quantized) in
// each workgroup, sums of bytes exact in 32 bits, one rounding, then the epilogue.
//
// G neighbouring threads share an output's row of weights and add up at the end. A workgroup goes through
// blocks of outputs, so that preparing its row pays for several. Weights lie as [output][limb][words], words
// in whole vectors; columns hold scale | exponent << 16. Weights of one byte have multipliers of 32 behind them,
// in whole vectors too.
//
// Accumulators of 32 bits: a weight of two bytes adds at most 128 * 64 twice, 65536 times: below 2^31. One byte
// with its multiplier adds at most 127 * 127 * 64, so a thread takes 130 vectors of 16 (`blockOutputs` gives
// an output enough threads for that), and threads' sums are added in 64 bits.
//
// Parameters: 0 vectors of a limb, 1 outputs, 2 first output, 3 and 4 the outputs from which the op counts
// one and two more, 5 the op, 6 stride of the result; from ROW_PARAMS on the row's.

import { assert } from "gyrotron/base";
import type { ShaderSource } from "../device.ts";
import type { WeightLimbs } from "../pack.ts";
import { composeWgsl, type WgslPiece } from "../wgsl/piece.ts";
import { SILU } from "../wgsl/program.ts";
import { ROUND_WIDE } from "../wgsl/round-float.ts";
import { SOFT_ADD, SOFT_MULTIPLY } from "../wgsl/soft-float.ts";
import {
  type Limbs,
  ROW_PARAM_COUNT,
  ROW_PARAMS,
  type RowSource,
  rowSourcePiece,
} from "./activation.ts";
import { paramsPiece, statusPiece, workgroupPiece } from "./workgroup.ts";

/** `store`: the product; `residual`: added to what is there; `gate`: outputs in pairs, silu(even) * odd. */
export type Epilogue = "store" | "residual" | "gate";

/** What a kernel is made for. */
export interface ProjectShape {
  /** `packed`: rows come from `prepareShader`. */
  readonly source: RowSource | "packed";
  readonly activationLimbs: Limbs;
  readonly weightLimbs: WeightLimbs;
  readonly epilogue: Epilogue;
  /** Rows of a workgroup; 1 unless they are packed. */
  readonly rows: 1 | 2 | 4 | 8;
  /** Outputs of a block, as `blockOutputs` says. */
  readonly outputs: BlockOutputs;
  readonly dot: WgslPiece;
}

const THREADS = 128;
/** Words of workgroup memory for a tile of activations. */
const TILE_WORDS = 2048;

/** Vectors of 16 weights with multipliers that a thread may sum: 130 * 16 * 127 * 127 * 64 < 2^31. */
const THREAD_VECTORS = 130;

/** Outputs that a workgroup computes at a time. */
export type BlockOutputs = 2 | 8 | 32;

/** Outputs of a block: many for many rows, fewer where each needs more threads lest their sums overflow. */
export function blockOutputs(
  rows: number,
  vectors: number,
  weightLimbs: WeightLimbs,
): BlockOutputs {
  const fits = (outputs: number): boolean =>
    weightLimbs === 2 || vectors <= THREAD_VECTORS * (THREADS / outputs);
  if (rows > 1 && fits(32)) return 32;
  if (fits(8)) return 8;
  assert(fits(2), "a product longer than the backend's limit");
  return 2;
}

/** The kernel. Bindings: params, row map, source, gain or exponents, weights, columns, result, status. */
export function projectShader(shape: ProjectShape): ShaderSource {
  const { source, activationLimbs: la, weightLimbs: lw, rows, dot, epilogue } = shape;
  const isPacked = source === "packed";
  const { outputs } = shape;
  const group = THREADS / outputs;
  const powers = la + lw - 1;
  const vectors = Math.floor(TILE_WORDS / 4 / la / rows);
  const main: WgslPiece = {
    name: "main",
    needs: [
      paramsPiece(ROW_PARAMS + ROW_PARAM_COUNT),
      statusPiece(7),
      workgroupPiece(THREADS),
      dot,
      ROUND_WIDE,
      ...(epilogue === "residual" ? [SOFT_ADD] : []),
      ...(epilogue === "gate" ? [SILU, SOFT_MULTIPLY] : []),
      ...(isPacked ? [] : [rowSourcePiece(source, la, 2)]),
    ],
    text: /* wgsl */ `
@group(0) @binding(1) var<storage, read> rowMap: array<u32>;
${isPacked ? PACKED_BINDINGS : ""}
@group(0) @binding(4) var<storage, read> weights: array<vec4u>;
@group(0) @binding(5) var<storage, read> columns: array<u32>;
@group(0) @binding(6) var<storage, read_write> result: array<u32>;
const OUTPUTS = ${outputs}u;
const GROUP = ${group}u;
const ROWS = ${rows}u;
const VECTORS = ${vectors}u;
var<workgroup> tile: array<u32, ${TILE_WORDS}>;
var<workgroup> partial: array<i32, ${rows * powers * THREADS}>;
${epilogue === "gate" ? `var<workgroup> projected: array<u32, ${rows * outputs}>;` : ""}
${sumText(rows, powers)}
${isPacked ? fillPacked(la) : fillOwn(la)}
${finishText(epilogue)}
@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) w: vec3u, @builtin(num_workgroups) g: vec3u, @builtin(local_invocation_index) l: u32) {
  let count = rowMap[0];
  let slot = w.y * ROWS;
  let all = param(0u);
  let isWhole = all <= VECTORS;
  ${isPacked ? "" : "let state = prepareRow(l, rowMap[1u + slot]);"}
  if (isWhole) {
    fillTile(l, slot, 0u, all${isPacked ? "" : ", state"});
    workgroupBarrier();
  }
  for (var block = w.x; block * OUTPUTS < param(1u); block += g.x) {
    let output = min(block * OUTPUTS + l / GROUP, param(1u) - 1u);
    var sums = Sums();
    for (var start = 0u; start < all; start += VECTORS) {
      let length = min(VECTORS, all - start);
      if (!isWhole) {
        fillTile(l, slot, start, length${isPacked ? "" : ", state"});
        workgroupBarrier();
      }
      for (var v = l % GROUP; v < length; v += GROUP) {
${lw === 1 ? SCALE_LOAD : loadText(lw)}
${lw === 1 ? scaledDotText(rows, la) : dotText(rows, la, lw)}
      }
      if (!isWhole) { workgroupBarrier(); }
    }
${storePartials(rows, powers)}
    workgroupBarrier();
    finishBlock(l, slot, block * OUTPUTS, count${isPacked ? "" : ", state.exponent"});
    workgroupBarrier();
  }
}
fn exactSum(r: u32, output: u32) -> vec2u {
${totalText(powers)}
}
fn productAt(row: u32, r: u32, at: u32, exponent: i32, output: u32) -> u32 {
  let sum = exactSum(r, at);
  let magnitude = wideMagnitude(sum);
  let column = columns[output];
  let scale = column & 0xffffu;
  let low = wideProduct(magnitude.x, scale);
  let scaled = vec2u(low.x, low.y + magnitude.y * scale);
  let e = exponent + (bitcast<i32>(column) >> 16u);
  let y = roundWide(wideSign(sum), scaled, e);
  let place = output + param(2u);
  let later = select(0u, 1u, place >= param(3u)) + select(0u, 1u, place >= param(4u));
  if (isBad(y)) { failRow(row, param(5u) + ${epilogue === "gate" ? "(output & 1u)" : "later"}); }
  return y;
}
fn exponentOf(slot: u32${isPacked ? "" : ", own: i32"}) -> i32 {
  return ${isPacked ? "bitcast<i32>(exponents[slot])" : "own"};
}
fn finishBlock(l: u32, slot: u32, first: u32, count: u32${isPacked ? "" : ", own: i32"}) {
  for (var item = l; item < ROWS * OUTPUTS; item += WG) {
    let r = item / OUTPUTS;
    let at = item % OUTPUTS;
    if (slot + r < count && first + at < param(1u)) {
      let row = rowMap[1u + slot + r];
      let y = productAt(row, r, at, exponentOf(slot + r${isPacked ? "" : ", own"}), first + at);
      ${epilogue === "gate" ? "projected[item] = y;" : "finish(row, slot + r, first + at, y);"}
    }
  }
${epilogue === "gate" ? GATE_FINISH : ""}
}
`,
  };
  return {
    name: `project ${source} ${la}x${lw} ${epilogue} ${rows}`,
    code: composeWgsl([main]),
    bindings: ["uniform", "read", "read", "read", "read", "read", "write", "write"],
  };
}

const PACKED_BINDINGS = /* wgsl */ `
@group(0) @binding(2) var<storage, read> packed: array<u32>;
@group(0) @binding(3) var<storage, read> exponents: array<u32>;`;

// Ops of biases stand between the products and what follows.
const GATE_FINISH = /* wgsl */ `
  workgroupBarrier();
  for (var item = l; item < ROWS * OUTPUTS / 2u; item += WG) {
    let r = item / (OUTPUTS / 2u);
    let at = 2u * (item % (OUTPUTS / 2u));
    if (slot + r < count && first + at < param(1u)) {
      let activated = silu(projected[r * OUTPUTS + at]);
      let row = rowMap[1u + slot + r];
      let y = softMultiply(activated, projected[r * OUTPUTS + at + 1u]);
      if (isBad(activated)) { failRow(row, param(5u) + 4u); }
      if (isBad(y)) { failRow(row, param(5u) + 5u); }
      result[(slot + r) * param(6u) + (first + at + param(2u)) / 2u] = y;
    }
  }`;

function finishText(epilogue: Epilogue): string {
  if (epilogue === "gate") return "";
  const place = "slot * param(6u) + output + param(2u)";
  if (epilogue === "store") {
    return `fn finish(row: u32, slot: u32, output: u32, y: u32) { result[${place}] = y; }`;
  }
  return /* wgsl */ `fn finish(row: u32, slot: u32, output: u32, y: u32) {
  let sum = softAdd(result[${place}], y);
  if (isBad(sum)) { failRow(row, param(5u) + 2u); }
  result[${place}] = sum;
}`;
}

function names(rows: number, powers: number): string[][] {
  return Array.from({ length: rows }, (_, r) =>
    Array.from({ length: powers }, (_, p) => `s${r}p${p}`),
  );
}

function sumText(rows: number, powers: number): string {
  return `struct Sums { ${names(rows, powers)
    .flat()
    .map((name) => `${name}: i32`)
    .join(", ")} }`;
}

function storePartials(rows: number, powers: number): string {
  return names(rows, powers)
    .flatMap((list, r) =>
      list.map((name, p) => `    partial[${(r * powers + p) * THREADS}u + l] = sums.${name};`),
    )
    .join("\n");
}

/** Adds up the group's parts of an output: the power p counts 2^(7 p). */
function totalText(powers: number): string {
  const lines = Array.from({ length: powers }, (_, p) => `  var t${p} = vec2u();`);
  lines.push("  for (var i = 0u; i < GROUP; i++) {");
  for (let p = 0; p < powers; p++) {
    const part = `partial[(r * ${powers}u + ${p}u) * ${THREADS}u + output * GROUP + i]`;
    lines.push(`    t${p} = wideAdd(t${p}, wideOf(${part}));`);
  }
  lines.push("  }");
  const terms = Array.from({ length: powers }, (_, p) =>
    p === 0 ? "t0" : `wideShiftLeft(t${p}, ${7 * p}u)`,
  );
  const total = terms.slice(1).reduce((sum, term) => `wideAdd(${sum}, ${term})`, terms[0]!);
  return [...lines, `  return ${total};`].join("\n");
}

function loadText(weightLimbs: number): string {
  return Array.from(
    { length: weightLimbs },
    (_, k) => `        let w${k} = weights[(output * ${weightLimbs}u + ${k}u) * all + start + v];`,
  ).join("\n");
}

/** A vector of weights and the multiplier of its block; a block is two vectors. */
const SCALE_LOAD = /* wgsl */ `
        let origin = output * (all + ((all + 31u) >> 5u));
        let w0 = weights[origin + start + v];
        let block = (start + v) >> 1u;
        let multipliers = weights[origin + all + (block >> 4u)][(block >> 2u) & 3u];
        let multiplier = i32((multipliers >> ((block & 3u) << 3u)) & 255u);`;

function scaledDotText(rows: number, activationLimbs: number): string {
  const lines: string[] = [];
  for (let r = 0; r < rows; r++) {
    for (let a = 0; a < activationLimbs; a++) {
      const at = `((${r * activationLimbs + a}u * VECTORS + v) << 2u)`;
      const dots = ["x", "y", "z", "w"].map((c, i) => `dotBytes(tile[${at} + ${i}u], w0.${c})`);
      lines.push(`        sums.s${r}p${a} += multiplier * (${dots.join(" + ")});`);
    }
  }
  return lines.join("\n");
}

function dotText(rows: number, activationLimbs: number, weightLimbs: number): string {
  const lines: string[] = [];
  for (let r = 0; r < rows; r++) {
    for (let a = 0; a < activationLimbs; a++) {
      const base = `((${r * activationLimbs + a}u * VECTORS + v) << 2u)`;
      for (const [c, component] of ["x", "y", "z", "w"].entries()) {
        const name = `a${r}l${a}c${c}`;
        lines.push(`        let ${name} = tile[${base} + ${c}u];`);
        for (let k = 0; k < weightLimbs; k++) {
          lines.push(`        sums.s${r}p${a + k} += dotBytes(${name}, w${k}.${component});`);
        }
      }
    }
  }
  return lines.join("\n");
}

function fillOwn(limbs: Limbs): string {
  const stores = Array.from(
    { length: limbs },
    (_, k) => `    tile[${k}u * (VECTORS << 2u) + i] = bytes[${k}];`,
  );
  return /* wgsl */ `fn fillTile(l: u32, slot: u32, start: u32, length: u32, state: RowState) {
  let row = rowMap[1u + slot];
  for (var i = l; i < length << 2u; i += WG) {
    let bytes = packedWords(state, row, (start << 2u) + i);
${stores.join("\n")}
  }
}`;
}

function fillPacked(limbs: Limbs): string {
  return /* wgsl */ `fn fillTile(l: u32, slot: u32, start: u32, length: u32) {
  let words = length << 2u;
  let last = rowMap[0] - 1u;
  for (var i = l; i < ROWS * ${limbs}u * words; i += WG) {
    let plane = i / words;
    let word = i % words;
    // Rows past the last are not stored: the last stands in for them.
    let origin = min(slot + plane / ${limbs}u, last) * ${limbs}u + plane % ${limbs}u;
    tile[plane * (VECTORS << 2u) + word] = packed[((origin * param(0u) + start) << 2u) + word];
  }
}`;
}
