// A language model from its files: prepared weights, tokenizer and frame, with the identity and the
// costs by which the network knows it.

import { concatBytes, utf8Bytes, utf8TextLossy } from "gyrotron/base";
import { sha256 } from "gyrotron/crypto";
import type { ModelRecord } from "gyrotron/job";
import {
  beginsTexts,
  type ByteSource,
  ChatTemplate,
  chatTemplateOf,
  chatTemplateOfConfig,
  decodeGgufHeader,
  decodeGgufModel,
  decodeGgufTokenizer,
  decodeHubTokenizer,
  decodeHuggingFace,
  decodeLlama2c,
  type ModelSource,
  PieceTokenizer,
  type PreparedModel,
  prepareModel,
  type TextTokenizer,
} from "gyrotron/model";
import { decoderCost, type Precision } from "gyrotron/tensor";
import { type ChatFrame, type FrameName, plainFrame, templateFrame } from "./chat-frame.ts";

/** Files of a model, by format. */
export type ModelFiles =
  | { format: "huggingFace"; config: Uint8Array; tensors: Uint8Array; tokenizer: TokenizerFiles }
  | { format: "llama2c"; weights: Uint8Array; tokenizer: Uint8Array }
  | { format: "gguf"; file: ByteSource };

/** A vocabulary of llama2.c's kind, or a tokenizer.json and what its tokenizer_config.json adds. */
export type TokenizerFiles =
  | { readonly pieces: Uint8Array }
  | { readonly hub: Uint8Array; readonly config: Uint8Array | undefined };

/** A model ready to run. */
export interface LanguageModel {
  readonly record: ModelRecord;
  readonly prepared: PreparedModel;
  readonly tokenizer: TextTokenizer;
  readonly frame: ChatFrame;
}

/** Reads and prepares a model. @throws DecodeError ModelError on files that are damaged or do not fit together */
export function loadLanguageModel(
  name: string,
  files: ModelFiles,
  options: { precision?: Precision; frame?: FrameName } = {},
): LanguageModel {
  const { source, tokenizer, frame } = readFiles(files, options.frame);
  const prepared = prepareModel(source, options.precision);
  const hash = sha256(
    utf8Bytes("gyrotron-model"),
    concatBytes(prepared.identity, tokenizer.identity),
    utf8Bytes(frame.name),
  );
  return { record: recordOf(name, hash, prepared, frame), prepared, tokenizer, frame };
}

interface ReadModel {
  readonly source: ModelSource;
  readonly tokenizer: TextTokenizer;
  readonly frame: ChatFrame;
}

function readFiles(files: ModelFiles, frameName: FrameName | undefined): ReadModel {
  if (files.format === "gguf") return readGguf(files.file, frameName);
  if (files.format === "llama2c") {
    const source = decodeLlama2c(files.weights);
    const tokenizer = new PieceTokenizer(files.tokenizer);
    const { beginToken } = source;
    return {
      source,
      tokenizer,
      frame: plainFrame(frameName ?? "continue", { tokenizer, beginToken }),
    };
  }
  return readHuggingFace(files, frameName);
}

function readHuggingFace(
  files: ModelFiles & { format: "huggingFace" },
  frameName: FrameName | undefined,
): ReadModel {
  const source = decodeHuggingFace(files);
  const { beginToken } = source;
  if ("pieces" in files.tokenizer) {
    const tokenizer = new PieceTokenizer(files.tokenizer.pieces);
    return {
      source,
      tokenizer,
      frame: plainFrame(frameName ?? "passage", { tokenizer, beginToken }),
    };
  }
  const tokenizer = decodeHubTokenizer(files.tokenizer.hub);
  const template = files.tokenizer.config && chatTemplateOfConfig(files.tokenizer.config);
  if (template !== undefined && frameName === undefined)
    return { source, tokenizer, frame: framed(template, source, tokenizer) };
  return {
    source,
    tokenizer,
    frame: plainFrame(frameName ?? "continue", { tokenizer, beginToken }),
  };
}

function framed(template: string, source: ModelSource, tokenizer: TextTokenizer): ChatFrame {
  const textOf = (token: number): string => utf8TextLossy(tokenizer.nameOf(token));
  const tokens = { begin: textOf(source.beginToken), end: textOf(source.endTokens[0]!) };
  return templateFrame(new ChatTemplate(template, tokens), tokenizer);
}

function readGguf(file: ByteSource, frameName: FrameName | undefined): ReadModel {
  const header = decodeGgufHeader(file);
  const source = decodeGgufModel(file, header);
  const tokenizer = decodeGgufTokenizer(header);
  const template = chatTemplateOf(header);
  if (template === undefined || frameName !== undefined) {
    const beginToken = beginsTexts(header) ? source.beginToken : undefined;
    const frame = plainFrame(frameName ?? "continue", { tokenizer, beginToken });
    return { source, tokenizer, frame };
  }
  return { source, tokenizer, frame: framed(template, source, tokenizer) };
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
    messageTokensMax: frame.messageTokensMax,
  };
}
