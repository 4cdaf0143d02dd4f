// The executable reference against the host's arithmetic, exact comparisons and published vectors.

import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import {
  attentionScale,
  bitsFromF32,
  cosinePhase,
  decodeF32,
  exp2Fraction,
  EXP2_TABLE,
  f32FromBits,
  LN2,
  LOG2E,
  normExponentFloor,
  PI,
  quantizeColumn,
  quantizeRow,
  randomU64,
  rmsNormRow,
  type RotaryScaling,
  rotarySteps,
  roundDivide,
  roundFixed,
  roundToF32,
  silu,
  SILU_LOG2E,
  sinePhase,
  temperatureScale,
  threefry,
} from "./index.ts";

const parameters = { seed: Number(process.env["GYROTRON_SEED"] ?? 7), numRuns: 500 };
const finiteF32 = fc
  .integer({ min: 0, max: 0xffff_ffff })
  .filter((bits) => ((bits >>> 23) & 0xff) !== 0xff && bits !== 0x8000_0000)
  .map((bits) => f32FromBits(bits));

test("the two mandatory double-rounding vectors", () => {
  assert.equal(roundToF32((1n << 60n) + (1n << 36n) + 1n, 0), 2 ** 60 + 2 ** 37);
  assert.equal(roundToF32(40961025n, -160), 20001 * 2 ** -149);
});

test("rounding: ties, limits, subnormals, never -0", () => {
  assert.equal(roundToF32((1n << 24n) + 1n, 0), 2 ** 24);
  assert.equal(roundToF32((1n << 24n) + 3n, 0), 2 ** 24 + 4);
  assert.equal(roundToF32((1n << 24n) - 1n, 104), f32FromBits(0x7f7fffff));
  assert.equal(roundToF32((1n << 25n) - 1n, 103), Infinity);
  assert.equal(roundToF32(-(1n << 25n) + 1n, 103), -Infinity);
  assert.equal(roundToF32((1n << 26n) - 3n, 102), f32FromBits(0x7f7fffff));
  assert.ok(Object.is(roundToF32(-1n, -150), 0));
  assert.equal(roundToF32(-3n, -150), -(2 ** -148));
  assert.equal(roundToF32(3n, -151), 2 ** -149);
  assert.equal(roundToF32(1n, 0, 3n), Math.fround(1 / 3));
  assert.deepEqual(
    [5n, 7n, -5n, -7n, -6n].map((n) => roundDivide(n, 2n)),
    [2n, 4n, -2n, -4n, -3n],
  );
});

test("rounding a binary64 agrees with Math.fround", () => {
  fc.assert(
    fc.property(fc.maxSafeInteger(), fc.integer({ min: -210, max: 90 }), (m, e) => {
      const expected = Math.fround(m * 2 ** e) + 0;
      assert.ok(Object.is(roundToF32(BigInt(m), e), expected));
    }),
    parameters,
  );
});

test("a quotient agrees with an interval of exact comparisons", () => {
  fc.assert(
    fc.property(
      fc.bigInt(-(1n << 45n), 1n << 45n),
      fc.bigInt(1n, 1n << 30n),
      fc.integer({ min: -170, max: 60 }),
      (n, d, e) => {
        const result = roundToF32(n, e, d);
        const bits = bitsFromF32(Math.abs(result));
        // The error against the result is no more than that against either neighbour.
        const error = (candidate: number): bigint => {
          const { mantissa, exponent } = decodeF32(candidate);
          const left = (n < 0n ? -n : n) << BigInt(e + 300);
          const right = (d * mantissa) << BigInt(exponent + 300);
          return left > right ? left - right : right - left;
        };
        const own = error(Math.abs(result));
        if (bits > 0) assert.ok(own <= error(f32FromBits(bits - 1)));
        assert.ok(own <= error(f32FromBits(bits + 1)));
        if (own === error(f32FromBits(bits + 1))) assert.equal(bits & 1, 0);
        if (bits > 0 && own === error(f32FromBits(bits - 1))) assert.equal(bits & 1, 0);
      },
    ),
    parameters,
  );
});

test("constants agree with the host's to binary64 precision", () => {
  assert.equal(Number(roundFixed(PI, 51)) / 2 ** 51, Math.PI);
  assert.equal(Number(roundFixed(LN2, 53)) / 2 ** 53, Math.LN2);
  assert.equal(Number(roundFixed(LOG2E, 52)) / 2 ** 52, Math.LOG2E);
  assert.equal(SILU_LOG2E, 6051102);
  for (let i = 0; i < 64; i++) assert.equal(EXP2_TABLE[i], Math.round(2 ** (15 + i / 64)));
});

