// Parses Candid interface descriptions (the `candid:service` metadata) into types of the agent
// library. Imports of other files are refused: metadata is self-contained.

import { IDL } from "@icp-sdk/core/candid";
import { TokenReader } from "./lexer.ts";

/** A canister's interface. */
export interface CandidInterface {
  /** Arguments of the installation. */
  readonly init: readonly IDL.Type[];
  readonly methods: ReadonlyMap<string, IDL.FuncClass>;
}

/** A type whose names are looked up when all definitions are known. */
type Deferred<T = IDL.Type> = () => T;
type Labelled = readonly [label: string, type: Deferred];

const PRIMITIVES: ReadonlyMap<string, IDL.Type> = new Map<string, IDL.Type>([
  ["nat", IDL.Nat],
  ["nat8", IDL.Nat8],
  ["nat16", IDL.Nat16],
  ["nat32", IDL.Nat32],
  ["nat64", IDL.Nat64],
  ["int", IDL.Int],
  ["int8", IDL.Int8],
  ["int16", IDL.Int16],
  ["int32", IDL.Int32],
  ["int64", IDL.Int64],
  ["float32", IDL.Float32],
  ["float64", IDL.Float64],
  ["bool", IDL.Bool],
  ["text", IDL.Text],
  ["null", IDL.Null],
  ["reserved", IDL.Reserved],
  ["empty", IDL.Empty],
  ["principal", IDL.Principal],
]);
const ANNOTATIONS = ["query", "oneway", "composite_query"];
const DEPTH_MAX = 200;

/** Reads an interface description. @throws CandidError */
export function parseInterface(text: string): CandidInterface {
  return new InterfaceParser(new TokenReader(text)).parse();
}

/** Reads one type without names of its own, such as the one after `:` in a value. @throws CandidError */
export function parseType(tokens: TokenReader): IDL.Type {
  return new InterfaceParser(tokens).type()();
}

class InterfaceParser {
  readonly #tokens: TokenReader;
  readonly #definitions = new Map<string, Deferred>();
  /** Types by name; undefined while the definition is being resolved. */
  readonly #resolved = new Map<string, IDL.Type | undefined>();
  readonly #recursive = new Map<string, IDL.RecClass>();
  #depth = 0;

  constructor(tokens: TokenReader) {
    this.#tokens = tokens;
  }

  parse(): CandidInterface {
    const tokens = this.#tokens;
    while (tokens.takeName("type")) {
      this.#definition();
      tokens.expectSymbol(";");
    }
    if (tokens.peek().kind === "end") return { init: [], methods: new Map() };
    if (!tokens.takeName("service")) tokens.fail("expected type or service");
    if (!tokens.atSymbol(":")) this.#name();
    tokens.expectSymbol(":");
    const isClass = tokens.atSymbol("(");
    const init = isClass ? this.#tuple() : [];
    if (isClass) tokens.expectSymbol("->");
    const service = tokens.atSymbol("{") ? this.#service() : this.#reference();
    tokens.takeSymbol(";");
    if (tokens.peek().kind !== "end") tokens.fail("expected the end");
    const type = service();
    if (!(type instanceof IDL.ServiceClass)) return tokens.fail("expected a service type");
    return { init: resolveAll(init), methods: new Map(type._fields as [string, IDL.FuncClass][]) };
  }

  type(): Deferred {
    if (++this.#depth > DEPTH_MAX) this.#tokens.fail("types are nested too deeply");
    const type = this.#typeInside();
    this.#depth -= 1;
    return type;
  }

  #definition(): void {
    const name = this.#name();
    if (this.#definitions.has(name)) this.#tokens.fail(`type ${name} is defined twice`);
    this.#tokens.expectSymbol("=");
    this.#definitions.set(name, this.type());
  }

  #typeInside(): Deferred {
    const tokens = this.#tokens;
    const token = tokens.peek();
    const word = token.kind === "name" ? token.text : tokens.fail("expected a type");
    const primitive = PRIMITIVES.get(word);
    if (primitive === undefined && !COMPOSITES.has(word)) return this.#reference();
    tokens.take();
    if (primitive !== undefined) return () => primitive;
    if (word === "record" || word === "variant") {
      const fields = this.#fields(word);
      return word === "record" ? () => recordType(fields) : () => variantType(fields);
    }
    if (word === "func") return this.#func();
    if (word === "service") return this.#service();
    const item: Deferred = word === "blob" ? () => IDL.Nat8 : this.type();
    return word === "opt" ? () => IDL.Opt(item()) : () => IDL.Vec(item());
  }

