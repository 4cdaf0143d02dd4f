// Tokens of Candid texts: interface descriptions and values share them.

import { utf8Bytes, utf8Text } from "gyrotron/base";
import { CandidError } from "./candid-error.ts";

export type Token =
  | { readonly kind: "name"; readonly text: string; readonly offset: number }
  /** A number as written, without its sign and underscores. */
  | { readonly kind: "number"; readonly text: string; readonly offset: number }
  | { readonly kind: "string"; readonly bytes: Uint8Array; readonly offset: number }
  | { readonly kind: "symbol"; readonly text: string; readonly offset: number }
  | { readonly kind: "end"; readonly offset: number };

const SPACE = /(?:[ \t\r\n]+|\/\/[^\n]*)+/y;
const NAME = /[A-Za-z_][A-Za-z0-9_]*/y;
const NUMBER =
  /0[xX][0-9a-fA-F](?:_?[0-9a-fA-F])*|[0-9](?:_?[0-9])*(?:\.(?:[0-9](?:_?[0-9])*)?)?(?:[eE][+-]?[0-9]+)?/y;
const SYMBOL = /->|[(){};:,=.+-]/y;
const ESCAPES: Readonly<Record<string, number>> = {
  n: 10,
  r: 13,
  t: 9,
  "\\": 92,
  '"': 34,
  "'": 39,
};

/** A reader over the tokens of a text with one token of look-ahead. @throws CandidError */
export class TokenReader {
  readonly #text: string;
  #offset = 0;
  #next: Token;

  constructor(text: string) {
    this.#text = text;
    this.#next = this.#scan();
  }

  /** Whether the token after the next one is this symbol. */
  symbolFollows(symbol: string): boolean {
    const offset = this.#offset;
    const second = this.#scan();
    this.#offset = offset;
    return second.kind === "symbol" && second.text === symbol;
  }

  /** The next token, which stays. */
  peek(): Token {
    return this.#next;
  }

  take(): Token {
    const token = this.#next;
    this.#next = this.#scan();
    return token;
  }

  /** Takes the next token if it is this symbol. */
  takeSymbol(symbol: string): boolean {
    if (!this.atSymbol(symbol)) return false;
    this.take();
    return true;
  }

  /** Takes the next token if it is this word. */
  takeName(name: string): boolean {
    const token = this.#next;
    if (token.kind !== "name" || token.text !== name) return false;
    this.take();
    return true;
  }

  atSymbol(symbol: string): boolean {
    return this.#next.kind === "symbol" && this.#next.text === symbol;
  }

  expectSymbol(symbol: string): void {
    if (!this.takeSymbol(symbol)) this.fail(`expected ${symbol}`);
  }

  /** The next token's text as a string literal. */
  expectString(): string {
    const token = this.take();
    if (token.kind !== "string") throw this.failure("expected a text in quotes", token);
    return textOf(token);
  }

  /** Stops: says what was expected and what came instead. */
  fail(what: string): never {
    throw this.failure(what, this.#next);
  }

  failure(what: string, token: Token): CandidError {
    const found = token.kind === "end" ? "the end" : describeToken(token);
    return new CandidError({
      code: "candid/syntax",
      what: `${what}, found ${found}`,
      offset: token.offset,
    });
  }

  #scan(): Token {
    this.#skipSpace();
    const offset = this.#offset;
    if (offset >= this.#text.length) return { kind: "end", offset };
    if (this.#text[offset] === '"') return { kind: "string", bytes: this.#scanString(), offset };
    const name = this.#match(NAME);
    if (name !== undefined) return { kind: "name", text: name, offset };
    const number = this.#match(NUMBER);
    if (number !== undefined) return { kind: "number", text: number.replaceAll("_", ""), offset };
    const symbol = this.#match(SYMBOL);
    if (symbol !== undefined) return { kind: "symbol", text: symbol, offset };
    const character = String.fromCodePoint(this.#text.codePointAt(offset) ?? 0);
    throw new CandidError({ code: "candid/syntax", what: `unexpected ${character}`, offset });
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#offset;
    const found = pattern.exec(this.#text)?.[0];
    if (found !== undefined) this.#offset += found.length;
    return found;
  }

  #skipSpace(): void {
    for (;;) {
      this.#match(SPACE);
      if (!this.#text.startsWith("/*", this.#offset)) return;
      this.#skipBlockComment();
    }
  }

  #skipBlockComment(): void {
    const start = this.#offset;
    let depth = 0;
    do {
      if (this.#text.startsWith("/*", this.#offset)) depth += 1;
      else if (this.#text.startsWith("*/", this.#offset)) depth -= 1;
      else {
        if (this.#offset >= this.#text.length) {
          throw new CandidError({ code: "candid/syntax", what: "unclosed comment", offset: start });
        }
        this.#offset += 1;
        continue;
      }
      this.#offset += 2;
    } while (depth > 0);
  }

  #scanString(): Uint8Array {
    const start = this.#offset;
    const bytes: number[] = [];
    this.#offset += 1;
    for (;;) {
      const character = this.#text[this.#offset];
      if (character === undefined || character === "\n") {
        throw new CandidError({ code: "candid/syntax", what: "unclosed text", offset: start });
      }
      if (character === '"') break;
      if (character === "\\") bytes.push(...this.#scanEscape());
      else {
        const whole = String.fromCodePoint(this.#text.codePointAt(this.#offset) ?? 0);
        bytes.push(...utf8Bytes(whole));
        this.#offset += whole.length;
      }
    }
    this.#offset += 1;
    return Uint8Array.from(bytes);
  }

  #scanEscape(): Iterable<number> {
    const rest = this.#text.slice(this.#offset, this.#offset + 12);
    const simple = ESCAPES[rest[1] ?? ""];
    const escape =
      simple === undefined ? /^\\(?:u\{([0-9a-fA-F]+)\}|([0-9a-fA-F]{2}))/.exec(rest) : null;
    this.#offset += simple === undefined ? (escape?.[0].length ?? 0) : 2;
    if (simple !== undefined) return [simple];
    const point = Number.parseInt(escape?.[1] ?? "", 16);
    if (point <= 0x10ffff && (point < 0xd800 || point > 0xdfff))
      return utf8Bytes(String.fromCodePoint(point));
    const byte = escape?.[2];
    if (byte !== undefined) return [Number.parseInt(byte, 16)];
    throw new CandidError({ code: "candid/syntax", what: "unknown escape", offset: this.#offset });
  }
}

/** The text of a string token. @throws CandidError if its bytes are not UTF-8 */
export function textOf(token: Extract<Token, { kind: "string" }>): string {
  const text = utf8Text(token.bytes);
  if (text !== undefined) return text;
  throw new CandidError({ code: "candid/syntax", what: "text is not UTF-8", offset: token.offset });
}

function describeToken(token: Exclude<Token, { kind: "end" }>): string {
  return token.kind === "string" ? "a text" : token.text;
}
