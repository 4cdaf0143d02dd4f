// Quantizing, exact contractions and the gradient grid (docs/spec/01-numerics.md sections 2, 3 and 18) in the
// oracle.

import { assert, present } from "gyrotron/base";
import { decodeF32, quantizeColumn, quantizeRow, roundScaled, roundToF32 } from "gyrotron/numerics";
import type { HostTensor, Node } from "gyrotron/tensor";
import {
  type BfpUnit,
  bfpResult,
  bfpUnits,
  f32Of,
  f32Result,
  f32Rows,
  i32Of,
  i64Of,
  type NodeFailure,
  type NodeOf,
  type NodeOutcome,
  rowLength,
} from "./graph-value.ts";

type Inputs = readonly HostTensor[];

/** Values on a grid stay below this magnitude. */
const GRID_MAX = 1n << 62n;

export function quantize(node: NodeOf<"quantize">, [x]: Inputs): HostTensor {
  return bfpResult(
    node,
    f32Rows(x).map((row) => ({ ...quantizeRow(row, node.bits), scale: 1n })),
  );
}

export function quantizeColumns(node: NodeOf<"quantize-columns">, [x]: Inputs): HostTensor {
  const units = f32Rows(x).map((row) => {
    const column = quantizeColumn(row, node.bits);
    return { ...column, scale: BigInt(column.scale) };
  });
  return bfpResult(node, units);
}

export function dequantize(node: NodeOf<"dequantize">, [x]: Inputs): NodeOutcome {
  const values = bfpUnits(x).flatMap(({ mantissas, exponent, scale }) =>
    mantissas.map((m) => roundToF32(m * scale, exponent)),
  );
  return f32Result(node, values);
}

export function matmul(node: NodeOf<"matmul">, inputs: Inputs): NodeOutcome {
  return f32Result(
    node,
    products(inputs).map(({ sum, exponent }) => roundToF32(sum, exponent)),
  );
}

export function matmulGrid(node: NodeOf<"matmul-grid">, inputs: Inputs): NodeOutcome {
  return onGrid(node, inputs[2], (grid) =>
    products(inputs).map(({ sum, exponent }) => roundScaled(sum, exponent - grid)),
  );
}

export function toGrid(node: NodeOf<"to-grid">, [x, exponent]: Inputs): NodeOutcome {
  return onGrid(node, exponent, (grid) =>
    Array.from(f32Of(x), (value) => {
      const { mantissa, exponent: e } = decodeF32(value);
      return roundScaled(mantissa, e - grid);
    }),
  );
}

export function gridAdd(node: NodeOf<"grid-add">, [left, right]: Inputs): NodeOutcome {
  const y = i64Of(right);
  return gridResult(
    node,
    Array.from(i64Of(left), (x, i) => x + y[i]!),
  );
}

export function fromGrid(node: NodeOf<"from-grid">, [x, exponent]: Inputs): NodeOutcome {
  const grid = gridOf(exponent);
  if (typeof grid !== "number") return grid;
  return f32Result(
    node,
    Array.from(i64Of(x), (value) => roundToF32(value, grid)),
  );
}

/** All sums of a matmul, D included, row by row. */
function products([left, right]: Inputs): { sum: bigint; exponent: number }[] {
  const rows = bfpUnits(left);
  const columns = bfpUnits(right);
  const leftShape = present(left).shape;
  const rightShape = present(right).shape;
  const [height, width] = [leftShape.at(-2)!, rightShape.at(-2)!];
  const isShared = rightShape.length === 2;
  return rows.flatMap((row, r) => {
    const batch = isShared ? 0 : Math.floor(r / height);
    return columns.slice(batch * width, (batch + 1) * width).map((column) => ({
      sum: dot(row, column) * row.scale * column.scale,
      exponent: row.exponent + column.exponent,
    }));
  });
}

function dot(left: BfpUnit, right: BfpUnit): bigint {
  assert(left.mantissas.length === right.mantissas.length, "contraction lengths differ");
  let sum = 0n;
  left.mantissas.forEach((m, k) => (sum += m * right.mantissas[k]!));
  return sum;
}

/** The exponent of a grid, or the failure that it is out of range: that of row 0. */
function gridOf(tensor: HostTensor | undefined): number | NodeFailure {
  const exponent = i32Of(tensor)[0]!;
  if (exponent >= -400 && exponent <= 200) return exponent;
  return { failure: "grid-overflow", row: 0 };
}

function onGrid(
  node: Node<number>,
  exponent: HostTensor | undefined,
  values: (grid: number) => bigint[],
): NodeOutcome {
  const grid = gridOf(exponent);
  return typeof grid === "number" ? gridResult(node, values(grid)) : grid;
}

function gridResult(node: Node<number>, values: readonly bigint[]): NodeOutcome {
  const { shape } = node.type;
  const at = values.findIndex((value) => value >= GRID_MAX || value <= -GRID_MAX);
  if (at >= 0) return { failure: "grid-overflow", row: Math.floor(at / rowLength(shape)) };
  return { element: "i64", shape, data: BigInt64Array.from(values) };
}
