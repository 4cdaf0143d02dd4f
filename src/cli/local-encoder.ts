// An encoder on this machine: read from its folder, run on the backend that was asked for.

import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { DecodeError, GyrotronError } from "gyrotron/base";
import { type TextEmbedding, TextEmbedder } from "gyrotron/learn";
import {
  decodeHubTokenizer,
  decodeHuggingFaceEncoder,
  type PreparedEncoder,
  prepareEncoder,
} from "gyrotron/model";
import { installNodeHashes, NodeError } from "gyrotron/node/models";
import { graphCost, type Precision } from "gyrotron/tensor";
import { type BackendChoice, type BackendName, onDevice, openBackend } from "./local-backend.ts";

/** An encoder ready to run here. */
export interface LocalEncoder {
  readonly model: PreparedEncoder;
  readonly backend: BackendName;
  readonly device: string;
  /** Vectors in the order of the texts. @throws NodeError `node/model` that says what the device lacks */
  embed(texts: readonly string[]): Promise<TextEmbedding[]>;
  /** Products that the texts' vectors take. */
  workOf(texts: readonly string[]): bigint;
  close(): Promise<void>;
}

const TENSORS = "model.safetensors";
const TOKENIZER = "tokenizer.json";

/** Opens the encoder in a folder. @throws CliError `cli/no-webgpu`; NodeError `node/model` that says what is wrong with which file */
export async function openEncoder(
  folder: string,
  { precision, ...choice }: { precision?: Precision | undefined } & BackendChoice,
): Promise<LocalEncoder> {
  if (!existsSync(folder)) throw failure(folder, "there is no such folder");
  if (!statSync(folder).isDirectory()) {
    throw failure(folder, `embeddings need a folder with config.json, ${TENSORS} and ${TOKENIZER}`);
  }
  installNodeHashes();
  const { model, tokenizer } = naming(folder, () => ({
    model: prepareEncoder(decodeHuggingFaceEncoder(readFiles(folder)), precision),
    tokenizer: decodeHubTokenizer(read(join(folder, TOKENIZER))),
  }));
  const backend = await openBackend(choice);
  const embedder = new TextEmbedder(model, tokenizer, backend);
  return {
    model,
    backend: choice.backend ?? "wasm",
    device: backend.device,
    embed: (texts) => onDevice(folder, () => embedder.embed(texts)),
    workOf: (texts) => {
      const lengths = texts.map((text) => tokenizer.encodeFramed(text).length);
      return lengths
        .map((time) => Math.min(time, model.shape.context))
        .map((time) => graphCost(model.graph, { batch: 1, time }).total.multiplyAdds)
        .reduce((sum, products) => sum + products, 0n);
    },
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
