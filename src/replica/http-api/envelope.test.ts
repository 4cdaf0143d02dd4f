// Envelopes: every refusal with its exact status and text, and what is accepted. Signatures are made
// here with noble and OpenSSL, as a client would.

import { deepEqual, equal } from "node:assert/strict";
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { concatBytes, INGRESS_BYTES_MAX, utf8Bytes } from "gyrotron/base";
import {
  ANONYMOUS_PRINCIPAL,
  blsPublicKeyDer,
  blsSecretKeyFromUniform,
  canisterIdFromU64,
  type CborInput,
  DOMAIN_DELEGATION,
  DOMAIN_REQUEST,
  ed25519PublicKeyDer,
  encodeCbor,
  encodeSelfDescribedCbor,
  formatPrincipal,
  type HashableValue,
  hashOfMap,
  MANAGEMENT_CANISTER,
  selfAuthenticating,
  sha256,
  signEd25519,
} from "gyrotron/crypto";
import type { RequestKind } from "./content.ts";
import { decodeEnvelope } from "./envelope.ts";
import { decodeAndValidate, hostileEnvelope } from "./envelope.fuzz.ts";
import {
  authenticateSender,
  type ValidationOptions,
  validateEnvelope,
} from "./envelope-validation.ts";
import { formatTimestamp } from "./timestamp.ts";

type Fields = Record<string, CborInput | undefined>;

/** A signer: its DER key and how it signs. */
interface Signer {
  der: Uint8Array;
  sign(message: Uint8Array): Uint8Array;
}

const nowNs = 1_800_000_000_000_000_000n;
const rootSecret = blsSecretKeyFromUniform(new Uint8Array(48).fill(9));
const rootKeyDer = blsPublicKeyDer(rootSecret);
const minute = 60_000_000_000n;
const canisterId = canisterIdFromU64(7n);
const otherCanisterId = canisterIdFromU64(8n);

function ed25519Signer(seedByte: number): Signer {
  const seed = new Uint8Array(32).fill(seedByte);
  return { der: ed25519PublicKeyDer(seed), sign: (message) => signEd25519(seed, message) };
}

function ecdsaSigner(namedCurve: string): Signer {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve });
  const der = new Uint8Array(publicKey.export({ format: "der", type: "spki" }));
  return { der, sign: (message) => new Uint8Array(ecdsa(privateKey, message)) };
}

function ecdsa(key: KeyObject, message: Uint8Array): Uint8Array {
  return sign("sha256", message, { key, dsaEncoding: "ieee-p1363" });
}

const user = ed25519Signer(1);
const userId = selfAuthenticating(user.der);

function callContent(fields: Fields = {}): Fields {
  return {
    request_type: "call",
    canister_id: canisterId,
    method_name: "go",
    arg: utf8Bytes("DIDL"),
    sender: userId,
    ingress_expiry: nowNs + minute,
    ...fields,
  };
}

function hashed(fields: Fields): Uint8Array {
  return hashOfMap(fields as { [key: string]: HashableValue | undefined });
}

function signed(content: Fields, signer: Signer = user, extra: Fields = {}): Uint8Array {
  const signature = signer.sign(concatBytes(DOMAIN_REQUEST, hashed(content)));
  return encodeSelfDescribedCbor({
    content,
    sender_pubkey: user.der,
    sender_sig: signature,
    ...extra,
  });
}

function delegate(from: Signer, to: Signer, fields: Fields = {}): Fields {
  const delegation: Fields = { pubkey: to.der, expiration: nowNs + minute, ...fields };
  const signature = from.sign(concatBytes(DOMAIN_DELEGATION, hashed(delegation)));
  return { delegation, signature };
}

function check(
  bytes: Uint8Array,
  kind: RequestKind = "call",
  options: Partial<ValidationOptions> = {},
): string {
  const envelope = decodeEnvelope(bytes, kind);
  if (!envelope.ok) return `${envelope.status} ${envelope.text}`;
  const answer = validateEnvelope(envelope, { nowNs, rootKeyDer, ...options });
  return answer.ok ? "accepted" : `${answer.status} ${answer.text}`;
}

