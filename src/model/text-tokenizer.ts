// What every tokenizer offers, and text from tokens as they come.

import { concatBytes, utf8TextLossy } from "gyrotron/base";

/** A vocabulary: text to tokens, and the bytes of each token. */
export interface TextTokenizer {
  /** SHA-256 over everything that the tokens of a text depend on. */
  readonly identity: Uint8Array;
  /** Number of tokens. */
  readonly vocabulary: number;
  /** Whether a text's first blank is the tokenizer's own, and no part of the text. */
  readonly dropsFirstBlank: boolean;
  /** Tokens of a text, without begin or end. Unpaired surrogates become U+FFFD. */
  encode(text: string): number[];
  /** How the vocabulary writes a token, also one that stands for no text. */
  nameOf(token: number): Uint8Array;
  /** Bytes of one token; none for tokens that stand for no text. @throws ModelError `model/token-unknown` */
  bytesOf(token: number): Uint8Array;
}

/** The text of whole tokens. */
export function decodeTokens(tokenizer: TextTokenizer, tokens: readonly number[]): string {
  const stream = new TokenStream(tokenizer);
  return tokens.map((token) => stream.push(token)).join("") + stream.end();
}

/** Tokens in, text out, as soon as it is whole: a character split over tokens waits for its last byte. */
export class TokenStream {
  readonly #tokenizer: TextTokenizer;
  #pending: Uint8Array = new Uint8Array(0);
  #first = true;

  constructor(tokenizer: TextTokenizer) {
    this.#tokenizer = tokenizer;
  }

  /** The text that this token completes. */
  push(token: number): string {
    let bytes = this.#tokenizer.bytesOf(token);
    if (bytes.length === 0) return "";
    if (this.#first && this.#tokenizer.dropsFirstBlank && bytes[0] === 0x20)
      bytes = bytes.subarray(1);
    this.#first = false;
    const all = concatBytes(this.#pending, bytes);
    const whole = all.length - unfinishedTail(all);
    this.#pending = all.slice(whole);
    return utf8TextLossy(all.subarray(0, whole));
  }

  /** What an unfinished character at the end amounts to: U+FFFD, or nothing. */
  end(): string {
    const rest = utf8TextLossy(this.#pending);
    this.#pending = new Uint8Array(0);
    return rest;
  }
}

/** Length of a trailing start of a UTF-8 sequence that more bytes could complete. */
function unfinishedTail(bytes: Uint8Array): number {
  for (let length = 1; length <= Math.min(3, bytes.length); length++) {
    const byte = bytes[bytes.length - length]!;
    if ((byte & 0xc0) === 0x80) continue;
    const needed = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc2 ? 2 : 1;
    return needed > length ? length : 0;
  }
  return 0;
}
