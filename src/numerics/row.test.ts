// Reductions, norms, softmax and sampling of one row: accuracy against binary64, and where they end.

import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import {
  crossEntropyRow,
  layerNormRow,
  logSoftmaxRow,
  logSumRow,
  meanRow,
  rankRow,
  sampleRow,
  softmaxRow,
  sumRow,
  varianceRow,
} from "./index.ts";

const parameters = { seed: Number(process.env["GYROTRON_SEED"] ?? 7), numRuns: 400 };
const row = fc
  .array(fc.integer({ min: -4000, max: 4000 }), { minLength: 1, maxLength: 60 })
  .map((values) => values.map((v) => Math.fround(v / 311) + 0));
const MAX = 3.4028234663852886e38;

function near(actual: number, expected: number, bound: number, what: string): void {
  assert.ok(Math.abs(actual - expected) <= bound, `${what}: ${actual}, ${expected}`);
}

test("sum, mean, variance", () => {
  fc.assert(
    fc.property(row, (x) => {
      const sum = x.reduce((total, v) => total + v, 0);
      const mean = sum / x.length;
      const top = Math.max(...x.map(Math.abs));
      near(sumRow(x, 24), sum, x.length * top * 2 ** -22, "sum");
      near(sumRow(x, 16), sum, x.length * top * 2 ** -14, "sum of 16 bits");
      near(meanRow(x, 24), mean, top * 2 ** -22, "mean");
      const spread = x.reduce((total, v) => total + (v - mean) ** 2, 0) / x.length;
      near(varianceRow(x), spread, top * top * 2 ** -13, "variance");
    }),
    parameters,
  );
  assert.equal(sumRow([], 24), 0);
  assert.equal(sumRow([MAX, -MAX, 1], 24), 0);
  assert.equal(sumRow([MAX, MAX], 24), Infinity);
  assert.equal(varianceRow([1000.5]), 0);
  // 24 bits with a sign: a value of 24 places loses its last.
  assert.equal(sumRow([2 ** 24 - 1], 24), 2 ** 24);
});

test("layer norm: accuracy, offsets, zero rows", () => {
  fc.assert(
    fc.property(row, (x) => {
      const mean = x.reduce((total, v) => total + v, 0) / x.length;
      const spread = x.reduce((total, v) => total + (v - mean) ** 2, 0) / x.length;
      const y = layerNormRow(x, 2 ** -10);
      x.forEach((v, i) => near(y[i]!, (v - mean) / Math.sqrt(spread + 2 ** -10), 4e-3, "norm"));
    }),
    parameters,
  );
  assert.deepEqual(layerNormRow([5, 5, 5], 0), [0, 0, 0]);
  assert.deepEqual(layerNormRow([0, 0], 2 ** -20), [0, 0]);
  const exact = layerNormRow([1, -1, 3, 7], 0);
  assert.deepEqual(layerNormRow([1 + 64, -1 + 64, 3 + 64, 7 + 64], 0), exact);
  assert.deepEqual(
    layerNormRow(
      [1, -1, 3, 7].map((v) => v * 2 ** 90),
      0,
    ),
    exact,
  );
});

test("softmax and logarithms of it", () => {
  fc.assert(
    fc.property(row, (x) => {
      const max = Math.max(...x);
      const total = x.reduce((sum, v) => sum + Math.exp(v - max), 0);
      const y = softmaxRow(x);
      const logs = logSoftmaxRow(x);
      near(logSumRow(x).lse, Math.log(total), 4e-5, "lse");
      x.forEach((v, i) => {
        const exact = Math.exp(v - max) / total;
        near(y[i]!, exact, 8e-5 * exact, "softmax");
        near(logs[i]!, v - max - Math.log(total), 5e-5, "log softmax");
        near(crossEntropyRow(x, i), -logs[i]!, 4e-6, "cross entropy");
      });
      near(
        y.reduce((sum, v) => sum + v, 0),
        1,
        2e-5,
        "sum of shares",
      );
    }),
    parameters,
  );
  assert.deepEqual(softmaxRow([7]), [1]);
  assert.deepEqual(softmaxRow([3, 3]), [0.5, 0.5]);
  assert.deepEqual(softmaxRow([MAX, -MAX]), [1, 0]);
  assert.deepEqual(logSoftmaxRow([MAX, -MAX]), [0, -Infinity]);
  assert.equal(crossEntropyRow([MAX, -MAX], 1), -Infinity);
  assert.equal(crossEntropyRow([2], 0), 0);
});

test("sampling: ranks, limits, frequencies", () => {
  assert.deepEqual(rankRow([1, 3, 3, -1, 3]), [1, 2, 4, 0, 3]);
  const logits = [0, Math.log(2), Math.log(4), -1000].map((v) => Math.fround(v));
  const whole = { temperature: 65536, topK: 0, topP: 65536 };
  const counts = [0, 0, 0, 0];
  const draws = 700;
  for (let i = 0; i < draws; i++) {
    counts[sampleRow(logits, whole, (BigInt(i) << 64n) / BigInt(draws))]!++;
  }
  [100, 200, 400, 0].forEach((expected, i) => near(counts[i]!, expected, 1, "count"));
  const last = (1n << 64n) - 1n;
  assert.equal(sampleRow(logits, { ...whole, topK: 1 }, last), 2);
  assert.equal(sampleRow(logits, { ...whole, topK: 2 }, 0n), 1);
  assert.equal(sampleRow(logits, { ...whole, topP: 1 }, last), 2);
  assert.equal(sampleRow(logits, { ...whole, topP: 40000 }, 0n), 1);
  assert.equal(sampleRow([1, 5, 5], { ...whole, temperature: 0 }, last), 1);
  assert.equal(sampleRow([MAX, -MAX], whole, last), 0);
});
