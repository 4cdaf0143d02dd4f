// Requests of the ICP's HTTP interface against a node: decode and validate the envelope once, ask
// the node, encode its answer. What is valid and how bytes look is the replica's http-api; what is
// true is the node's.

import type { IngressContent } from "gyrotron/replica";
import {
  type ApiRoute,
  authorizeReadState,
  type CallContent,
  CBOR_CONTENT_TYPE,
  CONTENT_TYPE_REFUSAL,
  decodeEnvelope,
  encodeCallRejectionV2,
  encodeCallReply,
  encodeNonReplicatedRejection,
  encodeQueryReply,
  encodeReadStateReply,
  encodeStatusReply,
  OVERLOADED_TEXT,
  parseApiRoute,
  precheckSubnetCall,
  type ReadStateContent,
  type Refusal,
  STATE_UNAVAILABLE_TEXT,
  subnetEndpointRefusal,
  type ValidRequest,
  validateEnvelope,
  validateEnvelopeWith,
} from "gyrotron/replica";
import { equalBytes, formatHex } from "gyrotron/base";
import { sha256, verifySignatureInBackground } from "gyrotron/crypto";
import type { CallOutcome, NodeCore } from "../node-contract.ts";
import { cborReply, type HttpReply, textReply } from "./http-reply.ts";
import { managementTarget } from "./management-target.ts";
import { IMPLEMENTATION_VERSION } from "./version.ts";

type PostRoute = Exclude<ApiRoute, { kind: "status" }>;
type RouteOf<K extends PostRoute["kind"]> = Extract<PostRoute, { kind: K }>;

/** Requests that may wait for the node at once; more are told to come back. */
const QUERIES_MAX = 1_000;
const READS_MAX = 1_000;
const TOO_MANY = textReply(429, "The service is overloaded.");
const OVERLOADED = textReply(503, OVERLOADED_TEXT);
const UNAVAILABLE = textReply(503, STATE_UNAVAILABLE_TEXT);
const NOT_FOUND = textReply(404, "This path does not exist; the interface is below /api/.");
const ACCEPTED = textReply(202, "");
const ROUTES_MAX = 1_000;

