// What nodes say of outside tasks in blocks: the hash that a node's result has, under its signature, and
// the bytes of a result. Bytes are checked: against the hash agreed on, or as a signature.

import { type Codec, codec, concatBytes, DecodeError, decodeWith, encodeWith } from "gyrotron/base";
import { CryptoError, domainSeparator, sha256 } from "gyrotron/crypto";
import {
  type SignedStatement,
  signedStatementCodec,
  signerOf,
  signStatement,
} from "../signed-statement.ts";

const { bytes, fixedBytes, record, u64, variant } = codec;

/** First byte of these messages; neither an envelope nor a message about jobs begins with it. */
export const TASK_MESSAGE_TAG = 0x01;
/** Longest result: an outcall's response and its Candid. */
export const TASK_RESULT_BYTES_MAX = 2_200_000;

/** A message about a task. */
export type TaskMessage =
  ({ kind: "attest" } & SignedStatement) | { kind: "result"; task: bigint; result: Uint8Array };

interface Attestation {
  task: bigint;
  resultHash: Uint8Array;
}

const attestationCodec: Codec<Attestation> = record<{ task: bigint; resultHash: Uint8Array }>({
  task: u64,
  resultHash: fixedBytes(32),
});

const messageCodec: Codec<TaskMessage> = variant<TaskMessage>({
  attest: signedStatementCodec,
  result: record<{ task: bigint; result: Uint8Array }>({ task: u64, result: bytes }),
});

const ATTEST_DOMAIN = domainSeparator("gyrotron-task-attestation");
const RESULT_DOMAIN = domainSeparator("gyrotron-task-result");

/** The hash that nodes attest. */
export function taskResultHash(result: Uint8Array): Uint8Array {
  return sha256(RESULT_DOMAIN, result);
}

/** A node's word on a result, as a transaction; `sign` makes an Ed25519 signature with its key. */
export function encodeTaskAttestation(
  task: bigint,
  resultHash: Uint8Array,
  publicKeyDer: Uint8Array,
  sign: (message: Uint8Array) => Uint8Array,
): Uint8Array {
  const statement = encodeWith(attestationCodec, { task, resultHash });
  const signed = signStatement(ATTEST_DOMAIN, statement, { publicKeyDer, sign });
  return tagged({ kind: "attest", ...signed });
}

/** A result's bytes as a transaction. */
export function encodeTaskResult(task: bigint, result: Uint8Array): Uint8Array {
  return tagged({ kind: "result", task, result });
}

/** A message, its signature checked against the keys of the network's nodes; undefined: not one. */
export function decodeTaskMessage(
  transaction: Uint8Array,
  nodeKeys: readonly Uint8Array[],
):
  | ({ kind: "attest"; node: number } & Attestation)
  | Extract<TaskMessage, { kind: "result" }>
  | undefined {
  if (transaction[0] !== TASK_MESSAGE_TAG || transaction.length > TASK_RESULT_BYTES_MAX + 100)
    return undefined;
  try {
    const message = decodeWith(messageCodec, transaction.subarray(1));
    if (message.kind === "result") return message;
    const node = signerOf(ATTEST_DOMAIN, message, nodeKeys);
    if (node === undefined) return undefined;
    return { kind: "attest", node, ...decodeWith(attestationCodec, message.statement) };
  } catch (error) {
    if (error instanceof DecodeError || error instanceof CryptoError) return undefined;
    throw error;
  }
}

function tagged(message: TaskMessage): Uint8Array {
  return concatBytes(Uint8Array.of(TASK_MESSAGE_TAG), encodeWith(messageCodec, message));
}
