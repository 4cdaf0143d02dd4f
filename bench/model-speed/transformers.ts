// transformers.js as a process of the benchmark: node transformers.ts FOLDER THREADS q8|fp32 [--once]
// It lives in bench/speed-peers; make_onnx.py writes the folder. In Node it runs on onnxruntime-node.
// With --once: loads, runs a prompt of 32 tokens, says its first token and ends.

import { readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { type Answer, promptOf, serve, type Task } from "./task.ts";

interface Tensor {
  readonly dims: readonly number[];
}

interface Model {
  generate(options: Record<string, unknown>): Promise<Tensor>;
}

interface Module {
  readonly env: { localModelPath: string; allowRemoteModels: boolean };
  readonly Tensor: new (type: string, data: BigInt64Array, dims: readonly number[]) => Tensor;
  readonly AutoModelForCausalLM: {
    from_pretrained(name: string, options: Record<string, unknown>): Promise<Model>;
  };
}

const FOLDER = join(import.meta.dirname, "../speed-peers/node_modules/@huggingface/transformers");
const [folder = "", threads = "1", dtype = "q8", once] = process.argv.slice(2);
const manifest = readFileSync(join(FOLDER, "package.json"), "utf8");
const { version } = JSON.parse(manifest) as { version: string };
const entry = pathToFileURL(join(FOLDER, "dist/transformers.node.mjs")).href;
const { env, Tensor, AutoModelForCausalLM } = (await import(entry)) as Module;
env.localModelPath = dirname(folder);
env.allowRemoteModels = false;
const model = await AutoModelForCausalLM.from_pretrained(basename(folder), {
  dtype,
  session_options: { intraOpNumThreads: Number(threads), interOpNumThreads: 1 },
});

if (once === undefined) {
  serve({ name: `transformers.js ${dtype}`, version }, run);
} else {
  await run({ kind: "prefill", sequences: 1, promptTokens: 32, tokens: 1 });
  process.exit(0);
}

async function run(task: Task): Promise<Answer> {
  const prompts = Array.from({ length: task.sequences }, (_, i) => promptOf(task, i));
  const dims = [task.sequences, task.promptTokens];
  const ids = BigInt64Array.from(prompts.flat(), BigInt);
  let steps = 0;
  let first: number | undefined;
  // It is told of the prompt first, then of each token.
  const streamer = {
    put: (): void => {
      if (steps === 1) first = performance.now();
      steps += 1;
    },
    end: (): void => undefined,
  };
  const start = performance.now();
  const output = await model.generate({
    input_ids: new Tensor("int64", ids, dims),
    attention_mask: new Tensor("int64", new BigInt64Array(ids.length).fill(1n), dims),
    max_new_tokens: task.tokens,
    do_sample: false,
    // It takes no streamer for several texts.
    ...(task.sequences === 1 && { streamer }),
  });
  const end = performance.now();
  first ??= end;
  return {
    firstMs: first - start,
    restMs: end - first,
    written: task.sequences * ((output.dims[1] ?? 0) - task.promptTokens),
  };
}
