// Whether a canister's answer over HTTP is one that it has certified: versions 1 (path and body) and 2
// (status, headers, body, perhaps the request). Follows the HTTP gateway protocol's rules for which
// path of the tree may answer for which URL. Owns no HTTP.

import { createHash } from "node:crypto";
import { brotliDecompressSync, gunzipSync, inflateSync } from "node:zlib";
import { concatBytes, DecodeError, encodeUleb128, equalBytes, utf8Bytes } from "gyrotron/base";
import { decodeCbor } from "gyrotron/crypto";
import {
  decodeHashTree,
  type HashTree,
  hashOfTree,
  lookupPath,
  lookupSubtree,
  readCertifiedData,
  treePath,
} from "gyrotron/replica";
import type { CanisterRequest, CanisterResponse, HeaderField } from "./canister-http.ts";
import {
  type CertificationExpression,
  type HeaderRule,
  parseCertificationExpression,
} from "./certification-expression.ts";

/** What an answer is checked against. */
export interface CertificationContext {
  readonly canisterId: Uint8Array;
  readonly rootKeyDer: Uint8Array;
  readonly nowNs: bigint;
}

/** The headers that may be believed, or why the answer may not be. */
export type Certified =
  | { readonly ok: true; readonly headers: readonly HeaderField[] }
  | { readonly ok: false; readonly problem: string };

/** How far a certificate's time may be from the node's. */
const CERTIFICATE_AGE_NS_MAX = 300_000_000_000n;
const CERTIFICATE = "ic-certificate";
const EXPRESSION = "ic-certificateexpression";
const BODY_BYTES_MAX = 64 * 1024 * 1024;

/** Checks an answer with all of its body. Never throws on what a canister says. */
export function checkCertification(
  request: CanisterRequest,
  response: CanisterResponse,
  context: CertificationContext,
): Certified {
  try {
    const header = certificateHeader(response.headers);
    if (typeof header === "string") return bad(header);
    const problem = treeProblem(header, context);
    if (problem !== undefined) return bad(problem);
    return header.version === 2
      ? checkVersion2(request, response, header)
      : checkVersion1(request, response, header);
  } catch (error) {
    if (error instanceof DecodeError)
      return bad(`the header IC-Certificate is malformed: ${error.info.what}`);
    throw error;
  }
}

interface CertificateHeader {
  certificate: Uint8Array;
  tree: HashTree;
  version: 1 | 2;
  exprPath: string[];
}

/** Fields of IC-Certificate, or what is wrong with it. @throws DecodeError */
function certificateHeader(headers: readonly HeaderField[]): CertificateHeader | string {
  const text = headerValue(headers, CERTIFICATE);
  if (text === undefined) return "the answer has no header IC-Certificate";
  const fields = new Map<string, string>();
  for (const part of text.split(",")) {
    const [, name, value] = /^\s*([a-z_]+)=(.*?)\s*$/s.exec(part) ?? [];
    if (name === undefined || value === undefined) return "the header IC-Certificate is malformed";
    fields.set(name, value);
  }
  const [certificate, tree] = [base64Field(fields, "certificate"), base64Field(fields, "tree")];
  if (certificate === undefined || tree === undefined)
    return "the header IC-Certificate lacks certificate or tree";
  const version = fields.get("version") ?? "1";
  if (version !== "1" && version !== "2")
    return `version ${version.slice(0, 10)} of asset certification is not known`;
  const exprPath = base64Field(fields, "expr_path");
  if (version === "2" && exprPath === undefined) return "the header IC-Certificate lacks expr_path";
  return {
    certificate,
    tree: decodeHashTree(tree),
    version: version === "2" ? 2 : 1,
    exprPath: exprPath === undefined ? [] : pathFrom(exprPath),
  };
}

function pathFrom(bytes: Uint8Array): string[] {
  const path = decodeCbor(bytes, { depthMax: 2 });
  if (!Array.isArray(path) || !path.every((label) => typeof label === "string"))
    throw new DecodeError({ code: "cbor/decode", what: "expr_path is not texts", offset: 0 });
  return path;
}

