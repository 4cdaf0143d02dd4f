// What a canister has certified, out of a certificate: the certificate must be the network's, and of a
// subnet that may speak for this canister. Owns no rule about how old a certificate may be.

import { compareBytes, DecodeError } from "gyrotron/base";
import { type CborValue, decodeCbor, sha256 } from "gyrotron/crypto";
import { type Certificate, decodeCertificate, verifyCertificate } from "./certificate.ts";
import { type HashTree, lookupPath, lookupSubtree, revealedLabels, treePath } from "./hash-tree.ts";

/** A canister's certified data and the tree that shows it, or what is wrong with the certificate. */
export type CertifiedData =
  | { readonly ok: true; readonly data: Uint8Array; readonly tree: HashTree }
  | { readonly ok: false; readonly problem: string };

/** Reads and checks the certified data of a canister under a root key (DER). Never throws on malformed input. */
export function readCertifiedData(
  certificateBytes: Uint8Array,
  canisterId: Uint8Array,
  rootKeyDer: Uint8Array,
): CertifiedData {
  try {
    const certificate = decodeCertificate(certificateBytes);
    const isOfNetwork = onceVerified(sha256(rootKeyDer, certificateBytes), () =>
      verifyCertificate(certificate, rootKeyDer),
    );
    if (!isOfNetwork) return problem("the certificate is not signed under the root key.");
    if (!mayCertify(certificate, canisterId))
      return problem("the certificate is of a subnet without this canister.");
    const found = lookupPath(certificate.tree, treePath("canister", canisterId, "certified_data"));
    if (found.kind !== "found")
      return problem("the certificate does not show the canister's certified data.");
    return { ok: true, data: found.value, tree: certificate.tree };
  } catch (error) {
    if (error instanceof DecodeError) return problem("the certificate is malformed.");
    throw error;
  }
}

/** Verifying costs milliseconds, and one certificate comes with many messages. */
const VERIFIED_MAX = 512;
const verified = new Map<string, boolean>();

function onceVerified(id: Uint8Array, verify: () => boolean): boolean {
  const key = id.toHex();
  const known = verified.get(key);
  if (known !== undefined) return known;
  const answer = verify();
  if (verified.size >= VERIFIED_MAX) verified.delete(verified.keys().next().value!);
  verified.set(key, answer);
  return answer;
}

/** The root subnet may speak for any canister; others for those in their ranges, unless they are cloud engines. */
function mayCertify({ delegation }: Certificate, canisterId: Uint8Array): boolean {
  if (delegation === undefined) return true;
  const { tree } = decodeCertificate(delegation.certificate);
  const { subnetId } = delegation;
  const type = lookupPath(tree, treePath("subnet", subnetId, "type"));
  if (type.kind === "found" && compareBytes(type.value, CLOUD_ENGINE) === 0) return false;
  return rangesOf(tree, subnetId).some(
    ([low, high]) => compareBytes(low, canisterId) <= 0 && compareBytes(canisterId, high) <= 0,
  );
}

const [CLOUD_ENGINE] = treePath("cloud_engine") as [Uint8Array];

/** Ranges of a subnet, in shards or in their older place. */
function rangesOf(tree: HashTree, subnetId: Uint8Array): (readonly [Uint8Array, Uint8Array])[] {
  const shards = lookupSubtree(tree, treePath("canister_ranges", subnetId));
  const leaves =
    shards.kind === "found"
      ? revealedLabels(shards.tree).map((label) => lookupPath(shards.tree, [label]))
      : [lookupPath(tree, treePath("subnet", subnetId, "canister_ranges"))];
  return leaves.flatMap((leaf) =>
    leaf.kind === "found" ? rangesFrom(decodeCbor(leaf.value)) : [],
  );
}

function rangesFrom(value: CborValue): (readonly [Uint8Array, Uint8Array])[] {
  if (!Array.isArray(value)) throw malformed();
  return value.map((range) => {
    const [low, high] = Array.isArray(range) ? range : [];
    if (!(low instanceof Uint8Array) || !(high instanceof Uint8Array)) throw malformed();
    return [low, high] as const;
  });
}

function malformed(): DecodeError {
  const what = "canister ranges are not pairs of principals";
  return new DecodeError({ code: "certificate/decode", what, offset: 0 });
}

function problem(text: string): CertifiedData {
  return { ok: false, problem: text };
}
