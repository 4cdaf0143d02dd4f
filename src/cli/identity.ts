// Who signs the calls of the command line: nobody (anonymous), or a key from a PEM file.

import { createPrivateKey, createPublicKey, type KeyObject, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import {
  AnonymousIdentity,
  type DerEncodedPublicKey,
  type PublicKey,
  type Signature,
  SignIdentity,
} from "@icp-sdk/core/agent";
import { Ed25519KeyIdentity } from "@icp-sdk/core/identity";
import { Secp256k1KeyIdentity } from "@icp-sdk/core/identity/secp256k1";
import { parseHex } from "gyrotron/base";
import { CliError } from "./cli-error.ts";

/** What signs: a key, or the anonymous sender. */
export type CliIdentity = SignIdentity | AnonymousIdentity;

/** PKCS #8 version 2 of an Ed25519 key, as older tools write it and OpenSSL refuses it; the seed follows. */
const ED25519_V2_PREFIX = "3053020101300506032b657004220420";
const SEED_BYTES = 32;

/** The anonymous identity, or the key in `pemFile`: Ed25519, secp256k1 or P-256, PKCS #8 or SEC 1. @throws CliError */
export function loadIdentity(pemFile: string | undefined): CliIdentity {
  if (pemFile === undefined) return new AnonymousIdentity();
  const pem = readPem(pemFile);
  const seed = ed25519SeedV2(pem);
  if (seed !== undefined) return Ed25519KeyIdentity.generate(seed);
  const key = parseKey(pemFile, pem);
  const { crv, d = "" } = key.export({ format: "jwk" });
  const secret = new Uint8Array(Buffer.from(d, "base64url"));
  if (crv === "Ed25519") return Ed25519KeyIdentity.generate(secret);
  if (crv === "secp256k1") return Secp256k1KeyIdentity.fromSecretKey(secret);
  if (crv === "P-256") return new P256Identity(key);
  const problem = `${crv ?? key.asymmetricKeyType ?? "its"} keys are not supported: Ed25519, secp256k1 and P-256 are`;
  throw new CliError({ code: "cli/identity", file: pemFile, problem });
}

/** A P-256 key that OpenSSL signs with. */
class P256Identity extends SignIdentity {
  readonly #key: KeyObject;
  readonly #der: DerEncodedPublicKey;

  constructor(key: KeyObject) {
    super();
    this.#key = key;
    const der = createPublicKey(key).export({ format: "der", type: "spki" });
    this.#der = new Uint8Array(der) as DerEncodedPublicKey;
  }

  override getPublicKey(): PublicKey {
    return { toDer: () => this.#der };
  }

  override async sign(blob: Uint8Array): Promise<Signature> {
    const signature = sign("sha256", blob, { key: this.#key, dsaEncoding: "ieee-p1363" });
    return new Uint8Array(signature) as Signature;
  }
}

function readPem(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    const problem = error instanceof Error ? error.message : "it cannot be read";
    throw new CliError({ code: "cli/identity", file, problem }, { cause: error });
  }
}

function parseKey(file: string, pem: string): KeyObject {
  // SEC 1 files often begin with a block of curve parameters, which the key repeats.
  const key = /-----BEGIN (?:EC )?PRIVATE KEY-----[^-]*-----END (?:EC )?PRIVATE KEY-----/.exec(
    pem,
  )?.[0];
  if (key === undefined) {
    const problem = pem.includes("ENCRYPTED") ? "it is encrypted" : "it holds no PEM private key";
    throw new CliError({ code: "cli/identity", file, problem });
  }
  try {
    return createPrivateKey(key);
  } catch (error) {
    const problem = error instanceof Error ? error.message : "its key does not parse";
    throw new CliError({ code: "cli/identity", file, problem }, { cause: error });
  }
}

function ed25519SeedV2(pem: string): Uint8Array | undefined {
  const body = /-----BEGIN PRIVATE KEY-----([^-]*)-----END/.exec(pem)?.[1] ?? "";
  const hex = Buffer.from(body, "base64").toString("hex");
  if (!hex.startsWith(ED25519_V2_PREFIX)) return undefined;
  const start = ED25519_V2_PREFIX.length;
  return parseHex(hex.slice(start, start + 2 * SEED_BYTES));
}
