// Wrong programs of quantizing, products, the gradient grid and sums by index.

import { powerOfTwo, quantizeRow } from "gyrotron/numerics";
import { elementCount, type HostTensor, mantissaMax } from "gyrotron/tensor";
import {
  bfpOf,
  f32Of,
  f32Result,
  i32Of,
  i64Of,
  type NodeOutcome,
  rowLength,
} from "../reference/graph/graph-value.ts";
import { EXACT_GRAPH_OPS, type GraphOps } from "../reference/graph/ops.ts";
import { finite } from "./element.ts";

const fround = Math.fround;
const exact = EXACT_GRAPH_OPS;

/** Two words, whose carry `join` keeps or loses. */
export function gridAddBy(
  join: (low: number, high: number) => [number, number],
): GraphOps["grid-add"] {
  return (node, [x, y]) => {
    const checked = exact["grid-add"](node, [x!, y!]);
    if ("failure" in checked) return checked;
    const [left, right] = [new Int32Array(i64Of(x).buffer), new Int32Array(i64Of(y).buffer)];
    const data = new BigInt64Array(elementCount(node.type.shape));
    for (let i = 0; i < data.length; i++) {
      const low = (left[2 * i]! >>> 0) + (right[2 * i]! >>> 0);
      const [l, h] = join(low, left[2 * i + 1]! + right[2 * i + 1]!);
      data[i] = (BigInt(h) << 32n) | BigInt(l);
    }
    return { element: "i64", shape: node.type.shape, data };
  };
}

/** Two workers with half of the contraction each, who round onto the grid before they add. */
export function splitProduct(
  node: Parameters<GraphOps["matmul-grid"]>[0],
  [left, right, grid]: readonly [HostTensor, HostTensor, HostTensor],
): NodeOutcome {
  const half = (x: HostTensor, second: boolean): HostTensor => {
    const value = bfpOf(x);
    const k = rowLength(value.shape);
    const data = value.data.map((m, i) => (i % k < k / 2 === second ? 0 : m));
    return { ...value, data };
  };
  const parts = [false, true].map((second) =>
    exact["matmul-grid"](node, [half(left, second), half(right, second), grid]),
  );
  const failed = parts.find((part) => "failure" in part);
  if (failed !== undefined) return failed;
  return exact["grid-add"](
    { op: "grid-add", inputs: [0, 1], type: node.type },
    parts as HostTensor[],
  );
}

/** Rows padded to four columns with what lies behind them, which the maximum then sees. */
export function quantizePadded(...[node, [x]]: Parameters<GraphOps["quantize"]>): NodeOutcome {
  const right = bfpOf(exact.quantize(node, [x!]) as HostTensor);
  const width = rowLength(right.shape);
  const data = f32Of(x);
  const [mantissas, exponents] = [right.data.slice(), right.exponents.slice()];
  exponents.forEach((e, r) => {
    const end = Math.min(data.length, r * width + Math.ceil(width / 4) * 4);
    const { exponent } = quantizeRow(data.subarray(r * width, end), node.bits);
    if (exponent === e || width === 0) return;
    exponents[r] = exponent;
    for (let i = r * width; i < (r + 1) * width; i++) mantissas[i]! >>= 1;
  });
  return { ...right, data: mantissas, exponents };
}

export function quantizeBy(round: (x: number) => number): GraphOps["quantize"] {
  return (node, [x]) => {
    const right = bfpOf(exact.quantize(node, [x!]) as HostTensor);
    const width = rowLength(right.shape);
    const data = f32Of(x);
    return {
      ...right,
      data: right.data.map((_, i) =>
        round(data[i]! * powerOfTwo(-right.exponents[Math.floor(i / width)]!)),
      ),
    };
  };
}

/** The range of two's complement, -2^(b-1) included. */
export function quantizeAsymmetric(...[node, [x]]: Parameters<GraphOps["quantize"]>): NodeOutcome {
  const right = bfpOf(exact.quantize(node, [x!]) as HostTensor);
  const width = rowLength(right.shape);
  const [mantissas, exponents] = [right.data.slice(), right.exponents.slice()];
  const data = f32Of(x);
  exponents.forEach((e, r) => {
    const row = Array.from(data.subarray(r * width, (r + 1) * width), (v) => v * powerOfTwo(1 - e));
    const max = mantissaMax(node.bits);
    if (e === -149 || row.some((v) => v < -max - 1 || v > max || !Number.isInteger(v))) return;
    exponents[r] = e - 1;
    mantissas.set(row, r * width);
  });
  return { ...right, data: mantissas, exponents };
}

/** A matmul by its sums of products, and how a sum is scaled by a power of two and D. */
export function matmulBy(
  sum: (left: Int32Array, right: Int32Array) => number,
  finish: (sum: number, power: number, scale: number) => number,
): GraphOps["matmul"] {
  return (node, [left, right]) => {
    const [a, b] = [bfpOf(left), bfpOf(right)];
    const k = rowLength(a.shape);
    const [height, width] = [a.shape.at(-2)!, b.shape.at(-2)!];
    const values = Array.from({ length: elementCount(node.type.shape) }, (_, i) => {
      const row = Math.floor(i / width);
      const batch = b.shape.length === 2 ? 0 : Math.floor(row / height);
      const column = batch * width + (i % width);
      const products = sum(
        a.data.subarray(row * k, (row + 1) * k),
        b.data.subarray(column * k, (column + 1) * k),
      );
      const power = powerOfTwo(a.exponents[row]! + b.exponents[column]!);
      return finite(finish(products, power, b.scales?.[column] ?? 1));
    });
    return f32Result(node, values);
  };
}

export function sumExactly(left: Int32Array, right: Int32Array): number {
  return left.reduce((sum, m, k) => sum + m * right[k]!, 0);
}

export function sumInF32(left: Int32Array, right: Int32Array): number {
  return left.reduce((sum, m, k) => fround(sum + fround(m * right[k]!)), 0);
}

/** Four lanes that never spill, as a kernel without the overflow proof would keep them. */
export function sumInI32Lanes(left: Int32Array, right: Int32Array): number {
  const lanes = new Int32Array(4);
  left.forEach((m, k) => (lanes[(k >> 1) & 3]! += m * right[k]!));
  return lanes.reduce((sum, lane) => sum + lane, 0);
}

export function scaledOnce(sum: number, power: number, scale: number): number {
  return sum * scale * power;
}

export function scatterInF32(
  ...[node, [updates, indices]]: Parameters<GraphOps["scatter-add"]>
): NodeOutcome {
  const checked = exact["scatter-add"](node, [updates!, indices!]);
  if ("failure" in checked) return checked;
  const columns = node.type.shape[1]!;
  const at = i32Of(indices);
  const sums = new Float32Array(elementCount(node.type.shape));
  f32Of(updates).forEach((x, i) => {
    sums[at[Math.floor(i / columns)]! * columns + (i % columns)]! += x;
  });
  return f32Result(node, sums);
}

export function foldInF32(...[node, [x]]: Parameters<GraphOps["fold"]>): NodeOutcome {
  const count = elementCount(node.type.shape);
  const places = Int32Array.from({ length: count }, (_, i) => i);
  const type = { element: "i32", shape: x!.shape } as const;
  const from = exact.patches({ ...node, op: "patches", value: -1, type }, [
    { element: "i32", shape: node.type.shape, data: places },
  ]);
  const sums = new Float32Array(count);
  const sources = i32Of(from as HostTensor);
  f32Of(x).forEach((v, i) => {
    if (sources[i]! >= 0) sums[sources[i]!]! += v;
  });
  return f32Result(node, sums);
}
