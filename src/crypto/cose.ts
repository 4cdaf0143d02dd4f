// Public keys in COSE form (RFC 9053), as WebAuthn authenticators give them: a CBOR map with small
// integers as keys. Three algorithms: ES256, EdDSA over Ed25519, RS256. Owns no signatures.

import { decode } from "cborg";
import { concatBytes } from "gyrotron/base";
import { CryptoError } from "./error.ts";
import type { PublicKey } from "./public-key.ts";
import { type RsaKey, rsaKeyFrom } from "./rsa.ts";

/** A key whose signatures are plain bytes over plain bytes. */
export type PlainKey = PublicKey | RsaKey;

/** An RSA modulus of 8192 bits and its frame. */
const COSE_BYTES_MAX = 1200;
/** Labels of RFC 9052 and 9053. */
const KEY_TYPE = 1;
const ALGORITHM = 3;
const [KEY_TYPE_OKP, KEY_TYPE_EC2, KEY_TYPE_RSA] = [1, 2, 3];
const [ES256, EDDSA, RS256] = [-7, -8, -257];
const [CURVE_P256, CURVE_ED25519] = [1, 6];

/** The key that COSE bytes describe. @throws CryptoError `crypto/public-key` */
export function parseCoseKey(bytes: Uint8Array): PlainKey {
  const map = coseMap(bytes);
  const [type, algorithm] = [map.get(KEY_TYPE), map.get(ALGORITHM)];
  if (type === KEY_TYPE_EC2 && algorithm === ES256 && map.get(-1) === CURVE_P256) {
    const point = concatBytes(Uint8Array.of(4), coordinate(map, -2), coordinate(map, -3));
    return { scheme: "ecdsa-p256", bytes: point };
  }
  if (type === KEY_TYPE_OKP && algorithm === EDDSA && map.get(-1) === CURVE_ED25519)
    return { scheme: "ed25519", bytes: coordinate(map, -2) };
  if (type === KEY_TYPE_RSA && algorithm === RS256) {
    const [modulus, exponent] = [map.get(-1), map.get(-2)];
    const isRsa = modulus instanceof Uint8Array && exponent instanceof Uint8Array;
    const key = isRsa ? rsaKeyFrom(modulus, exponent) : undefined;
    if (key === undefined) throw invalid("RSA modulus or exponent out of range");
    return key;
  }
  throw invalid("COSE key is none of ES256, EdDSA over Ed25519, RS256");
}

function coordinate(map: ReadonlyMap<unknown, unknown>, label: number): Uint8Array {
  const value = map.get(label);
  if (value instanceof Uint8Array && value.length === 32) return value;
  throw invalid("COSE coordinate is not 32 bytes");
}

function coseMap(bytes: Uint8Array): ReadonlyMap<unknown, unknown> {
  if (bytes.length > COSE_BYTES_MAX) throw invalid("COSE key is too long");
  // The bound on bytes bounds nesting too, far below any stack.
  let map: unknown;
  try {
    map = decode(bytes, {
      useMaps: true,
      rejectDuplicateMapKeys: true,
      allowIndefinite: false,
      allowUndefined: false,
      allowBigInt: false,
    });
  } catch (cause) {
    throw new CryptoError({ code: "crypto/public-key", reason: "COSE key is not CBOR" }, { cause });
  }
  if (!(map instanceof Map)) throw invalid("COSE key is not a map");
  return map;
}

function invalid(reason: string): CryptoError {
  return new CryptoError({ code: "crypto/public-key", reason });
}
