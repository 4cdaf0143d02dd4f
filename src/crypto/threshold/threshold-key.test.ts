// Derived keys and signatures. Goal: what is signed verifies under the key that anyone derives from the
// master public key, and derivation is the ICP's. Peers: noble's own HD-free primitives written out
// here, BIP340's vectors, and values of the public vetKeys client (version 0.4.0).

import { deepEqual, equal, notDeepEqual, ok } from "node:assert/strict";
import { test } from "node:test";
import { bls12_381 } from "@noble/curves/bls12-381.js";
import { schnorr, secp256k1 } from "@noble/curves/secp256k1.js";
import { hmac } from "@noble/hashes/hmac.js";
import { sha256, sha512 } from "@noble/hashes/sha2.js";
import { concatBytes, utf8Bytes } from "gyrotron/base";
import {
  deriveThresholdKey,
  signThreshold,
  thresholdMasterKey,
  type ThresholdRequest,
  type ThresholdScheme,
  verifyThreshold,
} from "./threshold-key.ts";
import { isTransportKey } from "./vetkd-key.ts";

const SEED = new Uint8Array(32).fill(7);
const CANISTER = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 1, 1, 1);
const NAME = "dfx_test_key";
const G1 = bls12_381.G1.Point;
const TRANSPORT_SECRET = 0x1234_5678_9abc_def0n;
const TRANSPORT_KEY = G1.BASE.multiply(TRANSPORT_SECRET).toBytes();

function request(
  scheme: ThresholdScheme,
  change: Partial<ThresholdRequest> = {},
): ThresholdRequest {
  return {
    scheme,
    canisterId: CANISTER,
    path: [utf8Bytes("a path"), Uint8Array.of()].slice(0, scheme === "vetkd" ? 1 : 2),
    message: sha256(utf8Bytes("message")),
    extra: scheme === "vetkd" ? TRANSPORT_KEY : undefined,
    ...change,
  };
}

for (const scheme of ["ecdsa", "bip340", "ed25519", "vetkd"] as const) {
  test(`${scheme}: signed by one, checked by all, and by no other key, path or message`, () => {
    const master = thresholdMasterKey(SEED, scheme, NAME);
    const asked = request(scheme);
    const result = signThreshold(SEED, NAME, asked);
    deepEqual(signThreshold(SEED, NAME, asked), result, "the same each time");
    equal(verifyThreshold(master, asked, result), true);
    const changes: Partial<ThresholdRequest>[] = [
      { canisterId: Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 2, 1, 1) },
      { path: [utf8Bytes("another path")] },
      { message: sha256(utf8Bytes("another message")) },
    ];
    for (const change of changes)
      equal(
        verifyThreshold(master, request(scheme, change), result),
        false,
        JSON.stringify(change),
      );
    equal(verifyThreshold(thresholdMasterKey(SEED, scheme, "key_1"), asked, result), false);
    for (const index of [0, 40, result.length - 1]) {
      const changed = result.slice();
      changed[index] = changed[index]! ^ 1;
      equal(verifyThreshold(master, asked, changed), false, `byte ${index}`);
    }
    for (const length of [0, 63, 65, 191, 193])
      equal(verifyThreshold(master, asked, new Uint8Array(length)), false);
  });
}

test("secp256k1 derivation is BIP32 where an index is four bytes", () => {
  const master = thresholdMasterKey(SEED, "ecdsa", NAME);
  const { publicKey, chainCode } = deriveThresholdKey(master, {
    scheme: "ecdsa",
    canisterId: Uint8Array.of(0, 0, 0, 5),
    path: [Uint8Array.of(0, 0, 1, 0)],
  });
  // BIP32's CKDpub, written out.
  let point = secp256k1.Point.fromBytes(master);
  let chain = new Uint8Array(32);
  for (const index of [5, 256]) {
    const I = hmac(
      sha512,
      chain,
      concatBytes(point.toBytes(true), Uint8Array.of(0, 0, index >> 8, index & 255)),
    );
    point = point.add(secp256k1.Point.BASE.multiply(BigInt(`0x${I.slice(0, 32).toHex()}`)));
    chain = new Uint8Array(I.slice(32));
  }
  deepEqual(publicKey, point.toBytes(true));
  deepEqual(chainCode, chain);
});

