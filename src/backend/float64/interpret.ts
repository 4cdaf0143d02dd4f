// One node of a graph in binary64, as a mathematician would read it: quantizing is the identity, sums are sums.
// For people who look for where a format loses accuracy; never a result.

import { assert, present } from "gyrotron/base";
import {
  elementCount,
  type HostTensor,
  type Node,
  type OpKind,
  type TensorType,
} from "gyrotron/tensor";
import { EXACT_GRAPH_OPS, evaluate } from "../reference/graph/ops.ts";
import { attend, combine, scores } from "./attention.ts";
import { FLOAT_BINARY, FLOAT_UNARY } from "./function.ts";
import { type FloatTensor, floatOf } from "./tensor.ts";

/** Ops whose values are moved from their operands. */
const MOVES: ReadonlySet<OpKind> = new Set([
  "reshape",
  "transpose",
  "slice",
  "concat",
  "pad",
  "broadcast",
  "gather",
  "take-along",
  "patches",
  "select",
]);

/**
 * The node's value in binary64. Integers and masks are those of `exact`, the exact result, so that a close
 * decision does not turn into another graph; scores of attention are numbers.
 */
export function interpretNode(
  node: Node<number>,
  inputs: readonly FloatTensor[],
  exact: HostTensor,
): FloatTensor {
  const { element, shape } = node.type;
  if (element === "bool" || (element === "i32" && node.op !== "attention-scores")) {
    return floatOf(exact);
  }
  const data = MOVES.has(node.op)
    ? moved(node, inputs)
    : Float64Array.from(computed(node, inputs, floatOf(exact)));
  assert(data.length === elementCount(shape), "numbers missing");
  return { shape, data };
}

/** Moves places by the op itself, then reads the numbers at them. */
function moved(node: Node<number>, inputs: readonly FloatTensor[]): Float64Array {
  const all = [0];
  const [first, second] = inputs;
  const indices = (tensor: FloatTensor): HostTensor => ({
    element: "i32",
    shape: tensor.shape,
    data: Int32Array.from(tensor.data),
  });
  const places = inputs.map((tensor): HostTensor => {
    const start = all.length;
    for (const value of tensor.data) all.push(value);
    return {
      element: "i32",
      shape: tensor.shape,
      data: Int32Array.from(tensor.data, (_, i) => start + i),
    };
  });
  const type: TensorType<number> = { element: "i32", shape: node.type.shape };
  if (node.op === "pad" || node.op === "patches") {
    all[0] = node.value;
    return read(run({ ...node, type, value: 0 }, places), all);
  }
  if (node.op === "gather" || node.op === "take-along") {
    return read(run({ ...node, type }, [places[0]!, indices(present(second))]), all);
  }
  if (node.op === "select") {
    const mask = present(first);
    const bits = { element: "bool", shape: mask.shape, data: Uint8Array.from(mask.data) } as const;
    return read(run({ ...node, type }, [bits, places[1]!, places[2]!]), all);
  }
  return read(run({ ...node, type }, places), all);
}

function run(node: Node<number>, inputs: readonly HostTensor[]): HostTensor {
  assert(node.op !== "input" && node.op !== "constant", "nothing to compute");
  const outcome = evaluate(EXACT_GRAPH_OPS, node, inputs);
  assert(!("failure" in outcome), "places cannot fail");
  return outcome;
}

function read(places: HostTensor, all: readonly number[]): Float64Array {
  assert(places.element === "i32", "places are integers");
  return Float64Array.from(places.data, (at) => all[at]!);
}

