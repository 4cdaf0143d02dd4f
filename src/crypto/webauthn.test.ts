// WebAuthn: keys in COSE form and assertions as an authenticator and a browser make them, by OpenSSL;
// everything changed on the way is refused by name.

import { deepEqual, equal } from "node:assert/strict";
import {
  constants,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  privateEncrypt,
  sign,
  verify,
} from "node:crypto";
import { test } from "node:test";
import { DER_COSE_OID, wrapDER } from "@icp-sdk/core/agent";
import { encode } from "cborg";
import fc from "fast-check";
import { concatBytes, utf8Bytes } from "gyrotron/base";
import {
  type CborInput,
  CryptoError,
  encodeCosePublicKey,
  encodeSelfDescribedCbor,
  encodePublicKey,
  openWebAuthnSignature,
  parseUserKey,
  type PlainKey,
  sha256,
  verifySignature,
} from "./index.ts";
import { ecdsaFromDer } from "./der.ts";

interface Authenticator {
  cose: Uint8Array;
  sign(message: Uint8Array): Uint8Array;
}

type CoseFields = [number, unknown][];

function cose(fields: CoseFields): Uint8Array {
  return encode(new Map(fields));
}

function jwkBytes(key: KeyObject, name: "n" | "e" | "x" | "y"): Uint8Array {
  return Uint8Array.from(Buffer.from(String(key.export({ format: "jwk" })[name]), "base64url"));
}

function es256(): Authenticator {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  const fields: CoseFields = [
    [1, 2],
    [3, -7],
    [-1, 1],
    [-2, jwkBytes(publicKey, "x")],
    [-3, jwkBytes(publicKey, "y")],
  ];
  return {
    cose: cose(fields),
    sign: (message) => new Uint8Array(sign("sha256", message, privateKey)),
  };
}

function eddsa(): Authenticator {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const fields: CoseFields = [
    [1, 1],
    [3, -8],
    [-1, 6],
    [-2, jwkBytes(publicKey, "x")],
  ];
  return { cose: cose(fields), sign: (message) => new Uint8Array(sign(null, message, privateKey)) };
}

const rsaPair = generateKeyPairSync("rsa", { modulusLength: 2048 });

function rs256(): Authenticator {
  const { publicKey, privateKey } = rsaPair;
  const fields: CoseFields = [
    [1, 3],
    [3, -257],
    [-1, jwkBytes(publicKey, "n")],
    [-2, jwkBytes(publicKey, "e")],
  ];
  return {
    cose: cose(fields),
    sign: (message) => new Uint8Array(sign("sha256", message, privateKey)),
  };
}

const payload = concatBytes(utf8Bytes("\x0Aic-request"), new Uint8Array(32).fill(0xfb));
const authenticatorData = new Uint8Array(37).fill(5);

function clientData(fields: Record<string, unknown> = {}): string {
  const challenge = Buffer.from(payload).toString("base64url");
  return JSON.stringify({
    type: "webauthn.get",
    challenge,
    origin: "https://example.org",
    crossOrigin: false,
    ...fields,
  });
}

function assertion(by: Authenticator, json = clientData(), data = authenticatorData): Uint8Array {
  const signature = by.sign(concatBytes(data, sha256(utf8Bytes(json))));
  return encodeSelfDescribedCbor({
    authenticator_data: data,
    client_data_json: json,
    signature,
  });
}

function keyOf(coseKey: Uint8Array): PlainKey | string {
  try {
    const key = parseUserKey(encodeCosePublicKey(coseKey));
    return key.scheme === "webauthn" ? key.key : key.scheme;
  } catch (error) {
    if (error instanceof CryptoError && error.info.code === "crypto/public-key")
      return error.info.reason;
    throw error;
  }
}

function judge(by: Authenticator, signatureBytes: Uint8Array, over = payload): string {
  const key = keyOf(by.cose);
  if (typeof key === "string") return key;
  const opened = openWebAuthnSignature(key, over, signatureBytes);
  if (!opened.ok) return opened.problem;
  return verifySignature(key, opened.message, opened.signature) ? "valid" : "invalid";
}

