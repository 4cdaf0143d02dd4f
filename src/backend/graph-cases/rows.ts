// Conformance cases of ops along the last axis: reductions, norms, softmax, rotation.

import { f32FromBits, rotarySteps } from "gyrotron/numerics";
import type { Op } from "gyrotron/tensor";
import {
  f32Type,
  graphCase,
  type GraphCase,
  type GraphDraft,
  i32Type,
  list,
  type Value,
} from "./draft.ts";

const MAX = f32FromBits(0x7f7fffff);
const TINY = 2 ** -149;

/** Cases of row ops; `full` adds sizes. */
export function rowCases(full: boolean): GraphCase[] {
  return [
    ...reduceCases(full),
    ...orderCases(full),
    ...normCases(full),
    ...softmaxCases(full),
    ...rotaryCases(),
  ];
}

/** Rows that a sum in f32, a variance by moments or a wrong grid gets wrong. */
function hardRows(d: GraphDraft, full: boolean): Value[] {
  const sizes = [1, 2, 3, 8, 31, 64, 100, ...(full ? [1000, 4099] : [])];
  return [
    ...sizes.map((n) => d.f32([2, n])),
    ...sizes.slice(0, 6).map((n) => d.f32([3, n], d.draw.spread(3 * n, 90, 160))),
    d.f32([4, 6], d.draw.ties(24, -149)),
    d.f32(
      [2, 50],
      list(100, (i) => Math.fround(4096 + ((i * 29) % 17) / 64)),
    ),
    d.f32(
      [1, 48],
      list(48, (i) => Math.fround((i % 3 === 0 ? 3e7 : i % 3 === 1 ? -3e7 : 1) + i / 7)),
    ),
    // Halves of the last place of the grid: ties, both ways.
    d.f32(
      [2, 9],
      list(18, (i) => (i % 9 === 0 ? 32767 : (i % 2 === 0 ? 1 : -1) * (i + 0.5))),
    ),
    d.f32(
      [2, 9],
      list(18, (i) => (i % 9 === 0 ? 8388607 : (i % 2 === 0 ? 1 : -1) * (i + 0.5))),
    ),
    d.f32([3, 4], new Float32Array(12)),
  ];
}

function reduceCases(full: boolean): GraphCase[] {
  const reduced = (d: GraphDraft, op: Op<number>, x: Value): Value =>
    d.node(op, [x], f32Type(x.type.shape.slice(0, -1)));
  const reductions = [
    { op: "sum", bits: 16 },
    { op: "sum", bits: 24 },
    { op: "mean", bits: 16 },
    { op: "mean", bits: 24 },
    { op: "variance", bits: 16 },
  ] as const;
  return reductions.map((op) =>
    graphCase(`reduce/${op.op}/${op.bits}`, (d) => {
      for (const x of hardRows(d, full)) reduced(d, op, x);
      reduced(d, op, d.f32([7]));
      reduced(d, op, d.f32([2, 3, 5]));
      reduced(d, op, d.f32([0, 5], []));
      if (op.op === "sum") reduced(d, op, d.f32([3, 0], []));
      if (op.op !== "variance")
        reduced(d, op, d.f32([1, 4], [2 ** 127, -(2 ** 127), 2 ** 127, -1]));
    }),
  );
}

function orderCases(full: boolean): GraphCase[] {
  const rows = (d: GraphDraft): Value[] => [
    d.f32([3, 5], [1, 3, 3, 2, 3, 0, 0, 0, 0, 0, -1, -2, -1, -3, -1]),
    d.f32([2, 40], d.draw.wild(80)),
    d.f32(
      [2, 67],
      list(134, (i) => (i * 13) % 5),
    ),
    d.f32([4, 1], [TINY, -TINY, MAX, 0]),
    d.f32(
      [1, 33],
      list(33, (i) => -MAX + ((i * 7) % 3) * 2 ** 104),
    ),
    ...(full ? [d.f32([2, 5000])] : []),
  ];
  return [
    graphCase("reduce/max", (d) => {
      for (const x of rows(d))
        d.node({ op: "reduce-max" }, [x], f32Type(x.type.shape.slice(0, -1)));
    }),
    graphCase("reduce/argmax", (d) => {
      for (const x of rows(d)) d.node({ op: "argmax" }, [x], i32Type(x.type.shape.slice(0, -1)));
    }),
    graphCase("reduce/top-k", (d) => {
      for (const x of rows(d)) {
        const [count, n] = x.type.shape as [number, number];
        for (const k of new Set([1, Math.min(3, n), Math.min(n, 67)])) {
          d.node({ op: "top-k" }, [x], i32Type([count, k]));
        }
      }
      d.node({ op: "top-k" }, [d.f32([4])], i32Type([0]));
    }),
  ];
}

