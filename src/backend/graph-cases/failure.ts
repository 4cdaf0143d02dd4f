// Conformance cases of runs that fail (docs/spec/01-numerics.md section 22): every kind, from every op that
// has it, with the node and row that must be named, and rivals that must not be.

import { f32FromBits } from "gyrotron/numerics";
import type { Op } from "gyrotron/tensor";
import {
  f32Type,
  graphCase,
  type GraphCase,
  type GraphDraft,
  i64Type,
  list,
  type Value,
} from "./draft.ts";

const MAX = f32FromBits(0x7f7fffff);

/** Cases that fail. */
export function failureCases(): GraphCase[] {
  return [
    ...elementwiseFailures(),
    ...rowFailures(),
    ...indexFailures(),
    ...contractionFailures(),
    ...orderFailures(),
  ];
}

function fails(id: string, write: (d: GraphDraft) => void): GraphCase {
  return graphCase(`failure/${id}`, write);
}

/** A 6 by 5 value of ones with `bad` in rows 3 and 5. */
function marred(d: GraphDraft, bad: number, ordinary = 1): Value {
  const values = list(30, () => ordinary);
  values[3 * 5 + 4] = bad;
  values[5 * 5] = bad;
  return d.f32([6, 5], values);
}

function elementwiseFailures(): GraphCase[] {
  const unary = [
    ["exp", 90],
    ["exp2", 128],
    ["log", 0],
    ["log", -1],
    ["sqrt", -(2 ** -149)],
    ["rsqrt", 0],
    ["rsqrt", -4],
  ] as const;
  const binary = [
    ["add", MAX, MAX],
    ["sub", -MAX, 2 ** 103],
    ["mul", 2 ** 64, 2 ** 64],
    ["div", 1, 0],
    ["div", 0, 0],
    ["div", MAX, 0.5],
  ] as const;
  return [
    ...unary.map(([op, bad], i) => fails(`${op}/${i}`, (d) => void d.like({ op }, marred(d, bad)))),
    ...binary.map(([op, left, right], i) =>
      fails(`${op}/${i}`, (d) => void d.like({ op }, marred(d, left), marred(d, right))),
    ),
    fails("scalar", (d) => void d.like({ op: "log" }, d.f32([], [0]))),
    fails("vector", (d) => void d.like({ op: "log" }, d.f32([3], [1, 1, 0]))),
  ];
}

function rowFailures(): GraphCase[] {
  const reduced = (d: GraphDraft, op: Op<number>, x: Value): Value =>
    d.node(op, [x], f32Type(x.type.shape.slice(0, -1)));
  const full = (d: GraphDraft): Value =>
    d.f32(
      [2, 3, 4],
      list(24, (i) => (i >= 16 ? MAX : 1)),
    );
  const apart = (d: GraphDraft): Value => d.f32([3, 2], [1, 2, 3, 3, -MAX, MAX]);
  return [
    fails("sum", (d) => void reduced(d, { op: "sum", bits: 16 }, full(d))),
    // Rounded to 16 bits, the largest f32 is 2^128.
    fails("sum/single", (d) => void reduced(d, { op: "sum", bits: 16 }, d.f32([2, 1], [1, MAX]))),
    fails("mean", (d) => void reduced(d, { op: "mean", bits: 16 }, d.f32([2, 1], [1, MAX]))),
    fails(
      "mean/wide",
      (d) => void reduced(d, { op: "mean", bits: 24 }, d.f32([3, 2], [1, 2, -MAX, -MAX, MAX, 1])),
    ),
    fails("variance", (d) => {
      const x = d.f32(
        [2, 3, 4],
        list(24, (i) => (i >= 16 ? (i % 2) * 2 ** 70 : 1)),
      );
      reduced(d, { op: "variance", bits: 16 }, x);
    }),
    fails("log-softmax", (d) => void d.like({ op: "log-softmax" }, apart(d))),
    fails("cross-entropy", (d) => {
      const targets = d.i32([3], [1, 0, 0]);
      d.node({ op: "cross-entropy" }, [apart(d), targets], f32Type([3]));
    }),
    fails("rotary", (d) => {
      const op = { op: "rotary", steps: [2 ** 29], interleaved: true, inverse: false } as const;
      const x = d.f32([2, 2, 2], [1, 1, 1, 1, 1, 1, MAX, MAX]);
      d.like(op, x, d.i32([2], [1, -1]));
    }),
    fails(
      "dropout",
      (d) => void d.like({ op: "dropout", keep: 60000 }, marred(d, MAX), d.i32([4], [1, 2, 3, 5])),
    ),
    fails("scatter-add", (d) => {
      const updates = d.f32([4, 2], [1, MAX, 1, 1, 1, MAX, 1, 1]);
      d.node({ op: "scatter-add" }, [updates, d.i32([4], [2, 0, 2, 1])], f32Type([4, 2]));
    }),
    fails("fold", (d) => {
      const window = { kernel: [1, 2], stride: [1, 1], dilation: [1, 1], padding: [0, 0] } as const;
      const x = d.f32([1, 1, 2, 1, 2, 1], [1, MAX, MAX, 1]);
      d.node({ op: "fold", window }, [x], f32Type([1, 1, 3, 1]));
    }),
  ];
}

