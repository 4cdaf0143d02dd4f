// Messages that nodes put into blocks: registering a model, attesting a job's result, and the result's
// bytes. Signed ones count once a node; bytes are checked against the hash that was agreed on.

import { type Codec, codec, concatBytes, DecodeError, decodeWith, encodeWith } from "gyrotron/base";
import { CryptoError, domainSeparator } from "gyrotron/crypto";
import { NODE_MESSAGE_TAG } from "../messaging/induct.ts";
import { JOB_RESULT_BYTES_MAX, type ModelRecord, modelRecordCodec } from "gyrotron/job";
import {
  type SignedStatement,
  signedStatementCodec,
  signerOf,
  signStatement,
} from "../signed-statement.ts";

const { bytes, fixedBytes, record, u64, variant } = codec;

/** What a node says under its signature. */
export type NodeStatement =
  /** This node holds the model and proposes that jobs may name it. */
  | { kind: "registerModel"; model: ModelRecord }
  /** This node ran the job and got the result with this hash. */
  | { kind: "attest"; job: bigint; resultHash: Uint8Array };

/** A message from a node. */
export type NodeMessage =
  ({ kind: "signed" } & SignedStatement) | { kind: "result"; job: bigint; result: Uint8Array };

const statementCodec: Codec<NodeStatement> = variant<NodeStatement>({
  registerModel: record<{ model: ModelRecord }>({ model: modelRecordCodec }),
  attest: record<{ job: bigint; resultHash: Uint8Array }>({ job: u64, resultHash: fixedBytes(32) }),
});

const messageCodec: Codec<NodeMessage> = variant<NodeMessage>({
  signed: signedStatementCodec,
  result: record<{ job: bigint; result: Uint8Array }>({ job: u64, result: bytes }),
});

const DOMAIN = domainSeparator("gyrotron-node-statement");

/** A statement as a transaction; `sign` makes an Ed25519 signature with the node's key. */
export function encodeSignedStatement(
  statement: NodeStatement,
  publicKeyDer: Uint8Array,
  sign: (message: Uint8Array) => Uint8Array,
): Uint8Array {
  const encoded = encodeWith(statementCodec, statement);
  return tagged({ kind: "signed", ...signStatement(DOMAIN, encoded, { publicKeyDer, sign }) });
}

/** A result's bytes as a transaction. */
export function encodeResultMessage(job: bigint, result: Uint8Array): Uint8Array {
  return tagged({ kind: "result", job, result });
}

/** A node's message, its signature checked against the keys of the network's nodes; undefined: not one. */
export function decodeNodeMessage(
  transaction: Uint8Array,
  nodeKeys: readonly Uint8Array[],
):
  | { kind: "statement"; node: number; statement: NodeStatement }
  | Extract<NodeMessage, { kind: "result" }>
  | undefined {
  if (transaction[0] !== NODE_MESSAGE_TAG || transaction.length > 2 * JOB_RESULT_BYTES_MAX)
    return undefined;
  try {
    const message = decodeWith(messageCodec, transaction.subarray(1));
    if (message.kind === "result") return message;
    const node = signerOf(DOMAIN, message, nodeKeys);
    if (node === undefined) return undefined;
    return { kind: "statement", node, statement: decodeWith(statementCodec, message.statement) };
  } catch (error) {
    if (error instanceof DecodeError || error instanceof CryptoError) return undefined;
    throw error;
  }
}

function tagged(message: NodeMessage): Uint8Array {
  return concatBytes(Uint8Array.of(NODE_MESSAGE_TAG), encodeWith(messageCodec, message));
}
