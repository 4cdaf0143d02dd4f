// Every check of every op: a list of nodes that must be refused, each with the error it gets, beside a list of
// all codes that graphs can end in.

import { deepEqual, equal, fail, match, ok } from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { TensorError } from "../error.ts";
import { GraphBuilder } from "./builder.ts";
import type { Dim } from "./dimension.ts";
import { createGraph } from "./graph.ts";
import { hostBool, hostF32, hostI32, hostI64 } from "./host-tensor.ts";
import { bfp, bool, f32, i32, i64, scaledBfp, type TypeLike, type Value } from "./op-builder.ts";
import { OP_KINDS } from "./op-list.ts";
import type { Node, Op, OpKind } from "./op.ts";

/** An op on operands of these types, asked to have this type, and what the error says. */
type Refusal = readonly [Op<Dim>, readonly TypeLike[], TypeLike | undefined, RegExp];

const zero: Dim = { terms: [] };
const one: Dim = { terms: [{ coefficient: 1, symbols: [] }] };
const window = { kernel: [2, 2], stride: [1, 1], dilation: [1, 1], padding: [0, 0] } as const;
const LARGE = 2 ** 20 + 1;

const refusals: readonly Refusal[] = [
  [{ op: "input", name: "a b", role: "data" }, [], f32(1), /attribute .*name/],
  [{ op: "input", name: "a", role: "data" }, [], undefined, /type .*result.*a type/],
  [{ op: "input", name: "a", role: "data" }, [], bfp(17, 2), /attribute .*bits/],
  [{ op: "input", name: "a", role: "data" }, [], bfp(8), /type .*an axis/],
  [
    { op: "input", name: "a", role: "data" },
    [],
    { ...bfp(9, 2), scaled: true } as TypeLike,
    /8 or 14/,
  ],
  [{ op: "input", name: "a", role: "data" }, [], f32(-1), /type .*sizes from 0/],
  [{ op: "input", name: "a", role: "data" }, [], f32(2 ** 31), /limit .*size/],
  [{ op: "input", name: "a", role: "data" }, [], f32(2 ** 16, 2 ** 16), /limit .*elements/],
  [{ op: "input", name: "a", role: "data" }, [], f32(1, 1, 1, 1, 1, 1, 1, 1, 1), /at most 8 axes/],
  [{ op: "iota", axis: 1 }, [], i32(3), /attribute .*axis/],
  [{ op: "iota", axis: 0 }, [], f32(3), /type .*i32/],
  [{ op: "reshape" }, [f32(2, 3)], f32(5), /type .*as many elements/],
  [{ op: "reshape" }, [f32(2, 3)], i32(6), /type .*element of the operand/],
  [{ op: "reshape" }, [bfp(8, 2, 6)], bfp(8, 4, 3), /no bfp along its last axis/],
  [{ op: "transpose", permutation: [0, 0] }, [f32(2, 3)], undefined, /attribute .*permutation/],
  [{ op: "transpose", permutation: [1, 0] }, [bfp(8, 2, 3)], undefined, /no bfp along/],
  [slice(2, 1), [f32(3)], f32(2), /type .*within axis 0/],
  [slice(0, 0), [f32(3)], f32(2), /attribute .*strides/],
  [slice(-1, 1), [f32(3)], f32(2), /a start of at least 0/],
  [slice(0, 1), [f32(3)], f32(1, 2), /1 axes/],
  [slice(0, 1), [f32(3, 3)], f32(2, 2), /attribute .*starts/],
  [slice(0, 1), [bfp(8, 3)], bfp(8, 2), /no bfp along/],
  [{ op: "concat", axis: 0 }, [], undefined, /attribute .*operands/],
  [
    { op: "concat", axis: 1 },
    [f32(2, 3), f32(3, 3)],
    undefined,
    /type .*input: 1.*but for the axis/,
  ],
  [{ op: "concat", axis: 2 }, [f32(2, 3)], undefined, /attribute .*axis/],
  [{ op: "concat", axis: 1 }, [bfp(8, 2, 3)], undefined, /no bfp along/],
  [pad(0, 0), [f32(3)], f32(2), /room for axis 0/],
  [pad(0, NaN), [f32(3)], f32(3), /attribute .*value/],
  [pad(0, 0.5), [i32(3)], i32(3), /attribute .*value/],
  [pad(0, 2), [bool(3)], bool(3), /attribute .*value/],
  [pad(-1, 0), [f32(3)], f32(3), /low of at least 0/],
  [pad(0, 0), [bfp(8, 3)], bfp(8, 3), /type .*f32 or i32 or bool/],
  [{ op: "broadcast" }, [f32(2)], f32(3), /axis 0 of size 1/],
  [{ op: "broadcast" }, [f32(1)], f32(2, 3), /1 axes/],
  [{ op: "broadcast" }, [bfp(8, 1)], bfp(8, 3), /no bfp along/],
  [{ op: "gather" }, [f32(), i32(2)], undefined, /1 to 8 axes/],
  [{ op: "gather" }, [f32(2), f32(2)], undefined, /type .*input: 1.*i32/],
  [{ op: "gather" }, [i64(2), i32(2)], undefined, /no i64/],
  [{ op: "gather" }, [bfp(8, 4), i32(2)], undefined, /no bfp along/],
  [{ op: "scatter-add" }, [f32(2, 3), i32(3)], f32(4, 3), /type .*input: 1.*\[2\]/],
  [{ op: "scatter-add" }, [f32(2, 3), i32(2)], f32(4, 2), /operand's columns/],
  [{ op: "scatter-add" }, [f32(2, 3), i32(2)], f32(4), /2 axes/],
  [{ op: "take-along" }, [f32(2, 3), i32(3, 1)], undefined, /type .*input: 1/],
  [{ op: "take-along" }, [bool(2, 3), i32(2, 1)], undefined, /f32 or i32/],
  [{ op: "patches", window, value: 0 }, [f32(1, 4, 4, 1)], f32(1, 3, 3, 2, 1, 1), /kernel height/],
  [
    { op: "patches", window, value: -0 },
    [f32(1, 4, 4, 1)],
    f32(1, 3, 3, 2, 2, 1),
    /attribute .*value/,
  ],
  [
    { op: "patches", window: { ...window, stride: [0, 1] }, value: 0 },
    [f32(1, 4, 4, 1)],
    f32(1, 3, 3, 2, 2, 1),
    /attribute .*stride/,
  ],
  [{ op: "fold", window }, [f32(1, 3, 3, 2, 2, 1)], f32(1, 4, 4, 2), /kernel height/],
  [{ op: "fold", window }, [f32(1, 3, 3, 2, 2, 1)], f32(4), /4 axes/],
  [{ op: "exp" }, [i32(2)], undefined, /type .*f32/],
  [{ op: "add" }, [f32(2), i32(2)], undefined, /type .*input: 1.*f32/],
  [{ op: "add" }, [f32(2), f32(3)], undefined, /type .*input: 1.*\[2\]/],
  [{ op: "add" }, [f32(2)], undefined, /attribute .*operands/],
  [{ op: "div" }, [i32(2), i32(2)], undefined, /type .*f32/],
  [{ op: "less" }, [bool(2), bool(2)], undefined, /f32 or i32/],
  [{ op: "and" }, [i32(2), i32(2)], undefined, /bool/],
  [{ op: "not" }, [f32(2)], undefined, /bool/],
  [{ op: "select" }, [i32(2), f32(2), f32(2)], undefined, /type .*input: 0.*bool/],
  [{ op: "select" }, [bool(2), f32(2), f32(3)], undefined, /type .*input: 2/],
  [{ op: "convert" }, [f32(2)], bool(2), /what f32 converts to/],
  [{ op: "sum", bits: 8 }, [f32(2)], undefined, /attribute .*bits/],
  [{ op: "sum", bits: 16 }, [f32()], undefined, /1 to 8 axes/],
  [{ op: "sum", bits: 16 }, [f32(LARGE)], undefined, /limit .*columns/],
  [{ op: "mean", bits: 16 }, [f32(0)], undefined, /columns of at least 1/],
  [{ op: "variance", bits: 24 }, [f32(2)], undefined, /attribute .*bits/],
  [{ op: "variance", bits: 16 }, [f32(32_768)], undefined, /limit .*columns/],
  [{ op: "reduce-max" }, [f32(2, 0)], undefined, /columns of at least 1/],
  [{ op: "argmax" }, [i32(2)], undefined, /type .*f32/],
  [{ op: "top-k" }, [f32(2, 3)], i32(2, 4), /k not above the columns/],
  [{ op: "top-k" }, [f32(2, 3)], i32(3, 1), /i32 of as many rows/],
  [{ op: "rms-norm", epsilon: 0.1 }, [f32(2)], undefined, /attribute .*epsilon/],
  [{ op: "rms-norm", epsilon: 0 }, [f32(65_537)], undefined, /limit .*columns/],
  [{ op: "layer-norm", epsilon: 0 }, [f32(32_768)], undefined, /limit .*columns/],
  [{ op: "softmax", causal: true }, [f32(3, 2)], undefined, /no more rows than columns/],
  [{ op: "softmax", causal: true }, [f32(3)], undefined, /2 to 8 axes/],
  [{ op: "log-softmax" }, [f32(LARGE)], undefined, /limit .*columns/],
  [{ op: "cross-entropy" }, [f32(2, 3), i32(3)], undefined, /type .*input: 1/],
  [{ op: "cross-entropy" }, [f32(2, 0), i32(2)], undefined, /columns of at least 1/],
  [{ op: "quantize", bits: 7 }, [f32(2)], undefined, /attribute .*bits/],
  [{ op: "quantize", bits: 8 }, [f32()], undefined, /1 to 8 axes/],
  [{ op: "quantize-columns", bits: 9 as 8 }, [f32(2)], undefined, /attribute .*8 or 14/],
  [{ op: "dequantize" }, [f32(2)], undefined, /type .*bfp/],
  [{ op: "matmul" }, [bfp(8, 2, 3), bfp(8, 4, 5)], undefined, /contraction length of 3/],
  [{ op: "matmul" }, [bfp(8, 2, 3), f32(4, 3)], undefined, /type .*input: 1.*bfp/],
  [{ op: "matmul" }, [scaledBfp(8, 2, 3), bfp(8, 4, 3)], undefined, /bfp without scales/],
  [{ op: "matmul" }, [bfp(8, 2, 65_537), bfp(8, 4, 65_537)], undefined, /limit .*contraction/],
  [{ op: "matmul" }, [bfp(8, 5, 2, 3), bfp(8, 6, 4, 3)], undefined, /type .*input: 1/],
  [{ op: "matmul-grid" }, [bfp(8, 2, 3), bfp(8, 4, 3), i32(1)], undefined, /type .*input: 2/],
  [{ op: "to-grid" }, [f32(2), f32()], undefined, /type .*input: 1.*i32/],
  [{ op: "from-grid" }, [f32(2), i32()], undefined, /type .*i64/],
  [{ op: "grid-add" }, [i64(2), i64(3)], undefined, /type .*input: 1/],
  [rotary(1), [f32(1, 3), i32()], undefined, /even head size/],
  [rotary(3), [f32(1, 4), i32()], undefined, /attribute .*2 steps/],
  [rotary(2, 2 ** 32), [f32(1, 4), i32()], undefined, /attribute .*steps/],
  [rotary(2), [f32(5, 1, 4), i32(4)], undefined, /type .*input: 1/],
  [attention(), heads(2, 3, 2, 4, 13, 2, 1), undefined, /no more rows than positions/],
  [attention(), heads(1, 1, 3, 4, 13, 1, 2), undefined, /number of heads that divides 3/],
  [attention(), heads(1, 1, 1, 4, 12, 1, 1), undefined, /bfp13/],
  [attention(), heads(1, 1, 1, 130, 13, 1, 1), undefined, /even head size/],
  [attention(), heads(1, 1, 1, 4, 13, 2_049, 1), undefined, /limit .*positions/],
  [attention(false), heads(1, 1, 1, 4, 13, 0, 1), undefined, /positions of at least 1/],
  [
    { op: "attention-scores", causal: false },
    heads(1, 1, 1, 4, 14, 1, 1).slice(0, 2),
    undefined,
    /bfp13/,
  ],
  [
    { op: "attention-combine", causal: false },
    [i32(1, 1, 1, 2), bfp(13, 1, 3, 1, 4)],
    undefined,
    /number of positions/,
  ],
  [{ op: "random-bits" }, [i32(3)], i32(2), /type .*\[4\]/],
  [{ op: "random-bits" }, [i32(4)], f32(2), /type .*i32/],
  [{ op: "dropout", keep: 0 }, [f32(2), i32(4)], undefined, /attribute .*keep/],
  [sample(-1, 0, 1), [f32(1, 2), i32(1, 4)], undefined, /attribute .*temperature/],
  [sample(0, -1, 1), [f32(1, 2), i32(1, 4)], undefined, /attribute .*topK/],
  [sample(0, 0, 0), [f32(1, 2), i32(1, 4)], undefined, /attribute .*topP/],
  [sample(0, 0, 1), [f32(2), i32(1, 4)], undefined, /2 axes/],
  [sample(0, 0, 1), [f32(1, 0), i32(1, 4)], undefined, /columns of at least 1/],
];

for (const [i, [op, operands, type, expected]] of refusals.entries()) {
  test(`refused: ${op.op} ${i}: ${expected.source}`, () => {
    const g = new GraphBuilder();
    const values = operands.map((operand, j) => g.input(`x${j}`, operand));
    const error = refusal(() => g.node(op, values, type));
    match(error.message, expected);
    const { info } = error;
    ok(
      "op" in info
        ? info.op === op.op
        : info.code === "tensor/limit" && info.what.startsWith(op.op),
      "the error names the op",
    );
  });
}

test("the list of refusals meets every op that can be refused", () => {
  const met = new Set(refusals.map(([op]) => op.op));
  // These share their checks with an op of the list.
  const alike =
    "neg abs sqrt rsqrt exp2 log tanh sigmoid erf gelu gelu-tanh silu relu sub mul min max";
  const more = "equal less-or-equal or constant";
  const known = new Set([...met, ...alike.split(" "), ...more.split(" ")] as OpKind[]);
  deepEqual(
    OP_KINDS.filter((op) => !known.has(op)),
    [],
  );
});

test("a constant must be a valid tensor", () => {
  const g = new GraphBuilder();
  const data = Float32Array.of(Infinity);
  match(
    refusal(() => g.constant({ element: "f32", shape: [1], data })).message,
    /attribute .*value/,
  );
  match(refusal(() => hostF32([2], [1])).message, /tensor\/input .*1 elements for 2/);
  match(refusal(() => hostF32([1], [NaN])).message, /not finite/);
  match(refusal(() => hostI32([-1], [])).message, /negative/);
  match(refusal(() => hostI64([1], [1n << 62n])).message, /2\^62/);
  const mask = { element: "bool" as const, shape: [1], data: Uint8Array.of(2) };
  match(refusal(() => g.constant(mask)).message, /bool that is not 0 or 1/);
  equal(hostBool([2], [true, false]).data[0], 1);
  const rows = { element: "bfp" as const, shape: [1, 2], bits: 8, data: Int32Array.of(1, 2) };
  const bad = [
    { ...rows, exponents: Int32Array.of(), scales: undefined },
    { ...rows, exponents: Int32Array.of(123), scales: undefined },
    { ...rows, exponents: Int32Array.of(0), scales: Uint8Array.of(1) },
    { ...rows, exponents: Int32Array.of(0), scales: Uint8Array.of() },
    { ...rows, exponents: Int32Array.of(0), scales: undefined, data: Int32Array.of(-128, 1) },
    { ...rows, exponents: Int32Array.of(0), scales: undefined, bits: 7 },
    { ...rows, exponents: Int32Array.of(0), scales: undefined, shape: [] as number[] },
  ];
  for (const value of bad) match(refusal(() => g.constant(value)).message, /tensor\/attribute/);
});

test("names, outputs and connections of a graph are checked", () => {
  const g = new GraphBuilder();
  const x = g.input("x", f32(2));
  match(refusal(() => g.input("x", f32(3))).message, /two inputs named x/);
  match(refusal(() => g.build()).message, /no outputs/);
  match(refusal(() => g.valueAt(7)).message, /no node 7/);
  const other = new GraphBuilder();
  match(refusal(() => other.neg(x)).message, /value of another graph/);
  const graphOf = (outputs: [string, Value, string?][]): GraphBuilder => {
    const h = new GraphBuilder();
    const values = [h.input("x", f32(2)), h.state("s", f32(2)), h.state("t", bfp(8, 2))];
    for (const [name, value, updates] of outputs) {
      const own = values[value.index]!;
      h.output(name, own, updates === undefined ? {} : { updates });
    }
    return h;
  };
  const at = (index: number): Value => ({ ...x, index });
  const faults: [[string, Value, string?][], RegExp][] = [
    [
      [
        ["a", at(0)],
        ["a", at(1)],
      ],
      /two outputs named a/,
    ],
    [[["", at(0)]], /an output named/],
    [[["a", at(0), "x"]], /updates x, which is no state/],
    [[["a", at(0), "s"]], /updates s, which is no state in use/],
    [
      [
        ["a", at(1), "s"],
        ["b", at(0), "s"],
      ],
      /two outputs update s/,
    ],
    [
      [
        ["a", at(0), "t"],
        ["b", at(2)],
      ],
      /but t is bfp8/,
    ],
  ];
  for (const [outputs, expected] of faults) {
    match(refusal(() => graphOf(outputs).build()).message, expected);
  }
  match(refusal(() => g.symbol("a b", 3) && build(g, x)).message, /a symbol named a b/);
  const h = new GraphBuilder();
  h.symbol("n", 4);
  match(refusal(() => h.symbol("n", 5)).message, /two maxima/);
  match(refusal(() => createGraph([{ name: "n", max: 0 }], [], [])).message, /maximum 0/);
  const twice = [
    { name: "n", max: 1 },
    { name: "n", max: 1 },
  ];
  match(refusal(() => createGraph(twice, [], [])).message, /two symbols named n/);
  const type = { element: "f32" as const, shape: [one] };
  const node: Node<Dim> = { op: "neg", inputs: [0], type };
  match(refusal(() => createGraph([], [node], [])).message, /not before it/);
  const output = [{ name: "y", node: 3, updates: undefined }];
  match(refusal(() => createGraph([], [], output)).message, /does not exist/);
  const input: Node<Dim> = { op: "input", name: "x", role: "data", inputs: [], type };
  const wrong: Node<Dim> = { op: "neg", inputs: [0], type: { element: "f32", shape: [zero] } };
  match(refusal(() => createGraph([], [input, wrong], [])).message, /tensor\/type .*result/);
});

test("graphs that would take long to check are refused", () => {
  const type = { element: "f32" as const, shape: [one] };
  const input: Node<Dim> = { op: "input", name: "x", role: "data", inputs: [], type };
  const concat = (count: number): Node<Dim> => ({
    op: "concat",
    axis: 0,
    inputs: Array.from({ length: count }, () => 0),
    type: { element: "f32", shape: [{ terms: [{ coefficient: count, symbols: [] }] }] },
  });
  const many = [input, ...Array.from({ length: 600 }, () => concat(1_024))];
  match(refusal(() => createGraph([], many, [])).message, /tensor\/limit .*operands of all nodes/);
  match(refusal(() => createGraph([], [input, concat(1_025)], [])).message, /at most 1024/);
  const wide = { ...input, type: { element: "f32" as const, shape: [one, one, one, one, one] } };
  const negs = Array.from({ length: 60_000 }, (): Node<Dim> => {
    return { op: "neg", inputs: [0], type: wide.type };
  });
  match(refusal(() => createGraph([], [wide, ...negs], [])).message, /terms of all sizes/);
  const nodes = Array.from({ length: 65_537 }, () => input);
  match(refusal(() => createGraph([], nodes, [])).message, /tensor\/limit .*nodes/);
});

test("what cannot be proven not to overflow is refused", () => {
  const g = new GraphBuilder();
  const rows = 2 ** 31 - 1;
  const sum = g.scatterAdd(g.input("x", f32(rows, 1)), g.input("i", i32(rows)), 1);
  const error = refusal(() => build(g, sum));
  deepEqual(error.info, {
    code: "tensor/overflow",
    node: 2,
    op: "scatter-add",
    accumulator: "sum of updates",
    bits: 54,
    bound: BigInt(rows) * (2n ** 23n - 1n),
  });
});

test("every code of tensor errors that graphs throw is met by a test of this folder", () => {
  const read = (path: string): string => readFileSync(new URL(path, import.meta.url), "utf8");
  const codes = [...read("../error.ts").matchAll(/code: "tensor\/([a-z-]+)"/g)].map(([, c]) => c!);
  const elsewhere = [
    ...["shape-mismatch", "unsupported", "context-full", "closed", "native-differs"],
    ...["device-lost", "device-memory", "cache-memory"],
  ];
  const tests = ["./infer.test.ts", "./resolve.test.ts", "./dimension.test.ts"];
  const texts = [...tests, "../gradient/gradients.test.ts"].map(read).join("\n");
  deepEqual(
    codes.filter((code) => !elsewhere.includes(code) && !texts.includes(code)),
    [],
  );
});

function build(g: GraphBuilder, value: Value): void {
  g.output("out", value);
  g.build();
}

function refusal(body: () => unknown): TensorError {
  try {
    body();
  } catch (error) {
    if (error instanceof TensorError) return error;
    throw error;
  }
  return fail("not refused");
}

function slice(start: number, stride: number): Op<Dim> {
  const starts = [{ terms: start === 0 ? [] : [{ coefficient: start, symbols: [] }] }];
  return { op: "slice", starts, strides: [stride] };
}

function pad(low: number, value: number): Op<Dim> {
  const size = { terms: low === 0 ? [] : [{ coefficient: low, symbols: [] }] };
  return { op: "pad", low: [size], interior: [0], value };
}

function rotary(count: number, step = 1): Op<Dim> {
  const steps = Array.from({ length: count }, () => step);
  return { op: "rotary", steps, interleaved: false, inverse: false };
}

function attention(causal = true): Op<Dim> {
  return { op: "attention", causal };
}

function heads(
  b: number,
  t: number,
  h: number,
  d: number,
  bits: number,
  p: number,
  g: number,
): TypeLike[] {
  return [bfp(bits, b, t, h, d), bfp(bits, b, p, g, d), bfp(bits, b, p, g, d)];
}

function sample(temperature: number, topK: number, topP: number): Op<Dim> {
  return { op: "sample", temperature, topK, topP };
}
