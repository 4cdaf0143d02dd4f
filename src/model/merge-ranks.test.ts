// Byte-pair tokenizers with the library's own table of merges and with ours give the same tokens.

import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { test } from "node:test";
import { Tokenizer } from "@huggingface/tokenizers";
import fc from "fast-check";
import { utf8Bytes } from "gyrotron/base";
import { decodeHubTokenizer } from "./hub-tokenizer.ts";
import { openLibrary } from "./merge-ranks.ts";

const LETTERS = ["a", "b", "c", "d", "\u0120"];
const alphabet = fc.constantFrom(...LETTERS);
/** Merges of what is there so far, so that every one can happen. */
const mergesOf = fc
  .array(fc.tuple(fc.nat(), fc.nat()), { maxLength: 40 })
  .map((picks): [string, string][] => {
    const known = [...LETTERS];
    return picks.map(([i, j]) => {
      const pair: [string, string] = [known[i % known.length]!, known[j % known.length]!];
      known.push(pair.join(""));
      return pair;
    });
  });

interface TokenizerFile extends Readonly<Record<string, unknown>> {
  readonly model: object;
}

function fileOf(merges: readonly unknown[], tokens: readonly string[]): TokenizerFile {
  const vocab = Object.fromEntries([...new Set(tokens)].map((token, id) => [token, id]));
  return {
    ...{ version: "1.0", normalizer: null, post_processor: null, added_tokens: [] },
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true },
    decoder: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true },
    model: { type: "BPE", vocab, merges },
  };
}

test("tokens are those of the library, with merges as texts and as pairs", () => {
  const texts = fc.array(fc.string({ unit: alphabet }), { maxLength: 5 });
  fc.assert(
    fc.property(mergesOf, texts, (merges, words) => {
      const tokens = [...LETTERS, ...merges.map((pair) => pair.join(""))];
      for (const form of [merges, merges.map((pair) => pair.join(" "))]) {
        const file = fileOf(form, tokens);
        const theirs = new Tokenizer(file, {});
        const ours = openLibrary(file);
        const text = words.join(" ").replaceAll("\u0120", " ");
        deepEqual(ours.encode(text).ids, theirs.encode(text).ids);
      }
    }),
    { numRuns: 200, seed: 7 },
  );
});

test("a blank within a token takes the library's table", () => {
  const merges = [
    ["a", " b"],
    ["a b", "c"],
  ];
  const { model } = openLibrary(fileOf(merges, [..."abc ", " b", "a b", "a bc"]));
  ok("bpe_ranks" in model && model.bpe_ranks instanceof Map);
  equal(model.bpe_ranks.size, 2);
});

test("ids beyond what a vocabulary may have are refused before anything is made of them", () => {
  for (const id of [-1, 1.5, 2 ** 40, Number.NaN]) {
    const file = fileOf([], ["a"]);
    const json = JSON.stringify({ ...file, model: { ...file.model, vocab: { a: id } } });
    throws(() => decodeHubTokenizer(utf8Bytes(json)), { name: "DecodeError" });
  }
});
