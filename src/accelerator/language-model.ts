// A language model from the bytes of its files: prepared weights, tokenizer and frame, with the
// identity and the costs by which the network knows it.

import { concatBytes, utf8Bytes } from "gyrotron/base";
import { sha256 } from "gyrotron/crypto";
import type { ModelRecord } from "gyrotron/job";
import {
  decodeHuggingFace,
  decodeLlama2c,
  type ModelSource,
  type PreparedModel,
  prepareModel,
  Tokenizer,
} from "gyrotron/model";
import { decoderCost, type Precision } from "gyrotron/tensor";
import { chatFrame, type ChatFrame, type FrameName } from "./chat-frame.ts";

/** Files of a model, by format. */
export type ModelFiles =
  | { format: "huggingFace"; config: Uint8Array; tensors: Uint8Array; tokenizer: Uint8Array }
  | { format: "llama2c"; weights: Uint8Array; tokenizer: Uint8Array };

/** A model ready to run. */
export interface LanguageModel {
  readonly record: ModelRecord;
  readonly prepared: PreparedModel;
  readonly tokenizer: Tokenizer;
  readonly frame: ChatFrame;
}

/** Reads and prepares a model. @throws DecodeError ModelError on files that are damaged or do not fit together */
export function loadLanguageModel(
  name: string,
  files: ModelFiles,
  options: { precision?: Precision; frame?: FrameName } = {},
): LanguageModel {
  const frameName = options.frame ?? (files.format === "llama2c" ? "continue" : "passage");
  const source = decodeFiles(files);
  const tokenizer = new Tokenizer(files.tokenizer);
  const prepared = prepareModel(source, options.precision);
  const frame = chatFrame(frameName);
  const hash = sha256(
    utf8Bytes("gyrotron-model"),
    concatBytes(prepared.identity, sha256(files.tokenizer)),
    utf8Bytes(frameName),
  );
  return { record: recordOf(name, hash, prepared, frame), prepared, tokenizer, frame };
}

function decodeFiles(files: ModelFiles): ModelSource {
  return files.format === "huggingFace" ? decodeHuggingFace(files) : decodeLlama2c(files.weights);
}

/** Costs are those of the decoder's formula: a first token, and what each position seen adds. */
function recordOf(
  name: string,
  hash: Uint8Array,
  { shape, precision }: PreparedModel,
  frame: ChatFrame,
): ModelRecord {
  const macsAt = (first: number): bigint =>
    decoderCost(shape, precision, { first, count: 1, logits: 1 }).multiplyAdds;
  const macsPerPosition = macsAt(1) - macsAt(0);
  return {
    name,
    hash,
    contextTokensMax: shape.context,
    macsPerToken: macsAt(0) - macsPerPosition,
    macsPerPosition,
    frameTokensMax: frame.tokensMax,
  };
}
