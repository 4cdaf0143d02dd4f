// Damaged texts among a model's files, tokenizer.json and chat templates: each ends in a value or in a named error,
// and a tokenizer that was accepted answers for any text. Damaged binaries: src/model.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { DecodeError, utf8Bytes } from "gyrotron/base";
import { ChatTemplate, chatTemplateOfConfig, decodeHubTokenizer, ModelError } from "gyrotron/model";

const SEED = 20_261_122;
const TEXT = "ab  ba abab\n\u{1f600} c";

const TOKENIZER = {
  version: "1.0",
  truncation: null,
  padding: null,
  added_tokens: [
    {
      id: 6,
      content: "<|end|>",
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    },
  ],
  normalizer: { type: "NFC" },
  pre_tokenizer: {
    type: "ByteLevel",
    add_prefix_space: false,
    trim_offsets: true,
    use_regex: true,
  },
  post_processor: null,
  decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
  model: {
    type: "BPE",
    dropout: null,
    unk_token: null,
    continuing_subword_prefix: "",
    end_of_word_suffix: "",
    fuse_unk: false,
    byte_fallback: false,
    vocab: { a: 0, b: 1, Ġ: 2, ab: 3, Ġab: 4, Ċ: 5, "<|end|>": 6 },
    merges: ["a b", "Ġ ab"],
  },
};

const TEMPLATE =
  "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n' }}" +
  "{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] | trim + '<|im_end|>'}}{% endfor %}" +
  "{% set more = namespace(n=0) %}{% if add_generation_prompt %}{{ bos_token + '<|im_start|>assistant\n' }}{% endif %}";

const JUNK = [
  ...[
    null,
    true,
    -1,
    0,
    1.5,
    1e9,
    2 ** 53,
    "",
    "x",
    "ByteLevel",
    "Metaspace",
    "WordPiece",
    "Unigram",
  ],
  ...[
    [],
    {},
    [[]],
    [null],
    { type: "Sequence" },
    { type: "Replace", pattern: { Regex: "(((" } },
    ["a b c"],
  ],
];

test("a damaged tokenizer.json is refused, or reads every text", () => {
  const file = JSON.stringify(TOKENIZER);
  assert.equal(
    outcome(() => readTokenizer(file)),
    "read",
  );
  const places = placesOf(TOKENIZER);
  const junk = fc.tuple(fc.constantFrom(...places), fc.constantFrom(...JUNK));
  const seen = tally();
  fc.assert(
    fc.property(fc.array(junk, { minLength: 1, maxLength: 3 }), (edits) => {
      const copy: unknown = structuredClone(TOKENIZER);
      for (const [place, value] of edits) put(copy, place, value);
      seen.note(outcome(() => readTokenizer(JSON.stringify(copy))));
    }),
    { seed: SEED, numRuns: 500 },
  );
  fc.assert(
    fc.property(damage(file), (text) => seen.note(outcome(() => readTokenizer(text)))),
    { seed: SEED, numRuns: 500 },
  );
  assert.ok(seen.of("refused") > 200 && seen.of("read") > 50, seen.toString());
});

test("a damaged chat template is refused, or writes every conversation", () => {
  assert.equal(
    outcome(() => render(TEMPLATE)),
    "read",
  );
  const seen = tally();
  fc.assert(
    fc.property(
      damage(TEMPLATE, [
        "{%",
        "%}",
        "{{",
        "}}",
        "|",
        "[",
        "'",
        "endif",
        "messages",
        "not",
        "+",
        "loop",
      ]),
      (text) => seen.note(outcome(() => render(text))),
    ),
    { seed: SEED, numRuns: 1500 },
  );
  assert.ok(seen.of("refused") > 200 && seen.of("read") > 50, seen.toString());
});