function normCases(full: boolean): GraphCase[] {
  const epsilons = [0, Math.fround(1e-5), 2 ** -30, 1];
  return (["rms-norm", "layer-norm"] as const).map((op) =>
    graphCase(`norm/${op}`, (d) => {
      for (const x of hardRows(d, full)) d.like({ op, epsilon: Math.fround(1e-5) }, x);
      const small = d.f32([3, 6], d.draw.ties(18, -20));
      const tiny = d.f32([3, 6], d.draw.ties(18, -149));
      const flat = d.f32(
        [3, 5],
        list(15, (i) => (i < 5 ? 7 : i < 10 ? 0 : -(2 ** -140))),
      );
      for (const epsilon of epsilons) {
        for (const x of [small, tiny, flat]) d.like({ op, epsilon }, x);
      }
      d.like({ op, epsilon: 0 }, d.f32([4, 8], d.draw.wild(32)));
      d.like({ op, epsilon: TINY }, tiny);
      d.like({ op, epsilon: 0 }, d.f32([0, 3], []));
      d.like({ op, epsilon: 0 }, d.f32([5]));
    }),
  );
}

/** Logits: ordinary, equal, far apart, beyond what a difference can hold. */
function logits(d: GraphDraft, full: boolean, far: boolean): Value[] {
  return [
    ...[1, 2, 7, 64, 129, ...(full ? [5000] : [])].map((n) => d.f32([2, n])),
    d.f32([2, 3, 5], d.draw.spread(30, 125, 133)),
    d.f32(
      [1, 40],
      list(40, (i) => i * 0.6931472),
    ),
    d.f32(
      [2, 9],
      list(18, () => 3),
    ),
    d.f32([2, 6], d.draw.ties(12, -149)),
    d.f32(
      [1, 100],
      list(100, (i) => (i === 70 ? 40 : 28 + (i % 5) / 8)),
    ),
    d.f32([1, 4], [1e30, -1e30, 0, 1e30]),
    ...(far ? [d.f32([2, 3], [MAX, -MAX, 0, -MAX, -MAX, -MAX])] : []),
  ];
}

function softmaxCases(full: boolean): GraphCase[] {
  return [
    graphCase("softmax/all", (d) => {
      for (const x of logits(d, full, true)) d.like({ op: "softmax", causal: false }, x);
      d.like({ op: "softmax", causal: false }, d.f32([3, 0], []));
    }),
    graphCase("softmax/causal", (d) => {
      const shapes = [
        [1, 1],
        [4, 4],
        [2, 3, 7],
        [1, 9],
        [2, 2, 3, 5],
        [33, 40],
      ];
      for (const shape of shapes) {
        d.like({ op: "softmax", causal: true }, d.f32(shape));
      }
      // What is hidden is the largest: it may neither count nor raise the maximum.
      const x = d.f32([3, 3], [0, MAX, MAX, -MAX, 1, MAX, 2, 2, 2]);
      d.like({ op: "softmax", causal: true }, x);
    }),
    graphCase("softmax/log", (d) => {
      for (const x of logits(d, full, false)) d.like({ op: "log-softmax" }, x);
      d.like({ op: "log-softmax" }, d.f32([0, 3], []));
    }),
    graphCase("softmax/cross-entropy", (d) => {
      for (const x of logits(d, full, false)) {
        const shape = x.type.shape.slice(0, -1);
        const rows = shape.reduce((product, size) => product * size, 1);
        const targets = d.i32(
          shape,
          list(rows, () => d.draw.integer(0, x.type.shape.at(-1)! - 1)),
        );
        d.node({ op: "cross-entropy" }, [x, targets], f32Type(shape));
      }
      d.node({ op: "cross-entropy" }, [d.f32([6]), d.i32([], [4])], f32Type([]));
    }),
  ];
}

function rotaryCases(): GraphCase[] {
  return [true, false].map((interleaved) =>
    graphCase(`rotary/${interleaved ? "interleaved" : "halves"}`, (d) => {
      for (const size of [2, 6, 64]) {
        const steps = Array.from(rotarySteps(10000, size));
        const x = d.f32([2, 3, 2, size]);
        const positions = d.i32([2, 3], [0, 1, 2047, 3, 511, 1000000]);
        const turned = d.like({ op: "rotary", steps, interleaved, inverse: false }, x, positions);
        d.like({ op: "rotary", steps, interleaved, inverse: true }, turned, positions);
      }
      const steps = Array.from(rotarySteps(500000, 4));
      const apart = d.f32([1, 3, 4], d.draw.spread(12, 20, 230));
      d.like({ op: "rotary", steps, interleaved, inverse: false }, apart, d.i32([1], [77]));
    }),
  );
}
