// Laws that exact arithmetic keeps and rounded sums break, checked without an oracle: what is permuted, scaled,
// negated, dealt out or cut into steps gives the same bits, permuted, scaled or negated with it.

import { assert, present } from "gyrotron/base";
import { type GraphBackend, type HostTensor, type Op, rowCount } from "gyrotron/tensor";
import { CaseValues } from "./case-values.ts";
import { describeTensorDifference } from "./graph-conformance.ts";
import {
  bfpType,
  f32Type,
  graphCase,
  type GraphDraft,
  i64Type,
  list,
  type Value,
} from "./graph-cases/draft.ts";

/** A law: what is wrong, if anything. */
export interface Law {
  readonly name: string;
  check(backend: GraphBackend): Promise<string | undefined>;
}

type Real = Extract<HostTensor, { element: "f32" }>;

/** Runs a graph of one result. */
async function run(backend: GraphBackend, write: (d: GraphDraft) => Value): Promise<HostTensor> {
  const { graph, inputs } = graphCase("law", (d) => void write(d));
  const result = await backend.runGraph(graph, inputs);
  const [output] = graph.outputs;
  assert(result.failure === undefined && output !== undefined, "a law's graph fails");
  return present(result.outputs[output.name]);
}

function real(shape: readonly number[], data: Float32Array): Real {
  return { element: "f32", shape, data };
}

/** What lies along an axis in another order; the axis is counted by those behind it. */
function reorder(x: Real, order: readonly number[], behind: number): Real {
  return { ...x, data: Float32Array.from(reordered(x, order, behind)) };
}

function reordered(
  { shape, data }: { readonly shape: readonly number[]; readonly data: ArrayLike<number> },
  order: readonly number[],
  behind: number,
): number[] {
  const inner = shape.slice(shape.length - behind).reduce((n, size) => n * size, 1);
  return Array.from(data, (_, i) => {
    const place = Math.floor(i / inner);
    const outer = Math.floor(place / order.length) * order.length;
    return data[(outer + order[place % order.length]!) * inner + (i % inner)]!;
  });
}

/** A fixed permutation. */
function permutation(count: number, name: string): number[] {
  const draw = new CaseValues(name);
  const keys = list(count, () => draw.u32());
  return list(count, (i) => i).sort((a, b) => keys[a]! - keys[b]! || a - b);
}

const K = 77;
const draws = new CaseValues("laws of graphs");
const LEFT = real([3, K], draws.moderate(3 * K));
const RIGHT = real([5, K], draws.moderate(5 * K));
const ROWS = real([4, 50], draws.moderate(200));

function matmulOf(left: Real, right: Real, bits = 14): (d: GraphDraft) => Value {
  return (d) => d.matmul(d.quantize(d.input(left), bits), d.quantize(d.input(right), bits));
}

function rowOp(op: Op<number>, drops: boolean): (x: Real) => (d: GraphDraft) => Value {
  return (x) => (d) => d.node(op, [d.input(x)], f32Type(drops ? x.shape.slice(0, -1) : x.shape));
}

function scaled(x: Real, factor: number): Real {
  return { ...x, data: x.data.map((v) => v * factor + 0) };
}

function same(
  name: string,
  pair: (backend: GraphBackend) => Promise<[HostTensor, HostTensor]>,
): Law {
  return {
    name,
    check: async (backend) => {
      const [expected, actual] = await pair(backend);
      return describeTensorDifference(expected, actual);
    },
  };
}

const order = permutation(K, "contraction");
const columns = permutation(50, "columns");
const sums: [string, (x: Real) => (d: GraphDraft) => Value][] = [
  ["sum", rowOp({ op: "sum", bits: 24 }, true)],
  ["mean", rowOp({ op: "mean", bits: 16 }, true)],
  ["variance", rowOp({ op: "variance", bits: 16 }, true)],
];
const maps: [string, (x: Real) => (d: GraphDraft) => Value][] = [
  ["softmax", rowOp({ op: "softmax", causal: false }, false)],
  ["log-softmax", rowOp({ op: "log-softmax" }, false)],
  ["rms-norm", rowOp({ op: "rms-norm", epsilon: 0 }, false)],
  ["layer-norm", rowOp({ op: "layer-norm", epsilon: 0 }, false)],
];

