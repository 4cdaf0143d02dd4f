// How an answer is to be drawn: the flags of `gyrotron run` as sampling parameters and controls.

import { readFileSync } from "node:fs";
import type { LanguageModel, RunControls as JobControls } from "gyrotron/accelerator";
import type { SamplingParameters } from "gyrotron/job";
import {
  createJsonConstraint,
  GenerationError,
  JsonGrammar,
  logProbabilities,
  topTokens,
} from "gyrotron/learn";
import { utf8TextLossy } from "gyrotron/base";
import { CONTEXT_STANDARD } from "gyrotron/model";
import { DECODER_LIMITS, type Precision, PRECISIONS } from "gyrotron/tensor";
import { CliError } from "./cli-error.ts";
import { type Flags, type FlagTable, readInteger } from "./flags.ts";

/** Flags of controls. */
export const CONTROL_FLAGS = {
  temperature: { type: "string" },
  "top-p": { type: "string" },
  "top-k": { type: "string" },
  "min-p": { type: "string" },
  seed: { type: "string" },
  "repetition-penalty": { type: "string" },
  "presence-penalty": { type: "string" },
  "frequency-penalty": { type: "string" },
  bias: { type: "string", multiple: true },
  stop: { type: "string", multiple: true },
  schema: { type: "string" },
  "log-probabilities": { type: "string" },
} as const satisfies FlagTable;

/** 1 in the fixed point of sampling parameters. */
export const ONE = 65_536;
const TEMPERATURE_STANDARD = "0.6";
const TOP_P_STANDARD = "0.9";
/** What integer sampling allows. */
const TEMPERATURE_MAX = 16;
const LOG_PROBABILITIES_MAX = 20;

/** What help says of them. */
export const CONTROL_DETAILS: readonly string[] = [
  `--temperature T  0 takes the likeliest token each time (${TEMPERATURE_STANDARD})`,
  `--top-p P        draws among the likeliest tokens that make up P (${TOP_P_STANDARD})`,
  "--top-k K        draws among the K likeliest tokens; 0 is no limit (0)",
  "--min-p P        draws among tokens at least P times as likely as the likeliest (0)",
  "--seed S         the same seed gives the same text on every machine (0)",
  "--repetition-penalty R, --presence-penalty R, --frequency-penalty R",
  "                 against what has been said already (1, 0, 0)",
  "--bias ID=N      adds N to the logit of a token; may stand more than once",
  "--stop TEXT      ends the answer before TEXT; may stand more than once",
  "--schema FILE    the answer is JSON of this JSON Schema",
  "--log-probabilities N  with --json: of each token and the N likeliest",
];

/** Controls, and the probabilities that they collect while a job runs. */
export interface RunControls extends JobControls {
  readonly logProbabilities?: readonly TokenReport[];
}

/** A token of the answer, and how likely it and others were. */
export interface TokenReport extends LikelyToken {
  readonly top: readonly LikelyToken[];
}

interface LikelyToken {
  readonly token: number;
  readonly text: string;
  readonly logProbability: number;
}

/** @throws CliError `cli/usage` */
export function readSampling(flags: Flags, usage: string): SamplingParameters {
  const temperatures = { min: 0, max: TEMPERATURE_MAX, standard: TEMPERATURE_STANDARD, usage };
  const temperature = readFixedPoint(flags, "temperature", temperatures);
  const shares = { min: 1 / ONE, max: 1, standard: TOP_P_STANDARD, usage };
  const topP = readFixedPoint(flags, "top-p", shares);
  const topK = readInteger(flags, "top-k", { min: 0, max: 2 ** 31 - 1, standard: 0, usage });
  return { temperature, topP, topK, seed: readSeed(flags, usage) };
}

/** @throws CliError `cli/usage`, `cli/file` on a schema that cannot be read or enforced */
export function readControls(flags: Flags, model: LanguageModel, usage: string): RunControls {
  const none = { min: -16, max: 16, standard: "0", usage };
  const adjustments = {
    bias: readBias(flags, model, usage),
    repetitionPenalty: readFixedPoint(flags, "repetition-penalty", {
      min: 1 / ONE,
      max: 16,
      standard: "1",
      usage,
    }),
    presencePenalty: readFixedPoint(flags, "presence-penalty", none),
    frequencyPenalty: readFixedPoint(flags, "frequency-penalty", none),
  };
  const minP = readFixedPoint(flags, "min-p", { min: 0, max: 1, standard: "0", usage });
  const stops = flags.texts("stop");
  if (stops.includes(""))
    throw new CliError({ code: "cli/usage", problem: "--stop takes a text", usage });
  const schema = flags.text("schema");
  return {
    adjustments,
    minP,
    stops,
    ...(schema !== undefined && { constraint: readSchema(schema, model) }),
    ...reporting(flags, model, usage),
  };
}

