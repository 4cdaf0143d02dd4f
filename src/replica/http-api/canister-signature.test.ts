// Requests signed by canisters, directly and through delegations, as identity providers make them:
// what is accepted, and each thing that may be wrong with certificate, tree, ranges and sender info.

import { equal } from "node:assert/strict";
import { test } from "node:test";
import { concatBytes, utf8Bytes } from "gyrotron/base";
import {
  blsPublicKeyDer,
  blsSecretKeyFromUniform,
  canisterIdFromU64,
  type CborInput,
  DOMAIN_DELEGATION,
  DOMAIN_REQUEST,
  DOMAIN_SENDER_INFO,
  ed25519PublicKeyDer,
  encodeCanisterSignatureKey,
  encodeSelfDescribedCbor,
  formatPrincipal,
  type HashableValue,
  hashOfMap,
  parseUserKey,
  selfAuthenticating,
  sha256,
  signBls,
  signEd25519,
} from "gyrotron/crypto";
import {
  type CertificateDelegation,
  certificateMessage,
  encodeCanisterSignature,
  encodeCertificate,
  hashOfTree,
  type HashTree,
} from "../certification/index.ts";
import { decodeEnvelope } from "./envelope.ts";
import { validateEnvelope, validateEnvelopeWith } from "./envelope-validation.ts";

type Fields = Record<string, CborInput | undefined>;

const rootSecret = blsSecretKeyFromUniform(new Uint8Array(48).fill(1));
const subnetSecret = blsSecretKeyFromUniform(new Uint8Array(48).fill(2));
const rootKeyDer = blsPublicKeyDer(rootSecret);
const subnetKeyDer = blsPublicKeyDer(subnetSecret);
const subnetId = selfAuthenticating(subnetKeyDer);
const issuer = canisterIdFromU64(10n);
const target = canisterIdFromU64(7n);
const seed = utf8Bytes("user 1");
const keyDer = encodeCanisterSignatureKey(issuer, seed);
const sender = selfAuthenticating(keyDer);
const nowNs = 1_800_000_000_000_000_000n;
const expiration = nowNs + 60_000_000_000n;
const sessionSeed = new Uint8Array(32).fill(3);
const sessionDer = ed25519PublicKeyDer(sessionSeed);

function labeled(label: string | Uint8Array, tree: HashTree): HashTree {
  return [2, typeof label === "string" ? utf8Bytes(label) : label, tree];
}

function leaf(value: Uint8Array): HashTree {
  return [3, value];
}

/** How a test's signature differs from a good one. */
interface Flaw {
  seed?: Uint8Array;
  leaf?: HashTree;
  certifiedData?: Uint8Array;
  certifiedCanister?: Uint8Array;
  secret?: Uint8Array;
  delegation?: CertificateDelegation;
}

function certificateOf(
  tree: HashTree,
  secret: Uint8Array,
  delegation?: CertificateDelegation,
): Uint8Array {
  const signature = signBls(secret, certificateMessage(hashOfTree(tree)));
  return encodeCertificate(tree, signature, delegation);
}

function signatureTree(message: Uint8Array, flaw: Flaw = {}): HashTree {
  const below = labeled(sha256(message), flaw.leaf ?? leaf(new Uint8Array(0)));
  return labeled("sig", labeled(sha256(flaw.seed ?? seed), below));
}

function canisterSigned(message: Uint8Array, flaw: Flaw = {}): Uint8Array {
  const tree = signatureTree(message, flaw);
  const data = flaw.certifiedData ?? hashOfTree(tree);
  const own = labeled(flaw.certifiedCanister ?? issuer, labeled("certified_data", leaf(data)));
  const stateTree: HashTree = [
    1,
    labeled("canister", own),
    labeled("time", leaf(Uint8Array.of(1))),
  ];
  const certificate = certificateOf(stateTree, flaw.secret ?? rootSecret, flaw.delegation);
  return encodeCanisterSignature(certificate, tree);
}

