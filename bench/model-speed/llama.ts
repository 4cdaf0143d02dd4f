// llama.cpp by way of node-llama-cpp as a process of the benchmark: node llama.ts FILE.gguf THREADS [--once]
// It lives in bench/speed-peers. With --once: loads, runs a prompt of 32 tokens, says its first token and ends.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { type Answer, promptOf, serve, type Task } from "./task.ts";

interface Sequence {
  clearHistory(): Promise<void>;
  evaluate(tokens: readonly number[], options: { temperature: number }): AsyncIterable<number>;
}

interface Context {
  getSequence(): Sequence;
}

interface Module {
  getLlama(options: Record<string, unknown>): Promise<{
    loadModel(options: { modelPath: string }): Promise<{
      createContext(options: Record<string, unknown>): Promise<Context>;
    }>;
  }>;
}

const FOLDER = join(import.meta.dirname, "../speed-peers/node_modules/node-llama-cpp");
/** Positions of a text. */
const CONTEXT = 640;
const [modelPath = "", threads = "1", once] = process.argv.slice(2);
const { getLlama } = (await import(pathToFileURL(join(FOLDER, "dist/index.js")).href)) as Module;
const llama = await getLlama({ gpu: false, build: "never", logLevel: "error" });
const model = await llama.loadModel({ modelPath });
const contexts = new Map<number, readonly Sequence[]>();

if (once === undefined) {
  const manifest = readFileSync(join(FOLDER, "package.json"), "utf8");
  const { version } = JSON.parse(manifest) as { version: string };
  serve({ name: "llama.cpp", version: `node-llama-cpp ${version}` }, run);
} else {
  await run({ kind: "prefill", sequences: 1, promptTokens: 32, tokens: 1 });
  process.exit(0);
}

async function run(task: Task): Promise<Answer> {
  const used = await sequencesFor(task.sequences);
  for (const sequence of used) await sequence.clearHistory();
  const start = performance.now();
  let first: number | undefined;
  const written = await Promise.all(
    used.map(async (sequence, i) => {
      let tokens = 0;
      for await (const _token of sequence.evaluate(promptOf(task, i), { temperature: 0 })) {
        first ??= performance.now();
        tokens += 1;
        if (tokens === task.tokens) break;
      }
      return tokens;
    }),
  );
  const end = performance.now();
  first ??= end;
  return {
    firstMs: first - start,
    restMs: end - first,
    written: written.reduce((sum, tokens) => sum + tokens, 0),
  };
}

/** So many texts side by side; a context for each number, so that one text takes the memory of one. */
async function sequencesFor(count: number): Promise<readonly Sequence[]> {
  const known = contexts.get(count);
  if (known !== undefined) return known;
  const context = await model.createContext({
    contextSize: CONTEXT,
    batchSize: 512,
    threads: Number(threads),
    sequences: count,
  });
  const sequences = Array.from({ length: count }, () => context.getSequence());
  contexts.set(count, sequences);
  return sequences;
}
