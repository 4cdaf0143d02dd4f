// Deliberately wrong backends, one for each classic way to lose bits. The quick conformance cases must
// reject every one; a mutant that survives is a missing case. For tests only.

import {
  attentionScale,
  EXP2_TABLE,
  geluF32,
  powerOfTwo,
  quantizeRow,
  ROUNDER,
} from "gyrotron/numerics";
import { type Backend, type BfpRows, blocksOf, mantissaMax, widenMatrix } from "gyrotron/tensor";
import { createReferenceBackend, EXACT_OPS, type ReferenceOps } from "./reference/index.ts";

const fround = Math.fround;

/** All mutants, each named for its fault. */
export function mutantBackends(): Backend[] {
  return Object.entries(MUTATIONS).map(([name, ops]) =>
    createReferenceBackend({ ...EXACT_OPS, ...ops }, name),
  );
}

/** The mutants' programs without their faults: these pass, so it is the fault that a mutant fails by. */
export function controlBackends(): Backend[] {
  return Object.entries(CONTROLS).map(([name, ops]) =>
    createReferenceBackend({ ...EXACT_OPS, ...ops }, name),
  );
}

type Matmul = ReferenceOps["matmul"];

const MUTATIONS: Readonly<Record<string, Partial<ReferenceOps>>> = {
  "f32-accumulation": {
    matmul: matmulBy(sumInF32, (s, scale, e) => fround(s * scale * powerOfTwo(e))),
  },
  "lost-carry": {
    matmul: matmulBy(sumWrapping, (s, scale, e) => fround(s * scale * powerOfTwo(e))),
  },
  "missing-spill": {
    matmul: matmulBy(sumSaturating, (s, scale, e) => fround(s * scale * powerOfTwo(e))),
  },
  "first-block-scale": { matmul: withBlocks("blockScales", (scales) => scales[0]!) },
  "late-block-scale": {
    matmul: withBlocks("blockScales", (scales, b) => scales[Math.max(0, b - 1)]!),
  },
  "late-block-offset": {
    matmul: withBlocks("blockOffsets", (offsets, b) => offsets[Math.max(0, b - 1)]!),
  },
  "no-block-offset": { matmul: withBlocks("blockOffsets", () => 0) },
  "upper-level-first": {
    matmul: (left, bits, weights) => {
      if (weights.bits !== 4) return EXACT_OPS.matmul(left, bits, weights);
      const mantissas = weights.mantissas.map((pair) => (pair >> 4) | ((pair & 15) << 4));
      return EXACT_OPS.matmul(left, bits, { ...weights, mantissas });
    },
  },
  "round-then-scale": {
    matmul: matmulBy(sumExactly, (s, scale, e) => scaleInF32(fround(s * scale), e)),
  },
  "round-sum-first": {
    matmul: matmulBy(sumExactly, (s, scale, e) => fround(fround(s) * scale * powerOfTwo(e))),
  },
  "flush-subnormal": {
    matmul: (...call) => EXACT_OPS.matmul(...call).map(flush),
    multiply: (...call) => EXACT_OPS.multiply(...call).map(flush),
  },
  "keep-negative-zero": { multiply: (left, right) => left.map((x, i) => x * right[i]!) },
  "ties-away": {
    quantize: quantizeBy((x) => (x < 0 ? -Math.floor(0.5 - x) : Math.floor(x + 0.5))),
  },
  "ties-up": { quantize: quantizeBy((x) => Math.floor(x + 0.5)) },
  truncation: { quantize: quantizeBy(Math.trunc) },
  "asymmetric-range": { quantize: quantizeAsymmetric },
  "wrong-axis": { quantize: quantizeWhole },
  "exponent-of-padding": { quantize: quantizePadded },
  "concatenated-heads": {
    rotary: (call) =>
      EXACT_OPS.rotary({ ...call, x: onOneGrid(call.x, call.heads * call.headSize) }),
  },
  "halves-for-neighbours": {
    rotary: (call) => EXACT_OPS.rotary({ ...call, interleaved: !call.interleaved }),
  },
  "last-index-ties": {
    argmax: (x, columns) =>
      Int32Array.from({ length: x.length / columns }, (_, r) => {
        let best = 0;
        for (let i = 1; i < columns; i++)
          if (x[r * columns + i]! >= x[r * columns + best]!) best = i;
        return best;
      }),
  },
  "online-softmax": { attention: (call) => attendBy(call, { online: true, unmasked: false }) },
  "unmasked-shift": { attention: (call) => attendBy(call, { online: false, unmasked: true }) },
  "float-norm": {
    rmsNorm: (x, columns, epsilon) =>
      mapRows(x, columns, (row) => {
        let sum = 0;
        for (const v of row) sum += v * v;
        const factor = 1 / Math.sqrt(sum / columns + epsilon);
        return row.map((v) => (factor === Infinity ? 0 : fround(v * factor) + 0));
      }),
  },
  "norm-without-epsilon": { rmsNorm: (x, columns) => EXACT_OPS.rmsNorm(x, columns, 0) },
  "float-layer-norm": {
    layerNorm: (x, columns, epsilon) =>
      mapRows(x, columns, (row) => {
        const mean = row.reduce((sum, v) => sum + v, 0) / columns;
        const variance = row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / columns;
        return row.map((v) => fround((v - mean) / Math.sqrt(variance + epsilon)) + 0);
      }),
  },
  "norm-for-layer-norm": {
    layerNorm: (x, columns, epsilon) => EXACT_OPS.rmsNorm(x, columns, epsilon),
  },
  "gelu-by-erf": { geluTanh: (x) => x.map(geluF32) },
  "float-silu": { silu: (x) => x.map((v) => fround(v / (1 + expOf(-v))) + 0) },
};

