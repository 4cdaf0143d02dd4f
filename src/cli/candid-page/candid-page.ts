// The page at `/_/candid?canisterId=ID`: a canister's interface with a form for each method. Forms send
// Candid text to the node, which calls as the anonymous user and answers with Candid text; nothing is
// loaded from elsewhere. Owns the requests; page-html.ts owns how it looks.

import type { IDL } from "@icp-sdk/core/candid";
import { utf8Bytes, utf8Text, utf8TextLossy } from "gyrotron/base";
import { formatPrincipal, parsePrincipalOrUndefined } from "gyrotron/crypto";
import {
  callAnonymously,
  type HttpReply,
  type NodeCore,
  type PageHandler,
  queryAnonymously,
} from "gyrotron/node";
import { CandidError, explainCandidError } from "../candid/candid-error.ts";
import { encodeArguments } from "../candid/fit.ts";
import { parseInterface } from "../candid/interface.ts";
import { printReply } from "../candid/print.ts";
import { renderCanister, renderOverview } from "./page-html.ts";

const PATH = "/_/candid";
const CALL_PATH = "/_/candid/call";
const CALL_MS_MAX = 120_000;
const CALLS_MAX = 64;
const ARGUMENT_BYTES_MAX = 4 * 1024 * 1024;

/** The Candid pages of one node. */
export class CandidPage implements PageHandler {
  readonly #node: NodeCore;
  #openCalls = 0;

  constructor(node: NodeCore) {
    this.#node = node;
  }

  async handle(method: string, url: string, body: Uint8Array): Promise<HttpReply> {
    const { pathname, searchParams } = new URL(url, "http://localhost");
    const given = searchParams.get("canisterId") ?? searchParams.get("id");
    if (pathname === CALL_PATH) {
      if (method !== "POST")
        return { ...text(405, "This path takes POST requests."), allow: "POST" };
      return this.#call(given, searchParams, body);
    }
    if (pathname !== PATH && pathname !== `${PATH}/`)
      return text(404, `There is no such page; interfaces are at ${PATH}?canisterId=ID.`);
    if (method !== "GET") return { ...text(405, "This path takes GET requests."), allow: "GET" };
    if (given === null) return html(200, renderOverview());
    const canisterId = parsePrincipalOrUndefined(given);
    if (canisterId === undefined) return html(400, renderOverview("This is no canister id."));
    const service = this.#interfaceText(canisterId);
    if (service === undefined) {
      return html(404, renderOverview(`There is no canister ${formatPrincipal(canisterId)}.`));
    }
    return html(200, renderCanister(formatPrincipal(canisterId), service, methodsOf(service)));
  }

  async #call(
    given: string | null,
    parameters: URLSearchParams,
    body: Uint8Array,
  ): Promise<HttpReply> {
    const canisterId = parsePrincipalOrUndefined(given ?? "");
    const methodName = parameters.get("method");
    const argumentText = utf8Text(body);
    if (canisterId === undefined || methodName === null || argumentText === undefined)
      return text(400, "A canisterId, a method and Candid text are needed.");
    if (body.length > ARGUMENT_BYTES_MAX) return text(413, "The arguments are too large.");
    if (this.#openCalls >= CALLS_MAX) return text(503, "Too many calls are open.");
    const type = methodsOf(this.#interfaceText(canisterId) ?? "").get(methodName);
    let argument: Uint8Array;
    try {
      argument = encodeArguments(argumentText, type?.argTypes);
    } catch (error) {
      if (error instanceof CandidError) return text(400, explainCandidError(error, argumentText));
      throw error;
    }
    const isQuery =
      parameters.get("kind") === "query" || type?.annotations.some(isQueryAnnotation) === true;
    const request = { canisterId, methodName, argument };
    const until = performance.now() + CALL_MS_MAX;
    this.#openCalls += 1;
    try {
      const answer = isQuery
        ? await queryAnonymously(this.#node, request)
        : await callAnonymously(this.#node, request, () => performance.now() < until);
      if (answer.kind === "replied") return text(200, printReply(answer.reply, type?.retTypes));
      if (answer.kind === "rejected")
        return text(422, `rejected (${answer.errorCode}): ${answer.message}`);
      return text(503, answer.kind === "pending" ? "There is no answer yet." : "The node is busy.");
    } finally {
      this.#openCalls -= 1;
    }
  }

  /** What the canister publishes; empty if it publishes nothing, undefined if it does not exist. */
  #interfaceText(canisterId: Uint8Array): string | undefined {
    const info = this.#node.publicState.canister(canisterId);
    if (info === undefined) return undefined;
    const section = info.metadata.find(
      ({ name, visibility }) => name === "candid:service" && visibility === "public",
    );
    return section === undefined ? "" : utf8TextLossy(section.content);
  }
}

/** Methods of an interface; none if it does not parse. */
function methodsOf(service: string): ReadonlyMap<string, IDL.FuncClass> {
  try {
    return service === "" ? new Map() : parseInterface(service).methods;
  } catch (error) {
    if (error instanceof CandidError) return new Map();
    throw error;
  }
}

function isQueryAnnotation(annotation: string): boolean {
  return annotation === "query" || annotation === "composite_query";
}

function text(status: number, content: string): HttpReply {
  return { status, contentType: "text/plain; charset=utf-8", body: utf8Bytes(content) };
}

function html(status: number, content: string): HttpReply {
  return { status, contentType: "text/html; charset=utf-8", body: utf8Bytes(content) };
}
