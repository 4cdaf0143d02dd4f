// The logits of a text by our arithmetic, as raw f32 on standard output: what compare.py sets beside a float
// reference. Each window of tokens is a sequence of its own; logits of all its positions. FIRST windows are left out.
//
//   node --conditions=source bench/quality/logits.ts MODEL.gguf PRECISION TOKENS.u32 WINDOW [FIRST]

import { readFileSync, writeSync } from "node:fs";
import { createWasmBackend } from "gyrotron/backend";
import { loadModel } from "gyrotron/node/models";
import { PRECISIONS } from "gyrotron/tensor";

const [path = "", wanted = "", file = "", size = "", first = "0"] = process.argv.slice(2);
const precision = PRECISIONS.find((name) => name === wanted);
if (precision === undefined) throw new TypeError(`precision ${wanted}`);
const bytes = readFileSync(file);
const tokens = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
const window = Number(size);
const { prepared } = loadModel(path, precision);
const backend = await createWasmBackend({ threads: 1 });
const decoder = await backend.createDecoder(prepared.weights);
for (let start = Number(first) * window; start + window <= tokens.length; start += window) {
  const cache = decoder.createCache(window);
  for (let from = start; from < start + window; from += decoder.rowsMax) {
    const part = tokens.subarray(from, Math.min(from + decoder.rowsMax, start + window));
    const rows = Array.from(part, (token) => ({ cache, token, wantsLogits: true }));
    const { logits, failures } = await decoder.step(rows);
    if (failures.size > 0) throw new RangeError("a value is not finite");
    for (const row of logits) {
      if (row === undefined) throw new TypeError("logits were asked for");
      const out = new Uint8Array(row.buffer, row.byteOffset, row.byteLength);
      for (let done = 0; done < out.length;) done += write(out.subarray(done));
    }
  }
  cache.free();
}
await decoder.close();
await backend.close();

/** Writes to a pipe that may be full. */
function write(part: Uint8Array): number {
  for (;;) {
    try {
      return writeSync(1, part);
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EAGAIN")) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2);
    }
  }
}
