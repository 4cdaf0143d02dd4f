// Bodies of HTTP replies, byte for byte, and what a node signs of a query's answer. Owns encoding
// only: who computes the answers is the node's.

import { concatBytes } from "gyrotron/base";
import { DOMAIN_RESPONSE, encodeSelfDescribedCbor, hashOfMap } from "gyrotron/crypto";
import { treePath } from "../certification/index.ts";
import type { QueryResult } from "../contract.ts";

export const CBOR_CONTENT_TYPE = "application/cbor";
export const TEXT_CONTENT_TYPE = "text/plain; charset=utf-8";
/** Body of the refusal (400) of any other content type. */
export const CONTENT_TYPE_REFUSAL = "Unexpected content-type, expected application/cbor.";
export const OVERLOADED_TEXT = "Service is overloaded, try again later.";
export const STATE_UNAVAILABLE_TEXT = "Certified state unavailable. Please try again.";
/** Version of the interface that `status` announces. */
export const IC_API_VERSION = "0.18.0";

/** What `status` tells of the node. */
export interface StatusReply {
  rootKeyDer: Uint8Array;
  implVersion: string;
  implHash: string;
  healthStatus: "healthy" | "starting";
  certifiedHeight: bigint;
}

/** A node's signature of one answer. */
export interface QuerySignature {
  timestampNs: bigint;
  signature: Uint8Array;
  nodeId: Uint8Array;
}

/** An answer that is a reject. */
export type Rejection = Extract<QueryResult, { kind: "rejected" }>;

/** GET /api/v2/status. */
export function encodeStatusReply(status: StatusReply): Uint8Array {
  return encodeSelfDescribedCbor({
    ic_api_version: IC_API_VERSION,
    root_key: status.rootKeyDer,
    impl_version: status.implVersion,
    impl_hash: status.implHash,
    replica_health_status: status.healthStatus,
    certified_height: status.certifiedHeight,
  });
}

/** A finished call (v3, v4): "replied" also if the canister rejected; the certificate tells. */
export function encodeCallReply(certificate: Uint8Array): Uint8Array {
  return encodeSelfDescribedCbor({ status: "replied", certificate });
}

/** A call refused by the pre-check (v3, v4). */
export function encodeNonReplicatedRejection(rejection: Rejection): Uint8Array {
  return encodeSelfDescribedCbor({
    status: "non_replicated_rejection",
    ...rejectFields(rejection),
  });
}

/** A call refused by the pre-check (v2). */
export function encodeCallRejectionV2(rejection: Rejection): Uint8Array {
  return encodeSelfDescribedCbor(rejectFields(rejection));
}

/** The answer to a state read. */
export function encodeReadStateReply(certificate: Uint8Array): Uint8Array {
  return encodeSelfDescribedCbor({ certificate });
}

/** An answer to a query with the node's signature over querySignaturePayload. */
export function encodeQueryReply(result: QueryResult, signature: QuerySignature): Uint8Array {
  const { timestampNs: timestamp, nodeId: identity } = signature;
  const signatures = [{ timestamp, signature: signature.signature, identity }];
  return encodeSelfDescribedCbor({ ...answerFields(result), signatures });
}

/** The bytes that a node signs with its Ed25519 key: the answer bound to request and time. */
export function querySignaturePayload(
  result: QueryResult,
  requestId: Uint8Array,
  timestampNs: bigint,
): Uint8Array {
  const answer = { ...answerFields(result), request_id: requestId, timestamp: timestampNs };
  return concatBytes(DOMAIN_RESPONSE, hashOfMap(answer));
}

/** Paths that a certificate in the answer to a call must reveal. */
export function callReplyPaths(requestId: Uint8Array): Uint8Array[][] {
  return [treePath("request_status", requestId)];
}

/** Paths of the data certificate that a canister gets in a query. */
export function dataCertificatePaths(canisterId: Uint8Array): Uint8Array[][] {
  return [treePath("canister", canisterId, "certified_data")];
}

function answerFields(result: QueryResult) {
  if (result.kind === "replied") return { status: "replied", reply: { arg: result.reply } };
  return { status: "rejected", ...rejectFields(result) };
}

function rejectFields({ rejectCode, message, errorCode }: Rejection) {
  return { reject_code: BigInt(rejectCode), reject_message: message, error_code: errorCode };
}
