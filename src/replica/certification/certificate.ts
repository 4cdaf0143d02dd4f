// Certificates: a pruned tree with a BLS signature over its root hash, perhaps with a delegation
// from the root subnet. Building, decoding, and the check that a client makes.

import { concatBytes, DecodeError } from "gyrotron/base";
import {
  type CborValue,
  CryptoError,
  DOMAIN_STATE_ROOT,
  decodeCbor,
  encodeSelfDescribedCbor,
  parsePublicKey,
  verifySignature,
} from "gyrotron/crypto";
import type { HashTree } from "./hash-tree.ts";
import { hashOfTree, hashTreeFromCbor, lookupPath, TREE_DEPTH_MAX, treePath } from "./hash-tree.ts";

/** A certificate as it travels. */
export interface Certificate {
  tree: HashTree;
  /** 48 bytes. */
  signature: Uint8Array;
  delegation?: CertificateDelegation | undefined;
}

/** The root subnet's word for another subnet's key. */
export interface CertificateDelegation {
  subnetId: Uint8Array;
  /** Encoded certificate of the root subnet, itself without delegation. */
  certificate: Uint8Array;
}

/** The bytes that a network signs to certify a root hash. */
export function certificateMessage(rootHash: Uint8Array): Uint8Array {
  return concatBytes(DOMAIN_STATE_ROOT, rootHash);
}

/** CBOR of a certificate behind the self-describing tag. */
export function encodeCertificate(
  tree: HashTree,
  signature: Uint8Array,
  delegation?: CertificateDelegation,
): Uint8Array {
  const { subnetId, certificate } = delegation ?? {};
  const delegationCbor =
    delegation === undefined ? undefined : { subnet_id: subnetId, certificate };
  return encodeSelfDescribedCbor({ tree, signature, delegation: delegationCbor });
}

/** @throws DecodeError `cbor/decode`, `hash-tree/decode` or `certificate/decode` */
export function decodeCertificate(bytes: Uint8Array): Certificate {
  const map = decodeCbor(bytes, { depthMax: TREE_DEPTH_MAX });
  if (!(map instanceof Map)) throw malformed("not a map");
  const signature = byteField(map, "signature");
  const tree = hashTreeFromCbor(map.get("tree"));
  const delegation = map.get("delegation");
  if (delegation === undefined) return { tree, signature };
  if (!(delegation instanceof Map)) throw malformed("delegation is not a map");
  const subnetId = byteField(delegation, "subnet_id");
  return {
    tree,
    signature,
    delegation: { subnetId, certificate: byteField(delegation, "certificate") },
  };
}

/**
 * Whether the key (DER), through the delegation if there is one, signed this tree. Ranges and time are
 * the caller's to check. Malformed keys and delegations make it false.
 */
export function verifyCertificate(certificate: Certificate, rootKeyDer: Uint8Array): boolean {
  try {
    const keyDer = signingKey(certificate, rootKeyDer);
    if (keyDer === undefined) return false;
    const key = parsePublicKey(keyDer);
    const message = certificateMessage(hashOfTree(certificate.tree));
    return key.scheme === "bls12-381" && verifySignature(key, message, certificate.signature);
  } catch (error) {
    if (error instanceof DecodeError || error instanceof CryptoError) return false;
    throw error;
  }
}

/** The key that must have signed: the root's, or the one that a valid delegation names. */
function signingKey(certificate: Certificate, rootKeyDer: Uint8Array): Uint8Array | undefined {
  const { delegation } = certificate;
  if (delegation === undefined) return rootKeyDer;
  const parent = decodeCertificate(delegation.certificate);
  if (parent.delegation !== undefined || !verifyCertificate(parent, rootKeyDer)) return undefined;
  const found = lookupPath(parent.tree, treePath("subnet", delegation.subnetId, "public_key"));
  return found.kind === "found" ? found.value : undefined;
}

function byteField(map: ReadonlyMap<string, CborValue>, name: string): Uint8Array {
  const value = map.get(name);
  if (!(value instanceof Uint8Array)) throw malformed(`${name} is not a byte string`);
  return value;
}

function malformed(what: string): DecodeError {
  return new DecodeError({ code: "certificate/decode", what, offset: 0 });
}
