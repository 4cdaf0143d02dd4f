// GPT-2's two files make the tokenizer that a tokenizer.json of the same vocabulary makes.

import assert from "node:assert/strict";
import { test } from "node:test";
import { DecodeError, utf8Bytes } from "gyrotron/base";
import { joinBytePairFiles } from "./byte-pair-files.ts";
import { decodeHubTokenizer } from "./hub-tokenizer.ts";
import { decodeTokens } from "./text-tokenizer.ts";

const VOCABULARY = { a: 0, b: 1, c: 2, "\u0120": 3, ab: 4, "\u0120ab": 5, "<|endoftext|>": 6 };
const MERGES = "#version: 0.2\na b\n\u0120 ab\n";

const join = (vocabulary: string, merges: string): Uint8Array =>
  joinBytePairFiles(utf8Bytes(vocabulary), utf8Bytes(merges));

test("words, merges and special tokens are those of the files", () => {
  const tokenizer = decodeHubTokenizer(join(JSON.stringify(VOCABULARY), MERGES));
  assert.deepEqual(tokenizer.encode("ab ab c"), [4, 5, 3, 2]);
  assert.deepEqual(tokenizer.encode("ab<|endoftext|>b"), [4, 6, 1]);
  assert.deepEqual(tokenizer.encodeFramed("a"), [0]);
  assert.equal(decodeTokens(tokenizer, [4, 5, 6, 3, 2]), "ab ab c");
  assert.equal(tokenizer.vocabulary, 7);
  const windows = decodeHubTokenizer(join(JSON.stringify(VOCABULARY), "a b\r\n\u0120 ab"));
  assert.deepEqual(windows.encode("ab ab c"), [4, 5, 3, 2]);
});

test("damaged files are named", () => {
  const errorOf = (vocabulary: string, merges: string): string => {
    try {
      decodeHubTokenizer(join(vocabulary, merges));
      return "no error";
    } catch (error) {
      assert.ok(error instanceof DecodeError, String(error));
      return error.message;
    }
  };
  const good = JSON.stringify(VOCABULARY);
  assert.equal(errorOf(good, MERGES), "no error");
  assert.match(errorOf("{", MERGES), /vocab\.json is not JSON/);
  assert.match(errorOf("[1]", MERGES), /vocab\.json is no object/);
  assert.match(errorOf('{"a": "b"}', MERGES), /vocab\.json: a has no number/);
  assert.match(errorOf('{"a": -1}', ""), /token -1 is out of range/);
  assert.match(errorOf(good, "#version\na b c\n"), /merges\.txt: line 2 is no pair/);
  assert.throws(
    () => joinBytePairFiles(Uint8Array.of(255), utf8Bytes("")),
    /vocab\.json is not UTF-8/,
  );
});