test("BIP340 signatures verify under the x coordinate; BIP341 ones under the tweaked key", () => {
  const master = thresholdMasterKey(SEED, "bip340", NAME);
  for (const path of ["1", "2", "3", "4"]) {
    const asked = request("bip340", { path: [utf8Bytes(path)], message: utf8Bytes("any length") });
    const { publicKey } = deriveThresholdKey(master, asked);
    const x = publicKey.slice(1);
    ok(schnorr.verify(signThreshold(SEED, NAME, asked), asked.message, x));
    for (const root of [new Uint8Array(), new Uint8Array(32).fill(3)]) {
      const tweaked = { ...asked, extra: root };
      const signature = signThreshold(SEED, NAME, tweaked);
      const tweak = BigInt(`0x${schnorr.utils.taggedHash("TapTweak", x, root).toHex()}`);
      const even = schnorr.utils.lift_x(BigInt(`0x${x.toHex()}`));
      const output = even.add(secp256k1.Point.BASE.multiply(tweak)).toBytes(true).slice(1);
      ok(schnorr.verify(signature, asked.message, output));
      equal(verifyThreshold(master, tweaked, signature), true);
      equal(verifyThreshold(master, asked, signature), false);
    }
  }
});

test("vetKD: keys are those of the public client, and the derived key decrypts and verifies", () => {
  const master = thresholdMasterKey(SEED, "vetkd", NAME);
  equal(master.toHex(), VETKEYS_MASTER);
  const keyOf = (context: string): string =>
    deriveThresholdKey(master, {
      scheme: "vetkd",
      canisterId: CANISTER,
      path: [utf8Bytes(context)],
    }).publicKey.toHex();
  equal(keyOf(""), VETKEYS_CANISTER_KEY);
  equal(keyOf("context"), VETKEYS_CONTEXT_KEY);
  const asked = request("vetkd", { path: [utf8Bytes("context")], message: utf8Bytes("input") });
  const encrypted = signThreshold(SEED, NAME, asked);
  // The client's part: subtract the transport secret's share, then check the BLS signature.
  const c1 = G1.fromBytes(encrypted.slice(0, 48));
  const derived = G1.fromBytes(encrypted.slice(144)).subtract(c1.multiply(TRANSPORT_SECRET));
  equal(derived.toBytes().toHex(), VETKEYS_DERIVED);
  const key = deriveThresholdKey(master, asked).publicKey;
  const bls = bls12_381.shortSignatures;
  const message = bls.hash(
    concatBytes(key, asked.message),
    "BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_AUG_",
  );
  ok(bls.verify(derived, message, key));
});

test("a transport key is a point of the group, and not infinity", () => {
  equal(isTransportKey(TRANSPORT_KEY), true);
  equal(isTransportKey(new Uint8Array(48)), false);
  equal(isTransportKey(TRANSPORT_KEY.slice(1)), false);
  equal(isTransportKey(Uint8Array.from([0xc0, ...new Uint8Array(47)])), false);
});

test("schemes and names have keys of their own", () => {
  const keys = (["ecdsa", "bip340"] as const).flatMap((scheme) =>
    ["key_1", "test_key_1"].map((name) => thresholdMasterKey(SEED, scheme, name).toHex()),
  );
  equal(new Set(keys).size, 4);
  notDeepEqual(keys[0], keys[1]);
});

const VETKEYS_MASTER =
  "a94e19237a134a8ec7e678ddda6dd349e049df408ffe93503b830f82584e613f35588238db1dd48fcfe87efea7e81a8b0ff1b1155219c83fa7a85175bf8635a3b11664dbd4544455dd601e94aa4c01c5926025657e2fb38271f43f676173ec2b";
const VETKEYS_CANISTER_KEY =
  "8c591a2c4ef418d20559387a8b0aaabd24bf10c711040cffbfe0937441f6c6a709e19235d33127ac6b68005b6b3c002f09d58980a67529450167987286cfbe3f5582589aac346fd8c6eb8c9e7bede817ac1d857e306181bf97dbbd7bf50e2c5a";
const VETKEYS_CONTEXT_KEY =
  "b8ecad3a46ae0057f58e9f6565f80fa1e1378e90c6956de63c43afc293e7a01f316fdbc06e9255b27ce24f5ab14669db0e275f598e9d837a7ec16730ebfa5002b2dab4b897aa296154b37567724bcbc9c9cf65231fe93411b779b6f13ca17437";
const VETKEYS_DERIVED =
  "808ea2f8565fa9af2ae68a4e028194b53886c45103021985cb22e57e6a9e6d2e7d8b279eafaa52328e22b864468b33e0";
