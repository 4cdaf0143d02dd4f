// Byte-pair tokenizer in the manner of SentencePiece, from llama2.c's file: pieces with scores, the best
// scored neighbouring pair merges first, characters without a piece are spelled as bytes. Lossless.
//
// File, little end first: i32 longest piece, then for each id f32 score, i32 length, bytes. Ids: 0 unknown,
// 1 begin, 2 end, 3..258 the bytes `<0xNN>`, then pieces.

import { concatBytes, DecodeError, equalBytes, utf8Bytes } from "gyrotron/base";
import { sha256 } from "gyrotron/hash";
import { ModelError } from "./error.ts";
import { MergeQueue } from "./merge-queue.ts";
import { decodeTokens, type TextTokenizer } from "./text-tokenizer.ts";

const FIRST_BYTE = 3;
const FIRST_PIECE = 259;
const PIECE_BYTES_MAX = 1024;
const VOCABULARY_MAX = 2 ** 20;

/** A vocabulary with its merges. */
export class PieceTokenizer implements TextTokenizer {
  readonly dropsFirstBlank = true;
  /** SHA-256 of the file. */
  readonly identity: Uint8Array;
  readonly #pieces: readonly Uint8Array[];
  readonly #scores: readonly number[];
  readonly #ids: ReadonlyMap<string, number>;

  /** @throws DecodeError `tokenizer/decode` */
  constructor(file: Uint8Array) {
    const { pieces, scores } = decodeFile(file);
    this.identity = sha256(file);
    this.#pieces = pieces;
    this.#scores = scores;
    const ids = new Map<string, number>();
    // The lowest id of a piece counts.
    for (let id = pieces.length - 1; id >= FIRST_PIECE; id--) ids.set(keyOf(pieces[id]!), id);
    this.#ids = ids;
  }

  get vocabulary(): number {
    return this.#pieces.length;
  }

  /** Tokens of a text, without begin or end. Unpaired surrogates become U+FFFD. */
  encode(text: string): number[] {
    if (text === "") return [];
    const tokens = this.#spell(` ${text}`);
    const queue = new MergeQueue();
    const next = tokens.map((_, i) => i + 1);
    const previous = tokens.map((_, i) => i - 1);
    const offer = (left: number): void => {
      const right = next[left]!;
      if (right >= tokens.length) return;
      const id = this.#merged(tokens[left]!, tokens[right]!);
      if (id === undefined) return;
      queue.push({
        score: this.#scores[id]!,
        left,
        id,
        leftToken: tokens[left]!,
        rightToken: tokens[right]!,
      });
    };
    for (let i = 0; i < tokens.length; i++) offer(i);
    for (let best = queue.pop(); best !== undefined; best = queue.pop()) {
      const { left, id } = best;
      const right = next[left]!;
      // An offer is stale if either side has since become something else; gone tokens are -1.
      if (tokens[left] !== best.leftToken || tokens[right] !== best.rightToken) continue;
      tokens[left] = id;
      tokens[right] = -1;
      next[left] = next[right]!;
      if (next[left] < tokens.length) previous[next[left]] = left;
      offer(left);
      if (previous[left]! >= 0) offer(previous[left]!);
    }
    return tokens.filter((token) => token >= 0);
  }

  /** The text of tokens, which drops begin, end and the blank that `encode` puts first. */
  decode(tokens: readonly number[]): string {
    return decodeTokens(this, tokens);
  }

  nameOf(token: number): Uint8Array {
    return this.#pieces[token] ?? new Uint8Array(0);
  }

  /** Bytes of one token; none for unknown, begin and end. @throws ModelError `model/token-unknown` */
  bytesOf(token: number): Uint8Array {
    const piece = this.#pieces[token];
    if (piece === undefined) {
      throw new ModelError({ code: "model/token-unknown", token, vocabulary: this.vocabulary });
    }
    if (token < FIRST_BYTE) return new Uint8Array(0);
    return token < FIRST_PIECE ? Uint8Array.of(token - FIRST_BYTE) : piece;
  }

  #spell(text: string): number[] {
    const tokens: number[] = [];
    for (const character of text) {
      const bytes = utf8Bytes(character);
      const id = this.#ids.get(keyOf(bytes));
      if (id !== undefined) tokens.push(id);
      else for (const byte of bytes) tokens.push(byte + FIRST_BYTE);
    }
    return tokens;
  }

  #merged(left: number, right: number): number | undefined {
    if (left < FIRST_PIECE || right < FIRST_PIECE) return undefined;
    return this.#ids.get(keyOf(concatBytes(this.#pieces[left]!, this.#pieces[right]!)));
  }
}

function decodeFile(file: Uint8Array): { pieces: Uint8Array[]; scores: number[] } {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (file.length < 4) throw decodeError("header cut off", file.length);
  const longest = view.getInt32(0, true);
  if (longest < 1 || longest > PIECE_BYTES_MAX) throw decodeError("longest piece out of range", 0);
  const pieces: Uint8Array[] = [];
  const scores: number[] = [];
  let offset = 4;
  while (offset < file.length) {
    if (file.length - offset < 8) throw decodeError("entry cut off", offset);
    const score = view.getFloat32(offset, true);
    const length = view.getInt32(offset + 4, true);
    if (!Number.isFinite(score)) throw decodeError("score is not finite", offset);
    if (length < 0 || length > PIECE_BYTES_MAX)
      throw decodeError("length out of range", offset + 4);
    if (length > file.length - offset - 8) throw decodeError("piece cut off", offset + 8);
    if (pieces.length >= VOCABULARY_MAX) throw decodeError("too many pieces", offset);
    pieces.push(file.slice(offset + 8, offset + 8 + length));
    scores.push(score);
    offset += 8 + length;
  }
  if (pieces.length < FIRST_PIECE) throw decodeError("byte pieces are missing", file.length);
  for (let byte = 0; byte < 256; byte++) {
    const name = utf8Bytes(`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
    if (!equalBytes(pieces[byte + FIRST_BYTE]!, name))
      throw decodeError(`piece ${byte + FIRST_BYTE} is no byte`, 4);
  }
  return { pieces, scores };
}

/** Bytes as a string of one character each, which serves as a map's key. */
function keyOf(bytes: Uint8Array): string {
  let key = "";
  for (const byte of bytes) key += String.fromCharCode(byte);
  return key;
}

function decodeError(what: string, offset: number): DecodeError {
  return new DecodeError({ code: "tokenizer/decode", what, offset });
}
