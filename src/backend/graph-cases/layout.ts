// Conformance cases of ops that move values, and of those that gather sums while moving.

import type { Op, Window } from "gyrotron/tensor";
import {
  bfpType,
  boolType,
  f32Type,
  graphCase,
  type GraphCase,
  type GraphDraft,
  i32Type,
  list,
  type Value,
} from "./draft.ts";

/** Cases of layout ops; `full` adds sizes. */
export function layoutCases(full: boolean): GraphCase[] {
  return [
    ...shapeCases(full),
    ...cutCases(),
    ...indexCases(full),
    ...patchCases(full),
    graphCase("layout/select", (d) => {
      const mask = d.bool(
        [3, 5],
        list(15, (i) => ((i * 7) % 3) & 1),
      );
      const [one, other] = [d.f32([3, 5]), d.f32([3, 5], d.draw.wild(15))];
      d.node({ op: "select" }, [mask, one, other], f32Type([3, 5]));
      const [a, b] = [integers(d, [3, 5]), integers(d, [3, 5])];
      d.node({ op: "select" }, [mask, a, b], i32Type([3, 5]));
      d.node({ op: "select" }, [mask, mask, d.like({ op: "not" }, mask)], boolType([3, 5]));
      const scalar = d.bool([], [1]);
      d.node({ op: "select" }, [scalar, d.f32([], [3]), d.f32([], [4])], f32Type([]));
    }),
    graphCase("layout/iota", (d) => {
      for (const axis of [0, 1, 2]) d.node({ op: "iota", axis }, [], i32Type([3, 4, 5]));
      d.node({ op: "iota", axis: 0 }, [], i32Type([1]));
      d.node({ op: "iota", axis: 0 }, [], i32Type([70]));
      d.node({ op: "iota", axis: 1 }, [], i32Type([3, 0]));
    }),
  ];
}

function integers(d: GraphDraft, shape: readonly number[]): Value {
  const count = shape.reduce((product, size) => product * size, 1);
  return d.i32(
    shape,
    list(count, () => d.draw.u32() | 0),
  );
}

function shapeCases(full: boolean): GraphCase[] {
  const cube = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
  ];
  return [
    graphCase("layout/reshape", (d) => {
      const x = d.f32([2, 3, 4], d.draw.wild(24));
      d.reshape(x, [4, 6]);
      d.reshape(d.reshape(x, [24]), [3, 1, 8]);
      d.reshape(d.f32([], [7]), [1, 1]);
      d.reshape(d.f32([1], [9]), []);
      d.reshape(d.f32([0, 3], []), [3, 0, 2]);
      d.reshape(d.bfp([2, 3, 5], 14, [-9, 9], true), [6, 5]);
      d.reshape(d.i64([2, 2], [1n, -1n, (1n << 61n) + 1n, -(1n << 61n)]), [4]);
      d.reshape(d.bool([6], [1, 0, 0, 1, 1, 0]), [2, 3]);
    }),
    graphCase("layout/transpose", (d) => {
      const x = d.f32([2, 3, 4]);
      for (const permutation of cube) d.transpose(x, ...permutation);
      d.transpose(d.f32([1, 7]), 1, 0);
      d.transpose(d.f32([33, 18]), 1, 0);
      d.transpose(d.f32([0, 4], []), 1, 0);
      d.transpose(integers(d, [2, 3, 2, 3]), 0, 2, 1, 3);
      d.transpose(integers(d, [2, 3, 2, 3]), 3, 1, 0, 2);
      d.transpose(d.bfp([2, 3, 5], 16, [-40, 40]), 1, 0, 2);
      d.transpose(d.bfp([2, 3, 2, 6], 8, [-40, 40], true), 0, 2, 1, 3);
      // Rows of no elements have exponents all the same.
      d.transpose(d.bfp([2, 3, 0], 14, [-40, 40], true), 1, 0, 2);
      d.transpose(d.bool([2, 5], [1, 0, 0, 1, 1, 0, 1, 1, 0, 1]), 1, 0);
      d.transpose(
        d.i64(
          [3, 1, 2],
          list(6, (i) => BigInt(i - 3) << 55n),
        ),
        2,
        0,
        1,
      );
      if (full) d.transpose(d.f32([65, 3, 129]), 2, 1, 0);
    }),
    graphCase("layout/broadcast", (d) => {
      d.broadcast(d.f32([1, 3, 1]), [2, 3, 4]);
      d.broadcast(d.f32([1, 1]), [5, 9]);
      d.broadcast(d.f32([1]), [70]);
      d.broadcast(d.f32([3, 1]), [3, 0]);
      d.broadcast(integers(d, [1, 5]), [4, 5]);
      d.broadcast(d.bool([2, 1], [0, 1]), [2, 3]);
      d.broadcast(d.bfp([1, 2, 5], 14, [-9, 9], true), [3, 2, 5]);
      d.broadcast(d.i64([1], [-(1n << 40n) - 5n]), [3]);
    }),
  ];
}

