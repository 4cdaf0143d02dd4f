// Controls of generation: adjustments against rational arithmetic, log-probabilities against the reference,
// JSON by construction, and that none of them touches what it should not.

import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { utf8Bytes, utf8TextLossy } from "gyrotron/base";
import { decodeF32, logSoftmaxRow, roundToF32, threefry } from "gyrotron/numerics";
import {
  adjustLogits,
  type Adjustments,
  createJsonConstraint,
  GenerationError,
  JsonGrammar,
  logProbabilities,
  sampleToken,
  topTokens,
} from "./index.ts";
import { checkAdjustments } from "./adjustment.ts";

const seed = Number(process.env["GYROTRON_SEED"] ?? 7);
const MAX = 3.4028234663852886e38;

const logit: fc.Arbitrary<number> = fc.oneof(
  fc.integer({ min: -400_000, max: 400_000 }).map((n) => Math.fround(n / 9973) + 0),
  fc.constantFrom(0, 1, 2 ** -149, -(2 ** -140), 2 ** 100, MAX, -MAX, 1 + 2 ** -23),
);

/** R32 of a rational, clamped to the largest finite value. */
function rounded(numerator: bigint, exponent: number, denominator = 1n): number {
  return Math.max(-MAX, Math.min(MAX, roundToF32(numerator, exponent, denominator)));
}

function sum(x: number, y: number): number {
  const [a, b] = [decodeF32(x), decodeF32(y)];
  const low = Math.min(a.exponent, b.exponent);
  const shifted = (d: typeof a): bigint => d.mantissa << BigInt(d.exponent - low);
  return rounded(shifted(a) + shifted(b), low);
}

function slowAdjust(
  x: number,
  b: number,
  c: number,
  a: Required<Omit<Adjustments, "bias">>,
): number {
  let y = b === 0 ? x : sum(x, roundToF32(BigInt(b), -16));
  if (c === 0) return y;
  const r = BigInt(a.repetitionPenalty);
  const { mantissa, exponent } = decodeF32(y);
  if (r !== 65536n)
    y = y > 0 ? rounded(mantissa << 16n, exponent, r) : rounded(mantissa * r, exponent - 16);
  const penalty = roundToF32(
    BigInt(a.presencePenalty) + BigInt(a.frequencyPenalty) * BigInt(c),
    -16,
  );
  return penalty === 0 ? y : sum(y, 0 - penalty);
}

test("adjustments are their definition, each step rounded once", () => {
  const penalty = fc.integer({ min: -(2 ** 20), max: 2 ** 20 });
  fc.assert(
    fc.property(
      fc.array(logit, { minLength: 4, maxLength: 4 }),
      fc.record({
        repetitionPenalty: fc.oneof(fc.constant(65536), fc.integer({ min: 1, max: 2 ** 20 })),
        presencePenalty: fc.oneof(fc.constant(0), penalty),
        frequencyPenalty: fc.oneof(fc.constant(0), penalty),
      }),
      fc.integer({ min: 1 - 2 ** 23, max: 2 ** 23 - 1 }),
      fc.integer({ min: 1, max: 4000 }),
      (values, parameters, bias, count) => {
        const logits = Float32Array.from(values);
        const all = {
          ...parameters,
          bias: new Map([
            [0, bias],
            [1, bias],
          ]),
        };
        const counts = new Map([
          [1, count],
          [2, count],
        ]);
        const expected = values.map((x, i) =>
          slowAdjust(x, i < 2 ? bias : 0, i === 1 || i === 2 ? count : 0, parameters),
        );
        assert.deepEqual([...adjustLogits(logits, all, counts)], expected);
        assert.deepEqual([...logits], values, "the model's logits stay");
      },
    ),
    { seed, numRuns: 3000 },
  );
  const logits = Float32Array.of(1, 2);
  assert.equal(adjustLogits(logits, { repetitionPenalty: 65536 }, new Map([[0, 3]])), logits);
});

test("adjustments out of range are refused", () => {
  const refused = (adjustments: Adjustments, what: RegExp): void =>
    assert.throws(() => checkAdjustments(adjustments, 10), what);
  refused({ bias: new Map([[10, 1]]) }, /bias token.*10/);
  refused({ bias: new Map([[1, 2 ** 23]]) }, /name: bias,/);
  refused({ repetitionPenalty: 0 }, /repetitionPenalty/);
  refused({ frequencyPenalty: 0.5 }, /frequencyPenalty/);
});

test("log-probabilities are log_softmax of the specification", () => {
  const plain = logit.filter((x) => Math.abs(x) < 2 ** 101);
  fc.assert(
    fc.property(fc.array(plain, { minLength: 1, maxLength: 40 }), (values) => {
      const logits = Float32Array.from(values);
      const all = values.map((_, i) => i);
      assert.deepEqual(logProbabilities(logits, all), [...logSoftmaxRow(logits)]);
    }),
    { seed, numRuns: 1500 },
  );
  assert.deepEqual(topTokens(Float32Array.of(1, 5, 3, 5, 4), 3), [1, 3, 4]);
});

