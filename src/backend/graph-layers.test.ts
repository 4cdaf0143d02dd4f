// Goal: the friendly forms of the graph builder mean what engineers expect of them. Method: each is run on the
// oracle and compared with loops over numbers, on values for which the exact result is one number.

import { deepEqual, equal, ok } from "node:assert/strict";
import test from "node:test";
import { present } from "gyrotron/base";
import {
  f32,
  GraphBuilder,
  hostBool,
  hostF32,
  hostI32,
  type HostTensor,
  i32,
  runGraph,
  type Value,
} from "gyrotron/tensor";
import { createReferenceBackend } from "./index.ts";

const oracle = createReferenceBackend();

/** The numbers of a value built from constants. */
async function evaluate(build: (g: GraphBuilder) => Value): Promise<number[]> {
  const g = new GraphBuilder();
  g.output("y", build(g));
  const { y } = await runGraph(oracle, g.build(), {});
  return Array.from(present(y).data, Number);
}

/** A constant of small integers, which all formats hold exactly. */
function small(g: GraphBuilder, shape: readonly number[], seed = 1): Value {
  return g.constant(hostF32(shape, numbers(shape, seed)));
}

function numbers(shape: readonly number[], seed = 1): number[] {
  const count = shape.reduce((n, size) => n * size, 1);
  return Array.from({ length: count }, (_, i) => ((i * 7 + seed * 5) % 13) - 6);
}

function counted<T>(count: number, body: (i: number) => T): T[] {
  return Array.from({ length: count }, (_, i) => body(i));
}

test("operands broadcast as in numpy, and numbers stand for scalars", async () => {
  const x = numbers([2, 3]);
  const y = numbers([3], 2);
  deepEqual(
    await evaluate((g) => g.add(small(g, [2, 3]), small(g, [3], 2))),
    x.map((v, i) => v + y[i % 3]!),
  );
  deepEqual(
    await evaluate((g) => g.sub(small(g, [2, 1]), small(g, [3], 2))),
    counted(6, (i) => numbers([2, 1])[Math.floor(i / 3)]! - y[i % 3]!),
  );
  deepEqual(
    await evaluate((g) => g.mul(3, small(g, [2, 3]))),
    x.map((v) => 3 * v),
  );
  const positions = hostI32([3], [1, 2, 3]);
  deepEqual(await evaluate((g) => g.add(g.constant(positions), 10)), [11, 12, 13]);
  deepEqual(
    await evaluate((g) => g.select(g.less(small(g, [2, 3]), 0), -1, small(g, [2, 3]))),
    x.map((v) => (v < 0 ? -1 : v)),
  );
});

for (const [transposeA, transposeB] of [
  [false, false],
  [true, false],
  [false, true],
  [true, true],
] as const) {
  test(`matmul, transposed ${transposeA} and ${transposeB}, batches that broadcast`, async () => {
    const a = numbers([2, 1, 3, 4]);
    const b = numbers([5, 4, 2], 3);
    const left = (g: GraphBuilder): Value => {
      const x = small(g, [2, 1, 3, 4]);
      return transposeA ? g.swapAxes(x) : x;
    };
    const right = (g: GraphBuilder): Value => {
      const y = small(g, [5, 4, 2], 3);
      return transposeB ? g.swapAxes(y) : y;
    };
    const actual = await evaluate((g) => g.matmul(left(g), right(g), { transposeA, transposeB }));
    const expected = counted(2 * 5 * 3 * 2, (i) => {
      const [n, m, batch, outer] = [
        i % 2,
        Math.floor(i / 2) % 3,
        Math.floor(i / 6) % 5,
        Math.floor(i / 30),
      ];
      return counted(4, (k) => a[(outer * 3 + m) * 4 + k]! * b[(batch * 4 + k) * 2 + n]!).reduce(
        plus,
      );
    });
    deepEqual(actual, expected);
  });
}

