// Public keys as DER SubjectPublicKeyInfo: recognising the schemes of the IC interface and nothing
// else. Each plain scheme has exactly one accepted encoding, so a key is a fixed prefix and raw bytes;
// WebAuthn's and canisters' keys are an identifier and a bit string.

import { concatBytes, equalBytes, parseHex, present, PRINCIPAL_BYTES_MAX } from "gyrotron/base";
import { parseCoseKey, type PlainKey } from "./cose.ts";
import { DER_BIT_STRING, DER_SEQUENCE, onlyDer, readDer } from "./der.ts";
import { CryptoError } from "./error.ts";

/** Schemes that keys of fixed length have. */
export type KeyScheme = "ed25519" | "ecdsa-secp256k1" | "ecdsa-p256" | "bls12-381";

/** A parsed key: 32 bytes (Ed25519), an uncompressed point of 65 (ECDSA), or 96 bytes in G2 (BLS). */
export interface PublicKey {
  readonly scheme: KeyScheme;
  readonly bytes: Uint8Array;
}

const SCHEMES: readonly { scheme: KeyScheme; prefix: Uint8Array; rawBytes: number }[] = [
  { scheme: "ed25519", prefix: hex("302a300506032b6570032100"), rawBytes: 32 },
  {
    scheme: "ecdsa-secp256k1",
    prefix: hex("3056301006072a8648ce3d020106052b8104000a034200"),
    rawBytes: 65,
  },
  {
    scheme: "ecdsa-p256",
    prefix: hex("3059301306072a8648ce3d020106082a8648ce3d030107034200"),
    rawBytes: 65,
  },
  {
    scheme: "bls12-381",
    prefix: hex("308182301d060d2b0601040182dc7c0503010201060c2b0601040182dc7c05030201036100"),
    rawBytes: 96,
  },
];

/** A key in an authenticator: it signs what a browser makes of a message. */
export interface WebAuthnKey {
  readonly scheme: "webauthn";
  readonly key: PlainKey;
}

/** A canister, which signs by certifying. */
export interface CanisterSignatureKey {
  readonly scheme: "canister-signature";
  readonly canisterId: Uint8Array;
  readonly seed: Uint8Array;
}

/** A key that a request or a delegation may be signed with. */
export type UserKey = PublicKey | WebAuthnKey | CanisterSignatureKey;

/** DER encodings of object identifiers of keys that hold more than raw bytes. */
const OID_COSE = hex("060a2b0601040183b8430101");
const OID_CANISTER_SIGNATURE = hex("060a2b0601040183b8430102");
const OID_RSA = hex("06092a864886f70d010101");

/** Parses the key of a user. @throws CryptoError `crypto/public-key` if malformed or of a scheme not supported */
export function parseUserKey(der: Uint8Array): UserKey {
  const parts = keyInfo(der);
  if (parts === undefined) return parsePublicKey(der);
  const { algorithm, key } = parts;
  if (equalBytes(algorithm, OID_COSE)) return { scheme: "webauthn", key: parseCoseKey(key) };
  if (equalBytes(algorithm, OID_CANISTER_SIGNATURE)) return canisterSignatureKey(key);
  return parsePublicKey(der);
}

/** DER encoding of a key in COSE form. */
export function encodeCosePublicKey(cose: Uint8Array): Uint8Array {
  return encodeKeyInfo(OID_COSE, cose);
}

/** DER encoding of a canister's key. The seed is the canister's choice. */
export function encodeCanisterSignatureKey(canisterId: Uint8Array, seed: Uint8Array): Uint8Array {
  const key = concatBytes(Uint8Array.of(canisterId.length), canisterId, seed);
  return encodeKeyInfo(OID_CANISTER_SIGNATURE, key);
}

/** Parses a DER public key of a plain scheme. @throws CryptoError `crypto/public-key` if malformed or of another scheme */
export function parsePublicKey(der: Uint8Array): PublicKey {
  for (const { scheme, prefix, rawBytes } of SCHEMES) {
    if (der.length !== prefix.length + rawBytes || !startsWith(der, 0, prefix)) continue;
    const bytes = der.slice(prefix.length);
    if (rawBytes === 65 && bytes[0] !== 4) throw invalid("ECDSA key is not an uncompressed point");
    return { scheme, bytes };
  }
  const isRsa = equalBytes(keyInfo(der)?.algorithm ?? der, OID_RSA);
  throw invalid(isRsa ? "unsupported scheme RSA" : "unsupported or malformed DER key");
}

/** DER encoding of a raw key. */
export function encodePublicKey(key: PublicKey): Uint8Array {
  const { prefix, rawBytes } = present(SCHEMES.find(({ scheme }) => scheme === key.scheme));
  if (key.bytes.length !== rawBytes)
    throw invalid(`expected ${rawBytes} bytes, got ${key.bytes.length}`);
  return concatBytes(prefix, key.bytes);
}

function canisterSignatureKey(key: Uint8Array): CanisterSignatureKey {
  const idBytes = key[0] ?? 0;
  if (idBytes === 0 || idBytes > PRINCIPAL_BYTES_MAX || key.length <= idBytes)
    throw invalid("key of a canister signature names no canister");
  return {
    scheme: "canister-signature",
    canisterId: key.slice(1, 1 + idBytes),
    seed: key.slice(1 + idBytes),
  };
}

/** Algorithm identifier and key of a SubjectPublicKeyInfo whose bit string has whole bytes. */
function keyInfo(der: Uint8Array): { algorithm: Uint8Array; key: Uint8Array } | undefined {
  const info = onlyDer(der, DER_SEQUENCE);
  const algorithm = info === undefined ? undefined : readDer(info);
  if (algorithm?.tag !== DER_SEQUENCE) return undefined;
  const bits = onlyDer(algorithm.rest, DER_BIT_STRING);
  if (bits?.[0] !== 0) return undefined;
  // RSA's identifier has a parameter of no content, which the others lack.
  const identifier = readDer(algorithm.content);
  const hasNull = identifier !== undefined && equalBytes(identifier.rest, Uint8Array.of(5, 0));
  const oid = hasNull ? algorithm.content.subarray(0, -2) : algorithm.content;
  return { algorithm: oid, key: bits.subarray(1) };
}

function encodeKeyInfo(oid: Uint8Array, key: Uint8Array): Uint8Array {
  const bits = element(DER_BIT_STRING, concatBytes(Uint8Array.of(0), key));
  return element(DER_SEQUENCE, concatBytes(element(DER_SEQUENCE, oid), bits));
}

function element(tag: number, content: Uint8Array): Uint8Array {
  const { length } = content;
  const head =
    length < 0x80
      ? Uint8Array.of(tag, length)
      : length < 0x100
        ? Uint8Array.of(tag, 0x81, length)
        : Uint8Array.of(tag, 0x82, length >> 8, length & 0xff);
  return concatBytes(head, content);
}

function startsWith(bytes: Uint8Array, offset: number, prefix: Uint8Array): boolean {
  return equalBytes(bytes.subarray(offset, offset + prefix.length), prefix);
}

function hex(text: string): Uint8Array {
  return present(parseHex(text));
}

function invalid(reason: string): CryptoError {
  return new CryptoError({ code: "crypto/public-key", reason });
}
