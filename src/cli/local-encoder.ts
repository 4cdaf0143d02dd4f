// An encoder on this machine: read from its folder or GGUF file, run on the backend that was asked for.

import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { DecodeError, utf8Bytes } from "gyrotron/base";
import { type TextEmbedding, TextEmbedder } from "gyrotron/learn";
import {
  byteSource,
  decodeGgufEncoder,
  decodeGgufHeader,
  decodeGgufTokenizer,
  decodeHubTokenizer,
  decodeHuggingFaceEncoder,
  type EncoderSource,
  type HubTokenizer,
  ModelError,
  type PreparedEncoder,
  prepareEncoder,
} from "gyrotron/model";
import { installNodeHashes, modelReason, NodeError } from "gyrotron/node/models";
import { graphCost, type Precision } from "gyrotron/tensor";
import { type BackendChoice, type BackendName, onDevice, openBackend } from "./local-backend.ts";
import { onFiles } from "./model-files.ts";

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
const GGUF_SUFFIX = ".gguf";

/**
 * Opens the encoder in a folder or a GGUF file.
 * @throws CliError `cli/no-webgpu`; NodeError `node/model` that says what is wrong with which file
 */
export async function openEncoder(
  path: string,
  { precision, ...choice }: { precision?: Precision | undefined } & BackendChoice,
): Promise<LocalEncoder> {
  if (!existsSync(path)) throw failure(path, "there is no such .gguf file or folder of an encoder");
  installNodeHashes();
  const { model, tokenizer } = naming(path, () => {
    const { source, tokenizer: own } = readEncoder(path);
    return { model: prepareEncoder(source, precision), tokenizer: own };
  });
  const backend = await openBackend(choice);
  const embedder = new TextEmbedder(model, tokenizer, backend);
  return {
    model,
    backend: choice.backend ?? "wasm",
    device: backend.device,
    embed: (texts) => onDevice(path, () => embedder.embed(texts)),
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

function readEncoder(path: string): { source: EncoderSource; tokenizer: HubTokenizer } {
  if (statSync(path).isDirectory()) {
    const source = decodeHuggingFaceEncoder(readFiles(path));
    return { source, tokenizer: decodeHubTokenizer(read(join(path, TOKENIZER))) };
  }
  if (!path.endsWith(GGUF_SUFFIX)) {
    const what = `a .gguf file, or a folder with config.json, ${TENSORS} and ${TOKENIZER}`;
    throw failure(path, `embeddings need ${what}`);
  }
  const file = byteSource(read(path));
  const header = decodeGgufHeader(file);
  const source = decodeGgufEncoder(file, header);
  const stored = decodeGgufTokenizer(header);
  if (stored.kind === "hub")
    return { source, tokenizer: decodeHubTokenizer(utf8Bytes(stored.json)) };
  throw new ModelError({ code: "model/unsupported", what: "an encoder with scored pieces" });
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
  return existsSync(path) ? onFiles(path, () => new Uint8Array(readFileSync(path))) : undefined;
}

/** Runs `body`; what is wrong with a file's content is said with the file's name. */
function naming<T>(path: string, body: () => T): T {
  try {
    return body();
  } catch (error) {
    if (error instanceof ModelError) throw failure(path, modelReason(error.info), error);
    if (!(error instanceof DecodeError)) throw error;
    const { code, what, offset } = error.info;
    if (code === "config/decode") throw failure(path, what, error);
    const inFolder = join(path, code === "tokenizer/decode" ? TOKENIZER : TENSORS);
    const file = path.endsWith(GGUF_SUFFIX) ? path : inFolder;
    throw failure(file, `${what} (at byte ${offset})`, error);
  }
}

function failure(path: string, reason: string, cause?: Error): NodeError {
  return new NodeError({ code: "node/model", path, reason }, { cause });
}

function raise(error: Error): never {
  throw error;
}