test("quantize: exponent is minimal, mantissas symmetric and nearest", () => {
  fc.assert(
    fc.property(
      fc.array(finiteF32, { minLength: 1, maxLength: 6 }),
      fc.constantFrom(8, 13, 14, 16, 24),
      (row, bits) => {
        const { mantissas, exponent } = quantizeRow(row, bits);
        const limit = (1n << BigInt(bits - 1)) - 1n;
        let largest = 0n;
        mantissas.forEach((m, i) => {
          const magnitude = m < 0n ? -m : m;
          if (magnitude > largest) largest = magnitude;
          const x = decodeF32(row[i]!);
          const scale = 300;
          const error =
            (x.mantissa << BigInt(x.exponent + scale)) - (m << BigInt(exponent + scale));
          assert.ok(2n * (error < 0n ? -error : error) <= 1n << BigInt(exponent + scale));
        });
        assert.ok(largest <= limit);
        // One exponent lower and the largest value would no longer fit.
        if (exponent > -149) assert.ok(2n * largest >= limit);
      },
    ),
    parameters,
  );
  assert.deepEqual(quantizeRow([0, 0], 8), { mantissas: [0n, 0n], exponent: -149 });
  assert.deepEqual(quantizeRow([f32FromBits(0x7f7fffff)], 8), { mantissas: [64n], exponent: 122 });
  assert.equal(quantizeRow([127], 8).exponent, 0);
  assert.equal(quantizeRow([127.25], 8).exponent, 1);
});

test("columns: the scale is minimal", () => {
  assert.deepEqual(quantizeColumn([0], 8), { mantissas: [0n], exponent: -149, scale: 128 });
  assert.deepEqual(quantizeColumn([127 * 200], 8), { mantissas: [127n], exponent: 0, scale: 200 });
  assert.deepEqual(quantizeColumn([127 * 200 + 1, -300], 8), {
    mantissas: [126n, -1n],
    exponent: 0,
    scale: 201,
  });
  fc.assert(
    fc.property(
      fc.array(finiteF32, { minLength: 1, maxLength: 4 }),
      fc.constantFrom(8, 14),
      (column, bits) => {
        const { mantissas, scale } = quantizeColumn(column, bits);
        const limit = (1n << BigInt(bits - 1)) - 1n;
        assert.ok(scale >= 128 && scale <= 255);
        assert.ok(mantissas.every((m) => m <= limit && m >= -limit));
      },
    ),
    parameters,
  );
});

test("exp2 of a fraction: exhaustive range, monotony and error", () => {
  let previous = 0;
  let worst = 0;
  for (let f = 0; f < 65536; f++) {
    const u = exp2Fraction(f);
    assert.ok(u >= 32768 && u <= 65535 && u >= previous);
    worst = Math.max(worst, Math.abs(u / 2 ** (15 + f / 65536) - 1));
    previous = u;
  }
  assert.ok(worst < 1.04 * 2 ** -15, `error ${worst}`);
});

test("sine and cosine: error, symmetry and the ends of quarters", () => {
  let worst = 0;
  for (let phase = 0; phase < 2 ** 32; phase += 65521) {
    const angle = (phase / 2 ** 32) * 2 * Math.PI;
    worst = Math.max(worst, Math.abs(sinePhase(phase) - 32768 * Math.sin(angle)));
    worst = Math.max(worst, Math.abs(cosinePhase(phase) - 32768 * Math.cos(angle)));
    assert.equal(sinePhase((phase + 2 ** 31) >>> 0) + sinePhase(phase), 0);
  }
  assert.ok(worst < 1, `error ${worst}`);
  assert.deepEqual(
    [0, 2 ** 30, 2 ** 31, 3 * 2 ** 30].map(sinePhase).map((v) => v + 0),
    [0, 32768, 0, -32768],
  );
});