for (const [name, make] of Object.entries({ es256, eddsa, rs256 })) {
  test(`an assertion by ${name} is valid for its message only`, () => {
    const by = make();
    deepEqual(
      encodeCosePublicKey(by.cose),
      new Uint8Array(wrapDER(by.cose, DER_COSE_OID)),
      "as the SDK wraps it",
    );
    equal(judge(by, assertion(by)), "valid");
    equal(judge(make === rs256 ? es256() : make(), assertion(by)) === "valid", false);
    const other = concatBytes(payload, Uint8Array.of(0));
    equal(
      judge(by, assertion(by), other),
      "the challenge in the client data is not the signed message.",
    );
    const challenge = Buffer.from(other).toString("base64url");
    equal(judge(by, assertion(by, clientData({ challenge })), other), "valid", "any length");
  });
}

test("frames that a browser does not make are refused by name", () => {
  const by = es256();
  const shape = "the client data is not JSON with type, challenge and origin.";
  for (const json of [
    "",
    "{",
    "null",
    "1",
    "[]",
    clientData({ type: 1 }),
    clientData({ origin: undefined }),
  ])
    equal(judge(by, assertion(by, json)), shape, json);
  equal(
    judge(by, assertion(by, clientData({ type: "webauthn.create" }))),
    "the client data is not of an assertion (webauthn.get).",
  );
  const padded = `${Buffer.from(payload).toString("base64url")}==`;
  equal(
    judge(by, assertion(by, clientData({ challenge: padded }))),
    "the challenge in the client data is not the signed message.",
  );
  equal(
    judge(by, assertion(by, clientData(), new Uint8Array(36))),
    "the authenticator data is too short.",
  );
  const outer = "the signature is not CBOR of authenticator_data, client_data_json, signature.";
  const fields = { authenticator_data: authenticatorData, client_data_json: clientData() };
  const inputs: CborInput[] = [1, fields, { ...fields, signature: "text" }, { signature: payload }];
  for (const input of inputs) equal(judge(by, encodeSelfDescribedCbor(input)), outer);
  equal(judge(by, new Uint8Array(0)), outer);
  const compact = encodeSelfDescribedCbor({ ...fields, signature: new Uint8Array(64) });
  equal(judge(by, compact), "the ECDSA signature is not DER.");
});

test("client data is signed byte for byte, and so is the authenticator's", () => {
  for (const by of [es256(), eddsa(), rs256()]) {
    const json = clientData();
    const signature = by.sign(concatBytes(authenticatorData, sha256(utf8Bytes(json))));
    const framed = (client_data_json: string, authenticator_data: Uint8Array): Uint8Array =>
      encodeSelfDescribedCbor({ authenticator_data, client_data_json, signature });
    equal(judge(by, framed(json, authenticatorData)), "valid");
    equal(judge(by, framed(`${json} `, authenticatorData)), "invalid");
    equal(judge(by, framed(json, new Uint8Array(37))), "invalid");
  }
});

test("COSE keys of other shapes are refused with their reason", () => {
  const x = new Uint8Array(32).fill(1);
  const none = "COSE key is none of ES256, EdDSA over Ed25519, RS256";
  const ec = (alg: number, crv: number): CoseFields => [
    [1, 2],
    [3, alg],
    [-1, crv],
    [-2, x],
    [-3, x],
  ];
  equal(keyOf(cose(ec(-7, 2))), none);
  equal(keyOf(cose(ec(-35, 1))), none);
  equal(
    keyOf(
      cose([
        [1, 1],
        [3, -8],
        [-1, 7],
        [-2, x],
      ]),
    ),
    none,
  );
  equal(keyOf(cose([])), none);
  equal(
    keyOf(
      cose([
        [1, 2],
        [3, -7],
        [-1, 1],
        [-2, x],
        [-3, x.slice(1)],
      ]),
    ),
    "COSE coordinate is not 32 bytes",
  );
  equal(keyOf(encode([1])), "COSE key is not a map");
  equal(keyOf(Uint8Array.of(0xff)), "COSE key is not CBOR");
  equal(keyOf(Uint8Array.of(0xa2, 1, 2, 1, 2)), "COSE key is not CBOR", "a label twice");
  equal(keyOf(new Uint8Array(1201)), "COSE key is too long");
  const range = "RSA modulus or exponent out of range";
  const modulus = jwkBytes(rsaPair.publicKey, "n");
  const rsa = (n: unknown, e: unknown): PlainKey | string =>
    keyOf(
      cose([
        [1, 3],
        [3, -257],
        [-1, n],
        [-2, e],
      ]),
    );
  equal(rsa(modulus.slice(1), Uint8Array.of(3)), range);
  equal(rsa(modulus, Uint8Array.of(1)), range);
  equal(rsa(modulus, Uint8Array.of(4)), range);
  equal(rsa(modulus, new Uint8Array(5).fill(255)), range);
  equal(
    rsa(new Uint8Array(1025).fill(255), Uint8Array.of(3)),
    "RSA modulus or exponent out of range",
  );
  equal(rsa("n", "e"), range);
  equal(typeof rsa(modulus, Uint8Array.of(3)), "object");
});

