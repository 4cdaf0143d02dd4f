// Conformance cases of ops on single elements: all edges against all edges, ties, subnormals, every exponent,
// and places where a quotient or a root comes as near to a tie as it can.

import { f32FromBits } from "gyrotron/numerics";
import type { BinaryOp, CompareOp, UnaryOp } from "gyrotron/tensor";
import { boolType, f32Type, graphCase, type GraphCase, i32Type, list } from "./draft.ts";

const MAX = f32FromBits(0x7f7fffff);
const TINY = 2 ** -149;
const NORMAL = 2 ** -126;
const EDGES: readonly number[] = [
  0,
  TINY,
  3 * TINY,
  NORMAL - TINY,
  NORMAL,
  NORMAL + TINY,
  2 ** -100,
  2 ** -24,
  0.1,
  0.5,
  1 - 2 ** -24,
  1,
  1 + 2 ** -23,
  1.5,
  3,
  2 ** 23 + 1,
  2 ** 24,
  2 ** 25 - 2,
  2 ** 63,
  2 ** 100,
  2 ** 127,
  MAX,
].flatMap((x) => [Math.fround(x), Math.fround(-x) + 0]);

/** What a unary op is defined and finite on, and where its program has its turns. */
const DOMAINS: Readonly<Record<UnaryOp, { from: number; to: number; turns: readonly number[] }>> = {
  neg: { from: -MAX, to: MAX, turns: [] },
  abs: { from: -MAX, to: MAX, turns: [] },
  relu: { from: -MAX, to: MAX, turns: [] },
  sqrt: { from: 0, to: MAX, turns: [4, 9, 2, 1 + 2 ** -22, 16777213, 2 ** -148, 2 ** -147] },
  rsqrt: { from: TINY, to: MAX, turns: [4, 2, 1 + 2 ** -23, 2 ** -148, 2 ** 126] },
  exp: {
    from: -MAX,
    to: 88.7,
    turns: [88.7, -87.3, -88, -103.2, -104, 0.6931472, -0.6931472, 2 ** -17],
  },
  exp2: {
    from: -MAX,
    to: 127.9999,
    turns: [127.99999, -126, -149, -149.5, -150, 0.015625, 2 ** -17],
  },
  log: { from: TINY, to: MAX, turns: [2, 0.5, 1.00390625, 0.99999994, 1.5, 2.718281828] },
  tanh: { from: -MAX, to: MAX, turns: [8, 7.9999995, 0.0078125, 0.0078124, 2 ** -17] },
  sigmoid: { from: -MAX, to: MAX, turns: [88, 104, 11.09, 16.6, 0.6931472] },
  erf: { from: -MAX, to: MAX, turns: [4, 3.9999998, 0.00390625, 2 ** -18] },
  gelu: { from: -MAX, to: MAX, turns: [8, 7.9999995, 5.2, 0.0078125, 2 ** -17] },
  "gelu-tanh": { from: -MAX, to: MAX, turns: [8, 7.9999995, 5.2, 0.0078125, 2 ** -17] },
  silu: { from: -MAX, to: MAX, turns: [88, 104, 150, 0.6931472] },
};

/** The unary ops. */
export const UNARY_OPS: readonly UnaryOp[] = Object.keys(DOMAINS) as UnaryOp[];

/** Whether a unary op is defined and finite on a value of its case values. */
export function isInDomain(op: UnaryOp, x: number): boolean {
  return x >= DOMAINS[op].from && x <= DOMAINS[op].to;
}

/** Cases of elementwise ops; `full` adds values. */
export function elementwiseCases(full: boolean): GraphCase[] {
  return [
    ...UNARY_OPS.map((op) => unaryCase(op, full)),
    ...(["add", "sub", "mul", "div", "min", "max"] as const).map((op) => binaryCase(op, full)),
    integerCase(),
    ...compareCases(),
    convertCase(),
    chainCase(),
  ];
}

