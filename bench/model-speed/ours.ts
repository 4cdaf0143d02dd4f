// This engine as a process of the benchmark: node ours.ts PREPARED-FILE THREADS [native]

import process from "node:process";
import { loadLanguageModel } from "gyrotron/accelerator";
import { createWasmBackend } from "gyrotron/backend";
import { createGenerator, type GenerationOutcome, GREEDY } from "gyrotron/learn";
import { installNodeHashes } from "gyrotron/node/models";
import { openNativeBackend } from "gyrotron/node/native";
import { openByteSource } from "../../src/node/models/file-source.ts";
import { type Answer, promptOf, serve, type Task } from "./task.ts";

const [path = "", threads = "1", kind = "wasm"] = process.argv.slice(2);
installNodeHashes();
const { prepared } = loadLanguageModel("benchmark", {
  format: "prepared",
  file: openByteSource(path),
});
const backend =
  kind === "native"
    ? await openNativeBackend({ threads: Number(threads), note: console.log })
    : await createWasmBackend({ threads: Number(threads) });
// No token ends a text here, so that every run has the same length; and no cache spares a prompt.
const model = { ...prepared, endTokens: [] };
const generator = await createGenerator(model, { backend, keptCaches: 0 });

serve(
  { name: kind === "native" ? "gyrotron native" : "gyrotron", version: prepared.precision },
  run,
);

async function run(task: Task): Promise<Answer> {
  const start = performance.now();
  let first: number | undefined;
  const outcomes = await generator.generateBatch(
    Array.from({ length: task.sequences }, (_, sequence) => ({
      promptTokens: promptOf(task, sequence),
      maxTokens: task.tokens,
      sampling: GREEDY,
      seed: 0n,
      onToken: () => void (first ??= performance.now()),
    })),
  );
  const end = performance.now();
  first ??= end;
  return {
    firstMs: first - start,
    restMs: end - first,
    written: outcomes.reduce((sum, outcome) => sum + tokensOf(outcome), 0),
    digest: outcomes.map(digestOf).join(" "),
  };
}

function tokensOf(outcome: GenerationOutcome): number {
  return outcome.kind === "done" ? outcome.drawn : 0;
}

function digestOf(outcome: GenerationOutcome): string {
  return outcome.kind === "done" ? outcome.digest.toHex().slice(0, 16) : outcome.kind;
}