test("min-p keeps what has its share of the largest weight", () => {
  const logits = Float32Array.of(0, Math.log(2), Math.log(4));
  const drawn = (minP: number): Set<number> =>
    new Set(
      Array.from({ length: 300 }, (_, i) => {
        const [low, high] = threefry([5, 6], [i, 0]);
        const random = (BigInt(high) << 32n) | BigInt(low);
        const parameters = { temperature: 65536, topK: 0, topP: 65536, minP };
        return sampleToken(logits, parameters, () => random);
      }),
    );
  assert.deepEqual([...drawn(0)].sort(), [0, 1, 2]);
  assert.deepEqual([...drawn(20_000)].sort(), [1, 2]);
  assert.deepEqual([...drawn(65_536)], [2]);
});

/** A vocabulary of all bytes, some pairs, and two tokens without text. */
const PIECES: readonly Uint8Array[] = [
  new Uint8Array(0),
  new Uint8Array(0),
  ...Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte)),
  ...['{"', '":', '", "', "12", "null", "true", "é", "ab", '"}', "[]", "]}"].map(utf8Bytes),
];
const tokens = { vocabulary: PIECES.length, bytesOf: (token: number) => PIECES[token]! };

/** A text that tokens drawn at random spell under a schema; ended as soon as that is allowed, mostly. */
function randomText(schema: unknown, run: number): string {
  const constraint = createJsonConstraint(new JsonGrammar(schema, tokens));
  const bytes: number[] = [];
  for (let i = 0; i < 4000; i++) {
    const mask = constraint.allowed();
    assert.equal(mask[0]! + mask[1]!, 0, "tokens without text are not allowed");
    const choices = PIECES.flatMap((_, token) => (mask[token] === 1 ? [token] : []));
    const [draw, second] = threefry([run, 9], [i, seed]);
    if (choices.length === 0 || (constraint.mayEnd && second % 3 === 0)) {
      assert.ok(constraint.mayEnd, "a text that cannot go on is complete");
      return utf8TextLossy(Uint8Array.from(bytes));
    }
    // Closing characters are preferred, or texts would nest for ever.
    const closing = choices.filter((token) => [0x22, 0x5d, 0x7d].includes(PIECES[token]![0]!));
    const list = closing.length > 0 && second % 2 === 0 ? closing : choices;
    const token = list[draw % list.length]!;
    constraint.accept(token);
    bytes.push(...PIECES[token]!);
  }
  return assert.fail("the text did not end");
}

const POINT = {
  type: "object",
  properties: {
    name: { type: "string", maxLength: 4 },
    tags: { type: "array", items: { enum: ["red", "é", 3] }, minItems: 1, maxItems: 3 },
    at: { $ref: "#/$defs/pair" },
    next: { anyOf: [{ type: "null" }, { $ref: "#/$defs/pair" }] },
  },
  required: ["name", "at"],
  $defs: { pair: { type: "array", items: { type: "number" }, minItems: 2, maxItems: 2 } },
};

test("whatever is drawn under a schema is JSON of that schema", () => {
  let optional = 0;
  for (let run = 0; run < 60; run++) {
    const value = JSON.parse(randomText(POINT, run)) as Record<string, unknown>;
    assert.ok(typeof value["name"] === "string" && [...value["name"]].length <= 4);
    assert.ok(Array.isArray(value["at"]) && value["at"].length === 2);
    assert.ok(value["at"].every((x) => typeof x === "number"));
    assert.deepEqual(
      Object.keys(value).filter((key) => !Object.hasOwn(POINT.properties, key)),
      [],
    );
    if ("tags" in value) {
      optional++;
      const tags = value["tags"] as unknown[];
      assert.ok(tags.length >= 1 && tags.length <= 3);
      assert.ok(tags.every((tag) => ["red", "é", 3].includes(tag as string)));
    }
  }
  assert.ok(optional > 5 && optional < 55, `optional property ${optional} times`);
  for (const type of ["integer", "boolean", "null", "string", "array", "object", undefined]) {
    for (let run = 0; run < 20; run++) {
      const value: unknown = JSON.parse(randomText(type === undefined ? true : { type }, run));
      if (type === "integer") assert.ok(Number.isInteger(value));
      if (type === "boolean") assert.equal(typeof value, "boolean");
      if (type === "array") assert.ok(Array.isArray(value));
    }
  }
});

test("schemas that cannot be enforced are refused by place", () => {
  const refused = (schema: unknown, what: RegExp): void =>
    assert.throws(
      () => new JsonGrammar(schema, tokens),
      (error) => error instanceof GenerationError && what.test(error.message),
    );
  refused({ type: "string", pattern: "a+" }, /#\/pattern/);
  refused(
    { type: "object", properties: { a: { type: "integer", minimum: 3 } } },
    /#\/properties\/a\/minimum/,
  );
  refused({ type: "list" }, /unknown type list/);
  refused({ $ref: "#/$defs/none" }, /no target/);
  refused({ $ref: "other.json" }, /within the schema/);
  refused({ type: "object", required: ["a"] }, /a is no property/);
  refused({ type: "string", maxLength: 100_000 }, /no integer from 0 to 4096/);
  refused(3, /no schema/);
  let deep: unknown = { type: "null" };
  for (let i = 0; i < 100; i++) deep = { type: "array", items: deep };
  refused(deep, /nested deeper/);
});
