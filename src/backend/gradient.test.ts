// Goal: every gradient rule is the derivative of its op. Method: the gradient graph runs exactly on the oracle;
// the loss is read in binary64 and differentiated numerically, element by element; the formats set the tolerance.

import { deepEqual, ok } from "node:assert/strict";
import test from "node:test";
import { present } from "gyrotron/base";
import {
  f32,
  type Graph,
  GraphBuilder,
  gradients,
  GRADIENT_OPS,
  hostF32,
  hostI32,
  type HostTensor,
  prepareRun,
  type ResolvedGraph,
  type RunInputs,
  type Value,
} from "gyrotron/tensor";
import { interpretNode } from "./float64/interpret.ts";
import { type FloatTensor, floatOf } from "./float64/tensor.ts";
import { createReferenceBackend } from "./index.ts";

/** What a case builds its loss from. */
interface Make {
  readonly g: GraphBuilder;
  /** A parameter with values from -1 to 1, or in the range given. */
  x(shape: readonly number[], range?: readonly [number, number]): Value;
  /** Fixed integers. */
  i(shape: readonly number[], data: readonly number[]): Value;
}

interface Case {
  readonly name: string;
  build(make: Make): Value;
  /** Allowed error, as a share of the largest derivative of an input. */
  readonly tolerance?: number;
}

/** Derivatives of one element are asked for unlike weights, so that no error cancels. */
function weighed(g: GraphBuilder, value: Value): Value {
  const shape = value.shape.map((size) => present(size.terms[0]?.coefficient ?? 0));
  const count = shape.reduce((n, size) => n * size, 1);
  const weights = Array.from({ length: count }, (_, i) => 0.5 + ((i * 7) % 5) / 4);
  return g.sum(g.mul(value, g.constant(hostF32(shape, weights))));
}

const unary: readonly [string, readonly [number, number]][] = [
  ["neg", [-1, 1]],
  ["abs", [-1, 1]],
  ["sqrt", [0.5, 2]],
  ["rsqrt", [0.5, 2]],
  ["exp", [-2, 2]],
  ["exp2", [-2, 2]],
  ["log", [0.5, 3]],
  ["tanh", [-2, 2]],
  ["sigmoid", [-3, 3]],
  ["erf", [-2, 2]],
  ["gelu", [-3, 3]],
  ["gelu-tanh", [-3, 3]],
  ["silu", [-4, 4]],
  ["relu", [-1, 1]],
];

