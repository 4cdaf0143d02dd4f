// Goal: whatever a node sends and however it is cut, the pieces of text come out whole and in order,
// and nothing but text events counts.

import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { textPieces } from "./preview-stream.ts";

const seed = Number(process.env["GYROTRON_SEED"] ?? 7);

test("text arrives whole, however the stream is cut", async () => {
  const lengths = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 });
  const pieces = fc.array(fc.string({ unit: "grapheme", maxLength: 12 }));
  await fc.assert(
    fc.asyncProperty(pieces, lengths, async (texts, cuts) => {
      const events = texts.map((delta) => `event: text\ndata: ${JSON.stringify({ delta })}\n\n`);
      assert.deepEqual(await read(`${events.join("")}event: end\ndata: {}\n\n`, cuts), texts);
    }),
    { seed, numRuns: 60 },
  );
});

for (const [what, stream, expected] of [
  ["ends at the end event", text("a") + "event: end\ndata: {}\n\n" + text("b"), ["a"]],
  ["ends with the stream", text("a") + "event: text\ndata: {", ["a"]],
  ["passes over other events", "event: ping\ndata: 1\n\n: comment\n\n" + text("a"), ["a"]],
  ["passes over data that is no text", "event: text\ndata: [1\n\n" + text("a"), ["a"]],
  ["passes over a delta of another type", 'event: text\ndata: {"delta":1}\n\n' + text("a"), ["a"]],
  ["gives up on an event without an end", text("a") + "x".repeat(1_048_577) + text("b"), ["a"]],
] as const) {
  test(`a stream ${what}`, async () => {
    assert.deepEqual(await read(stream, [1 << 20, 1 << 20]), expected);
  });
}

function text(delta: string): string {
  return `event: text\ndata: ${JSON.stringify({ delta })}\n\n`;
}

/** The pieces in a stream whose chunks have the lengths of `cuts`, again and again. */
async function read(stream: string, cuts: readonly number[]): Promise<string[]> {
  const bytes = new TextEncoder().encode(stream);
  let offset = 0;
  let count = 0;
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (offset >= bytes.length) {
        controller.close();
        return;
      }
      const end = offset + cuts[count++ % cuts.length]!;
      controller.enqueue(bytes.slice(offset, end));
      offset = end;
    },
  });
  return Array.fromAsync(textPieces(body));
}
