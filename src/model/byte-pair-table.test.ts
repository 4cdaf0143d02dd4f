// A tokenizer opened from tables gives the tokens that it gives from its JSON, and tables give that JSON back.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { DecodeError, present } from "gyrotron/base";
import { type BytePairTable, bytePairTable, jsonOfTable } from "./byte-pair-table.ts";
import {
  isTrueTokenizer,
  reopenHubTokenizer,
  type StoredHubTokenizer,
  tabledTokenizer,
} from "./hub-tokenizer.ts";

const LETTERS = ["a", "b", "c", "7", "\u0120", "\u00e9", "\u{1f600}"];
const letter = fc.constantFrom(...LETTERS);
/** Merges of what is there so far, each pair once. */
const mergesOf = fc
  .array(fc.tuple(fc.nat(), fc.nat()), { maxLength: 40 })
  .map((picks): [string, string][] => {
    const known = [...LETTERS];
    const pairs = picks.map(([i, j]): [string, string] => {
      const pair: [string, string] = [known[i % known.length]!, known[j % known.length]!];
      known.push(pair.join(""));
      return pair;
    });
    return [...new Map(pairs.map((pair) => [pair.join(" "), pair])).values()];
  });

/** A tokenizer.json with one token that stands for no text, and one that the pieces lack. */
function fileOf(
  merges: readonly [string, string][],
  { pairs = false, model = {} }: { pairs?: boolean; model?: object } = {},
): string {
  const tokens = ["<s>", ...LETTERS, ...merges.map((pair) => pair.join(""))];
  const vocab = Object.fromEntries([...new Set(tokens)].map((token, id) => [token, id]));
  const plain = { single_word: false, lstrip: false, rstrip: false, normalized: false };
  const split = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  // Keys that are numbers come first in JSON.
  const ids = Object.fromEntries(Object.keys(vocab).map((token, id) => [token, id]));
  return JSON.stringify({
    version: "1.0",
    added_tokens: [
      { id: ids["<s>"], content: "<s>", special: true, ...plain },
      { id: tokens.length + 1, content: "<added>", special: false, ...plain },
    ],
    ...{ normalizer: null, pre_tokenizer: split, post_processor: null, decoder: split },
    model: {
      ...{ type: "BPE", unk_token: "<s>", vocab: ids },
      merges: pairs ? merges : merges.map((pair) => pair.join(" ")),
      ...model,
    },
  });
}

test("tokens, bytes and identity are those of the JSON, which tables give back", () => {
  const texts = fc.array(fc.string({ unit: letter, maxLength: 12 }), { maxLength: 5 });
  fc.assert(
    fc.property(mergesOf, texts, fc.boolean(), fc.boolean(), (merges, words, pairs, ignores) => {
      const json = fileOf(merges, { pairs, model: ignores ? { ignore_merges: true } : {} });
      const stored = tabledTokenizer({ kind: "hub", json });
      assert.equal(stored.kind, "bytePairs");
      assert.ok(isTrueTokenizer(stored));
      assert.equal(jsonOfTable(present(bytePairTable(json))), json);
      const [plain, tabled] = [
        reopenHubTokenizer({ kind: "hub", json }),
        reopenHubTokenizer(stored),
      ];
      const text = `<s>${words.join(" ")}<added>?`;
      const tokens = plain.encode(text);
      assert.deepEqual(tabled.encode(text), tokens);
      assert.deepEqual(tabled.identity, plain.identity);
      assert.equal(tabled.vocabulary, plain.vocabulary);
      for (let token = 0; token < plain.vocabulary; token++) {
        assert.deepEqual(tabled.bytesOf(token), plain.bytesOf(token));
        assert.deepEqual(tabled.nameOf(token), plain.nameOf(token));
      }
    }),
    { numRuns: 100, seed: 5 },
  );
});

test("a file that tables would not give back stays as it is", () => {
  const merges: [string, string][] = [["a", "b"]];
  const models: object[] = [
    { vocab: { a: 0, b: 1, ab: 3 } },
    { vocab: { a: 0, b: 1 }, merges: ["a c"] },
    { vocab: { b: 1, a: 0, ab: 2 } },
    { merges: ["a b", "a b"] },
    { merges: ["a b", ["b", "a"]] },
    { merges: ["a b c"] },
    { type: "WordPiece" },
  ];
  for (const model of models) {
    const stored = { kind: "hub", json: fileOf(merges, { model }) } as const;
    assert.equal(tabledTokenizer(stored), stored, JSON.stringify(model));
  }
});

test("tables that do not fit together are refused, and others' tables are found out", () => {
  const json = fileOf([
    ["a", "b"],
    ["ab", "c"],
  ]);
  const stored = tabledTokenizer({ kind: "hub", json });
  assert.ok(stored.kind === "bytePairs");
  const withPart = (part: Partial<BytePairTable>): StoredHubTokenizer => ({ ...stored, ...part });
  const refused: Partial<BytePairTable>[] = [
    { rest: "{}" },
    { rest: stored.rest.replace("BPE", "WordPiece") },
    { pieces: "[1]" },
    { pieces: "{" },
    { sorted: stored.sorted.slice(1) },
    { sorted: stored.sorted.map(() => 99) },
    { merges: stored.merges.slice(1) },
    { merges: stored.merges.map(() => 99) },
    { ranked: Uint32Array.of(0, 2) },
  ];
  for (const part of refused)
    assert.throws(() => reopenHubTokenizer(withPart(part)), DecodeError, JSON.stringify(part));
  const untrue: Partial<BytePairTable>[] = [
    { pieces: stored.pieces.replace("ab", "ac") },
    { sorted: stored.sorted.toReversed() },
    { merges: stored.merges.toReversed() },
    { ranked: stored.ranked.toReversed() },
  ];
  for (const part of untrue) assert.equal(isTrueTokenizer(withPart(part)), false);
});