function unaryCase(op: UnaryOp, full: boolean): GraphCase {
  return graphCase(`unary/${op}`, (d) => {
    const apply = (values: ArrayLike<number>): void => {
      const kept = Array.from(values, (x) => Math.fround(x) + 0).filter((x) => isInDomain(op, x));
      d.like({ op }, d.f32([kept.length], kept));
    };
    const turns = DOMAINS[op].turns.flatMap((x) => [x, -x]);
    const beside = turns.flatMap((x) => [
      x,
      Math.fround(x) * (1 + 2 ** -23),
      Math.fround(x) * (1 - 2 ** -23),
    ]);
    apply([...EDGES, ...beside]);
    apply(d.draw.moderate(full ? 4096 : 120));
    apply(list(full ? 2000 : 100, (i) => (i - (full ? 1000 : 50)) * (full ? 0.0173 : 0.311)));
    apply(d.draw.wild(full ? 4096 : 120));
    apply(d.draw.ties(30, -149));
    d.like({ op }, d.f32([], [1]));
    d.like({ op }, d.f32([0, 3], []));
    d.like(
      { op },
      d.f32(
        [3, 1, 5],
        d.draw.moderate(15).map((x) => Math.abs(x) + 2 ** -9),
      ),
    );
  });
}

/** Whether the pair has a finite result, with a margin. */
function isTame(op: BinaryOp, x: number, y: number): boolean {
  if (op === "div") return y !== 0 && Math.abs(x / y) < 2 ** 127;
  const z = op === "mul" ? x * y : op === "sub" ? x - y : x + y;
  return op === "min" || op === "max" || Math.abs(z) < 2 ** 127.9;
}

function binaryCase(op: BinaryOp, full: boolean): GraphCase {
  return graphCase(`binary/${op}`, (d) => {
    const apply = (pairs: readonly (readonly [number, number])[]): void => {
      const kept = pairs
        .map(([x, y]) => [Math.fround(x) + 0, Math.fround(y) + 0] as const)
        .filter(([x, y]) => isTame(op, x, y));
      const left = d.f32(
        [kept.length],
        kept.map(([x]) => x),
      );
      const right = d.f32(
        [kept.length],
        kept.map(([, y]) => y),
      );
      d.like({ op }, left, right);
    };
    apply(EDGES.flatMap((x) => EDGES.map((y) => [x, y] as const)));
    const count = full ? 8192 : 300;
    const zip = (
      left: ArrayLike<number>,
      right: ArrayLike<number>,
    ): (readonly [number, number])[] => Array.from(left, (x, i) => [x, right[i]!] as const);
    apply(zip(d.draw.moderate(count), d.draw.moderate(count)));
    apply(zip(d.draw.wild(count), d.draw.wild(count)));
    // Neighbouring exponents, so that sums cancel and ties arise; then results among the subnormals.
    apply(zip(d.draw.spread(count, 120, 128), d.draw.spread(count, 120, 128)));
    apply(zip(d.draw.ties(80, -149), d.draw.ties(80, op === "div" || op === "mul" ? -8 : -149)));
    apply(zip(d.draw.spread(80, 1, 30), d.draw.spread(80, 120, 140)));
    // Quotients of mantissas that differ by one lie as near to a tie as quotients come.
    apply(
      list(
        64,
        (i) =>
          [f32FromBits(0x3f800000 + i * 131071), f32FromBits(0x3f800001 + i * 131071)] as const,
      ),
    );
    const square = d.f32([4, 3]);
    d.like({ op }, square, d.like({ op: "abs" }, d.like({ op: "exp2" }, d.f32([4, 3]))));
    d.like({ op }, d.f32([0], []), d.f32([0], []));
    d.like({ op }, d.f32([], [3]), d.f32([], [-7]));
  });
}

