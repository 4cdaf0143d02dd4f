// No kernel of the backend holds a float, in any variant; and where a device is installed, the WGSL library
// computes the bits of the exact reference, on patterns chosen to break it.

import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import {
  attentionShare,
  bitsFromF32,
  decodeF32,
  exp2Fraction,
  f32FromBits,
  integerSqrt,
  quantizeRow,
  roundScaled,
  roundToF32,
  silu,
  sinePhase,
  threefry,
} from "gyrotron/numerics";
import { NO_WEBGPU, openDawn } from "../../../test/gpu/hosts-fixture.ts";
import { type ShaderSource, WebGpuDevice } from "./device.ts";
import type { Gpu } from "./gpu-interface.ts";
import { prepareShader } from "./kernels/activation.ts";
import { attendShader } from "./kernels/attend.ts";
import { FINISH_KINDS, finishShader, headNormShader } from "./kernels/block.ts";
import {
  argmaxShader,
  elementShader,
  embedShader,
  normShader,
  quantizeShader,
} from "./kernels/element.ts";
import { projectShader } from "./kernels/project.ts";
import { rotaryShader, rotateShader } from "./kernels/rotate.ts";
import { DOT_NATIVE, DOT_PLAIN } from "./wgsl/dot.ts";
import { composeWgsl, findFloat } from "./wgsl/piece.ts";
import { ATTENTION_SHARE, INTEGER_SQRT, SILU, SINE } from "./wgsl/program.ts";
import { QUANTIZE } from "./wgsl/quantize.ts";
import { ROUND_WIDE } from "./wgsl/round-float.ts";
import { SOFT_ADD, SOFT_DIVIDE, SOFT_FLOAT, SOFT_MULTIPLY, SOFT_SQRT } from "./wgsl/soft-float.ts";
import { WIDE_DIVIDE, WIDE_SCALED } from "./wgsl/wide.ts";

function everyShader(): ShaderSource[] {
  const limbs = [1, 2] as const;
  const all = [1, 2, 3] as const;
  const products = all.flatMap((activationLimbs) =>
    limbs.flatMap((weightLimbs) =>
      (["store", "residual", "gate"] as const).flatMap((epilogue) =>
        [DOT_NATIVE, DOT_PLAIN].flatMap((dot) => {
          const shape = { activationLimbs, weightLimbs, epilogue, dot };
          return [
            ...(["norm", "layer", "plain"] as const).map((source) =>
              projectShader({ ...shape, source, rows: 1, outputs: 8 }),
            ),
            projectShader({ ...shape, source: "norm", rows: 1, outputs: 2 }),
            ...([2, 4, 8] as const).map((rows) =>
              projectShader({ ...shape, source: "packed", rows, outputs: 32 }),
            ),
          ];
        }),
      ),
    ),
  );
  return [
    ...products,
    ...all.flatMap((count) =>
      (["norm", "layer", "plain"] as const).map((source) => prepareShader(source, count)),
    ),
    ...FINISH_KINDS.map(finishShader),
    headNormShader(),
    ...(["add", "multiply", "silu"] as const).map(elementShader),
    ...[attendShader(), rotateShader(), rotaryShader(), embedShader()],
    ...[argmaxShader(), normShader(), quantizeShader()],
  ];
}

test("no kernel of the decoder or of single ops holds a float", () => {
  const shaders = everyShader();
  assert.equal(new Set(shaders.map(({ code }) => code)).size, shaders.length);
  assert.deepEqual(
    shaders.filter(({ code }) => findFloat(code) !== undefined).map(({ name }) => name),
    [],
  );
});

