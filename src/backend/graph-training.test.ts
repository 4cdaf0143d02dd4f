// Goal: a graph that holds model, gradient and optimizer learns, with the same bits on every backend, and gradients
// of micro-batches on a grid add up to the same bits however they are dealt out.

import { deepEqual, equal, notDeepEqual, ok } from "node:assert/strict";
import test from "node:test";
import { present } from "gyrotron/base";
import {
  differentiate,
  f32,
  type Graph,
  type GraphBackend,
  GraphBuilder,
  gradients,
  gridSum,
  hostF32,
  hostI32,
  type HostTensor,
  i32,
  runGraph,
  type RunInputs,
  type Value,
} from "gyrotron/tensor";
import { createReferenceBackend, createWasmBackend } from "./index.ts";

const HIDDEN = 8;

/** One step of gradient descent on exclusive or: parameters are states that the step updates. */
function stepGraph(): Graph {
  const g = new GraphBuilder();
  const x = g.input("x", f32(4, 2));
  const targets = g.input("targets", i32(4));
  const states: [string, Value][] = [
    ["w1", g.state("w1", f32(HIDDEN, 2))],
    ["b1", g.state("b1", f32(HIDDEN))],
    ["w2", g.state("w2", f32(2, HIDDEN))],
    ["b2", g.state("b2", f32(2))],
  ];
  const [w1, b1, w2, b2] = states.map(([, value]) => value);
  const hidden = g.tanh(g.linear(x, w1!, { bias: b1! }));
  const loss = g.mean(g.crossEntropy(g.linear(hidden, w2!, { bias: b2! }), targets));
  g.output("loss", loss);
  const slopes = differentiate(
    g,
    loss,
    states.map(([, value]) => value),
  );
  for (const [i, [name, value]] of states.entries()) {
    g.output(`next.${name}`, g.sub(value, g.mul(slopes[i]!, 0.5)), { updates: name });
  }
  return g.build();
}

function firstInputs(): Record<string, HostTensor> {
  const spread = (shape: readonly number[], seed: number): HostTensor => {
    const count = shape.reduce((n, size) => n * size, 1);
    return hostF32(
      shape,
      Array.from({ length: count }, (_, i) => ((i * 29 + seed) % 17) / 8 - 1),
    );
  };
  return {
    x: hostF32([4, 2], [0, 0, 0, 1, 1, 0, 1, 1]),
    targets: hostI32([4], [0, 1, 1, 0]),
    w1: spread([HIDDEN, 2], 3),
    b1: spread([HIDDEN], 5),
    w2: spread([2, HIDDEN], 7),
    b2: spread([2], 11),
  };
}

async function train(backend: GraphBackend, steps: number): Promise<RunInputs> {
  const graph = stepGraph();
  let inputs: RunInputs = firstInputs();
  for (let i = 0; i < steps; i++) {
    const outputs = await runGraph(backend, graph, inputs);
    const next = graph.outputs.flatMap(({ name, updates }) =>
      updates === undefined ? [] : [[updates, present(outputs[name])] as const],
    );
    inputs = { ...inputs, ...Object.fromEntries(next), loss: present(outputs["loss"]) };
  }
  return inputs;
}

test("exclusive or is learned", async () => {
  const backend = await createWasmBackend();
  const first = await train(backend, 1);
  const last = await train(backend, 150);
  ok(Number(present(first["loss"]).data[0]) > 0.5);
  ok(Number(present(last["loss"]).data[0]) < 0.05, String(present(last["loss"]).data[0]));
  await backend.close();
});

test("twelve steps of training have the same bits on both backends", async () => {
  const backend = await createWasmBackend();
  deepEqual(await train(backend, 12), await train(createReferenceBackend(), 12));
  await backend.close();
});

/** The gradient of a small classifier on a grid, for one unit of rows. */
function unitGraph(): Graph {
  const g = new GraphBuilder();
  const rows = g.symbol("rows", 8);
  const logits = g.linear(g.input("x", f32(rows, 6)), g.parameter("w", f32(4, 6)), {
    bias: g.parameter("b", f32(4)),
  });
  g.output("loss", g.sum(g.crossEntropy(logits, g.input("targets", i32(rows)))));
  return gradients(g.build(), "loss", ["w", "b"], { grid: true });
}

test("units may be dealt out to workers in any way", async () => {
  const backend = await createWasmBackend();
  const graph = unitGraph();
  const adder = gridSum({ w: [4, 6], b: [4] });
  const units: RunInputs[] = [];
  for (let unit = 0; unit < 6; unit++) {
    const rows = (unit % 3) + 1;
    const numbers = Array.from({ length: rows * 6 }, (_, i) => Math.sin(i * 7 + unit) * 2 ** unit);
    const outputs = await runGraph(backend, graph, {
      x: hostF32([rows, 6], numbers),
      targets: hostI32(
        [rows],
        Array.from({ length: rows }, (_, i) => (i + unit) % 4),
      ),
      w: hostF32(
        [4, 6],
        Array.from({ length: 24 }, (_, i) => Math.cos(i)),
      ),
      b: hostF32([4], [1, 2, 3, 4]),
      "grid.w": hostI32([], [-30]),
      "grid.b": hostI32([], [-30]),
    });
    units.push(outputs);
  }
  const add = async (left: RunInputs, right: RunInputs): Promise<RunInputs> =>
    runGraph(backend, adder, {
      "left.w": present(left["gradient.w"]),
      "left.b": present(left["gradient.b"]),
      "right.w": present(right["gradient.w"]),
      "right.b": present(right["gradient.b"]),
    });
  const sum = async (order: readonly number[], workers: number): Promise<RunInputs> => {
    const shares = Array.from({ length: workers }, (_, worker) =>
      order.filter((_unit, i) => i % workers === worker).map((unit) => units[unit]!),
    );
    const totals: RunInputs[] = [];
    for (const [first, ...rest] of shares) {
      let total = present(first);
      for (const unit of rest) total = await add(total, unit);
      totals.push(total);
    }
    let total = present(totals[0]);
    for (const other of totals.slice(1)) total = await add(total, other);
    return { w: present(total["gradient.w"]), b: present(total["gradient.b"]) };
  };
  const alone = await sum([0, 1, 2, 3, 4, 5], 1);
  for (const [order, workers] of [
    [[5, 4, 3, 2, 1, 0], 1],
    [[0, 1, 2, 3, 4, 5], 2],
    [[3, 0, 5, 1, 4, 2], 3],
    [[2, 1, 0, 5, 4, 3], 6],
  ] as const) {
    deepEqual(await sum(order, workers), alone);
  }
  // The same sums in f32 depend on the order: this is what the grid is for.
  const floats = (order: readonly number[]): number[] => {
    const total = new Float32Array(24);
    for (const unit of order) {
      const { data } = present(units[unit]!["gradient.w"]);
      for (let i = 0; i < 24; i++) total[i]! += Math.fround(Number(data[i]!) * 2 ** -30);
    }
    return [...total];
  };
  notDeepEqual(floats([0, 1, 2, 3, 4, 5]), floats([5, 4, 3, 2, 1, 0]));
  equal(units.length, 6);
  await backend.close();
});
