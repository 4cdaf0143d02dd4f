// Derived keys on Ed25519 as the ICP derives them: an additive tweak by HKDF-SHA512, from a master key
// whose chain code is zero. Secrets are scalars, not seeds: nothing is clamped.

import { ed25519 } from "@noble/curves/ed25519.js";
import { hkdf } from "@noble/hashes/hkdf.js";
import { sha512 } from "@noble/hashes/sha2.js";
import { concatBytes, utf8Bytes } from "gyrotron/base";
import { verifySignature } from "../signature.ts";
import { bytesOfScalar, scalarOf } from "./scalar.ts";

const { Point } = ed25519;
const L = Point.Fn.ORDER;
const INFO = utf8Bytes("Ed25519");
const NONCE_DOMAIN = utf8Bytes("gyrotron-ed25519-nonce");

/** A child key: its public key (32 bytes), its chain code, and what was added to the secret. */
export interface Ed25519Child {
  readonly publicKey: Uint8Array;
  readonly chainCode: Uint8Array;
  readonly tweak: bigint;
}

/** Public key (32 bytes) of a secret scalar. */
export function ed25519ScalarPublicKey(secret: bigint): Uint8Array {
  return Point.BASE.multiply(secret).toBytes();
}

/** The key at a path below a master public key. */
export function deriveEd25519(
  masterPublicKey: Uint8Array,
  path: readonly Uint8Array[],
): Ed25519Child {
  let point = Point.fromBytes(masterPublicKey);
  let chainCode: Uint8Array = new Uint8Array(32);
  let tweak = 0n;
  for (const index of path) {
    const material = hkdf(sha512, concatBytes(point.toBytes(), index), chainCode, INFO, 96);
    const offset = scalarOf(material.subarray(0, 64)) % L;
    if (offset !== 0n) point = point.add(Point.BASE.multiply(offset));
    chainCode = material.slice(64);
    tweak = (tweak + offset) % L;
  }
  return { publicKey: point.toBytes(), chainCode, tweak };
}

/** Ed25519 signature by a scalar; the nonce follows from scalar and message. */
export function signEd25519Scalar(secret: bigint, message: Uint8Array): Uint8Array {
  const publicKey = ed25519ScalarPublicKey(secret);
  const nonce = hashToScalar(NONCE_DOMAIN, bytesOfScalar(secret), message);
  const R = Point.BASE.multiply(nonce).toBytes();
  const s = (nonce + hashToScalar(R, publicKey, message) * secret) % L;
  return concatBytes(R, bytesOfScalar(s).toReversed());
}

/** Whether an Ed25519 signature is valid. */
export function verifyEd25519Raw(
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  return verifySignature({ scheme: "ed25519", bytes: publicKey }, message, signature);
}

/** SHA-512 as a little-endian number, reduced. */
function hashToScalar(...parts: Uint8Array[]): bigint {
  return scalarOf(sha512(concatBytes(...parts)).toReversed()) % L;
}