test("no WGSL text anywhere in the backend holds a float", () => {
  const files = globSync("**/*.ts", { cwd: import.meta.dirname }).filter(
    (path) => !path.endsWith(".test.ts"),
  );
  const texts = files.flatMap((path) => {
    const source = readFileSync(join(import.meta.dirname, path), "utf8");
    // What is inserted is TypeScript, and is judged where the kernels are composed.
    return [...source.matchAll(/\/\* wgsl \*\/ `([^`]*)`/g)].map(([, text = ""]) => ({
      path,
      text: text.replace(/\$\{[^}]*\}/g, "x"),
    }));
  });
  assert.ok(texts.length > 30, "the texts are found");
  assert.deepEqual(
    texts.filter(({ text }) => findFloat(text) !== undefined).map(({ path }) => path),
    [],
  );
});

const BAD = "not finite";

/** An exact result as the library gives it. */
function bitsOf(value: number): number | typeof BAD {
  return Number.isFinite(value) ? bitsFromF32(value) : BAD;
}

function product(a: number, b: number): number {
  const [x, y] = [decodeF32(a), decodeF32(b)];
  return roundToF32(x.mantissa * y.mantissa, x.exponent + y.exponent);
}

function sum(a: number, b: number): number {
  const [x, y] = [decodeF32(a), decodeF32(b)];
  const low = Math.min(x.exponent, y.exponent);
  const left = x.mantissa << BigInt(x.exponent - low);
  return roundToF32(left + (y.mantissa << BigInt(y.exponent - low)), low);
}

function quotient(a: number, b: number): number {
  const [x, y] = [decodeF32(a), decodeF32(b)];
  if (y.mantissa === 0n) return Infinity;
  const sign = y.mantissa < 0n ? -1n : 1n;
  return roundToF32(x.mantissa * sign, x.exponent - y.exponent, y.mantissa * sign);
}

/** The root's 64 bits, then one that stands for the rest. */
function root(a: number): number {
  if (a < 0) return Infinity;
  const { mantissa, exponent } = decodeF32(a);
  const odd = exponent & 1;
  const square = mantissa << BigInt(128 + odd);
  const floor = integerSqrt(square);
  const rest = floor * floor === square ? 0n : 1n;
  return roundToF32(2n * floor + rest, (exponent - odd) / 2 - 65);
}

interface Program {
  readonly call: string;
  readonly expected: (a: number, b: number) => number | typeof BAD;
}

const f32 = f32FromBits;
const wide = (a: number, b: number): bigint => (BigInt(b) << 32n) | BigInt(a);

/** WGSL of two words `a` and `b`, and what it has to give. */
const PROGRAMS: readonly Program[] = [
  { call: "softAdd(a, b)", expected: (a, b) => bitsOf(sum(f32(a), f32(b))) },
  { call: "softSubtract(a, b)", expected: (a, b) => bitsOf(sum(f32(a), 0 - f32(b))) },
  { call: "softMultiply(a, b)", expected: (a, b) => bitsOf(product(f32(a), f32(b))) },
  { call: "softDivide(a, b)", expected: (a, b) => bitsOf(quotient(f32(a), f32(b))) },
  { call: "softSqrt(a)", expected: (a) => bitsOf(root(f32(a))) },
  { call: "silu(a)", expected: (a) => bitsOf(silu(f32(a))) },
  {
    call: "select(0u, 1u, softKey(a) < softKey(b))",
    expected: (a, b) => (f32(a) < f32(b) ? 1 : 0),
  },
  {
    call: "roundWide(0u, vec2u(a, b), i32(a % 230u) - 190)",
    expected: (a, b) => bitsOf(roundToF32(wide(a, b), (a % 230) - 190)),
  },
  {
    call: "roundSigned(vec2u(a, b), i32(b % 300u) - 240)",
    expected: (a, b) => bitsOf(roundToF32(BigInt.asIntN(64, wide(a, b)), (b % 300) - 240)),
  },
  {
    call: "wideRoundShift(vec2u(a, b), a % 67u).x",
    expected: (a, b) => Number(BigInt.asUintN(32, roundScaled(wide(a, b), -(a % 67)))),
  },
  {
    call: "wideRoundShift(vec2u(a, b), a % 67u).y",
    expected: (a, b) => Number(roundScaled(wide(a, b), -(a % 67)) >> 32n),
  },
  {
    call: "wideDivide(vec2u(a, b), a % 2147483647u + 1u).value.x",
    expected: (a, b) => Number(BigInt.asUintN(32, wide(a, b) / BigInt((a % 2147483647) + 1))),
  },
  {
    call: "wideDivide(vec2u(a, b), b % 2147483647u + 1u).rest",
    expected: (a, b) => Number(wide(a, b) % BigInt((b % 2147483647) + 1)),
  },
  {
    call: "wideScaled(vec2u(a, b), i32(b % 140u) - 100)",
    expected: (a, b) => {
      const exact = roundScaled(wide(a, b), (b % 140) - 100);
      return Number(exact > 2n ** 30n ? 2n ** 30n : exact);
    },
  },
  {
    call: "integerSqrt(vec2u(a, b & 7u))",
    expected: (a, b) => Number(integerSqrt(wide(a, b & 7))),
  },
  {
    call: "u32(gridExponent(a & 0x7fffffffu, 8u + b % 17u, -149))",
    expected: (a, b) => quantizeRow([f32(a & 0x7fffffff)], 8 + (b % 17)).exponent >>> 0,
  },
  {
    call: "u32(gridMantissa(a, gridExponent(a & 0x7fffffffu, 8u + b % 17u, -149) + i32(b % 5u)))",
    expected: (a, b) => {
      const e = quantizeRow([f32(a & 0x7fffffff)], 8 + (b % 17)).exponent + (b % 5);
      const x = decodeF32(f32(a));
      return Number(BigInt.asUintN(32, roundScaled(x.mantissa, x.exponent - e)));
    },
  },
  { call: "exp2Fraction(a & 0xffffu)", expected: (a) => exp2Fraction(a & 0xffff) },
  { call: "u32(sinePhase(a))", expected: (a) => sinePhase(a) >>> 0 },
  {
    call: "attentionShare(a & 0xffffu, b % 90u)",
    expected: (a, b) => Number(attentionShare(a & 0xffff, b % 90)),
  },
];

test(
  "the WGSL library computes the bits of the reference",
  { skip: NO_WEBGPU ?? false },
  async () => {
    const device = await WebGpuDevice.open(await openDawn<Gpu>());
    const inputs = patterns();
    const output = device.create(inputs.length * 4, "storage");
    const input = device.upload(inputs);
    // A few programs at a time: one module of all takes long to compile.
    for (const { call, expected } of PROGRAMS) {
      const pipeline = await device.pipeline(programShader(call));
      const recorder = device.record();
      recorder.dispatch(device.bind(pipeline, [input, output]), inputs.length / 2 / 64);
      recorder.read({ buffer: output, offset: 0, bytes: inputs.length * 2 });
      const results = await device.submit(recorder);
      const wrong: string[] = [];
      for (const [i, bits] of results.entries()) {
        const [a, b] = [inputs[2 * i]!, inputs[2 * i + 1]!];
        const isFloat = /soft|silu/.test(call);
        const actual = /soft(?!Key)|silu|round(Wide|Signed)/.test(call) && isBad(bits) ? BAD : bits;
        if (isFloat && (!isValue(a) || !isValue(b))) continue;
        if (/grid/.test(call) && !isValue(a)) continue;
        if (actual !== expected(a, b)) wrong.push(`${a.toString(16)} ${b.toString(16)}: ${actual}`);
      }
      assert.deepEqual(wrong.slice(0, 5), [], `${call}: ${wrong.length} differ`);
    }
    device.close();
  },
);

function isBad(bits: number): boolean {
  return (bits & 0x7fffffff) >= 0x7f800000;
}

/** Whether bits are an f32 as values at rest are: finite and not -0. */
function isValue(bits: number): boolean {
  return !isBad(bits) && bits !== 0x80000000;
}

/** Pairs of words: special values against each other, near cancellations, subnormals, ties, anything. */
function patterns(): Uint32Array<ArrayBuffer> {
  const special = [
    ...[0, 1, 2, 3, 0x7ffffe, 0x7fffff, 0x800000, 0x800001, 0xffffff, 0x1000000, 0x1000001],
    ...[0x33800000, 0x33800001, 0x34000000, 0x34000001, 0x3f7fffff, 0x3f800000, 0x3f800001],
    ...[0x4b7fffff, 0x4b800000, 0x4b800001, 0x7e800000, 0x7f000000, 0x7f7ffffe, 0x7f7fffff],
  ].flatMap((bits) => [bits, (bits | 0x80000000) >>> 0]);
  const pairs = special.flatMap((a) => special.flatMap((b) => [a, b]));
  for (let i = 0; pairs.length < 2 * 6144; i++) {
    const [r, s] = threefry([i, 17], [0, 0]);
    const [t, u] = threefry([i, 17], [1, 0]);
    switch (i % 6) {
      case 0: // neighbours of opposite sign
        pairs.push(r, (r ^ 0x80000000 ^ (s % 8)) >>> 0);
        break;
      case 1: // subnormals
        pairs.push((r & 0x80ffffff) >>> 0, (s & 0x80ffffff) >>> 0);
        break;
      case 2: // short mantissas, whose results tie
        pairs.push((r & 0xfff00000) >>> 0, (s & 0xfffff000) >>> 0);
        break;
      case 3: // exponents 20 to 30 apart
        pairs.push(((100 + (t % 20)) << 23) | (r & 0x7fffff), ((74 + (u % 6)) << 23) | (s & 3));
        break;
      case 4: // exponents whose products and quotients are subnormal or overflow
        pairs.push(
          (60 << 23) | (r & 0x7fffff),
          ((((t & 1) === 0 ? 40 : 250) << 23) | (s & 0x7fffff)) >>> 0,
        );
        break;
      default:
        pairs.push(r, s);
    }
  }
  return Uint32Array.from(pairs);
}

function programShader(call: string): ShaderSource {
  const needs = [
    ...[WIDE_DIVIDE, WIDE_SCALED, ROUND_WIDE, SOFT_FLOAT, SOFT_ADD, SOFT_MULTIPLY, SOFT_DIVIDE],
    ...[SOFT_SQRT, SILU, SINE, QUANTIZE, ATTENTION_SHARE, INTEGER_SQRT],
  ];
  const text = `
@group(0) @binding(0) var<storage, read> pairs: array<vec2u>;
@group(0) @binding(1) var<storage, read_write> results: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let a = pairs[id.x].x;
  let b = pairs[id.x].y;
  results[id.x] = ${call};
}`;
  return {
    name: call,
    code: composeWgsl([{ name: "main", needs, text }]),
    bindings: ["read", "write"],
  };
}
