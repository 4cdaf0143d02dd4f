// Canister signatures: a canister signs a message by certifying the root of a tree that has it. The
// signature is the network's certificate of that root with the path in the canister's tree.

import { DecodeError, equalBytes } from "gyrotron/base";
import {
  type CanisterSignatureKey,
  decodeCbor,
  encodeSelfDescribedCbor,
  sha256,
} from "gyrotron/crypto";
import { readCertifiedData } from "./certified-data.ts";
import {
  type HashTree,
  hashOfTree,
  hashTreeFromCbor,
  lookupPath,
  TREE_DEPTH_MAX,
  treePath,
} from "./hash-tree.ts";

/** What is wrong with a canister's signature over `message`, as a sentence; undefined: it is valid, at any time. */
export function canisterSignatureProblem(
  key: CanisterSignatureKey,
  message: Uint8Array,
  signature: Uint8Array,
  rootKeyDer: Uint8Array,
): string | undefined {
  const parts = decodeParts(signature);
  if (parts === undefined) return "the signature is not CBOR of certificate and tree.";
  const certified = readCertifiedData(parts.certificate, key.canisterId, rootKeyDer);
  if (!certified.ok) return certified.problem;
  if (!equalBytes(certified.data, hashOfTree(parts.tree)))
    return "the canister has not certified this tree.";
  const path = treePath("sig", sha256(key.seed), sha256(message));
  const leaf = lookupPath(parts.tree, path);
  if (leaf.kind !== "found" || leaf.value.length > 0)
    return "the tree does not have this message under the key's seed.";
  return undefined;
}

/** CBOR of a canister signature. */
export function encodeCanisterSignature(certificate: Uint8Array, tree: HashTree): Uint8Array {
  return encodeSelfDescribedCbor({ certificate, tree });
}

function decodeParts(bytes: Uint8Array): { certificate: Uint8Array; tree: HashTree } | undefined {
  try {
    const map = decodeCbor(bytes, { depthMax: TREE_DEPTH_MAX });
    const certificate = map instanceof Map ? map.get("certificate") : undefined;
    if (!(map instanceof Map) || !(certificate instanceof Uint8Array)) return undefined;
    return { certificate, tree: hashTreeFromCbor(map.get("tree")) };
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}
