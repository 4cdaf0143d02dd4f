// An encoder on this machine: read from its folder, run on the CPU backend.

import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { createWasmBackend } from "gyrotron/backend/wasm";
import { DecodeError, GyrotronError } from "gyrotron/base";
import { TextEmbedder } from "gyrotron/learn";
import {
  decodeHubTokenizer,
  decodeHuggingFaceEncoder,
  type PreparedEncoder,
  prepareEncoder,
} from "gyrotron/model";
import { installNodeHashes, NodeError } from "gyrotron/node/models";
import type { Precision } from "gyrotron/tensor";

/** An encoder ready to run here. */
export interface LocalEncoder {
  readonly model: PreparedEncoder;
  readonly device: string;
  readonly embedder: TextEmbedder;
  close(): Promise<void>;
}

const TENSORS = "model.safetensors";
const TOKENIZER = "tokenizer.json";

/** Opens the encoder in a folder. @throws NodeError `node/model` that says what is wrong with which file */
export async function openEncoder(
  folder: string,
  options: { precision?: Precision | undefined; threads: number },
): Promise<LocalEncoder> {
  if (!existsSync(folder)) throw failure(folder, "there is no such folder");
  if (!statSync(folder).isDirectory()) {
    throw failure(folder, `embeddings need a folder with config.json, ${TENSORS} and ${TOKENIZER}`);
  }
  installNodeHashes();
  const { model, tokenizer } = naming(folder, () => ({
    model: prepareEncoder(decodeHuggingFaceEncoder(readFiles(folder)), options.precision),
    tokenizer: decodeHubTokenizer(read(join(folder, TOKENIZER))),
  }));
  const backend = await createWasmBackend({ threads: options.threads });
  const embedder = new TextEmbedder(model, tokenizer, backend);
  return {
    model,
    device: backend.device,
    embedder,
    close: async () => {
      await embedder.close();
      await backend.close();
    },
  };
}

function readFiles(folder: string): Parameters<typeof decodeHuggingFaceEncoder>[0] {
  return {
    config: read(join(folder, "config.json")),
    modules: readIfThere(join(folder, "modules.json")),
    pooling: readIfThere(join(folder, "1_Pooling", "config.json")),
    sentence: readIfThere(join(folder, "sentence_bert_config.json")),
    tensors: read(join(folder, TENSORS)),
  };
}

function read(path: string): Uint8Array {
  return readIfThere(path) ?? raise(failure(path, "there is no such file"));
}

function readIfThere(path: string): Uint8Array | undefined {
  return existsSync(path) ? new Uint8Array(readFileSync(path)) : undefined;
}

/** Runs `body`; what is wrong with a file's content is said with the file's name. */
function naming<T>(folder: string, body: () => T): T {
  try {
    return body();
  } catch (error) {
    if (!(error instanceof GyrotronError) || error instanceof NodeError) throw error;
    if (!(error instanceof DecodeError)) throw failure(folder, error.message, error);
    const { code, what, offset } = error.info;
    if (code === "config/decode") throw failure(folder, what, error);
    const file = join(folder, code === "tokenizer/decode" ? TOKENIZER : TENSORS);
    throw failure(file, `${what} (at byte ${offset})`, error);
  }
}

function failure(path: string, reason: string, cause?: Error): NodeError {
  return new NodeError({ code: "node/model", path, reason }, { cause });
}

function raise(error: Error): never {
  throw error;
}
