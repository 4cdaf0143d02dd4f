// Values as the oracle reads and makes them: typed access, rows along the last axis, places in a shape, and
// the outcome of a node. Everything here is about where a value stands, not what it is.

import { assert, present } from "gyrotron/base";
import {
  elementCount,
  type HostBfp,
  type HostTensor,
  type Node,
  type OpKind,
  rowCount,
  type RunFailure,
} from "gyrotron/tensor";

/** Where and how a node fails. */
export interface NodeFailure {
  readonly failure: RunFailure["kind"];
  readonly row: number;
}

/** What evaluating a node gives. */
export type NodeOutcome = HostTensor | NodeFailure;

/** The nodes of one kind. */
export type NodeOf<K extends OpKind> =
  Node<number> extends infer N
    ? N extends { readonly op: infer O }
      ? K extends O
        ? N
        : never
      : never
    : never;

/** How many elements a row has; 1 for a scalar. */
export function rowLength(shape: readonly number[]): number {
  return shape.at(-1) ?? 1;
}

export function f32Of(tensor: HostTensor | undefined): Float32Array {
  assert(tensor?.element === "f32", "f32 expected");
  return tensor.data;
}

export function i32Of(tensor: HostTensor | undefined): Int32Array {
  assert(tensor?.element === "i32", "i32 expected");
  return tensor.data;
}

export function boolOf(tensor: HostTensor | undefined): Uint8Array {
  assert(tensor?.element === "bool", "bool expected");
  return tensor.data;
}

export function i64Of(tensor: HostTensor | undefined): BigInt64Array {
  assert(tensor?.element === "i64", "i64 expected");
  return tensor.data;
}

export function bfpOf(tensor: HostTensor | undefined): HostBfp {
  assert(tensor?.element === "bfp", "bfp expected");
  return tensor;
}

/** The rows of an f32 along its last axis; rows without elements are rows too. */
export function f32Rows(tensor: HostTensor | undefined): Float32Array[] {
  const data = f32Of(tensor);
  const { shape } = present(tensor);
  const length = rowLength(shape);
  return Array.from({ length: rowCount(shape) }, (_, r) =>
    data.subarray(r * length, (r + 1) * length),
  );
}

/** One row of a bfp. */
export interface BfpUnit {
  readonly mantissas: readonly bigint[];
  readonly exponent: number;
  /** 1 where the value is not scaled. */
  readonly scale: bigint;
}

/** The rows of a bfp along its last axis. */
export function bfpUnits(tensor: HostTensor | undefined): BfpUnit[] {
  const { data, exponents, scales, shape } = bfpOf(tensor);
  const length = rowLength(shape);
  return Array.from({ length: rowCount(shape) }, (_, r) => ({
    mantissas: Array.from(data.subarray(r * length, (r + 1) * length), BigInt),
    exponent: exponents[r]!,
    scale: BigInt(scales?.[r] ?? 1),
  }));
}

/** A bfp of rows in order. */
export function bfpResult(node: Node<number>, units: readonly BfpUnit[]): HostBfp {
  const { type } = node;
  assert(type.element === "bfp" && units.length === rowCount(type.shape), "rows missing");
  return {
    element: "bfp",
    shape: type.shape,
    bits: type.bits,
    data: Int32Array.from(units.flatMap(({ mantissas }) => mantissas.map(Number))),
    exponents: Int32Array.from(units, ({ exponent }) => exponent),
    scales: type.scaled ? Uint8Array.from(units, ({ scale }) => Number(scale)) : undefined,
  };
}

/** The f32 result of a node, or the first row with an element that is not finite. */
export function f32Result(node: Node<number>, values: Iterable<number>): NodeOutcome {
  return f32ResultBy(node, values, rowLength(node.type.shape));
}

/** As `f32Result` for ops that drop the last axis: each element of the result stands for a row. */
export function f32Reduced(node: Node<number>, values: Iterable<number>): NodeOutcome {
  return f32ResultBy(node, values, 1);
}

function f32ResultBy(node: Node<number>, values: Iterable<number>, length: number): NodeOutcome {
  const data = Float32Array.from(values);
  assert(data.length === elementCount(node.type.shape), "elements missing");
  const at = data.findIndex((x) => !Number.isFinite(x));
  if (at >= 0) return { failure: "non-finite", row: Math.floor(at / length) };
  return { element: "f32", shape: node.type.shape, data };
}

export function i32Result(node: Node<number>, values: Iterable<number>): HostTensor {
  const data = Int32Array.from(values);
  assert(data.length === elementCount(node.type.shape), "elements missing");
  return { element: "i32", shape: node.type.shape, data };
}

export function boolResult(node: Node<number>, values: Iterable<boolean>): HostTensor {
  const data = Uint8Array.from(values, Number);
  assert(data.length === elementCount(node.type.shape), "elements missing");
  return { element: "bool", shape: node.type.shape, data };
}

/** The place of each element of a shape, the last axis fastest. */
export function placesOf(shape: readonly number[]): number[][] {
  let places: number[][] = [[]];
  for (const size of shape) {
    places = places.flatMap((place) => Array.from({ length: size }, (_, i) => [...place, i]));
  }
  return places;
}

/** The index of the element at a place. */
export function indexAt(shape: readonly number[], place: readonly number[]): number {
  let index = 0;
  shape.forEach((size, axis) => {
    const at = place[axis]!;
    assert(at >= 0 && at < size, "place out of the shape");
    index = index * size + at;
  });
  return index;
}

/** The first of some indices that is out of `0..count-1`, as a failure at `rowOf` it. */
export function indexFailure(
  indices: Int32Array,
  count: number,
  length = 1,
): NodeFailure | undefined {
  const at = indices.findIndex((index) => index < 0 || index >= count);
  if (at < 0) return undefined;
  return { failure: "index-out-of-range", row: Math.floor(at / length) };
}
