// PEM files that tools write become identities whose signatures a node accepts; others are refused
// with what is wrong.

import { deepEqual, equal, throws } from "node:assert/strict";
import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { SignIdentity } from "@icp-sdk/core/agent";
import { utf8Bytes } from "gyrotron/base";
import { parsePublicKey, verifySignature } from "gyrotron/crypto";
import { CliError } from "./cli-error.ts";
import { loadIdentity } from "./identity.ts";

const folder = mkdtempSync(join(tmpdir(), "gyrotron-identity-"));
after(() => rmSync(folder, { recursive: true }));
let count = 0;

function pemFile(pem: string): string {
  const file = join(folder, `${(count += 1)}.pem`);
  writeFileSync(file, pem);
  return file;
}

function pems(key: KeyObject): string[] {
  const pkcs8 = String(key.export({ type: "pkcs8", format: "pem" }));
  return key.asymmetricKeyType === "ec"
    ? [pkcs8, String(key.export({ type: "sec1", format: "pem" }))]
    : [pkcs8];
}

for (const [scheme, pair] of [
  ["ed25519", generateKeyPairSync("ed25519")],
  ["ecdsa-secp256k1", generateKeyPairSync("ec", { namedCurve: "secp256k1" })],
  ["ecdsa-p256", generateKeyPairSync("ec", { namedCurve: "prime256v1" })],
] as const) {
  test(`a PEM file of ${scheme} signs as its key`, async () => {
    for (const pem of pems(pair.privateKey)) {
      const identity = loadIdentity(pemFile(pem));
      if (!(identity instanceof SignIdentity)) throw new TypeError("not a signer");
      const der = new Uint8Array(identity.getPublicKey().toDer());
      const expected = pair.publicKey.export({ type: "spki", format: "der" });
      deepEqual(der, new Uint8Array(expected));
      const key = parsePublicKey(der);
      equal(key.scheme, scheme);
      const message = utf8Bytes("message");
      equal(verifySignature(key, message, new Uint8Array(await identity.sign(message))), true);
    }
  });
}

test("other files are refused with their problem", () => {
  const problemOf = (file: string): string => {
    let problem = "";
    throws(
      () => loadIdentity(file),
      (error) => {
        if (error instanceof CliError && error.info.code === "cli/identity")
          ({ problem } = error.info);
        return true;
      },
    );
    return problem;
  };
  const p384 = generateKeyPairSync("ec", { namedCurve: "secp384r1" }).privateKey;
  equal(
    problemOf(pemFile(pems(p384)[0]!)),
    "P-384 keys are not supported: Ed25519, secp256k1 and P-256 are",
  );
  equal(problemOf(pemFile("text")), "it holds no PEM private key");
  equal(
    problemOf(
      pemFile("-----BEGIN ENCRYPTED PRIVATE KEY-----\n-----END ENCRYPTED PRIVATE KEY-----"),
    ),
    "it is encrypted",
  );
  equal(problemOf(join(folder, "nowhere.pem")).startsWith("ENOENT"), true);
});
