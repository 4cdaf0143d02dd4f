// Tokenizers in the form of Hugging Face's tokenizer.json, run by the well-kept library for it. This file
// owns what the library does not: the identity, and the bytes of single tokens for streaming.

import { DecodeError, equalBytes, utf8Bytes, utf8Text } from "gyrotron/base";
import { sha256 } from "gyrotron/hash";
import type { Tokenizer as Library } from "@huggingface/tokenizers";
import { ModelError } from "./error.ts";
import { BytePairs, type BytePairTable, bytePairTable, jsonOfTable } from "./byte-pair-table.ts";
import { openLibrary, openLibraryOf } from "./merge-ranks.ts";
import type { TextTokenizer } from "./text-tokenizer.ts";

const FILE_BYTES_MAX = 64 * 1024 * 1024;
/** What a vocabulary may have at most. */
const TOKENS_MAX: number = 2 ** 20;

/** A tokenizer.json, parsed. Only what is looked at here has a type. */
export interface HubTokenizerFile {
  readonly model: { readonly type?: string; readonly vocab: Readonly<Record<string, number>> };
  readonly added_tokens?: readonly AddedToken[];
  readonly decoder?: {
    readonly type: string;
    readonly decoders?: readonly { readonly type: string }[];
  } | null;
}

/** A token that is found in a text before anything else is. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Whether it steers and stands for no text. */
  readonly special: boolean;
}

/** How the strings of a vocabulary spell bytes. */
type Spelling = "byte-level" | "metaspace" | "word-piece";

/** A tokenizer of the hub's kind. */
export class HubTokenizer implements TextTokenizer {
  readonly identity: Uint8Array;
  readonly vocabulary: number;
  readonly dropsFirstBlank: boolean;
  readonly #library: Library;
  readonly #spelling: Spelling;
  readonly #pieces: readonly (string | undefined)[];
  readonly #added: ReadonlyMap<number, AddedToken>;

  /** `library` is that of the file. @throws ModelError `model/unsupported` */
  constructor(file: HubTokenizerFile, identity: Uint8Array, library: Library) {
    this.identity = identity;
    this.#library = library;
    this.#spelling = spellingOf(file);
    this.dropsFirstBlank = this.#spelling === "metaspace";
    this.#added = new Map((file.added_tokens ?? []).map((token) => [token.id, token]));
    this.#pieces = this.#library.model.vocab;
    this.vocabulary = this.#pieces.length;
  }

  encode(text: string): number[] {
    return this.#library.encode(text.toWellFormed(), { add_special_tokens: false }).ids;
  }

  /** Tokens of a text between those that the file's post-processor puts around it. */
  encodeFramed(text: string): number[] {
    return this.#library.encode(text.toWellFormed()).ids;
  }

