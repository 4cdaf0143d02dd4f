// Candid values as text: parses the arguments a user types and fits them to a method's types, or
// infers types where the canister publishes no interface. Owns neither printing nor bytes.

import { IDL } from "@icp-sdk/core/candid";
import { Principal } from "@icp-sdk/core/principal";
import { unreachable } from "gyrotron/base";
import { CandidError } from "./candid-error.ts";
import { parseType } from "./interface.ts";
import { TokenReader, textOf } from "./lexer.ts";

/** A value as written, with the place of its first token. */
export type Value = { readonly offset: number } & (
  | { readonly kind: "number"; readonly text: string }
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "blob"; readonly bytes: Uint8Array }
  | { readonly kind: "bool"; readonly value: boolean }
  | { readonly kind: "null" }
  | { readonly kind: "principal" | "service"; readonly id: Principal }
  | { readonly kind: "func"; readonly id: Principal; readonly method: string }
  | { readonly kind: "opt"; readonly value: Value }
  | { readonly kind: "vec"; readonly items: readonly Value[] }
  | {
      readonly kind: "record";
      readonly fields: readonly (readonly [label: string, value: Value])[];
    }
  | { readonly kind: "variant"; readonly label: string; readonly value: Value | undefined }
  | { readonly kind: "typed"; readonly value: Value; readonly type: IDL.Type }
);

const DEPTH_MAX = 200;

/** Reads `(v1, v2, ...)`; a single value may stand without parentheses. @throws CandidError */
export function parseArguments(text: string): Value[] {
  const parser = new ValueParser(text);
  return parser.arguments();
}

class ValueParser {
  readonly #tokens: TokenReader;
  #depth = 0;

  constructor(text: string) {
    this.#tokens = new TokenReader(text);
  }

