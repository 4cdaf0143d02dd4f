// Conformance cases of whole small models: what the ops are for, and where a fault of one would hide in the
// next.

import { rotarySteps } from "gyrotron/numerics";
import type { BinaryOp, Window } from "gyrotron/tensor";
import {
  f32Type,
  graphCase,
  type GraphCase,
  type GraphDraft,
  i64Type,
  list,
  type Value,
} from "./draft.ts";

const EPSILON = Math.fround(1e-5);

/** Cases of many ops. */
export function modelCases(): GraphCase[] {
  return [
    graphCase("model/perceptron", (d) => {
      const x = d.f32([5, 10]);
      const hidden = d.like({ op: "gelu" }, linear(d, x, 12, "w8a14"));
      const logits = linear(d, d.like({ op: "tanh" }, hidden), 7, "w14a14");
      loss(d, logits, d.i32([5], [0, 6, 3, 3, 1]));
    }),
    graphCase("model/convolution", (d) => {
      const plane = convolve(d, d.f32([2, 6, 5, 2]), [3, 3], [1, 1], 4);
      const active = d.like({ op: "relu" }, plane);
      // Pooling: the maximum of each window of a channel.
      const pool: Window = { kernel: [2, 2], stride: [2, 2], dilation: [1, 1], padding: [0, 0] };
      const lowest = -3.4028234663852886e38;
      const cells = d.node(
        { op: "patches", window: pool, value: lowest },
        [active],
        f32Type([2, 3, 2, 2, 2, 4]),
      );
      const last = d.reshape(d.transpose(cells, 0, 1, 2, 5, 3, 4), [2, 3, 2, 4, 4]);
      const pooled = d.node({ op: "reduce-max" }, [last], f32Type([2, 3, 2, 4]));
      linear(d, d.reshape(pooled, [2, 24]), 3, "w8a14");
    }),
    graphCase("model/transformer", (d) => transformer(d)),
    graphCase("model/open-attention", (d) => {
      // Attention spelled out with softmax: another function than the fused op, with its own bits.
      const [q, k, v] = list(3, () => d.f32([2, 5, 8])) as [Value, Value, Value];
      const scores = d.matmul(d.quantize(q, 14), d.quantize(k, 14));
      const shares = d.like({ op: "softmax", causal: true }, scores);
      d.matmul(d.quantize(shares, 14), d.quantize(d.transpose(v, 0, 2, 1), 14));
    }),
    graphCase("model/training-step", (d) => trainingStep(d)),
  ];
}

/** `x W + b` with weights of the case. */
function linear(d: GraphDraft, x: Value, outputs: number, precision: "w8a14" | "w14a14"): Value {
  const inputs = x.type.shape.at(-1)!;
  const scale = d.constant({
    element: "f32",
    shape: [outputs, inputs],
    data: d.draw.spread(outputs * inputs, 118, 125),
  });
  const weights = d.pack(scale, precision === "w8a14" ? 8 : 14);
  const product = d.matmul(d.quantize(x, 14), weights);
  const shape = product.type.shape;
  const bias = d.f32(
    shape.map((_, axis) => (axis === shape.length - 1 ? outputs : 1)),
    d.draw.moderate(outputs),
  );
  return zip(d, "add", product, d.broadcast(bias, shape));
}

function zip(d: GraphDraft, op: BinaryOp, left: Value, right: Value): Value {
  return d.like({ op }, left, right);
}

/** Cross entropy of each row, and the mean of all. */
function loss(d: GraphDraft, logits: Value, targets: Value): Value {
  const each = d.node({ op: "cross-entropy" }, [logits, targets], f32Type(targets.type.shape));
  d.node({ op: "mean", bits: 24 }, [each], f32Type([]));
  return each;
}

function convolve(
  d: GraphDraft,
  x: Value,
  kernel: readonly [number, number],
  padding: readonly [number, number],
  outputs: number,
): Value {
  const [batch, height, width, channels] = x.type.shape as [number, number, number, number];
  const window: Window = { kernel, padding, stride: [1, 1], dilation: [1, 1] };
  const size = kernel[0] * kernel[1] * channels;
  const cells = d.node(
    { op: "patches", window, value: 0 },
    [x],
    f32Type([batch, height, width, ...kernel, channels]),
  );
  const rows = d.reshape(cells, [batch * height * width, size]);
  return d.reshape(linear(d, rows, outputs, "w14a14"), [batch, height, width, outputs]);
}