function integerCase(): GraphCase {
  return graphCase("binary/integers", (d) => {
    const edges = [
      0,
      1,
      -1,
      2,
      3,
      46341,
      -46341,
      65535,
      65537,
      2 ** 31 - 1,
      -(2 ** 31),
      -(2 ** 31) + 1,
      123456789,
    ];
    const n = edges.length ** 2;
    const left = d.i32(
      [n],
      edges.flatMap((x) => edges.map(() => x)),
    );
    const right = d.i32(
      [n],
      edges.flatMap(() => edges),
    );
    for (const op of ["add", "sub", "mul", "min", "max"] as const) d.like({ op }, left, right);
  });
}

function compareCases(): GraphCase[] {
  const ops: readonly CompareOp[] = ["equal", "less", "less-or-equal"];
  return [
    graphCase("compare/f32", (d) => {
      const n = EDGES.length ** 2;
      const left = d.f32(
        [n],
        EDGES.flatMap((x) => EDGES.map(() => x)),
      );
      const right = d.f32(
        [n],
        EDGES.flatMap(() => EDGES),
      );
      for (const op of ops) d.node({ op }, [left, right], boolType([n]));
    }),
    graphCase("compare/i32", (d) => {
      const edges = [0, 1, -1, 2 ** 31 - 1, -(2 ** 31), 7];
      const left = d.i32(
        [6, 6],
        edges.flatMap((x) => edges.map(() => x)),
      );
      const right = d.i32(
        [6, 6],
        edges.flatMap(() => edges),
      );
      const masks = ops.map((op) => d.node({ op }, [left, right], boolType([6, 6])));
      for (const op of ["and", "or"] as const) {
        d.like({ op }, masks[0]!, masks[1]!);
        d.like({ op }, masks[1]!, masks[2]!);
      }
      d.like({ op: "not" }, masks[2]!);
    }),
  ];
}

function convertCase(): GraphCase {
  return graphCase("convert", (d) => {
    const whole = [
      0,
      1,
      -1,
      2 ** 24 + 1,
      2 ** 24 + 3,
      -(2 ** 24) - 1,
      2 ** 31 - 1,
      -(2 ** 31),
      2 ** 30 + 64,
      2 ** 30 + 65,
      123456789,
    ];
    const integers = d.i32([whole.length], whole);
    d.node({ op: "convert" }, [integers], f32Type([whole.length]));
    const real = [
      ...EDGES,
      0.5,
      1.5,
      2.5,
      -0.5,
      -1.5,
      -2.5,
      0.49999997,
      2 ** 31,
      -(2 ** 31),
      2147483520,
      -2147483904,
      8388607.5,
    ];
    d.node({ op: "convert" }, [d.f32([real.length], real)], i32Type([real.length]));
    const mask = d.bool([4], [1, 0, 0, 1]);
    d.node({ op: "convert" }, [mask], f32Type([4]));
    d.node({ op: "convert" }, [mask], i32Type([4]));
  });
}

/** What a backend may fuse into one pass. */
function chainCase(): GraphCase {
  return graphCase("elementwise/chain", (d) => {
    const [x, y] = [d.f32([5, 13]), d.f32([5, 13], d.draw.spread(65, 100, 140))];
    const sum = d.like({ op: "add" }, x, d.like({ op: "mul" }, x, y));
    const gate = d.like({ op: "sigmoid" }, sum);
    const capped = d.like({ op: "min" }, d.like({ op: "tanh" }, y), gate);
    const mask = d.node({ op: "less" }, [capped, x], boolType([5, 13]));
    const chosen = d.node(
      { op: "select" },
      [mask, sum, d.like({ op: "neg" }, gate)],
      f32Type([5, 13]),
    );
    d.like({ op: "div" }, chosen, d.like({ op: "exp" }, capped));
    // A product that leaves the subnormals again would keep bits that a flush between loses.
    const small = d.f32([4], [3 * TINY, 5 * TINY, -7 * TINY, NORMAL]);
    const half = d.like({ op: "mul" }, small, d.f32([4], [0.5, 0.5, 0.5, 0.75]));
    d.like(
      { op: "mul" },
      half,
      d.f32(
        [4],
        list(4, () => 2 ** 100),
      ),
    );
  });
}
