// Random graphs of one op for property tests, over edge shapes and edge values. All that is random is one
// record of numbers, so a failing example shrinks to small sizes and plain values whatever the op.

import fc from "fast-check";
import { f32FromBits } from "gyrotron/numerics";
import type {
  BinaryOp,
  CompareOp,
  Dim,
  LogicOp,
  Node,
  Op,
  OpKind,
  ReduceOp,
  ResolvedGraph,
  TensorType,
  UnaryOp,
  Value as BuilderValue,
} from "gyrotron/tensor";
import { elementCount, GraphBuilder, rowCount, UNARY_OPS } from "gyrotron/tensor";
import {
  boolType,
  f32Type,
  graphCase,
  type GraphCase,
  GraphDraft,
  i32Type,
  i64Type,
  list,
  type Value,
} from "./graph-cases/draft.ts";

/** What a random graph is made from. */
export interface Draws {
  readonly sizes: readonly number[];
  readonly values: readonly number[];
  readonly integers: readonly number[];
  readonly choices: readonly number[];
}

const finite: fc.Arbitrary<number> = fc
  .integer({ min: 0, max: 0xffff_ffff })
  .map((bits) => f32FromBits(bits))
  .filter((x) => Number.isFinite(x) && !Object.is(x, -0));

const value: fc.Arbitrary<number> = fc.oneof(
  fc.integer({ min: -2047, max: 2047 }).map((n) => n / 64 + 0),
  fc.integer({ min: -(2 ** 24) + 1, max: 2 ** 24 - 1 }).map((n) => n * 2 ** -22 + 0),
  fc.integer({ min: -63, max: 63 }).map((n) => n * 2 ** -149 + 0),
  fc.constantFrom(0, 1, -1, 0.5, 32767, -32767.5, 3e7, -3e7, 2 ** -126, f32FromBits(0x7f7fffff)),
  finite,
);

/** One record; ordinary values come more often, so that most runs succeed. */
export const drawsArbitrary: fc.Arbitrary<Draws> = fc.record({
  sizes: fc.array(fc.oneof(fc.nat(9), fc.constantFrom(15, 16, 17, 31, 33, 64, 65)), {
    minLength: 8,
    maxLength: 8,
  }),
  values: fc.oneof(
    fc.array(
      fc.integer({ min: -(2 ** 20), max: 2 ** 20 }).map((n) => n * 2 ** -17 + 0),
      { minLength: 1, maxLength: 20 },
    ),
    fc.array(value, { minLength: 1, maxLength: 20 }),
  ),
  integers: fc.array(fc.oneof(fc.nat(7), fc.integer(), fc.constantFrom(2 ** 31 - 1, -(2 ** 31))), {
    minLength: 4,
    maxLength: 12,
  }),
  choices: fc.array(fc.nat(255), { minLength: 12, maxLength: 12 }),
});

/** Hands out the numbers of a record in order. */
class Dealer {
  readonly #draws: Draws;
  readonly #least: number;
  #size = 0;
  #choice = 0;
  #shift = 0;

  constructor(draws: Draws, least = 0) {
    this.#draws = draws;
    this.#least = least;
  }

