// Goal: Candid as people write it reads and prints without loss, and errors say where they are.

import assert from "node:assert/strict";
import { test } from "node:test";
import { IDL } from "@icp-sdk/core/candid";
import fc from "fast-check";
import { CandidError, explainCandidError } from "./candid-error.ts";
import { encodeArguments } from "./fit.ts";
import { parseInterface } from "./interface.ts";
import { printReply, quote } from "./print.ts";

const INTERFACE = `// A comment that /* hides another
  type Tree = variant { leaf : int; node : record { left : Tree; right : Tree } };
  /* nested /* twice */ */
  type List = opt record { nat; List };
  type Callback = func (nat) -> () query;
  type Amount = nat;
  service : (Amount, opt text) -> {
    tree : (Tree, List) -> (Amount);
    "two words" : (x : record { a : nat8; "b c" : opt blob; 7 : principal }) -> () oneway;
    named : Callback;
    many : (vec variant { ok; err : text }, float64, opt opt nat, int32) -> (reserved) composite_query;
  }`;

test("an interface gives methods with their types", () => {
  const { init, methods } = parseInterface(INTERFACE);
  assert.deepEqual(
    init.map((type) => type.display()),
    ["nat", "opt text"],
  );
  assert.deepEqual([...methods.keys()].sort(), ["many", "named", "tree", "two words"]);
  assert.deepEqual(methods.get("named")?.annotations, ["query"]);
  assert.deepEqual(methods.get("many")?.annotations, ["composite_query"]);
  assert.deepEqual(methods.get("tree")?.retTypes, [IDL.Nat]);
});

for (const [text, problem] of [
  ["service : { f : (nat) -> () ", "expected ; or }, found the end at column 29"],
  ["service : { f : (Missing) -> () }", "type Missing is not defined, found Missing at column 18"],
  [
    "type A = record { a : nat; a : nat }; service : {}",
    "field a appears twice, found } at column 36",
  ],
  ["service : { f : nat }", "type nat is not defined, found nat at column 17"],
  ["servce : {}", "expected type or service, found servce at column 1"],
  ['service : { "f : () -> () }', "unclosed text at column 13"],
  ["/* service : {}", "unclosed comment at column 1"],
  [`service : { f : (${"opt ".repeat(300)}nat) -> () }`, "types are nested too deeply"],
] as const) {
  test(`an interface with a mistake says where: ${problem}`, () => {
    assert.throws(() => parseInterface(text), isCandidError(text, problem));
  });
}

for (const [method, text, printed] of [
  [
    "tree",
    "(variant { node = record { left = variant { leaf = -3 }; right = variant { leaf = 1_000 } } }, opt record { 1; null })",
    [
      "(",
      "  variant {",
      "    node = record {",
      "      left = variant { leaf = -3 : int };",
      "      right = variant { leaf = 1_000 : int };",
      "    };",
      "  },",
      "  opt record { 1 : nat; null },",
      ")",
    ].join("\n"),
  ],
  ["two words", 'record { 7 = principal "aaaaa-aa"; a = 0xff; "b c" = blob "\\00hi" }', undefined],
  [
    "many",
    '(vec { variant { ok }; variant { err = "no\\n\\u{1F600}" } }, 1.5e3, opt opt 3, -7)',
    '(\n  vec { variant { ok }; variant { err = "no\\n\u{1F600}" } },\n  1500.0 : float64,\n  opt opt (3 : nat),\n  -7 : int32,\n)',
  ],
] as const) {
  test(`values of ${method} survive bytes and text`, () => {
    const types = parseInterface(INTERFACE).methods.get(method)?.argTypes as IDL.Type[];
    const bytes = encodeArguments(text, types);
    const shown = printReply(bytes, types);
    if (printed !== undefined) assert.equal(shown, printed);
    assert.deepEqual(encodeArguments(shown, types), bytes);
  });
}

for (const [method, text, problem] of [
  ["named", '("5")', 'the argument must be nat but is the text "5" at column 2'],
  ["named", "(-1)", "the argument must be nat but is -1 at column 2"],
  ["named", "()", "the method takes 1 argument but 0 were given"],
  ["named", "(1, 2)", "the method takes 1 argument but 2 were given"],
  ["named", "(1", "expected , or ), found the end at column 3"],
  ["named", "(1) 2", "expected the end, found 2 at column 5"],
  ["named", "(foo)", "unknown word foo (texts need quotes) at column 2"],
  ["named", "(#)", "unexpected # at column 2"],
  ["named", '(principal "nonsense")', '"nonsense" is not a principal at column 12'],
  [
    "two words",
    'record { a = 256; 7 = principal "aaaaa-aa" }',
    "the argument, field a must be nat8 but is 256 at column 14",
  ],
  [
    "two words",
    'record { 7 = principal "aaaaa-aa" }',
    "the argument must be a record with the field a but is a record at column 1",
  ],
  [
    "two words",
    'record { a = 1; 7 = principal "aaaaa-aa"; z = 1 }',
    "must be a record without the field z",
  ],
  [
    "many",
    "(vec { variant { bad } }, 1, null, 0)",
    "argument 1, item 1 must be a variant { ok | err } but is variant { bad } at column 8",
  ],
  ["many", "(vec {}, 1, null, 2147483648)", "argument 4 must be int32 but is 2147483648"],
] as const) {
  test(`a wrong argument says what and where: ${problem}`, () => {
    const types = parseInterface(INTERFACE).methods.get(method)?.argTypes;
    assert.throws(() => encodeArguments(text, types), isCandidError(text, problem));
  });
}

test("without an interface types are inferred, and replies show field numbers", () => {
  const bytes = encodeArguments('(1, "x", record { a = 1 : nat8 }, 2.5, opt true)', undefined);
  const types = '(1 : int, "x", record { 97 = 1 : nat8 }, 2.5 : float64, opt true)';
  assert.equal(printReply(bytes, undefined), types);
});

test("trailing optional arguments may be left out", () => {
  const types = [IDL.Nat, IDL.Opt(IDL.Text), IDL.Null];
  assert.equal(printReply(encodeArguments("(1)", types), types), "(1 : nat, null, null)");
});

test("every text and every blob reads back as it was", () => {
  const types = [IDL.Text, IDL.Vec(IDL.Nat8)];
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), fc.uint8Array(), (text, blob) => {
      const bytes = IDL.encode(types, [text, blob]);
      assert.deepEqual(encodeArguments(printReply(bytes, types), types), bytes);
      assert.deepEqual(encodeArguments(quote(text), [IDL.Text]), IDL.encode([IDL.Text], [text]));
    }),
    { seed: 1 },
  );
});

test("no text makes the parsers throw anything but a CandidError", () => {
  const word = fc.constantFrom(
    "(",
    ")",
    "{",
    "}",
    "record",
    "opt",
    "vec",
    "-",
    "1",
    ".5",
    '"x"',
    "=",
    ";",
    ",",
    ":",
    "\\",
    "'",
    "nat",
    "a",
    "/*",
    "//",
    "é",
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 12 }), (words) => {
      const text = words.join(" ");
      for (const parse of [
        () => encodeArguments(text, undefined),
        () => parseInterface(`service : ${text}`),
      ]) {
        try {
          parse();
        } catch (error) {
          if (!(error instanceof CandidError)) throw error;
        }
      }
    }),
    { seed: 2, numRuns: 500 },
  );
});

function isCandidError(text: string, problem: string): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof CandidError, String(error));
    const explained = explainCandidError(error, text);
    assert.ok(explained.includes(problem), explained);
    return true;
  };
}
