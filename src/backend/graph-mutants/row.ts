// Wrong programs of reductions, softmax and attention, and right ones in numbers to hold beside them.

import { EXP2_TABLE, powerOfTwo, quantizeRow } from "gyrotron/numerics";
import type { HostTensor, Node } from "gyrotron/tensor";
import { FLOAT_UNARY } from "../float64/function.ts";
import {
  bfpOf,
  f32Of,
  f32Reduced,
  f32Result,
  f32Rows,
  i32Of,
  type NodeOutcome,
} from "../reference/graph/graph-value.ts";
import { EXACT_GRAPH_OPS, type GraphOps } from "../reference/graph/ops.ts";
import { type Tensors, finite, nearest } from "./element.ts";

const fround = Math.fround;
const exact = EXACT_GRAPH_OPS;

export function reduceBy(
  f: (row: Float32Array) => number,
): (node: Node<number>, x: Tensors) => NodeOutcome {
  return (node, [x]) =>
    f32Reduced(
      node,
      f32Rows(x).map((row) => finite(f(row))),
    );
}

export function sumInLanes(row: Float32Array): number {
  const lanes = new Float32Array(4);
  row.forEach((x, i) => (lanes[i & 3]! += x));
  return fround(fround(lanes[0]! + lanes[1]!) + fround(lanes[2]! + lanes[3]!));
}

/** The exact sum of a row on its grid, in binary64: 24 bits and 2^20 values hold. */
export function sumOnGrid(row: Float32Array, bits: number): number {
  if (row.length === 0) return 0;
  const { mantissas, exponent } = quantizeRow(row, bits);
  return mantissas.reduce((sum, m) => sum + Number(m), 0) * powerOfTwo(exponent);
}

/** softmax by its visible values, hidden ones 0. */
export function softmaxBy(
  shares: (visible: Float32Array, whole: Float32Array) => ArrayLike<number>,
): GraphOps["softmax"] {
  return (node, [x]) => {
    const queries = node.type.shape.at(-2) ?? 1;
    const values = f32Rows(x).flatMap((row, r) => {
      if (row.length === 0) return [];
      const visible = node.causal ? row.length - queries + (r % queries) + 1 : row.length;
      const seen = shares(row.subarray(0, visible), row);
      return Array.from(row, (_, i) => finite(seen[i] ?? 0));
    });
    return f32Result(node, values);
  };
}

export function sharesInFloat(row: Float32Array): Float32Array {
  const max = Math.max(...row);
  const powers = Array.from(row, (x) => FLOAT_UNARY.exp(x - max));
  const total = powers.reduce((sum, p) => sum + p, 0);
  return Float32Array.from(powers, (p) => p / total);
}

/** One pass: what has been summed shrinks whenever a new maximum comes. */
export function sharesOnline(row: Float32Array): Float32Array {
  let [max, total] = [-Infinity, 0];
  for (const x of row) {
    const next = Math.max(max, x);
    total = fround(total * FLOAT_UNARY.exp(max - next) + FLOAT_UNARY.exp(x - next));
    max = next;
  }
  return row.map((x) => fround(FLOAT_UNARY.exp(x - max) / total));
}

export interface PowerFault {
  /** Shift counts modulo 32. */
  readonly unmasked?: boolean;
  /** Each share by a division of its own. */
  readonly divided?: boolean;
  /** Another maximum. */
  readonly max?: number;
}

/** The definition in numbers, which pass 2^53 nowhere, with a fault or none. */
export function sharesOfPowers(row: Float32Array, fault: PowerFault = {}): Float32Array {
  const max = fault.max ?? Math.max(...row);
  const parts = Array.from(row, (x) => {
    const product = fround(max - x) * (6051102 / 64);
    const t = product < 2 ** 30 ? nearest(product) : 2 ** 30;
    const k = Math.ceil(t / 65536);
    return { k, u: fraction(k * 65536 - t) };
  });
  const shift = (k: number): number => (fault.unmasked === true ? k & 31 : Math.min(k, 64));
  const total = parts.reduce((sum, { k, u }) => sum + Math.floor((u * 65536) / 2 ** shift(k)), 0);
  let j = 0;
  while (total / 2 ** j >= 2 ** 24) j++;
  const r = Math.floor(2 ** 47 / Math.floor(total / 2 ** j));
  return Float32Array.from(parts, ({ k, u }) => {
    const power = powerOfTwo(Math.max(-1000, -k - j - 31));
    return fault.divided === true
      ? (u * 65536 * powerOfTwo(-Math.min(k, 999))) / total
      : u * r * power;
  });
}