/** The certificate is fresh and the network's, and the canister has certified the tree. */
function treeProblem(header: CertificateHeader, context: CertificationContext): string | undefined {
  const { canisterId, rootKeyDer, nowNs } = context;
  const certified = readCertifiedData(header.certificate, canisterId, rootKeyDer);
  if (!certified.ok) return certified.problem.replace(/\.$/, "");
  const time = lookupPath(certified.tree, treePath("time"));
  const timeNs = time.kind === "found" ? uleb128(time.value) : undefined;
  if (timeNs === undefined) return "the certificate has no time";
  const isFresh =
    timeNs >= nowNs - CERTIFICATE_AGE_NS_MAX && timeNs <= nowNs + CERTIFICATE_AGE_NS_MAX;
  if (!isFresh) return "the certificate is older than five minutes";
  return equalBytes(hashOfTree(header.tree), certified.data)
    ? undefined
    : "the canister has not certified this tree";
}

/** Path and body are certified; headers are not, and status only as far as the canister is honest. */
function checkVersion1(
  request: CanisterRequest,
  response: CanisterResponse,
  { tree }: CertificateHeader,
): Certified {
  const path = decodedPath(request.url);
  if (path === undefined) return bad("the path of the URL is malformed");
  let leaf = lookupPath(tree, treePath("http_assets", path));
  // Single pages answer for every path that is provably none of the canister's.
  if (leaf.kind === "absent") leaf = lookupPath(tree, treePath("http_assets", "/index.html"));
  if (leaf.kind !== "found") return bad(`the canister has not certified the path ${path}`);
  const certifiedHash = leaf.value;
  const isCertified = bodyForms(response).some((body) => equalBytes(sha256(body), certifiedHash));
  return isCertified
    ? { ok: true, headers: response.headers }
    : bad("the body is not the one that the canister has certified");
}

function checkVersion2(
  request: CanisterRequest,
  response: CanisterResponse,
  { tree, exprPath }: CertificateHeader,
): Certified {
  const expressionText = headerValue(response.headers, EXPRESSION);
  if (expressionText === undefined) return bad("the answer has no header IC-CertificateExpression");
  const pathProblem = expressionPathProblem(exprPath, request.url, tree);
  if (pathProblem !== undefined) return bad(pathProblem);
  const expressionPath = [...treePath(...exprPath), sha256(utf8Bytes(expressionText))];
  if (lookupSubtree(tree, expressionPath).kind !== "found")
    return bad("the canister has not certified this IC-CertificateExpression");
  const expression = parseCertificationExpression(expressionText);
  if (expression === undefined) return bad("the header IC-CertificateExpression is malformed");
  if (expression.kind === "none") return { ok: true, headers: response.headers };
  const headers = certifiedHeaders(response.headers, expression.response);
  const requestLabel =
    expression.request === undefined
      ? new Uint8Array(0)
      : hashOfRequest(request, expression.request);
  const responseHash = hashOfResponse(response, headers, expressionText);
  const leaf = lookupPath(tree, [...expressionPath, requestLabel, responseHash]);
  return leaf.kind === "found" && leaf.value.length === 0
    ? { ok: true, headers }
    : bad("status, headers and body are not what the canister has certified");
}

const [EXACT, WILDCARD] = ["<$>", "<*>"];

/** Whether the path in the tree is the most specific one there that answers for the URL. */
function expressionPathProblem(
  exprPath: string[],
  url: string,
  tree: HashTree,
): string | undefined {
  const path = decodedPath(url);
  if (path === undefined) return "the path of the URL is malformed";
  const [prefix, ...labels] = exprPath;
  const end = labels.pop();
  if (prefix !== "http_expr" || (end !== EXACT && end !== WILDCARD))
    return "expr_path is not a path of the tree of answers";
  const isDirectory = path.endsWith("/");
  const segments = path.split("/").filter((segment) => segment !== "");
  const own = isDirectory ? [...segments, ""] : segments;
  if (end === EXACT) {
    return sameLabels(labels, own) ? undefined : "expr_path is that of another URL";
  }
  // A proof that there is nothing more specific; what is pruned may be anything.
  const mayExist = (path: readonly string[]): boolean =>
    lookupSubtree(tree, treePath("http_expr", ...path)).kind !== "absent";
  if (mayExist([...own, EXACT])) return "the tree may have an answer for exactly this URL";
  for (const candidate of wildcards(segments, isDirectory)) {
    if (sameLabels(candidate, labels)) return undefined;
    if (mayExist([...candidate, WILDCARD])) return "the tree may have a more specific answer";
  }
  return "expr_path does not answer for this URL";
}

