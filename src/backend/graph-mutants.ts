// Deliberately wrong oracles for graphs, one for each way in which an op is commonly made fast and different.
// The quick graph cases must reject every one; a mutant that survives is a missing case. For tests only.

import { decodeF32, powerOfTwo } from "gyrotron/numerics";
import {
  type GraphBackend,
  type HostTensor,
  placeOnHost,
  type ResolvedGraph,
  type RunInputs,
} from "gyrotron/tensor";
import {
  bfpOf,
  f32Of,
  f32Reduced,
  f32Result,
  f32Rows,
  i32Of,
  i32Result,
  i64Of,
  rowLength,
} from "./reference/graph/graph-value.ts";
import { EXACT_GRAPH_OPS, type GraphOps } from "./reference/graph/ops.ts";
import { runReferenceGraph } from "./reference/graph.ts";
import {
  reduceBy,
  sumInLanes,
  sumOnGrid,
  softmaxBy,
  sharesInFloat,
  sharesOnline,
  sharesOfPowers,
  lastLargest,
  shiftedAttention,
  interleaveGroups,
  combineInFloat,
} from "./graph-mutants/row.ts";
import {
  gridAddBy,
  splitProduct,
  quantizePadded,
  quantizeBy,
  quantizeAsymmetric,
  matmulBy,
  sumExactly,
  sumInF32,
  sumInI32Lanes,
  scaledOnce,
  scatterInF32,
  foldInF32,
} from "./graph-mutants/contraction.ts";
import {
  finite,
  nearest,
  exactScale,
  dropoutBy,
  flushed,
  anyBool,
  lastFailure,
  unaryInFloat,
  subtractTargetsEarly,
} from "./graph-mutants/element.ts";

const fround = Math.fround;
const exact = EXACT_GRAPH_OPS;

/** A wrong backend, named for its fault. */
export interface GraphMutant extends GraphBackend {
  readonly name: string;
  /** The ops that are not the oracle's. */
  readonly mutated: readonly string[];
}

/** All mutants of graph ops. */
export function graphMutants(): GraphMutant[] {
  return [
    ...Object.entries(MUTATIONS).map(([name, ops]) => mutant(name, Object.keys(ops), () => ops)),
    mutant("one-hot-within-shares", ["transpose", "scatter-add"], subtractTargetsEarly),
  ];
}

/** Programs as the mutants' without their faults: these must pass. */
export function graphControls(): GraphMutant[] {
  return Object.entries(CONTROLS).map(([name, ops]) => mutant(name, Object.keys(ops), () => ops));
}

type Mutation = (graph: ResolvedGraph, inputs: RunInputs) => Partial<GraphOps>;

function mutant(name: string, mutated: readonly string[], mutate: Mutation): GraphMutant {
  return {
    name,
    mutated,
    placeTensors: placeOnHost,
    runGraph: async (graph, inputs, options) => {
      const ops = { ...EXACT_GRAPH_OPS, ...mutate(graph, inputs) };
      return runReferenceGraph(ops, graph, inputs, options);
    },
  };
}