  /** A size of an axis, at times longer than any tile. */
  size(lowest = 0, max = 65): number {
    const min = Math.max(lowest, this.#least);
    const size = this.#draws.sizes[this.#size++ % this.#draws.sizes.length]!;
    return min + (size % (max - min + 1));
  }

  /** A size of an axis before the last. */
  few(min = 0): number {
    return this.size(min, 3 + min);
  }

  shape(min = 0): number[] {
    return list(this.choice(3), () => this.few(min)).concat(this.size(min));
  }

  choice(count: number): number {
    return this.#draws.choices[this.#choice++ % this.#draws.choices.length]! % count;
  }

  pick<T>(...options: readonly T[]): T {
    return options[this.choice(options.length)]!;
  }

  flag(): boolean {
    return this.choice(2) === 1;
  }

  reals(count: number): number[] {
    const { values } = this.#draws;
    const shift = this.#shift++;
    return list(count, (i) => values[(i + shift + Math.floor(i / values.length)) % values.length]!);
  }

  integers(count: number): number[] {
    const { integers } = this.#draws;
    const shift = this.#shift++;
    return list(
      count,
      (i) => integers[(i + shift + Math.floor(i / integers.length)) % integers.length]!,
    );
  }

  /** Integers below a bound; one time in eight, one of them is not. */
  indices(count: number, below: number): number[] {
    const all = this.integers(count).map((n) => Math.abs(n) % Math.max(1, below));
    if (this.choice(8) === 7 && count > 0) all[this.choice(count)] = this.pick(-1, below);
    return all;
  }
}

type Write = (d: GraphDraft, s: Dealer) => void;

function f32(d: GraphDraft, s: Dealer, shape: readonly number[]): Value {
  return d.f32(shape, s.reals(elementCount(shape)));
}

function i32(d: GraphDraft, s: Dealer, shape: readonly number[]): Value {
  return d.i32(shape, s.integers(elementCount(shape)));
}

function bool(d: GraphDraft, s: Dealer, shape: readonly number[]): Value {
  const bits = s.integers(elementCount(shape)).map((n) => n & 1);
  return d.bool(shape, bits);
}

function i64(d: GraphDraft, s: Dealer, shape: readonly number[]): Value {
  const [low, high] = [s.integers(elementCount(shape)), s.integers(elementCount(shape))];
  const values = high.map((h, i) => (BigInt(h >> s.pick(1, 8, 31)) << 32n) | BigInt(low[i]! >>> 0));
  return d.i64(shape, values);
}

/** Any plain value. */
function plain(d: GraphDraft, s: Dealer, shape: readonly number[]): Value {
  return s.pick(f32, i32, f32, bool, i64)(d, s, shape);
}

/** Mantissas given, or quantized in the graph from f32. */
function rows(d: GraphDraft, s: Dealer, shape: readonly number[], bits: number): Value {
  if (s.flag()) return d.quantize(f32(d, s, shape), bits);
  const max = 2 ** (bits - 1) - 1;
  const [mantissas, exponents] = [s.integers(elementCount(shape)), s.integers(rowCount(shape))];
  const spread = s.pick(1, 30, 140);
  return d.input({
    element: "bfp",
    shape,
    bits,
    data: Int32Array.from(mantissas, (m) => m % (max + 1)),
    exponents: Int32Array.from(exponents, (e) => (e % spread) - 9),
    scales: undefined,
  });
}

/** Weights: rows with a scale, or without. */
function weights(d: GraphDraft, s: Dealer, shape: readonly number[]): Value {
  const bits = s.pick(8, 14);
  return s.flag() ? d.pack(f32(d, s, shape), bits as 8) : rows(d, s, shape, s.pick(8, 13, 16));
}

function reduced(op: Op<number>, min: number): Write {
  return (d, s) => {
    const x = f32(d, s, s.shape(min));
    d.node(op, [x], f32Type(x.type.shape.slice(0, -1)));
  };
}

const UNARY = [...UNARY_OPS] as readonly UnaryOp[];

function unary(op: UnaryOp): Write {
  return (d, s) => {
    const x = f32(d, s, s.shape());
    d.like({ op }, s.choice(4) === 0 ? x : d.like({ op: "abs" }, x));
  };
}

function binary(op: BinaryOp): Write {
  return (d, s) => {
    const shape = s.shape();
    if (op !== "div" && s.choice(3) === 0) d.like({ op }, i32(d, s, shape), i32(d, s, shape));
    else d.like({ op }, f32(d, s, shape), f32(d, s, shape));
  };
}

function compare(op: CompareOp): Write {
  return (d, s) => {
    const shape = s.shape();
    const of = s.pick(f32, i32);
    d.node({ op }, [of(d, s, shape), of(d, s, shape)], boolType(shape));
  };
}

function logic(op: LogicOp): Write {
  return (d, s) => {
    const shape = s.shape();
    const x = bool(d, s, shape);
    d.like({ op }, ...(op === "not" ? [x] : [x, bool(d, s, shape)]));
  };
}

function shaped(type: TensorType<number>, shape: readonly number[]): TensorType<number> {
  return { ...type, shape };
}

const LAYOUT = {
  iota: (d, s) => {
    const shape = s.shape();
    d.node({ op: "iota", axis: s.choice(shape.length) }, [], i32Type(shape));
  },
  reshape: (d, s) => {
    const [a, b, c] = [s.few(), s.few(), s.size()];
    d.reshape(plain(d, s, [a, b, c]), s.pick([a * b, c], [a * b * c], [c, 1, b, a]));
  },
  transpose: (d, s) => {
    const orders = [
      [2, 1, 0],
      [0, 2, 1],
      [1, 0, 2],
      [2, 0, 1],
    ];
    d.transpose(plain(d, s, [s.few(), s.size(), s.size(0, 20)]), ...s.pick(...orders));
    d.transpose(rows(d, s, [s.few(), s.few(), s.size()], 14), 1, 0, 2);
  },
  slice: (d, s) => {
    const x = plain(d, s, [s.few(1), s.size(1)]);
    const from = x.type.shape.map((size) => s.choice(size + 1));
    const strides = [s.pick(1, 2), s.pick(1, 3)];
    const shape = x.type.shape.map((size, axis) =>
      Math.ceil((size - from[axis]!) / strides[axis]!),
    );
    d.node({ op: "slice", starts: from, strides }, [x], shaped(x.type, shape));
  },
  concat: (d, s) => {
    const of = s.pick(f32, i32, i64, bool);
    const axis = s.choice(2);
    const other = s.size();
    const parts = list(1 + s.choice(3), () => {
      const own = s.few();
      return of(d, s, axis === 0 ? [own, other] : [other, own]);
    });
    const total = parts.reduce((sum, part) => sum + part.type.shape[axis]!, 0);
    const shape = axis === 0 ? [total, other] : [other, total];
    d.node({ op: "concat", axis }, parts, shaped(parts[0]!.type, shape));
  },
  pad: (d, s) => {
    const x = s.pick(f32, i32)(d, s, [s.few(), s.size(0, 20)]);
    const [low, interior] = [
      [s.choice(3), s.choice(3)],
      [s.choice(2), s.choice(3)],
    ];
    const shape = x.type.shape.map(
      (size, axis) => low[axis]! + size + Math.max(0, size - 1) * interior[axis]! + s.choice(3),
    );
    d.node({ op: "pad", low, interior, value: s.pick(0, -3, 7) }, [x], shaped(x.type, shape));
  },
  broadcast: (d, s) => {
    const full = [s.few(), s.few(), s.size()];
    const shape = full.map((size) => (s.flag() ? 1 : size));
    d.broadcast(plain(d, s, shape), full);
  },
  gather: (d, s) => {
    const [entries, width] = [s.size(1), s.size()];
    const at = [s.few(), s.few()];
    const table = s.pick(f32, i32)(d, s, [entries, width]);
    const indices = d.i32(at, s.indices(elementCount(at), entries));
    d.node({ op: "gather" }, [table, indices], shaped(table.type, [...at, width]));
  },
  "scatter-add": (d, s) => {
    const [count, width, entries] = [s.size(), s.few(), s.few(1)];
    const indices = d.i32([count], s.indices(count, entries));
    d.node({ op: "scatter-add" }, [f32(d, s, [count, width]), indices], f32Type([entries, width]));
  },
  "take-along": (d, s) => {
    const [count, width, taken] = [s.few(), s.size(1), s.size(0, 9)];
    const x = s.pick(f32, i32)(d, s, [count, width]);
    const indices = d.i32([count, taken], s.indices(count * taken, width));
    d.node({ op: "take-along" }, [x, indices], shaped(x.type, [count, taken]));
  },
  patches: (d, s) => {
    const { size, window, result } = windowOf(s);
    const x = f32(d, s, size);
    d.node({ op: "patches", window, value: s.pick(0, -9) }, [x], f32Type(result));
  },
  fold: (d, s) => {
    const { size, window, result } = windowOf(s);
    d.node({ op: "fold", window }, [f32(d, s, result)], f32Type(size));
  },
  select: (d, s) => {
    const shape = s.shape();
    const of = s.pick(f32, i32, bool);
    const [yes, no] = [of(d, s, shape), of(d, s, shape)];
    d.node({ op: "select" }, [bool(d, s, shape), yes, no], yes.type);
  },
  convert: (d, s) => {
    const shape = s.shape();
    const x = s.pick(f32, i32, bool)(d, s, shape);
    const type = x.type.element === "f32" || s.flag() ? i32Type(shape) : f32Type(shape);
    if (x.type.element !== type.element) d.node({ op: "convert" }, [x], type);
    else d.node({ op: "convert" }, [x], f32Type(shape));
  },
} satisfies Partial<Record<OpKind, Write>>;

function windowOf(s: Dealer): {
  size: number[];
  window: {
    kernel: [number, number];
    stride: [number, number];
    dilation: [number, number];
    padding: [number, number];
  };
  result: number[];
} {
  const [batch, channels] = [s.few(), s.few(1)];
  const kernel: [number, number] = [s.pick(1, 2, 3), s.pick(1, 2, 3)];
  const stride: [number, number] = [s.pick(1, 2), s.pick(1, 3)];
  const dilation: [number, number] = [s.pick(1, 2), 1];
  const padding: [number, number] = [s.pick(0, 1), s.pick(0, 1)];
  const result = [s.few(1), s.few(1)];
  const least = (axis: 0 | 1): number =>
    Math.max(
      1,
      (result[axis]! - 1) * stride[axis] +
        (kernel[axis] - 1) * dilation[axis] +
        1 -
        2 * padding[axis],
    );
  return {
    size: [batch, least(0), least(1), channels],
    window: { kernel, stride, dilation, padding },
    result: [batch, ...result, ...kernel, channels],
  };
}

const ROWS = {
  "reduce-max": reduced({ op: "reduce-max" }, 1),
  argmax: (d, s) => {
    const x = f32(d, s, s.shape(1));
    d.node({ op: "argmax" }, [x], i32Type(x.type.shape.slice(0, -1)));
  },
  "top-k": (d, s) => {
    const [count, width] = [s.few(), s.size()];
    const k = s.choice(width + 1);
    d.node({ op: "top-k" }, [f32(d, s, [count, width])], i32Type([count, k]));
  },
  "rms-norm": norm("rms-norm"),
  "layer-norm": norm("layer-norm"),
  softmax: (d, s) => {
    const causal = s.flag();
    const length = s.few();
    const shape = [s.few(), length, s.size(causal ? length : 0)];
    d.like({ op: "softmax", causal }, f32(d, s, shape));
  },
  "log-softmax": (d, s) => void d.like({ op: "log-softmax" }, f32(d, s, s.shape())),
  "cross-entropy": (d, s) => {
    const [count, width] = [s.few(), s.size(1)];
    const targets = d.i32([count], s.indices(count, width));
    d.node({ op: "cross-entropy" }, [f32(d, s, [count, width]), targets], f32Type([count]));
  },
  rotary: (d, s) => {
    const [length, heads, pairs] = [s.few(), s.few(1), s.size(1, 9)];
    const steps = s.integers(pairs).map((n) => n >>> 0);
    const op = { op: "rotary", steps, interleaved: s.flag(), inverse: s.flag() } as const;
    d.like(op, f32(d, s, [length, heads, 2 * pairs]), i32(d, s, [length]));
  },
} satisfies Partial<Record<OpKind, Write>>;

function norm(op: "rms-norm" | "layer-norm"): Write {
  return (d, s) => {
    const epsilon = s.pick(0, Math.fround(1e-5), 2 ** -20, 1, 2 ** -149);
    d.like({ op, epsilon }, f32(d, s, s.shape()));
  };
}

function productOf(d: GraphDraft, s: Dealer): { left: Value; right: Value; shape: number[] } {
  const [batch, m, n, k] = [s.few(), s.size(), s.size(), s.size()];
  const isShared = s.flag();
  const left = rows(d, s, [batch, m, k], s.pick(8, 14, 16));
  const right = weights(d, s, isShared ? [n, k] : [batch, n, k]);
  return { left, right, shape: [batch, m, n] };
}

const CONTRACTION = {
  quantize: (d, s) => void d.quantize(f32(d, s, s.shape()), s.pick(8, 9, 13, 14, 16)),
  "quantize-columns": (d, s) => void d.pack(f32(d, s, s.shape()), s.pick(8, 14) as 8),
  dequantize: (d, s) => {
    const x = weights(d, s, s.shape());
    d.node({ op: "dequantize" }, [x], f32Type(x.type.shape));
  },
  matmul: (d, s) => {
    const { left, right } = productOf(d, s);
    d.matmul(left, right);
  },
  "matmul-grid": (d, s) => {
    const { left, right, shape } = productOf(d, s);
    const grid = d.i32([], [s.pick(-30, -10, 0, -60, 50, -400)]);
    d.node({ op: "matmul-grid" }, [left, right, grid], i64Type(shape));
  },
  "to-grid": (d, s) => {
    const x = f32(d, s, s.shape());
    d.node(
      { op: "to-grid" },
      [x, d.i32([], [s.pick(-30, -50, 3, -149, 201)])],
      i64Type(x.type.shape),
    );
  },
  "grid-add": (d, s) => {
    const shape = s.shape();
    d.like({ op: "grid-add" }, i64(d, s, shape), i64(d, s, shape));
  },
  "from-grid": (d, s) => {
    const x = i64(d, s, s.shape());
    d.node(
      { op: "from-grid" },
      [x, d.i32([], [s.pick(-30, -190, 0, 80, -400)])],
      f32Type(x.type.shape),
    );
  },
  attention: (d, s) => attend(d, s, "attention"),
  "attention-scores": (d, s) => attend(d, s, "attention-scores"),
  "attention-combine": (d, s) => attend(d, s, "attention-combine"),
} satisfies Partial<Record<OpKind, Write>>;

function attend(
  d: GraphDraft,
  s: Dealer,
  op: "attention" | "attention-scores" | "attention-combine",
): void {
  const causal = s.flag();
  const [batch, length, groups] = [s.few(), s.few(1), s.pick(1, 2)];
  const [positions, heads] = [s.size(length), groups * s.pick(1, 2, 3)];
  const size = 2 * s.size(1, 9);
  const q = rows(d, s, [batch, length, heads, size], 13);
  const k = rows(d, s, [batch, positions, groups, size], 13);
  const v = rows(d, s, [batch, positions, groups, size], 13);
  const scores = i32Type([batch, heads, length, positions]);
  const result = f32Type([batch, length, heads, size]);
  if (op !== "attention-scores") d.node({ op: "attention", causal }, [q, k, v], result);
  if (op === "attention") return;
  const z = d.node({ op: "attention-scores", causal }, [q, k], scores);
  if (op === "attention-combine") d.node({ op, causal }, [z, v], result);
}

const RANDOM = {
  "random-bits": (d, s) => {
    d.node({ op: "random-bits" }, [i32(d, s, [4])], i32Type(s.shape()));
  },
  dropout: (d, s) => {
    const keep = s.pick(1, 30000, 65535, 65536);
    d.like({ op: "dropout", keep }, f32(d, s, s.shape()), i32(d, s, [4]));
  },
  sample: (d, s) => {
    const [count, width] = [s.few(), s.size(1)];
    const rule = {
      temperature: s.pick(0, 1, 30000, 65536, 2 ** 20),
      topK: s.pick(0, 1, 5),
      topP: s.pick(1, 30000, 60000, 65536),
    };
    const inputs = [f32(d, s, [count, width]), i32(d, s, [count, 4])];
    d.node({ op: "sample", ...rule }, inputs, i32Type([count]));
  },
} satisfies Partial<Record<OpKind, Write>>;

/** How a graph of each op is written; every op but those that are given. */
export const WRITERS: Readonly<Record<Exclude<OpKind, "input" | "constant">, Write>> = {
  ...(Object.fromEntries(UNARY.map((op) => [op, unary(op)])) as Record<UnaryOp, Write>),
  add: binary("add"),
  sub: binary("sub"),
  mul: binary("mul"),
  div: binary("div"),
  min: binary("min"),
  max: binary("max"),
  equal: compare("equal"),
  less: compare("less"),
  "less-or-equal": compare("less-or-equal"),
  and: logic("and"),
  or: logic("or"),
  not: logic("not"),
  sum: (d, s) => reduced({ op: "sum", bits: s.pick(16, 24) }, 0)(d, s),
  mean: (d, s) => reduced({ op: "mean" satisfies ReduceOp, bits: s.pick(16, 24) }, 1)(d, s),
  variance: reduced({ op: "variance", bits: 16 }, 1),
  ...LAYOUT,
  ...ROWS,
  ...CONTRACTION,
  ...RANDOM,
};

/** A graph of one op from a record; no axis is shorter than `least`. */
export function writeCase(op: keyof typeof WRITERS, draws: Draws, least = 0): GraphCase {
  return graphCase(`property/${op}`, (d) => WRITERS[op](d, new Dealer(draws, least)));
}

/** A graph of several elementwise and row ops that use each other's results, for what backends fuse. */
export function writeChain(draws: Draws): GraphCase {
  return graphCase("property/chain", (d) => {
    const s = new Dealer(draws);
    const shape = [s.few(1), s.size(1)];
    const values = [f32(d, s, shape), f32(d, s, shape)];
    const any = (): Value => values[s.choice(values.length)]!;
    for (let i = 0; i < 9; i++) {
      const op = s.choice(12);
      if (op < 4)
        values.push(d.like({ op: s.pick("tanh", "sigmoid", "relu", "neg", "silu") }, any()));
      else if (op < 8)
        values.push(d.like({ op: s.pick("add", "mul", "sub", "max") }, any(), any()));
      else if (op < 9) values.push(d.like({ op: "softmax", causal: false }, any()));
      else if (op < 10) {
        const mask = d.node({ op: "less" }, [any(), any()], boolType(shape));
        values.push(d.node({ op: "select" }, [mask, any(), any()], f32Type(shape)));
      } else if (op < 11) {
        const total = d.node({ op: "sum", bits: 24 }, [any()], f32Type(shape.slice(0, 1)));
        values.push(d.broadcast(d.reshape(total, [shape[0]!, 1]), shape));
      } else {
        const grams = d.matmul(d.quantize(any(), 14), d.quantize(any(), 14));
        values.push(d.matmul(d.quantize(grams, 14), d.quantize(d.transpose(any(), 1, 0), 14)));
      }
    }
    d.like({ op: "abs" }, values.at(-1)!);
  });
}

/** The nodes of a graph in a builder, which infers every type. */
export function rebuildGraph(g: GraphBuilder, { nodes }: ResolvedGraph): BuilderValue[] {
  const values: BuilderValue[] = [];
  for (const node of nodes) {
    const inputs = node.inputs.map((input) => values[input]!);
    values.push(g.node(openOp(node), inputs, node.type));
  }
  return values;
}

/** The op with sizes as a graph has them. */
function openOp({ inputs: _inputs, type: _type, ...op }: Node<number>): Op<Dim> {
  if (op.op === "slice") return { ...op, starts: op.starts.map(constantDim) };
  if (op.op === "pad") return { ...op, low: op.low.map(constantDim) };
  return op;
}

function constantDim(size: number): Dim {
  return new GraphBuilder().input("x", { element: "f32", shape: [size] }).shape[0]!;
}