const CONTROLS: Readonly<Record<string, Partial<ReferenceOps>>> = {
  "matmul-control": {
    matmul: matmulBy(sumExactly, (s, scale, e) => fround(s * scale * powerOfTwo(e))),
  },
  "quantize-control": { quantize: quantizeBy(nearest) },
  "attention-control": {
    attention: (call) => attendBy(call, { online: false, unmasked: false }),
  },
};

/** To the nearest integer, ties to even, below 2^51. */
function nearest(x: number): number {
  return x + ROUNDER - ROUNDER;
}

function matmulBy(
  sum: (left: ArrayLike<number>, right: ArrayLike<number>) => number,
  finish: (sum: number, scale: number, exponent: number) => number,
): Matmul {
  return (left, _bits, weights) => {
    const { inputs, outputs } = weights;
    const { mantissas } = widenMatrix(weights);
    const result: number[] = [];
    for (let r = 0; r < left.exponents.length; r++) {
      const row = left.mantissas.subarray(r * inputs, (r + 1) * inputs);
      for (let c = 0; c < outputs; c++) {
        const column = mantissas.subarray(c * inputs, (c + 1) * inputs);
        const exponent = left.exponents[r]! + weights.exponents[c]!;
        result.push(finish(sum(row, column), weights.scales[c]!, exponent) + 0);
      }
    }
    return Float32Array.from(result);
  };
}

/** Takes numbers of blocks by `pick` from those of the column, of which block `block` has its own. */
function withBlocks(
  part: "blockScales" | "blockOffsets",
  pick: (ofColumn: ArrayLike<number>, block: number) => number,
): Matmul {
  return (left, bits, weights) => {
    const own = weights[part];
    if (own === undefined) return EXACT_OPS.matmul(left, bits, weights);
    const blocks = blocksOf(weights.inputs);
    const picked = own.map((_, i) => {
      const column = Math.floor(i / blocks) * blocks;
      return pick(own.subarray(column, column + blocks), i - column);
    });
    return EXACT_OPS.matmul(left, bits, { ...weights, [part]: picked });
  };
}

function sumExactly(left: ArrayLike<number>, right: ArrayLike<number>): number {
  let sum = 0;
  for (let k = 0; k < left.length; k++) sum += left[k]! * right[k]!;
  return sum;
}

function sumInF32(left: ArrayLike<number>, right: ArrayLike<number>): number {
  let sum = 0;
  for (let k = 0; k < left.length; k++) sum = fround(sum + fround(left[k]! * right[k]!));
  return sum;
}

function sumWrapping(left: ArrayLike<number>, right: ArrayLike<number>): number {
  return sumExactly(left, right) | 0;
}

/** Four lanes that never spill, as a kernel without the overflow proof would keep them. */
function sumSaturating(left: ArrayLike<number>, right: ArrayLike<number>): number {
  const lanes = new Int32Array(4);
  for (let k = 0; k < left.length; k++) lanes[(k >> 1) & 3]! += left[k]! * right[k]!;
  return lanes.reduce((sum, lane) => sum + lane, 0);
}

/** Scaling in f32 after a first rounding: the second one is the fault. */
function scaleInF32(value: number, exponent: number): number {
  return fround(value * powerOfTwo(exponent));
}

function flush(value: number): number {
  return Math.abs(value) < powerOfTwo(-126) ? 0 : value;
}

function quantizeBy(round: (x: number) => number): ReferenceOps["quantize"] {
  return (x, columns, bits) => {
    const exact = EXACT_OPS.quantize(x, columns, bits);
    const mantissas = exact.mantissas.map((_, i) => {
      const e = exact.exponents[Math.floor(i / columns)]!;
      return round(x[i]! * powerOfTwo(-e));
    });
    return { ...exact, mantissas };
  };
}

/** The range -2^(b-1) .. 2^(b-1)-1 of two's complement. */
function quantizeAsymmetric(x: Float32Array, columns: number, bits: number): BfpRows {
  const exact = EXACT_OPS.quantize(x, columns, bits);
  const { mantissas, exponents } = exact;
  const low = -mantissaMax(bits) - 1;
  for (let r = 0; r < exponents.length; r++) {
    const e = exponents[r]! - 1;
    if (e < -149) continue;
    const row = Array.from(x.subarray(r * columns, (r + 1) * columns), (v) => v * powerOfTwo(-e));
    if (row.some((v) => v < low || v > mantissaMax(bits) || !Number.isInteger(v))) continue;
    exponents[r] = e;
    mantissas.set(row, r * columns);
  }
  return exact;
}

