// The expression in the header IC-CertificateExpression: what of a request and a response a canister
// has certified. The language is a subset of CEL with one function; this reads its two forms.

/** Which headers of a response are certified. */
export interface HeaderRule {
  readonly kind: "only" | "except";
  /** Lower case. */
  readonly names: readonly string[];
}

/** What is certified. */
export type CertificationExpression =
  | { readonly kind: "none" }
  | {
      readonly kind: "certified";
      /** undefined: any request has this answer. */
      readonly request:
        { readonly headers: readonly string[]; readonly query: readonly string[] } | undefined;
      readonly response: HeaderRule;
    };

/** Longest expression and deepest nesting that is read. */
const EXPRESSION_LENGTH_MAX = 16 * 1024;
const DEPTH_MAX = 8;

/** Reads an expression; undefined if it is not one of the known forms. */
export function parseCertificationExpression(text: string): CertificationExpression | undefined {
  if (text.length > EXPRESSION_LENGTH_MAX) return undefined;
  const parser = new Parser(text);
  const args = parser.call("default_certification", "ValidationArgs");
  if (args === undefined || !parser.isDone) return undefined;
  if (isEmpty(args.get("no_certification")) && args.size === 1) return { kind: "none" };
  const certification = structure(args.get("certification"), "Certification");
  if (certification === undefined || args.size !== 1) return undefined;
  const response = responseRule(certification.get("response_certification"));
  const request = requestRule(certification);
  if (response === undefined || request === "malformed" || certification.size !== 2)
    return undefined;
  return { kind: "certified", request, response };
}

type Fields = ReadonlyMap<string, Value>;
type Value = string | Value[] | { readonly name: string; readonly fields: Fields };

function requestRule(
  certification: Fields,
): Extract<CertificationExpression, { kind: "certified" }>["request"] | "malformed" {
  if (isEmpty(certification.get("no_request_certification"))) return undefined;
  const rule = structure(certification.get("request_certification"), "RequestCertification");
  const headers = names(rule?.get("certified_request_headers") ?? []);
  const query = names(rule?.get("certified_query_parameters") ?? []);
  if (rule === undefined || headers === undefined || query === undefined) return "malformed";
  return { headers, query };
}

function responseRule(value: Value | undefined): HeaderRule | undefined {
  const fields = structure(value, "ResponseCertification");
  if (fields?.size !== 1) return undefined;
  const only = headerList(fields.get("certified_response_headers"));
  if (only !== undefined) return { kind: "only", names: only };
  const except = headerList(fields.get("response_header_exclusions"));
  return except && { kind: "except", names: except };
}

function headerList(value: Value | undefined): string[] | undefined {
  return names(structure(value, "ResponseHeaderList")?.get("headers"));
}

function names(value: Value | undefined): string[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const texts = value.filter((item) => typeof item === "string");
  return texts.length === value.length ? texts.map((text) => text.toLowerCase()) : undefined;
}

function structure(value: Value | undefined, name: string): Fields | undefined {
  if (value === undefined || typeof value === "string" || Array.isArray(value)) return undefined;
  return value.name === name ? value.fields : undefined;
}

function isEmpty(value: Value | undefined): boolean {
  return structure(value, "Empty")?.size === 0;
}

const TOKEN = /\s*(?:("(?:[^"\\\n])*")|([A-Za-z_][A-Za-z0-9_]*)|([(){}[\],:]))/y;

/** Reads tokens from left to right; every method gives undefined where the text has another form. */
class Parser {
  readonly #tokens: string[] = [];
  #next = 0;
  #isWhole: boolean;

  constructor(text: string) {
    TOKEN.lastIndex = 0;
    let end = 0;
    for (let match = TOKEN.exec(text); match !== null; match = TOKEN.exec(text)) {
      this.#tokens.push(match[0].trim());
      end = TOKEN.lastIndex;
    }
    this.#isWhole = text.slice(end).trim() === "";
  }

  get isDone(): boolean {
    return this.#isWhole && this.#next === this.#tokens.length;
  }

  /** `name(Structure { ... })` */
  call(name: string, argument: string): Fields | undefined {
    if (!this.#take(name) || !this.#take("(")) return undefined;
    const value = this.#value(0);
    return this.#take(")") ? structure(value, argument) : undefined;
  }

  #take(token: string): boolean {
    if (this.#tokens[this.#next] !== token) return false;
    this.#next += 1;
    return true;
  }

  #value(depth: number): Value | undefined {
    const token = this.#tokens[this.#next++];
    if (token === undefined || depth > DEPTH_MAX) return undefined;
    if (token.startsWith('"')) return token.slice(1, -1);
    if (token === "[") return this.#list(depth);
    return this.#take("{") ? this.#fields(token, depth) : undefined;
  }

  #list(depth: number): Value[] | undefined {
    const items: Value[] = [];
    while (!this.#take("]")) {
      const item = this.#value(depth + 1);
      if (item === undefined) return undefined;
      items.push(item);
      if (!this.#take(",") && this.#tokens[this.#next] !== "]") return undefined;
    }
    return items;
  }

  #fields(name: string, depth: number): Value | undefined {
    const fields = new Map<string, Value>();
    while (!this.#take("}")) {
      const key = this.#tokens[this.#next++];
      if (key === undefined || !this.#take(":") || fields.has(key)) return undefined;
      const value = this.#value(depth + 1);
      if (value === undefined) return undefined;
      fields.set(key, value);
      if (!this.#take(",") && this.#tokens[this.#next] !== "}") return undefined;
    }
    return { name, fields };
  }
}