/** The interface over one node. */
export class ApiHandler {
  readonly #node: NodeCore;
  readonly #implementationHash: string = formatHex(
    sha256(new TextEncoder().encode(IMPLEMENTATION_VERSION)),
  );
  /** Parsed URLs: clients ask few of them again and again. */
  readonly #routes = new Map<string, PostRoute | HttpReply>();
  #queryCount = 0;
  #readCount = 0;

  constructor(node: NodeCore) {
    this.#node = node;
  }

  /** Answers everything but POST and OPTIONS. */
  get(method: string, url: string): HttpReply {
    const path = pathOf(url);
    const route = parseApiRoute(method, path);
    if (route?.ok === true && route.kind === "status") return this.#status();
    const isPostPath = parseApiRoute("POST", path)?.ok === true;
    if (isPostPath)
      return { ...textReply(405, "This path takes POST requests."), allow: "POST, OPTIONS" };
    if (parseApiRoute("GET", path)?.ok === true) {
      return { ...textReply(405, "This path takes GET requests."), allow: "GET, OPTIONS" };
    }
    return NOT_FOUND;
  }

  /** What a POST asks for, or why it is refused, before its body is read. */
  postRoute(url: string, contentType: string | undefined): PostRoute | HttpReply {
    const route = this.#routes.get(url) ?? this.#parseRoute(url);
    if ("status" in route) return route;
    const type = contentType?.split(";", 1)[0]?.trim().toLowerCase();
    return type === CBOR_CONTENT_TYPE ? route : textReply(400, CONTENT_TYPE_REFUSAL);
  }

  /** Answers a POST; at once if it is refused. */
  post(route: PostRoute, body: Uint8Array): HttpReply | Promise<HttpReply> {
    switch (route.kind) {
      case "call":
        return this.#call(route, body);
      case "query":
        return this.#query(route, body);
      case "read_state":
        return this.#readState(route, body);
    }
  }

  #status(): HttpReply {
    const { healthy, height } = this.#node.status();
    const reply = encodeStatusReply({
      rootKeyDer: this.#node.rootKeyDer,
      implVersion: IMPLEMENTATION_VERSION,
      implHash: this.#implementationHash,
      healthStatus: healthy ? "healthy" : "starting",
      certifiedHeight: height,
    });
    return cborReply(reply);
  }

  #parseRoute(url: string): PostRoute | HttpReply {
    const path = pathOf(url);
    const route = parseApiRoute("POST", path);
    let answer: PostRoute | HttpReply;
    if (route === undefined) {
      const isGetPath = parseApiRoute("GET", path)?.ok === true;
      answer = isGetPath
        ? { ...textReply(405, "This path takes GET requests."), allow: "GET, OPTIONS" }
        : NOT_FOUND;
    } else if (!route.ok) answer = textReply(route.status, route.text);
    else if (route.kind === "status") answer = NOT_FOUND;
    else answer = this.#checkSubnet(route);
    if (this.#routes.size >= ROUTES_MAX) this.#routes.clear();
    this.#routes.set(url, answer);
    return answer;
  }

  #checkSubnet(route: PostRoute): PostRoute | HttpReply {
    const { kind, id } = route.endpoint;
    if (kind === "canister" || equalBytes(id, this.#node.subnetId)) return route;
    return textReply(400, "The subnet in the URL is not the subnet of this node.");
  }

  async #call(route: RouteOf<"call">, body: Uint8Array): Promise<HttpReply> {
    const request = await this.#validate(route, body, "call");
    if (!request.ok) return refused(request);
    const isSync = route.version !== 2;
    const { authenticated } = request;
    const waiting = isSync ? {} : { waitMs: 0 };
    try {
      const content = ingressContent(request);
      const rejection =
        route.endpoint.kind === "subnet"
          ? precheckSubnetCall(this.#node.config, content)
          : undefined;
      if (rejection !== undefined) return callReply({ kind: "refused", rejection }, isSync);
      const call = { envelope: body, content, authenticated, ...waiting };
      return callReply(await this.#node.submitCall(call), isSync);
    } catch {
      return UNAVAILABLE;
    }
  }

  async #query(route: RouteOf<"query">, body: Uint8Array): Promise<HttpReply> {
    if (this.#queryCount >= QUERIES_MAX) return TOO_MANY;
    this.#queryCount += 1;
    try {
      const request = await this.#validate(route, body, "query");
      if (!request.ok) return refused(request);
      const { result, timeNs, signature, nodeId } = await this.#node.query(ingressContent(request));
      return cborReply(encodeQueryReply(result, { timestampNs: timeNs, signature, nodeId }));
    } catch {
      return UNAVAILABLE;
    } finally {
      this.#queryCount -= 1;
    }
  }

  async #readState(route: RouteOf<"read_state">, body: Uint8Array): Promise<HttpReply> {
    if (this.#readCount >= READS_MAX) return OVERLOADED;
    const envelope = decodeEnvelope(body, "read_state");
    if (!envelope.ok) return refused(envelope);
    const request = validateEnvelope<ReadStateContent>(envelope, {
      nowNs: this.#node.nowNs(),
      rootKeyDer: this.#node.rootKeyDer,
    });
    if (!request.ok) return refused(request);
    const { sender, authenticated, content } = request;
    const options = {
      sender,
      targets: authenticated.targets,
      endpoint: route.endpoint,
      version: route.version,
      rootSubnetId: this.#node.subnetId,
      subnetIds: [this.#node.subnetId],
    };
    this.#readCount += 1;
    try {
      const outcome = await this.#node.readState<Refusal>((state) =>
        authorizeReadState(content.paths, {
          ...options,
          request: (id) => state.request(id),
          canister: (id) => state.canister(id),
        }),
      );
      if (outcome.kind === "refused") return refused(outcome.refusal);
      return cborReply(encodeReadStateReply(outcome.certificate));
    } catch {
      return UNAVAILABLE;
    } finally {
      this.#readCount -= 1;
    }
  }

  /** Signatures are verified in the background: they take longer than all the rest. */
  async #validate(
    route: RouteOf<"call" | "query">,
    body: Uint8Array,
    kind: "call" | "query",
  ): Promise<ValidRequest<CallContent> | Refusal> {
    const envelope = decodeEnvelope(body, kind);
    if (!envelope.ok) return envelope;
    const { content } = envelope;
    if (route.endpoint.kind === "subnet") {
      const misplaced = subnetEndpointRefusal(kind, content);
      if (misplaced !== undefined) return misplaced;
    }
    const options = {
      nowNs: this.#node.nowNs(),
      rootKeyDer: this.#node.rootKeyDer,
      ...(route.endpoint.kind === "canister" ? { urlCanisterId: route.endpoint.id } : {}),
      managementTarget,
    };
    return validateEnvelopeWith<CallContent>(envelope, options, ({ key, message, signature }) =>
      verifySignatureInBackground(key, message, signature),
    );
  }
}

function ingressContent(request: ValidRequest<CallContent>): IngressContent {
  const { requestId, content, sender } = request;
  return {
    requestId,
    sender,
    canisterId: content.canisterId,
    methodName: content.methodName,
    argument: content.argument,
    ingressExpiryNs: content.ingressExpiryNs,
    senderInfo: content.senderInfo,
  };
}

function callReply(outcome: CallOutcome, isSync: boolean): HttpReply {
  switch (outcome.kind) {
    case "certified":
      return isSync ? cborReply(encodeCallReply(outcome.certificate)) : ACCEPTED;
    case "pending":
      return ACCEPTED;
    case "refused": {
      const encode = isSync ? encodeNonReplicatedRejection : encodeCallRejectionV2;
      return cborReply(encode(outcome.rejection));
    }
    case "overloaded":
      return OVERLOADED;
  }
}

function refused(refusal: Refusal): HttpReply {
  return textReply(refusal.status, refusal.text);
}

function pathOf(url: string): string {
  const end = url.indexOf("?");
  return end < 0 ? url : url.slice(0, end);
}
