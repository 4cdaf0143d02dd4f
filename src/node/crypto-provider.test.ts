// Goal: the node's primitives (OpenSSL, mcl) and the portable ones (noble) decide alike, so that nodes
// with either agree. Method: both answer the same valid, damaged and hostile inputs, behind the rules
// of gyrotron/crypto; the raw differences that those rules hide are pinned as well.

import { deepEqual, equal } from "node:assert/strict";
import { generateKeyPairSync, hash, sign } from "node:crypto";
import { before, test } from "node:test";
import { bls12_381 } from "@noble/curves/bls12-381.js";
import { ed25519 } from "@noble/curves/ed25519.js";
import { utf8Bytes } from "gyrotron/base";
import {
  blsSecretKeyFromUniform,
  type CryptoProvider,
  cryptoProvider,
  nobleProvider,
  type PublicKey,
  setCryptoProvider,
  sha256,
  verifySignature,
} from "gyrotron/crypto";
import { installNodeCrypto, opensslPrimitives } from "./crypto-provider.ts";

let native: CryptoProvider;
before(async () => {
  await installNodeCrypto();
  native = cryptoProvider();
});

const message = utf8Bytes("message");
const L = ed25519.Point.Fn.ORDER;

/** The verdict of verifySignature with each provider in turn; fails if they differ. */
function verdict(key: PublicKey, signed: Uint8Array, signature: Uint8Array, name: string): boolean {
  setCryptoProvider(nobleProvider);
  const portable = verifySignature(key, signed, signature);
  setCryptoProvider(native);
  equal(verifySignature(key, signed, signature), portable, `providers differ: ${name}`);
  return portable;
}

test("hashes and deterministic outputs are the same bytes", () => {
  for (const length of [0, 1, 55, 56, 63, 64, 65, 81, 1000, 16_384]) {
    const bytes = new Uint8Array(length).fill(length);
    deepEqual(native.sha256(bytes), nobleProvider.sha256(bytes));
    for (const { createSha256 } of [native, nobleProvider]) {
      const hash = createSha256();
      for (let at = 0; at < length; at += 50) hash.update(bytes.subarray(at, at + 50));
      const digest = hash.digest();
      deepEqual(digest, nobleProvider.sha256(bytes));
      equal(Object.getPrototypeOf(digest), Uint8Array.prototype);
    }
  }
  equal(Object.getPrototypeOf(sha256(message)), Uint8Array.prototype);
  equal(sha256(message).buffer.byteLength, 32);
  for (let i = 0; i < 5; i++) {
    const seed = new Uint8Array(32).fill(i);
    deepEqual(native.ed25519PublicKey(seed), nobleProvider.ed25519PublicKey(seed));
    deepEqual(native.signEd25519(seed, message), nobleProvider.signEd25519(seed, message));
    const secret = blsSecretKeyFromUniform(new Uint8Array(48).fill(i));
    const part = message.subarray(0, i);
    deepEqual(native.blsPublicKey(secret), nobleProvider.blsPublicKey(secret));
    deepEqual(native.signBls(secret, part), nobleProvider.signBls(secret, part));
  }
});

test("ed25519: valid, and damaged in every byte", () => {
  const seed = new Uint8Array(32).fill(9);
  const key: PublicKey = { scheme: "ed25519", bytes: nobleProvider.ed25519PublicKey(seed) };
  const signature = nobleProvider.signEd25519(seed, message);
  equal(verdict(key, message, signature, "valid"), true);
  equal(verdict(key, utf8Bytes("other"), signature, "other message"), false);
  for (let at = 0; at < 64; at += 3)
    equal(verdict(key, message, flipped(signature, at), `bit in ${at}`), false);
  for (let at = 0; at < 32; at += 3) {
    equal(
      verdict({ ...key, bytes: flipped(key.bytes, at) }, message, signature, `key bit in ${at}`),
      false,
    );
  }
  for (const length of [0, 63, 65])
    equal(verdict(key, message, new Uint8Array(length), `${length} bytes`), false);
});

test("ed25519: S of the group order and above is refused", () => {
  const seed = new Uint8Array(32).fill(9);
  const key: PublicKey = { scheme: "ed25519", bytes: nobleProvider.ed25519PublicKey(seed) };
  const signature = nobleProvider.signEd25519(seed, message);
  const s = littleEndian(signature.subarray(32));
  const malleable = Uint8Array.of(...signature.subarray(0, 32), ...littleEndianBytes(s + L));
  equal(verdict(key, message, malleable, "S + L"), false);
});

