// Requests as raw bytes, signed without any agent library: what tests and benchmarks send when they
// want to decide every byte themselves.

import { createPrivateKey, createPublicKey, randomBytes, sign } from "node:crypto";
import { concatBytes } from "gyrotron/base";
import {
  type CborInput,
  DOMAIN_REQUEST,
  encodeSelfDescribedCbor,
  type HashableValue,
  hashOfMap,
  selfAuthenticating,
} from "gyrotron/crypto";

/** An Ed25519 key by OpenSSL. */
export interface RawIdentity {
  readonly publicKeyDer: Uint8Array;
  readonly sender: Uint8Array;
  sign(message: Uint8Array): Uint8Array;
}

/** Content of a request, ready to be hashed. */
export type RequestFields = Record<string, HashableValue>;

/** An encoded envelope and its request id. */
export interface SignedRequest {
  readonly requestId: Uint8Array;
  readonly body: Uint8Array;
}

const PKCS8_ED25519_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");
export const ANONYMOUS: Uint8Array = Uint8Array.of(4);

/** An identity from a 32-byte seed, by chance if none is given. */
export function createRawIdentity(seed: Uint8Array = randomBytes(32)): RawIdentity {
  const der = Buffer.concat([PKCS8_ED25519_PREFIX, seed]);
  const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const publicKeyDer = new Uint8Array(createPublicKey(key).export({ format: "der", type: "spki" }));
  return {
    publicKeyDer,
    sender: selfAuthenticating(publicKeyDer),
    sign: (message) => new Uint8Array(sign(null, message, key)),
  };
}

/** Fields of a call or query by `sender`, valid for four minutes, with a nonce of its own. */
export function callFields(
  type: "call" | "query",
  sender: Uint8Array,
  canisterId: Uint8Array,
  methodName: string,
  argument: Uint8Array,
): RequestFields {
  return {
    request_type: type,
    sender,
    canister_id: canisterId,
    method_name: methodName,
    arg: argument,
    ingress_expiry: nowNs() + 240_000_000_000n,
    nonce: new Uint8Array(randomBytes(16)),
  };
}

/** Signs fields; undefined: as the anonymous sender. */
export function signRequest(
  fields: RequestFields,
  identity: RawIdentity | undefined,
): SignedRequest {
  const requestId = hashOfMap(fields);
  const proof =
    identity === undefined
      ? {}
      : {
          sender_pubkey: identity.publicKeyDer,
          sender_sig: identity.sign(concatBytes(DOMAIN_REQUEST, requestId)),
        };
  return { requestId, body: encodeEnvelope(fields, proof) };
}

/** Bytes of an envelope with any proof. */
export function encodeEnvelope(
  fields: RequestFields,
  proof: Record<string, CborInput>,
): Uint8Array {
  return encodeSelfDescribedCbor({ content: fields as CborInput, ...proof });
}

/** The clock in nanoseconds. */
export function nowNs(): bigint {
  return BigInt(Date.now()) * 1_000_000n;
}