  #fields(kind: "record" | "variant"): Labelled[] {
    const tokens = this.#tokens;
    const fields: Labelled[] = [];
    let position = 0;
    tokens.expectSymbol("{");
    while (!tokens.takeSymbol("}")) {
      const field = this.#field(kind, position);
      const number = /^_([0-9]+)_$/.exec(field[0])?.[1];
      position = number === undefined ? position : Number(number) + 1;
      if (fields.some(([label]) => label === field[0]))
        tokens.fail(`field ${field[0]} appears twice`);
      fields.push(field);
      if (!tokens.takeSymbol(";") && !tokens.atSymbol("}")) tokens.fail("expected ; or }");
    }
    return fields;
  }

  #field(kind: "record" | "variant", position: number): Labelled {
    const tokens = this.#tokens;
    const token = tokens.peek();
    const isLabel = kind === "variant" || tokens.symbolFollows(":");
    if (!isLabel) return [`_${position}_`, this.type()];
    let label: string;
    if (token.kind === "number") label = `_${Number(token.text)}_`;
    else if (token.kind === "name") label = token.text;
    else label = textLabel(tokens);
    if (token.kind !== "string") tokens.take();
    if (tokens.takeSymbol(":")) return [label, this.type()];
    return [label, () => IDL.Null];
  }

  #func(): Deferred<IDL.FuncClass> {
    const tokens = this.#tokens;
    const args = this.#tuple();
    tokens.expectSymbol("->");
    const results = this.#tuple();
    const annotations = ANNOTATIONS.filter((annotation) => tokens.takeName(annotation));
    return () => IDL.Func(resolveAll(args) as [], resolveAll(results) as [], annotations);
  }

  #tuple(): Deferred[] {
    const tokens = this.#tokens;
    const types: Deferred[] = [];
    tokens.expectSymbol("(");
    while (!tokens.takeSymbol(")")) {
      if (tokens.symbolFollows(":")) {
        tokens.take(); // the argument's name, which means nothing
        tokens.expectSymbol(":");
      }
      types.push(this.type());
      if (!tokens.takeSymbol(",") && !tokens.atSymbol(")")) tokens.fail("expected , or )");
    }
    return types;
  }

  #service(): Deferred {
    const tokens = this.#tokens;
    const methods: [string, Deferred][] = [];
    tokens.expectSymbol("{");
    while (!tokens.takeSymbol("}")) {
      const name = tokens.peek().kind === "string" ? tokens.expectString() : this.#name();
      tokens.expectSymbol(":");
      methods.push([name, tokens.atSymbol("(") ? this.#func() : this.#reference()]);
      if (!tokens.takeSymbol(";") && !tokens.atSymbol("}")) tokens.fail("expected ; or }");
    }
    return () =>
      IDL.Service(
        Object.fromEntries(methods.map(([name, type]) => [name, this.#methodType(type)])),
      );
  }

  #methodType(type: Deferred): IDL.FuncClass {
    const resolved = type();
    return resolved instanceof IDL.FuncClass
      ? resolved
      : this.#tokens.fail("a method must be a function");
  }

  #name(): string {
    const token = this.#tokens.take();
    if (token.kind === "name") return token.text;
    throw this.#tokens.failure("expected a name", token);
  }

  #reference(): Deferred {
    const token = this.#tokens.peek();
    const name = this.#name();
    return () => {
      const definition = this.#definitions.get(name);
      if (definition === undefined)
        throw this.#tokens.failure(`type ${name} is not defined`, token);
      return this.#resolve(name, definition);
    };
  }

  #resolve(name: string, definition: Deferred): IDL.Type {
    const known = this.#resolved.get(name);
    if (known !== undefined) return known;
    if (this.#resolved.has(name)) return this.#recursion(name);
    this.#resolved.set(name, undefined);
    const type = definition();
    this.#resolved.set(name, type);
    this.#recursive.get(name)?.fill(type as IDL.ConstructType);
    return type;
  }

  /** Stands for a type inside its own definition. */
  #recursion(name: string): IDL.RecClass {
    let recursive = this.#recursive.get(name);
    if (recursive === undefined) {
      recursive = IDL.Rec();
      this.#recursive.set(name, recursive);
    }
    return recursive;
  }
}

const COMPOSITES = new Set(["blob", "opt", "vec", "record", "variant", "func", "service"]);

function textLabel(tokens: TokenReader): string {
  return tokens.peek().kind === "string" ? tokens.expectString() : tokens.fail("expected a field");
}

function resolveAll(types: readonly Deferred[]): IDL.Type[] {
  return types.map((type) => type());
}

/** A record, or the library's tuple if its fields are exactly 0, 1, 2 and so on. */
function recordType(fields: readonly Labelled[]): IDL.Type {
  const isTuple = fields.length > 0 && fields.every(([label], index) => label === `_${index}_`);
  if (isTuple) return IDL.Tuple(...fields.map(([, type]) => type()));
  return IDL.Record(Object.fromEntries(fields.map(([label, type]) => [label, type()])));
}

function variantType(fields: readonly Labelled[]): IDL.Type {
  return IDL.Variant(Object.fromEntries(fields.map(([label, type]) => [label, type()])));
}