test("rotary steps and scales agree with binary64", () => {
  const steps = rotarySteps(10000, 8);
  for (let i = 0; i < 4; i++) {
    assert.ok(Math.abs(steps[i]! - (2 ** 32 / (2 * Math.PI)) * 10000 ** (-i / 4)) <= 0.51);
  }
  const scaled = (scaling: RotaryScaling): number[] => Array.from(rotarySteps(500, 12, scaling));
  const plain = Array.from(rotarySteps(500, 12));
  assert.deepEqual(scaled({ kind: "linear", factor: 1 }), plain);
  scaled({ kind: "linear", factor: 2.5 }).forEach((step, i) =>
    assert.ok(Math.abs(step - plain[i]! / 2.5) <= 0.7, `pair ${i}`),
  );
  const divisors = Float32Array.of(1, 1.5, 3, 7, 8, 8);
  scaled({ kind: "divisors", divisors }).forEach((step, i) =>
    assert.ok(Math.abs(step - plain[i]! / divisors[i]!) <= 1, `pair ${i}`),
  );
  // Llama 3's: the first pair is kept, the last three are divided, those between are between.
  const llama3 = scaled({
    ...{ kind: "llama3", factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4 },
    originalContext: 32,
  });
  llama3.forEach((step, i) => {
    const turns = (32 * plain[i]!) / 2 ** 32;
    const smooth = Math.min(1, Math.max(0, (turns - 1) / 3));
    const expected = plain[i]! * ((1 - smooth) / 8 + smooth);
    assert.ok(Math.abs(step - expected) <= 1, `pair ${i}`);
  });
  assert.equal(llama3[0], plain[0]);
  assert.ok(llama3[1]! > plain[1]! / 8 + 2 && llama3[1]! < plain[1]! - 2);
  assert.ok(Math.abs(llama3[5]! - plain[5]! / 8) <= 0.7);
  for (const d of [2, 8, 48, 64, 128]) {
    const { mantissa, exponent } = attentionScale(d);
    assert.ok(mantissa >= 2 ** 15 && mantissa < 2 ** 16);
    assert.ok(
      Math.abs((mantissa * 2 ** exponent) / ((65536 * Math.LOG2E) / Math.sqrt(d)) - 1) < 2 ** -16,
    );
  }
  const { mantissa, exponent } = temperatureScale(52429);
  assert.ok(Math.abs((mantissa * 2 ** exponent) / ((65536 * Math.LOG2E) / 52429) - 1) < 2 ** -23);
});

test("rms norm: accuracy, powers of two, zero rows", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: -4000, max: 4000 }), { minLength: 1, maxLength: 40 }),
      (row) => {
        const x = row.map((v) => Math.fround(v / 97));
        const mean = x.reduce((sum, v) => sum + v * v, 0) / x.length + 2 ** -17;
        const y = rmsNormRow(x, 2 ** -17);
        y.forEach((v, i) =>
          assert.ok(Math.abs(v - x[i]! / Math.sqrt(mean)) <= 3e-4 + 1e-4 * Math.abs(v)),
        );
      },
    ),
    parameters,
  );
  assert.deepEqual(rmsNormRow([0, 0], 0), [0, 0]);
  assert.deepEqual(rmsNormRow([0, 0], Math.fround(1e-5)), [0, 0]);
  assert.deepEqual(rmsNormRow([3, -4], 0), rmsNormRow([3 * 2 ** 60, -4 * 2 ** 60], 0));
  assert.deepEqual(rmsNormRow([2 ** -149], 0), [1]);
  assert.equal(normExponentFloor(2 ** -17), -31);
});

test("silu: accuracy against binary64, ends", () => {
  for (let i = -4000; i <= 4000; i++) {
    const x = Math.fround(i / 97);
    const exact = x / (1 + Math.exp(-x));
    assert.ok(Math.abs(silu(x) - exact) <= 5e-5 * Math.abs(exact) + 1e-40, `${x}`);
  }
  assert.ok(Object.is(silu(0), 0));
  assert.ok(Object.is(silu(-(2 ** 100)), 0));
  assert.equal(silu(2 ** 100), 2 ** 100);
  assert.equal(silu(2 ** -149), 0);
  assert.equal(silu(3 * 2 ** -149), 2 ** -148);
});

test("threefry: the published vectors of Random123, and the keying", () => {
  assert.deepEqual(threefry([0, 0], [0, 0]), [0x6b200159, 0x99ba4efe]);
  const ones = 0xffff_ffff;
  assert.deepEqual(threefry([ones, ones], [ones, ones]), [0x1cb996fc, 0xbb002be7]);
  assert.deepEqual(
    threefry([0x13198a2e, 0x03707344], [0x243f6a88, 0x85a308d3]),
    [0xc4923a9c, 0x483df7a0],
  );
  const seen = new Set<bigint>();
  for (let position = 0; position < 50; position++) {
    for (let sequence = 0; sequence < 4; sequence++)
      seen.add(randomU64({ seed: 5n, sequence, purpose: 1, position }));
  }
  assert.equal(seen.size, 200);
});
