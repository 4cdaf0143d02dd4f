// Derived keys on secp256k1 as the ICP derives them: BIP32 without hardening, generalised to indices of
// any bytes, from a master key whose chain code is zero. Signatures: ECDSA over a given hash, and
// BIP340 over a message, perhaps with BIP341's tweak. Signing is deterministic, so that every holder
// of the key signs the same.

import { schnorr, secp256k1 } from "@noble/curves/secp256k1.js";
import { hmac } from "@noble/hashes/hmac.js";
import { sha512 } from "@noble/hashes/sha2.js";
import { concatBytes } from "gyrotron/base";
import { bytesOfScalar, scalarOf } from "./scalar.ts";

const { Point } = secp256k1;
const N = Point.Fn.ORDER;
/** Randomness that BIP340 mixes into a nonce to guard against faults; none, to be deterministic. */
const NO_RANDOMNESS = new Uint8Array(32);

/** A child key: its public key (33 bytes, SEC1), its chain code, and what was added to the secret. */
export interface Secp256k1Child {
  readonly publicKey: Uint8Array;
  readonly chainCode: Uint8Array;
  readonly tweak: bigint;
}

/** Public key (33 bytes) of a secret scalar. */
export function secp256k1PublicKey(secret: bigint): Uint8Array {
  return Point.BASE.multiply(secret).toBytes(true);
}

/** The key at a path below a master public key. */
export function deriveSecp256k1(
  masterPublicKey: Uint8Array,
  path: readonly Uint8Array[],
): Secp256k1Child {
  let point = Point.fromBytes(masterPublicKey);
  let chainCode: Uint8Array = new Uint8Array(32);
  let tweak = 0n;
  for (const index of path) {
    const step = childStep(index, point, chainCode);
    point = step.point;
    chainCode = step.chainCode;
    tweak = (tweak + step.offset) % N;
  }
  return { publicKey: point.toBytes(true), chainCode, tweak };
}

/** ECDSA over a hash of 32 bytes: r·s (64 bytes), nonce of RFC 6979, the lower s. */
export function signEcdsaHash(secret: bigint, hash: Uint8Array): Uint8Array {
  return secp256k1.sign(hash, bytesOfScalar(secret), { prehash: false, lowS: true });
}

/** Whether an ECDSA signature over a hash is valid. */
export function verifyEcdsaHash(
  publicKey: Uint8Array,
  hash: Uint8Array,
  signature: Uint8Array,
): boolean {
  try {
    return secp256k1.verify(signature, hash, publicKey, { prehash: false, lowS: false });
  } catch {
    return false;
  }
}

/** BIP340 over a message of any length; with a Merkle root (none or 32 bytes) by BIP341's tweaked key. */
export function signBip340(
  secret: bigint,
  message: Uint8Array,
  merkleRoot: Uint8Array | undefined,
): Uint8Array {
  const key = merkleRoot === undefined ? secret : tweakedSecret(secret, merkleRoot);
  return schnorr.sign(message, bytesOfScalar(key), NO_RANDOMNESS);
}

/** Whether a BIP340 signature is valid under a SEC1 key, perhaps tweaked. */
export function verifyBip340(
  publicKey: Uint8Array,
  message: Uint8Array,
  merkleRoot: Uint8Array | undefined,
  signature: Uint8Array,
): boolean {
  try {
    const even = schnorr.utils.lift_x(scalarOf(publicKey.subarray(1)));
    const key =
      merkleRoot === undefined
        ? even
        : even.add(Point.BASE.multiply(tweakOf(publicKey.subarray(1), merkleRoot)));
    return schnorr.verify(signature, message, schnorr.utils.pointToBytes(key));
  } catch {
    return false;
  }
}

function tweakedSecret(secret: bigint, merkleRoot: Uint8Array): bigint {
  const publicKey = secp256k1PublicKey(secret);
  const even = publicKey[0] === 2 ? secret : N - secret;
  return (even + tweakOf(publicKey.subarray(1), merkleRoot)) % N;
}

function tweakOf(x: Uint8Array, merkleRoot: Uint8Array): bigint {
  return scalarOf(schnorr.utils.taggedHash("TapTweak", x, merkleRoot)) % N;
}

function childStep(
  index: Uint8Array,
  parent: typeof Point.BASE,
  parentChainCode: Uint8Array,
): { point: typeof Point.BASE; chainCode: Uint8Array; offset: bigint } {
  let input = parent.toBytes(true);
  for (;;) {
    const { offset, chainCode } = childOffset(index, input, parentChainCode);
    const point = parent.add(offset === 0n ? Point.ZERO : Point.BASE.multiply(offset));
    if (!point.is0()) return { point, chainCode, offset };
    // What SLIP-0010 says of the case that nobody will ever see.
    input = concatBytes(Uint8Array.of(1), chainCode);
  }
}

function childOffset(
  index: Uint8Array,
  input: Uint8Array,
  parentChainCode: Uint8Array,
): { offset: bigint; chainCode: Uint8Array } {
  const output = hmac(sha512, parentChainCode, concatBytes(input, index));
  const chainCode = output.slice(32);
  const offset = scalarOf(output.subarray(0, 32));
  if (offset < N) return { offset, chainCode };
  return childOffset(index, concatBytes(Uint8Array.of(1), chainCode), parentChainCode);
}
