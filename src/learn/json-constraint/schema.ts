// From JSON Schema to a grammar of compact JSON (one blank may follow a comma or a colon). What cannot be
// enforced is refused, never ignored: a constraint that lets wrong texts through is worse than none.

import { utf8Bytes } from "gyrotron/base";
import { GenerationError } from "../error.ts";
import type { Grammar, GrammarSymbol } from "./grammar.ts";

const DEPTH_MAX = 64;
const RULES_MAX = 20_000;
const LENGTH_MAX = 4096;
const ITEMS_MAX = 1024;
/** Digits of a number before the point, behind it, and of its exponent. */
const DIGITS = [16, 16, 3] as const;

/** Keywords that say nothing about which values are valid. */
const ANNOTATIONS: ReadonlySet<string> = new Set([
  ...["title", "description", "default", "examples", "$schema", "$id", "$comment"],
  ...["$defs", "definitions", "deprecated", "readOnly", "writeOnly"],
]);

const KEYWORDS: Readonly<Record<string, readonly string[]>> = {
  object: ["properties", "required", "additionalProperties"],
  array: ["items", "minItems", "maxItems"],
  string: ["minLength", "maxLength"],
};

/** The grammar of the values that a schema allows. @throws GenerationError `learn/schema` with the place of what is not supported */
export function compileSchema(schema: unknown): Grammar {
  const compiler = new Compiler(schema);
  compiler.compile();
  return compiler.rules;
}

type Schema = Readonly<Record<string, unknown>>;

class Compiler {
  readonly rules: GrammarSymbol[][][] = [[]];
  readonly #root: unknown;
  readonly #named: Map<string, number> = new Map();

  constructor(root: unknown) {
    this.#root = root;
  }

  compile(): void {
    const top = this.#value(this.#root, "#", 0);
    this.rules[0] = [[top]];
  }

  #value(schema: unknown, path: string, depth: number): GrammarSymbol {
    if (depth > DEPTH_MAX) throw refuse(path, `nested deeper than ${DEPTH_MAX}`);
    if (schema === true) return this.#any();
    if (!isSchema(schema)) throw refuse(path, "no schema");
    if (typeof schema["$ref"] === "string") return this.#reference(schema, path, depth);
    if ("const" in schema) return this.#choices(schema, [schema["const"]], path, "const");
    if ("enum" in schema) {
      if (!Array.isArray(schema["enum"]) || schema["enum"].length === 0)
        throw refuse(`${path}/enum`, "no list of values");
      return this.#choices(schema, schema["enum"], path, "enum");
    }
    for (const key of ["anyOf", "oneOf"] as const) {
      const list = schema[key];
      if (list === undefined) continue;
      only(schema, [key], path);
      if (!Array.isArray(list) || list.length === 0) throw refuse(`${path}/${key}`, "no list");
      return this.#rule(
        list.map((item, i) => [this.#value(item, `${path}/${key}/${i}`, depth + 1)]),
      );
    }
    const { type } = schema;
    if (type === undefined) {
      if ("properties" in schema) return this.#typed("object", schema, path, depth);
      if ("items" in schema) return this.#typed("array", schema, path, depth);
      only(schema, [], path);
      return this.#any();
    }
    if (!Array.isArray(type)) return this.#typed(type, schema, path, depth);
    return this.#rule(type.map((one) => [this.#typed(one, schema, path, depth)]));
  }

