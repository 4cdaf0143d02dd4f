// A graph that has every op once or more; for tests only.

import { addDims } from "./dimension.ts";
import { GraphBuilder } from "./builder.ts";
import type { Graph } from "./graph.ts";
import { hostF32 } from "./host-tensor.ts";
import { bool, f32, i32 } from "./op-builder.ts";
import type { CompareOp, UnaryOp } from "./op.ts";
import { UNARY_OPS } from "./op-list.ts";

/** A graph of every op, with two sizes open. */
export function everyOpGraph(): Graph {
  const g = new GraphBuilder();
  const n = g.symbol("n", 6);
  const past = g.symbol("past", 7);
  const x = g.input("x", f32(n, 4));
  const all = [...UNARY_OPS].map((op) => g.unary(op as UnaryOp, x));
  g.output("unary", g.concat(all, 0));
  const sums = g.div(g.max(g.min(g.sub(g.mul(g.add(x, 1), x), 2), 3), -1), g.full([4], 2));
  const mask = g.or(g.and(g.less(x, sums), g.equal(x, sums)), g.not(compare(g, "less-or-equal")));
  g.output("select", g.select(mask, sums, g.convert(mask, "f32")));
  const rows = g.transpose(g.slice(g.pad(x, { low: [1, 0] }), 1, 0, 2), [1, 0]);
  g.output("layout", rows);
  const index = g.add(g.iota([n], 0), g.input("first", i32()));
  g.output("gather", g.scatterAdd(g.gather(x, index), index, n));
  g.output("take", g.takeAlong(x, g.topK(x, 2).indices));
  const image = g.input("image", f32(1, 4, 4, 2));
  const patches = g.patches(image, 2, { padding: 1, stride: [2, 1] });
  const window = { kernel: [2, 2], stride: [2, 1], dilation: [1, 1], padding: [1, 1] } as const;
  g.output("fold", g.node({ op: "fold", window }, [patches], f32(1, 4, 4, 2)));
  g.output("sums", g.add(g.sum(x, { axis: 1 }), g.mean(x, { axis: 1, bits: 16 })));
  g.output("spread", g.add(g.variance(x, { axis: 1 }), g.reduceMax(x, { axis: 1 })));
  g.output("norms", g.add(g.rmsNorm(x), g.layerNorm(x, { epsilon: 0 })));
  const target = g.argmax(x);
  g.output("loss", g.crossEntropy(g.logSoftmax(g.softmax(x)), target));
  const weights = g.quantizeColumns(g.constant(hostF32([2, 4], [1, 2, 3, 4, 5, 6, 7, 8])), 8);
  g.output("product", g.matmul(x, weights, { transposeB: true }));
  g.output("wide", g.dequantize(weights));
  const exponent = g.input("exponent", i32());
  const grid = g.matmulGrid(g.quantize(x), weights, exponent);
  const onGrid = g.toGrid(g.input("y", f32(n, 2)), exponent);
  g.output("grid", g.fromGrid(g.gridAdd(grid, onGrid), exponent));
  const heads = g.input("heads", f32(1, n, 2, 4));
  const positions = g.repeat(g.reshape(g.positions(exponent, n), [1, n]), [1, n]);
  const turned = g.rotary(heads, positions, { steps: [1, 2 ** 32 - 1], interleaved: true });
  const keys = g.cache("keys", past, g.slice(turned, 2, 0, 1));
  g.output("attention", g.attention(turned, keys, keys, { causal: true }));
  g.output("unfused", g.attentionUnfused(turned, keys, keys));
  const key = g.randomKey("key");
  const noise = g.randomBits(key, [addDims(n, 1)]);
  g.output("noise", noise);
  g.output("dropout", g.dropout(x, key, 32_768));
  const streams = g.input("streams", i32(n, 4));
  g.output("sample", g.sample(x, streams, { temperature: 65_536, topK: 3, topP: 60_000 }));
  return g.build();
}

function compare(g: GraphBuilder, op: CompareOp): ReturnType<GraphBuilder["not"]> {
  const flags = g.input("flags", bool(g.symbol("n", 6), 4));
  const x = g.convert(flags, "i32");
  return g.node({ op }, [x, x]);
}
