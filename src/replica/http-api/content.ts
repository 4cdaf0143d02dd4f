// The content of calls, queries and state reads: types, and reading them from decoded CBOR. Reading
// checks shapes and sizes of single fields; who sent it and when is envelope-validation.ts.

import {
  CALL_METHOD_NAME_BYTES_MAX,
  DecodeError,
  PRINCIPAL_BYTES_MAX,
  utf8Bytes,
} from "gyrotron/base";
import type { CborMap, CborValue } from "gyrotron/crypto";

/** What a request asks for; also its `request_type`. */
export type RequestKind = "call" | "query" | "read_state";

/** Fields that every request has. */
interface CommonContent {
  sender: Uint8Array;
  ingressExpiryNs: bigint;
  nonce: Uint8Array | undefined;
}

/** A call or a query. */
export interface CallContent extends CommonContent {
  kind: "call" | "query";
  canisterId: Uint8Array;
  methodName: string;
  argument: Uint8Array;
  senderInfo: SenderInfo | undefined;
}

/** A read of the certified state. */
export interface ReadStateContent extends CommonContent {
  kind: "read_state";
  paths: Uint8Array[][];
}

/** The content of any request. */
export type RequestContent = CallContent | ReadStateContent;

/** What a canister signature's issuer says of the sender. */
export interface SenderInfo {
  info: Uint8Array;
  signer: Uint8Array;
  signature: Uint8Array;
}

const COMMON_FIELDS = ["request_type", "sender", "ingress_expiry", "nonce"];
const CALL_FIELDS = [...COMMON_FIELDS, "canister_id", "method_name", "arg", "sender_info"];
const READ_STATE_FIELDS = [...COMMON_FIELDS, "paths"];

/** Content of the expected kind from its map. @throws DecodeError `envelope/decode` on a missing, unknown or ill-typed field */
export function contentFromCbor(map: CborMap, kind: RequestKind): RequestContent {
  const allowed = kind === "read_state" ? READ_STATE_FIELDS : CALL_FIELDS;
  // The request id covers every field, so a field that is not understood must not be passed over.
  for (const name of map.keys())
    if (!allowed.includes(name)) throw malformed(`unknown field ${name.slice(0, 40)}`);
  const type = textField(map, "request_type");
  if (type !== kind) throw malformed(`request_type is ${type.slice(0, 40)}, expected ${kind}`);
  const common: CommonContent = {
    sender: principalField(map, "sender"),
    ingressExpiryNs: u64Field(map, "ingress_expiry"),
    nonce: map.has("nonce") ? bytesField(map, "nonce") : undefined,
  };
  if (kind === "read_state") return { kind, ...common, paths: pathsField(map) };
  const methodName = textField(map, "method_name");
  const methodNameBytes = utf8Bytes(methodName).length;
  if (methodNameBytes > CALL_METHOD_NAME_BYTES_MAX) {
    throw malformed(
      `method_name has ${methodNameBytes} bytes, at most ${CALL_METHOD_NAME_BYTES_MAX} are allowed`,
    );
  }
  return {
    kind,
    ...common,
    canisterId: principalField(map, "canister_id"),
    methodName,
    argument: bytesField(map, "arg"),
    senderInfo: map.has("sender_info") ? senderInfo(mapField(map, "sender_info")) : undefined,
  };
}

function senderInfo(map: CborMap): SenderInfo {
  for (const name of map.keys())
    if (!["info", "signer", "sig"].includes(name)) throw malformed("unknown field in sender_info");
  return {
    info: bytesField(map, "info"),
    signer: principalField(map, "signer"),
    signature: bytesField(map, "sig"),
  };
}

function pathsField(map: CborMap): Uint8Array[][] {
  return arrayField(map, "paths").map((path) => {
    if (!Array.isArray(path)) throw malformed("a path is not an array");
    return path.map((label) => {
      if (!(label instanceof Uint8Array)) throw malformed("a label is not a byte string");
      return label;
    });
  });
}

/** A map without its null fields: absent and null mean the same, and null is not hashable. */
export function withoutNulls(map: CborMap): CborMap {
  return new Map([...map].filter(([, value]) => value !== null));
}

export function mapField(map: CborMap, name: string): CborMap {
  const value = map.get(name);
  if (!(value instanceof Map)) throw malformed(`${name} is not a map`);
  return value;
}

export function arrayField(map: CborMap, name: string): CborValue[] {
  const value = map.get(name);
  if (!Array.isArray(value)) throw malformed(`${name} is not an array`);
  return value;
}

export function bytesField(map: CborMap, name: string): Uint8Array {
  const value = map.get(name);
  if (!(value instanceof Uint8Array)) throw malformed(`${name} is not a byte string`);
  return value;
}

export function textField(map: CborMap, name: string): string {
  const value = map.get(name);
  if (typeof value !== "string") throw malformed(`${name} is not text`);
  return value;
}

export function u64Field(map: CborMap, name: string): bigint {
  const value = map.get(name);
  if (typeof value !== "bigint" || value < 0n || value >= 1n << 64n)
    throw malformed(`${name} is not a nat64`);
  return value;
}

export function principalField(map: CborMap, name: string): Uint8Array {
  return principalOf(map.get(name), name);
}

export function principalOf(value: CborValue | undefined, name: string): Uint8Array {
  const isPrincipal = value instanceof Uint8Array && value.length <= PRINCIPAL_BYTES_MAX;
  if (!isPrincipal) throw malformed(`${name} is not a principal`);
  return value;
}

/** Offsets are only known while CBOR is read; here the field's name says where. */
export function malformed(what: string): DecodeError {
  return new DecodeError({ code: "envelope/decode", what, offset: 0 });
}