  #typed(type: unknown, schema: Schema, path: string, depth: number): GrammarSymbol {
    const types = Array.isArray(schema["type"]) ? schema["type"] : [type];
    only(schema, ["type", ...types.flatMap((t) => KEYWORDS[String(t)] ?? [])], path);
    switch (type) {
      case "null":
        return this.#rule([literal("null")]);
      case "boolean":
        return this.#rule([literal("true"), literal("false")]);
      case "integer":
        return this.#shared("integer", () => [this.#integer()]);
      case "number":
        return this.#shared("number", () => [[...this.#integer(), ...this.#fraction()]]);
      case "string":
        return this.#string(schema, path);
      case "array":
        return this.#array(schema, path, depth);
      case "object":
        return this.#object(schema, path, depth);
      default:
        throw refuse(`${path}/type`, `unknown type ${String(type)}`);
    }
  }

  #reference(schema: Schema, path: string, depth: number): GrammarSymbol {
    only(schema, ["$ref"], path);
    const target = schema["$ref"] as string;
    const known = this.#named.get(target);
    if (known !== undefined) return { rule: known };
    if (target !== "#" && !target.startsWith("#/"))
      throw refuse(`${path}/$ref`, "only references within the schema");
    let found: unknown = this.#root;
    for (const part of target.split("/").slice(1)) {
      const key = part.replaceAll("~1", "/").replaceAll("~0", "~");
      if (!isSchema(found) || !Object.hasOwn(found, key)) throw refuse(`${path}/$ref`, "no target");
      found = found[key];
    }
    const rule = this.#reserve();
    this.#named.set(target, rule);
    this.rules[rule] = [[this.#value(found, target, depth + 1)]];
    return { rule };
  }

  #choices(schema: Schema, values: readonly unknown[], path: string, key: string): GrammarSymbol {
    only(schema, [key, "type"], path);
    return this.#rule(values.map((value) => literal(JSON.stringify(value))));
  }

  #string(schema: Schema, path: string): GrammarSymbol {
    const least = count(schema, "minLength", path, LENGTH_MAX) ?? 0;
    const most = count(schema, "maxLength", path, LENGTH_MAX);
    const character = this.#character();
    const quote = byteClass('"');
    return this.#rule([[quote, ...this.#repeat([character], least, most), quote]]);
  }

  #array(schema: Schema, path: string, depth: number): GrammarSymbol {
    const least = count(schema, "minItems", path, ITEMS_MAX) ?? 0;
    const most = count(schema, "maxItems", path, ITEMS_MAX);
    const item = this.#value(schema["items"] ?? true, `${path}/items`, depth + 1);
    const [open, close] = [byteClass("["), byteClass("]")];
    if (most === 0) return this.#rule([[open, close]]);
    const rest = most === undefined ? undefined : most - 1;
    const more = this.#repeat([this.#comma(), item], Math.max(0, least - 1), rest);
    const filled = [open, item, ...more, close];
    return this.#rule(least === 0 ? [[open, close], filled] : [filled]);
  }

  #object(schema: Schema, path: string, depth: number): GrammarSymbol {
    const { properties = {}, required = [], additionalProperties } = schema;
    if (!isSchema(properties)) throw refuse(`${path}/properties`, "no object");
    if (!Array.isArray(required)) throw refuse(`${path}/required`, "no list");
    const names = Object.keys(properties);
    for (const name of required) {
      if (!names.includes(String(name)))
        throw refuse(`${path}/required`, `${String(name)} is no property`);
    }
    const [open, close] = [byteClass("{"), byteClass("}")];
    if (names.length === 0) {
      if (additionalProperties === false) return this.#rule([[open, close]]);
      const value = this.#value(
        additionalProperties ?? true,
        `${path}/additionalProperties`,
        depth + 1,
      );
      const pair = [this.#anyString(), this.#colon(), value];
      const more = this.#repeat([this.#comma(), ...pair], 0, undefined);
      return this.#rule([
        [open, close],
        [open, ...pair, ...more, close],
      ]);
    }
    const pairs = names.map((name) => [
      ...literal(JSON.stringify(name)),
      this.#colon(),
      this.#value(properties[name], `${path}/properties/${name}`, depth + 1),
    ]);
    // From behind: what may follow property i, after none (`first`) or some of those before it.
    let [first, later]: GrammarSymbol[][] = [[], []];
    for (let i = names.length - 1; i >= 0; i--) {
      const start = [...pairs[i]!, ...later!];
      const next = [this.#comma(), ...start];
      const isRequired = required.includes(names[i]);
      const here = isRequired ? [start] : [start, first!];
      const there = isRequired ? [next] : [next, later!];
      [first, later] = [[this.#rule(here)], [this.#rule(there)]];
    }
    return this.#rule([[open, ...first!, close]]);
  }

  /** Any JSON value. */
  #any(): GrammarSymbol {
    return this.#shared("any", () => {
      const all = ["null", "boolean", "number", "string", "array", "object"];
      return all.map((type) => [this.#typed(type, { type }, "#", 0)]);
    });
  }

  #anyString(): GrammarSymbol {
    return this.#shared("string", () => [[this.#string({}, "#")]]);
  }

  /** One character of a string: UTF-8 without control characters, or an escape. */
  #character(): GrammarSymbol {
    return this.#shared("character", () => {
      const follow = range(0x80, 0xbf);
      const hex = byteClass("0123456789abcdefABCDEF");
      return [
        [plainCharacters()],
        [byteClass("\\"), byteClass('"\\/bfnrt')],
        // Any code unit but a surrogate, which would have to come in pairs.
        [...literal("\\u"), byteClass("0123456789abcefABCEF"), hex, hex, hex],
        [...literal("\\u"), byteClass("dD"), byteClass("01234567"), hex, hex],
        [range(0xc2, 0xdf), follow],
        [range(0xe0, 0xe0), range(0xa0, 0xbf), follow],
        [range(0xe1, 0xec), follow, follow],
        [range(0xed, 0xed), range(0x80, 0x9f), follow],
        [range(0xee, 0xef), follow, follow],
        [range(0xf0, 0xf0), range(0x90, 0xbf), follow, follow],
        [range(0xf1, 0xf3), follow, follow, follow],
        [range(0xf4, 0xf4), range(0x80, 0x8f), follow, follow],
      ];
    });
  }

  #integer(): GrammarSymbol[] {
    const digits = this.#repeat([range(0x30, 0x39)], 0, DIGITS[0] - 1);
    const sign = this.#rule([[], [byteClass("-")]]);
    return [sign, this.#rule([[byteClass("0")], [range(0x31, 0x39), ...digits]])];
  }

  #fraction(): GrammarSymbol[] {
    const digit = range(0x30, 0x39);
    const fraction = [byteClass("."), ...this.#repeat([digit], 1, DIGITS[1])];
    const sign = this.#rule([[], [byteClass("+-")]]);
    const exponent = [byteClass("eE"), sign, ...this.#repeat([digit], 1, DIGITS[2])];
    return [this.#rule([[], fraction]), this.#rule([[], exponent])];
  }

  #comma(): GrammarSymbol {
    return this.#shared("comma", () => [[byteClass(",")], [byteClass(","), byteClass(" ")]]);
  }

  #colon(): GrammarSymbol {
    return this.#shared("colon", () => [[byteClass(":")], [byteClass(":"), byteClass(" ")]]);
  }

  /** `unit` from `least` to `most` times; without end if `most` is undefined. */
  #repeat(
    unit: readonly GrammarSymbol[],
    least: number,
    most: number | undefined,
  ): GrammarSymbol[] {
    const must = Array.from({ length: least }, () => unit).flat();
    if (most === undefined) {
      const rule = this.#reserve();
      this.rules[rule] = [[], [...unit, { rule }]];
      return [...must, { rule }];
    }
    let rest: GrammarSymbol[] = [];
    for (let i = least; i < most; i++) rest = [this.#rule([[], [...unit, ...rest]])];
    return [...must, ...rest];
  }

  #shared(name: string, build: () => GrammarSymbol[][]): GrammarSymbol {
    const known = this.#named.get(`:${name}`);
    if (known !== undefined) return { rule: known };
    const rule = this.#reserve();
    this.#named.set(`:${name}`, rule);
    this.rules[rule] = build();
    return { rule };
  }

  #rule(alternatives: GrammarSymbol[][]): GrammarSymbol {
    const rule = this.#reserve();
    this.rules[rule] = alternatives;
    return { rule };
  }

  #reserve(): number {
    if (this.rules.length >= RULES_MAX) throw refuse("#", "the schema is too large");
    return this.rules.push([]) - 1;
  }
}

