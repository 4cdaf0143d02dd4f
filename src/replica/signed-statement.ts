// A node's word in a block: bytes of a statement under its signature. What statements say is their message's.

import { type Codec, codec, concatBytes } from "gyrotron/base";
import { parsePublicKey, verifySignature } from "gyrotron/crypto";

const { bytes, fixedBytes, record } = codec;

/** A statement with the signature of a node. */
export interface SignedStatement {
  publicKeyDer: Uint8Array;
  statement: Uint8Array;
  signature: Uint8Array;
}

export const signedStatementCodec: Codec<SignedStatement> = record<{
  publicKeyDer: Uint8Array;
  statement: Uint8Array;
  signature: Uint8Array;
}>({ publicKeyDer: bytes, statement: bytes, signature: fixedBytes(64) });

/** Who signs, with Ed25519. */
export interface StatementSigner {
  readonly publicKeyDer: Uint8Array;
  readonly sign: (message: Uint8Array) => Uint8Array;
}

/** Signs a statement in a domain of its kind. */
export function signStatement(
  domain: Uint8Array,
  statement: Uint8Array,
  { publicKeyDer, sign }: StatementSigner,
): SignedStatement {
  return { publicKeyDer, statement, signature: sign(concatBytes(domain, statement)) };
}

/** The number of the node whose valid signature a statement has; undefined: none's. @throws CryptoError on a malformed key */
export function signerOf(
  domain: Uint8Array,
  { publicKeyDer, statement, signature }: SignedStatement,
  nodeKeys: readonly Uint8Array[],
): number | undefined {
  const node = nodeKeys.findIndex((key) => key.toHex() === publicKeyDer.toHex());
  if (node < 0) return undefined;
  const signed = concatBytes(domain, statement);
  return verifySignature(parsePublicKey(publicKeyDer), signed, signature) ? node : undefined;
}