function readSchema(file: string, model: LanguageModel): ReturnType<typeof createJsonConstraint> {
  const { tokenizer } = model;
  const { vocabulary } = model.prepared.shape;
  const bytesOf = (token: number): Uint8Array =>
    token < tokenizer.vocabulary ? tokenizer.bytesOf(token) : new Uint8Array(0);
  try {
    const schema: unknown = JSON.parse(readFileSync(file, "utf8"));
    return createJsonConstraint(new JsonGrammar(schema, { vocabulary, bytesOf }));
  } catch (error) {
    const problem =
      error instanceof GenerationError && error.info.code === "learn/schema"
        ? `${error.info.path}: ${error.info.what}`
        : error instanceof Error
          ? error.message
          : String(error);
    throw new CliError({ code: "cli/file", file, problem }, { cause: error });
  }
}

function reporting(
  flags: Flags,
  { tokenizer, prepared }: LanguageModel,
  usage: string,
): Pick<RunControls, "onToken" | "logProbabilities"> {
  if (flags.text("log-probabilities") === undefined) return {};
  const range = { min: 0, max: LOG_PROBABILITIES_MAX, standard: 0, usage };
  const count = readInteger(flags, "log-probabilities", range);
  const reports: TokenReport[] = [];
  const textOf = (token: number): string =>
    token < tokenizer.vocabulary ? utf8TextLossy(tokenizer.bytesOf(token)) : "";
  return {
    logProbabilities: reports,
    onToken({ token, logits }) {
      const likeliest = topTokens(logits, Math.min(count, prepared.shape.vocabulary));
      const all = [token, ...likeliest];
      const values = logProbabilities(logits, all);
      const [first, ...top] = all.map((id, i) => ({
        token: id,
        text: textOf(id),
        logProbability: values[i]!,
      }));
      reports.push({ ...first!, top });
    },
  };
}

function readBias(flags: Flags, model: LanguageModel, usage: string): Map<number, number> {
  const bias = new Map<number, number>();
  for (const text of flags.texts("bias")) {
    const [, id, value] = /^(\d{1,7})=(-?\d{1,3}(?:\.\d+)?)$/.exec(text) ?? [];
    const token = Number(id);
    const isKnown = id !== undefined && token < model.prepared.shape.vocabulary;
    if (!isKnown || Math.abs(Number(value)) >= 128) {
      const problem = `--bias takes a token's id, = and a number between -128 and 128, not ${text}`;
      throw new CliError({ code: "cli/usage", problem, usage });
    }
    bias.set(token, Math.round(Number(value) * ONE));
  }
  return bias;
}

/** A decimal number as the 1/65536 that sampling uses. */
function readFixedPoint(
  flags: Flags,
  name: string,
  range: { min: number; max: number; standard: string; usage: string },
): number {
  const text = flags.text(name) ?? range.standard;
  const value = /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  if (value >= range.min && value <= range.max) return Math.round(value * ONE);
  const min = range.min === 1 / ONE ? "more than 0," : range.min;
  const problem = `--${name} takes ${min} to ${range.max}, not ${text}`;
  throw new CliError({ code: "cli/usage", problem, usage: range.usage });
}

function readSeed(flags: Flags, usage: string): bigint {
  const text = flags.text("seed") ?? "0";
  if (/^\d{1,20}$/.test(text) && BigInt(text) < 1n << 64n) return BigInt(text);
  const problem = `--seed takes 0 to ${(1n << 64n) - 1n}, not ${text}`;
  throw new CliError({ code: "cli/usage", problem, usage });
}

/** What help says of `--context`. */
export const CONTEXT_DETAIL = `--context N      positions of prompt and answer together: the model's own, but no more than ${CONTEXT_STANDARD} if not asked for`;

/** How many positions a model shall have, if that is said. @throws CliError `cli/usage` on what no model has */
export function readContext(flags: Flags, usage: string): number | undefined {
  if (flags.text("context") === undefined) return undefined;
  const max = DECODER_LIMITS.context;
  return readInteger(flags, "context", { min: 2, max, standard: max, usage });
}

/** @throws CliError `cli/usage` on a precision that there is not */
export function readPrecision(flags: Flags, usage: string): Precision | undefined {
  const text = flags.text("precision");
  const precision = PRECISIONS.find((known) => known === text);
  if (precision !== undefined || text === undefined) return precision;
  const problem = `--precision takes ${PRECISIONS.join(", ")}, not ${text}`;
  throw new CliError({ code: "cli/usage", problem, usage });
}
