// The functions of graphs against binary64: correctly rounded ones to the bit, programs within the error that
// is stated for each. What is stated was found by the sweeps here.

import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import {
  addF32,
  bitsFromF32,
  divideF32,
  erfF32,
  erfTable,
  exp2F32,
  expF32,
  f32FromBits,
  geluF32,
  geluTanhF32,
  LOG_TWO,
  logCurveTable,
  logF32,
  logTable,
  multiplyF32,
  negateF32,
  roundToI32,
  rsqrtF32,
  sigmoidF32,
  sqrtF32,
  subtractF32,
  tailTable,
  tailTanhTable,
  tanhF32,
  tanhTable,
} from "./index.ts";

const parameters = { seed: Number(process.env["GYROTRON_SEED"] ?? 7), numRuns: 2000 };
const MAX = f32FromBits(0x7f7fffff);
const finite = fc
  .integer({ min: 0, max: 0xffff_ffff })
  .map((bits) => f32FromBits(bits))
  .filter((x) => Number.isFinite(x) && !Object.is(x, -0));
/** Bits near each other or far apart, with the edges that random bits never meet. */
const edgy = fc.oneof(
  finite,
  fc.constantFrom(0, 2 ** -149, -(2 ** -149), 2 ** -126, MAX, -MAX, 1, -1, 3, 1 + 2 ** -23),
);

/** What R32 makes of the host's own result. */
function host(x: number): number {
  const y = Math.fround(x) + 0;
  return Number.isFinite(y) ? y : Infinity;
}

test("add, sub, mul, div, sqrt are the correctly rounded ones", () => {
  fc.assert(
    fc.property(edgy, edgy, (x, y) => {
      const positive = (v: number): number => (Number.isFinite(v) ? v : Infinity);
      assert.ok(Object.is(positive(addF32(x, y)), host(x + y)));
      assert.ok(Object.is(positive(subtractF32(x, y)), host(x - y)));
      assert.ok(Object.is(positive(multiplyF32(x, y)), host(x * y)));
      if (y !== 0) assert.ok(Object.is(positive(divideF32(x, y)), host(x / y)));
      assert.equal(sqrtF32(Math.abs(x)), Math.fround(Math.sqrt(Math.abs(x))));
    }),
    parameters,
  );
  assert.equal(divideF32(1, 0), Infinity);
  assert.equal(divideF32(0, 0), Infinity);
  assert.equal(sqrtF32(-1), Infinity);
  assert.ok(Object.is(negateF32(0), 0));
});

test("conversion to i32 rounds ties to even and clamps", () => {
  const cases = [
    [0.5, 0],
    [1.5, 2],
    [-2.5, -2],
    [2 ** 31, 2 ** 31 - 1],
    [-(2 ** 31), -(2 ** 31)],
    [-MAX, -(2 ** 31)],
    [MAX, 2 ** 31 - 1],
    [2 ** -149, 0],
  ] as const;
  for (const [x, expected] of cases) assert.equal(roundToI32(x), expected, `${x}`);
});