  arguments(): Value[] {
    const tokens = this.#tokens;
    const values: Value[] = [];
    if (tokens.peek().kind === "end") return values;
    if (tokens.takeSymbol("(")) {
      while (!tokens.takeSymbol(")")) {
        values.push(this.#annotated());
        if (!tokens.takeSymbol(",") && !tokens.atSymbol(")")) tokens.fail("expected , or )");
      }
    } else {
      values.push(this.#annotated());
    }
    if (tokens.peek().kind !== "end") tokens.fail("expected the end");
    return values;
  }

  #annotated(): Value {
    if (++this.#depth > DEPTH_MAX) this.#tokens.fail("values are nested too deeply");
    const value = this.#value();
    this.#depth -= 1;
    if (!this.#tokens.takeSymbol(":")) return value;
    return { kind: "typed", value, type: parseType(this.#tokens), offset: value.offset };
  }

  #value(): Value {
    const tokens = this.#tokens;
    const token = tokens.take();
    const offset = token.offset;
    switch (token.kind) {
      case "string":
        return { kind: "text", text: textOf(token), offset };
      case "number":
        return { kind: "number", text: token.text, offset };
      case "name":
        return this.#named(token.text, offset);
      case "symbol":
        if (token.text === "-" || token.text === "+") return this.#signed(token.text, offset);
        if (token.text === "(") {
          const inner = this.#annotated();
          tokens.expectSymbol(")");
          return inner;
        }
        break;
      case "end":
        break;
    }
    throw tokens.failure("expected a value", token);
  }

  #signed(sign: string, offset: number): Value {
    const token = this.#tokens.take();
    if (token.kind !== "number") throw this.#tokens.failure("expected a number", token);
    return { kind: "number", text: sign === "-" ? `-${token.text}` : token.text, offset };
  }

  #named(word: string, offset: number): Value {
    const tokens = this.#tokens;
    switch (word) {
      case "true":
      case "false":
        return { kind: "bool", value: word === "true", offset };
      case "null":
        return { kind: "null", offset };
      case "opt":
        return { kind: "opt", value: this.#annotated(), offset };
      case "vec":
        return { kind: "vec", items: this.#items(), offset };
      case "record":
        return { kind: "record", fields: this.#fields(), offset };
      case "variant":
        return this.#variant(offset);
      case "blob": {
        const token = tokens.take();
        if (token.kind !== "string") throw tokens.failure("expected a text in quotes", token);
        return { kind: "blob", bytes: token.bytes, offset };
      }
      case "principal":
      case "service":
        return { kind: word, id: this.#principal(), offset };
      case "func": {
        const id = this.#principal();
        tokens.expectSymbol(".");
        return { kind: "func", id, method: this.#label(), offset };
      }
      default:
        throw new CandidError({
          code: "candid/syntax",
          what: `unknown word ${word} (texts need quotes)`,
          offset,
        });
    }
  }

  #items(): Value[] {
    const tokens = this.#tokens;
    const items: Value[] = [];
    tokens.expectSymbol("{");
    while (!tokens.takeSymbol("}")) {
      items.push(this.#annotated());
      if (!tokens.takeSymbol(";") && !tokens.atSymbol("}")) tokens.fail("expected ; or }");
    }
    return items;
  }

  #fields(): [string, Value][] {
    const tokens = this.#tokens;
    const fields: [string, Value][] = [];
    let position = 0;
    tokens.expectSymbol("{");
    while (!tokens.takeSymbol("}")) {
      const isLabelled = tokens.symbolFollows("=");
      const label = isLabelled ? this.#label() : `_${position}_`;
      if (isLabelled) tokens.expectSymbol("=");
      else position += 1;
      fields.push([label, this.#annotated()]);
      if (!tokens.takeSymbol(";") && !tokens.atSymbol("}")) tokens.fail("expected ; or }");
    }
    return fields;
  }

  #variant(offset: number): Value {
    const tokens = this.#tokens;
    tokens.expectSymbol("{");
    const label = this.#label();
    const value = tokens.takeSymbol("=") ? this.#annotated() : undefined;
    tokens.takeSymbol(";");
    tokens.expectSymbol("}");
    return { kind: "variant", label, value, offset };
  }

  #label(): string {
    const token = this.#tokens.take();
    if (token.kind === "name") return token.text;
    if (token.kind === "number") return `_${Number(token.text)}_`;
    if (token.kind === "string") return textOf(token);
    throw this.#tokens.failure("expected a field name", token);
  }

  #principal(): Principal {
    const { offset } = this.#tokens.peek();
    const text = this.#tokens.expectString();
    try {
      return Principal.fromText(text);
    } catch (error) {
      const what = `"${text}" is not a principal`;
      throw new CandidError({ code: "candid/syntax", what, offset }, { cause: error });
    }
  }
}

/** The type a value has if nothing else is known: `int` for integers, as in other Candid tools. */
export function inferType(value: Value): IDL.Type {
  switch (value.kind) {
    case "number":
      return /^-?(0x[0-9a-f]+|[0-9]+)$/i.test(value.text) ? IDL.Int : IDL.Float64;
    case "text":
      return IDL.Text;
    case "blob":
      return IDL.Vec(IDL.Nat8);
    case "bool":
      return IDL.Bool;
    case "null":
      return IDL.Null;
    case "principal":
      return IDL.Principal;
    case "service":
      return IDL.Service({});
    case "func":
      return IDL.Func([], []);
    case "opt":
      return IDL.Opt(inferType(value.value));
    case "vec":
      return IDL.Vec(value.items[0] === undefined ? IDL.Empty : inferType(value.items[0]));
    case "record":
      return IDL.Record(
        Object.fromEntries(value.fields.map(([label, field]) => [label, inferType(field)])),
      );
    case "variant":
      return IDL.Variant({
        [value.label]: value.value === undefined ? IDL.Null : inferType(value.value),
      });
    case "typed":
      return value.type;
    default:
      return unreachable(value);
  }
}