const anonymous = { sender: ANONYMOUS_PRINCIPAL };

test("malformed envelopes are refused by name", () => {
  const cases: [string, CborInput, string][] = [
    ["envelope is not a map", [1], "envelope is not a map"],
    ["content is missing", {}, "content is not a map"],
    ["unknown field", { content: callContent({ extra: 1n }) }, "unknown field extra"],
    [
      "request type",
      { content: callContent({ request_type: "query" }) },
      "request_type is query, expected call",
    ],
    ["type is not text", { content: callContent({ request_type: 1 }) }, "request_type is not text"],
    [
      "canister id",
      { content: callContent({ canister_id: new Uint8Array(30) }) },
      "canister_id is not a principal",
    ],
    ["sender", { content: callContent({ sender: "2vxsx-fae" }) }, "sender is not a principal"],
    ["no sender", { content: callContent({ sender: undefined }) }, "sender is not a principal"],
    ["arg", { content: callContent({ arg: "DIDL" }) }, "arg is not a byte string"],
    [
      "method",
      { content: callContent({ method_name: utf8Bytes("go") }) },
      "method_name is not text",
    ],
    [
      "expiry negative",
      { content: callContent({ ingress_expiry: -1n }) },
      "ingress_expiry is not a nat64",
    ],
    [
      "expiry text",
      { content: callContent({ ingress_expiry: "1" }) },
      "ingress_expiry is not a nat64",
    ],
    ["nonce", { content: callContent({ nonce: 1n }) }, "nonce is not a byte string"],
    [
      "method too long",
      { content: callContent({ method_name: "é".repeat(10_001) }) },
      "method_name has 20002 bytes, at most 20000 are allowed",
    ],
    ["sender info", { content: callContent({ sender_info: 1 }) }, "sender_info is not a map"],
    [
      "sender info null",
      { content: callContent({ sender_info: { info: null, x: null } }) },
      "unknown field in sender_info",
    ],
    [
      "key without signature",
      { content: callContent(), sender_pubkey: user.der },
      "sender_pubkey and sender_sig must come together",
    ],
    [
      "delegation without key",
      { content: callContent(), sender_delegation: [delegate(user, user)] },
      "sender_delegation without sender_pubkey",
    ],
    [
      "delegation",
      { content: callContent(), sender_delegation: [1] },
      "a signed delegation is not a map",
    ],
    [
      "delegation field",
      { content: callContent(), sender_delegation: [delegate(user, user, { x: 1n })] },
      "unknown field in a delegation",
    ],
    [
      "target",
      {
        content: callContent(),
        sender_delegation: [delegate(user, user, { targets: [new Uint8Array(30)] })],
      },
      "delegation target is not a principal",
    ],
  ];
  for (const [name, value, text] of cases) {
    equal(check(encodeCbor(value)), `400 Could not parse body as call message: ${text}`, name);
  }
  equal(
    check(Uint8Array.of(0xbf)),
    "400 Could not parse body as call message: input ends early at byte 1",
  );
  equal(
    check(Uint8Array.of(0xbf), "query"),
    "400 Could not parse body as read request: input ends early at byte 1",
  );
  const float = Uint8Array.fromHex("a167636f6e74656e74fb3ff0000000000000");
  equal(
    check(float),
    "400 Could not parse body as call message: float is not allowed here at byte 9",
  );
});

