// DER keys: the encodings that clients make are read, everything else is refused with its reason.

import { deepEqual, equal, throws } from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { test } from "node:test";
import { Ed25519KeyIdentity } from "@icp-sdk/core/identity";
import { Secp256k1KeyIdentity } from "@icp-sdk/core/identity/secp256k1";
import {
  blsPublicKeyDer,
  blsSecretKeyFromUniform,
  CryptoError,
  ed25519PublicKeyDer,
  encodePublicKey,
  parsePublicKey,
} from "./index.ts";

function reasonOf(der: Uint8Array): string {
  try {
    parsePublicKey(der);
    return "accepted";
  } catch (error) {
    if (error instanceof CryptoError && error.info.code === "crypto/public-key")
      return error.info.reason;
    throw error;
  }
}

test("keys of the SDK and of OpenSSL are read and written back", () => {
  const seed = new Uint8Array(32).fill(5);
  const ders: [string, Uint8Array][] = [
    ["ed25519", new Uint8Array(Ed25519KeyIdentity.generate(seed).getPublicKey().toDer())],
    [
      "ecdsa-secp256k1",
      new Uint8Array(Secp256k1KeyIdentity.fromSecretKey(seed).getPublicKey().toDer()),
    ],
    ["ecdsa-p256", openSslKey("prime256v1")],
    ["ecdsa-secp256k1", openSslKey("secp256k1")],
    ["bls12-381", blsPublicKeyDer(blsSecretKeyFromUniform(new Uint8Array(48).fill(1)))],
  ];
  for (const [scheme, der] of ders) {
    const key = parsePublicKey(der);
    equal(key.scheme, scheme);
    deepEqual(encodePublicKey(key), der);
  }
  deepEqual(ders[0]![1], ed25519PublicKeyDer(seed));
});

test("RSA keys are named, and only known inside of WebAuthn", () => {
  const { publicKey } = generateKeyPairSync("rsa", { modulusLength: 1024 });
  equal(
    reasonOf(new Uint8Array(publicKey.export({ format: "der", type: "spki" }))),
    "unsupported scheme RSA",
  );
});

test("malformed keys are refused", () => {
  const good = ed25519PublicKeyDer(new Uint8Array(32));
  const inputs = [
    new Uint8Array(0),
    good.subarray(1),
    good.slice(0, 43),
    Uint8Array.of(...good, 0),
    Uint8Array.of(0x30),
    Uint8Array.of(0x30, 0x82),
  ];
  for (const der of inputs) equal(reasonOf(der), "unsupported or malformed DER key");
  const point = openSslKey("secp256k1");
  point[23] = 2; // an uncompressed point begins with 4
  equal(reasonOf(point), "ECDSA key is not an uncompressed point");
});

test("raw keys of a wrong length are refused", () => {
  throws(() => encodePublicKey({ scheme: "ed25519", bytes: new Uint8Array(31) }), CryptoError);
  throws(() => ed25519PublicKeyDer(new Uint8Array(31)), CryptoError);
  throws(() => blsPublicKeyDer(new Uint8Array(32)), CryptoError);
  throws(() => blsPublicKeyDer(new Uint8Array(32).fill(255)), CryptoError);
});

function openSslKey(namedCurve: string): Uint8Array {
  const { publicKey } = generateKeyPairSync("ec", { namedCurve });
  return new Uint8Array(publicKey.export({ format: "der", type: "spki" }));
}
