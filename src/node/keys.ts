// The secrets of a node of one: the network's BLS key and the node's own Ed25519 key, made at the
// first start and kept in the data folder for its owner's eyes only. Nothing here logs a secret.

import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { parseHex } from "gyrotron/base";
import {
  blsPublicKeyDer,
  blsSecretKeyFromUniform,
  domainSeparator,
  ed25519PublicKeyDer,
  selfAuthenticating,
  sha256,
  thresholdMasterKey,
} from "gyrotron/crypto";
import {
  LOCAL_TOKENS,
  type NetworkConfig,
  THRESHOLD_KEY_NAMES,
  type ThresholdKey,
} from "gyrotron/replica";
import { writeDurably } from "./data-folder.ts";
import { NodeError } from "./node-error.ts";

/** Secrets with what follows from them. */
export interface NodeKeys {
  /** BLS scalar, 32 bytes: signs certificates. */
  rootSecret: Uint8Array;
  rootKeyDer: Uint8Array;
  subnetId: Uint8Array;
  /** Ed25519 seed, 32 bytes: signs answers to queries. */
  nodeSeed: Uint8Array;
  nodeKeyDer: Uint8Array;
  nodeId: Uint8Array;
}

const PRICE_NODES_DEFAULT = 13;

/** Keys from secrets. @throws CryptoError on secrets of the wrong form */
export function nodeKeysFrom(rootSecret: Uint8Array, nodeSeed: Uint8Array): NodeKeys {
  const rootKeyDer = blsPublicKeyDer(rootSecret);
  const nodeKeyDer = ed25519PublicKeyDer(nodeSeed);
  return {
    rootSecret,
    rootKeyDer,
    subnetId: selfAuthenticating(rootKeyDer),
    nodeSeed,
    nodeKeyDer,
    nodeId: selfAuthenticating(nodeKeyDer),
  };
}

/** Keys from 80 unpredictable bytes. */
export function nodeKeysFromEntropy(entropy: Uint8Array): NodeKeys {
  return nodeKeysFrom(blsSecretKeyFromUniform(entropy.slice(0, 48)), entropy.slice(48, 80));
}

/** Reads the key file; creates it where `mayCreate`. @throws NodeError `node/keys` */
export function loadNodeKeys(path: string, mayCreate: boolean): NodeKeys {
  const text = readKeyFile(path);
  if (text !== undefined) return parseKeyFile(path, text);
  if (!mayCreate)
    throw keysError(path, "the file is missing, and the network cannot sign without it");
  const keys = nodeKeysFromEntropy(randomBytes(80));
  const content = { rootSecret: keys.rootSecret.toHex(), nodeSeed: keys.nodeSeed.toHex() };
  writeDurably(path, `${JSON.stringify(content)}\n`, 0o600);
  return keys;
}

/** What of a new network its operator may choose. */
export interface NetworkChoices {
  /** Number of nodes that prices are computed for (13). */
  priceNodes?: number | undefined;
  /** Whether anyone may make cycles with the provisional methods (yes). */
  provisional?: boolean | undefined;
  /** Principals that may manage canisters they do not control (none). */
  subnetAdmins?: Uint8Array[] | undefined;
  /** Ten-thousandths of an XDR, that is 10^8 cycles, for one ICP (35,200). */
  xdrPermyriadPerIcp?: bigint | undefined;
}

/** The network that a node of one makes of its keys. */
export function configOf(keys: NodeKeys, choices: NetworkChoices = {}): NetworkConfig {
  const { subnetId, rootKeyDer, nodeKeyDer } = keys;
  const { xdrPermyriadPerIcp } = choices;
  return {
    subnetId,
    rootKeyDer,
    nodeKeys: [nodeKeyDer],
    priceNodes: choices.priceNodes ?? PRICE_NODES_DEFAULT,
    tokens: xdrPermyriadPerIcp === undefined ? undefined : { ...LOCAL_TOKENS, xdrPermyriadPerIcp },
    provisional: choices.provisional ?? true,
    subnetAdmins: choices.subnetAdmins ?? [],
    thresholdKeys: thresholdKeysOf(thresholdSeedOf(keys)),
  };
}

/**
 * What the keys that canisters sign with are made of: a node of one holds them all, and needs no file
 * of its own for them. Never part of state.
 */
export function thresholdSeedOf({ rootSecret }: Pick<NodeKeys, "rootSecret">): Uint8Array {
  return sha256(THRESHOLD_DOMAIN, rootSecret);
}

/** Public master keys, of each scheme and name. */
export function thresholdKeysOf(seed: Uint8Array): ThresholdKey[] {
  return SCHEMES.flatMap((scheme) =>
    THRESHOLD_KEY_NAMES.map((name) => {
      return { scheme, name, publicKey: thresholdMasterKey(seed, scheme, name) };
    }),
  );
}

const SCHEMES = ["ecdsa", "bip340", "ed25519", "vetkd"] as const;
const THRESHOLD_DOMAIN = domainSeparator("gyrotron-threshold-seed");

function readKeyFile(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw keysError(path, (error as Error).message);
  }
}

function parseKeyFile(path: string, text: string): NodeKeys {
  try {
    const content = JSON.parse(text) as { rootSecret?: unknown; nodeSeed?: unknown };
    return nodeKeysFrom(secretOf(content.rootSecret), secretOf(content.nodeSeed));
  } catch {
    // Not the parser's message: it may quote the file.
    throw keysError(path, "not a key file, or damaged");
  }
}

function secretOf(value: unknown): Uint8Array {
  const bytes = typeof value === "string" ? parseHex(value) : undefined;
  return bytes ?? new Uint8Array(0);
}

function keysError(path: string, reason: string): NodeError {
  return new NodeError({ code: "node/keys", path, reason });
}