test("malformed paths are refused", () => {
  const content = (paths: CborInput): Fields => ({
    request_type: "read_state",
    sender: ANONYMOUS_PRINCIPAL,
    ingress_expiry: 0n,
    paths,
  });
  const parse = "400 Could not parse body as read request: ";
  equal(check(encodeCbor({ content: content(1) }), "read_state"), `${parse}paths is not an array`);
  equal(
    check(encodeCbor({ content: content([1]) }), "read_state"),
    `${parse}a path is not an array`,
  );
  equal(
    check(encodeCbor({ content: content([["time"]]) }), "read_state"),
    `${parse}a label is not a byte string`,
  );
  equal(check(encodeCbor({ content: content([[utf8Bytes("time")]]) }), "read_state"), "accepted");
  const many = Array.from({ length: 1001 }, () => []);
  equal(
    check(encodeCbor({ content: content(many) }), "read_state"),
    "400 Too many paths in read state request: got 1001 paths, but at most 1000 are allowed.",
  );
  equal(check(encodeCbor({ content: content(many.slice(1)) }), "read_state"), "accepted");
  const deep = Array.from({ length: 128 }, () => new Uint8Array(1));
  equal(
    check(encodeCbor({ content: content([[], deep]) }), "read_state"),
    "400 At least one path in read state request is too deep: got 128 labels, but at most 127 are allowed.",
  );
  equal(check(encodeCbor({ content: content([deep.slice(1)]) }), "read_state"), "accepted");
});

test("expiry: the exact text, and the bounds", () => {
  const latest = nowNs + 330_000_000_000n;
  const text = (expiry: bigint): string =>
    "400 Invalid request expiry: Specified ingress_expiry not within expected range: " +
    `Minimum allowed expiry: ${formatTimestamp(nowNs)}, Maximum allowed expiry: ${formatTimestamp(latest)}, ` +
    `Provided expiry:        ${formatTimestamp(expiry)}`;
  for (const expiry of [0n, nowNs - 1n, latest + 1n, 2n ** 64n - 1n]) {
    equal(check(signed(callContent({ ingress_expiry: expiry }))), text(expiry));
    const query = callContent({ ingress_expiry: expiry, request_type: "query" });
    equal(check(signed(query), "query"), text(expiry));
    equal(
      check(encodeCbor({ content: callContent({ ...anonymous, ingress_expiry: expiry }) })),
      text(expiry),
    );
    // Anonymous queries may have any expiry.
    equal(check(encodeCbor({ content: { ...query, ...anonymous } }), "query"), "accepted");
  }
  for (const expiry of [nowNs, latest])
    equal(check(signed(callContent({ ingress_expiry: expiry }))), "accepted");
  equal(
    text(0n).includes(
      "2027-01-15 08:00:00.000000000 UTC, Maximum allowed expiry: 2027-01-15 08:05:30.000000000 UTC",
    ),
    true,
  );
});

test("size: calls above 2 MiB are refused with 413, nonces above 32 bytes with 400", () => {
  const content = callContent({ arg: new Uint8Array(INGRESS_BYTES_MAX) });
  const bytes = signed(content);
  const id = hashed(content).toHex();
  equal(
    check(bytes),
    `413 Request ${id} is too large. Message byte size ${bytes.length} is larger than the max allowed 2097152.`,
  );
  equal(check(signed({ ...content, request_type: "query" }), "query"), "accepted");
  equal(
    check(signed(callContent({ nonce: new Uint8Array(33) }))),
    "400 Nonce in request is too big: got 33 bytes, but at most 32 are allowed.",
  );
  equal(check(signed(callContent({ nonce: new Uint8Array(32) }))), "accepted");
});

test("the canister in the URL must be the effective one", () => {
  const [own, other] = [formatPrincipal(canisterId), formatPrincipal(otherCanisterId)];
  const mismatch = `400 Specified CanisterId ${own} does not match effective canister id in URL ${other}`;
  equal(check(signed(callContent()), "call", { urlCanisterId: otherCanisterId }), mismatch);
  equal(check(signed(callContent()), "call", { urlCanisterId: canisterId }), "accepted");
  const management = signed(callContent({ canister_id: MANAGEMENT_CANISTER }));
  const options = { urlCanisterId: otherCanisterId };
  equal(check(management, "call", { ...options, managementTarget: () => canisterId }), mismatch);
  equal(
    check(management, "call", { ...options, managementTarget: () => otherCanisterId }),
    "accepted",
  );
  equal(check(management, "call", { ...options, managementTarget: () => undefined }), "accepted");
  equal(check(management, "call", options), "accepted");
});

