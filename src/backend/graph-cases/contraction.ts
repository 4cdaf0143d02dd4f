// Conformance cases of quantizing, contractions, attention and the gradient grid.

import { f32FromBits } from "gyrotron/numerics";
import { mantissaMax } from "gyrotron/tensor";
import {
  bfpType,
  f32Type,
  graphCase,
  type GraphCase,
  type GraphDraft,
  i32Type,
  i64Type,
  list,
  type Value,
} from "./draft.ts";

const MAX = f32FromBits(0x7f7fffff);

/** Cases of contractions; `full` adds sizes. */
export function contractionCases(full: boolean): GraphCase[] {
  return [...quantizeCases(), ...matmulCases(full), ...gridCases(), ...attentionCases(full)];
}

function quantizeCases(): GraphCase[] {
  const rows = (d: GraphDraft): Value[] => [
    d.f32([2, 3, 29]),
    d.f32([20, 3], d.draw.wild(60)),
    d.f32([4, 24], d.draw.ties(96, -9)),
    d.f32([5, 8], d.draw.ties(40, -149)),
    d.f32([8, 1], [MAX, -MAX, 2 ** -149, 0, 1, 127.5, -128, 32767.5]),
    d.f32([2, 3], new Float32Array(6)),
    d.f32([3, 0], []),
    d.f32([0, 4], []),
  ];
  return [
    graphCase("quantize/rows", (d) => {
      for (const x of rows(d)) for (const bits of [8, 11, 13, 14, 16]) d.quantize(x, bits);
    }),
    graphCase("quantize/columns", (d) => {
      for (const x of rows(d)) for (const bits of [8, 14] as const) d.pack(x, bits);
      d.pack(d.f32([3, 2], [127 * 200, 0, 127 * 200 + 1, -300, 127 * 255, 127 * 255 + 1]), 8);
    }),
    graphCase("quantize/dequantize", (d) => {
      const back = (x: Value): Value => d.node({ op: "dequantize" }, [x], f32Type(x.type.shape));
      back(d.bfp([3, 7], 16, [-20, 20]));
      back(d.bfp([3, 7], 8, [-20, 20], true));
      back(d.bfp([6, 9], 14, [-149, -140], true));
      back(d.bfp([2, 5], 16, [100, 110]));
      back(d.quantize(d.f32([2, 31], d.draw.wild(62)), 14));
      back(d.pack(d.f32([2, 2, 9]), 14));
    }),
  ];
}