function cutCases(): GraphCase[] {
  const cut = (
    d: GraphDraft,
    x: Value,
    starts: number[],
    strides: number[],
    shape: number[],
  ): Value => d.node({ op: "slice", starts, strides }, [x], { ...x.type, shape });
  const pad = (
    d: GraphDraft,
    x: Value,
    [low, interior, shape]: [number[], number[], number[]],
    value: number,
  ): Value => d.node({ op: "pad", low, interior, value }, [x], { ...x.type, shape });
  return [
    graphCase("layout/slice", (d) => {
      const x = d.f32([5, 7], d.draw.wild(35));
      cut(d, x, [1, 2], [1, 1], [3, 4]);
      cut(d, x, [0, 1], [2, 3], [3, 2]);
      cut(d, x, [4, 6], [1, 1], [1, 1]);
      cut(d, x, [5, 0], [1, 1], [0, 7]);
      cut(d, d.i64([4], [1n, 2n, -3n, 4n]), [1], [2], [2]);
      cut(d, d.bfp([2, 4, 5], 14, [-9, 9], true), [1, 0, 0], [1, 2, 1], [1, 2, 5]);
      cut(d, integers(d, [2, 3, 4]), [0, 1, 1], [1, 1, 2], [2, 2, 2]);
    }),
    graphCase("layout/concat", (d) => {
      const join = (axis: number, shape: number[], ...parts: Value[]): Value =>
        d.node({ op: "concat", axis }, parts, { ...parts[0]!.type, shape });
      join(0, [6, 3], d.f32([2, 3]), d.f32([0, 3], []), d.f32([4, 3]));
      join(1, [2, 6], d.f32([2, 3]), d.f32([2, 1]), d.f32([2, 2]));
      join(2, [2, 2, 5], integers(d, [2, 2, 4]), integers(d, [2, 2, 1]));
      join(0, [3], d.bool([1], [1]), d.bool([2], [0, 1]));
      join(0, [4], d.i64([2], [1n << 60n, -1n]), d.i64([2], [0n, 7n]));
      const cache = d.bfp([1, 3, 6], 13, [-20, 20]);
      join(1, [1, 5, 6], cache, d.bfp([1, 2, 6], 13, [-20, 20]));
      const x = d.f32([2, 2]);
      join(0, [4, 2], x, x);
    }),
    graphCase("layout/pad", (d) => {
      const x = d.f32([2, 3]);
      pad(
        d,
        x,
        [
          [1, 2],
          [0, 0],
          [4, 6],
        ],
        0,
      );
      pad(
        d,
        x,
        [
          [0, 1],
          [1, 2],
          [3, 9],
        ],
        -1.5,
      );
      pad(
        d,
        d.f32([0, 2], []),
        [
          [1, 0],
          [0, 0],
          [2, 2],
        ],
        2 ** -149,
      );
      pad(d, d.f32([1], [5]), [[0], [3], [1]], 9);
      pad(
        d,
        integers(d, [2, 2]),
        [
          [1, 0],
          [0, 1],
          [3, 4],
        ],
        -7,
      );
      pad(d, d.bool([3], [1, 1, 0]), [[2], [1], [8]], 1);
    }),
  ];
}

