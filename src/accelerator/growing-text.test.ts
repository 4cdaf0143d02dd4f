// Stop texts: what is shown never contains any part of one, however tokens cut it.

import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { utf8Bytes } from "gyrotron/base";
import { type TextTokenizer, TokenStream } from "gyrotron/model";
import { GrowingText } from "./growing-text.ts";

const PIECES = ["a", "b", "ab", "ba", "aab", "c", "bc"];
const tokenizer: TextTokenizer = {
  identity: new Uint8Array(32),
  vocabulary: PIECES.length,
  dropsFirstBlank: false,
  encode: () => [],
  nameOf: (token) => utf8Bytes(PIECES[token]!),
  bytesOf: (token) => utf8Bytes(PIECES[token]!),
};

test("a text ends before its first stop text, and nothing of that is shown", () => {
  const stop = fc.array(fc.constantFrom("a", "b", "c"), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(
      fc.array(fc.nat(PIECES.length - 1), { maxLength: 20 }),
      fc.array(
        stop.map((letters) => letters.join("")),
        { maxLength: 3 },
      ),
      (tokens, stops) => {
        const growing = new GrowingText(new TokenStream(tokenizer), [], stops);
        const shown: string[] = [];
        let spelled = "";
        for (const token of tokens) {
          if (growing.isStopped) break;
          shown.push(growing.push(token));
          spelled += PIECES[token]!;
        }
        const ends = stops.flatMap((s) => (spelled.includes(s) ? [spelled.indexOf(s)] : []));
        const expected = ends.length === 0 ? spelled : spelled.slice(0, Math.min(...ends));
        assert.equal(growing.isStopped, ends.length > 0);
        assert.equal(growing.end(), expected);
        for (const [i, text] of shown.entries()) {
          assert.ok(expected.startsWith(text), `${text} of ${expected}`);
          assert.ok(i === 0 || text.startsWith(shown[i - 1]!), "text that was shown stays");
        }
      },
    ),
    { seed: Number(process.env["GYROTRON_SEED"] ?? 7), numRuns: 3000 },
  );
});

test("a text is full at 2^18 UTF-16 units, so that its result fits into a block", () => {
  const growing = new GrowingText(new TokenStream(tokenizer), [], []);
  growing.push(0);
  let length = 1;
  for (; length + 3 < 2 ** 18; length += 3) growing.push(4);
  assert.equal(growing.isFull, false);
  growing.push(4);
  assert.equal(growing.isFull, true);
  assert.equal(growing.isStopped, false);
});
