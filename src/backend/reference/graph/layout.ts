// Ops that move values (docs/spec/01-numerics.md sections 14 and 19) in the oracle. They move cells: the
// elements of a plain value, or the whole rows of a bfp, whose last axis is no axis of cells.

import { assert, present } from "gyrotron/base";
import { sumRow } from "gyrotron/numerics";
import type { HostTensor, Node, Window } from "gyrotron/tensor";
import {
  type BfpUnit,
  bfpResult,
  bfpUnits,
  boolOf,
  f32Of,
  f32Result,
  i32Of,
  i32Result,
  indexAt,
  indexFailure,
  type NodeFailure,
  type NodeOf,
  type NodeOutcome,
  placesOf,
  rowLength,
} from "./graph-value.ts";

/** One element, or one row of a bfp. */
type Cell = number | bigint | BfpUnit;

interface Cells {
  readonly shape: readonly number[];
  readonly cells: readonly Cell[];
}

type Inputs = readonly HostTensor[];

export function reshape(node: NodeOf<"reshape">, [x]: Inputs): HostTensor {
  return fromCells(node, cellsOf(x).cells);
}

export function transpose(node: NodeOf<"transpose">, [x]: Inputs): HostTensor {
  const from = cellsOf(x);
  return build(node, (place) => {
    const source = place.slice();
    place.forEach((at, axis) => (source[node.permutation[axis]!] = at));
    return cellAt(from, source);
  });
}

export function slice(node: NodeOf<"slice">, [x]: Inputs): HostTensor {
  const from = cellsOf(x);
  return build(node, (place) => {
    const source = place.map((at, axis) => node.starts[axis]! + at * node.strides[axis]!);
    return cellAt(from, source);
  });
}

export function concat(node: NodeOf<"concat">, inputs: Inputs): HostTensor {
  const parts = inputs.map(cellsOf);
  return build(node, (place) => {
    let at = place[node.axis]!;
    const part = present(
      parts.find(({ shape }) => {
        if (at < shape[node.axis]!) return true;
        at -= shape[node.axis]!;
        return false;
      }),
    );
    return cellAt(part, place.with(node.axis, at));
  });
}

export function pad(node: NodeOf<"pad">, [x]: Inputs): HostTensor {
  const from = cellsOf(x);
  return build(node, (place) => {
    const source: number[] = [];
    for (const [axis, at] of place.entries()) {
      const step = node.interior[axis]! + 1;
      const distance = at - node.low[axis]!;
      if (distance < 0 || distance % step !== 0) return node.value;
      if (distance / step >= from.shape[axis]!) return node.value;
      source.push(distance / step);
    }
    return cellAt(from, source);
  });
}

export function broadcast(node: NodeOf<"broadcast">, [x]: Inputs): HostTensor {
  const from = cellsOf(x);
  return build(node, (place) =>
    cellAt(
      from,
      place.map((at, axis) => (from.shape[axis] === 1 ? 0 : at)),
    ),
  );
}

export function iota(node: NodeOf<"iota">): HostTensor {
  return i32Result(
    node,
    placesOf(node.type.shape).map((place) => place[node.axis]!),
  );
}

export function gather(node: NodeOf<"gather">, [table, indices]: Inputs): NodeOutcome {
  const from = cellsOf(table);
  const at = i32Of(indices);
  const failure = indexFailure(at, from.shape[0]!);
  if (failure !== undefined) return failure;
  const { shape } = present(indices);
  return build(node, (place) => {
    const entry = at[indexAt(shape, place.slice(0, shape.length))]!;
    return cellAt(from, [entry, ...place.slice(shape.length)]);
  });
}

export function takeAlong(node: NodeOf<"take-along">, [x, indices]: Inputs): NodeOutcome {
  const from = cellsOf(x);
  const at = i32Of(indices);
  const { shape } = present(indices);
  const failure = indexFailure(at, rowLength(from.shape), rowLength(shape));
  if (failure !== undefined) return failure;
  return build(node, (place) => cellAt(from, [...place.slice(0, -1), at[indexAt(shape, place)]!]));
}

