// `gyrotron run`: a language model on this machine, without a node: the text, the digest of all its
// logits, and how fast it was.

import { formatHex, MIB } from "gyrotron/base";
import type { Job, JobResult } from "gyrotron/job";
import { PRECISIONS } from "gyrotron/tensor";
import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import { DEFAULT_DATA, type FlagTable, readFlags, readInteger } from "../flags.ts";
import {
  BACKEND_DETAILS,
  BACKEND_FLAGS,
  type BackendName,
  checkOracleTime,
  readBackend,
} from "../local-backend.ts";
import { LocalModel, type TimedRun } from "../local-model.ts";
import { fact, paint, print, printable, printPiece, tokensPerSecond } from "../output.ts";
import {
  CONTEXT_DETAIL,
  CONTROL_DETAILS,
  CONTROL_FLAGS,
  ONE,
  readContext,
  readControls,
  readPrecision,
  readSampling,
  type RunControls,
} from "../run-controls.ts";

const TABLE = {
  "max-tokens": { type: "string" },
  ...CONTROL_FLAGS,
  precision: { type: "string" },
  context: { type: "string" },
  ...BACKEND_FLAGS,
  data: { type: "string" },
  json: { type: "boolean" },
} as const satisfies FlagTable;

const TOKENS_STANDARD = 256;
const TOKENS_MAX = 1_000_000;

export const run: Command = {
  usage: "run MODEL PROMPT [--max-tokens N] [--seed S] [--json]",
  summary: "Runs a language model on this machine, without a node.",
  details: [
    "MODEL            a name of `gyrotron model list`, a .gguf file, a folder (config.json, model.safetensors,",
    "                 tokenizer.json), a llama2.c file with tokenizer.bin or tok512.bin beside it, or storyteller,",
    "                 which comes with gyrotron",
    `--max-tokens N   tokens to write at most (${TOKENS_STANDARD}); the model's context may allow fewer`,
    ...CONTROL_DETAILS,
    `--precision P    ${PRECISIONS.join(", ")}: bits of weights and activations`,
    CONTEXT_DETAIL,
    ...BACKEND_DETAILS,
    "--json           one JSON object instead of the text",
  ],
  async run(args) {
    const flags = readFlags(args, TABLE, this.usage);
    const [name, prompt, ...surplus] = flags.positionals;
    if (name === undefined || prompt === undefined || surplus.length > 0) {
      const problem =
        surplus.length > 0
          ? "the prompt must be one text in quotes"
          : "a model and a prompt are needed";
      throw new CliError({ code: "cli/usage", problem, usage: this.usage });
    }
    const { usage } = this;
    const sampling = readSampling(flags, usage);
    const limits = { min: 1, max: TOKENS_MAX, standard: TOKENS_STANDARD, usage };
    const outputTokensMax = readInteger(flags, "max-tokens", limits);
    const choice = readBackend(flags, usage);
    const precision = readPrecision(flags, usage);
    const context = readContext(flags, usage);
    const folder = flags.text("data") ?? DEFAULT_DATA;
    const local = await LocalModel.open(name, { folder, precision, context, ...choice });
    try {
      const messages: Job["messages"] = [{ role: "user", content: prompt }];
      const modelHash = local.model.record.hash;
      const job: Job = { modelHash, messages, outputTokensMax, sampling };
      const controls = readControls(flags, local.model, usage);
      const { backend } = choice;
      if (backend === "oracle") checkOracleTime(local.workOf(job), usage);
      if (flags.isSet("json")) return await runForPrograms(local, job, { backend, controls });
      return await runForPeople(local, job, controls);
    } finally {
      await local.close();
    }
  },
};

async function runForPeople(local: LocalModel, job: Job, controls: RunControls): Promise<number> {
  const { model, device } = local;
  let heading = `${paint(printable(job.messages[0]?.content.trim() ?? ""), "strong")}\n\n`;
  const done = await local.run(
    job,
    (piece) => {
      printPiece(heading + printable(piece));
      heading = "";
    },
    controls,
  );
  const result = requireCompleted(done.result);
  print(`${heading}\n`);
  const { prefill, decode } = ratesOf(result, done);
  fact("model", `${model.record.name} ${formatHex(model.record.hash)}`);
  fact("device", `${device}, ${model.prepared.precision}`);
  fact("tokens", `${result.promptTokens} prompt${prefill && ` at ${prefill} a second`}`);
  fact("", `${result.outputTokens} output${decode && ` at ${decode} a second`}`);
  fact("logits", formatHex(result.logitsDigest));
  return 0;
}

async function runForPrograms(
  local: LocalModel,
  job: Job,
  { backend, controls }: { backend: BackendName; controls: RunControls },
): Promise<number> {
  const { model, device } = local;
  const done = await local.run(job, undefined, controls);
  const result = requireCompleted(done.result);
  const { prefill, decode } = ratesOf(result, done);
  const { temperature, topP, topK, seed } = job.sampling;
  const report = {
    model: model.record.name,
    modelHash: formatHex(model.record.hash),
    backend,
    device,
    precision: model.prepared.precision,
    text: result.text,
    tokens: done.tokens,
    promptTokens: result.promptTokens,
    outputTokens: result.outputTokens,
    finish: result.finish,
    logitsDigest: formatHex(result.logitsDigest),
    sampling: { temperature: temperature / ONE, topP: topP / ONE, topK, seed: String(seed) },
    prefillTokensPerSecond: Number(prefill),
    decodeTokensPerSecond: Number(decode),
    residentMiB: Math.round(process.memoryUsage.rss() / MIB),
    ...(controls.logProbabilities && { logProbabilities: controls.logProbabilities }),
  };
  print(JSON.stringify(report, undefined, 2));
  return 0;
}

/** Prompt tokens until the first token was known; the others from then on. Empty if nothing was measured. */
function ratesOf(
  result: { promptTokens: number; outputTokens: number },
  { prefillMs, decodeMs }: TimedRun,
): { prefill: string; decode: string } {
  return {
    prefill: tokensPerSecond(result.promptTokens, prefillMs),
    decode: tokensPerSecond(result.outputTokens - 1, decodeMs),
  };
}

function requireCompleted(result: JobResult): Extract<JobResult, { kind: "completed" }> {
  if (result.kind === "completed") return result;
  throw new CliError({ code: "cli/job-failed", reason: result.reason, detail: result.detail });
}
