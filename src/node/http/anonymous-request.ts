// Queries and calls that the node's own pages make for whoever opens them: anonymous, as a client would
// send them. Owns no page.

import { randomBytes } from "node:crypto";
import { assert, utf8TextLossy } from "gyrotron/base";
import { ANONYMOUS_PRINCIPAL, encodeSelfDescribedCbor } from "gyrotron/crypto";
import {
  decodeCertificate,
  decodeEnvelope,
  type IngressContent,
  lookupPath,
  treePath,
} from "gyrotron/replica";
import type { NodeCore } from "../node-contract.ts";

/** What is asked of a canister. */
export interface AnonymousRequest {
  readonly canisterId: Uint8Array;
  readonly methodName: string;
  readonly argument: Uint8Array;
}

/** What a canister, or the node before it, answers. */
export type AnonymousAnswer =
  | { readonly kind: "replied"; readonly reply: Uint8Array }
  | { readonly kind: "rejected"; readonly errorCode: string; readonly message: string }
  /** The node takes no more calls. */
  | { readonly kind: "overloaded" }
  /** Nobody waits any more. */
  | { readonly kind: "pending" };

const EXPIRY_NS = 240_000_000_000n;

/** Asks by a query on the last certified state. */
export async function queryAnonymously(
  node: NodeCore,
  request: AnonymousRequest,
): Promise<AnonymousAnswer> {
  const { result } = await node.query(envelopeOf(node, "query", request).content);
  return result.kind === "replied" ? result : { ...result, kind: "rejected" };
}

/** Calls, and waits for the certified answer for as long as `isAwaited` says so. */
export async function callAnonymously(
  node: NodeCore,
  request: AnonymousRequest,
  isAwaited: () => boolean,
): Promise<AnonymousAnswer> {
  const { bytes, content } = envelopeOf(node, "call", request);
  while (isAwaited()) {
    const outcome = await node.submitCall({ envelope: bytes, content });
    if (outcome.kind === "refused") return { ...outcome.rejection, kind: "rejected" };
    if (outcome.kind === "overloaded") return { kind: "overloaded" };
    if (outcome.kind === "certified") return answerIn(outcome.certificate, content.requestId);
  }
  return { kind: "pending" };
}

function answerIn(certificate: Uint8Array, requestId: Uint8Array): AnonymousAnswer {
  const { tree } = decodeCertificate(certificate);
  const field = (name: string): Uint8Array | undefined => {
    const found = lookupPath(tree, treePath("request_status", requestId, name));
    return found.kind === "found" ? found.value : undefined;
  };
  const text = (name: string): string => utf8TextLossy(field(name) ?? new Uint8Array(0));
  const reply = field("reply");
  if (reply !== undefined) return { kind: "replied", reply };
  return { kind: "rejected", errorCode: text("error_code"), message: text("reject_message") };
}

function envelopeOf(
  node: NodeCore,
  kind: "call" | "query",
  { canisterId, methodName, argument }: AnonymousRequest,
): { bytes: Uint8Array; content: IngressContent } {
  const ingressExpiryNs = node.nowNs() + EXPIRY_NS;
  const sender = ANONYMOUS_PRINCIPAL;
  const bytes = encodeSelfDescribedCbor({
    content: {
      request_type: kind,
      canister_id: canisterId,
      method_name: methodName,
      arg: argument,
      sender,
      ingress_expiry: ingressExpiryNs,
      nonce: new Uint8Array(randomBytes(16)),
    },
  });
  const envelope = decodeEnvelope(bytes, kind);
  assert(envelope.ok, "an envelope of our own is well-formed");
  const { requestId } = envelope;
  const senderInfo = undefined;
  return {
    bytes,
    content: { requestId, sender, canisterId, methodName, argument, ingressExpiryNs, senderInfo },
  };
}