test("senders: anonymous, missing signature, another's key, bad signature", () => {
  equal(check(encodeCbor({ content: callContent(anonymous) })), "accepted");
  equal(
    check(signed(callContent(anonymous))),
    "400 Signature is not allowed for the anonymous user.",
  );
  equal(
    check(encodeCbor({ content: callContent() })),
    `400 Missing signature from user: ${formatPrincipal(userId)}`,
  );
  const sender = canisterId;
  equal(
    check(signed(callContent({ sender }))),
    `400 The user id '${formatPrincipal(sender)}' does not match the public key '${user.der.toHex()}'`,
  );
  const bad =
    "400 Invalid signature: Invalid basic signature: the ed25519 signature does not verify.";
  equal(check(signed(callContent(), ed25519Signer(2))), bad);
  equal(check(signed(callContent(), user, { sender_sig: new Uint8Array(0) })), bad);
  const content = callContent();
  const moved = encodeCbor({
    content: { ...content, method_name: "gone" },
    sender_pubkey: user.der,
    sender_sig: user.sign(concatBytes(DOMAIN_REQUEST, hashed(content))),
  });
  equal(check(moved), bad);
  const bare = encodeCbor({
    content,
    sender_pubkey: user.der,
    sender_sig: user.sign(hashed(content)),
  });
  equal(check(bare), bad, "without the domain separator");
});

test("every scheme of users is accepted, others are named", () => {
  for (const signer of [user, ecdsaSigner("prime256v1"), ecdsaSigner("secp256k1")]) {
    const content = callContent({ sender: selfAuthenticating(signer.der) });
    equal(check(signed(content, signer, { sender_pubkey: signer.der })), "accepted");
    const damaged = signer.sign(utf8Bytes("other"));
    const answer = check(
      signed(content, signer, { sender_pubkey: signer.der, sender_sig: damaged }),
    );
    equal(
      /^400 Invalid signature: Invalid basic signature: the (ed25519|ecdsa-p256|ecdsa-secp256k1) signature does not verify\.$/.test(
        answer,
      ),
      true,
      answer,
    );
  }
  const keyed = (der: Uint8Array): string =>
    check(signed(callContent({ sender: selfAuthenticating(der) }), user, { sender_pubkey: der }));
  equal(
    keyed(new Uint8Array(5)),
    "400 Invalid signature: Invalid public key: unsupported or malformed DER key.",
  );
  const bls = blsPublicKeyDer(blsSecretKeyFromUniform(new Uint8Array(48)));
  equal(
    keyed(bls),
    "400 Invalid signature: Invalid public key: BLS keys are not allowed for users.",
  );
});

test("passkeys are accepted, and what is wrong with them is named", () => {
  // A COSE key of EdDSA in its own DER: the key that a browser's passkey has.
  const cose = concatBytes(Uint8Array.fromHex("a4010103272006215820"), user.der.slice(-32));
  const der = concatBytes(Uint8Array.fromHex("303b300c060a2b0601040183b8430101032b00"), cose);
  const content = callContent({ sender: selfAuthenticating(der) });
  const challenge = Buffer.from(concatBytes(DOMAIN_REQUEST, hashed(content))).toString("base64url");
  const json = JSON.stringify({ type: "webauthn.get", challenge, origin: "https://a.example" });
  const data = new Uint8Array(37);
  const by = (signature: Uint8Array, client_data_json = json): string =>
    check(
      signed(content, user, {
        sender_pubkey: der,
        sender_sig: encodeSelfDescribedCbor({
          authenticator_data: data,
          client_data_json,
          signature,
        }),
      }),
    );
  const good = user.sign(concatBytes(data, sha256(utf8Bytes(json))));
  equal(by(good), "accepted");
  const failure = "400 Invalid signature: WebAuthn error: ";
  equal(by(new Uint8Array(64)), `${failure}the ed25519 signature does not verify.`);
  equal(
    by(good, json.replace(challenge, "AAAA")),
    `${failure}the challenge in the client data is not the signed message.`,
  );
  equal(
    check(signed(content, user, { sender_pubkey: der })),
    `${failure}the signature is not CBOR of authenticator_data, client_data_json, signature.`,
  );
});