const cases: readonly Case[] = [
  ...unary.map(([op, range]): Case => ({
    name: op,
    build: ({ g, x }) => weighed(g, g.node({ op: op as "neg" }, [x([3, 4], range)])),
  })),
  ...(["add", "sub", "mul", "div", "min", "max"] as const).map((op): Case => ({
    name: `${op} that broadcasts`,
    build: ({ g, x }) => weighed(g, g[op](x([2, 3], [0.5, 2]), x([3], [0.5, 2]))),
  })),
  {
    name: "select",
    build: ({ g, x, i }) => {
      const mask = g.equal(i([2, 3], [0, 1, 1, 0, 1, 0]), 1);
      return weighed(g, g.select(mask, x([2, 3]), x([1, 3])));
    },
  },
  {
    name: "dropout",
    build: ({ g, x, i }) => weighed(g, g.dropout(x([4, 5]), i([4], [1, 2, 3, 4]), 40_000)),
  },
  {
    name: "reshape, transpose",
    build: ({ g, x }) => {
      const y = g.transpose(g.reshape(x([2, 6]), [3, 2, 2]), [2, 0, 1]);
      return weighed(g, g.mul(y, y));
    },
  },
  { name: "slice", build: ({ g, x }) => weighed(g, g.slice(x([3, 7]), 1, 1, 3, 2)) },
  {
    name: "pad",
    build: ({ g, x }) => {
      const y = g.pad(x([2, 3]), { low: [1, 2], high: [0, 1], interior: [0, 1], value: 3 });
      return weighed(g, g.mul(y, y));
    },
  },
  { name: "concat", build: ({ g, x }) => weighed(g, g.concat([x([2, 2]), x([2, 3])], 1)) },
  {
    name: "gather with an index twice",
    build: ({ g, x, i }) => weighed(g, g.gather(x([4, 3]), i([2, 2], [1, 3, 1, 0]))),
  },
  {
    name: "scatter-add",
    build: ({ g, x, i }) => weighed(g, g.scatterAdd(x([4, 2]), i([4], [2, 0, 2, 1]), 3)),
  },
  {
    name: "take-along, one of each row",
    build: ({ g, x, i }) => weighed(g, g.takeAlong(x([3, 4]), i([3, 1], [2, 0, 3]))),
  },
  {
    name: "take-along, several",
    build: ({ g, x, i }) => weighed(g, g.takeAlong(x([2, 4]), i([2, 3], [2, 0, 2, 3, 1, 0]))),
  },
  {
    name: "patches",
    build: ({ g, x }) => {
      const options = { stride: [2, 1], dilation: [1, 2], padding: [1, 0] } as const;
      return weighed(g, g.patches(x([1, 4, 5, 2]), [3, 2], options));
    },
  },
  {
    name: "fold",
    build: ({ g, x }) => {
      const window = { kernel: [2, 2], stride: [1, 1], dilation: [1, 1], padding: [0, 0] } as const;
      const patches = x([1, 2, 3, 2, 2, 1]);
      return weighed(g, g.node({ op: "fold", window }, [patches], f32(1, 3, 4, 1)));
    },
  },
  { name: "sum", build: ({ g, x }) => weighed(g, g.sum(x([2, 3, 2]), { axis: 1 })) },
  { name: "mean", build: ({ g, x }) => weighed(g, g.mean(x([2, 3, 2]), { axis: [0, 2] })) },
  { name: "variance", build: ({ g, x }) => weighed(g, g.variance(x([3, 5]), { axis: -1 })) },
  { name: "reduce-max", build: ({ g, x }) => weighed(g, g.reduceMax(x([3, 5]), { axis: 0 })) },
  { name: "top-k", build: ({ g, x }) => weighed(g, g.topK(x([3, 5]), 2).values) },
  {
    name: "rms-norm",
    build: ({ g, x }) => weighed(g, g.rmsNorm(x([3, 8]), { gain: x([8]), epsilon: 1e-3 })),
  },
  {
    name: "layer-norm",
    build: ({ g, x }) => {
      return weighed(g, g.layerNorm(x([3, 8]), { gain: x([8]), bias: x([8]), epsilon: 1e-3 }));
    },
  },
  { name: "softmax", build: ({ g, x }) => weighed(g, g.softmax(x([3, 5], [-2, 2]))) },
  {
    name: "causal softmax",
    build: ({ g, x }) => weighed(g, g.softmax(x([2, 3, 5], [-2, 2]), { causal: true })),
  },
  { name: "log-softmax", build: ({ g, x }) => weighed(g, g.logSoftmax(x([3, 5], [-2, 2]))) },
  {
    name: "log-softmax and the target taken",
    build: ({ g, x, i }) => {
      return weighed(g, g.takeAlong(g.logSoftmax(x([3, 5], [-2, 2])), i([3, 1], [1, 0, 4])));
    },
  },
  {
    name: "cross-entropy",
    build: ({ g, x, i }) => weighed(g, g.crossEntropy(x([3, 5], [-2, 2]), i([3], [1, 0, 4]))),
  },
  {
    name: "cross-entropy of a linear layer with bias, targets twice",
    build: ({ g, x, i }) => {
      const logits = g.linear(x([4, 6]), x([5, 6]), { bias: x([5]) });
      return weighed(g, g.crossEntropy(logits, i([4], [1, 0, 4, 1])));
    },
  },
  {
    name: "matmul, shared right operand",
    build: ({ g, x }) => weighed(g, g.matmul(x([2, 3, 4]), x([4, 5]))),
  },
  {
    name: "matmul, batched and broadcast",
    build: ({ g, x }) => {
      const y = g.matmul(x([2, 3, 4, 5]), x([3, 4, 6]), { transposeA: true });
      return weighed(g, g.mul(y, y));
    },
    tolerance: 4e-3,
  },
  {
    name: "quantize and dequantize",
    build: ({ g, x }) => weighed(g, g.dequantize(g.quantizeColumns(x([3, 4]), 14))),
  },
  {
    name: "rotary",
    build: ({ g, x, i }) => {
      const steps = [683_565_276, 68_356_528];
      const y = g.rotary(x([2, 3, 4]), i([2], [1, 5]), { steps });
      const z = g.rotary(x([2, 3, 4]), i([2], [1, 5]), { steps, interleaved: true, inverse: true });
      return g.add(weighed(g, y), weighed(g, z));
    },
  },
  {
    name: "attention, grouped heads, causal",
    build: ({ g, x }) => {
      const y = g.attention(x([2, 3, 4, 4]), x([2, 5, 2, 4]), x([2, 5, 2, 4]), { causal: true });
      return weighed(g, y);
    },
    tolerance: 4e-3,
  },
  {
    name: "attention to all",
    build: ({ g, x }) => weighed(g, g.attention(x([1, 2, 1, 8]), x([1, 3, 1, 8]), x([1, 3, 1, 8]))),
    tolerance: 4e-3,
  },
  {
    name: "convolution and pooling",
    build: ({ g, x }) => {
      const y = g.relu(g.conv2d(x([1, 5, 5, 2]), x([3, 2, 2, 2]), { padding: 1, bias: x([3]) }));
      const pooled = g.maxPool(y, 2);
      return g.add(weighed(g, pooled), weighed(g, g.avgPool(y, [3, 2])));
    },
    tolerance: 4e-3,
  },
  {
    name: "a value used three times",
    build: ({ g, x }) => {
      const a = x([2, 3]);
      return g.sum(g.add(g.mul(a, a), g.sub(a, g.exp(a))));
    },
  },
];

