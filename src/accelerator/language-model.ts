// A language model from its files: prepared weights, tokenizer and frame, with the identity and the
// costs by which the network knows it.

import { concatBytes, utf8Bytes, utf8TextLossy } from "gyrotron/base";
import { sha256 } from "gyrotron/hash";
import type { ModelRecord } from "gyrotron/job";
import {
  beginsTexts,
  beginsTextsByConfig,
  type ByteSource,
  ChatTemplate,
  chatTemplateOf,
  chatTemplateOfConfig,
  decodeGgufHeader,
  decodeGgufModel,
  decodeGgufTokenizer,
  decodeHuggingFace,
  decodeLlama2c,
  decodePreparedFile,
  hubTokenizerJson,
  type ModelSource,
  PieceTokenizer,
  type PreparedModel,
  prepareModel,
  reopenHubTokenizer,
  type SafetensorsShards,
  type StoredFrame,
  type StoredTokenizer,
  type TextTokenizer,
} from "gyrotron/model";
import { decoderCost, type Precision } from "gyrotron/tensor";
import { type ChatFrame, type FrameName, plainFrame, templateFrame } from "./chat-frame.ts";

/** Files of a model, by format. */
export type ModelFiles =
  | {
      format: "huggingFace";
      config: Uint8Array;
      tensors: Uint8Array | ByteSource | SafetensorsShards;
      tokenizer: TokenizerFiles;
    }
  | { format: "llama2c"; weights: Uint8Array; tokenizer: Uint8Array }
  | { format: "gguf"; file: ByteSource }
  | { format: "prepared"; file: ByteSource };

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
  /** Tokenizer and frame as a prepared file keeps them. */
  readonly stored: StoredText;
}

/** Reads and prepares a model. @throws DecodeError ModelError on files that are damaged or do not fit together */
export function loadLanguageModel(
  name: string,
  files: ModelFiles,
  options: {
    precision?: Precision | undefined;
    context?: number | undefined;
    frame?: FrameName;
  } = {},
): LanguageModel {
  if (files.format === "prepared") {
    const { model, tokenizer, frame } = decodePreparedFile(files.file);
    return assemble(name, model, { tokenizer, frame });
  }
  const { source, stored } = readFiles(files, options.frame);
  return assemble(name, prepareModel(source, options.precision, options.context), stored);
}

/** How texts become tokens and conversations prompts, as data. */
interface StoredText {
  readonly tokenizer: StoredTokenizer;
  readonly frame: StoredFrame;
}

function assemble(name: string, prepared: PreparedModel, stored: StoredText): LanguageModel {
  const tokenizer = openTokenizer(stored.tokenizer);
  const frame = openFrame(stored.frame, prepared, tokenizer);
  const hash = sha256(
    utf8Bytes("gyrotron-model"),
    concatBytes(prepared.identity, tokenizer.identity),
    utf8Bytes(frame.name),
  );
  return { record: recordOf(name, hash, prepared, frame), prepared, tokenizer, frame, stored };
}

function openTokenizer(stored: StoredTokenizer): TextTokenizer {
  return stored.kind === "pieces" ? new PieceTokenizer(stored.file) : reopenHubTokenizer(stored);
}

function openFrame(stored: StoredFrame, model: PreparedModel, tokenizer: TextTokenizer): ChatFrame {
  if (stored.kind === "plain") {
    const beginToken = stored.begins ? model.beginToken : undefined;
    return plainFrame(stored.name, { tokenizer, beginToken });
  }
  const textOf = (token: number): string => utf8TextLossy(tokenizer.nameOf(token));
  const tokens = { begin: textOf(model.beginToken), end: textOf(model.endTokens[0]!) };
  return templateFrame(new ChatTemplate(stored.source, tokens), tokenizer);
}

interface ReadModel {
  readonly source: ModelSource;
  readonly stored: StoredText;
}

type SourceFiles = Exclude<ModelFiles, { format: "prepared" }>;

function readFiles(files: SourceFiles, name: FrameName | undefined): ReadModel {
  if (files.format === "gguf") return readGguf(files.file, name);
  if (files.format === "llama2c") {
    const tokenizer: StoredTokenizer = { kind: "pieces", file: files.tokenizer };
    const frame: StoredFrame = { kind: "plain", name: name ?? "continue", begins: true };
    return { source: decodeLlama2c(files.weights), stored: { tokenizer, frame } };
  }
  const source = decodeHuggingFace(files);
  if ("pieces" in files.tokenizer) {
    const tokenizer: StoredTokenizer = { kind: "pieces", file: files.tokenizer.pieces };
    const frame: StoredFrame = { kind: "plain", name: name ?? "passage", begins: true };
    return { source, stored: { tokenizer, frame } };
  }
  const tokenizer = { kind: "hub", json: hubTokenizerJson(files.tokenizer.hub) } as const;
  const { config } = files.tokenizer;
  const template = config && chatTemplateOfConfig(config);
  const asked = config && beginsTextsByConfig(config);
  const framed = (): number[] => reopenHubTokenizer(tokenizer).encodeFramed("a");
  const begins = asked ?? framed()[0] === source.beginToken;
  const frame = frameOf({ name, template, begins });
  return { source, stored: { tokenizer, frame } };
}

function readGguf(file: ByteSource, name: FrameName | undefined): ReadModel {
  const header = decodeGgufHeader(file);
  const source = decodeGgufModel(file, header);
  const tokenizer = decodeGgufTokenizer(header);
  const frame = frameOf({ name, template: chatTemplateOf(header), begins: beginsTexts(header) });
  return { source, stored: { tokenizer, frame } };
}

/** A frame that was asked for, or the file's template, or none. */
function frameOf(choice: {
  name: FrameName | undefined;
  template: string | undefined;
  begins: boolean;
}): StoredFrame {
  const { name, template, begins } = choice;
  if (template !== undefined && name === undefined) return { kind: "template", source: template };
  return { kind: "plain", name: name ?? "continue", begins };
}

/** Costs are those of the decoder's formula: a first token, and what each position seen adds. */
function recordOf(
  name: string,
  hash: Uint8Array,
  { shape, precision, design }: PreparedModel,
  frame: ChatFrame,
): ModelRecord {
  const macsAt = (first: number): bigint =>
    decoderCost(shape, precision, { first, count: 1, logits: 1 }, design).multiplyAdds;
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
