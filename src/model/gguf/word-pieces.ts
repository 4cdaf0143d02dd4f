// The WordPiece vocabulary of BERT as GGUF files have it, made into the tokenizer.json that it came from: words
// begin with U+2581 there, and what goes on within a word is bare.

import { DecodeError } from "gyrotron/base";
import type { AddedToken, HubTokenizerFile } from "../hub-tokenizer.ts";
import type { GgufHeader, GgufValue } from "./container.ts";

type Metadata = GgufHeader["metadata"];

/** Tokens that steer, by the keys under which their ids stand; the last is misspelled in every file. */
const SPECIAL_KEYS = {
  padding: "padding_token_id",
  unknown: "unknown_token_id",
  mask: "mask_token_id",
  begin: "cls_token_id",
  end: "seperator_token_id",
} as const;
type Role = keyof typeof SPECIAL_KEYS;

/** Keys of other writers, and how BERT's vocabularies call the tokens where no key names them. */
const OTHER_KEYS: Partial<Record<Role, string>> = { begin: "bos_token_id", end: "eos_token_id" };
const NAMES: Readonly<Record<Role, string>> = {
  padding: "[PAD]",
  unknown: "[UNK]",
  mask: "[MASK]",
  begin: "[CLS]",
  end: "[SEP]",
};

const WORD_START = "\u2581";
const CONTINUATION = "##";
/** Type of a token that steers, as the metadata numbers it. */
const CONTROL = 3;
const WORD_CHARACTERS_MAX = 100;

/** The tokenizer of `tokens`. @throws DecodeError `tokenizer/decode` */
export function wordPieceFile(metadata: Metadata, tokens: readonly string[]): HubTokenizerFile {
  const ids = specialIds(metadata, tokens);
  const types = metadata.get("tokenizer.ggml.token_type");
  const special = new Set(Object.values(ids));
  tokens.forEach((_, id) => {
    if (Array.isArray(types) && types[id] === CONTROL) special.add(id);
  });
  const pieces = tokens.map((token, id) => (special.has(id) ? token : pieceOf(token)));
  const nameOf = (id: number): string => pieces[id]!;
  const frame = (id: number): object => ({ SpecialToken: { id: nameOf(id), type_id: 0 } });
  const entry = (id: number): [string, object] => {
    return [nameOf(id), { id: nameOf(id), ids: [id], tokens: [nameOf(id)] }];
  };
  const single = [frame(ids.begin), { Sequence: { id: "A", type_id: 0 } }, frame(ids.end)];
  const lowercase = isLowercase(metadata, pieces, special);
  const file = {
    version: "1.0",
    added_tokens: [...special].sort((a, b) => a - b).map((id) => addedToken(id, nameOf(id))),
    normalizer: {
      ...{ type: "BertNormalizer", clean_text: true, handle_chinese_chars: true },
      ...{ strip_accents: flag(metadata, "strip_accents") ?? null, lowercase },
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: {
      ...{ type: "TemplateProcessing", single, pair: single },
      special_tokens: Object.fromEntries([entry(ids.begin), entry(ids.end)]),
    },
    decoder: { type: "WordPiece", prefix: CONTINUATION, cleanup: true },
    model: {
      ...{ type: "WordPiece", unk_token: nameOf(ids.unknown) },
      continuing_subword_prefix: CONTINUATION,
      max_input_chars_per_word: WORD_CHARACTERS_MAX,
      vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
    },
  };
  return file;
}

/** The piece as BERT spells it. The first writers left everything in brackets as it was, such as `[unused7]`. */
function pieceOf(token: string): string {
  if (token.startsWith(WORD_START)) return token.slice(WORD_START.length);
  return /^\[.+\]$/.test(token) ? token : CONTINUATION + token;
}

/** What no mask or padding is needed for may be missing: the texts of embeddings have neither. */
function specialIds(
  metadata: Metadata,
  tokens: readonly string[],
): Record<"begin" | "end" | "unknown", number> & Partial<Record<Role, number>> {
  const find = (role: Role): number | undefined => {
    const other = OTHER_KEYS[role];
    const named =
      metadata.get(`tokenizer.ggml.${SPECIAL_KEYS[role]}`) ??
      (other === undefined ? undefined : metadata.get(`tokenizer.ggml.${other}`));
    if (named !== undefined) return checkId(SPECIAL_KEYS[role], named, tokens.length);
    const id = tokens.indexOf(NAMES[role]);
    return id < 0 ? undefined : id;
  };
  const need = (role: Role): number => {
    return find(role) ?? fail(`tokenizer.ggml.${SPECIAL_KEYS[role]} is missing`);
  };
  const [padding, mask] = [find("padding"), find("mask")];
  return {
    ...{ begin: need("begin"), end: need("end"), unknown: need("unknown") },
    ...(padding !== undefined && { padding }),
    ...(mask !== undefined && { mask }),
  };
}

function checkId(key: string, id: GgufValue, count: number): number {
  if (typeof id === "number" && Number.isInteger(id) && id >= 0 && id < count) return id;
  return fail(`tokenizer.ggml.${key} is ${String(id).slice(0, 20)}, no token`);
}

/**
 * Files that do not say it are told apart by their words: a vocabulary without capitals has no use for them. Of other
 * alphabets there are capitals in any, as symbols.
 */
function isLowercase(
  metadata: Metadata,
  pieces: readonly string[],
  special: ReadonlySet<number>,
): boolean {
  const isBare = (piece: string, id: number): boolean => {
    return special.has(id) || piece.startsWith("[") || !/[A-Z]/.test(piece);
  };
  return flag(metadata, "lowercase") ?? pieces.every(isBare);
}

function flag(metadata: Metadata, name: string): boolean | undefined {
  const value = metadata.get(`tokenizer.ggml.normalizer.${name}`);
  return typeof value === "boolean" ? value : undefined;
}

function addedToken(id: number, content: string): AddedToken {
  const plain = { single_word: false, lstrip: false, rstrip: false, normalized: false };
  return { id, special: true, content, ...plain };
}

function fail(what: string): never {
  throw new DecodeError({ code: "tokenizer/decode", what, offset: 0 });
}