/** All laws. */
export const LAWS: readonly Law[] = [
  same("permuting the contraction of matmul", async (b) => [
    await run(b, matmulOf(LEFT, RIGHT)),
    await run(b, matmulOf(reorder(LEFT, order, 0), reorder(RIGHT, order, 0))),
  ]),
  same("permuting the rows of matmul", async (b) => [
    reorder((await run(b, matmulOf(LEFT, RIGHT))) as Real, [2, 0, 1], 1),
    await run(b, matmulOf(reorder(LEFT, [2, 0, 1], 1), RIGHT)),
  ]),
  same("scaling matmul by a power of two", async (b) => [
    scaled((await run(b, matmulOf(LEFT, RIGHT))) as Real, 2 ** -19),
    await run(b, matmulOf(scaled(LEFT, 2 ** -30), scaled(RIGHT, 2 ** 11))),
  ]),
  same("negating an operand of matmul", async (b) => [
    scaled((await run(b, matmulOf(LEFT, RIGHT))) as Real, -1),
    await run(b, matmulOf(scaled(LEFT, -1), RIGHT)),
  ]),
  same("rows of matmul do not see each other", async (b) => {
    const whole = (await run(b, matmulOf(LEFT, RIGHT))) as Real;
    const parts = await Promise.all(
      list(3, async (r) => {
        const row = real([1, K], LEFT.data.slice(r * K, (r + 1) * K));
        return ((await run(b, matmulOf(row, RIGHT))) as Real).data;
      }),
    );
    return [whole, real([3, 5], Float32Array.from(parts.flatMap((part) => [...part])))];
  }),
  same("tokens of a unit in any order", async (b) => [
    await run(b, gradientOf(LEFT, RIGHT)),
    await run(b, gradientOf(reorder(LEFT, order, 0), reorder(RIGHT, order, 0))),
  ]),
  ...sums.flatMap(([name, f]) => [
    same(`permuting ${name}`, async (b) => [
      await run(b, f(ROWS)),
      await run(b, f(reorder(ROWS, columns, 0))),
    ]),
    same(`scaling ${name}`, async (b) => [
      scaled((await run(b, f(ROWS))) as Real, name === "variance" ? 2 ** 26 : 2 ** 13),
      await run(b, f(scaled(ROWS, 2 ** 13))),
    ]),
  ]),
  ...maps.flatMap(([name, f]) => [
    same(`permuting ${name}`, async (b) => [
      reorder((await run(b, f(ROWS))) as Real, columns, 0),
      await run(b, f(reorder(ROWS, columns, 0))),
    ]),
    ...(name.endsWith("norm")
      ? [
          same(`scaling ${name}`, async (b) => [
            await run(b, f(ROWS)),
            await run(b, f(scaled(ROWS, 2 ** 40))),
          ]),
        ]
      : []),
  ]),
  same("updates of scatter-add in any order", async (b) => {
    const [count, width] = [40, 3];
    const updates = real([count, width], draws.spread(count * width, 110, 150));
    const entries = list(count, (i) => (i * i) % 6);
    const shuffle = permutation(count, "updates");
    const scatter =
      (x: Real, at: readonly number[]) =>
      (d: GraphDraft): Value =>
        d.node({ op: "scatter-add" }, [d.input(x), d.i32([count], at)], f32Type([6, width]));
    return [
      await run(b, scatter(updates, entries)),
      await run(
        b,
        scatter(
          reorder(updates, shuffle, 1),
          shuffle.map((i) => entries[i]!),
        ),
      ),
    ];
  }),
  same("positions of attention in any order", async (b) => {
    const shuffle = permutation(29, "positions");
    return [await run(b, attentionOf(false)), await run(b, attentionOf(false, shuffle))];
  }),
  same("attention fused and in two ops", async (b) => [
    await run(b, attentionOf(true)),
    await run(b, attentionInTwo()),
  ]),
  same("prefill, chunks and single steps of attention", async (b) => [
    await run(b, attentionOf(true)),
    await run(b, attentionInSteps([1, 4, 1, 2, 1])),
  ]),
];