function indexCases(full: boolean): GraphCase[] {
  return [
    graphCase("layout/gather", (d) => {
      const rows = [6, 0, 0, 3, 5, 1];
      const shape = [2, 3];
      const table = d.f32([7, 3], d.draw.wild(21));
      d.node({ op: "gather" }, [table, d.i32(shape, rows)], f32Type([2, 3, 3]));
      const deep = integers(d, [3, 2, 2]);
      d.node({ op: "gather" }, [deep, d.i32([4], [2, 0, 1, 2])], i32Type([4, 2, 2]));
      d.node({ op: "gather" }, [d.f32([5]), d.i32([], [3])], f32Type([]));
      d.node({ op: "gather" }, [d.f32([5, 2]), d.i32([0], [])], f32Type([0, 2]));
      const packed = d.bfp([7, 5], 14, [-20, 20], true);
      d.node({ op: "gather" }, [packed, d.i32(shape, rows)], bfpType([2, 3, 5], 14, true));
    }),
    graphCase("layout/take-along", (d) => {
      const take = (x: Value, indices: Value): Value =>
        d.node({ op: "take-along" }, [x, indices], { ...x.type, shape: indices.type.shape });
      take(d.f32([3, 7]), d.i32([3, 2], [6, 0, 3, 3, 1, 5]));
      take(
        integers(d, [2, 2, 3]),
        d.i32(
          [2, 2, 4],
          list(16, (i) => (i * 5) % 3),
        ),
      );
      take(d.f32([4]), d.i32([1], [2]));
      take(d.f32([2, 3]), d.i32([2, 0], []));
    }),
    graphCase("layout/scatter-add", (d) => {
      const scatter = (updates: Value, entries: number, indices: number[]): Value => {
        const [rows, columns] = updates.type.shape as [number, number];
        const at = d.i32([rows], indices);
        return d.node({ op: "scatter-add" }, [updates, at], f32Type([entries, columns]));
      };
      scatter(d.f32([6, 3]), 4, [1, 3, 1, 1, 0, 3]);
      scatter(d.f32([1, 5]), 1, [0]);
      scatter(d.f32([0, 2], []), 3, []);
      scatter(d.f32([3, 0], []), 3, [0, 0, 1]);
      // Large values that cancel around small ones: what order they come in decides f32 sums.
      const waves = list(24, (i) => (i % 3 === 0 ? 3e7 : i % 3 === 1 ? -3e7 : 1 + i / 7));
      scatter(
        d.f32([24, 1], waves),
        2,
        list(24, (i) => (i < 12 ? 1 : 0)),
      );
      scatter(
        d.f32([12, 2], d.draw.spread(24, 60, 190)),
        3,
        list(12, (i) => (i * i) % 3),
      );
      scatter(
        d.f32([8, 2], d.draw.ties(16, -149)),
        3,
        list(8, (i) => i % 3),
      );
      const many = full ? 700 : 90;
      scatter(
        d.f32([many, 4]),
        5,
        list(many, (i) => (i * i + i) % 5),
      );
    }),
  ];
}

const WINDOWS: readonly { name: string; window: Window; size: number[]; result: number[] }[] = [
  {
    name: "plain",
    window: window([3, 3], [1, 1], [1, 1], [0, 0]),
    size: [1, 5, 6, 2],
    result: [3, 4],
  },
  {
    name: "same",
    window: window([3, 3], [1, 1], [1, 1], [1, 1]),
    size: [2, 4, 3, 3],
    result: [4, 3],
  },
  {
    name: "strided",
    window: window([2, 3], [2, 1], [1, 2], [1, 2]),
    size: [1, 6, 5, 1],
    result: [3, 5],
  },
  {
    name: "wide",
    window: window([1, 1], [3, 3], [1, 1], [0, 0]),
    size: [1, 7, 7, 2],
    result: [3, 3],
  },
  {
    name: "far",
    window: window([2, 2], [1, 1], [3, 3], [2, 2]),
    size: [1, 3, 3, 1],
    result: [4, 4],
  },
];

function window(
  kernel: [number, number],
  stride: [number, number],
  dilation: [number, number],
  padding: [number, number],
): Window {
  return { kernel, stride, dilation, padding };
}

function patchCases(full: boolean): GraphCase[] {
  const patched = (d: GraphDraft, [op, x]: [Op<number>, Value], result: readonly number[]): Value =>
    d.node(op, [x], { ...x.type, shape: result });
  return [
    graphCase("layout/patches", (d) => {
      for (const { window: w, size, result } of WINDOWS) {
        const shape = [size[0]!, ...result, ...w.kernel, size[3]!];
        patched(d, [{ op: "patches", window: w, value: 0 }, d.f32(size)], shape);
      }
      const { window: w, size, result } = WINDOWS[1]!;
      const shape = [size[0]!, ...result, ...w.kernel, size[3]!];
      const lowest = -3.4028234663852886e38;
      patched(d, [{ op: "patches", window: w, value: lowest }, d.f32(size)], shape);
    }),
    graphCase("layout/fold", (d) => {
      for (const { window: w, size, result } of WINDOWS) {
        const shape = [size[0]!, ...result, ...w.kernel, size[3]!];
        patched(d, [{ op: "fold", window: w }, d.f32(shape)], size);
      }
      const { window: w, size, result } = WINDOWS[0]!;
      const shape = [size[0]!, ...result, ...w.kernel, size[3]!];
      const count = shape.reduce((product, n) => product * n, 1);
      const waves = list(count, (i) => (i % 2 === 0 ? 1 : -1) * 3e7 + ((i * 37) % 11) / 3);
      patched(d, [{ op: "fold", window: w }, d.f32(shape, waves.map(Math.fround))], size);
      if (full)
        patched(d, [{ op: "fold", window: w }, d.f32(shape, d.draw.spread(count, 60, 190))], size);
    }),
  ];
}
