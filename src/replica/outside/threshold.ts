// The methods of threshold keys: public keys, which anyone can derive from the network's master keys,
// and requests for signatures and derived keys, which are tasks for the nodes.

import { fromIdlPrincipal, type IdlPrincipal } from "gyrotron/candid";
import { deriveThresholdKey, isTransportKey } from "gyrotron/crypto";
import type { BlockContext } from "../block-context.ts";
import type { ThresholdKey } from "../contract.ts";
import { type ManagementCall, type MethodResult, replyWith } from "../management/call.ts";
import { ErrorCode, type Reject, reject } from "../reject.ts";
import { payOutsideTask, recordOutsideTask, type SigningWork } from "./outside-task.ts";

const PATH_ELEMENTS_MAX = 255;
/** What derivation costs towards the instructions of a round, an element of a path. */
const DERIVE_INSTRUCTIONS = 2_000_000n;
const WAIT_NS = 300_000_000_000n;

interface EcdsaKeyId {
  curve: { secp256k1: null };
  name: string;
}
interface SchnorrKeyId {
  algorithm: { bip340secp256k1: null } | { ed25519: null };
  name: string;
}
interface VetkdKeyId {
  curve: { bls12_381_g2: null };
  name: string;
}

/** ecdsa_public_key. */
export function ecdsaPublicKey(
  context: BlockContext,
  call: ManagementCall,
  argument: { canister_id: [] | [IdlPrincipal]; derivation_path: Uint8Array[]; key_id: EcdsaKeyId },
): MethodResult {
  return publicKeyReply(context, call, "ecdsa", argument);
}

/** schnorr_public_key. */
export function schnorrPublicKey(
  context: BlockContext,
  call: ManagementCall,
  argument: {
    canister_id: [] | [IdlPrincipal];
    derivation_path: Uint8Array[];
    key_id: SchnorrKeyId;
  },
): MethodResult {
  return publicKeyReply(context, call, schemeOf(argument.key_id), argument);
}

/** vetkd_public_key. */
export function vetkdPublicKey(
  context: BlockContext,
  call: ManagementCall,
  argument: { canister_id: [] | [IdlPrincipal]; context: Uint8Array; key_id: VetkdKeyId },
): MethodResult {
  const derived = derive(context, call, "vetkd", {
    canister_id: argument.canister_id,
    derivation_path: [argument.context],
    key_id: argument.key_id,
  });
  return "kind" in derived ? derived : replyWith("vetkdKey", { public_key: derived.publicKey });
}

/** sign_with_ecdsa: of a hash. */
export function signWithEcdsa(
  context: BlockContext,
  call: ManagementCall,
  argument: { message_hash: Uint8Array; derivation_path: Uint8Array[]; key_id: EcdsaKeyId },
): MethodResult {
  if (argument.message_hash.length !== 32)
    return badPayload(`message_hash has ${argument.message_hash.length} bytes instead of 32`);
  return request(context, call, {
    scheme: "ecdsa",
    keyName: argument.key_id.name,
    canisterId: call.sender,
    path: argument.derivation_path,
    message: argument.message_hash,
    extra: undefined,
  });
}

/** sign_with_schnorr: of a message. */
export function signWithSchnorr(
  context: BlockContext,
  call: ManagementCall,
  argument: {
    message: Uint8Array;
    derivation_path: Uint8Array[];
    key_id: SchnorrKeyId;
    aux: [] | [{ bip341: { merkle_root_hash: Uint8Array } }];
  },
): MethodResult {
  const scheme = schemeOf(argument.key_id);
  const root = argument.aux[0]?.bip341.merkle_root_hash;
  if (root !== undefined && scheme !== "bip340")
    return badPayload("aux is only for bip340secp256k1");
  if (root !== undefined && root.length !== 0 && root.length !== 32)
    return badPayload(`merkle_root_hash has ${root.length} bytes instead of none or 32`);
  return request(context, call, {
    scheme,
    keyName: argument.key_id.name,
    canisterId: call.sender,
    path: argument.derivation_path,
    message: argument.message,
    extra: root,
  });
}

