// Verifiably encrypted derived keys (vetKD) on BLS12-381 as the ICP defines them: keys of canisters and
// contexts, and the encryption of a derived key to a transport key. Keys in G2, signatures in G1.

import { hash_to_field } from "@noble/curves/abstract/hash-to-curve.js";
import { bls12_381 } from "@noble/curves/bls12-381.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { assert, concatBytes, u64BigEndian, utf8Bytes } from "gyrotron/base";
import { bytesOfScalar } from "./scalar.ts";

const G1 = bls12_381.G1.Point;
const G2 = bls12_381.G2.Point;
const { Fp12 } = bls12_381.fields;
const ORDER = G1.Fn.ORDER;
const DST_CANISTER = "ic-vetkd-bls12-381-g2-canister-id";
const DST_CONTEXT = "ic-vetkd-bls12-381-g2-context";
const DST_ENCRYPTION = "gyrotron-vetkd-encryption";
const DST_MESSAGE = "BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_AUG_";

/** Bytes of a transport key, and of an encrypted key (G1, G2, G1). */
export const TRANSPORT_KEY_BYTES = 48;
export const ENCRYPTED_KEY_BYTES = 192;

/** A canister's key for a context: 96 bytes in G2, and what was added to the secret. */
export interface VetkdChild {
  readonly publicKey: Uint8Array;
  readonly tweak: bigint;
}

/** Public key (96 bytes) of a secret scalar. */
export function vetkdPublicKey(secret: bigint): Uint8Array {
  return G2.BASE.multiply(secret).toBytes();
}

/** The key of a canister, and of a context if that is not empty. */
export function deriveVetkd(
  masterPublicKey: Uint8Array,
  canisterId: Uint8Array,
  context: Uint8Array,
): VetkdChild {
  const master = G2.fromBytes(masterPublicKey);
  const canisterOffset = hashToScalar(DST_CANISTER, masterPublicKey, canisterId);
  const canisterKey = master.add(G2.BASE.multiply(canisterOffset));
  if (context.length === 0) return { publicKey: canisterKey.toBytes(), tweak: canisterOffset };
  const contextOffset = hashToScalar(DST_CONTEXT, canisterKey.toBytes(), context);
  const publicKey = canisterKey.add(G2.BASE.multiply(contextOffset)).toBytes();
  return { publicKey, tweak: (canisterOffset + contextOffset) % ORDER };
}

/** Whether bytes are a point of G1 other than infinity. */
export function isTransportKey(bytes: Uint8Array): boolean {
  return bytes.length === TRANSPORT_KEY_BYTES && pointOfG1(bytes) !== undefined;
}

/**
 * The derived key of `input` encrypted to a valid transport key. Its randomness follows from secret
 * and request, so that every holder of the key makes the same.
 */
export function encryptDerivedKey(
  secret: bigint,
  input: Uint8Array,
  transportKey: Uint8Array,
): Uint8Array {
  const transport = pointOfG1(transportKey);
  assert(transport !== undefined, "the transport key has been checked");
  const publicKey = vetkdPublicKey(secret);
  const r = hashToScalar(DST_ENCRYPTION, bytesOfScalar(secret), input, transportKey);
  const derived = messagePoint(publicKey, input).multiply(secret);
  return concatBytes(
    G1.BASE.multiply(r).toBytes(),
    G2.BASE.multiply(r).toBytes(),
    transport.multiply(r).add(derived).toBytes(),
  );
}

/** Whether `encrypted` is the derived key of `input`, encrypted to the transport key. */
export function verifyEncryptedKey(
  publicKey: Uint8Array,
  input: Uint8Array,
  transportKey: Uint8Array,
  encrypted: Uint8Array,
): boolean {
  if (encrypted.length !== ENCRYPTED_KEY_BYTES) return false;
  const c1 = pointOfG1(encrypted.subarray(0, 48));
  const c2 = pointOfG2(encrypted.subarray(48, 144));
  const c3 = pointOfG1(encrypted.subarray(144));
  const key = pointOfG2(publicKey);
  const transport = pointOfG1(transportKey);
  if (!c1 || !c2 || !c3 || !key || !transport) return false;
  // e(c1, g2) = e(g1, c2), and e(c3, g2) = e(transport, c2) · e(H(key, input), key).
  return (
    isOne([
      [c1, G2.BASE],
      [G1.BASE.negate(), c2],
    ]) &&
    isOne([
      [c3.negate(), G2.BASE],
      [transport, c2],
      [messagePoint(publicKey, input), key],
    ])
  );
}

type PointG1 = typeof G1.BASE;
type PointG2 = typeof G2.BASE;

function messagePoint(publicKey: Uint8Array, input: Uint8Array): PointG1 {
  const hashed = bls12_381.G1.hashToCurve(concatBytes(publicKey, input), { DST: DST_MESSAGE });
  return G1.fromAffine(hashed.toAffine());
}

function isOne(pairs: readonly (readonly [PointG1, PointG2])[]): boolean {
  const product = bls12_381.pairingBatch(pairs.map(([g1, g2]) => ({ g1, g2 })));
  return Fp12.eql(product, Fp12.ONE);
}

/** One input as it is, several each with its length in front. */
function hashToScalar(dst: string, ...inputs: Uint8Array[]): bigint {
  const message = concatBytes(
    ...inputs.flatMap((input) => [u64BigEndian(BigInt(input.length)), input]),
  );
  const options = {
    p: ORDER,
    m: 1,
    k: 128,
    expand: "xmd",
    hash: sha256,
    DST: utf8Bytes(dst),
  } as const;
  const scalar = hash_to_field(message, 1, options)[0]?.[0];
  assert(scalar !== undefined && scalar > 0n, "a hash is a scalar");
  return scalar;
}

function pointOfG1(bytes: Uint8Array): PointG1 | undefined {
  try {
    const point = G1.fromBytes(bytes);
    point.assertValidity();
    return point.is0() || !point.isTorsionFree() ? undefined : point;
  } catch {
    return undefined;
  }
}

function pointOfG2(bytes: Uint8Array): PointG2 | undefined {
  try {
    const point = G2.fromBytes(bytes);
    point.assertValidity();
    return point.is0() || !point.isTorsionFree() ? undefined : point;
  } catch {
    return undefined;
  }
}