test("ed25519: keys and R of small order and not canonical are refused", () => {
  const { Point } = ed25519;
  const torsion = Point.fromHex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05");
  let point = Point.ZERO;
  const encodings: Uint8Array[] = [];
  for (let i = 0; i < 8; i++) {
    encodings.push(point.toBytes());
    point = point.add(torsion);
  }
  equal(new Set(encodings.map((bytes) => bytes.toHex())).size, 8);
  const P = 2n ** 255n - 19n;
  for (const y of [P, P + 1n, P + 2n, P + 18n]) {
    encodings.push(littleEndianBytes(y), littleEndianBytes(y + 2n ** 255n));
  }
  // y = 1 and y = -1 with the sign bit of a zero x
  encodings.push(littleEndianBytes(1n + 2n ** 255n), littleEndianBytes(P - 1n + 2n ** 255n));
  for (const bytes of encodings) {
    // With A of small order, R = identity or A and S = 0 would satisfy an equation for many messages.
    for (const R of encodings) {
      const signature = Uint8Array.of(...R, ...new Uint8Array(32));
      const name = `A ${bytes.toHex()} R ${R.toHex()}`;
      equal(verdict({ scheme: "ed25519", bytes }, message, signature, name), false);
    }
  }
});

test("ed25519: a torsion component is judged without the cofactor, by both", () => {
  // A = aB + T and R = rB with S = r + k·a: the equation holds only after multiplying by 8.
  const { Point } = ed25519;
  const torsion = Point.fromHex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05");
  const a = 12_345n;
  const r = 67_890n;
  const keyBytes = Point.BASE.multiply(a).add(torsion).toBytes();
  const verdicts: boolean[] = [];
  let cofactored = 0;
  for (let i = 0; i < 24; i++) {
    const signed = Uint8Array.of(i);
    const R = Point.BASE.multiply(r + BigInt(i)).toBytes();
    const k = littleEndian(sha512(R, keyBytes, signed)) % L;
    const signature = Uint8Array.of(...R, ...littleEndianBytes((r + BigInt(i) + k * a) % L));
    verdicts.push(
      verdict({ scheme: "ed25519", bytes: keyBytes }, signed, signature, `mixed order ${i}`),
    );
    if (ed25519.verify(signature, signed, keyBytes, { zip215: true })) cofactored++;
    // Without the cofactor it holds exactly where k·T vanishes.
    equal(verdicts.at(-1), k % 8n === 0n);
  }
  equal(cofactored, 24, "noble's own verify would accept all");
  equal(verdicts.includes(false), true);
});

for (const [scheme, curve] of [
  ["ecdsa-secp256k1", "secp256k1"],
  ["ecdsa-p256", "prime256v1"],
] as const) {
  test(`${scheme}: valid, high s, damaged and hostile`, () => {
    const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: curve });
    const bytes = new Uint8Array(publicKey.export({ format: "der", type: "spki" })).slice(-65);
    const key: PublicKey = { scheme, bytes };
    const order =
      scheme === "ecdsa-p256"
        ? 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
        : 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
    const signature = new Uint8Array(
      sign("sha256", message, { key: privateKey, dsaEncoding: "ieee-p1363" }),
    );
    const s = BigInt(`0x${signature.subarray(32).toHex()}`);
    const r = signature.subarray(0, 32);
    const withS = (value: bigint): Uint8Array => Uint8Array.of(...r, ...bigEndianBytes(value));
    equal(verdict(key, message, signature, "valid"), true);
    equal(verdict(key, message, withS(order - s), "the other half of s"), true);
    equal(verdict(key, utf8Bytes("other"), signature, "other message"), false);
    for (const value of [0n, order, 2n ** 256n - 1n])
      equal(verdict(key, message, withS(value), `s ${value}`), false);
    if (s + order < 2n ** 256n) equal(verdict(key, message, withS(s + order), "s + n"), false);
    const zeroR = Uint8Array.of(...new Uint8Array(32), ...signature.subarray(32));
    equal(verdict(key, message, zeroR, "r 0"), false);
    equal(
      verdict(
        key,
        message,
        Uint8Array.of(...bigEndianBytes(order), ...signature.subarray(32)),
        "r n",
      ),
      false,
    );
    for (let at = 0; at < 64; at += 5)
      equal(verdict(key, message, flipped(signature, at), `bit in ${at}`), false);
    for (let at = 0; at < 65; at += 5) {
      equal(
        verdict({ scheme, bytes: flipped(bytes, at) }, message, signature, `key bit in ${at}`),
        false,
      );
    }
    for (const fill of [0, 255]) {
      const off = Uint8Array.of(4, ...new Uint8Array(64).fill(fill));
      equal(verdict({ scheme, bytes: off }, message, signature, "key off the curve"), false);
    }
    const compressed = Uint8Array.of(2 + (bytes[64]! & 1), ...bytes.subarray(1, 33));
    equal(verdict({ scheme, bytes: compressed }, message, signature, "compressed key"), false);
    equal(verdict(key, message, signature.subarray(1), "63 bytes"), false);
  });
}