for (const sample of cases) {
  test(`the gradient of ${sample.name} is the derivative`, async () => {
    const { graph, inputs, names } = makeGraph(sample);
    const exact = await gradientsOf(graph, inputs, names);
    const loss = await readLoss(graph, inputs);
    for (const name of names) {
      const expected = differentiateNumerically(loss, inputs, name);
      const largest = expected.reduce((max, v) => Math.max(max, Math.abs(v)), 0);
      ok(largest > 1e-3, `${name}: the case says nothing`);
      const actual = present(exact[name]);
      deepEqual(actual.length, expected.length);
      const error = expected.reduce((max, v, i) => Math.max(max, Math.abs(v - actual[i]!)), 0);
      ok(
        error <= (sample.tolerance ?? 2e-3) * largest,
        `${name}: off by ${error / largest}\n${[...actual].join(" ")}\n${expected.join(" ")}`,
      );
    }
  });
}

test("a thousand unlikely classes keep their gradients beside the target's", async () => {
  // Were P - onehot quantized as one row, its largest value 1 would leave 14 bits no room for 1/4096.
  const classes = 4_096;
  const g = new GraphBuilder();
  const weights = g.parameter("w", f32(classes, 2));
  const logits = g.linear(g.input("x", f32(1, 2)), weights);
  g.output("loss", g.sum(g.crossEntropy(logits, g.constant(hostI32([1], [7])))));
  const x = [0.75, -0.5];
  const w = Array.from({ length: classes * 2 }, (_, i) => ((i * 37) % 64) / 64);
  const inputs = { x: hostF32([1, 2], x), w: hostF32([classes, 2], w) };
  const slopes = present((await gradientsOf(g.build(), inputs, ["w"]))["w"]);
  const powers = Array.from({ length: classes }, (_, v) => {
    return Math.exp(w[2 * v]! * x[0]! + w[2 * v + 1]! * x[1]!);
  });
  const sum = powers.reduce((a, b) => a + b);
  let worst = 0;
  for (const [v, power] of powers.entries()) {
    const expected = (power / sum - (v === 7 ? 1 : 0)) * x[0]!;
    worst = Math.max(worst, Math.abs(slopes[2 * v]! / expected - 1));
  }
  ok(worst < 1e-3, `off by ${worst}`);
});

test("the cases meet every op that has a gradient", () => {
  const met = new Set(
    cases.flatMap((sample) => makeGraph(sample).graph.nodes.map(({ op }) => op as string)),
  );
  deepEqual(
    GRADIENT_OPS.filter((op) => !met.has(op)),
    [],
  );
});

