// Public keys as DER SubjectPublicKeyInfo: recognising the schemes of the IC interface and nothing
// else. Each scheme has exactly one accepted encoding, so a key is a fixed prefix and raw bytes.
// WebAuthn and canister signatures are recognised by their OID but not supported yet.

import { concatBytes, equalBytes, parseHex, present } from "gyrotron/base";
import { CryptoError } from "./error.ts";

/** Schemes whose signatures this area can verify. */
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

/** DER encodings of object identifiers that are known but not supported. */
const UNSUPPORTED: readonly { name: string; oid: Uint8Array }[] = [
  { name: "WebAuthn (COSE)", oid: hex("060a2b0601040183b8430101") },
  { name: "canister signature", oid: hex("060a2b0601040183b8430102") },
  { name: "RSA", oid: hex("06092a864886f70d010101") },
];

/** Parses a DER public key. @throws CryptoError `crypto/public-key` if malformed or of a scheme not supported */
export function parsePublicKey(der: Uint8Array): PublicKey {
  for (const { scheme, prefix, rawBytes } of SCHEMES) {
    if (der.length !== prefix.length + rawBytes || !startsWith(der, 0, prefix)) continue;
    const bytes = der.slice(prefix.length);
    if (rawBytes === 65 && bytes[0] !== 4) throw invalid("ECDSA key is not an uncompressed point");
    return { scheme, bytes };
  }
  const known = UNSUPPORTED.find(({ oid }) => algorithmStartsWith(der, oid));
  throw invalid(
    known === undefined ? "unsupported or malformed DER key" : `unsupported scheme ${known.name}`,
  );
}

/** DER encoding of a raw key. */
export function encodePublicKey(key: PublicKey): Uint8Array {
  const { prefix, rawBytes } = present(SCHEMES.find(({ scheme }) => scheme === key.scheme));
  if (key.bytes.length !== rawBytes)
    throw invalid(`expected ${rawBytes} bytes, got ${key.bytes.length}`);
  return concatBytes(prefix, key.bytes);
}

/** Whether the algorithm identifier of a SubjectPublicKeyInfo begins with this object identifier. */
function algorithmStartsWith(der: Uint8Array, oid: Uint8Array): boolean {
  const outer = sequenceContent(der, 0);
  const inner = outer === undefined ? undefined : sequenceContent(der, outer);
  return inner !== undefined && startsWith(der, inner, oid);
}

/** Offset of the content of the DER sequence at `offset`, for lengths below 64 KiB. */
function sequenceContent(der: Uint8Array, offset: number): number | undefined {
  if (der[offset] !== 0x30) return undefined;
  const length = der[offset + 1];
  if (length === undefined) return undefined;
  if (length < 0x80) return offset + 2;
  return length === 0x81 ? offset + 3 : length === 0x82 ? offset + 4 : undefined;
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