test("sender info needs a canister signature", () => {
  const info = { info: utf8Bytes("x"), signer: canisterId, sig: utf8Bytes("y") };
  equal(
    check(signed(callContent({ sender_info: info }))).startsWith("400 Invalid sender info"),
    true,
  );
});

test("null fields count as absent, indefinite maps and tags are accepted", () => {
  const content = callContent();
  const signature = user.sign(concatBytes(DOMAIN_REQUEST, hashed(content)));
  const withNulls = {
    content: { ...content, nonce: null, sender_info: null },
    sender_pubkey: user.der,
    sender_sig: signature,
    sender_delegation: null,
  };
  equal(check(encodeCbor(withNulls)), "accepted");
  const definite = encodeCbor({ content, sender_pubkey: user.der, sender_sig: signature });
  const indefinite = concatBytes(Uint8Array.of(0xbf), definite.subarray(1), Uint8Array.of(0xff));
  equal(check(indefinite), "accepted");
});

test("delegations: chains, and everything that breaks one", () => {
  const [a, b] = [ecdsaSigner("prime256v1"), ed25519Signer(3)];
  const chain = (
    links: Fields[],
    last: Signer,
    content = callContent(),
    kind: RequestKind = "call",
  ): string => check(signed(content, last, { sender_delegation: links }), kind);
  equal(chain([delegate(user, a)], a), "accepted");
  equal(chain([delegate(user, a), delegate(a, b)], b), "accepted");
  equal(chain([], user), "accepted");
  const badLink = (scheme: string): string =>
    `400 Invalid delegation: Invalid basic signature: the ${scheme} signature does not verify.`;
  equal(chain([delegate(b, a)], a), badLink("ed25519"));
  equal(chain([delegate(user, a), delegate(user, b)], b), badLink("ecdsa-p256"));
  equal(
    chain([delegate(user, a)], user),
    "400 Invalid signature: Invalid basic signature: the ecdsa-p256 signature does not verify.",
  );
  const cycle = (der: Uint8Array): string =>
    `400 Invalid delegation: Chain of delegations contains at least one cycle: first repeating public key encountered ${der.toHex()}`;
  equal(chain([delegate(user, user)], user), cycle(user.der));
  equal(chain([delegate(user, a), delegate(a, b), delegate(b, a)], a), cycle(a.der));
  const signers = [user, ...Array.from({ length: 21 }, (_, index) => ed25519Signer(100 + index))];
  const links = signers.slice(1).map((signer, index) => delegate(signers[index]!, signer));
  equal(chain(links.slice(0, 20), signers[20]!), "accepted");
  equal(
    chain(links, signers[21]!),
    "400 Invalid delegation: Chain of delegations is too long: got 21 delegations, but at most 20 are allowed.",
  );
  const unparsable = { ...user, der: new Uint8Array(3) };
  equal(
    chain([delegate(user, unparsable)], user),
    "400 Invalid signature: Invalid public key: unsupported or malformed DER key.",
  );
});

test("delegations: expiry", () => {
  const a = ed25519Signer(4);
  const expired = (expiration: bigint): string =>
    check(signed(callContent(), a, { sender_delegation: [delegate(user, a, { expiration })] }));
  equal(expired(nowNs), "accepted");
  const text = `Provided expiry:    ${formatTimestamp(nowNs - 1n)}\nLocal replica time: ${formatTimestamp(nowNs)}`;
  equal(
    expired(nowNs - 1n),
    `400 Invalid delegation expiry: Specified sender delegation has expired:\n${text}`,
  );
});

