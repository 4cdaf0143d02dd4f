// One HTTP(S) request of a canister as the ICP makes it: no redirect is followed, nothing is
// decompressed, and size and time are limited while the response arrives. On a network that is not for
// development, addresses of the machine's own networks are refused: canisters must not reach what is
// behind the node's firewall.

import { lookup } from "node:dns";
import { request as requestHttp, type IncomingMessage } from "node:http";
import { request as requestHttps } from "node:https";
import { BlockList, type LookupFunction } from "node:net";
import { concatBytes } from "gyrotron/base";
import {
  headersBytes,
  headersRefusal,
  type HttpHeader,
  OUTCALL_HEADERS_BYTES_MAX,
  type OutcallWork,
} from "gyrotron/replica";
import { NodeError } from "../node-error.ts";

/** What came back. */
export interface HttpAnswer {
  status: number;
  headers: HttpHeader[];
  body: Uint8Array;
}

/** Why there is no answer: in words that depend on nothing but the kind of failure, for nodes to agree on. */
export interface HttpFailure {
  isTransient: boolean;
  message: string;
}

/** How requests are made. */
export interface HttpClientOptions {
  /** Plain HTTP and addresses of local networks are allowed: for development. */
  allowLocal: boolean;
  /** Milliseconds until the whole response must be there (30,000). */
  timeoutMs?: number;
}

const TIMEOUT_MS = 30_000;
const USER_AGENT: HttpHeader = { name: "user-agent", value: "ic/1.0" };
/** What the parser needs besides names and values. */
const HEADER_SLACK_BYTES = 16_384;

/** Makes a canister's request. Never rejects. */
export async function requestOutcall(
  work: OutcallWork,
  options: HttpClientOptions,
): Promise<HttpAnswer | HttpFailure> {
  const url = URL.parse(work.url);
  if (url === null) return fatal("Failed to parse URL");
  if (url.protocol !== "https:" && !(options.allowLocal && url.protocol === "http:"))
    return fatal("Url need to specify https scheme");
  if (!options.allowLocal && isLocalAddress(url.hostname)) return fatal(LOCAL_TEXT);
  const { promise, resolve } = Promise.withResolvers<HttpAnswer | HttpFailure>();
  const timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
  const signal = AbortSignal.timeout(timeoutMs);
  const send = url.protocol === "https:" ? requestHttps : requestHttp;
  try {
    const request = send(url, {
      method: work.method.toUpperCase(),
      headers: requestHeaders(work, url.host),
      agent: false,
      signal,
      maxHeaderSize: OUTCALL_HEADERS_BYTES_MAX + HEADER_SLACK_BYTES,
      ...(options.allowLocal ? {} : { lookup: publicLookup }),
    });
    request.on("response", (response) => {
      readAnswer(response, work.responseBytesMax).then(resolve, (error: unknown) =>
        resolve(failureOf(error, signal)),
      );
    });
    request.on("error", (error) => resolve(failureOf(error, signal)));
    request.end(work.body);
  } catch {
    // Node refuses header names and values that are none, and methods with what they cannot have.
    resolve(fatal("Failed to build the request: a header is not valid"));
  }
  return promise;
}

async function readAnswer(
  response: IncomingMessage,
  bytesMax: number,
): Promise<HttpAnswer | HttpFailure> {
  const headers = pairsOf(response.rawHeaders);
  const refusal = headersRefusal(headers);
  const headerBytes = headersBytes(headers);
  if (refusal !== undefined || headerBytes > bytesMax) {
    response.destroy();
    return fatal(refusal ?? `Header size exceeds specified response size limit ${bytesMax}`);
  }
  const chunks: Uint8Array[] = [];
  let size = headerBytes;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > bytesMax) {
      response.destroy();
      return fatal(`Http body exceeds size limit of ${bytesMax} bytes.`);
    }
    chunks.push(chunk);
  }
  return { status: response.statusCode ?? 0, headers, body: concatBytes(...chunks) };
}

/** What frames the message is the node's: a canister must not smuggle a second request in. */
const OWN_HEADERS: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "transfer-encoding",
  "upgrade",
]);

/** A list of names and values: what is sent is in it, and nothing is added by the library. */
function requestHeaders({ headers, body, method }: OutcallWork, host: string): string[] {
  const isNamed = (wanted: string): boolean =>
    headers.some(({ name }) => name.toLowerCase() === wanted);
  const length = { name: "content-length", value: String(body.length) };
  const hasBody = body.length > 0 || (method !== "get" && method !== "head");
  const added = [
    { name: "host", value: host },
    USER_AGENT,
    ...(hasBody ? [length] : []),
    { name: "connection", value: "close" },
  ].filter(({ name }) => OWN_HEADERS.has(name) || !isNamed(name));
  const given = headers.filter(({ name }) => !OWN_HEADERS.has(name.toLowerCase()));
  return [...given, ...added].flatMap(({ name, value }) => [name, value]);
}

/** Headers in the order in which they came, names in lower case. */
function pairsOf(raw: readonly string[]): HttpHeader[] {
  const headers: HttpHeader[] = [];
  for (let i = 0; i + 1 < raw.length; i += 2)
    headers.push({ name: raw[i]!.toLowerCase(), value: raw[i + 1]! });
  return headers;
}

function failureOf(error: unknown, signal: AbortSignal): HttpFailure {
  if (signal.aborted) return transient("Timeout while waiting for the response");
  if (error instanceof NodeError) return fatal(LOCAL_TEXT);
  const code = (error as NodeJS.ErrnoException).code ?? "";
  if (code === "HPE_HEADER_OVERFLOW") return fatal("The response's headers are too long");
  if (code.startsWith("HPE_")) return fatal("The response is not HTTP");
  if (code === "ENOTFOUND" || code === "EAI_AGAIN")
    return transient("Connecting failed: the host is not known");
  if (/CERT|SSL|TLS|SELF_SIGNED/.test(code))
    return transient("Connecting failed: the server's certificate is not trusted");
  return transient("Connecting failed, or the connection was lost");
}

/** Resolves names as usual, but to no address of local networks. */
const publicLookup: LookupFunction = (hostname, options, callback) => {
  lookup(hostname, { ...options, all: true }, (error, addresses) => {
    if (error !== null) return callback(error, []);
    const open = addresses.filter(({ address }) => !isLocalAddress(address));
    if (open.length > 0) {
      const [first] = open;
      if (options.all === true) return callback(null, open);
      return callback(null, first!.address, first!.family);
    }
    callback(new NodeError({ code: "node/local-address", host: hostname }), []);
  });
};

const LOCAL_TEXT = "Connecting failed: the host is on a local network";

const LOCAL = new BlockList();
for (const [network, bits] of [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["224.0.0.0", 3],
] as const)
  LOCAL.addSubnet(network, bits, "ipv4");
for (const [network, bits] of [
  ["::", 96],
  ["64:ff9b::", 96],
  ["fc00::", 7],
  ["fe80::", 10],
  ["ff00::", 8],
] as const)
  LOCAL.addSubnet(network, bits, "ipv6");

/** Whether text is an address of no public network, or a name for one. */
export function isLocalAddress(text: string): boolean {
  const address = text.replace(/^\[|\]$/g, "");
  if (address === "localhost" || address.endsWith(".localhost")) return true;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return LOCAL.check(mapped, "ipv4");
  return LOCAL.check(address, address.includes(":") ? "ipv6" : "ipv4");
}

function fatal(message: string): HttpFailure {
  return { isTransient: false, message };
}

function transient(message: string): HttpFailure {
  return { isTransient: true, message };
}
