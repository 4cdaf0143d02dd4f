// Envelopes: a content with the proof of who sent it, and their CBOR form. Decoding computes the
// request id. Owns no rule about validity in time or of signatures: see envelope-validation.ts.

import { DecodeError } from "gyrotron/base";
import type { CborMap, CborValue, HashableValue } from "gyrotron/crypto";
import { decodeCbor, hashOfMap } from "gyrotron/crypto";
import type { RequestContent, RequestKind } from "./content.ts";
import {
  arrayField,
  bytesField,
  contentFromCbor,
  malformed,
  mapField,
  principalOf,
  textField,
  u64Field,
  withoutNulls,
} from "./content.ts";
import type { Refusal } from "./refusal.ts";
import { refuse } from "./refusal.ts";

/** A request as received. */
export interface Envelope<C extends RequestContent = RequestContent> {
  readonly ok: true;
  readonly content: C;
  /** Hash of the content: the request's identity. Computed when first asked for: long paths make it dear. */
  readonly requestId: Uint8Array;
  /** Absent for anonymous senders. */
  readonly authentication: SenderAuthentication | undefined;
  /** Length of the encoded envelope. */
  readonly encodedBytes: number;
}

/** Key, signature and delegations that come with a request; nothing is checked yet. */
export interface SenderAuthentication {
  publicKeyDer: Uint8Array;
  signature: Uint8Array;
  delegations: SignedDelegation[];
}

/** One link of a chain: the key before it lets `publicKeyDer` sign. */
export interface SignedDelegation {
  publicKeyDer: Uint8Array;
  expirationNs: bigint;
  /** Canisters it is limited to; undefined: all. */
  targets: Uint8Array[] | undefined;
  permissions: string | undefined;
  /** Hash of the delegation's map, which the signature covers; computed when first asked for. */
  readonly hash: Uint8Array;
  signature: Uint8Array;
}

const PARSED_AS: Record<RequestKind, string> = {
  call: "call message",
  query: "read request",
  read_state: "read request",
};

/** Decodes an envelope whose content must be of `kind`; any other input is a refusal, never an exception. */
export function decodeEnvelope<K extends RequestKind>(
  bytes: Uint8Array,
  kind: K,
):
  | Envelope<
      K extends "read_state"
        ? Extract<RequestContent, { kind: "read_state" }>
        : Exclude<RequestContent, { kind: "read_state" }>
    >
  | Refusal;
export function decodeEnvelope(bytes: Uint8Array, kind: RequestKind): Envelope | Refusal {
  try {
    return envelopeFromCbor(decodeCbor(bytes), kind, bytes.length);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    return refuse(400, `Could not parse body as ${PARSED_AS[kind]}: ${describe(error)}`);
  }
}

function envelopeFromCbor(value: CborValue, kind: RequestKind, encodedBytes: number): Envelope {
  if (!(value instanceof Map)) throw malformed("envelope is not a map");
  const contentMap = withoutNulls(mapField(value, "content"));
  const content = contentFromCbor(contentMap, kind);
  const authentication = authenticationFrom(withoutNulls(value));
  let requestId: Uint8Array | undefined;
  return {
    ok: true,
    content,
    authentication,
    encodedBytes,
    get requestId() {
      return (requestId ??= hashOfMap(hashable(contentMap)));
    },
  };
}

function authenticationFrom(map: CborMap): SenderAuthentication | undefined {
  const hasKey = map.has("sender_pubkey");
  if (hasKey !== map.has("sender_sig"))
    throw malformed("sender_pubkey and sender_sig must come together");
  const delegations = map.has("sender_delegation")
    ? arrayField(map, "sender_delegation").map(signedDelegation)
    : [];
  if (!hasKey && delegations.length > 0) throw malformed("sender_delegation without sender_pubkey");
  if (!hasKey) return undefined;
  return {
    publicKeyDer: bytesField(map, "sender_pubkey"),
    signature: bytesField(map, "sender_sig"),
    delegations,
  };
}

const DELEGATION_FIELDS = ["pubkey", "expiration", "targets", "permissions"];

function signedDelegation(value: CborValue): SignedDelegation {
  if (!(value instanceof Map)) throw malformed("a signed delegation is not a map");
  const map = withoutNulls(mapField(value, "delegation"));
  for (const name of map.keys())
    if (!DELEGATION_FIELDS.includes(name)) throw malformed("unknown field in a delegation");
  const targets = map.has("targets")
    ? arrayField(map, "targets").map((target) => principalOf(target, "delegation target"))
    : undefined;
  let hash: Uint8Array | undefined;
  return {
    publicKeyDer: bytesField(map, "pubkey"),
    expirationNs: u64Field(map, "expiration"),
    targets,
    permissions: map.has("permissions") ? textField(map, "permissions") : undefined,
    signature: bytesField(value, "signature"),
    get hash() {
      return (hash ??= hashOfMap(hashable(map)));
    },
  };
}

/** The shape checks above have left only hashable values: no null and no boolean. */
function hashable(map: CborMap): ReadonlyMap<string, HashableValue> {
  return map as ReadonlyMap<string, HashableValue>;
}

function describe(error: DecodeError): string {
  const { code, what, offset } = error.info;
  return code === "envelope/decode" ? what : `${what} at byte ${offset}`;
}