const MUTATIONS: Readonly<Record<string, Partial<GraphOps>>> = {
  "sum-in-f32": { sum: reduceBy((row) => row.reduce((sum, x) => fround(sum + x), 0)) },
  "sum-without-grid": { sum: reduceBy((row) => fround(row.reduce((sum, x) => sum + x, 0))) },
  "sum-in-lanes": { sum: reduceBy(sumInLanes) },
  "mean-rounded-twice": {
    mean: (node, [x]) =>
      f32Reduced(
        node,
        f32Rows(x).map((row) => fround(fround(sumOnGrid(row, node.bits)) / row.length)),
      ),
  },
  "variance-by-moments": {
    variance: reduceBy((row) => {
      const mean = row.reduce((sum, x) => fround(sum + x), 0) / row.length;
      const square = row.reduce((sum, x) => fround(sum + x * x), 0) / row.length;
      return fround(square - mean * mean);
    }),
  },
  "norm-mean-rounded-first": {
    "layer-norm": (node, [x]) =>
      f32Result(
        node,
        f32Rows(x).flatMap((row) => {
          const mean = fround(row.reduce((sum, v) => sum + v, 0) / row.length);
          const apart = row.map((v) => fround(v - mean));
          const power = apart.reduce((sum, v) => sum + v * v, 0) / row.length + node.epsilon;
          return Array.from(apart, (v) => (power === 0 ? 0 : fround(v / Math.sqrt(power))));
        }),
      ),
  },
  "norm-epsilon-outside": {
    "layer-norm": (node, inputs) => exact["layer-norm"]({ ...node, epsilon: 0 }, inputs),
  },
  "softmax-rescaled-online": { softmax: softmaxBy(sharesOnline) },
  "softmax-in-binary64": { softmax: softmaxBy(sharesInFloat) },
  "softmax-divided-each": { softmax: softmaxBy((row) => sharesOfPowers(row, { divided: true })) },
  "softmax-unmasked-shift": {
    softmax: softmaxBy((row) => sharesOfPowers(row, { unmasked: true })),
  },
  "softmax-maximum-of-hidden": {
    softmax: softmaxBy((row, whole) => sharesOfPowers(row, { max: Math.max(...whole) })),
  },
  "causal-off-by-one": {
    softmax: softmaxBy((row, whole) =>
      sharesOfPowers(row.length === whole.length ? row : whole.subarray(0, row.length + 1)),
    ),
    attention: shiftedAttention,
  },
  "last-index-ties": {
    argmax: (node, [x]) => i32Result(node, f32Rows(x).map(lastLargest)),
    "top-k": (node, [x]) => {
      const count = rowLength(node.type.shape);
      const ranks = (row: Float32Array): number[] =>
        Array.from(row, (_, i) => i).sort((a, b) => row[b]! - row[a]! || b - a);
      return i32Result(
        node,
        f32Rows(x).flatMap((row) => ranks(row).slice(0, count)),
      );
    },
  },
  "lost-carry": {
    "grid-add": gridAddBy((low, high) => [low >>> 0, high | 0]),
  },
  "grid-rounded-by-worker": {
    "matmul-grid": (node, [left, right, grid]) => splitProduct(node, [left!, right!, grid!]),
  },
  "grid-through-binary64": {
    "from-grid": (node, [x, grid]) =>
      f32Result(
        node,
        Array.from(i64Of(x), (v) => finite(Number(v) * powerOfTwo(i32Of(grid)[0]!))),
      ),
  },
  "grid-truncated": {
    "to-grid": (node, [x, grid]) => {
      const data = BigInt64Array.from(f32Of(x), (v) => {
        const { mantissa, exponent } = decodeF32(v);
        const shift = exponent - i32Of(grid)[0]!;
        return shift >= 0 ? mantissa << BigInt(shift) : mantissa / (1n << BigInt(-shift));
      });
      const checked = exact["to-grid"](node, [x!, grid!]);
      return "failure" in checked ? checked : { element: "i64", shape: node.type.shape, data };
    },
  },
  "scatter-in-f32": { "scatter-add": scatterInF32 },
  "fold-in-f32": { fold: foldInF32 },
  "exponent-of-padding": { quantize: quantizePadded },
  "ties-away": { quantize: quantizeBy((x) => Math.sign(x) * Math.floor(Math.abs(x) + 0.5)) },
  "asymmetric-range": { quantize: quantizeAsymmetric },
  "scale-ignored": {
    matmul: (node, [left, right]) =>
      exact.matmul(node, [left!, { ...bfpOf(right), scales: undefined }]),
  },
  "matmul-in-f32": { matmul: matmulBy(sumInF32, scaledOnce) },
  "matmul-wrapping": { matmul: matmulBy((x, y) => sumExactly(x, y) | 0, scaledOnce) },
  "matmul-without-spill": { matmul: matmulBy(sumInI32Lanes, scaledOnce) },
  "batch-shared": {
    matmul: (node, [left, right]) => {
      const b = bfpOf(right);
      if (b.shape.length === 2) return exact.matmul(node, [left!, b]);
      const rows = b.shape.at(-2)!;
      const width = b.shape.at(-1)!;
      const first = { data: b.data.map((_, i) => b.data[i % (rows * width)]!) };
      const exponents = b.exponents.map((_, i) => b.exponents[i % rows]!);
      return exact.matmul(node, [left!, { ...b, ...first, exponents }]);
    },
  },
  "round-then-scale": {
    matmul: matmulBy(sumExactly, (s, e, scale) => fround(fround(s * e) * scale)),
  },
  "groups-interleaved": {
    "attention-scores": (node, [q, k]) =>
      exact["attention-scores"](node, [q!, interleaveGroups(k!)]),
    attention: (node, [q, k, v]) =>
      exact.attention(node, [q!, interleaveGroups(k!), interleaveGroups(v!)]),
  },
  "combine-in-float": { "attention-combine": combineInFloat },
  "dropout-by-row": { dropout: dropoutBy((i, width) => i % Math.max(1, width), exactScale) },
  "dropout-scale-rounded": {
    dropout: dropoutBy(
      (i) => i,
      (x, keep) => fround(x * fround(65536 / keep)),
    ),
  },
  "random-by-column": {
    "random-bits": (node, inputs) => {
      const outcome = exact["random-bits"](node, inputs);
      const width = rowLength(node.type.shape);
      const words = i32Of(outcome as HostTensor);
      return i32Result(
        node,
        words.map((_, i) => words[i % Math.max(1, width)]!),
      );
    },
  },
  "sample-without-limit": {
    sample: (node, inputs) => exact.sample({ ...node, topP: 65536 }, inputs),
  },
  "sample-by-rank": {
    sample: (node, inputs) =>
      exact.sample({ ...node, topK: node.topK === 0 ? 0 : node.topK + 1 }, inputs),
  },
  "divide-by-reciprocal": {
    div: (node, [x, y]) => {
      const outcome = exact.div(node, [x!, y!]);
      if ("failure" in outcome) return outcome;
      const right = f32Of(y);
      return f32Result(
        node,
        Array.from(f32Of(x), (v, i) => finite(v * fround(1 / right[i]!))),
      );
    },
  },
  "flush-subnormal": {
    mul: (node, inputs) => flushed(exact.mul(node, inputs)),
    exp: (node, inputs) => flushed(exact.exp(node, inputs)),
    "from-grid": (node, inputs) => flushed(exact["from-grid"](node, inputs)),
  },
  "negative-zero": {
    neg: (node, [x]) =>
      f32Result(
        node,
        Array.from(f32Of(x), (v) => -v),
      ),
  },
  "saturating-integers": {
    add: (node, inputs) => {
      const [x, y] = inputs;
      if (x?.element !== "i32") return exact.add(node, inputs);
      const right = i32Of(y);
      const clamp = (v: number): number => Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, v));
      return i32Result(
        node,
        x.data.map((v, i) => clamp(v + right[i]!)),
      );
    },
  },
  "integers-through-binary64": {
    mul: (node, inputs) => {
      const [x, y] = inputs;
      if (x?.element !== "i32") return exact.mul(node, inputs);
      const right = i32Of(y);
      return i32Result(
        node,
        x.data.map((v, i) => (v * right[i]!) | 0),
      );
    },
  },
  "unsigned-comparison": {
    less: (node, inputs) => {
      const [x, y] = inputs;
      if (x?.element !== "i32") return exact.less(node, inputs);
      const right = i32Of(y);
      const data = Uint8Array.from(x.data, (v, i) => Number(v >>> 0 < right[i]! >>> 0));
      return { element: "bool", shape: node.type.shape, data };
    },
  },
  "conversion-truncates": {
    convert: (node, inputs) => {
      const [x] = inputs;
      if (x?.element !== "f32") return exact.convert(node, inputs);
      const clamp = (v: number): number => Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, v));
      return i32Result(
        node,
        Array.from(x.data, (v) => Math.trunc(clamp(v))),
      );
    },
  },
  "index-clamped": {
    gather: (node, [table, indices]) => {
      const at = i32Of(indices);
      const last = table!.shape[0]! - 1;
      const data = at.map((i) => Math.max(0, Math.min(last, i)));
      if (last < 0) return exact.gather(node, [table!, indices!]);
      return exact.gather(node, [table!, { ...indices!, element: "i32", data }]);
    },
  },
  "failure-hidden-by-mask": {
    div: (node, [x, y]) => {
      const right = f32Of(y).map((v) => (v === 0 ? 1 : v));
      return exact.div(node, [x!, { element: "f32", shape: y!.shape, data: right }]);
    },
    select: (node, [mask, yes, no]) => exact.select(node, [anyBool(mask!), yes!, no!]),
  },
  "failure-of-last-row": Object.fromEntries(
    (["add", "mul", "div"] as const).map((op) => [op, lastFailure(op)]),
  ),
  "failure-before-index": {
    "cross-entropy": (node, [logits, targets]) => {
      const clamped = i32Of(targets).map((t) => Math.min(t, rowLength(logits!.shape) - 1));
      const values = { element: "i32", shape: targets!.shape, data: clamped } as const;
      const outcome = exact["cross-entropy"](node, [logits!, values]);
      return "failure" in outcome ? outcome : exact["cross-entropy"](node, [logits!, targets!]);
    },
  },
  ...Object.fromEntries(
    (["exp", "log", "tanh", "erf", "gelu", "rsqrt", "sigmoid"] as const).map((op) => [
      `${op}-of-library`,
      { [op]: unaryInFloat(op) },
    ]),
  ),
  "gelu-forms-swapped": {
    gelu: (node, inputs) => exact["gelu-tanh"]({ ...node, op: "gelu-tanh" }, inputs),
  },
};

const CONTROLS: Readonly<Record<string, Partial<GraphOps>>> = {
  "quantize-control": { quantize: quantizeBy(nearest) },
  "grid-add-control": {
    "grid-add": gridAddBy((low, high) => [low >>> 0, (high + Math.floor(low / 2 ** 32)) | 0]),
  },
  "sum-control": {
    sum: (node, [x]) =>
      f32Reduced(
        node,
        f32Rows(x).map((row) => finite(sumOnGrid(row, node.bits))),
      ),
  },
  "matmul-control": { matmul: matmulBy(sumExactly, scaledOnce) },
  "softmax-control": { softmax: softmaxBy((row) => sharesOfPowers(row)) },
  "dropout-control": { dropout: dropoutBy((i) => i, exactScale) },
  "binary64-control": {
    sqrt: unaryInFloat("sqrt"),
    div: (node, [x, y]) => {
      const right = f32Of(y);
      return f32Result(
        node,
        Array.from(f32Of(x), (v, i) => finite(v / right[i]!)),
      );
    },
  },
};
