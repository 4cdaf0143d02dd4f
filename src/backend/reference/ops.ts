// The oracle's ops: each is its definition in docs/spec/01-numerics.md, one row at a time, in BigInt.
// Slow on purpose; shares no code with any other backend. A result that is not finite is an infinity
// here; callers turn it into `NonFinite`.

import { present } from "gyrotron/base";
import {
  attentionScale,
  attentionShare,
  cosinePhase,
  decodeF32,
  exp2Fraction,
  geluTanhF32,
  layerNormRow,
  phaseOf,
  quantizeRow,
  rmsNormRow,
  roundScaled,
  roundToF32,
  silu,
  sinePhase,
} from "gyrotron/numerics";
import type { BfpRows, OpCall, PackedMatrix } from "gyrotron/tensor";

type Call<N extends OpCall["op"]> = Omit<Extract<OpCall, { op: N }>, "op">;

/** The ops by which the oracle computes; mutants replace single ones. */
export interface ReferenceOps {
  quantize(x: Float32Array, columns: number, bits: number): BfpRows;
  matmul(left: BfpRows, leftBits: number, weights: PackedMatrix): Float32Array;
  add(left: Float32Array, right: Float32Array): Float32Array;
  multiply(left: Float32Array, right: Float32Array): Float32Array;
  embed(table: Float32Array, columns: number, tokens: Uint32Array): Float32Array;
  argmax(x: Float32Array, columns: number): Int32Array;
  rmsNorm(x: Float32Array, columns: number, epsilon: number): Float32Array;
  rotary(call: Call<"rotary">): Float32Array;
  attention(call: Call<"attention">): Float32Array;
  silu(x: Float32Array): Float32Array;
  layerNorm(x: Float32Array, columns: number, epsilon: number): Float32Array;
  geluTanh(x: Float32Array): Float32Array;
}

/** The definitions themselves. */
export const EXACT_OPS: ReferenceOps = {
  quantize(x, columns, bits) {
    const rows = rowsOf(x, columns).map((row) => quantizeRow(row, bits));
    return {
      columns,
      mantissas: Int32Array.from(rows.flatMap((row) => row.mantissas.map(Number))),
      exponents: Int32Array.from(rows, (row) => row.exponent),
    };
  },

  matmul(left, _leftBits, weights) {
    const { inputs, outputs } = weights;
    const result: number[] = [];
    const columns = Array.from({ length: outputs }, (_, c) =>
      Array.from({ length: inputs }, (_x, k) => integerWeight(weights, c, k)),
    );
    for (let r = 0; r < left.exponents.length; r++) {
      const row = Array.from(left.mantissas.subarray(r * inputs, (r + 1) * inputs), BigInt);
      for (let c = 0; c < outputs; c++) {
        const sum = dot(row, columns[c]!);
        const exponent = left.exponents[r]! + weights.exponents[c]!;
        result.push(roundToF32(sum * BigInt(weights.scales[c]!), exponent));
      }
    }
    return Float32Array.from(result);
  },

  add(left, right) {
    return left.map((x, i) => {
      const a = decodeF32(x);
      const b = decodeF32(right[i]!);
      const low = Math.min(a.exponent, b.exponent);
      const sum =
        (a.mantissa << BigInt(a.exponent - low)) + (b.mantissa << BigInt(b.exponent - low));
      return roundToF32(sum, low);
    });
  },

  multiply(left, right) {
    return left.map((x, i) => {
      const a = decodeF32(x);
      const b = decodeF32(right[i]!);
      return roundToF32(a.mantissa * b.mantissa, a.exponent + b.exponent);
    });
  },

  embed(table, columns, tokens) {
    const rows = Array.from(tokens, (token) =>
      table.subarray(token * columns, (token + 1) * columns),
    );
    return Float32Array.from(rows.flatMap((row) => Array.from(row)));
  },

  argmax(x, columns) {
    return Int32Array.from(rowsOf(x, columns), (row) => {
      let best = 0;
      for (let i = 1; i < columns; i++) if (row[i]! > row[best]!) best = i;
      return best;
    });
  },

  rmsNorm(x, columns, epsilon) {
    return Float32Array.from(rowsOf(x, columns).flatMap((row) => rmsNormRow(row, epsilon)));
  },

  rotary({ x, heads, headSize, positions, steps, interleaved }) {
    const result = new Float32Array(x.length);
    rowsOf(x, headSize).forEach((slice, unit) => {
      const { mantissas, exponent } = quantizeRow(slice, 16);
      const position = positions[Math.floor(unit / heads)]!;
      for (let i = 0; i < headSize / 2; i++) {
        const a = interleaved ? 2 * i : i;
        const b = interleaved ? 2 * i + 1 : i + headSize / 2;
        const phase = phaseOf(position, steps[i]!);
        const c = BigInt(cosinePhase(phase));
        const s = BigInt(sinePhase(phase));
        result[unit * headSize + a] = roundToF32(
          mantissas[a]! * c - mantissas[b]! * s,
          exponent - 15,
        );
        result[unit * headSize + b] = roundToF32(
          mantissas[a]! * s + mantissas[b]! * c,
          exponent - 15,
        );
      }
    });
    return result;
  },

  attention({ heads, kvHeads, headSize, queries, keys, values }) {
    const result = new Float32Array(heads * headSize);
    const positions = keys.exponents.length / kvHeads;
    for (let h = 0; h < heads; h++) {
      const group = Math.floor((h * kvHeads) / heads);
      const of = (rows: BfpRows, t: number): BfpUnit => bfpUnit(rows, t * kvHeads + group);
      const all = Array.from({ length: positions }, (_, t) => ({
        key: of(keys, t),
        value: of(values, t),
      }));
      result.set(attendOneHead(bfpUnit(queries, h), all), h * headSize);
    }
    return result;
  },

  silu: (x) => x.map(silu),

  layerNorm(x, columns, epsilon) {
    return Float32Array.from(rowsOf(x, columns).flatMap((row) => layerNormRow(row, epsilon)));
  },

  geluTanh: (x) => x.map(geluTanhF32),
};