function matmulCases(full: boolean): GraphCase[] {
  const widths = [
    [8, 8],
    [14, 8],
    [14, 14],
    [13, 13],
    [16, 16],
    [8, 16],
    [15, 9],
  ] as const;
  const sizes = [
    [1, 1, 1],
    [1, 7, 3],
    [2, 8, 4],
    [3, 33, 5],
    [5, 130, 9],
    ...(full ? [[17, 257, 33] as const] : []),
  ] as const;
  return [
    ...widths.flatMap(([a, b]) =>
      [false, true]
        .filter((scaled) => !scaled || b === 8 || b === 14)
        .map((scaled) =>
          graphCase(`matmul/${a}x${b}${scaled ? "/scaled" : ""}`, (d) => {
            for (const [m, k, n] of sizes) {
              d.matmul(d.bfp([m, k], a, [-20, 4]), d.bfp([n, k], b, [-20, 0], scaled));
            }
            d.matmul(d.bfp([2, 3, 19], a, [-9, 0]), d.bfp([2, 5, 19], b, [-9, 0], scaled));
            d.matmul(d.bfp([2, 2, 3, 6], a, [-9, 0]), d.bfp([4, 6], b, [-9, 0], scaled));
            d.matmul(d.bfp([0, 6], a, [0, 0]), d.bfp([4, 6], b, [0, 0], scaled));
            d.matmul(d.bfp([3, 6], a, [0, 0]), d.bfp([0, 6], b, [0, 0], scaled));
            // Results among the subnormals, of all shifts.
            d.matmul(d.bfp([4, 3], a, [-95, -80]), d.bfp([6, 3], b, [-80, -70], scaled));
          }),
        ),
    ),
    ...extremeCases(full),
    ...widths.map(([a, b]) =>
      graphCase(`matmul/${a}x${b}/no-terms`, (d) => {
        // Exponents at both ends: they scale nothing.
        const sizes = [
          [
            [1, 0],
            [1, 0],
          ],
          [
            [3, 0],
            [7, 0],
          ],
          [
            [35, 0],
            [66, 0],
          ],
          [
            [2, 3, 0],
            [5, 0],
          ],
          [
            [2, 3, 0],
            [2, 4, 0],
          ],
          [
            [0, 0],
            [2, 0],
          ],
          [
            [2, 0],
            [0, 0],
          ],
        ] as const;
        for (const [left, right] of sizes) {
          const scaled = b === 8 || b === 14;
          const [x, y] = [d.bfp(left, a, [-149, 122]), d.bfp(right, b, [-149, 122], scaled)];
          const product = d.matmul(x, y);
          const inputs = [x, y, d.i32([], [-30])];
          d.node({ op: "matmul-grid" }, inputs, i64Type(product.type.shape));
        }
        d.matmul(d.quantize(d.f32([3, 0], []), a), d.quantize(d.f32([2, 0], []), b));
      }),
    ),
    graphCase("matmul/round", (d) => {
      // Sums s written as 4096 q + r, so that any below 2^28 can be made, around ties and their neighbours.
      const sums = [2 ** 24 + 1, 2 ** 24 + 3, 2 ** 25 + 2, 2 ** 23, 11184811, 16580609].flatMap(
        (s) => [s - 1, s, s + 1, -s, 1 - s, -s - 1],
      );
      const rows = d.input({
        element: "bfp",
        shape: [sums.length, 3],
        bits: 14,
        data: Int32Array.from(sums.flatMap(digitsOf)),
        exponents: Int32Array.from(sums, () => -3),
        scales: undefined,
      });
      const columns = (bits: number, exponents: number[], scales?: number[]): Value =>
        d.input({
          element: "bfp",
          shape: [exponents.length, 3],
          bits,
          data: Int32Array.from(exponents.flatMap(() => [4096, 4096, 1])),
          exponents: Int32Array.from(exponents),
          scales: scales === undefined ? undefined : Uint8Array.from(scales),
        });
      d.matmul(rows, columns(14, [0, -140, -147, -149, 99]));
      d.matmul(rows, columns(14, [0, -140, -147, -149, 90], [128, 129, 225, 255, 131]));
    }),
  ];
}

/** Three mantissas whose product with (4096, 4096, 1) is `sum`. */
function digitsOf(sum: number): [number, number, number] {
  const low = sum % 4096;
  const high = (sum - low) / 4096;
  const half = Math.floor(high / 2);
  return [half, high - half, low];
}

/** Sums as large as width and length allow, of every sign. */
function extremeCases(full: boolean): GraphCase[] {
  const extreme = (a: number, b: number, k: number): GraphCase =>
    graphCase(`matmul/extreme/${a}x${b}/${k}`, (d) => {
      const [top, side] = [mantissaMax(a), mantissaMax(b)];
      const row = (bits: number, mantissas: number[]): Value =>
        d.input({
          element: "bfp",
          shape: [mantissas.length / k, k],
          bits,
          data: Int32Array.from(mantissas),
          exponents: new Int32Array(mantissas.length / k).fill(-7),
          scales: undefined,
        });
      const left = row(a, [
        ...list(k, () => top),
        ...list(k, () => -top),
        ...list(k, (i) => ((i * i * 7 + i) % (2 * top + 1)) - top),
      ]);
      d.matmul(
        left,
        row(b, [...list(k, () => side), ...list(k, (i) => (i % 2 === 0 ? side : -side))]),
      );
    });
  return [
    extreme(8, 8, 3000),
    extreme(14, 8, 2065),
    extreme(14, 14, 300),
    extreme(16, 16, 9),
    extreme(16, 16, 5000),
    extreme(15, 9, 1025),
    ...(full ? [extreme(16, 16, 65536), extreme(14, 14, 65536), extreme(8, 8, 65536)] : []),
  ];
}

