// Canisters as web sites: a request over HTTP becomes a query of `http_request`, or the update that the
// canister asks for; the answer is put together, verified unless the client renounces that, and
// sent. Owns the flow and its limits; what is certified is asset-certification.ts's matter.

import {
  type IncomingMessage,
  type ServerResponse,
  validateHeaderName,
  validateHeaderValue,
} from "node:http";
import { concatBytes, DecodeError, MIB } from "gyrotron/base";
import { formatPrincipal } from "gyrotron/crypto";
import type { NodeCore } from "../../node-contract.ts";
import { type AnonymousAnswer, callAnonymously, queryAnonymously } from "../anonymous-request.ts";
import { checkCertification } from "./asset-certification.ts";
import {
  type CanisterRequest,
  type CanisterResponse,
  decodeHttpResponse,
  decodeStreamPart,
  encodeHttpRequest,
  encodeHttpUpdateRequest,
  type HeaderField,
} from "./canister-http.ts";
import type { GatewayAddress } from "./gateway-address.ts";
import { type Failure, failureReply } from "./gateway-page.ts";

/** A body with its frame must fit a message. */
const REQUEST_BYTES_MAX = 1.9 * MIB;
/** All of a streamed body is verified before any of it is sent. */
const STREAM_BYTES_MAX = 32 * MIB;
const STREAM_PARTS_MAX = 1_000;
const ANSWER_MS_MAX = 60_000;
const REQUESTS_MAX = 256;
const METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
/** Headers between two machines, which are not the canister's to set. */
const HOP_HEADERS: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "keep-alive",
  "proxy-authenticate",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** The gateway of one node. */
export class Gateway {
  readonly #node: NodeCore;
  #open = 0;

  constructor(node: NodeCore) {
    this.#node = node;
  }

  /** Answers a request for a canister; `body` is all of it. Never rejects. */
  async handle(
    address: GatewayAddress,
    request: IncomingMessage,
    body: Uint8Array,
    response: ServerResponse,
  ): Promise<void> {
    const { method = "GET", url = "/" } = request;
    const isPreflight =
      method === "OPTIONS" && request.headers["access-control-request-method"] !== undefined;
    if (isPreflight) {
      response.writeHead(204, preflightHeaders()).end();
      return;
    }
    const headers: HeaderField[] = [];
    const raw = request.rawHeaders;
    for (let i = 0; i + 1 < raw.length; i += 2) headers.push([raw[i]!, raw[i + 1]!]);
    const answer = await this.#answer(address, { method, url, headers, body });
    if ("title" in answer) {
      const reply = failureReply(answer, request.headers.accept);
      send(response, reply.status, [["content-type", reply.contentType]], reply.body);
    } else send(response, answer.status, answer.headers, answer.body);
  }

  async #answer(address: GatewayAddress, request: CanisterRequest): Promise<Answer | Failure> {
    if (this.#open >= REQUESTS_MAX)
      return failure(503, "The gateway is busy", "Too many requests are open. Please try again.");
    if (request.body.length > REQUEST_BYTES_MAX)
      return failure(
        413,
        "The request is too large",
        `A body has at most ${REQUEST_BYTES_MAX} bytes.`,
      );
    this.#open += 1;
    const visit = new Visit(this.#node, address, request);
    const { promise: late, resolve } = Promise.withResolvers<Failure>();
    const timer = setTimeout(() => {
      visit.giveUp();
      const text = `Canister ${formatPrincipal(address.canisterId)} has not answered in ${ANSWER_MS_MAX / 1000} seconds.`;
      resolve(failure(504, "The canister takes too long", text));
    }, ANSWER_MS_MAX);
    try {
      return await Promise.race([visit.run(), late]);
    } catch {
      return failure(503, "The node cannot answer", "Its state is unavailable. Please try again.");
    } finally {
      clearTimeout(timer);
      this.#open -= 1;
    }
  }
}

interface Answer {
  readonly status: number;
  readonly headers: readonly HeaderField[];
  readonly body: Uint8Array;
}

/** One request on its way through a canister. */
class Visit {
  readonly #node: NodeCore;
  readonly #address: GatewayAddress;
  readonly #request: CanisterRequest;
  readonly #name: string;
  #isOver = false;

  constructor(node: NodeCore, address: GatewayAddress, request: CanisterRequest) {
    this.#node = node;
    this.#address = address;
    this.#request = request;
    this.#name = `Canister ${formatPrincipal(address.canisterId)}`;
  }

  giveUp(): void {
    this.#isOver = true;
  }

  async run(): Promise<Answer | Failure> {
    const { canisterId, isRaw } = this.#address;
    const argument = encodeHttpRequest(this.#request);
    const queried = await this.#query(canisterId, "http_request", argument);
    if (queried.kind !== "replied") return this.#refused(queried);
    const response = this.#decode(queried.reply);
    if ("title" in response) return response;
    if (response.isUpgrade) return this.#update();
    const whole = await this.#withStream(response);
    if ("title" in whole) return whole;
    if (isRaw) return whole;
    const certified = checkCertification(this.#request, whole, {
      canisterId,
      rootKeyDer: this.#node.rootKeyDer,
      nowNs: this.#node.nowNs(),
    });
    if (certified.ok) return { ...whole, headers: certified.headers };
    const text = `${this.#name} answered, but its answer is not certified: ${certified.problem}. Answers without a certificate are shown at the host name <canister-id>.raw.localhost, where nothing proves that they are the canister's.`;
    return failure(502, "The answer does not verify", text);
  }