function hashed(fields: Fields): Uint8Array {
  return hashOfMap(fields as { [key: string]: HashableValue | undefined });
}

function content(fields: Fields = {}): Fields {
  return {
    request_type: "call",
    canister_id: target,
    method_name: "go",
    arg: utf8Bytes("DIDL"),
    sender,
    ingress_expiry: expiration,
    ...fields,
  };
}

function direct(flaw: Flaw = {}, fields: Fields = {}, extra: Fields = {}): Uint8Array {
  const sent = content(fields);
  const message = concatBytes(DOMAIN_REQUEST, hashed(sent));
  const sender_sig = canisterSigned(message, flaw);
  return encodeSelfDescribedCbor({ content: sent, sender_pubkey: keyDer, sender_sig, ...extra });
}

/** A session key that the issuer lets sign, as Internet Identity does. */
function delegated(flaw: Flaw = {}, fields: Fields = {}): Uint8Array {
  const sent = content(fields);
  const delegation = { pubkey: sessionDer, expiration, targets: [target] };
  const signature = canisterSigned(concatBytes(DOMAIN_DELEGATION, hashed(delegation)), flaw);
  const sender_sig = signEd25519(sessionSeed, concatBytes(DOMAIN_REQUEST, hashed(sent)));
  const sender_delegation = [{ delegation, signature }];
  return encodeSelfDescribedCbor({
    content: sent,
    sender_pubkey: keyDer,
    sender_sig,
    sender_delegation,
  });
}

function check(bytes: Uint8Array, root = rootKeyDer): string {
  const envelope = decodeEnvelope(bytes, "call");
  if (!envelope.ok) return `${envelope.status} ${envelope.text}`;
  const answer = validateEnvelope(envelope, { nowNs, rootKeyDer: root });
  return answer.ok ? "accepted" : `${answer.status} ${answer.text}`;
}

const refusal = (problem: string): string =>
  `400 Invalid signature: Invalid canister signature: ${problem}`;

test("a canister's signature is accepted, and so are delegations that it signs", async () => {
  equal(check(direct()), "accepted");
  equal(check(delegated()), "accepted");
  const envelope = decodeEnvelope(delegated(), "call");
  equal(envelope.ok, true);
  if (!envelope.ok) return;
  let plainSignatures = 0;
  const answer = await validateEnvelopeWith(envelope, { nowNs, rootKeyDer }, async () => {
    plainSignatures += 1;
    return true;
  });
  equal(answer.ok, true);
  equal(plainSignatures, 1, "only the session's signature is verified elsewhere");
});

test("each thing that may be wrong with a canister's signature is named", () => {
  const cases: [Flaw, string][] = [
    [{ secret: subnetSecret }, "the certificate is not signed under the root key."],
    [{ certifiedCanister: target }, "the certificate does not show the canister's certified data."],
    [{ certifiedData: new Uint8Array(32) }, "the canister has not certified this tree."],
    [{ certifiedData: new Uint8Array(0) }, "the canister has not certified this tree."],
    [{ seed: utf8Bytes("user 2") }, "the tree does not have this message under the key's seed."],
    [{ leaf: leaf(Uint8Array.of(1)) }, "the tree does not have this message under the key's seed."],
    [
      { leaf: [4, new Uint8Array(32)] },
      "the tree does not have this message under the key's seed.",
    ],
  ];
  for (const [flaw, problem] of cases) equal(check(direct(flaw)), refusal(problem));
  equal(
    check(delegated({ seed: utf8Bytes("user 2") })),
    "400 Invalid delegation: Invalid canister signature: the tree does not have this message under the key's seed.",
  );
  equal(
    check(direct(), subnetKeyDer),
    refusal("the certificate is not signed under the root key."),
    "another network",
  );
  const shape = refusal("the signature is not CBOR of certificate and tree.");
  for (const value of [1, {}, { certificate: new Uint8Array(1) }, { certificate: 1, tree: [0] }])
    equal(
      check(direct({}, {}, { sender_sig: encodeSelfDescribedCbor(value as CborInput) })),
      shape,
    );
  const malformed = encodeSelfDescribedCbor({ certificate: new Uint8Array(1), tree: [0] });
  equal(check(direct({}, {}, { sender_sig: malformed })), refusal("the certificate is malformed."));
  const moved = canisterSigned(concatBytes(DOMAIN_DELEGATION, hashed(content())));
  equal(
    check(direct({}, {}, { sender_sig: moved })),
    refusal("the tree does not have this message under the key's seed."),
    "under another domain",
  );
});