function indexFailures(): GraphCase[] {
  return [
    fails("gather/above", (d) => {
      d.node(
        { op: "gather" },
        [d.f32([4, 3]), d.i32([2, 3], [0, 3, 1, 2, 4, 4])],
        f32Type([2, 3, 3]),
      );
    }),
    fails("gather/below", (d) => {
      d.node({ op: "gather" }, [d.f32([4, 3]), d.i32([3], [0, -1, 7])], f32Type([3, 3]));
    }),
    fails("gather/empty", (d) => {
      d.node({ op: "gather" }, [d.f32([0, 3], []), d.i32([1], [0])], f32Type([1, 3]));
    }),
    fails("take-along", (d) => {
      const indices = d.i32([3, 2], [0, 1, 2, 0, 3, 0]);
      d.node({ op: "take-along" }, [d.f32([3, 3]), indices], f32Type([3, 2]));
    }),
    fails("scatter-add/index", (d) => {
      // The sum overflows too, but indices are looked at first.
      const updates = d.f32([3, 1], [MAX, MAX, 1]);
      d.node({ op: "scatter-add" }, [updates, d.i32([3], [0, 0, 5])], f32Type([2, 1]));
    }),
    fails("cross-entropy/index", (d) => {
      const logits = d.f32([3, 2], [-MAX, MAX, 1, 2, 1, 2]);
      d.node({ op: "cross-entropy" }, [logits, d.i32([3], [0, 1, 2])], f32Type([3]));
    }),
  ];
}