test("bls: valid, damaged, off the curve, outside the subgroup, at infinity", () => {
  const secret = blsSecretKeyFromUniform(new Uint8Array(48).fill(3));
  const key: PublicKey = { scheme: "bls12-381", bytes: native.blsPublicKey(secret) };
  const signature = native.signBls(secret, message);
  equal(verdict(key, message, signature, "valid"), true);
  equal(verdict(key, utf8Bytes("other"), signature, "other message"), false);
  for (const at of [0, 1, 20, 47])
    equal(verdict(key, message, flipped(signature, at), `byte ${at}`), false);
  for (const at of [0, 1, 60, 95]) {
    equal(
      verdict({ ...key, bytes: flipped(key.bytes, at) }, message, signature, `key byte ${at}`),
      false,
    );
  }
  const infinity = (length: number): Uint8Array =>
    Uint8Array.of(0xc0, ...new Uint8Array(length - 1));
  equal(verdict(key, message, infinity(48), "signature at infinity"), false);
  equal(verdict({ ...key, bytes: infinity(96) }, message, signature, "key at infinity"), false);
  equal(verdict({ ...key, bytes: infinity(96) }, message, infinity(48), "both at infinity"), false);
  const unreduced = Uint8Array.of(0x9f, ...new Uint8Array(47).fill(255));
  equal(verdict(key, message, unreduced, "coordinate above the field"), false);
  equal(verdict(key, message, outsideSubgroup(), "point outside the subgroup"), false);
  equal(verdict(key, message, new Uint8Array(48), "no compression flag"), false);
});

test("the raw primitives differ where the rules of crypto refuse first", () => {
  // The bare equation takes the identity as a key: S = 0 and R = identity then verify for any message.
  // OpenSSL 3.5 refuses such keys itself; older ones do not.
  const identity = littleEndianBytes(1n);
  const forged = Uint8Array.of(...identity, ...new Uint8Array(32));
  equal(nobleProvider.verifyEd25519(identity, message, forged), true);
  equal(opensslPrimitives.verifyEd25519(identity, message, forged), false);
  equal(verdict({ scheme: "ed25519", bytes: identity }, message, forged, "identity"), false);
});

/** A point of the curve that is not in G1: nearly all points are not, so the first x that has a y. */
function outsideSubgroup(): Uint8Array {
  const { Fp } = bls12_381.fields;
  const x = [1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n].find((candidate) => {
    const square = candidate ** 3n + 4n;
    return Fp.pow(square, (Fp.ORDER - 1n) / 2n) === 1n;
  });
  equal(x !== undefined, true);
  return Uint8Array.of(0x80, ...new Uint8Array(46), Number(x));
}

function sha512(...parts: Uint8Array[]): Uint8Array {
  return new Uint8Array(
    hash("sha512", Uint8Array.from(parts.flatMap((part) => [...part])), "buffer"),
  );
}

function flipped(bytes: Uint8Array, at: number): Uint8Array {
  const copy = bytes.slice();
  copy[at] = copy[at]! ^ 4;
  return copy;
}

function littleEndian(bytes: Uint8Array): bigint {
  return BigInt(`0x${bytes.slice().reverse().toHex()}`);
}

function littleEndianBytes(value: bigint): Uint8Array {
  return bigEndianBytes(value).reverse();
}

function bigEndianBytes(value: bigint): Uint8Array {
  return Uint8Array.fromHex(value.toString(16).padStart(64, "0"));
}