test("a subnet's certificate counts for the canisters in its ranges", () => {
  const delegation = (
    low: bigint,
    high: bigint,
    options: { sharded?: boolean; type?: string; secret?: Uint8Array } = {},
  ): CertificateDelegation => {
    const ranges = leaf(
      encodeSelfDescribedCbor([[canisterIdFromU64(low), canisterIdFromU64(high)]]),
    );
    const type = labeled("type", leaf(utf8Bytes(options.type ?? "application")));
    const publicKey = labeled("public_key", leaf(subnetKeyDer));
    const facts: HashTree = [1, publicKey, type];
    const sharded = labeled(
      "canister_ranges",
      labeled(subnetId, labeled(canisterIdFromU64(low), ranges)),
    );
    const subnet = (below: HashTree): HashTree => labeled("subnet", labeled(subnetId, below));
    const tree: HashTree =
      options.sharded === true
        ? [1, sharded, subnet(facts)]
        : subnet([1, labeled("canister_ranges", ranges), facts]);
    return { subnetId, certificate: certificateOf(tree, options.secret ?? rootSecret) };
  };
  const signed = (given: CertificateDelegation): string =>
    check(direct({ secret: subnetSecret, delegation: given }));
  equal(signed(delegation(0n, 10n)), "accepted");
  equal(signed(delegation(10n, 10n, { sharded: true })), "accepted");
  const foreign = refusal("the certificate is of a subnet without this canister.");
  equal(signed(delegation(0n, 9n)), foreign);
  equal(signed(delegation(11n, 12n, { sharded: true })), foreign);
  equal(signed(delegation(0n, 10n, { type: "cloud_engine" })), foreign);
  equal(
    signed(delegation(0n, 10n, { secret: subnetSecret })),
    refusal("the certificate is not signed under the root key."),
  );
});

test("sender info is believed if the key's canister signed it", () => {
  const info = utf8Bytes("name: x");
  const sig = canisterSigned(concatBytes(DOMAIN_SENDER_INFO, info));
  const sent = (fields: Fields): string =>
    check(delegated({}, { sender_info: { info, signer: issuer, sig, ...fields } }));
  equal(sent({}), "accepted");
  equal(
    sent({ signer: target }),
    `400 Invalid sender info: the signer ${formatPrincipal(target)} is not the key's canister ${formatPrincipal(issuer)}.`,
  );
  equal(
    sent({ info: utf8Bytes("name: y") }),
    "400 Invalid sender info: Invalid canister signature: the tree does not have this message under the key's seed.",
  );
  equal(
    sent({ sig: canisterSigned(concatBytes(DOMAIN_SENDER_INFO, info), { seed: utf8Bytes("2") }) }),
    "400 Invalid sender info: Invalid canister signature: the tree does not have this message under the key's seed.",
  );
});

test("keys of canister signatures name a canister", () => {
  const key = parseUserKey(keyDer);
  equal(
    key.scheme === "canister-signature" && formatPrincipal(key.canisterId),
    formatPrincipal(issuer),
  );
  equal(parseUserKey(encodeCanisterSignatureKey(issuer, new Uint8Array(0))).scheme, key.scheme);
  const nameless = encodeCanisterSignatureKey(new Uint8Array(0), seed);
  const sent = content({ sender: selfAuthenticating(nameless) });
  equal(
    check(encodeSelfDescribedCbor({ content: sent, sender_pubkey: nameless, sender_sig: seed })),
    "400 Invalid signature: Invalid public key: key of a canister signature names no canister.",
  );
});