function isSchema(value: unknown): value is Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Refuses keywords that would have to be enforced and are not. */
function only(schema: Schema, keywords: readonly string[], path: string): void {
  for (const key of Object.keys(schema)) {
    if (!keywords.includes(key) && !ANNOTATIONS.has(key))
      throw refuse(`${path}/${key}`, "this keyword is not supported here");
  }
}

function count(schema: Schema, key: string, path: string, max: number): number | undefined {
  const value = schema[key];
  if (value === undefined) return undefined;
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > max)
    throw refuse(`${path}/${key}`, `no integer from 0 to ${max}`);
  return value;
}

function literal(text: string): GrammarSymbol[] {
  return Array.from(utf8Bytes(text), (byte) => range(byte, byte));
}

function byteClass(characters: string): GrammarSymbol {
  const bytes = new Uint8Array(256);
  for (const byte of utf8Bytes(characters)) bytes[byte] = 1;
  return { bytes };
}

function range(low: number, high: number): GrammarSymbol {
  return { bytes: new Uint8Array(256).fill(1, low, high + 1) };
}

/** ASCII without control characters, quotes and backslashes. */
function plainCharacters(): GrammarSymbol {
  const bytes = new Uint8Array(256).fill(1, 0x20, 0x7f);
  for (const byte of utf8Bytes('"\\')) bytes[byte] = 0;
  return { bytes };
}

function refuse(path: string, what: string): GenerationError {
  return new GenerationError({ code: "learn/schema", path, what });
}
