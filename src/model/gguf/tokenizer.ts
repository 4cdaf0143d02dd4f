// The tokenizer that a GGUF file carries in its metadata: byte-pair vocabularies and BERT's as tokenizer.json
// has them, SentencePiece ones as a list of scored pieces.

import { DecodeError, utf8Bytes } from "gyrotron/base";
import { ModelError } from "../error.ts";
import type { HubTokenizerFile } from "../hub-tokenizer.ts";
import type { StoredTokenizer } from "../prepared-file.ts";
import type { GgufHeader } from "./container.ts";
import { wordPieceFile } from "./word-pieces.ts";

type Metadata = GgufHeader["metadata"];

/** Types of tokens as the metadata numbers them. */
const CONTROL = 3;
const USER_DEFINED = 4;

const LLAMA3_WORDS =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const BYTES_AS_CHARACTERS = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true };
const GPT2_WORDS = { ...BYTES_AS_CHARACTERS, use_regex: true };

/** How texts fall into words, by the name in `tokenizer.ggml.pre`. */
const SPLITTERS: Readonly<Record<string, object>> = {
  "gpt-2": GPT2_WORDS,
  smollm: sequence({ type: "Digits", individual_digits: true }, GPT2_WORDS),
  "llama-bpe": splitting(LLAMA3_WORDS),
  qwen2: splitting(LLAMA3_WORDS.replace("\\p{N}{1,3}", "\\p{N}")),
};

/** @throws DecodeError `tokenizer/decode`, ModelError `model/unsupported` */
export function decodeGgufTokenizer({ metadata }: GgufHeader): StoredTokenizer {
  const model = metadata.get("tokenizer.ggml.model");
  if (model === "gpt2") return { kind: "hub", json: JSON.stringify(bytePairFile(metadata)) };
  if (model === "llama") return { kind: "pieces", file: pieceFile(metadata) };
  if (model === "bert") {
    const file = wordPieceFile(metadata, texts(metadata, "tokenizer.ggml.tokens"));
    return { kind: "hub", json: JSON.stringify(file) };
  }
  throw new ModelError({ code: "model/unsupported", what: `tokenizer ${String(model)}` });
}

/** The template that writes a conversation down, if the file has one. */
export function chatTemplateOf({ metadata }: GgufHeader): string | undefined {
  const template = metadata.get("tokenizer.chat_template");
  return typeof template === "string" ? template : undefined;
}

/** Whether texts begin with the begin token. */
export function beginsTexts({ metadata }: GgufHeader): boolean {
  const flag = metadata.get("tokenizer.ggml.add_bos_token");
  return typeof flag === "boolean" ? flag : metadata.get("tokenizer.ggml.model") === "llama";
}

function bytePairFile(metadata: Metadata): HubTokenizerFile {
  const tokens = texts(metadata, "tokenizer.ggml.tokens");
  const types = metadata.get("tokenizer.ggml.token_type");
  const typeOf = (id: number): unknown => (Array.isArray(types) ? types[id] : undefined);
  const name = metadata.get("tokenizer.ggml.pre") ?? "gpt-2";
  const splitter = typeof name === "string" ? SPLITTERS[name] : undefined;
  if (splitter === undefined)
    throw new ModelError({ code: "model/unsupported", what: `pre-tokenizer ${String(name)}` });
  const added = tokens.flatMap((content, id) => {
    const type = typeOf(id);
    if (type !== CONTROL && type !== USER_DEFINED) return [];
    const plain = { single_word: false, lstrip: false, rstrip: false, normalized: false };
    return [{ id, content, special: type === CONTROL, ...plain }];
  });
  const file = {
    version: "1.0",
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: splitter,
    post_processor: null,
    decoder: GPT2_WORDS,
    model: {
      type: "BPE",
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: texts(metadata, "tokenizer.ggml.merges"),
    },
  };
  return file;
}

/** The file of a PieceTokenizer, whose first ids are unknown, begin, end and the 256 bytes. */
function pieceFile(metadata: Metadata): Uint8Array {
  const tokens = texts(metadata, "tokenizer.ggml.tokens");
  const scores = metadata.get("tokenizer.ggml.scores");
  if (!Array.isArray(scores) || scores.length !== tokens.length)
    throw decodeError("tokenizer.ggml.scores do not fit the tokens");
  const pieces = tokens.map((token) => utf8Bytes(token.replaceAll("\u2581", " ")));
  const longest = pieces.reduce((most, { length }) => Math.max(most, length), 1);
  const total = pieces.reduce((sum, { length }) => sum + 8 + length, 4);
  const file = new Uint8Array(total);
  const view = new DataView(file.buffer);
  view.setInt32(0, longest, true);
  let offset = 4;
  for (const [id, piece] of pieces.entries()) {
    view.setFloat32(offset, Number(scores[id]), true);
    view.setInt32(offset + 4, piece.length, true);
    file.set(piece, offset + 8);
    offset += 8 + piece.length;
  }
  return file;
}

function texts(metadata: Metadata, key: string): string[] {
  const list = metadata.get(key);
  if (!Array.isArray(list) || !list.every((item) => typeof item === "string"))
    throw decodeError(`${key} is no list of texts`);
  return list;
}

function sequence(...pretokenizers: readonly object[]): object {
  return { type: "Sequence", pretokenizers };
}

function splitting(regex: string): object {
  const split = { type: "Split", pattern: { Regex: regex }, behavior: "Isolated", invert: false };
  return sequence(split, { ...BYTES_AS_CHARACTERS, use_regex: false });
}

function decodeError(what: string): DecodeError {
  return new DecodeError({ code: "tokenizer/decode", what, offset: 0 });
}
