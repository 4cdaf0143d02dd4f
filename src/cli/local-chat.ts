// `gyrotron chat --model`: a conversation with a model on this machine, without a node. What has been said is the
// prompt of each answer; a line of standard input is what the user says next.

import process from "node:process";
import { createInterface } from "node:readline";
import { formatHex } from "gyrotron/base";
import type { ChatMessage, Job } from "gyrotron/job";
import { CliError } from "./cli-error.ts";
import { DEFAULT_DATA, type Flags, type FlagTable, readInteger } from "./flags.ts";
import { BACKEND_DETAILS, BACKEND_FLAGS, checkOracleTime, readBackend } from "./local-backend.ts";
import { LocalModel } from "./local-model.ts";
import { fact, paint, print, printable, printPiece } from "./output.ts";
import { readContext, readPrecision, readSampling } from "./run-controls.ts";

/** Flags of a conversation here. */
export const LOCAL_CHAT_FLAGS = {
  model: { type: "string" },
  "max-tokens": { type: "string" },
  temperature: { type: "string" },
  "top-p": { type: "string" },
  "top-k": { type: "string" },
  seed: { type: "string" },
  precision: { type: "string" },
  context: { type: "string" },
  ...BACKEND_FLAGS,
} as const satisfies FlagTable;

/** What help says of them. */
export const LOCAL_CHAT_DETAILS: readonly string[] = [
  "--model MODEL        talks with a model on this machine instead, as `gyrotron run` names it; each line of the",
  "                     input is answered, until it ends (Ctrl-D)",
  "--max-tokens N       with --model, tokens of an answer at most (1024)",
  "--temperature T, --top-p P, --top-k K, --seed S, --precision P, --context N",
  "                     with --model, as `gyrotron run` has them; and",
  ...BACKEND_DETAILS,
];

const ANSWER_TOKENS_STANDARD = 1024;
const ANSWER_TOKENS_MAX = 1_000_000;

/** Talks until the input ends, with `first` as the first line. @throws CliError, NodeError as `run` does */
export async function chatHere(
  flags: Flags,
  { name, first, usage }: { name: string; first: string | undefined; usage: string },
): Promise<number> {
  const sampling = readSampling(flags, usage);
  const limits = { min: 1, max: ANSWER_TOKENS_MAX, standard: ANSWER_TOKENS_STANDARD, usage };
  const outputTokensMax = readInteger(flags, "max-tokens", limits);
  const choice = readBackend(flags, usage);
  const prepared = {
    folder: flags.text("data") ?? DEFAULT_DATA,
    precision: readPrecision(flags, usage),
    context: readContext(flags, usage),
  };
  const local = await LocalModel.open(name, { ...prepared, ...choice });
  try {
    const { record } = local.model;
    const messages: ChatMessage[] = [];
    for await (const line of linesOf(first)) {
      messages.push({ role: "user", content: line });
      const job: Job = { modelHash: record.hash, messages, outputTokensMax, sampling };
      if (choice.backend === "oracle") checkOracleTime(local.workOf(job), usage);
      messages.push({ role: "assistant", content: await answer(local, job) });
    }
    fact("model", `${record.name} ${formatHex(record.hash)}`);
    fact("device", `${local.device}, ${local.model.prepared.precision}`);
    return 0;
  } finally {
    await local.close();
  }
}

/** Shows an answer while it is written. */
async function answer(local: LocalModel, job: Job): Promise<string> {
  const { result } = await local.run(job, (piece) => printPiece(printable(piece)));
  if (result.kind !== "completed")
    throw new CliError({ code: "cli/job-failed", reason: result.reason, detail: result.detail });
  print("\n");
  return result.text;
}

/** What the user says: empty lines are nothing. */
async function* linesOf(first: string | undefined): AsyncGenerator<string> {
  const isTerminal = process.stdin.isTTY && process.stdout.isTTY;
  const prompt = paint("> ", "strong");
  if (first !== undefined) {
    if (isTerminal) print(`${prompt}${printable(first)}`);
    yield first;
  }
  const ask = (): void => {
    if (isTerminal) printPiece(prompt);
  };
  // The terminal itself edits the line: an answer keeps this thread busy, and Ctrl-C is to end it.
  const lines = createInterface({ input: process.stdin, terminal: false });
  ask();
  for await (const line of lines) {
    if (line.trim() !== "") yield line;
    ask();
  }
  if (isTerminal) print();
}