function transformer(d: GraphDraft): void {
  const [batch, length, heads, groups, size] = [2, 6, 4, 2, 4];
  const width = heads * size;
  const table = d.f32([11, width]);
  const tokens = d.i32([batch, length], [1, 5, 9, 2, 10, 7, 7, 0, 3, 3, 0, 4]);
  let x = d.node({ op: "gather" }, [table, tokens], f32Type([batch, length, width]));

  const positions = d.i32(
    [batch, length],
    list(batch * length, (i) => i % length),
  );
  const steps = Array.from(rotarySteps(10000, size));
  const headed = (value: Value, count: number): Value =>
    d.reshape(value, [batch, length, count, size]);
  const turned = (value: Value): Value =>
    d.quantize(
      d.like({ op: "rotary", steps, interleaved: false, inverse: false }, value, positions),
      13,
    );
  const normed = gained(d, d.like({ op: "rms-norm", epsilon: EPSILON }, x));
  const q = turned(headed(linear(d, normed, width, "w8a14"), heads));
  const k = turned(headed(linear(d, normed, groups * size, "w8a14"), groups));
  const v = d.quantize(headed(linear(d, normed, groups * size, "w8a14"), groups), 13);
  const attended = d.node(
    { op: "attention", causal: true },
    [q, k, v],
    f32Type([batch, length, heads, size]),
  );
  const joined = d.reshape(attended, [batch, length, width]);
  x = zip(d, "add", x, linear(d, joined, width, "w8a14"));

  const second = gained(d, d.like({ op: "layer-norm", epsilon: EPSILON }, x));
  const gate = d.like({ op: "silu" }, linear(d, second, 20, "w8a14"));
  const product = zip(d, "mul", gate, linear(d, second, 20, "w8a14"));
  x = zip(d, "add", x, linear(d, product, width, "w8a14"));
  const logits = d.reshape(linear(d, x, 11, "w8a14"), [batch * length, 11]);
  loss(
    d,
    logits,
    d.i32(
      [batch * length],
      list(12, (i) => (i * 7) % 11),
    ),
  );
}

function gained(d: GraphDraft, x: Value): Value {
  const { shape } = x.type;
  const gain = d.f32(
    shape.map((size, axis) => (axis === shape.length - 1 ? size : 1)),
    d.draw.moderate(shape.at(-1)!),
  );
  return zip(d, "mul", x, d.broadcast(gain, shape));
}

/** One layer, its loss, its gradient on a grid, and the step; the dense and the one-hot part go apart. */
function trainingStep(d: GraphDraft): void {
  const [rows, inputs, outputs] = [9, 6, 5];
  const [x, weights] = [d.f32([rows, inputs]), d.f32([outputs, inputs])];
  const logits = d.matmul(d.quantize(x, 14), d.quantize(weights, 14));
  const indices = list(rows, (i) => (i * 3) % outputs);
  const targets = d.i32([rows], indices);
  loss(d, logits, targets);
  const shares = d.like({ op: "softmax", causal: false }, logits);
  const grid = d.i32([], [-30]);
  const dense = d.node(
    { op: "matmul-grid" },
    [d.quantize(d.transpose(shares, 1, 0), 14), d.quantize(d.transpose(x, 1, 0), 14), grid],
    i64Type([outputs, inputs]),
  );
  const hot = d.node({ op: "scatter-add" }, [x, targets], f32Type([outputs, inputs]));
  const hotOnGrid = d.node(
    { op: "to-grid" },
    [d.like({ op: "neg" }, hot), grid],
    i64Type([outputs, inputs]),
  );
  const sum = d.like({ op: "grid-add" }, dense, hotOnGrid);
  const gradient = d.node({ op: "from-grid" }, [sum, grid], f32Type([outputs, inputs]));
  const rate = d.broadcast(d.f32([1, 1], [2 ** -6]), [outputs, inputs]);
  zip(d, "sub", weights, zip(d, "mul", gradient, rate));
  // What goes on to the layer below: the share of all columns, less the column of the target.
  const through = d.matmul(d.quantize(shares, 14), d.quantize(d.transpose(weights, 1, 0), 14));
  const taken = d.node({ op: "gather" }, [weights, targets], f32Type([rows, inputs]));
  zip(d, "sub", through, taken);
}