  nameOf(token: number): Uint8Array {
    return utf8Bytes(this.#pieces[token] ?? "");
  }

  bytesOf(token: number): Uint8Array {
    const added = this.#added.get(token);
    if (added !== undefined) return added.special ? new Uint8Array(0) : utf8Bytes(added.content);
    const piece = this.#pieces[token];
    if (piece === undefined) {
      // Weights are often padded to more rows than there are tokens; such rows stand for nothing.
      if (Number.isInteger(token) && token >= 0 && token < TOKENS_MAX) return new Uint8Array(0);
      throw new ModelError({ code: "model/token-unknown", token, vocabulary: this.vocabulary });
    }
    switch (this.#spelling) {
      case "byte-level":
        return byteLevelBytes(piece);
      case "metaspace":
        return metaspaceBytes(piece);
      case "word-piece":
        return utf8Bytes(piece.startsWith("##") ? piece.slice(2) : ` ${piece}`);
    }
  }
}

/** A tokenizer.json as a prepared file keeps it. */
export type StoredHubTokenizer =
  | { readonly kind: "hub"; readonly json: string }
  | ({ readonly kind: "bytePairs"; readonly identity: Uint8Array } & BytePairTable);

/** A tokenizer from the bytes of a tokenizer.json. @throws DecodeError `tokenizer/decode`, ModelError `model/unsupported` */
export function decodeHubTokenizer(bytes: Uint8Array): HubTokenizer {
  const file = decodeTokenizerFile(bytes);
  return openFile(file, JSON.stringify(file));
}

/** The JSON without blanks, by which the same tokenizer is made again. @throws DecodeError `tokenizer/decode` */
export function hubTokenizerJson(bytes: Uint8Array): string {
  return JSON.stringify(decodeTokenizerFile(bytes));
}

/** A tokenizer as it was stored. @throws DecodeError `tokenizer/decode`, ModelError `model/unsupported` */
export function reopenHubTokenizer(stored: StoredHubTokenizer): HubTokenizer {
  if (stored.kind === "hub") return openFile(parseTokenizerFile(stored.json), stored.json);
  const file = parseTokenizerFile(stored.rest);
  const library = openWith(file, () => openLibraryOf(file, new BytePairs(stored)));
  return new HubTokenizer(file, stored.identity, library);
}

/** The same tokenizer in the form that opens fastest. */
export function tabledTokenizer(stored: StoredHubTokenizer): StoredHubTokenizer {
  const table = stored.kind === "hub" ? bytePairTable(stored.json) : undefined;
  if (stored.kind !== "hub" || table === undefined) return stored;
  return { kind: "bytePairs", identity: identityOf(stored.json), ...table };
}

/** Whether a stored tokenizer, which opens, is what its identity says. */
export function isTrueTokenizer(stored: StoredHubTokenizer): boolean {
  if (stored.kind === "hub") return true;
  const json = jsonOfTable(stored);
  const table = bytePairTable(json);
  return (
    table !== undefined &&
    equalBytes(identityOf(json), stored.identity) &&
    table.sorted.every((id, i) => id === stored.sorted[i]) &&
    table.ranked.every((rank, i) => rank === stored.ranked[i])
  );
}

function identityOf(json: string): Uint8Array {
  return sha256(utf8Bytes(json));
}

function openFile(file: HubTokenizerFile, json: string): HubTokenizer {
  const library = openWith(file, () => openLibrary(file));
  return new HubTokenizer(file, identityOf(json), library);
}

function openWith(file: HubTokenizerFile, open: () => Library): Library {
  checkIds(file);
  try {
    return open();
  } catch (error) {
    throw decodeError(`tokenizer.json: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function decodeTokenizerFile(bytes: Uint8Array): HubTokenizerFile {
  if (bytes.length > FILE_BYTES_MAX) throw decodeError("tokenizer.json is too long");
  const text = utf8Text(bytes);
  if (text === undefined) throw decodeError("tokenizer.json is not UTF-8");
  return parseTokenizerFile(text);
}

function parseTokenizerFile(text: string): HubTokenizerFile {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw decodeError("tokenizer.json is not JSON");
  }
  if (!isTokenizerFile(value)) throw decodeError("tokenizer.json has no model with a vocabulary");
  return value;
}

function isTokenizerFile(value: unknown): value is HubTokenizerFile {
  if (typeof value !== "object" || value === null) return false;
  const { model, added_tokens: added = [] } = value as { model?: unknown; added_tokens?: unknown };
  if (typeof model !== "object" || model === null || !("vocab" in model)) return false;
  if (typeof model.vocab !== "object" || model.vocab === null) return false;
  return Array.isArray(added) && added.every(isAddedToken);
}

function isAddedToken(value: unknown): value is AddedToken {
  if (typeof value !== "object" || value === null) return false;
  const { id, content, special } = value as Partial<AddedToken>;
  return Number.isSafeInteger(id) && typeof content === "string" && typeof special === "boolean";
}

/** The library keeps tokens in an array by id. */
function checkIds({ model, added_tokens: added = [] }: HubTokenizerFile): void {
  const check = (id: number): void => {
    if (Number.isInteger(id) && id >= 0 && id < TOKENS_MAX) return;
    throw decodeError(`tokenizer.json: token ${String(id)} is out of range`);
  };
  if (Array.isArray(model.vocab)) check(Math.max(0, model.vocab.length - 1));
  else for (const id of Object.values(model.vocab)) check(id);
  for (const { id } of added) check(id);
}

function spellingOf({ model, decoder }: HubTokenizerFile): Spelling {
  const types = [decoder?.type, ...(decoder?.decoders ?? []).map(({ type }) => type)];
  if (types.includes("ByteLevel")) return "byte-level";
  if (types.includes("WordPiece") || model.type === "WordPiece") return "word-piece";
  if (types.includes("Metaspace") || types.includes("ByteFallback") || types.includes("Replace"))
    return "metaspace";
  throw new ModelError({ code: "model/unsupported", what: `tokenizer decoder ${types.join(" ")}` });
}

/** GPT-2's alphabet: each byte as a printable character. */
const BYTE_OF_CHARACTER: ReadonlyMap<string, number> = new Map(
  Array.from({ length: 256 }, (_, byte) => byte)
    .toSorted((a, b) => Number(!isPrintable(a)) - Number(!isPrintable(b)) || a - b)
    .map((byte, i, order) => {
      const printable = order.findIndex((other) => !isPrintable(other));
      return [String.fromCodePoint(i < printable ? byte : 256 + i - printable), byte];
    }),
);

function isPrintable(byte: number): boolean {
  return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

function byteLevelBytes(piece: string): Uint8Array {
  const bytes: number[] = [];
  for (const character of piece) {
    const byte = BYTE_OF_CHARACTER.get(character);
    if (byte === undefined) bytes.push(...utf8Bytes(character));
    else bytes.push(byte);
  }
  return Uint8Array.from(bytes);
}

function metaspaceBytes(piece: string): Uint8Array {
  const byte = /^<0x([0-9A-F]{2})>$/.exec(piece)?.[1];
  if (byte !== undefined) return Uint8Array.of(Number.parseInt(byte, 16));
  return utf8Bytes(piece.replaceAll("\u2581", " "));
}

function decodeError(what: string): DecodeError {
  return new DecodeError({ code: "tokenizer/decode", what, offset: 0 });
}