/** exp2_fraction. */
function fraction(f: number): number {
  const r = f & 1023;
  const a = (r * 45426) >> 10;
  const c = a + Math.floor((a * a) / 8388608);
  const t = EXP2_TABLE[f >> 10]!;
  return t + Math.floor((t * c + 2097152) / 4194304);
}

export function lastLargest(row: Float32Array): number {
  let best = 0;
  row.forEach((x, i) => {
    if (x >= row[best]!) best = i;
  });
  return best;
}

/** The last row of the cache is not seen, where there is another. */
export function shiftedAttention(
  ...[node, [q, k, v]]: Parameters<GraphOps["attention"]>
): NodeOutcome {
  const positions = k!.shape[1]!;
  if (!node.causal || positions <= q!.shape[1]!) return exact.attention(node, [q!, k!, v!]);
  const shorter = (x: HostTensor): HostTensor => {
    const { shape, bits } = bfpOf(x);
    const cut = [shape[0]!, positions - 1, shape[2]!, shape[3]!];
    const type = { element: "bfp", shape: cut, bits, scaled: false } as const;
    const starts = [0, 0, 0, 0];
    const op = { op: "slice", starts, strides: [1, 1, 1, 1], inputs: [0], type } as const;
    return exact.slice(op, [x]) as HostTensor;
  };
  return exact.attention(node, [q!, shorter(k!), shorter(v!)]);
}

/** Heads that take their group by the remainder: group g of G stands where g' = reversed would. */
export function interleaveGroups(x: HostTensor): HostTensor {
  const { shape, bits } = bfpOf(x);
  const type = { element: "bfp", shape, bits, scaled: false } as const;
  const groups = shape[2]!;
  const parts = Array.from({ length: groups }, (_, g) => {
    const cut = { ...type, shape: shape.with(2, 1) };
    const starts = [0, 0, groups - 1 - g, 0];
    const op = { op: "slice", starts, strides: [1, 1, 1, 1], inputs: [0], type: cut } as const;
    return exact.slice(op, [x]) as HostTensor;
  });
  const inputs = parts.map((_, i) => i);
  return exact.concat({ op: "concat", axis: 2, inputs, type }, parts) as HostTensor;
}

/** One division for each position, rounded to f32 before the sum. */
export function combineInFloat(
  ...[node, [z, v]]: Parameters<GraphOps["attention-combine"]>
): NodeOutcome {
  const checked = exact["attention-combine"](node, [z!, v!]);
  if ("failure" in checked) return checked;
  const scores = i32Of(z);
  const [, heads, rows, positions] = z!.shape as [number, number, number, number];
  const { data, exponents, shape } = bfpOf(v);
  const [, , groups, size] = shape as [number, number, number, number];
  const values = Array.from(f32Of(checked), (_, i) => {
    const unit = Math.floor(i / size);
    const [b, t, h] = [
      Math.floor(unit / (rows * heads)),
      Math.floor(unit / heads) % rows,
      unit % heads,
    ];
    const start = ((b * heads + h) * rows + t) * positions;
    const visible = node.causal ? positions - rows + t + 1 : positions;
    const past = Array.from(scores.subarray(start, start + visible));
    const top = Math.max(...past);
    const weights = past.map((s) => FLOAT_UNARY.exp2((s - top) / 65536));
    const total = weights.reduce((sum, w) => sum + w, 0);
    let sum = 0;
    weights.forEach((w, p) => {
      const row = (b * positions + p) * groups + Math.floor((h * groups) / heads);
      const value = data[row * size + (i % size)]! * powerOfTwo(exponents[row]!);
      sum = fround(sum + fround(w / total) * value);
    });
    return finite(sum);
  });
  return f32Result(node, values);
}