test("RSA: padding, length and value are held to the letter, as by OpenSSL", () => {
  const key = keyOf(rs256().cose) as PlainKey;
  const message = utf8Bytes("message");
  const info = Uint8Array.fromHex("3031300d060960864801650304020105000420");
  const digest = sha256(message);
  const raw = (block: Uint8Array): Uint8Array =>
    new Uint8Array(
      privateEncrypt({ key: rsaPair.privateKey, padding: constants.RSA_NO_PADDING }, block),
    );
  const framed = (tail: Uint8Array, first = 1, padByte = 0xff): Uint8Array => {
    const padding = new Uint8Array(256 - 3 - tail.length).fill(padByte);
    return concatBytes(Uint8Array.of(0, first), padding, Uint8Array.of(0), tail);
  };
  const good = raw(framed(concatBytes(info, digest)));
  const cases: [string, Uint8Array, boolean][] = [
    ["good", good, true],
    ["type 2", raw(framed(concatBytes(info, digest), 2)), false],
    ["other padding", raw(framed(concatBytes(info, digest), 1, 0xfe)), false],
    ["no digest info", raw(framed(digest)), false],
    ["another digest", raw(framed(concatBytes(info, sha256(digest)))), false],
    ["rubbish behind", raw(framed(concatBytes(info, digest, Uint8Array.of(0)))), false],
    ["short", good.slice(1), false],
    ["long", concatBytes(Uint8Array.of(0), good), false],
    ["not below the modulus", new Uint8Array(256).fill(255), false],
    ["empty", new Uint8Array(0), false],
  ];
  for (const [name, signature, isGood] of cases) {
    equal(verifySignature(key, message, signature), isGood, name);
    equal(verify("sha256", message, rsaPair.publicKey, signature), isGood, `OpenSSL: ${name}`);
  }
});

test("ECDSA signatures in DER: what OpenSSL makes is read, other encodings are not", () => {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  const der = new Uint8Array(publicKey.export({ format: "der", type: "spki" }));
  const key = parseUserKey(der) as PlainKey;
  for (let count = 0; count < 64; count++) {
    const message = Uint8Array.of(count);
    const compact = ecdsaFromDer(new Uint8Array(sign("sha256", message, privateKey)));
    equal(compact !== undefined && verifySignature(key, message, compact), true);
  }
  const refused = [
    "",
    "30",
    "3006020101",
    "300602010102010100",
    "3006020101020181",
    "300702010102020001",
    "3006020101040101",
    "30810602010102 0101",
    "3080020101020101",
    "3003020101",
    "30050201010200",
    `3027020101 0222${"01".repeat(34)}`,
  ];
  for (const text of refused)
    equal(ecdsaFromDer(Uint8Array.fromHex(text.replaceAll(" ", ""))), undefined, text);
  const one = `${"00".repeat(31)}01`;
  equal(ecdsaFromDer(Uint8Array.fromHex("3006020101020101"))?.toHex(), one + one);
  equal(createPublicKey({ key: Buffer.from(der), format: "der", type: "spki" }).type, "public");
  equal(key.scheme !== "rsa-sha256" && encodePublicKey(key).toHex(), der.toHex());
});

test("any bytes are a key, a signature, or a refusal", () => {
  const by = es256();
  const key = keyOf(by.cose) as PlainKey;
  const good = assertion(by);
  const property = fc.property(
    fc.uint8Array({ maxLength: 80 }),
    fc.nat(good.length - 1),
    fc.nat(255),
    (bytes, at, value) => {
      keyOf(bytes);
      const changed = good.slice();
      changed[at] = value;
      const opened = openWebAuthnSignature(key, payload, changed);
      const isSame = value === good[at];
      const isValid = opened.ok && verifySignature(key, opened.message, opened.signature);
      // The tag in front may be another's; every other byte counts.
      if (at > 2) equal(isValid, isSame);
      equal(openWebAuthnSignature(key, payload, bytes).ok, false);
    },
  );
  fc.assert(property, { seed: 4, numRuns: 150 });
});