test("templates and tokenizers that are no such thing are refused by name", () => {
  const cases: [() => unknown, RegExp][] = [
    [() => new ChatTemplate("a".repeat(70_000), NO_TOKENS), /chat-template\/decode.*too long/],
    [() => new ChatTemplate("{% if %}", NO_TOKENS), /chat-template\/decode/],
    [
      () => render("{{ raise_exception('no system turns') }}"),
      /chat-template\/decode.*no system turns/,
    ],
    [() => render("{{ unknown() }}"), /chat-template\/decode/],
    [() => render("{% if a %}".repeat(6000) + "{% endif %}".repeat(500)), /chat-template\/decode/],
    [() => chatTemplateOfConfig(utf8Bytes("{")), /tokenizer_config\.json is not JSON/],
    [() => chatTemplateOfConfig(Uint8Array.of(255)), /tokenizer_config\.json is not JSON/],
    [() => decodeHubTokenizer(Uint8Array.of(255)), /not UTF-8/],
    [() => decodeHubTokenizer(utf8Bytes("[".repeat(100_000))), /not JSON/],
    [() => decodeHubTokenizer(utf8Bytes("null")), /no model with a vocabulary/],
    [
      () => decodeHubTokenizer(utf8Bytes('{"model":{"vocab":{"a":-1}}}')),
      /token -1 is out of range/,
    ],
    [() => decodeHubTokenizer(utf8Bytes('{"model":{"vocab":{"a":1e9}}}')), /out of range/],
  ];
  for (const [body, what] of cases)
    assert.throws(body, (error) => isNamed(error) && what.test(error.message), String(what));
  assert.equal(chatTemplateOfConfig(utf8Bytes('{"chat_template":7}')), undefined);
});

const NO_TOKENS = { begin: "", end: "" };

function readTokenizer(json: string): void {
  const tokenizer = decodeHubTokenizer(utf8Bytes(json));
  for (const token of tokenizer.encode(TEXT)) tokenizer.bytesOf(token);
}

function render(template: string): void {
  const opened = new ChatTemplate(template, { begin: "<s>", end: "</s>" });
  opened.render([{ role: "user", content: "Hello" }]);
  opened.render([
    { role: "system", content: "" },
    { role: "user", content: "{{ messages }}" },
    { role: "assistant", content: "\u{1f600}" },
    { role: "user", content: "?" },
  ]);
}

function outcome(body: () => void): "read" | "refused" {
  try {
    body();
    return "read";
  } catch (error) {
    if (isNamed(error)) return "refused";
    throw error;
  }
}

function isNamed(error: unknown): error is Error {
  return error instanceof DecodeError || error instanceof ModelError;
}

/** Texts with some characters changed, taken out or put in, maybe cut. */
function damage(text: string, words: readonly string[] = []): fc.Arbitrary<string> {
  const piece = fc.oneof(
    fc.constantFrom("", '"', "{", "}", "[", "]", ",", ":", "0", "-", "\\", "\u0000", ...words),
    fc.string({ minLength: 1, maxLength: 3, unit: "binary" }),
  );
  const edit = fc.record({ at: fc.nat(text.length), drop: fc.nat(3), piece });
  return fc
    .tuple(
      fc.array(edit, { minLength: 1, maxLength: 3 }),
      fc.option(fc.nat(text.length), { freq: 5 }),
    )
    .map(([edits, cut]) =>
      edits.reduce(
        (t, { at, drop, piece: put }) => t.slice(0, at) + put + t.slice(at + drop),
        text.slice(0, cut ?? undefined),
      ),
    );
}

/** Every place of a tree of objects and lists, as keys from its root. */
function placesOf(value: unknown, at: readonly string[] = []): string[][] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => [
    [...at, key],
    ...placesOf(inner, [...at, key]),
  ]);
}

function put(root: unknown, place: readonly string[], value: unknown): void {
  let at = root;
  for (const key of place.slice(0, -1)) {
    if (typeof at !== "object" || at === null) return;
    at = (at as Record<string, unknown>)[key];
  }
  if (typeof at === "object" && at !== null)
    (at as Record<string, unknown>)[place.at(-1) ?? ""] = value;
}

function tally(): { note(kind: string): void; of(kind: string): number; toString(): string } {
  const counts = new Map<string, number>();
  return {
    note: (kind) => void counts.set(kind, (counts.get(kind) ?? 0) + 1),
    of: (kind) => counts.get(kind) ?? 0,
    toString: () => JSON.stringify([...counts]),
  };
}
