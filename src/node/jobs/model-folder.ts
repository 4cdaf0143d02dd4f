// Models on disk: which files make a model, read with errors that name the file.

import { existsSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type LanguageModel, loadLanguageModel, type ModelFiles } from "gyrotron/accelerator";
import { DecodeError, GyrotronError } from "gyrotron/base";
import type { Precision } from "gyrotron/tensor";
import { NodeError } from "../node-error.ts";

/** The model that comes with the package. */
export const BUNDLED_MODEL = "storyteller";

/** Folder of the bundled model. */
export function bundledModelPath(): string {
  // This file is <package>/src/node/jobs or <package>/dist/node/jobs.
  const root = join(dirname(fileURLToPath(import.meta.url)), "../../..");
  return join(root, "models", BUNDLED_MODEL);
}

/**
 * Loads a model from a folder (config.json, model.safetensors, tokenizer.bin) or a llama2.c file with
 * its tokenizer (tok*.bin) beside it. @throws NodeError `node/model` that names the file and what is wrong
 */
export function loadModel(path: string, precision?: Precision): LanguageModel {
  const files = readModelFiles(path);
  try {
    return loadLanguageModel(modelName(path), files, precision === undefined ? {} : { precision });
  } catch (error) {
    if (!(error instanceof DecodeError || error instanceof GyrotronError)) throw error;
    throw new NodeError({ code: "node/model", path, reason: error.message }, { cause: error });
  }
}

function readModelFiles(path: string): ModelFiles {
  if (!existsSync(path)) throw missing(path);
  if (!statSync(path).isDirectory()) {
    return { format: "llama2c", weights: read(path), tokenizer: read(tokenizerBeside(path)) };
  }
  return {
    format: "huggingFace",
    config: read(join(path, "config.json")),
    tensors: read(join(path, "model.safetensors")),
    tokenizer: read(join(path, "tokenizer.bin")),
  };
}

function tokenizerBeside(path: string): string {
  const folder = dirname(path);
  const candidates = ["tokenizer.bin", "tok512.bin"].map((name) => join(folder, name));
  return candidates.find((candidate) => existsSync(candidate)) ?? candidates[0]!;
}

function modelName(path: string): string {
  return basename(path).replace(/\.bin$/, "");
}

function read(path: string): Uint8Array {
  if (!existsSync(path)) throw missing(path);
  return new Uint8Array(readFileSync(path));
}

function missing(path: string): NodeError {
  return new NodeError({ code: "node/model", path, reason: "there is no such file" });
}