  async #update(): Promise<Answer | Failure> {
    const { canisterId } = this.#address;
    const argument = encodeHttpUpdateRequest(this.#request);
    const call = { canisterId, methodName: "http_request_update", argument };
    const answered = await callAnonymously(this.#node, call, () => !this.#isOver);
    if (answered.kind !== "replied") return this.#refused(answered);
    const response = this.#decode(answered.reply);
    // The network's certificate covers what an update answers; a stream would not be covered.
    if ("title" in response || response.stream === undefined) return response;
    return this.#address.isRaw
      ? this.#withStream(response)
      : this.#malformed("an update cannot stream");
  }

  async #withStream(response: CanisterResponse): Promise<CanisterResponse | Failure> {
    if (response.stream === undefined) return response;
    const { canisterId, methodName } = response.stream;
    const parts = [response.body];
    let size = response.body.length;
    let argument: Uint8Array | undefined = response.stream.argument;
    while (argument !== undefined && !this.#isOver) {
      if (parts.length > STREAM_PARTS_MAX)
        return this.#malformed(`more than ${STREAM_PARTS_MAX} parts`);
      const queried = await this.#query(canisterId, methodName, argument);
      if (queried.kind !== "replied") return this.#refused(queried);
      let part: ReturnType<typeof decodeStreamPart>;
      try {
        part = decodeStreamPart(queried.reply);
      } catch (error) {
        if (error instanceof DecodeError)
          return this.#malformed("a part of the body is no StreamingCallbackHttpResponse");
        throw error;
      }
      size += part.body.length;
      if (size > STREAM_BYTES_MAX)
        return this.#malformed(`the body is larger than ${STREAM_BYTES_MAX} bytes`);
      parts.push(part.body);
      argument = part.nextArgument;
    }
    return { ...response, body: concatBytes(...parts) };
  }

  #query(
    canisterId: Uint8Array,
    methodName: string,
    argument: Uint8Array,
  ): Promise<AnonymousAnswer> {
    return queryAnonymously(this.#node, { canisterId, methodName, argument });
  }

  #decode(reply: Uint8Array): CanisterResponse | Failure {
    try {
      return decodeHttpResponse(reply);
    } catch (error) {
      if (error instanceof DecodeError) return this.#malformed("it is no HttpResponse in Candid");
      throw error;
    }
  }

  #malformed(what: string): Failure {
    const text = `${this.#name} answered, but its answer cannot be used: ${what}.`;
    return failure(502, "The answer is malformed", text);
  }

  #refused(answer: Exclude<AnonymousAnswer, { kind: "replied" }>): Failure {
    if (answer.kind === "overloaded")
      return failure(503, "The node is busy", "It accepts no more calls now. Please try again.");
    if (answer.kind === "pending")
      return failure(504, "The canister takes too long", `${this.#name} has not answered.`);
    const { errorCode, message } = answer;
    const text = `${errorCode}: ${message}`;
    switch (errorCode) {
      case "IC0301":
        return failure(404, "There is no such canister", text);
      case "IC0537":
        return failure(404, "The canister has no code", text);
      case "IC0536":
        return failure(
          404,
          "The canister is no web site",
          `It has no method http_request. ${text}`,
        );
      case "IC0406":
        return failure(403, "The canister refuses", text);
      case "IC0207":
      case "IC0508":
      case "IC0509":
        return failure(503, "The canister is not running", text);
      default:
        return failure(500, "The canister failed", text);
    }
  }
}

function send(
  response: ServerResponse,
  status: number,
  headers: readonly HeaderField[],
  body: Uint8Array,
): void {
  const fields: string[] = [];
  for (const [name, value] of headers) if (isSendable(name, value)) fields.push(name, value);
  const has = (name: string): boolean => headers.some(([own]) => own.toLowerCase() === name);
  if (!has("access-control-allow-origin")) fields.push("access-control-allow-origin", "*");
  const isBodyless = status === 204 || status === 304;
  if (!isBodyless) fields.push("content-length", String(body.length));
  response.writeHead(status >= 200 && status <= 599 ? status : 502, fields);
  if (isBodyless) response.end();
  else response.end(body);
}

function isSendable(name: string, value: string): boolean {
  if (HOP_HEADERS.has(name.toLowerCase())) return false;
  try {
    validateHeaderName(name);
    validateHeaderValue(name, value);
    return true;
  } catch {
    return false;
  }
}

function preflightHeaders(): string[] {
  return [
    "access-control-allow-origin",
    "*",
    "access-control-allow-methods",
    METHODS,
    "access-control-allow-headers",
    "*",
    "access-control-max-age",
    "600",
  ];
}

function failure(status: number, title: string, text: string): Failure {
  return { status, title, text };
}
