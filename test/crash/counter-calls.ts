// Calls to the counter, and what their certificates say.

import { assert, u64BigEndian, utf8Bytes } from "gyrotron/base";
import { sha256 } from "gyrotron/crypto";
import type { CallOutcome, CallRequest } from "gyrotron/node";
import {
  decodeCertificate,
  type IngressContent,
  lookupPath,
  treePath,
  verifyCertificate,
} from "gyrotron/replica";
import { CALLER, COUNTER_ID, sumOf } from "./counter-replica.ts";

/** The n-th call; the same n gives the same call. */
export function callNumber(n: number): CallRequest & { content: IngressContent } {
  const requestId = sha256(utf8Bytes("call"), u64BigEndian(BigInt(n)));
  return { envelope: requestId, content: contentOf(requestId, "increment") };
}

export function contentOf(requestId: Uint8Array, methodName: string): IngressContent {
  return {
    requestId,
    sender: CALLER,
    canisterId: COUNTER_ID,
    methodName,
    argument: new Uint8Array(0),
    ingressExpiryNs: 2n ** 63n,
    senderInfo: undefined,
  };
}

/** The sum that a certificate gives as the answer to a call; its signature is checked where a key is given. */
export function certifiedSum(
  outcome: CallOutcome,
  requestId: Uint8Array,
  rootKeyDer?: Uint8Array,
): bigint {
  assert(outcome.kind === "certified", `the call is ${outcome.kind}`);
  const certificate = decodeCertificate(outcome.certificate);
  const isValid = rootKeyDer === undefined || verifyCertificate(certificate, rootKeyDer);
  assert(isValid, "the certificate verifies");
  const found = lookupPath(certificate.tree, treePath("request_status", requestId, "reply"));
  assert(found.kind === "found", "the certificate has the reply");
  return sumOf(found.value);
}