test("reductions run over the axes that are named", async () => {
  const x = numbers([2, 3, 4]);
  const at = (a: number, b: number, c: number): number => x[(a * 3 + b) * 4 + c]!;
  deepEqual(
    await evaluate((g) => g.sum(small(g, [2, 3, 4]), { axis: 1 })),
    counted(8, (i) => counted(3, (b) => at(Math.floor(i / 4), b, i % 4)).reduce(plus)),
  );
  deepEqual(
    await evaluate((g) => g.sum(small(g, [2, 3, 4]), { axis: [0, -1] })),
    counted(3, (b) => counted(8, (i) => at(Math.floor(i / 4), b, i % 4)).reduce(plus)),
  );
  deepEqual(await evaluate((g) => g.sum(small(g, [2, 3, 4]))), [x.reduce(plus)]);
  deepEqual(
    await evaluate((g) => g.reduceMax(small(g, [2, 3, 4]), { axis: 0, keepDims: true })),
    counted(12, (i) => Math.max(x[i]!, x[i + 12]!)),
  );
  deepEqual(
    await evaluate((g) => g.reduceMin(small(g, [2, 3, 4]), { axis: [1, 2] })),
    counted(2, (a) => Math.min(...x.slice(a * 12, a * 12 + 12))),
  );
  const g = new GraphBuilder();
  deepEqual(g.mean(g.input("x", f32(2, 3, 4)), { axis: 1, keepDims: true }).shape.length, 3);
});

test("softmax, argmax and top-k run along any axis", async () => {
  const x = [1, 5, 3, 4, 2, 6];
  const build = (g: GraphBuilder): Value => g.constant(hostF32([3, 2], x));
  const shares = await evaluate((g) => g.sum(g.softmax(build(g), { axis: 0 }), { axis: 0 }));
  ok(shares.every((share) => Math.abs(share - 1) < 1e-4));
  deepEqual(await evaluate((g) => g.argmax(build(g), { axis: 0 })), [1, 2]);
  deepEqual(await evaluate((g) => g.topK(build(g), 2, 0).values), [3, 6, 2, 5]);
  deepEqual(await evaluate((g) => g.topK(build(g), 2, 0).indices), [1, 2, 2, 0]);
});

test("slices, padding, axes and one-hots", async () => {
  const x = numbers([3, 4]);
  deepEqual(
    await evaluate((g) => g.slice(small(g, [3, 4]), 1, 1, 2, 2)),
    [1, 3, 5, 7, 9, 11].map((i) => x[i]!),
  );
  const padding = { low: [1, 0], high: [0, 1], interior: [1, 0], value: 9 };
  deepEqual(await evaluate((g) => g.pad(small(g, [2, 1]), padding)), [
    ...[9, 9, numbers([2, 1])[0]!, 9],
    ...[9, 9, numbers([2, 1])[1]!, 9],
  ]);
  deepEqual(
    await evaluate((g) => g.moveAxisToEnd(small(g, [3, 4]), 0)),
    counted(12, (i) => x[(i % 3) * 4 + Math.floor(i / 3)]!),
  );
  const index = hostI32([2], [2, 0]);
  deepEqual(await evaluate((g) => g.oneHot(g.constant(index), 3)), [0, 0, 1, 1, 0, 0]);
  const mask: HostTensor = hostBool([2], [true, false]);
  deepEqual(await evaluate((g) => g.convert(g.not(g.constant(mask)), "i32")), [0, 1]);
  deepEqual(await evaluate((g) => g.full([2, 1], 7, "i32")), [7, 7]);
});

test("conv2d is the sum over the window", async () => {
  const [height, width, channels, outputs] = [4, 5, 2, 3];
  const x = numbers([1, height, width, channels]);
  const kernel = numbers([outputs, 3, 2, channels], 2);
  const options = { stride: [2, 1], dilation: [1, 2], padding: [1, 0] } as const;
  const actual = await evaluate((g) => {
    const image = small(g, [1, height, width, channels]);
    return g.conv2d(image, small(g, [outputs, 3, 2, channels], 2), options);
  });
  const expected: number[] = [];
  for (let oy = 0; oy < 2; oy++) {
    for (let ox = 0; ox < 3; ox++) {
      for (let o = 0; o < outputs; o++) {
        let sum = 0;
        for (let i = 0; i < 3; i++) {
          for (let j = 0; j < 2; j++) {
            const [row, column] = [oy * 2 - 1 + i, ox + j * 2];
            if (row < 0 || row >= height || column >= width) continue;
            for (let c = 0; c < channels; c++) {
              const weight = kernel[((o * 3 + i) * 2 + j) * channels + c]!;
              sum += x[(row * width + column) * channels + c]! * weight;
            }
          }
        }
        expected.push(sum);
      }
    }
  }
  deepEqual(actual, expected);
});