test("delegations: targets are intersected", () => {
  const [a, b] = [ed25519Signer(4), ed25519Signer(5)];
  const targeted = (...targets: (Uint8Array[] | undefined)[]): string => {
    const [first, second] = targets;
    return check(
      signed(callContent(), b, {
        sender_delegation: [
          delegate(user, a, { targets: first }),
          delegate(a, b, { targets: second }),
        ],
      }),
    );
  };
  const refused = `400 Canister '${formatPrincipal(canisterId)}' is not one of the delegation targets.`;
  equal(targeted([canisterId], undefined), "accepted");
  equal(targeted([otherCanisterId, canisterId, canisterId], [canisterId]), "accepted");
  equal(targeted([otherCanisterId, canisterId], [otherCanisterId]), refused);
  equal(targeted([canisterId], [otherCanisterId]), refused);
  equal(targeted([], undefined), refused);
  const many = Array.from({ length: 1001 }, (_, index) => canisterIdFromU64(BigInt(index)));
  equal(targeted(many.slice(1), undefined), "accepted");
  equal(
    targeted(many, undefined),
    "400 Invalid delegation: Delegation target error: Too many targets: got 1001 targets, but at most 1000 are allowed.",
  );
  const management = callContent({ canister_id: MANAGEMENT_CANISTER });
  const call = (targets: Uint8Array[]): string =>
    check(signed(management, a, { sender_delegation: [delegate(user, a, { targets })] }));
  equal(call([MANAGEMENT_CANISTER]), "accepted");
  equal(call([canisterId]), "400 Canister 'aaaaa-aa' is not one of the delegation targets.");
  const read = { request_type: "read_state", sender: userId, ingress_expiry: nowNs, paths: [] };
  equal(
    check(
      signed(read, a, { sender_delegation: [delegate(user, a, { targets: [] })] }),
      "read_state",
    ),
    "accepted",
  );
});

test("delegations: permissions", () => {
  const a = ed25519Signer(4);
  const permitted = (permissions: string, kind: "call" | "query"): string =>
    check(
      signed(callContent({ request_type: kind }), a, {
        sender_delegation: [delegate(user, a, { permissions })],
      }),
      kind,
    );
  equal(permitted("all", "call"), "accepted");
  equal(permitted("queries", "query"), "accepted");
  equal(
    permitted("queries", "call"),
    "400 Invalid delegation: The delegation permits queries only.",
  );
  equal(
    permitted("some", "query"),
    "400 Invalid delegation: Delegation permission error: unknown permissions 'some'.",
  );
});

test("the part that does not depend on time can be kept", () => {
  const a = ed25519Signer(4);
  const expiration = nowNs + minute;
  const bytes = signed(callContent(), a, {
    sender_delegation: [delegate(user, a, { expiration, targets: [canisterId] })],
  });
  const envelope = decodeEnvelope(bytes, "call");
  equal(envelope.ok, true);
  if (!envelope.ok) return;
  const authenticated = authenticateSender(envelope, rootKeyDer);
  deepEqual(authenticated, {
    ok: true,
    sender: userId,
    targets: [canisterId],
    delegationExpiryNs: expiration,
    isQueriesOnly: false,
  });
  if (!authenticated.ok) return;
  const accepted = validateEnvelope(envelope, { nowNs, rootKeyDer, authenticated });
  equal(accepted.ok && accepted.content.methodName, "go");
  const late = validateEnvelope(envelope, { nowNs: expiration + 1n, rootKeyDer, authenticated });
  equal(late.ok, false);
});

test("any bytes give a refusal or an answer (fuzz, smoke)", () => {
  let envelopes = 0;
  const property = fc.property(hostileEnvelope, (bytes) => {
    envelopes += decodeAndValidate(bytes);
  });
  fc.assert(property, { seed: 9, numRuns: 1500 });
  equal(envelopes > 20, true, "the fuzzer reaches past decoding");
});
