// The node's primitives: OpenSSL for hashes, Ed25519 and ECDSA, mcl (Wasm) for BLS. They decide
// exactly as the portable ones do, which the test beside this file checks on hostile vectors; where
// they could differ, gyrotron/crypto has already refused the input.

import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { expand_message_xmd as expandMessageXmd } from "@noble/curves/abstract/hash-to-curve.js";
import { sha256 as nobleSha256 } from "@noble/hashes/sha2.js";
import { concatBytes, utf8Bytes } from "gyrotron/base";
import {
  type BackgroundCrypto,
  BLS_DST,
  type CryptoProvider,
  encodePublicKey,
  type KeyScheme,
  setBackgroundCrypto,
  setCryptoProvider,
} from "gyrotron/crypto";
import mcl from "mcl-wasm";
import { opensslHashes } from "./hash-provider.ts";

/** Makes OpenSSL and mcl the primitives of this thread. Each worker calls it once at start. */
export async function installNodeCrypto(): Promise<void> {
  await mcl.init(mcl.BLS12_381);
  mcl.setETHserialization(true);
  mcl.setMapToMode(mcl.IRTF);
  mcl.verifyOrderG1(true);
  mcl.verifyOrderG2(true);
  setCryptoProvider({ ...opensslPrimitives, ...createMclPrimitives() });
  setBackgroundCrypto(threadPoolPrimitives);
}

const DIGEST_BYTES = 32;
/** Compressed; as bytes, since noble would check its order first, for a fifth of a second. */
const G2_GENERATOR = Uint8Array.fromHex(
  "93e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e" +
    "024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8",
);
const KEY_CACHE_ENTRIES_MAX = 2048;
const ED25519_PRIVATE_PREFIX = Uint8Array.fromHex("302e020100300506032b657004220420");

/** By OpenSSL. */
export const opensslPrimitives = {
  ...opensslHashes,
  verifyEd25519: (key, message, signature) =>
    verifyBy(null, publicKey("ed25519", key), message, signature),
  verifyEcdsaSecp256k1: (key, message, signature) =>
    verifyBy("sha256", publicKey("ecdsa-secp256k1", key), message, signature),
  verifyEcdsaP256: (key, message, signature) =>
    verifyBy("sha256", publicKey("ecdsa-p256", key), message, signature),
  ed25519PublicKey(seed) {
    const der = createPublicKey(ed25519PrivateKey(seed)).export({ format: "der", type: "spki" });
    return new Uint8Array(der).slice(-DIGEST_BYTES);
  },
  signEd25519: (seed, message) => new Uint8Array(sign(null, message, ed25519PrivateKey(seed))),
} satisfies Partial<CryptoProvider>;

/** By OpenSSL in the process's thread pool. */
const threadPoolPrimitives: BackgroundCrypto = {
  verifyEd25519(keyBytes, message, signature) {
    const key = publicKey("ed25519", keyBytes);
    if (key === undefined) return Promise.resolve(false);
    const { promise, resolve } = Promise.withResolvers<boolean>();
    verify(null, message, key, signature, (error, isGood) => resolve(error === null && isGood));
    return promise;
  },
  signEd25519(seed, message) {
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
    sign(null, message, ed25519PrivateKey(seed), (error, signature) => {
      if (error === null) resolve(new Uint8Array(signature));
      else reject(error);
    });
    return promise;
  },
};

const publicKeys = new Map<string, KeyObject>();
const privateKeys = new Map<string, KeyObject>();

/** A key as OpenSSL wants it, or undefined if it is not a point of the curve. */
function publicKey(scheme: KeyScheme, bytes: Uint8Array): KeyObject | undefined {
  const der = encodePublicKey({ scheme, bytes });
  return cached(publicKeys, der.toHex(), () => {
    try {
      return createPublicKey({ key: Buffer.from(der), format: "der", type: "spki" });
    } catch {
      return undefined;
    }
  });
}

function ed25519PrivateKey(seed: Uint8Array): KeyObject {
  return cached(privateKeys, seed.toHex(), () => {
    const key = Buffer.from(concatBytes(ED25519_PRIVATE_PREFIX, seed));
    return createPrivateKey({ key, format: "der", type: "pkcs8" });
  });
}

/** Parsing a key costs about as much as using it, and senders come again. The oldest entry makes room. */
function cached<T extends KeyObject | undefined>(
  cache: Map<string, KeyObject>,
  id: string,
  create: () => T,
): T {
  const known = cache.get(id);
  if (known !== undefined) return known as T;
  const created = create();
  if (created === undefined) return created;
  if (cache.size >= KEY_CACHE_ENTRIES_MAX) cache.delete(cache.keys().next().value!);
  cache.set(id, created);
  return created;
}

function verifyBy(
  digest: string | null,
  key: KeyObject | undefined,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  if (key === undefined) return false;
  try {
    return verify(digest, message, { key, dsaEncoding: "ieee-p1363" }, signature);
  } catch {
    return false;
  }
}

type BlsPrimitives = Pick<CryptoProvider, "blsPublicKey" | "signBls" | "verifyBls">;

/** By mcl, which must be initialised. Its own hash to the curve has another domain, so that part is done here. */
function createMclPrimitives(): BlsPrimitives {
  const base = new mcl.G2();
  base.deserialize(G2_GENERATOR);
  const preparedBase = new mcl.PrecomputedG2(base);
  return {
    blsPublicKey: (secretKey) => new Uint8Array(mcl.mul(base, scalar(secretKey)).serialize()),
    signBls: (secretKey, message) =>
      new Uint8Array(mcl.mul(hashToG1(message), scalar(secretKey)).serialize()),
    verifyBls(publicKeyBytes, message, signatureBytes) {
      const key = new mcl.G2();
      const signature = new mcl.G1();
      try {
        key.deserialize(publicKeyBytes);
        signature.deserialize(signatureBytes);
      } catch {
        return false;
      }
      if (key.isZero() || signature.isZero()) return false;
      // e(H(m), key) · e(-signature, base) = 1
      const product = mcl.precomputedMillerLoop2mixed(
        hashToG1(message),
        key,
        mcl.neg(signature),
        preparedBase,
      );
      return mcl.finalExp(product).isOne();
    },
  };
}

const FIELD_ELEMENT_BYTES = 64;

/** Hash to G1 of RFC 9380 with the ICP's domain. */
function hashToG1(message: Uint8Array): InstanceType<typeof mcl.G1> {
  const uniform = expandMessageXmd(
    message,
    utf8Bytes(BLS_DST),
    2 * FIELD_ELEMENT_BYTES,
    nobleSha256,
  );
  const [first, second] = [new mcl.Fp(), new mcl.Fp()];
  first.setBigEndianMod(uniform.subarray(0, FIELD_ELEMENT_BYTES));
  second.setBigEndianMod(uniform.subarray(FIELD_ELEMENT_BYTES));
  return mcl.add(first.mapToG1(), second.mapToG1());
}

function scalar(secretKey: Uint8Array): InstanceType<typeof mcl.Fr> {
  const value = new mcl.Fr();
  value.setBigEndianMod(secretKey);
  return value;
}