function makeGraph(sample: Case): { graph: Graph; inputs: RunInputs; names: string[] } {
  const g = new GraphBuilder();
  const inputs: Record<string, HostTensor> = {};
  const names: string[] = [];
  let state = 12_345;
  const random = (): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    return (state >> 8) / 2 ** 23;
  };
  const loss = sample.build({
    g,
    x(shape, [low, high] = [-1, 1]) {
      const name = `x${names.length}`;
      names.push(name);
      const count = shape.reduce((n, size) => n * size, 1);
      const data = Array.from({ length: count }, () => low + (high - low) * random());
      inputs[name] = hostF32(shape, data);
      return g.parameter(name, f32(...shape));
    },
    i: (shape, data) => g.constant(hostI32(shape, data)),
  });
  g.output("loss", loss);
  return { graph: g.build(), inputs, names };
}

test("a batch of any size may be empty: its gradients are zeros of the weights' shapes", async () => {
  const g = new GraphBuilder();
  const batch = g.symbol("batch", 8);
  const x = g.input("x", f32(batch, 3), "parameter");
  const inner = g.input("inner", f32(4, 3), "parameter");
  const outer = g.input("outer", f32(2, 4), "parameter");
  const hidden = g.layerNorm(g.relu(g.matmul(x, g.transpose(inner, [1, 0]))), {});
  g.output("loss", g.sum(g.matmul(hidden, g.transpose(outer, [1, 0]))));
  const graph = g.build();
  const inputs = {
    x: hostF32([0, 3], []),
    inner: hostF32(
      [4, 3],
      Array.from({ length: 12 }, (_, i) => i - 5),
    ),
    outer: hostF32(
      [2, 4],
      Array.from({ length: 8 }, (_, i) => 3 - i),
    ),
  };
  const found = await gradientsOf(graph, inputs, ["x", "inner", "outer"]);
  deepEqual(found, { x: [], inner: zeros(12), outer: zeros(8) });
});

function zeros(count: number): number[] {
  return Array.from({ length: count }, () => 0);
}

/** Inputs as binary64 numbers: a step may be smaller than an f32 can show. */
type Numbers = Readonly<
  Record<string, { shape: readonly number[]; data: HostTensor["data"] | Float64Array }>
>;

async function gradientsOf(
  graph: Graph,
  inputs: RunInputs,
  names: readonly string[],
): Promise<Record<string, number[]>> {
  const prepared = prepareRun(gradients(graph, "loss", names), inputs);
  const result = await createReferenceBackend().runGraph(prepared.graph, prepared.inputs);
  ok(result.failure === undefined, "the run fails");
  return Object.fromEntries(
    names.map((name) => {
      const { data } = present(result.outputs[`gradient.${name}`]);
      return [name, Array.from(data, Number)];
    }),
  );
}

/** The loss in binary64 as a function of the inputs; integers are those of the exact run. */
async function readLoss(graph: Graph, inputs: RunInputs): Promise<(inputs: Numbers) => number> {
  const prepared = prepareRun(graph, inputs);
  const backend = createReferenceBackend();
  const result = await backend.runGraph(prepared.graph, prepared.inputs, { trace: true });
  ok(result.failure === undefined && result.trace !== undefined, "the run fails");
  const { trace } = result;
  return (changed) => interpret(prepared.graph, changed, trace);
}

function interpret(graph: ResolvedGraph, inputs: Numbers, trace: readonly HostTensor[]): number {
  const values: FloatTensor[] = [];
  for (const [i, node] of graph.nodes.entries()) {
    if (node.op === "input") {
      const { shape, data } = present(inputs[node.name]);
      values.push({ shape, data: Float64Array.from(Array.from<number | bigint>(data), Number) });
    } else if (node.op === "constant") values.push(floatOf(node.value));
    else {
      const operands = node.inputs.map((input) => values[input]!);
      values.push(interpretNode(node, operands, present(trace[i])));
    }
  }
  return values[present(graph.outputs[0]).node]!.data[0]!;
}

function differentiateNumerically(
  loss: (inputs: Numbers) => number,
  inputs: RunInputs,
  name: string,
): number[] {
  const step = 1e-5;
  const { shape, data } = present(inputs[name]);
  const at = (i: number, by: number): number => {
    const changed = Float64Array.from(Array.from<number | bigint>(data), Number);
    changed[i]! += by;
    return loss({ ...inputs, [name]: { shape, data: changed } });
  };
  return Array.from<unknown, number>(data, (_, i) => (at(i, step) - at(i, -step)) / (2 * step));
}