function computed(
  node: Node<number>,
  inputs: readonly FloatTensor[],
  exact: FloatTensor,
): Iterable<number> {
  const [x, y, z] = inputs;
  switch (node.op) {
    case "neg":
    case "abs":
    case "sqrt":
    case "rsqrt":
    case "exp":
    case "exp2":
    case "log":
    case "tanh":
    case "sigmoid":
    case "erf":
    case "gelu":
    case "gelu-tanh":
    case "silu":
    case "relu":
      return present(x).data.map(FLOAT_UNARY[node.op]);
    case "add":
    case "sub":
    case "mul":
    case "div":
    case "min":
    case "max":
      return present(x).data.map((a, i) => FLOAT_BINARY[node.op](a, y!.data[i]!));
    case "convert":
    case "quantize":
    case "quantize-columns":
    case "dequantize":
      return present(x).data;
    case "sum":
      return rows(x).map(total);
    case "mean":
      return rows(x).map((row) => total(row) / row.length);
    case "variance":
      return rows(x).map(spread);
    case "reduce-max":
      return rows(x).map((row) => row.reduce((a, b) => Math.max(a, b)));
    case "scatter-add":
      return scattered(node.type.shape, present(x), present(y).data);
    case "fold":
      return folded(node, present(x));
    case "rms-norm":
      return rows(x).flatMap((row) => {
        const power = total(row.map((v) => v * v)) / row.length + node.epsilon;
        return row.map((v) => (power === 0 ? 0 : v / Math.sqrt(power)));
      });
    case "layer-norm":
      return rows(x).flatMap((row) => {
        const mean = total(row) / row.length;
        const power = spread(row) + node.epsilon;
        return row.map((v) => (power === 0 ? 0 : (v - mean) / Math.sqrt(power)));
      });
    case "softmax": {
      const queries = node.type.shape.at(-2) ?? 1;
      return rows(x).flatMap((row, r) => {
        const visible = node.causal ? row.length - queries + (r % queries) + 1 : row.length;
        const shares = softmax(row.slice(0, visible));
        return row.map((_, i) => shares[i] ?? 0);
      });
    }
    case "log-softmax":
      return rows(x).flatMap((row) => row.map((v) => v - logSum(row)));
    case "cross-entropy":
      return rows(x).map((row, r) => logSum(row) - row[y!.data[r]!]!);
    case "matmul":
      return products(present(x), present(y));
    case "matmul-grid":
      return products(present(x), present(y)).map((v) => v * 2 ** -z!.data[0]!);
    case "to-grid":
      return present(x).data.map((v) => v * 2 ** -y!.data[0]!);
    case "grid-add":
      return present(x).data.map((v, i) => v + y!.data[i]!);
    case "from-grid":
      return present(x).data.map((v) => v * 2 ** y!.data[0]!);
    case "rotary":
      return rotated(node, present(x), present(y).data);
    case "attention":
      return attend(node, present(x), present(y), present(z));
    case "attention-scores":
      return scores(node, present(x), present(y));
    case "attention-combine":
      return combine(node, present(x), present(y));
    case "dropout":
      return present(x).data.map((v, i) => (exact.data[i] === 0 ? 0 : (v * 65536) / node.keep));
    default:
      assert(false, `no numbers for ${node.op}`);
  }
}

function rows(x: FloatTensor | undefined): number[][] {
  const { shape, data } = present(x);
  const length = shape.at(-1) ?? 1;
  return Array.from({ length: elementCount(shape.slice(0, -1)) }, (_, r) =>
    Array.from(data.subarray(r * length, (r + 1) * length)),
  );
}

function total(row: readonly number[]): number {
  return row.reduce((sum, v) => sum + v, 0);
}

function spread(row: readonly number[]): number {
  const mean = total(row) / row.length;
  return total(row.map((v) => (v - mean) ** 2)) / row.length;
}

function softmax(row: readonly number[]): number[] {
  const max = row.reduce((a, b) => Math.max(a, b), -Infinity);
  const powers = row.map((v) => Math.exp(v - max));
  const sum = total(powers);
  return powers.map((p) => p / sum);
}

function logSum(row: readonly number[]): number {
  const max = row.reduce((a, b) => Math.max(a, b), -Infinity);
  return max + Math.log(total(row.map((v) => Math.exp(v - max))));
}

function products(left: FloatTensor, right: FloatTensor): number[] {
  const columns = rows(right);
  const [height, width] = [left.shape.at(-2)!, right.shape.at(-2)!];
  return rows(left).flatMap((row, r) => {
    const batch = right.shape.length === 2 ? 0 : Math.floor(r / height);
    return columns
      .slice(batch * width, (batch + 1) * width)
      .map((column) => total(row.map((v, k) => v * column[k]!)));
  });
}

function scattered(
  shape: readonly number[],
  updates: FloatTensor,
  indices: Float64Array,
): Float64Array {
  const columns = shape[1]!;
  const sums = new Float64Array(elementCount(shape));
  updates.data.forEach((v, i) => {
    sums[indices[Math.floor(i / columns)]! * columns + (i % columns)]! += v;
  });
  return sums;
}

/** Each value goes back to where patches would take it from. */
function folded(node: Node<number> & { readonly op: "fold" }, x: FloatTensor): Float64Array {
  const count = elementCount(node.type.shape);
  const sums = new Float64Array(count);
  const places = {
    shape: node.type.shape,
    data: Float64Array.from({ length: count }, (_, i) => i),
  };
  const type: TensorType<number> = { element: "i32", shape: x.shape };
  const sources = moved({ ...node, op: "patches", value: -1, type }, [places]);
  x.data.forEach((v, i) => {
    if (sources[i]! >= 0) sums[sources[i]!]! += v;
  });
  return sums;
}

function rotated(
  node: Node<number> & { readonly op: "rotary" },
  x: FloatTensor,
  positions: Float64Array,
): number[] {
  const heads = node.type.shape.at(-2)!;
  return rows(x).flatMap((row, unit) => {
    const turned = row.slice();
    node.steps.forEach((step, i) => {
      const [a, b] = node.interleaved ? [2 * i, 2 * i + 1] : [i, i + row.length / 2];
      const turns = ((positions[Math.floor(unit / heads)]! * step) / 2 ** 32) % 1;
      const angle = (node.inverse ? -2 : 2) * Math.PI * turns;
      turned[a] = row[a]! * Math.cos(angle) - row[b]! * Math.sin(angle);
      turned[b] = row[a]! * Math.sin(angle) + row[b]! * Math.cos(angle);
    });
    return turned;
  });
}
