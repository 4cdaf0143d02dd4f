// Values moved by the device against index arithmetic element by element, over random shapes, for plain and
// bfp values, and over matrices large enough for the kernel that turns blocks.

import { deepEqual, equal } from "node:assert/strict";
import { after, test } from "node:test";
import fc from "fast-check";
import {
  elementCount,
  type HostTensor,
  type Node,
  type Op,
  rowCount,
  type TensorType,
} from "gyrotron/tensor";
import { WasmDevice } from "../device.ts";
import { keepsOrder, mergeAxes } from "./move.ts";
import { WasmGraphs } from "./run.ts";

const device = await WasmDevice.create({ threads: 2, fill: 0x5a, schedule: 77 });
const graphs = new WasmGraphs(device);
after(() => device.close());

type Shape = readonly number[];

/** Runs one op on i32 values that are their own indices, and the same on bfp rows where it may be. */
async function run(
  op: Op<number>,
  shapes: readonly Shape[],
  result: Shape,
  element: "i32" | "bfp",
): Promise<HostTensor> {
  const typeOf = (shape: Shape): TensorType<number> =>
    element === "i32" ? { element, shape } : { element, shape, bits: 16, scaled: true };
  const inputs = Object.fromEntries(
    shapes.map((shape, i) => [`x${i}`, numbered(shape, element, i * 1000)]),
  );
  const nodes = shapes.map((shape, i): Node<number> => ({
    ...{ op: "input", name: `x${i}`, role: "data" },
    ...{ inputs: [], type: typeOf(shape) },
  }));
  nodes.push({ ...op, inputs: shapes.map((_, i) => i), type: typeOf(result) });
  const graph = { nodes, outputs: [{ name: "y", node: shapes.length }] };
  const found = await graphs.runGraph(graph, inputs);
  equal(found.failure, undefined);
  return found.failure === undefined ? found.outputs["y"]! : numbered([], element, 0);
}

function numbered(shape: Shape, element: "i32" | "bfp", first: number): HostTensor {
  const data = Int32Array.from({ length: elementCount(shape) }, (_, i) => first + i);
  if (element === "i32") return { element, shape, data };
  const rows = rowCount(shape);
  return {
    ...{ element, shape, bits: 16, data },
    exponents: Int32Array.from({ length: rows }, (_, i) => first - i),
    scales: Uint8Array.from({ length: rows }, (_, i) => 128 + ((first + i) % 128)),
  };
}

/** What a move gives: `source` says which operand and place each place of the result is read from. */
function moved(
  shapes: readonly Shape[],
  result: Shape,
  source: (place: readonly number[]) => { operand: number; place: readonly number[] } | undefined,
  fill = 0,
): number[] {
  return Array.from({ length: elementCount(result) }, (_, i) => {
    const from = source(placeOf(result, i));
    if (from === undefined) return fill;
    const shape = shapes[from.operand]!;
    return from.operand * 1000 + from.place.reduce((at, p, axis) => at * shape[axis]! + p, 0);
  });
}

function placeOf(shape: Shape, index: number): number[] {
  const place: number[] = [];
  let rest = index;
  for (const size of shape.toReversed()) {
    place.unshift(rest % size);
    rest = Math.floor(rest / size);
  }
  return place;
}

const shapes = fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 1, maxLength: 5 });
const RUNS = { numRuns: 150 };

test("transpose", async () => {
  const cases = shapes.chain((shape) =>
    fc.tuple(
      fc.constant(shape),
      fc.shuffledSubarray([...shape.keys()], { minLength: shape.length }),
    ),
  );
  await fc.assert(
    fc.asyncProperty(cases, async ([shape, permutation]) => {
      const result = permutation.map((axis) => shape[axis]!);
      const y = await run({ op: "transpose", permutation }, [shape], result, "i32");
      const place = (p: readonly number[]): number[] =>
        shape.map((_, i) => p[permutation.indexOf(i)]!);
      const expected = moved([shape], result, (p) => ({ operand: 0, place: place(p) }));
      deepEqual([...y.data], expected);
      if (keepsOrder(shape, permutation))
        deepEqual(
          expected,
          expected.toSorted((a, b) => a - b),
        );
    }),
    RUNS,
  );
});

test("transpose of large matrices, one and several", async () => {
  for (const shape of [
    [37, 53],
    [64, 16],
    [601, 33],
    [3, 19, 50],
    [2, 3, 17, 33],
  ]) {
    const permutation = [...shape.keys()];
    permutation.push(...permutation.splice(-2).toReversed());
    const result = permutation.map((axis) => shape[axis]!);
    const y = await run({ op: "transpose", permutation }, [shape], result, "i32");
    const expected = moved([shape], result, (p) => ({
      operand: 0,
      place: permutation.map((axis) => p[axis]!),
    }));
    deepEqual([...y.data], expected);
  }
});