function contractionFailures(): GraphCase[] {
  const large = (d: GraphDraft, exponent: number): Value =>
    d.input({
      element: "bfp",
      shape: [4, 2],
      bits: 14,
      data: Int32Array.of(1, 2, 3, 4, 8191, 8191, 8191, -8191),
      exponents: Int32Array.of(0, 0, exponent, exponent),
      scales: undefined,
    });
  const grid = (d: GraphDraft, exponent: number): Value => d.i32([], [exponent]);
  const onGrid = (d: GraphDraft, exponent: number): void =>
    void d.node(
      { op: "matmul-grid" },
      [large(d, 0), large(d, 0), grid(d, exponent)],
      i64Type([4, 4]),
    );
  const half = 1n << 61n;
  return [
    fails("matmul", (d) => void d.matmul(large(d, 90), large(d, 20))),
    fails("matmul/edge", (d) => void d.matmul(large(d, 51), large(d, 51))),
    fails("dequantize", (d) => {
      d.node({ op: "dequantize" }, [large(d, 116)], f32Type([4, 2]));
    }),
    fails("attention", (d) => {
      const q = d.bfp([1, 2, 1, 2], 13, [0, 0]);
      const v = d.bfp([1, 2, 1, 2], 13, [121, 122]);
      d.node({ op: "attention", causal: true }, [q, q, v], f32Type([1, 2, 1, 2]));
    }),
    fails("attention-combine", (d) => {
      const v = d.bfp([1, 3, 1, 2], 13, [121, 122]);
      const scores = d.i32([1, 1, 2, 3], [0, -(1 << 30), 0, 0, 0, 0]);
      d.node({ op: "attention-combine", causal: false }, [scores, v], f32Type([1, 2, 1, 2]));
    }),
    fails("matmul-grid", (d) => onGrid(d, -36)),
    fails("matmul-grid/exponent", (d) => onGrid(d, -401)),
    fails("matmul-grid/no-terms", (d) => {
      const [left, right] = [d.bfp([2, 0], 14, [0, 0]), d.bfp([3, 0], 14, [0, 0])];
      d.node({ op: "matmul-grid" }, [left, right, grid(d, 201)], i64Type([2, 3]));
    }),
    fails("to-grid", (d) => {
      d.node({ op: "to-grid" }, [marred(d, 2 ** 22), grid(d, -40)], i64Type([6, 5]));
    }),
    fails("to-grid/negative", (d) => {
      d.node({ op: "to-grid" }, [marred(d, -(2 ** 22)), grid(d, -40)], i64Type([6, 5]));
    }),
    fails("to-grid/exponent", (d) => {
      d.node({ op: "to-grid" }, [marred(d, 1), grid(d, 201)], i64Type([6, 5]));
    }),
    fails("grid-add", (d) => {
      const x = d.i64([3, 2], [1n, half - 1n, half, 3n, -half, half]);
      d.like({ op: "grid-add" }, x, x);
    }),
    fails("grid-add/negative", (d) => {
      const x = d.i64([3, 2], [1n, half - 1n, 4n, 3n, -half, half]);
      d.like({ op: "grid-add" }, x, x);
    }),
    fails("from-grid", (d) => {
      const x = d.i64([3, 1], [1n, 1n << 60n, 5n]);
      d.node({ op: "from-grid" }, [x, grid(d, 68)], f32Type([3, 1]));
    }),
    fails("from-grid/exponent", (d) => {
      d.node({ op: "from-grid" }, [d.i64([1], [0n]), grid(d, -1000)], f32Type([1]));
    }),
  ];
}

/** Which of several failures is the run's. */
function orderFailures(): GraphCase[] {
  return [
    fails("order/node-before-row", (d) => {
      // Node 1 fails late in its rows, node 2 would fail in the first.
      const x = d.f32([4, 2], [0, 1, 1, 1, 1, 1, 100, 1]);
      d.like({ op: "exp" }, x);
      d.like({ op: "log" }, x);
    }),
    fails("order/chain", (d) => {
      // The second op of a chain fails in a row before that of the first.
      const x = d.f32([3, 2], [-1, 1, 1, 1, MAX, 1]);
      const doubled = d.like({ op: "add" }, x, x);
      d.like({ op: "sqrt" }, doubled);
    }),
    fails("order/hidden", (d) => {
      // What overflows inside would come back into range at the end.
      const x = d.f32([2, 2], [1, 1, 1, MAX]);
      const squared = d.like({ op: "mul" }, x, x);
      d.like({ op: "rsqrt" }, squared);
    }),
    fails("order/unused-by-result", (d) => {
      // A mask that takes the other side does not hide the failure.
      const x = d.f32([2, 2], [1, 0, 1, 1]);
      const divided = d.like({ op: "div" }, x, x);
      d.node({ op: "select" }, [d.bool([2, 2], [0, 0, 0, 0]), divided, x], f32Type([2, 2]));
    }),
    fails("order/kinds", (d) => {
      const taken = d.node(
        { op: "gather" },
        [d.f32([2, 1], [1, 0]), d.i32([3], [0, 1, 2])],
        f32Type([3, 1]),
      );
      d.like({ op: "log" }, taken);
    }),
  ];
}