/** vetkd_derive_key: of an input, encrypted to a transport key. */
export function vetkdDeriveKey(
  context: BlockContext,
  call: ManagementCall,
  argument: {
    input: Uint8Array;
    context: Uint8Array;
    transport_public_key: Uint8Array;
    key_id: VetkdKeyId;
  },
): MethodResult {
  context.instructionsUsed += DERIVE_INSTRUCTIONS;
  if (!isTransportKey(argument.transport_public_key))
    return badPayload("transport_public_key is not a key");
  return request(context, call, {
    scheme: "vetkd",
    keyName: argument.key_id.name,
    canisterId: call.sender,
    path: [argument.context],
    message: argument.input,
    extra: argument.transport_public_key,
  });
}

function publicKeyReply(
  context: BlockContext,
  call: ManagementCall,
  scheme: ThresholdKey["scheme"],
  argument: {
    canister_id: [] | [IdlPrincipal];
    derivation_path: Uint8Array[];
    key_id: { name: string };
  },
): MethodResult {
  const derived = derive(context, call, scheme, argument);
  if ("kind" in derived) return derived;
  const { publicKey, chainCode } = derived;
  return replyWith("publicKey", { public_key: publicKey, chain_code: chainCode });
}

function derive(
  context: BlockContext,
  call: ManagementCall,
  scheme: ThresholdKey["scheme"],
  argument: {
    canister_id: [] | [IdlPrincipal];
    derivation_path: Uint8Array[];
    key_id: { name: string };
  },
): { publicKey: Uint8Array; chainCode: Uint8Array } | Reject {
  const master = findKey(context, scheme, argument.key_id.name);
  if ("kind" in master) return master;
  const refused = checkPath(argument.derivation_path);
  if (refused !== undefined) return refused;
  context.instructionsUsed += DERIVE_INSTRUCTIONS * BigInt(argument.derivation_path.length + 1);
  const [id] = argument.canister_id;
  const canisterId = id === undefined ? call.sender : fromIdlPrincipal(id);
  return deriveThresholdKey(master.publicKey, {
    scheme,
    canisterId,
    path: argument.derivation_path,
  });
}

function request(context: BlockContext, call: ManagementCall, work: SigningWork): MethodResult {
  const master = findKey(context, work.scheme, work.keyName);
  if ("kind" in master) return master;
  const refused =
    checkPath(work.path) ??
    payOutsideTask(context, call, "signatures", context.prices.thresholdKey(work.keyName));
  if (refused !== undefined) return refused;
  return recordOutsideTask(context, call, { kind: "sign", ...work }, WAIT_NS);
}

function findKey(
  context: BlockContext,
  scheme: ThresholdKey["scheme"],
  name: string,
): ThresholdKey | Reject {
  const { thresholdKeys } = context.network;
  const found = thresholdKeys.find((key) => key.scheme === scheme && key.name === name);
  if (found !== undefined) return found;
  const known = thresholdKeys.filter((key) => key.scheme === scheme).map((key) => key.name);
  const text = `Requested unknown threshold key: ${scheme}:${name}, existing keys: [${known.join(", ")}]`;
  return reject(ErrorCode.canisterRejected, text);
}

function checkPath(path: readonly Uint8Array[]): Reject | undefined {
  if (path.length <= PATH_ELEMENTS_MAX) return undefined;
  const text = `The number of elements exceeds maximum allowed ${PATH_ELEMENTS_MAX}`;
  return badPayload(text);
}

function schemeOf({ algorithm }: SchnorrKeyId): "bip340" | "ed25519" {
  return "ed25519" in algorithm ? "ed25519" : "bip340";
}

function badPayload(what: string): Reject {
  return reject(ErrorCode.invalidManagementPayload, `Error decoding candid argument: ${what}`);
}