test("bfp rows move with their exponents and scales", async () => {
  const shape = [3, 4, 2, 9];
  const result = [2, 3, 4, 9];
  const permutation = [2, 0, 1, 3];
  const y = await run({ op: "transpose", permutation }, [shape], result, "bfp");
  const source = (p: readonly number[]): { operand: number; place: readonly number[] } => ({
    operand: 0,
    place: [p[1]!, p[2]!, p[0]!, ...p.slice(3)],
  });
  deepEqual([...y.data], moved([shape], result, source));
  const rows = moved([shape.slice(0, -1)], result.slice(0, -1), source);
  deepEqual(
    y.element === "bfp" && [...y.exponents],
    rows.map((row) => 0 - row),
  );
  deepEqual(
    y.element === "bfp" && [...y.scales!],
    rows.map((row) => 128 + row),
  );
});

test("slice, pad and broadcast", async () => {
  const axes = fc.array(
    fc.record({
      size: fc.integer({ min: 1, max: 5 }),
      start: fc.integer({ min: 0, max: 4 }),
      stride: fc.integer({ min: 1, max: 3 }),
      more: fc.integer({ min: 0, max: 2 }),
    }),
    { minLength: 1, maxLength: 4 },
  );
  await fc.assert(
    fc.asyncProperty(axes, async (specs) => {
      const shape = specs.map(({ size }) => size);
      const starts = specs.map(({ start, size }) => Math.min(start, size - 1));
      const strides = specs.map(({ stride }) => stride);
      const cut = specs.map(({ stride }, i) => Math.ceil((shape[i]! - starts[i]!) / stride));
      const sliced = await run({ op: "slice", starts, strides }, [shape], cut, "i32");
      deepEqual(
        [...sliced.data],
        moved([shape], cut, (p) => ({
          operand: 0,
          place: p.map((at, i) => starts[i]! + at * strides[i]!),
        })),
      );
      const low = specs.map(({ start }) => start);
      const interior = specs.map(({ stride }) => stride - 1);
      const wide = specs.map(
        ({ size, start, stride, more }) => start + (size - 1) * stride + 1 + more,
      );
      const padded = await run({ op: "pad", low, interior, value: -9 }, [shape], wide, "i32");
      const inner = (p: readonly number[]): number[] =>
        p.map((at, i) => (at - low[i]!) / (interior[i]! + 1));
      deepEqual(
        [...padded.data],
        moved(
          [shape],
          wide,
          (p) => {
            const place = inner(p);
            const isInside = place.every(
              (at, i) => Number.isInteger(at) && at >= 0 && at < shape[i]!,
            );
            return isInside ? { operand: 0, place } : undefined;
          },
          -9,
        ),
      );
      const large = specs.map(({ size, more }) => (size === 1 ? 1 + more : size));
      const repeated = await run({ op: "broadcast" }, [shape], large, "i32");
      deepEqual(
        [...repeated.data],
        moved([shape], large, (p) => ({
          operand: 0,
          place: p.map((at, i) => (shape[i] === 1 ? 0 : at)),
        })),
      );
    }),
    RUNS,
  );
});

test("concat along any axis", async () => {
  const cases = shapes.chain((shape) =>
    fc.record({
      shape: fc.constant(shape),
      axis: fc.integer({ min: 0, max: shape.length - 1 }),
      sizes: fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 4 }),
    }),
  );
  await fc.assert(
    fc.asyncProperty(cases, async ({ shape, axis, sizes }) => {
      const withSize = (size: number): number[] => shape.map((n, i) => (i === axis ? size : n));
      const operands = sizes.map(withSize);
      const result = withSize(sizes.reduce((sum, size) => sum + size, 0));
      const y = await run({ op: "concat", axis }, operands, result, "i32");
      const source = (p: readonly number[]): { operand: number; place: readonly number[] } => {
        let at = p[axis]!;
        let operand = 0;
        while (at >= sizes[operand]!) at -= sizes[operand++]!;
        return { operand, place: p.map((other, i) => (i === axis ? at : other)) };
      };
      deepEqual([...y.data], moved(operands, result, source));
    }),
    RUNS,
  );
});

test("axes that lie one behind the other merge, others do not", () => {
  const dense = {
    shape: [2, 1, 3, 4],
    stepsIn: [48, 48, 16, 4],
    stepsOut: [48, 48, 16, 4],
    bytes: 4,
  };
  deepEqual(mergeAxes(dense).shape, [24]);
  deepEqual(mergeAxes({ ...dense, stepsIn: [64, 64, 16, 4] }).shape, [2, 12]);
  deepEqual(mergeAxes({ ...dense, shape: [1, 1, 1, 1] }).shape, [1]);
});
