// What a valid signature is, for every scheme and on every node alike. The provider only does the
// arithmetic; whatever two good libraries might disagree on is decided here, before it.

import { assert, concatBytes, equalBytes, parseHex, present } from "gyrotron/base";
import { CryptoError } from "./error.ts";
import type { PlainKey } from "./cose.ts";
import { encodePublicKey } from "./public-key.ts";
import { backgroundCrypto, cryptoProvider } from "./provider.ts";
import { verifyRsaSha256 } from "./rsa.ts";

/**
 * Whether `signature` is one by `key` over `message`. Never throws on malformed input.
 * Ed25519: canonical key of large order, canonical R and S, equation without cofactor.
 * ECDSA: SHA-256, r·s of 64 bytes, high s accepted. BLS: 48 bytes in G1, message unhashed.
 * RSA: PKCS #1 v1.5 with SHA-256.
 */
export function verifySignature(
  key: PlainKey,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  const provider = cryptoProvider();
  switch (key.scheme) {
    case "ed25519":
      return (
        isEd25519Shape(key.bytes, signature) &&
        provider.verifyEd25519(key.bytes, message, signature)
      );
    case "ecdsa-secp256k1":
      return (
        isEcdsaShape(key.bytes, signature) &&
        provider.verifyEcdsaSecp256k1(key.bytes, message, signature)
      );
    case "ecdsa-p256":
      return (
        isEcdsaShape(key.bytes, signature) &&
        provider.verifyEcdsaP256(key.bytes, message, signature)
      );
    case "bls12-381":
      return verifyBls(key.bytes, message, signature);
    case "rsa-sha256":
      return verifyRsaSha256(key, message, signature);
  }
}

/** As verifySignature, off the calling thread where the scheme allows. */
export async function verifySignatureInBackground(
  key: PlainKey,
  message: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  if (key.scheme !== "ed25519") return verifySignature(key, message, signature);
  if (!isEd25519Shape(key.bytes, signature)) return false;
  return backgroundCrypto().verifyEd25519(key.bytes, message, signature);
}

/** As signEd25519, off the calling thread. */
export function signEd25519InBackground(
  seed: Uint8Array,
  message: Uint8Array,
): Promise<Uint8Array> {
  return backgroundCrypto().signEd25519(seed, message);
}

/** Whether a BLS signature (48 bytes) by a key in G2 (96 bytes) is valid. */
export function verifyBls(
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  if (publicKey.length !== 96 || signature.length !== 48) return false;
  return cryptoProvider().verifyBls(publicKey, message, signature);
}

/** BLS signature (48 bytes) by a 32-byte big-endian scalar. */
export function signBls(secretKey: Uint8Array, message: Uint8Array): Uint8Array {
  return cryptoProvider().signBls(secretKey, message);
}

/** DER public key (133 bytes) of a BLS secret key. @throws CryptoError `crypto/secret-key` unless 0 < key < order */
export function blsPublicKeyDer(secretKey: Uint8Array): Uint8Array {
  if (secretKey.length !== 32 || !isBlsScalar(secretKey)) {
    throw new CryptoError({
      code: "crypto/secret-key",
      reason: "not a BLS12-381 scalar of 32 bytes",
    });
  }
  return encodePublicKey({ scheme: "bls12-381", bytes: cryptoProvider().blsPublicKey(secretKey) });
}

/** A BLS secret key from 48 or more uniform bytes. */
export function blsSecretKeyFromUniform(bytes: Uint8Array): Uint8Array {
  assert(bytes.length >= 48, "too few bytes for a uniform scalar");
  let value = 0n;
  for (const byte of bytes) value = (value << 8n) | BigInt(byte);
  const scalar = (value % (BLS_ORDER - 1n)) + 1n;
  return present(parseHex(scalar.toString(16).padStart(64, "0")));
}

/** Ed25519 signature (64 bytes) by a 32-byte seed. */
export function signEd25519(seed: Uint8Array, message: Uint8Array): Uint8Array {
  return cryptoProvider().signEd25519(seed, message);
}

/** DER public key (44 bytes) of an Ed25519 seed. @throws CryptoError `crypto/secret-key` unless 32 bytes */
export function ed25519PublicKeyDer(seed: Uint8Array): Uint8Array {
  if (seed.length !== 32)
    throw new CryptoError({ code: "crypto/secret-key", reason: "an Ed25519 seed has 32 bytes" });
  return encodePublicKey({ scheme: "ed25519", bytes: cryptoProvider().ed25519PublicKey(seed) });
}

const BLS_ORDER = 0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001n;
const ED25519_ORDER = littleEndianBytes(2n ** 252n + 27742317777372353535851937790883648493n);
const ED25519_FIELD = littleEndianBytes(2n ** 255n - 19n);

/** y coordinates of the eight points whose order divides 8; the sign bit does not matter here. */
const ED25519_SMALL_ORDER: readonly Uint8Array[] = [
  littleEndianBytes(0n),
  littleEndianBytes(1n),
  littleEndianBytes(2n ** 255n - 20n),
  hex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
  hex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
];

function isEd25519Shape(key: Uint8Array, signature: Uint8Array): boolean {
  if (key.length !== 32 || signature.length !== 64) return false;
  const y = withoutSign(key);
  if (!isLittleEndianBelow(y, ED25519_FIELD)) return false;
  if (ED25519_SMALL_ORDER.some((small) => equalBytes(y, small))) return false;
  const r = withoutSign(signature.subarray(0, 32));
  return (
    isLittleEndianBelow(r, ED25519_FIELD) &&
    isLittleEndianBelow(signature.subarray(32), ED25519_ORDER)
  );
}

function isEcdsaShape(key: Uint8Array, signature: Uint8Array): boolean {
  return key.length === 65 && key[0] === 4 && signature.length === 64;
}

function isBlsScalar(bytes: Uint8Array): boolean {
  const value = BigInt(`0x${bytes.toHex()}`);
  return value > 0n && value < BLS_ORDER;
}

function withoutSign(point: Uint8Array): Uint8Array {
  const y = concatBytes(point);
  y[31] = y[31]! & 0x7f;
  return y;
}

function isLittleEndianBelow(value: Uint8Array, bound: Uint8Array): boolean {
  for (let i = 31; i >= 0; i--) if (value[i] !== bound[i]) return value[i]! < bound[i]!;
  return false;
}

function littleEndianBytes(value: bigint): Uint8Array {
  return hex(value.toString(16).padStart(64, "0")).toReversed();
}

function hex(text: string): Uint8Array {
  return present(parseHex(text));
}