function gridCases(): GraphCase[] {
  const exponent = (d: GraphDraft, value: number): Value => d.i32([], [value]);
  return [
    graphCase("grid/matmul", (d) => {
      for (const [a, b, scaled] of [
        [14, 14, false],
        [14, 8, true],
        [16, 16, false],
      ] as const) {
        for (const grid of [-45, -33, -20, 0, 9]) {
          const left = d.bfp([3, 21], a, [-20, -8]);
          const right = d.bfp([4, 21], b, [-20, -12], scaled);
          d.node({ op: "matmul-grid" }, [left, right, exponent(d, grid)], i64Type([3, 4]));
        }
      }
      const inputs = [d.bfp([2, 3, 5], 14, [-149, -140]), d.bfp([2, 2, 5], 14, [-149, -140])];
      d.node({ op: "matmul-grid" }, [...inputs, exponent(d, -305)], i64Type([2, 3, 2]));
      // Sums of 30 places and more, shifted by every count that crosses a word.
      const wide = [d.bfp([2, 40], 16, [0, 0]), d.bfp([2, 40], 16, [0, 0])];
      for (let grid = -26; grid <= 40; grid += 3) {
        d.node({ op: "matmul-grid" }, [...wide, exponent(d, grid)], i64Type([2, 2]));
      }
    }),
    graphCase("grid/to", (d) => {
      const to = (x: Value, grid: number): Value =>
        d.node({ op: "to-grid" }, [x, exponent(d, grid)], i64Type(x.type.shape));
      for (const grid of [-40, -30, -10, 0, 4]) to(d.f32([3, 11]), grid);
      to(d.f32([4, 5], d.draw.ties(20, -149)), -149);
      to(d.f32([4, 5], d.draw.ties(20, -149)), -190);
      to(d.f32([4, 5], d.draw.ties(20, -3)), -2);
      to(d.f32([6], [MAX, -MAX, 1, 2 ** 127, 2 ** -149, 0]), 67);
      to(d.f32([2], [MAX, -MAX]), 200);
      to(d.f32([0, 2], []), 0);
    }),
    graphCase("grid/add", (d) => {
      const edges = [
        0n,
        1n,
        -1n,
        0xffffffffn,
        -0xffffffffn,
        0x100000000n,
        -0x100000000n,
        0x80000000n,
        0x7fffffffn,
        (1n << 61n) - 1n,
        -(1n << 61n) + 1n,
        123456789012345678n,
      ];
      const n = edges.length ** 2;
      const left = d.i64(
        [n],
        edges.flatMap((x) => edges.map(() => x)),
      );
      const right = d.i64(
        [n],
        edges.flatMap(() => edges),
      );
      d.like({ op: "grid-add" }, left, right);
    }),
    graphCase("grid/from", (d) => {
      const edges = [
        0n,
        1n,
        -1n,
        (1n << 24n) + 1n,
        (1n << 24n) + 3n,
        -(1n << 25n) - 2n,
        (1n << 60n) + (1n << 36n) + 1n,
        (1n << 60n) + (1n << 36n),
        (1n << 62n) - 1n,
        -(1n << 62n) + 1n,
        40961025n,
        (1n << 32n) + 1n,
      ];
      const x = d.i64([edges.length], edges);
      for (const grid of [-400, -211, -180, -160, -149, -140, -100, -30, 0, 30, 65]) {
        d.node({ op: "from-grid" }, [x, exponent(d, grid)], f32Type([edges.length]));
      }
      d.node({ op: "from-grid" }, [d.i64([2], [0n, 0n]), exponent(d, 200)], f32Type([2]));
    }),
    graphCase("grid/sum-of-units", (d) => {
      // The gradient of one matrix over three units, each with its own exponents, in two groupings.
      const grid = exponent(d, -36);
      const parts = list(3, () => {
        const [x, dy] = [d.f32([4, 7]), d.f32([3, 7])];
        return d.node(
          { op: "matmul-grid" },
          [d.quantize(dy, 14), d.quantize(x, 14), grid],
          i64Type([3, 4]),
        );
      });
      const [a, b, c] = parts as [Value, Value, Value];
      const left = d.like({ op: "grid-add" }, d.like({ op: "grid-add" }, a, b), c);
      const right = d.like({ op: "grid-add" }, a, d.like({ op: "grid-add" }, c, b));
      for (const sum of [left, right]) d.node({ op: "from-grid" }, [sum, grid], f32Type([3, 4]));
    }),
  ];
}