export function select(node: NodeOf<"select">, [mask, yes, no]: Inputs): HostTensor {
  const [left, right] = [cellsOf(yes), cellsOf(no)];
  const chosen = Array.from(boolOf(mask), (bit, i) => (bit === 1 ? left : right).cells[i]!);
  return fromCells(node, chosen);
}

export function patches(node: NodeOf<"patches">, [x]: Inputs): HostTensor {
  const from = cellsOf(x);
  return build(node, (place) => {
    const source = sourceOfPatch(node.window, place, from.shape);
    return source === undefined ? node.value : cellAt(from, source);
  });
}

/** Each element gathers what patches would have filled from it, and sums it. */
export function fold(node: NodeOf<"fold">, [x]: Inputs): NodeOutcome {
  const data = f32Of(x);
  const shape = node.type.shape;
  const lists = placesOf(shape).map((): number[] => []);
  for (const place of placesOf(present(x).shape)) {
    const target = sourceOfPatch(node.window, place, shape);
    if (target === undefined) continue;
    lists[indexAt(shape, target)]!.push(data[indexAt(present(x).shape, place)]!);
  }
  return f32Result(
    node,
    lists.map((list) => sumRow(list, 24)),
  );
}

/** Each element of the result sums the updates of its row. */
export function scatterAdd(node: NodeOf<"scatter-add">, [updates, indices]: Inputs): NodeOutcome {
  const data = f32Of(updates);
  const at = i32Of(indices);
  const [entries, columns] = node.type.shape as [number, number];
  const failure: NodeFailure | undefined = indexFailure(at, entries);
  if (failure !== undefined) return failure;
  const sums = placesOf([entries, columns]).map(([v, j]) => {
    const list: number[] = [];
    at.forEach((entry, r) => {
      if (entry === v) list.push(data[r * columns + j!]!);
    });
    return sumRow(list, 24);
  });
  return f32Result(node, sums);
}

/** Where in `[B, H, W, C]` an element of `[B, OH, OW, kh, kw, C]` comes from, if not from outside. */
function sourceOfPatch(
  { stride, padding, dilation }: Window,
  place: readonly number[],
  shape: readonly number[],
): number[] | undefined {
  const [batch, y, x, i, j, channel] = place as [number, number, number, number, number, number];
  const row = y * stride[0] - padding[0] + i * dilation[0];
  const column = x * stride[1] - padding[1] + j * dilation[1];
  if (row < 0 || row >= shape[1]! || column < 0 || column >= shape[2]!) return undefined;
  return [batch, row, column, channel];
}

function cellsOf(tensor: HostTensor | undefined): Cells {
  const { element, shape, data } = present(tensor);
  if (element === "bfp") return { shape: shape.slice(0, -1), cells: bfpUnits(tensor) };
  return { shape, cells: Array.from<number | bigint>(data) };
}

function cellAt(from: Cells, place: readonly number[]): Cell {
  return from.cells[indexAt(from.shape, place)]!;
}

/** The value whose cell at each place is `cell(place)`. */
function build(node: Node<number>, cell: (place: readonly number[]) => Cell): HostTensor {
  const { element, shape } = node.type;
  const places = placesOf(element === "bfp" ? shape.slice(0, -1) : shape);
  return fromCells(node, places.map(cell));
}

function fromCells(node: Node<number>, cells: readonly Cell[]): HostTensor {
  const { element, shape } = node.type;
  switch (element) {
    case "bfp":
      return bfpResult(node, cells as BfpUnit[]);
    case "i64":
      return { element, shape, data: BigInt64Array.from(cells as bigint[]) };
    case "f32":
      return { element, shape, data: Float32Array.from(cells as number[]) };
    case "i32":
      return { element, shape, data: Int32Array.from(cells as number[]) };
    case "bool":
      assert(
        cells.every((cell) => cell === 0 || cell === 1),
        "a bool is 0 or 1",
      );
      return { element, shape, data: Uint8Array.from(cells as number[]) };
  }
}