/** dW of a unit: `[outputs, tokens] x [inputs, tokens]`, on a grid. */
function gradientOf(dy: Real, x: Real): (d: GraphDraft) => Value {
  return (d) => {
    const operands = [d.quantize(d.input(dy), 14), d.quantize(d.input(x), 14)];
    return d.node({ op: "matmul-grid" }, [...operands, d.i32([], [-34])], i64Type([3, 5]));
  };
}

const [BATCH, LENGTH, HEADS, POSITIONS, GROUPS, SIZE] = [2, 9, 4, 29, 2, 8];

function attentionInputs(
  d: GraphDraft,
  shuffle?: readonly number[],
): { q: Value; k: Value; v: Value } {
  const values = new CaseValues("laws of attention");
  const tensor = (
    shape: number[],
    exponents: [number, number],
  ): HostTensor & { element: "bfp" } => {
    const { mantissas, exponents: e } = values.bfp(rowCount(shape), SIZE, 13, exponents);
    return { element: "bfp", shape, bits: 13, data: mantissas, exponents: e, scales: undefined };
  };
  const moved = (x: HostTensor & { element: "bfp" }): HostTensor => {
    if (shuffle === undefined) return x;
    const rows = { shape: [BATCH, POSITIONS, GROUPS], data: x.exponents };
    const exponents = Int32Array.from(reordered(rows, shuffle, 1));
    return { ...x, data: Int32Array.from(reordered(x, shuffle, 2)), exponents };
  };
  return {
    q: d.input(tensor([BATCH, LENGTH, HEADS, SIZE], [-13, -11])),
    k: d.input(moved(tensor([BATCH, POSITIONS, GROUPS, SIZE], [-13, -11]))),
    v: d.input(moved(tensor([BATCH, POSITIONS, GROUPS, SIZE], [-14, -10]))),
  };
}

function attentionOf(causal: boolean, shuffle?: readonly number[]): (d: GraphDraft) => Value {
  return (d) => {
    const { q, k, v } = attentionInputs(d, shuffle);
    return d.node({ op: "attention", causal }, [q, k, v], f32Type([BATCH, LENGTH, HEADS, SIZE]));
  };
}

function attentionInTwo(): (d: GraphDraft) => Value {
  return (d) => {
    const { q, k, v } = attentionInputs(d);
    const type = { element: "i32", shape: [BATCH, HEADS, LENGTH, POSITIONS] } as const;
    const z = d.node({ op: "attention-scores", causal: true }, [q, k], type);
    const result = f32Type([BATCH, LENGTH, HEADS, SIZE]);
    return d.node({ op: "attention-combine", causal: true }, [z, v], result);
  };
}

/** The rows in steps, each against the cache as long as it is by then. */
function attentionInSteps(steps: readonly number[]): (d: GraphDraft) => Value {
  return (d) => {
    const { q, k, v } = attentionInputs(d);
    const cut = (x: Value, from: number, count: number): Value => {
      const shape = x.type.shape.with(1, count);
      const op = { op: "slice", starts: [0, from, 0, 0], strides: [1, 1, 1, 1] } as const;
      return d.node(op, [x], bfpType(shape, 13));
    };
    let done = 0;
    const parts = steps.map((count) => {
      const past = POSITIONS - LENGTH + done + count;
      const inputs = [cut(q, done, count), cut(k, 0, past), cut(v, 0, past)];
      done += count;
      return d.node(
        { op: "attention", causal: true },
        inputs,
        f32Type([BATCH, count, HEADS, SIZE]),
      );
    });
    return d.node({ op: "concat", axis: 1 }, parts, f32Type([BATCH, LENGTH, HEADS, SIZE]));
  };
}
