// WebAuthn signatures as the IC interface has them: an authenticator signs its own data and the hash
// of what the browser says of the client, and the browser names the message as the challenge.
// This file checks the two frames and gives what is left to verify: a plain signature.

import { concatBytes, DecodeError, utf8Bytes } from "gyrotron/base";
import { decodeCbor } from "./cbor.ts";
import { ecdsaFromDer } from "./der.ts";
import type { PlainKey } from "./cose.ts";
import { sha256 } from "gyrotron/hash";

/** What the authenticator signed, and how; or what is wrong with the frames, as a sentence. */
export type OpenedSignature =
  | { readonly ok: true; readonly message: Uint8Array; readonly signature: Uint8Array }
  | { readonly ok: false; readonly problem: string };

/** A signature of the largest RSA key, client data with a long origin, and extensions. */
const SIGNATURE_BYTES_MAX = 64 * 1024;
/** Hash of the relying party's id, flags, counter. */
const AUTHENTICATOR_DATA_BYTES_MIN = 37;

/** Opens a signature that is said to be over `payload`; never throws on malformed input. */
export function openWebAuthnSignature(
  key: PlainKey,
  payload: Uint8Array,
  signatureBytes: Uint8Array,
): OpenedSignature {
  const parts = decodeParts(signatureBytes);
  if (parts === undefined)
    return problem("the signature is not CBOR of authenticator_data, client_data_json, signature.");
  const { authenticatorData, clientDataJson, signature } = parts;
  if (authenticatorData.length < AUTHENTICATOR_DATA_BYTES_MIN)
    return problem("the authenticator data is too short.");
  const clientData = parseClientData(clientDataJson);
  if (clientData === undefined)
    return problem("the client data is not JSON with type, challenge and origin.");
  if (clientData.type !== "webauthn.get")
    return problem("the client data is not of an assertion (webauthn.get).");
  if (clientData.challenge !== base64Url(payload))
    return problem("the challenge in the client data is not the signed message.");
  const plain = key.scheme === "ecdsa-p256" ? ecdsaFromDer(signature) : signature;
  if (plain === undefined) return problem("the ECDSA signature is not DER.");
  const message = concatBytes(authenticatorData, sha256(utf8Bytes(clientDataJson)));
  return { ok: true, message, signature: plain };
}

interface Parts {
  authenticatorData: Uint8Array;
  clientDataJson: string;
  signature: Uint8Array;
}

function decodeParts(bytes: Uint8Array): Parts | undefined {
  try {
    const map = decodeCbor(bytes, { bytesMax: SIGNATURE_BYTES_MAX, depthMax: 2 });
    if (!(map instanceof Map)) return undefined;
    const authenticatorData = map.get("authenticator_data");
    const clientDataJson = map.get("client_data_json");
    const signature = map.get("signature");
    const isWhole =
      authenticatorData instanceof Uint8Array &&
      typeof clientDataJson === "string" &&
      signature instanceof Uint8Array;
    return isWhole ? { authenticatorData, clientDataJson, signature } : undefined;
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}

/** The fields of client data that matter; all three must be there. Which site asked is its own affair. */
function parseClientData(text: string): { type: string; challenge: string } | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { type, challenge, origin } = (value ?? {}) as Readonly<Record<string, unknown>>;
  const isWhole =
    typeof type === "string" && typeof challenge === "string" && typeof origin === "string";
  return isWhole ? { type, challenge } : undefined;
}

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/** Base 64 for URLs, without padding: the only form that browsers write. */
function base64Url(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i += 3) {
    const [a = 0, b = 0, c = 0] = bytes.subarray(i, i + 3);
    const group = (a << 16) | (b << 8) | c;
    const letters = bytes.length - i >= 3 ? 4 : bytes.length - i + 1;
    for (let j = 0; j < letters; j++) text += ALPHABET[(group >> (18 - 6 * j)) & 63];
  }
  return text;
}

function problem(text: string): OpenedSignature {
  return { ok: false, problem: text };
}