/** Paths of wildcards that answer for a URL, the most specific first. */
function* wildcards(segments: readonly string[], isDirectory: boolean): Generator<string[]> {
  if (isDirectory) yield [...segments, ""];
  for (let count = segments.length; count >= 0; count--) {
    if (count < segments.length) yield [...segments.slice(0, count), ""];
    yield segments.slice(0, count);
  }
}

function certifiedHeaders(headers: readonly HeaderField[], rule: HeaderRule): HeaderField[] {
  return headers.filter(([name]) => {
    const lower = name.toLowerCase();
    if (lower === CERTIFICATE || lower === EXPRESSION) return false;
    return rule.names.includes(lower) === (rule.kind === "only");
  });
}

/** Hash of what an expression says of a response. */
export function hashOfResponse(
  response: Pick<CanisterResponse, "status" | "body">,
  headers: readonly HeaderField[],
  expressionText: string,
): Uint8Array {
  const pairs: [string, Uint8Array][] = headers.map(([name, value]) => [
    name.toLowerCase(),
    utf8Bytes(value),
  ]);
  pairs.push([EXPRESSION, utf8Bytes(expressionText)]);
  pairs.push([":ic-cert-status", encodeUleb128(response.status)]);
  return sha256(hashOfPairs(pairs), sha256(response.body));
}

/** Hash of what an expression says of a request. */
export function hashOfRequest(
  request: CanisterRequest,
  rule: NonNullable<Extract<CertificationExpression, { kind: "certified" }>["request"]>,
): Uint8Array {
  const pairs: [string, Uint8Array][] = request.headers
    .map(([name, value]): [string, Uint8Array] => [name.toLowerCase(), utf8Bytes(value)])
    .filter(([name]) => rule.headers.includes(name));
  pairs.push([":ic-cert-method", utf8Bytes(request.method)]);
  const query = /\?([^#]*)/.exec(request.url)?.[1];
  if (query !== undefined) {
    const isCertified = (parameter: string): boolean =>
      rule.query.includes(parameter.split("=", 1)[0]!.toLowerCase());
    const certified = query.split("&").filter(isCertified).join("&");
    pairs.push([":ic-cert-query", utf8Bytes(certified)]);
  }
  return sha256(hashOfPairs(pairs), sha256(request.body));
}

/** As the hash of a map, but names may stand more than once. */
function hashOfPairs(pairs: readonly (readonly [string, Uint8Array])[]): Uint8Array {
  const hashes = pairs.map(([name, value]) => concatBytes(sha256(utf8Bytes(name)), sha256(value)));
  return sha256(...hashes.sort((left, right) => Buffer.compare(left, right)));
}

/** The body as it came, and as its encoding unpacks it: canisters certify one or the other. */
function bodyForms({ headers, body }: CanisterResponse): Uint8Array[] {
  const options = { maxOutputLength: BODY_BYTES_MAX };
  try {
    switch (headerValue(headers, "content-encoding")?.toLowerCase()) {
      case "gzip":
        return [body, gunzipSync(body, options)];
      case "deflate":
        return [body, inflateSync(body, options)];
      case "br":
        return [body, brotliDecompressSync(body, options)];
      default:
        return [body];
    }
  } catch {
    return [body];
  }
}

function decodedPath(url: string): string | undefined {
  try {
    return decodeURIComponent(url.split(/[?#]/, 1)[0]!);
  } catch {
    return undefined;
  }
}

function headerValue(headers: readonly HeaderField[], name: string): string | undefined {
  return headers.find(([own]) => own.toLowerCase() === name)?.[1];
}

function base64Field(fields: ReadonlyMap<string, string>, name: string): Uint8Array | undefined {
  const text = /^:([A-Za-z0-9+/]*={0,2}):$/.exec(fields.get(name) ?? "")?.[1];
  return text === undefined ? undefined : new Uint8Array(Buffer.from(text, "base64"));
}

function sameLabels(left: readonly string[], right: readonly string[]): boolean {
  return left.length === right.length && left.every((label, index) => label === right[index]);
}

function uleb128(bytes: Uint8Array): bigint | undefined {
  if (bytes.length === 0 || bytes.length > 10) return undefined;
  return bytes.reduceRight((value, byte) => (value << 7n) | BigInt(byte & 0x7f), 0n);
}

function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
}

function bad(problem: string): Certified {
  return { ok: false, problem };
}