/** Batch, query rows, heads, positions, groups, head size. */
type Sizes = readonly [number, number, number, number, number, number];

function attentionCases(full: boolean): GraphCase[] {
  const attend = (
    d: GraphDraft,
    [batch, rows, heads, positions, groups, size]: Sizes,
    keys: readonly [number, number],
    values: readonly [number, number],
  ): void => {
    const q = d.bfp([batch, rows, heads, size], 13, [-12, -9]);
    const k = d.bfp([batch, positions, groups, size], 13, keys);
    const v = d.bfp([batch, positions, groups, size], 13, values);
    const result = f32Type([batch, rows, heads, size]);
    for (const causal of rows <= positions ? [true, false] : [false]) {
      d.node({ op: "attention", causal }, [q, k, v], result);
      const scores = d.node(
        { op: "attention-scores", causal },
        [q, k],
        i32Type([batch, heads, rows, positions]),
      );
      d.node({ op: "attention-combine", causal }, [scores, v], result);
    }
  };
  return [
    graphCase("attention/small", (d) => {
      attend(d, [1, 1, 1, 1, 1, 2], [-12, -10], [-12, -12]);
      attend(d, [1, 2, 1, 2, 1, 6], [-13, -10], [-14, -9]);
      attend(d, [2, 3, 4, 5, 2, 8], [-14, -11], [-14, -10]);
      attend(d, [1, 4, 3, 3, 3, 10], [-13, -11], [-13, -11]);
      attend(d, [0, 2, 1, 3, 1, 4], [0, 0], [0, 0]);
    }),
    graphCase("attention/long", (d) => {
      attend(d, [1, 1, 2, 70, 1, 8], [-15, -13], [-13, -11]);
      attend(d, [1, 33, 1, 33, 1, 4], [-14, -12], [-13, -11]);
      if (full) attend(d, [2, 5, 6, 300, 2, 64], [-16, -14], [-13, -11]);
    }),
    graphCase("attention/apart", (d) => {
      // Shifts past 32 and 64, saturated scores, and rows of V that vanish.
      attend(d, [1, 2, 2, 12, 1, 8], [-14, -12], [-90, 10]);
      attend(d, [1, 2, 1, 12, 1, 8], [-60, -8], [-12, -8]);
      attend(d, [1, 1, 1, 9, 1, 8], [40, 60], [-12, -8]);
      attend(d, [1, 1, 1, 9, 1, 4], [-149, 100], [-149, 90]);
    }),
    graphCase("attention/scores", (d) => {
      // Scores that were not computed here: all of i32 is allowed.
      const z = [
        0,
        65536,
        -65536,
        2 ** 31 - 1,
        -(2 ** 31),
        1 << 30,
        -(1 << 30),
        65535,
        12345678,
        3,
      ];
      const scores = d.i32([1, 2, 1, 10], [...z, ...z.toReversed()]);
      const values = d.bfp([1, 10, 1, 4], 13, [-13, -11]);
      for (const causal of [true, false]) {
        d.node({ op: "attention-combine", causal }, [scores, values], f32Type([1, 1, 2, 4]));
      }
    }),
    graphCase("attention/cache", (d) => {
      // Two steps against one cache: the rows are those of the whole at once.
      const [q, k, v] = list(3, () => d.bfp([1, 4, 1, 6], 13, [-13, -10])) as [Value, Value, Value];
      d.node({ op: "attention", causal: true }, [q, k, v], f32Type([1, 4, 1, 6]));
      const cut = (x: Value, from: number, count: number): Value =>
        d.node(
          { op: "slice", starts: [0, from, 0, 0], strides: [1, 1, 1, 1] },
          [x],
          bfpType([1, count, 1, 6], 13),
        );
      for (const [from, count] of [
        [0, 1],
        [1, 3],
      ] as const) {
        const past = from + count;
        const inputs = [cut(q, from, count), cut(k, 0, past), cut(v, 0, past)];
        d.node({ op: "attention", causal: true }, inputs, f32Type([1, count, 1, 6]));
      }
    }),
  ];
}
