// The keys that canisters sign with: from the network's seed to master keys, from those to the key of a
// canister and path, signing, and checking what was signed. Secrets come in and none goes out but as
// signatures; the checking half needs public keys only and is what replicas run.

import { bls12_381 } from "@noble/curves/bls12-381.js";
import { ed25519 } from "@noble/curves/ed25519.js";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { hkdf } from "@noble/hashes/hkdf.js";
import { sha512 } from "@noble/hashes/sha2.js";
import { EMPTY_BYTES, utf8Bytes } from "gyrotron/base";
import {
  deriveEd25519,
  ed25519ScalarPublicKey,
  signEd25519Scalar,
  verifyEd25519Raw,
} from "./ed25519-key.ts";
import { scalarOf } from "./scalar.ts";
import {
  deriveSecp256k1,
  secp256k1PublicKey,
  signBip340,
  signEcdsaHash,
  verifyBip340,
  verifyEcdsaHash,
} from "./secp256k1-key.ts";
import { deriveVetkd, encryptDerivedKey, verifyEncryptedKey, vetkdPublicKey } from "./vetkd-key.ts";

/** What a master key is for. */
export type ThresholdScheme = "ecdsa" | "bip340" | "ed25519" | "vetkd";

/** What a canister wants to have signed or derived. */
export interface ThresholdRequest {
  readonly scheme: ThresholdScheme;
  readonly canisterId: Uint8Array;
  /** Below the canister; of vetKD, the context alone. */
  readonly path: readonly Uint8Array[];
  /** A hash of 32 bytes (ECDSA), a message, or the input of vetKD. */
  readonly message: Uint8Array;
  /** BIP341's Merkle root (BIP340 only), or the transport key (vetKD). */
  readonly extra: Uint8Array | undefined;
}

/** A canister's public key; the chain code is empty for vetKD. */
export interface DerivedKey {
  readonly publicKey: Uint8Array;
  readonly chainCode: Uint8Array;
}

const ORDER: Readonly<Record<ThresholdScheme, bigint>> = {
  ecdsa: secp256k1.Point.Fn.ORDER,
  bip340: secp256k1.Point.Fn.ORDER,
  ed25519: ed25519.Point.Fn.ORDER,
  vetkd: bls12_381.G1.Point.Fn.ORDER,
};

/** Public master key of one scheme and name, from the network's seed. */
export function thresholdMasterKey(
  seed: Uint8Array,
  scheme: ThresholdScheme,
  name: string,
): Uint8Array {
  const secret = masterSecret(seed, scheme, name);
  if (scheme === "vetkd") return vetkdPublicKey(secret);
  return scheme === "ed25519" ? ed25519ScalarPublicKey(secret) : secp256k1PublicKey(secret);
}

/** The public key of a canister and path. */
export function deriveThresholdKey(
  masterKey: Uint8Array,
  { scheme, canisterId, path }: Pick<ThresholdRequest, "scheme" | "canisterId" | "path">,
): DerivedKey {
  const { publicKey, chainCode } = derive(masterKey, scheme, canisterId, path);
  return { publicKey, chainCode };
}

/** Signature, or encrypted key, of a valid request: always the same for the same one. */
export function signThreshold(
  seed: Uint8Array,
  name: string,
  request: ThresholdRequest,
): Uint8Array {
  const { scheme, canisterId, path, message, extra } = request;
  const masterKey = thresholdMasterKey(seed, scheme, name);
  const { tweak } = derive(masterKey, scheme, canisterId, path);
  const secret = (masterSecret(seed, scheme, name) + tweak) % ORDER[scheme];
  switch (scheme) {
    case "ecdsa":
      return signEcdsaHash(secret, message);
    case "bip340":
      return signBip340(secret, message, extra);
    case "ed25519":
      return signEd25519Scalar(secret, message);
    case "vetkd":
      return encryptDerivedKey(secret, message, extra ?? EMPTY_BYTES);
  }
}

/** Whether `result` is what the request asks for, by the key below `masterKey`. Never throws on any result. */
export function verifyThreshold(
  masterKey: Uint8Array,
  request: ThresholdRequest,
  result: Uint8Array,
): boolean {
  const { message, extra } = request;
  const { publicKey } = deriveThresholdKey(masterKey, request);
  switch (request.scheme) {
    case "ecdsa":
      return verifyEcdsaHash(publicKey, message, result);
    case "bip340":
      return verifyBip340(publicKey, message, extra, result);
    case "ed25519":
      return verifyEd25519Raw(publicKey, message, result);
    case "vetkd":
      return verifyEncryptedKey(publicKey, message, extra ?? EMPTY_BYTES, result);
  }
}

function derive(
  masterKey: Uint8Array,
  scheme: ThresholdScheme,
  canisterId: Uint8Array,
  path: readonly Uint8Array[],
): DerivedKey & { readonly tweak: bigint } {
  if (scheme === "vetkd") {
    const child = deriveVetkd(masterKey, canisterId, path[0] ?? EMPTY_BYTES);
    return { ...child, chainCode: EMPTY_BYTES };
  }
  const whole = [canisterId, ...path];
  return scheme === "ed25519" ? deriveEd25519(masterKey, whole) : deriveSecp256k1(masterKey, whole);
}

function masterSecret(seed: Uint8Array, scheme: ThresholdScheme, name: string): bigint {
  const info = utf8Bytes(`gyrotron-threshold-key ${scheme} ${name}`);
  const uniform = hkdf(sha512, seed, undefined, info, 64);
  return (scalarOf(uniform) % (ORDER[scheme] - 1n)) + 1n;
}