/** One exponent for all rows. */
function quantizeWhole(x: Float32Array, columns: number, bits: number): BfpRows {
  const { mantissas, exponent } = quantizeRow(x, bits);
  const exponents = new Int32Array(x.length / columns).fill(exponent);
  return { columns, mantissas: Int32Array.from(mantissas, Number), exponents };
}

/** Rows padded to eight columns with what lies behind them, which the maximum then sees. */
function quantizePadded(x: Float32Array, columns: number, bits: number): BfpRows {
  const exact = EXACT_OPS.quantize(x, columns, bits);
  for (let r = 0; r < exact.exponents.length; r++) {
    const end = Math.min(x.length, r * columns + Math.ceil(columns / 8) * 8);
    const { exponent } = quantizeRow(x.subarray(r * columns, end), bits);
    if (exponent === exact.exponents[r]) continue;
    exact.exponents[r] = exponent;
    for (let i = 0; i < columns; i++) exact.mantissas[r * columns + i]! >>= 1;
  }
  return exact;
}

/** Values as they are after quantizing with one exponent for whole rows. */
function onOneGrid(x: Float32Array, columns: number): Float32Array {
  const { mantissas, exponents } = EXACT_OPS.quantize(x, columns, 16);
  return Float32Array.from(
    mantissas,
    (m, i) => m * powerOfTwo(exponents[Math.floor(i / columns)]!),
  );
}

/** Attention with a fault in the weights: rescaled as the maximum grows, or shifted modulo 32. */
function attendBy(
  call: Parameters<ReferenceOps["attention"]>[0],
  fault: { online: boolean; unmasked: boolean },
): Float32Array {
  const { heads, kvHeads, headSize, queries, keys, values } = call;
  const scale = attentionScale(headSize);
  const result = new Float32Array(heads * headSize);
  const positions = keys.exponents.length / kvHeads;
  for (let h = 0; h < heads; h++) {
    const past = Array.from(
      { length: positions },
      (_, t) => t * kvHeads + Math.floor((h * kvHeads) / heads),
    );
    const scores = past.map((unit) => {
      let s = 0;
      for (let j = 0; j < headSize; j++) {
        s += queries.mantissas[h * headSize + j]! * keys.mantissas[unit * headSize + j]!;
      }
      const e = scale.exponent + queries.exponents[h]! + keys.exponents[unit]!;
      const product = s * scale.mantissa * powerOfTwo(e);
      const z = Math.abs(product) < 2 ** 50 ? nearest(product) : product;
      const clamped = Math.max(-(2 ** 30), Math.min(2 ** 30, z));
      const n = Math.floor(clamped / 65536);
      return { n, u: fraction(clamped - n * 65536), unit, e: values.exponents[unit]! };
    });
    const top = Math.max(...scores.map(({ n }) => n));
    const topValue = Math.max(...scores.map(({ n, e }) => n + e));
    let total = 0;
    let running = -Infinity;
    const sums = new Float64Array(headSize);
    for (const { n, u, unit, e } of scores) {
      if (fault.online && n + e > running) {
        const shrink = running === -Infinity ? 0 : powerOfTwo(Math.max(-1000, running - n - e));
        for (let j = 0; j < headSize; j++) sums[j] = Math.floor(sums[j]! * shrink);
        running = n + e;
      }
      total += share(u, top - n, fault.unmasked);
      const weight = share(u, (fault.online ? running : topValue) - n - e, fault.unmasked);
      for (let j = 0; j < headSize; j++)
        sums[j]! += weight * values.mantissas[unit * headSize + j]!;
    }
    for (let j = 0; j < headSize; j++) {
      result[h * headSize + j] = fround((sums[j]! / total) * powerOfTwo(topValue - top)) + 0;
    }
  }
  return result;
}

function share(u: number, k: number, unmasked: boolean): number {
  if (!unmasked && k > 20) return 0;
  return Math.min(32767, (u + (1 << k)) >> (k + 1));
}

function fraction(f: number): number {
  const r = f & 1023;
  const a = (r * 45426) >> 10;
  const c = a + Math.floor((a * a) / 8388608);
  const t = EXP2_TABLE[f >> 10]!;
  return t + Math.floor((t * c + 2097152) / 4194304);
}

function mapRows(
  x: Float32Array,
  columns: number,
  map: (row: Float32Array) => Float32Array,
): Float32Array {
  const result = new Float32Array(x.length);
  for (let at = 0; at < x.length; at += columns) result.set(map(x.subarray(at, at + columns)), at);
  return result;
}

/** e^x by a series: what a library's exp would come near to. */
function expOf(x: number): number {
  if (x > 700) return Infinity;
  if (x < -700) return 0;
  let term = 1;
  let sum = 1;
  const small = x / 1024;
  for (let i = 1; i < 20; i++) sum += term *= small / i;
  for (let i = 0; i < 10; i++) sum *= sum;
  return sum;
}
