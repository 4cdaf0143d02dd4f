// http_request: a canister's request to the world, checked, paid and recorded as a task. What a node may
// answer is judged in settle.ts; how it asks is the node's.

import { equalBytes, readU64BigEndian, utf8Bytes } from "gyrotron/base";
import { fromIdlPrincipal, type IdlPrincipal } from "gyrotron/candid";
import { sha256 } from "gyrotron/crypto";
import type { BlockContext } from "../block-context.ts";
import type { ManagementCall, MethodResult } from "../management/call.ts";
import { ErrorCode, type Reject, reject } from "../reject.ts";
import {
  type HttpHeader,
  type OutcallWork,
  payOutsideTask,
  recordOutsideTask,
} from "./outside-task.ts";

const URL_BYTES_MAX = 8192;
const RESPONSE_BYTES_MAX = 2_000_000;
const REQUEST_BYTES_MAX = 2_000_000;
/** Of a request and of a response. */
export const OUTCALL_HEADERS_MAX = 64;
export const OUTCALL_HEADER_BYTES_MAX = 8192;
export const OUTCALL_HEADERS_BYTES_MAX = 49_152;
const WAIT_NS = 60_000_000_000n;
const NODE_DOMAIN = utf8Bytes("gyrotron-outcall-node");

/** http_request's argument as decoded. */
export interface GivenOutcall {
  url: string;
  max_response_bytes: [] | [bigint];
  method: Record<string, null>;
  headers: HttpHeader[];
  body: [] | [Uint8Array];
  transform: [] | [{ function: [IdlPrincipal, string]; context: Uint8Array }];
  is_replicated: [] | [boolean];
}

/** http_request. */
export function httpRequest(
  context: BlockContext,
  call: ManagementCall,
  argument: GivenOutcall,
): MethodResult {
  const work = workOf(context, call, argument);
  if ("kind" in work) return work;
  const price = context.prices.httpRequest(
    BigInt(requestBytes(work)),
    BigInt(work.responseBytesMax),
  );
  const refused = payOutsideTask(context, call, "httpOutcalls", price);
  if (refused !== undefined) return refused;
  return recordOutsideTask(context, call, { kind: "outcall", ...work }, WAIT_NS);
}

/** Why headers are refused, of a request or a response. */
export function headersRefusal(headers: readonly HttpHeader[]): string | undefined {
  if (headers.length > OUTCALL_HEADERS_MAX)
    return `Number of headers ${headers.length} exceeds maximum ${OUTCALL_HEADERS_MAX}`;
  const longest = headers.some(
    ({ name, value }) =>
      utf8Bytes(name).length > OUTCALL_HEADER_BYTES_MAX ||
      utf8Bytes(value).length > OUTCALL_HEADER_BYTES_MAX,
  );
  if (longest) return `A header name or value is longer than ${OUTCALL_HEADER_BYTES_MAX} bytes`;
  const total = headersBytes(headers);
  if (total > OUTCALL_HEADERS_BYTES_MAX)
    return `Total header size ${total} exceeds maximum ${OUTCALL_HEADERS_BYTES_MAX}`;
  return undefined;
}

/** Bytes of names and values. */
export function headersBytes(headers: readonly HttpHeader[]): number {
  return headers.reduce(
    (sum, { name, value }) => sum + utf8Bytes(name).length + utf8Bytes(value).length,
    0,
  );
}

function workOf(
  context: BlockContext,
  call: ManagementCall,
  argument: GivenOutcall,
): OutcallWork | Reject {
  const { url, headers } = argument;
  const urlBytes = utf8Bytes(url).length;
  if (urlBytes > URL_BYTES_MAX)
    return refused(`Url size ${urlBytes} exceeds maximum ${URL_BYTES_MAX}`);
  if (!hasAllowedScheme(context, url)) return refused("Url need to specify https scheme");
  const [responseBytesMax = BigInt(RESPONSE_BYTES_MAX)] = argument.max_response_bytes;
  if (responseBytesMax > BigInt(RESPONSE_BYTES_MAX)) {
    return refused(
      `max_response_bytes expected to be in the range [0..${RESPONSE_BYTES_MAX}], got ${responseBytesMax}`,
    );
  }
  const isReplicated = argument.is_replicated[0] ?? true;
  const method = Object.keys(argument.method)[0] as OutcallWork["method"];
  const needsOneNode = method === "put" || method === "delete" || method === "patch";
  if (needsOneNode && isReplicated)
    return refused(`${method} requests are only allowed with is_replicated = opt false`);
  const wrongHeaders = headersRefusal(headers);
  if (wrongHeaders !== undefined) return refused(wrongHeaders);
  const body = argument.body[0] ?? new Uint8Array();
  const bytes = headersBytes(headers) + body.length;
  if (bytes > REQUEST_BYTES_MAX) {
    return refused(
      `total number of bytes to represent all http header names and values and http body is ${bytes}, at most ${REQUEST_BYTES_MAX} are allowed`,
    );
  }
  const transform = transformOf(call, argument.transform[0]);
  if (transform !== undefined && "kind" in transform) return transform;
  return {
    canisterId: call.sender,
    url,
    method,
    headers,
    body,
    responseBytesMax: Number(responseBytesMax),
    transform,
    node: isReplicated ? undefined : chosenNode(context),
  };
}

function transformOf(
  call: ManagementCall,
  given: GivenOutcall["transform"][0],
): { method: string; context: Uint8Array } | Reject | undefined {
  if (given === undefined) return undefined;
  const [canister, method] = given.function;
  if (!equalBytes(fromIdlPrincipal(canister), call.sender)) {
    return refused(
      `transform needs to be exported by a requester canister, but it is of ${canister.toText()}`,
    );
  }
  return { method, context: given.context };
}

/** Plain HTTP is for development networks, where servers have no certificates. */
function hasAllowedScheme(context: BlockContext, url: string): boolean {
  const scheme = url.slice(0, url.indexOf(":")).toLowerCase();
  return scheme === "https" || (scheme === "http" && context.network.provisional);
}

/** One of the nodes, by the block's randomness: nobody can choose it. */
function chosenNode(context: BlockContext): number {
  const { nextTaskNumber } = context.state.system();
  const hash = sha256(NODE_DOMAIN, context.randomness, utf8Bytes(String(nextTaskNumber)));
  return Number(readU64BigEndian(hash) % BigInt(context.network.nodeKeys.length));
}

function requestBytes({ url, headers, body, transform }: OutcallWork): number {
  const transformBytes =
    transform === undefined ? 0 : utf8Bytes(transform.method).length + transform.context.length;
  return utf8Bytes(url).length + headersBytes(headers) + body.length + transformBytes;
}

function refused(what: string): Reject {
  return reject(ErrorCode.canisterRejected, `http_request: ${what}`);
}
