// Where the primitives come from. The portable default is noble; the node injects faster
// implementations that decide exactly the same (tests compare them). This file owns the choice,
// not the rules of validity: those are in ed25519.ts, ecdsa.ts and bls.ts.

import { bls12_381 } from "@noble/curves/bls12-381.js";
import { ed25519 } from "@noble/curves/ed25519.js";
import { p256 } from "@noble/curves/nist.js";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { sha512 } from "@noble/hashes/sha2.js";
import { concatBytes, equalBytes } from "gyrotron/base";
import { type HashProvider, nobleHashes, setHashProvider } from "gyrotron/hash";

/** Primitives over raw bytes. Verifiers answer `false` for anything malformed and never throw. */
export interface CryptoProvider extends HashProvider {
  /** Equation of RFC 8032 without the cofactor; key and signature were checked to be canonical. */
  verifyEd25519(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean;
  /** Public key (32 bytes) of a 32-byte seed. */
  ed25519PublicKey(seed: Uint8Array): Uint8Array;
  /** Deterministic signature (64 bytes) of RFC 8032 by a 32-byte seed. */
  signEd25519(seed: Uint8Array, message: Uint8Array): Uint8Array;
  /** SHA-256 ECDSA; uncompressed point of 65 bytes, signature r·s, either half of s. */
  verifyEcdsaSecp256k1(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean;
  /** SHA-256 ECDSA; uncompressed point of 65 bytes, signature r·s, either half of s. */
  verifyEcdsaP256(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean;
  /** BLS12-381 public key in G2 (96 bytes) of a 32-byte big-endian scalar below the group order. */
  blsPublicKey(secretKey: Uint8Array): Uint8Array;
  /** BLS12-381 signature in G1 (48 bytes). */
  signBls(secretKey: Uint8Array, message: Uint8Array): Uint8Array;
  /** Subgroup checks included; the point at infinity is refused on either side. */
  verifyBls(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean;
}

/** The same primitives off the calling thread, where the host has a way. */
export interface BackgroundCrypto {
  verifyEd25519(
    publicKey: Uint8Array,
    message: Uint8Array,
    signature: Uint8Array,
  ): Promise<boolean>;
  signEd25519(seed: Uint8Array, message: Uint8Array): Promise<Uint8Array>;
}

/** Hash-to-curve domain of the ICP's BLS signatures. */
export const BLS_DST = "BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_";

const bls = bls12_381.shortSignatures;
const ecdsaOptions = { lowS: false, prehash: true, format: "compact" } as const;

/** The portable implementation, by noble. */
export const nobleProvider: CryptoProvider = {
  ...nobleHashes,
  verifyEd25519(publicKey, message, signature) {
    return orFalse(() => {
      // R = S·B - H(R, A, M)·A, compared as bytes: what OpenSSL computes too. noble's own verify
      // multiplies by the cofactor, which accepts more.
      const { Point } = ed25519;
      const R = signature.subarray(0, 32);
      const key = Point.fromBytes(publicKey);
      const s = littleEndian(signature.subarray(32));
      if (s >= Point.Fn.ORDER) return false;
      const k = littleEndian(sha512(concatBytes(R, publicKey, message))) % Point.Fn.ORDER;
      const sum = timesUnsafe(Point.BASE, s).add(timesUnsafe(key.negate(), k));
      return equalBytes(sum.toBytes(), R);
    });
  },
  ed25519PublicKey: (seed) => ed25519.getPublicKey(seed),
  signEd25519: (seed, message) => ed25519.sign(message, seed),
  verifyEcdsaSecp256k1: (key, message, signature) =>
    orFalse(() => secp256k1.verify(signature, message, key, ecdsaOptions)),
  verifyEcdsaP256: (key, message, signature) =>
    orFalse(() => p256.verify(signature, message, key, ecdsaOptions)),
  blsPublicKey: (secretKey) => bls.getPublicKey(secretKey).toBytes(),
  signBls: (secretKey, message) =>
    bls.Signature.toBytes(bls.sign(bls.hash(message, BLS_DST), secretKey)),
  verifyBls: (key, message, signature) =>
    orFalse(() => bls.verify(signature, bls.hash(message, BLS_DST), key)),
};

let current: CryptoProvider = nobleProvider;

/** The primitives in use. */
export function cryptoProvider(): CryptoProvider {
  return current;
}

/** Replaces some primitives for this thread; called once at start, before any other use. */
export function setCryptoProvider(primitives: Partial<CryptoProvider>): void {
  current = { ...current, ...primitives };
  setHashProvider(current);
}

let background: BackgroundCrypto = {
  verifyEd25519: async (key, message, signature) => current.verifyEd25519(key, message, signature),
  signEd25519: async (seed, message) => current.signEd25519(seed, message),
};

/** Primitives whose answers may come later. */
export function backgroundCrypto(): BackgroundCrypto {
  return background;
}

/** Replaces the background primitives, which otherwise run at once on the calling thread. */
export function setBackgroundCrypto(primitives: BackgroundCrypto): void {
  background = primitives;
}

type EdwardsPoint = InstanceType<typeof ed25519.Point>;

/** Scalar multiplication in variable time, zero included: verification handles no secret. */
function timesUnsafe(point: EdwardsPoint, scalar: bigint): EdwardsPoint {
  return scalar === 0n ? ed25519.Point.ZERO : point.multiplyUnsafe(scalar);
}

function littleEndian(bytes: Uint8Array): bigint {
  let value = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i]!);
  return value;
}

/** noble throws on malformed points and scalars; to a verifier those are invalid signatures. */
function orFalse(verify: () => boolean): boolean {
  try {
    return verify();
  } catch {
    return false;
  }
}
