// CBOR: what must be refused, what must be accepted, and that decoding undoes encoding.

import { deepEqual, equal, throws } from "node:assert/strict";
import { test } from "node:test";
import { DecodeError, utf8Bytes } from "gyrotron/base";
import fc from "fast-check";
import { decodeAnything, mutations } from "./cbor.fuzz.ts";
import { type CborInput, decodeCbor, encodeCbor, encodeSelfDescribedCbor } from "./index.ts";

const hex = (text: string): Uint8Array => Uint8Array.fromHex(text);

const REFUSED: readonly (readonly [name: string, hex: string, what: RegExp, offset: number])[] = [
  ["nothing", "", /ends early/, 0],
  ["only a tag", "d9d9f7", /ends early/, 3],
  ["two values", "0102", /trailing/, 1],
  ["half float", "f93c00", /float/, 0],
  ["double", "fb3ff0000000000000", /float/, 0],
  ["NaN in a map", "a16161f97e00", /float/, 3],
  ["undefined", "f7", /malformed/, 0],
  ["simple value", "e0", /malformed/, 0],
  ["duplicate key", "a2616101616102", /duplicate/, 4],
  ["duplicate key, indefinite", "bf616101616102ff", /duplicate/, 4],
  ["duplicate key in another length", "a261610178016102", /duplicate/, 4],
  ["integer key", "a10102", /not text/, 1],
  ["bytes key", "a1416102", /not text/, 1],
  ["text that is not UTF-8", "61ff", /UTF-8/, 0],
  ["short text that is not UTF-8", "a261c30161c302", /UTF-8/, 1],
  ["surrogate in UTF-8", "63eda080", /UTF-8/, 0],
  ["indefinite bytes", "5f4101ff", /malformed/, 0],
  ["indefinite text", "7f6161ff", /malformed/, 0],
  ["break alone", "ff", /break/, 0],
  ["break in a counted array", "8201ff", /break/, 2],
  ["break as a value", "bf6161ff", /break/, 3],
  ["array longer than the input", "9affffffff", /more entries/, 0],
  ["array of 2^63 entries", "9b8000000000000000", /./, 0],
  ["map longer than the input", "baffffffff", /more entries/, 0],
  ["bytes longer than the input", "5b7fffffffffffffff", /malformed/, 0],
  ["text longer than the input", "7affffffff", /malformed/, 0],
  ["reserved minor", "1c", /malformed/, 0],
  ["self-describing tag inside", "81d9d9f701", /tag 55799/, 1],
  ["self-describing tag twice", "d9d9f7d9d9f701", /tag 55799/, 3],
  ["date tag", "c001", /tag 0/, 0],
  ["negative bignum", "c34101", /tag 3/, 0],
  ["bignum of text", "c26101", /byte string/, 1],
  ["bignum of 65 bytes", `c25841${"ff".repeat(65)}`, /too long/, 1],
  ["array without end", "9f01", /ends early/, 2],
];

for (const [name, input, what, offset] of REFUSED) {
  test(`refuses ${name}`, () => {
    throws(
      () => decodeCbor(hex(input)),
      (error) => {
        equal(error instanceof DecodeError, true);
        const { info } = error as DecodeError;
        equal(info.code, "cbor/decode");
        equal(what.test(info.what), true, info.what);
        equal(info.offset, offset);
        return true;
      },
    );
  });
}

test("depth and size have limits", () => {
  const nested = (depth: number): Uint8Array => hex("81".repeat(depth) + "01");
  deepEqual(decodeCbor(nested(2), { depthMax: 2 }), [[1n]]);
  throws(() => decodeCbor(nested(3), { depthMax: 2 }), /nested deeper/);
  throws(() => decodeCbor(nested(1_000_000)), /nested deeper/);
  throws(() => decodeCbor(hex("9f".repeat(1_000_000))), /nested deeper/);
  throws(() => decodeCbor(hex("bf6161".repeat(300_000))), /nested deeper/);
  throws(() => decodeCbor(hex("c2".repeat(100_000))), /bignum is not/);
  throws(() => decodeCbor(new Uint8Array(11), { bytesMax: 10 }), /more than 10 bytes/);
  equal(Array.isArray(decodeCbor(nested(500), { depthMax: 512 })), true);
});

test("the number of items has a limit", () => {
  const arrays = (count: number): Uint8Array => hex(`9f${"80".repeat(count)}ff`);
  deepEqual(decodeCbor(arrays(3), { itemsMax: 5 }), [[], [], []]);
  throws(() => decodeCbor(arrays(3), { itemsMax: 4 }), /too many items/);
  throws(() => decodeCbor(arrays(4_000_000)), /too many items/);
});

test("accepts what clients send", () => {
  deepEqual(decodeCbor(hex("d9d9f7a16161820102")), new Map([["a", [1n, 2n]]]));
  deepEqual(
    decodeCbor(hex("bf61610161629f02ffff")),
    new Map<string, unknown>([
      ["a", 1n],
      ["b", [2n]],
    ]),
  );
  equal(decodeCbor(hex("1bffffffffffffffff")), 2n ** 64n - 1n);
  equal(decodeCbor(hex("1b0000000000000001")), 1n);
  equal(decodeCbor(hex("c24901ffffffffffffffff")), 2n ** 65n - 1n);
  equal(decodeCbor(hex("c240")), 0n);
  equal(decodeCbor(hex("20")), -1n);
  deepEqual(decodeCbor(hex("83f5f4f6")), [true, false, null]);
  deepEqual(decodeCbor(hex("a1695f5f70726f746f5f5f01")), new Map([["__proto__", 1n]]));
});

test("encoding is deterministic: shortest integers, keys by length and bytes", () => {
  equal(encodeCbor({ bb: 1, a: 2n, c: undefined }).toHex(), "a261610262626201");
  equal(
    encodeCbor(
      new Map<number | string, CborInput>([
        [1, null],
        [0, 2n ** 64n - 1n],
      ]),
    ).toHex(),
    "a2001bffffffffffffffff01f6",
  );
  equal(encodeSelfDescribedCbor([new Uint8Array(2), "é"]).toHex(), "d9d9f78242000062c3a9");
});

test("decoding undoes encoding", () => {
  const leaf = fc.oneof(
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    fc.uint8Array({ maxLength: 20 }),
    fc.string({ unit: "grapheme", maxLength: 12 }),
    fc.boolean(),
    fc.constant(null),
  );
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof({ depthSize: "small" }, leaf, fc.array(tie("value")), tie("map")),
    map: fc.array(fc.tuple(fc.string(), tie("value"))).map((entries) => new Map(entries)),
  }));
  fc.assert(
    fc.property(value, (input) => {
      const bytes = encodeSelfDescribedCbor(input as CborInput);
      const decoded = decodeCbor(bytes, { depthMax: 100 });
      deepEqual(encodeSelfDescribedCbor(decoded), bytes);
    }),
    { seed: 7, numRuns: 200 },
  );
});

test("any bytes give a value or a DecodeError (fuzz, smoke)", () => {
  const corpus = [
    encodeSelfDescribedCbor({
      content: { arg: utf8Bytes("DIDL"), ingress_expiry: 2n ** 60n, paths: [[new Uint8Array(3)]] },
    }),
  ];
  let valueCount = 0;
  for (const bytes of mutations({ corpus, seed: 1, count: 4000 }))
    if (decodeAnything(bytes)) valueCount++;
  equal(valueCount > 100, true, "the fuzzer reaches past the first checks");
});
