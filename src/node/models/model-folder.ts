// Models on disk: which files make a model, read with errors that name the file.

import { existsSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  type LanguageModel,
  loadLanguageModel,
  type ModelFiles,
  type TokenizerFiles,
} from "gyrotron/accelerator";
import { DecodeError, GyrotronError } from "gyrotron/base";
import {
  type ByteSource,
  joinBytePairFiles,
  ModelError,
  type ModelErrorInfo,
  type SafetensorsShards,
} from "gyrotron/model";
import type { Precision } from "gyrotron/tensor";
import { NodeError } from "../node-error.ts";
import { openByteSource } from "./file-source.ts";

/** The model that comes with the package. */
export const BUNDLED_MODEL = "storyteller";

const CONFIG = "config.json";
const TENSORS = "model.safetensors";
const TENSORS_INDEX = "model.safetensors.index.json";
const TOKENIZER = "tokenizer.bin";
const HUB_TOKENIZER = "tokenizer.json";
const HUB_TOKENIZER_CONFIG = "tokenizer_config.json";
const VOCABULARY = "vocab.json";
const MERGES = "merges.txt";
const GGUF_SUFFIX = ".gguf";
const LLAMA2C_SUFFIX = ".bin";
/** The file of a model in the store, whose folder has the model's name. */
export const PREPARED = "prepared.bin";

/** Folder of the bundled model. */
export function bundledModelPath(): string {
  // This file is <package>/src/node/jobs or <package>/dist/node/jobs.
  const root = join(dirname(fileURLToPath(import.meta.url)), "../../..");
  return join(root, "models", BUNDLED_MODEL);
}

/**
 * Loads a model from a folder (config.json, model.safetensors, and tokenizer.json, vocab.json with merges.txt or
 * tokenizer.bin), a GGUF file, a prepared file of the model store, or a llama2.c file with its tokenizer (tok*.bin) beside it.
 * Prepared files have the precision and the context that they were prepared with. @throws NodeError `node/model` that names the file and what is wrong
 */
export function loadModel(path: string, precision?: Precision, context?: number): LanguageModel {
  const files = readModelFiles(path);
  try {
    return loadLanguageModel(modelName(path), files, { precision, context });
  } catch (error) {
    if (!(error instanceof GyrotronError)) throw error;
    const file = fileOf(path, error);
    throw new NodeError(
      { code: "node/model", path: file, reason: reasonOf(error) },
      { cause: error },
    );
  }
}

/** The file that an error is about, or the whole model if it is about how files fit together. */
function fileOf(path: string, error: GyrotronError<{ code: string }>): string {
  const isFolder = statSync(path).isDirectory();
  switch (error.info.code) {
    case "tokenizer/decode":
      if (basename(path) === PREPARED) return path;
      if (path.endsWith(GGUF_SUFFIX)) return path;
      return isFolder ? tokenizerIn(path) : tokenizerBeside(path);
    case "config/decode":
      return join(path, CONFIG);
    case "safetensors-index/decode":
      return join(path, TENSORS_INDEX);
    case "safetensors/decode":
    case "tensor/decode":
      // Of shards, the reason says which.
      return isFolder && existsSync(join(path, TENSORS)) ? join(path, TENSORS) : path;
    default:
      return path;
  }
}

function reasonOf(error: GyrotronError<{ code: string }>): string {
  if (error instanceof ModelError) return modelReason(error.info);
  if (!(error instanceof DecodeError)) return error.message;
  return `${error.info.what} (at byte ${error.info.offset})`;
}

/** Why a model cannot be used, for people. */
export function modelReason(info: ModelErrorInfo): string {
  switch (info.code) {
    case "model/unsupported":
      return `not supported: ${info.what}`;
    case "model/limit":
      return `${info.what}: ${info.actual}, the limit is ${info.limit}`;
    case "model/tensor-missing":
      return `the tensor ${info.name} is missing`;
    case "model/tensor-shape":
      return `the tensor ${info.name} is ${info.actual}, expected ${info.expected}`;
    case "model/token-unknown":
      return `the token ${info.token} of a vocabulary of ${info.vocabulary}`;
  }
}

function readModelFiles(path: string): ModelFiles {
  if (!existsSync(path)) throw missing(path);
  if (!statSync(path).isDirectory()) {
    if (basename(path) === PREPARED) return { format: "prepared", file: openByteSource(path) };
    if (path.endsWith(GGUF_SUFFIX)) return { format: "gguf", file: openByteSource(path) };
    const tokenizer = tokenizerBeside(path);
    if (!path.endsWith(LLAMA2C_SUFFIX) && !existsSync(tokenizer)) throw noModel(path);
    return { format: "llama2c", weights: read(path), tokenizer: read(tokenizer) };
  }
  return {
    format: "huggingFace",
    config: read(join(path, CONFIG)),
    tensors: openTensors(path),
    tokenizer: readTokenizer(path),
  };
}

/** One file, or the shards that an index names. */
function openTensors(folder: string): ByteSource | SafetensorsShards {
  const file = join(folder, TENSORS);
  const index = join(folder, TENSORS_INDEX);
  if (existsSync(file) || !existsSync(index)) return openFile(file);
  return { index: read(index), open: (name) => openFile(join(folder, name)) };
}

function openFile(path: string): ByteSource {
  if (!existsSync(path)) throw missing(path);
  return openByteSource(path);
}

function readTokenizer(folder: string): TokenizerFiles {
  const file = tokenizerIn(folder);
  const configFile = join(folder, HUB_TOKENIZER_CONFIG);
  const config = existsSync(configFile) ? read(configFile) : undefined;
  if (file.endsWith(HUB_TOKENIZER)) return { hub: read(file), config };
  if (!file.endsWith(VOCABULARY)) return { pieces: read(file) };
  return { hub: joinBytePairFiles(read(file), read(join(folder, MERGES))), config };
}

function tokenizerIn(folder: string): string {
  const candidates = [HUB_TOKENIZER, VOCABULARY, TOKENIZER].map((name) => join(folder, name));
  return candidates.find((file) => existsSync(file)) ?? join(folder, TOKENIZER);
}

function tokenizerBeside(path: string): string {
  const folder = dirname(path);
  const candidates = [TOKENIZER, "tok512.bin"].map((name) => join(folder, name));
  return candidates.find((candidate) => existsSync(candidate)) ?? candidates[0]!;
}

function modelName(path: string): string {
  if (basename(path) === PREPARED) return basename(dirname(path));
  return basename(path).replace(/\.(bin|gguf)$/, "");
}

function read(path: string): Uint8Array {
  if (!existsSync(path)) throw missing(path);
  return new Uint8Array(readFileSync(path));
}

function noModel(path: string): NodeError {
  const reason = "it is no .gguf file, no folder and no llama2.c .bin file";
  return new NodeError({ code: "node/model", path, reason });
}

function missing(path: string): NodeError {
  return new NodeError({ code: "node/model", path, reason: "there is no such file" });
}