/** erf by its series, to some 14 places for |x| <= 6. */
function erf(x: number): number {
  let term = x;
  let sum = 0;
  for (let i = 1; i < 400; i += 2) {
    sum += term;
    term *= (2 * x * x) / (i + 2);
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

test("tables agree with binary64", () => {
  const near = (table: Int32Array, at: (i: number) => number): void =>
    table.forEach((value, i) =>
      assert.ok(Math.abs(value - at(i)) <= 0.5 + 1e-5, `${i}: ${value} ${at(i)}`),
    );
  const scale = 2 ** 21;
  near(tanhTable(), (i) => (i === 0 ? scale : (scale * Math.tanh(i / 128)) / (i / 128)));
  near(erfTable(), (i) =>
    i === 0 ? (2 * scale) / Math.sqrt(Math.PI) : (scale * erf(i / 256)) / (i / 256),
  );
  near(tailTable(), (i) => (scale * (1 - erf(i / 128 / Math.SQRT2))) / 2);
  near(tailTanhTable(), (i) => {
    const t = i / 128;
    return scale / (1 + Math.exp(2 * Math.sqrt(2 / Math.PI) * (t + 0.044715 * t ** 3)));
  });
  near(logTable(), (i) => 2 ** 24 * Math.log1p(i / 256));
  near(logCurveTable(), (i) => 2 ** 11 / (1 + (2 * i + 1) / 512) ** 2);
  assert.equal(LOG_TWO, Math.round(2 ** 24 * Math.LN2));
});

const geluOf = (x: number): number => (x * (1 + erf(x / Math.SQRT2))) / 2;
const geluTanhOf = (x: number): number =>
  (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));

/** A function, the host's, the interval of the sweep, and the largest error seen there, rounded up. */
const programs: readonly {
  readonly name: string;
  readonly program: (x: number) => number;
  readonly exact: (x: number) => number;
  readonly from: number;
  readonly to: number;
  readonly absolute: number;
  readonly relative: number;
}[] = [
  {
    name: "exp",
    program: expF32,
    exact: Math.exp,
    from: -80,
    to: 80,
    absolute: Infinity,
    relative: 3.7e-5,
  },
  {
    name: "exp2",
    program: exp2F32,
    exact: (x) => 2 ** x,
    from: -120,
    to: 120,
    absolute: Infinity,
    relative: 3.4e-5,
  },
  {
    name: "sigmoid",
    program: sigmoidF32,
    exact: (x) => 1 / (1 + Math.exp(-x)),
    from: -80,
    to: 80,
    absolute: 3.1e-5,
    relative: 5.3e-5,
  },
  {
    name: "rsqrt",
    program: rsqrtF32,
    exact: (x) => 1 / Math.sqrt(x),
    from: 1e-3,
    to: 1e3,
    absolute: Infinity,
    relative: 1.6e-5,
  },
  {
    name: "log",
    program: logF32,
    exact: Math.log,
    from: 1e-3,
    to: 1e3,
    absolute: 3.3e-7,
    relative: Infinity,
  },
  {
    name: "tanh",
    program: tanhF32,
    exact: Math.tanh,
    from: -9,
    to: 9,
    absolute: 5.8e-6,
    relative: 6.1e-6,
  },
  { name: "erf", program: erfF32, exact: erf, from: -5, to: 5, absolute: 2.1e-6, relative: 2.1e-6 },
  {
    name: "gelu",
    program: geluF32,
    exact: geluOf,
    from: -7.9,
    to: 7.9,
    absolute: 4.2e-6,
    relative: Infinity,
  },
  {
    name: "gelu-tanh",
    program: geluTanhF32,
    exact: geluTanhOf,
    from: -9,
    to: 9,
    absolute: 4.2e-6,
    relative: Infinity,
  },
];

for (const { name, program, exact, from, to, absolute, relative } of programs) {
  test(`${name}: error against binary64`, () => {
    let [worst, worstRelative] = [0, 0];
    const steps = 20_011;
    for (let i = 0; i <= steps; i++) {
      const x = Math.fround(from + ((to - from) * i) / steps) + 0;
      const expected = exact(x);
      const error = Math.abs(program(x) - expected);
      worst = Math.max(worst, error);
      worstRelative = Math.max(worstRelative, error / Math.abs(expected));
    }
    assert.ok(worst <= absolute, `absolute error ${worst}`);
    if (relative < Infinity)
      assert.ok(worstRelative <= relative, `relative error ${worstRelative}`);
  });
}

test("powers never decrease", () => {
  for (const f of [expF32, exp2F32]) {
    let before = -Infinity;
    for (let i = 0; i < 60_000; i++) {
      const y = f(Math.fround(-12 + i / 2500) + 0);
      assert.ok(y >= before);
      before = y;
    }
  }
});

test("ends and limits", () => {
  assert.equal(expF32(0), 1);
  assert.equal(expF32(MAX), Infinity);
  assert.ok(Object.is(expF32(-MAX), 0));
  assert.equal(exp2F32(-149), 2 ** -149);
  assert.equal(exp2F32(127), 2 ** 127);
  assert.equal(exp2F32(128), Infinity);
  assert.equal(sigmoidF32(0), 0.5);
  assert.equal(sigmoidF32(MAX), 1);
  assert.ok(Object.is(sigmoidF32(-MAX), 0));
  assert.equal(rsqrtF32(2 ** -148), 2 ** 74);
  assert.equal(rsqrtF32(4), 0.5);
  assert.equal(rsqrtF32(0), Infinity);
  assert.equal(logF32(1), 0);
  assert.equal(logF32(0), Infinity);
  assert.ok(Math.abs(logF32(2 ** -149) + 149 * Math.LN2) < 1e-5);
  assert.equal(tanhF32(-9), -1);
  assert.equal(erfF32(MAX), 1);
  assert.equal(tanhF32(2 ** -149), 2 ** -149);
  assert.ok(Object.is(geluF32(-9), 0));
  assert.equal(geluTanhF32(9), 9);
  assert.equal(bitsFromF32(tanhF32(0)), 0);
});
