// What the node says of GPU jobs beyond the ICP's interface (spec 05 §5): receipts with their proofs
// for anyone, and the text of an answer while it is written, for whoever asked.

import type { IncomingMessage, ServerResponse } from "node:http";
import { equalBytes, parseHex, utf8Text } from "gyrotron/base";
import { encodeSelfDescribedCbor } from "gyrotron/crypto";
import {
  decodeEnvelope,
  type ReadStateContent,
  type Refusal,
  validateEnvelope,
} from "gyrotron/replica";
import type { ReceiptSelector } from "../jobs/receipt-archive.ts";
import type { NodeCore, ProvenReceipt } from "../node-contract.ts";
import { cborReply, type HttpReply, textReply } from "./http-reply.ts";

const PREFIX = "/gyrotron/v1/";
const PREVIEW_PATH = `${PREFIX}preview`;
const RECEIPT_PATH = /^\/gyrotron\/v1\/receipts\/([0-9a-f]{64})$/;
const REQUEST_RECEIPTS_PATH = /^\/gyrotron\/v1\/requests\/([0-9a-f]{64})\/receipts$/;
/** Streams that may be open at once. */
const STREAMS_MAX = 1_000;
const NOT_FOUND = textReply(404, "This path does not exist.");
const UNAVAILABLE = textReply(503, "The node cannot answer now. Please try again.");

/** Whether a path is this handler's. */
export function isJobPath(url: string): boolean {
  return url.startsWith(PREFIX);
}

/** Whether a POST here answers with a stream of events. */
export function isPreviewPath(url: string): boolean {
  return url === PREVIEW_PATH;
}

/** The job interface over one node. */
export class JobHandler {
  readonly #node: NodeCore;
  #streamCount = 0;

  constructor(node: NodeCore) {
    this.#node = node;
  }

  /** Answers a GET: receipts by hash or by request. */
  async get(url: string): Promise<HttpReply> {
    const selector = selectorOf(url);
    if (selector === undefined) return NOT_FOUND;
    try {
      const receipts = await this.#node.receipts(selector);
      if (receipts.length === 0 && "hash" in selector) {
        return textReply(404, "This node keeps no receipt with this hash.");
      }
      return cborReply(encodeReceipts(receipts));
    } catch {
      return UNAVAILABLE;
    }
  }

  /** Streams the text of an answer as server-sent events, if the body is a read_state request of the sender for it. */
  preview(
    body: Uint8Array,
    request: IncomingMessage,
    response: ServerResponse,
  ): HttpReply | undefined {
    if (this.#streamCount >= STREAMS_MAX) return UNAVAILABLE;
    const asked = readPreviewRequest(body, this.#node);
    if ("text" in asked) return textReply(asked.status, asked.text);
    const { requestId, sender } = asked;
    const known = this.#node.publicState.request(requestId);
    if (known !== undefined && !equalBytes(known.sender, sender)) return notYours();
    this.#streamCount += 1;
    response.writeHead(200, [
      "content-type",
      "text/event-stream",
      "cache-control",
      "no-store",
      "access-control-allow-origin",
      "*",
    ]);
    response.flushHeaders();
    let sent = 0;
    const stop = this.#node.onPreview(requestId, (text) => {
      // The request may have become known only now: whose it is decides.
      const owner = this.#node.publicState.request(requestId);
      const isOwn = owner === undefined || equalBytes(owner.sender, sender);
      if (text === undefined || !isOwn) {
        response.end("event: end\ndata: {}\n\n");
        return;
      }
      response.write(`event: text\ndata: ${JSON.stringify({ delta: text.slice(sent) })}\n\n`);
      sent = text.length;
    });
    request.resume();
    response.on("close", () => {
      this.#streamCount -= 1;
      stop();
    });
    return undefined;
  }
}

function selectorOf(url: string): ReceiptSelector | undefined {
  const hash = bytesOf(RECEIPT_PATH.exec(url)?.[1]);
  if (hash !== undefined) return { hash };
  const requestId = bytesOf(REQUEST_RECEIPTS_PATH.exec(url)?.[1]);
  return requestId && { requestId };
}

function bytesOf(hex: string | undefined): Uint8Array | undefined {
  return hex === undefined ? undefined : parseHex(hex);
}

/** Fields as in spec 05 §5. */
function encodeReceipts(receipts: readonly ProvenReceipt[]): Uint8Array {
  return encodeSelfDescribedCbor({
    receipts: receipts.map(({ receipt, leafIndex, siblings, range, certificate }) => ({
      receipt,
      leaf_index: leafIndex,
      siblings,
      leaf_count: range.leafCount,
      peaks: range.peaks,
      certificate,
    })),
  });
}

/** A preview is asked for by a read_state request, which any agent can sign. */
function readPreviewRequest(
  body: Uint8Array,
  node: NodeCore,
): { requestId: Uint8Array; sender: Uint8Array } | Refusal {
  const envelope = decodeEnvelope(body, "read_state");
  if (!envelope.ok) return envelope;
  const request = validateEnvelope<ReadStateContent>(envelope, {
    nowNs: node.nowNs(),
    rootKeyDer: node.rootKeyDer,
  });
  if (!request.ok) return request;
  const [path, ...others] = request.content.paths;
  const [label, requestId] = path ?? [];
  const isOne = others.length === 0 && label !== undefined && utf8Text(label) === "request_status";
  if (!isOne || requestId?.length !== 32) {
    const text = "A preview is asked for with the one path request_status/<request id>.";
    return { ok: false, status: 400, text };
  }
  return { requestId, sender: request.sender };
}

function notYours(): HttpReply {
  return textReply(403, "The user tries to access Request ID not signed by the caller.");
}
