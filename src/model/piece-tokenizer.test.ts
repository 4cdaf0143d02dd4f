// The tokenizer against a plain re-statement of its definition, and its round trip.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import fc from "fast-check";
import { DecodeError } from "gyrotron/base";
import { ModelError, PieceTokenizer, TokenStream } from "./index.ts";
import { tokenizerFile } from "./sample-files.ts";

const seed = Number(process.env["GYROTRON_SEED"] ?? 7);
const shared = process.env["GYROTRON_SHARED"] ?? join(import.meta.dirname, "../../../shared");
const storiesFile = join(shared, "models/stories260k/tok512.bin");
const skip = existsSync(storiesFile) ? false : `no tokenizer at ${storiesFile}`;

const PIECES = [
  "er",
  "in",
  " a",
  "on",
  "aa",
  "ab",
  "aab",
  "aaa",
  " aa",
  "é",
  "日",
  "日本",
  " ",
  "a",
  "b",
  "e",
  "r",
  "i",
  "n",
  "o",
  "本",
];
const small = new PieceTokenizer(tokenizerFile(PIECES));

/** The definition, quadratic: the best score anywhere, the leftmost of equals, until nothing merges. */
function encodePlainly(file: Uint8Array, text: string): number[] {
  if (text === "") return [];
  const pieces: { text: string; score: number }[] = [];
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  for (let at = 4; at < file.length;) {
    const length = view.getInt32(at + 4, true);
    pieces.push({
      score: view.getFloat32(at, true),
      text: Buffer.from(file.subarray(at + 8, at + 8 + length)).toString("latin1"),
    });
    at += 8 + length;
  }
  const find = (bytes: string): number =>
    pieces.findIndex((piece, id) => id > 258 && piece.text === bytes);
  const tokens: number[] = [];
  for (const character of ` ${text}`) {
    const bytes = Buffer.from(character).toString("latin1");
    const id = find(bytes);
    if (id > 0) tokens.push(id);
    else for (const byte of Buffer.from(character)) tokens.push(byte + 3);
  }
  for (;;) {
    let best = { score: -Infinity, at: -1, id: -1 };
    for (let at = 0; at + 1 < tokens.length; at++) {
      const [left, right] = [tokens[at]!, tokens[at + 1]!];
      if (left < 259 || right < 259) continue;
      const id = find(pieces[left]!.text + pieces[right]!.text);
      if (id > 0 && pieces[id]!.score > best.score) best = { score: pieces[id]!.score, at, id };
    }
    if (best.at < 0) return tokens;
    tokens.splice(best.at, 2, best.id);
  }
}

test("encoding is the definition's, decoding gives the text back", () => {
  const file = tokenizerFile(PIECES);
  const text = fc.oneof(
    fc.string({
      unit: fc.constantFrom("a", "b", " ", "e", "r", "i", "n", "日", "本", "é"),
      maxLength: 40,
    }),
    fc.string({ unit: "grapheme", maxLength: 20 }),
  );
  fc.assert(
    fc.property(text, (sample) => {
      const tokens = small.encode(sample);
      assert.deepEqual(tokens, encodePlainly(file, sample));
      assert.equal(small.decode(tokens), sample);
      assert.equal(small.decode([1, ...tokens, 2]), sample);
    }),
    { seed, numRuns: 1500 },
  );
});

test("equal scores merge from the left, better scores first", () => {
  const id = (piece: string): number => 259 + PIECES.indexOf(piece);
  assert.deepEqual(small.encode("aaaa"), [id(" a"), id("aaa")]);
  assert.deepEqual(small.encode("aaaaa"), [id(" a"), id("aa"), id("aa")]);
  assert.deepEqual(small.encode("\n"), [id(" "), 13]);
  assert.deepEqual(small.encode(""), []);
  assert.deepEqual(small.encode("日本"), [id(" "), id("日本")]);
});

test("a long text is not quadratic", () => {
  const text = "ab a ".repeat(20_000);
  assert.equal(small.decode(small.encode(text)), text);
});

test("streams hold back characters until they are whole", () => {
  const stream = new TokenStream(small);
  const parts = [...Buffer.from(" 漢x")].map((byte) => stream.push(byte + 3));
  assert.deepEqual(parts, ["", "", "", "漢", "x"]);
  assert.deepEqual([stream.push(0xe6 + 3), stream.end(), stream.end()], ["", "\ufffd", ""]);
  // Bytes that can never become a character do not hold anything back.
  const broken = new TokenStream(small);
  assert.equal(broken.push(0xff + 3) + broken.push(0x41 + 3), "\ufffdA");
});

test("unknown tokens and hostile files are refused", () => {
  assert.throws(() => small.decode([99_999]), ModelError);
  assert.throws(() => small.bytesOf(-1), ModelError);
  const file = tokenizerFile(["a"]);
  const changed = (at: number, value: number): Uint8Array => {
    const bytes = file.slice();
    new DataView(bytes.buffer).setInt32(at, value, true);
    return bytes;
  };
  const bad: [Uint8Array, RegExp][] = [
    [new Uint8Array(2), /cut off.*offset: 2/],
    [file.subarray(0, file.length - 1), /piece cut off/],
    [file.subarray(0, 100), /./],
    [changed(0, -5), /longest piece.*offset: 0/],
    [changed(8, -1), /length out of range.*offset: 8/],
    [changed(8, 0x7fffffff), /length out of range/],
    [changed(4, 0x7fc00000), /score is not finite.*offset: 4/],
  ];
  for (const [bytes, what] of bad) {
    assert.throws(
      () => new PieceTokenizer(bytes),
      (error) => error instanceof DecodeError && what.test(error.message),
    );
  }
});

test("stories260k's tokenizer: known tokens and round trip", { skip }, () => {
  const file = readFileSync(storiesFile);
  const tokenizer = new PieceTokenizer(file);
  assert.equal(tokenizer.vocabulary, 512);
  const text =
    "Once upon a time, there was a little girl named Lily.\nShe said: “Ünïcode → 日本 🙂”";
  assert.deepEqual(tokenizer.encode(text), encodePlainly(file, text));
  assert.equal(tokenizer.decode(tokenizer.encode(text)), text);
  // As llama2.c's own encoder gives them.
  assert.deepEqual(tokenizer.encode("Once upon a time"), [403, 407, 261, 378]);
});