test("pools take the largest and the mean of windows side by side", async () => {
  const x = numbers([1, 4, 4, 1]);
  const windows = counted(4, (i) => {
    const [y, z] = [Math.floor(i / 2) * 2, (i % 2) * 2];
    return [x[y * 4 + z]!, x[y * 4 + z + 1]!, x[y * 4 + z + 4]!, x[y * 4 + z + 5]!];
  });
  deepEqual(
    await evaluate((g) => g.maxPool(small(g, [1, 4, 4, 1]), 2)),
    windows.map((window) => Math.max(...window)),
  );
  deepEqual(
    await evaluate((g) => g.avgPool(small(g, [1, 4, 4, 1]), 2)),
    windows.map((window) => window.reduce(plus) / 4),
  );
  const negative = await evaluate((g) => {
    return g.maxPool(g.constant(hostF32([1, 1, 1, 1], [-5])), 2, { padding: 1, stride: 1 });
  });
  deepEqual(negative, [-5, -5, -5, -5]);
});

test("norms with gain and bias", async () => {
  const x = [3, -1, 4, 1, -5, 9, 2, -6];
  const [gain, bias] = [hostF32([8], [1, 2, 3, 4, 5, 6, 7, 8]), hostF32([8], x)];
  const build = (g: GraphBuilder): Value => g.constant(hostF32([1, 8], x));
  const actual = await evaluate((g) => {
    return g.layerNorm(build(g), { gain: g.constant(gain), bias: g.constant(bias), epsilon: 0 });
  });
  const mean = x.reduce(plus) / 8;
  const deviation = Math.sqrt(x.map((v) => (v - mean) ** 2).reduce(plus) / 8);
  near(
    actual,
    x.map((v, i) => ((v - mean) / deviation) * (i + 1) + v),
  );
  const power = Math.sqrt(x.map((v) => v * v).reduce(plus) / 8);
  near(
    await evaluate((g) => g.rmsNorm(build(g), { gain: g.constant(gain), epsilon: 0 })),
    x.map((v, i) => (v / power) * (i + 1)),
  );
});

test("linear takes one row too, and weights that are quantized by column", async () => {
  const x = numbers([4]);
  const w = numbers([2, 4], 4);
  const expected = counted(2, (n) => counted(4, (k) => x[k]! * w[n * 4 + k]!).reduce(plus) + n);
  const bias = hostF32([2], [0, 1]);
  const run = (bits: 8 | 14 | undefined): Promise<number[]> =>
    evaluate((g) => {
      const weight = small(g, [2, 4], 4);
      const rows = bits === undefined ? weight : g.quantizeColumns(weight, bits);
      return g.linear(small(g, [4]), rows, { bias: g.constant(bias) });
    });
  deepEqual(await run(undefined), expected);
  near(await run(8), expected, 0.05);
});

test("attention unfused has the bits of the fused op, and positions count", async () => {
  const build = (g: GraphBuilder, op: "attention" | "attentionUnfused"): Value => {
    const x = (heads: number, seed: number): Value => small(g, [1, 3, heads, 4], seed);
    return g[op](x(4, 1), x(2, 2), x(2, 3), { causal: true });
  };
  const fused = await evaluate((g) => build(g, "attention"));
  deepEqual(await evaluate((g) => build(g, "attentionUnfused")), fused);
  equal(fused.length, 48);
  deepEqual(await evaluate((g) => g.positions(g.constant(hostI32([], [5])), 3)), [5, 6, 7]);
});

test("an embedding gives rows of the table", async () => {
  const g = new GraphBuilder();
  const table = g.input("table", f32(5, 2));
  g.output("y", g.embedding(table, g.input("tokens", i32(g.symbol("n", 9)))));
  const inputs = { table: hostF32([5, 2], numbers([5, 2])), tokens: hostI32([3], [4, 0, 4]) };
  const { y } = await runGraph(oracle, g.build(), inputs);
  const rows = [8, 9, 0, 1, 8, 9].map((i) => numbers([5, 2])[i]!);
  deepEqual([...present(y).data], rows);
});

function near(actual: readonly number[], expected: readonly number[], tolerance = 2e-3): void {
  equal(actual.length, expected.length);
  const largest = Math.max(...expected.map(Math.abs));
  for (const [i, value] of expected.entries()) {
    ok(Math.abs(actual[i]! - value) <= tolerance * largest, `${actual[i]} for ${value}`);
  }
}

function plus(left: number, right: number): number {
  return left + right;
}
