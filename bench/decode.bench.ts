// Tokens a second of the exact engine on the bundled model: decoding one sequence, decoding a batch of
// eight, and prefill, by precision and threads. Medians; the digest shows that all settings computed the same.
//   node --conditions=source bench/decode.bench.ts [runs] [--record]

import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { createWasmBackend } from "gyrotron/backend";
import {
  createGenerator,
  type GenerationRequest,
  GREEDY,
  type TextGenerator,
} from "gyrotron/learn";
import { decodeHuggingFace, prepareModel } from "gyrotron/model";
import type { Precision } from "gyrotron/tensor";
import { appendResult, describeRun, percentile } from "./record.ts";

const TOKENS = 128;
const PROMPT = 256;
const BATCH = 8;

const folder = join(import.meta.dirname, "../models/storyteller");
const source = decodeHuggingFace({
  config: readFileSync(join(folder, "config.json")),
  tensors: readFileSync(join(folder, "model.safetensors")),
});
const runs = Number(process.argv[2] ?? 5);
const results: Record<string, number | string>[] = [];
for (const precision of ["w8a8", "w8a14", "w14a14"] satisfies Precision[]) {
  // No token ends a text here, so that every run has the same length.
  const model = { ...prepareModel(source, precision), endTokens: [] };
  for (const threads of [1, 2]) {
    const backend = await createWasmBackend({ threads });
    const generator = await createGenerator(model, { backend, keptCaches: 0 });
    results.push({ precision, threads, ...(await measure(generator)) });
    console.log(JSON.stringify(results.at(-1)));
    await generator.close();
    await backend.close();
  }
}
if (process.argv.includes("--record")) appendResult("decode", { ...describeRun(), runs, results });

async function measure(generator: TextGenerator): Promise<Record<string, number | string>> {
  const request = (promptLength: number, maxTokens: number, seed: bigint): GenerationRequest => ({
    promptTokens: Array.from({ length: promptLength }, (_, i) =>
      i === 0 ? 1 : 300 + ((i * 37) % 1500),
    ),
    maxTokens,
    sampling: GREEDY,
    seed,
  });
  const single = request(1, TOKENS, 0n);
  const batch = Array.from({ length: BATCH }, (_, i) => request(i + 1, TOKENS, BigInt(i)));
  const outcome = await generator.generate(single);
  const rate = async (tokens: number, body: () => Promise<unknown>): Promise<number> => {
    await body();
    const rates: number[] = [];
    for (let run = 0; run < runs; run++) {
      const start = performance.now();
      await body();
      rates.push((tokens / (performance.now() - start)) * 1000);
    }
    return Math.round(
      percentile(
        rates.toSorted((a, b) => a - b),
        0.5,
      ),
    );
  };
  return {
    decodeTokensPerSecond: await rate(TOKENS, () => generator.generate(single)),
    batchTokensPerSecond: await rate(TOKENS * BATCH, () => generator.generateBatch(batch)),
    prefillTokensPerSecond: await rate(PROMPT, () => generator.generate(request(PROMPT, 1, 0n))),
    digest: outcome.kind === "done" ? outcome.digest.toHex().slice(0, 16) : outcome.kind,
  };
}