interface BfpUnit {
  readonly mantissas: bigint[];
  readonly exponent: number;
}

/** Section 2.2: mantissa times the scale of its block. */
function integerWeight(weights: PackedMatrix, c: number, k: number): bigint {
  const { inputs, bits, mantissas, blockScales, blockOffsets } = weights;
  const block = c * Math.ceil(inputs / 32) + (k >> 5);
  const scale = blockScales === undefined ? 1 : present(blockScales[block]);
  const offset = blockOffsets === undefined ? 0 : present(blockOffsets[block]);
  const at = c * inputs + k;
  const stored = present(mantissas[bits === 4 ? at >> 1 : at]);
  const mantissa = bits === 4 ? (at % 2 === 0 ? stored & 15 : stored >> 4) : stored;
  return BigInt(mantissa) * BigInt(scale) + BigInt(offset);
}

/** Section 8 for one head. */
function attendOneHead(
  query: BfpUnit,
  past: readonly { key: BfpUnit; value: BfpUnit }[],
): number[] {
  const scale = attentionScale(query.mantissas.length);
  const weights = past.map(({ key, value }) => {
    const product = dot(query.mantissas, key.mantissas) * BigInt(scale.mantissa);
    const z = clampScore(roundScaled(product, scale.exponent + query.exponent + key.exponent));
    return { n: Number(z >> 16n), u: exp2Fraction(Number(z & 65535n)), e: value.exponent };
  });
  let top = -Infinity;
  let topValue = -Infinity;
  for (const { n, e } of weights) {
    top = Math.max(top, n);
    topValue = Math.max(topValue, n + e);
  }
  let total = 0n;
  const sums = query.mantissas.map(() => 0n);
  weights.forEach(({ n, u, e }, t) => {
    total += attentionShare(u, top - n);
    const share = attentionShare(u, topValue - n - e);
    past[t]!.value.mantissas.forEach((v, j) => (sums[j]! += share * v));
  });
  return sums.map((sum) => roundToF32(sum, topValue - top, total));
}

function clampScore(z: bigint): bigint {
  const bound = 1n << 30n;
  return z > bound ? bound : z < -bound ? -bound : z;
}

function bfpUnit(rows: BfpRows, index: number): BfpUnit {
  const slice = rows.mantissas.subarray(index * rows.columns, (index + 1) * rows.columns);
  return { mantissas: Array.from(slice, BigInt), exponent: rows.exponents[index]! };
}

function dot(left: readonly bigint[], right: readonly bigint[]): bigint {
  let sum = 0n;
  for (let k = 0; k < left.length; k++) sum += left[k]! * right[k]!;
  return sum;
}

function rowsOf(x: Float32Array, columns: number): Float32Array[] {
  return Array.from({ length: x.length / columns }, (_, r) =>
    x.subarray(r * columns, (r + 1) * columns),
  );
}
