// From what nodes say to answers of outside tasks: a signature is delivered when one is in a block and
// verifies; an outcall's result when more than two thirds of the nodes (or the one that was asked) have
// attested its hash and the bytes are in a block; what finds no result by its deadline is rejected.

import { DecodeError, decodeWith, equalBytes } from "gyrotron/base";
import { encodeCandid, IDL } from "gyrotron/candid";
import { verifyThreshold } from "gyrotron/crypto";
import type { BlockContext } from "../block-context.ts";
import { isQuorum } from "../jobs/settle.ts";
import { answer } from "../messaging/answer.ts";
import { ErrorCode, reject } from "../reject.ts";
import type { Response } from "../state/records.ts";
import {
  type OutcallResult,
  outcallResultCodec,
  OutsideTasks,
  type OutsideTask,
  type SigningWork,
} from "./outside-task.ts";
import { decodeTaskMessage, TASK_RESULT_BYTES_MAX, taskResultHash } from "./task-message.ts";

/** What checking a signature counts towards the instructions of a round; pairings take longest. */
const VERIFY_INSTRUCTIONS = 100_000_000n;
const blob = IDL.Vec(IDL.Nat8);
const SIGNATURE = IDL.Record({ signature: blob });
const ENCRYPTED_KEY = IDL.Record({ encrypted_key: blob });

/** Takes a node's message in; one that is not valid or says nothing new leaves no trace. */
export function inductTaskMessage(context: BlockContext, transaction: Uint8Array): void {
  const message = decodeTaskMessage(transaction, context.network.nodeKeys);
  if (message === undefined) return;
  const tasks = new OutsideTasks(context.state);
  const task = tasks.get(message.task);
  if (task === undefined) return;
  if (message.kind === "attest") attest(context, tasks, task, message.node, message.resultHash);
  else deliver(context, tasks, task, message.result);
}

/** Rejects the tasks whose deadline has passed. Their price is spent: nodes may have worked. */
export function expireOutsideTasks(context: BlockContext): void {
  const tasks = new OutsideTasks(context.state);
  for (const number of tasks.due(context.timeNs)) {
    const task = tasks.get(number);
    if (task === undefined) continue;
    const text =
      task.work.kind === "sign" ? "Signature request expired" : "Canister http request timed out";
    finish(context, tasks, task, systemReject(2, text));
  }
}

function attest(
  context: BlockContext,
  tasks: OutsideTasks,
  task: OutsideTask,
  node: number,
  resultHash: Uint8Array,
): void {
  const { work } = task;
  if (work.kind !== "outcall" || task.attestations.some((other) => other.node === node)) return;
  if (work.node !== undefined && work.node !== node) return;
  task.attestations.push({ node, resultHash });
  const same = task.attestations.filter((other) => equalBytes(other.resultHash, resultHash));
  if (work.node === node || isQuorum(same.length, context.network.nodeKeys.length))
    task.agreed = resultHash;
  tasks.put(task);
}

function deliver(
  context: BlockContext,
  tasks: OutsideTasks,
  task: OutsideTask,
  result: Uint8Array,
): void {
  const { work } = task;
  if (work.kind === "sign") {
    context.instructionsUsed += VERIFY_INSTRUCTIONS;
    if (isSignature(context, work, result)) finish(context, tasks, task, signed(work, result));
    return;
  }
  if (task.agreed === undefined || result.length > TASK_RESULT_BYTES_MAX) return;
  if (equalBytes(taskResultHash(result), task.agreed))
    finish(context, tasks, task, responseOf(readResult(result)));
}

function isSignature(context: BlockContext, work: SigningWork, result: Uint8Array): boolean {
  const key = context.network.thresholdKeys.find(
    ({ scheme, name }) => scheme === work.scheme && name === work.keyName,
  );
  return key !== undefined && verifyThreshold(key.publicKey, work, result);
}

function signed({ scheme }: SigningWork, result: Uint8Array): Response {
  const bytes =
    scheme === "vetkd"
      ? encodeCandid([ENCRYPTED_KEY], [{ encrypted_key: result }])
      : encodeCandid([SIGNATURE], [{ signature: result }]);
  return { kind: "reply", bytes };
}

/** What was agreed on may still not be a result: that is a failed request, not a failed network. */
function readResult(bytes: Uint8Array): OutcallResult {
  try {
    return decodeWith(outcallResultCodec, bytes);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    return { kind: "failed", isTransient: false, message: "The result does not decode." };
  }
}

function responseOf(result: OutcallResult): Response {
  if (result.kind === "response") return { kind: "reply", bytes: result.bytes };
  return systemReject(result.isTransient ? 2 : 1, result.message);
}

/** A reject of the network itself; its text has no code in front. */
function systemReject(rejectCode: 1 | 2, message: string): Response {
  return { ...reject(ErrorCode.canisterRejected, message), rejectCode, byCallee: true };
}

function finish(
  context: BlockContext,
  tasks: OutsideTasks,
  task: OutsideTask,
  response: Response,
): void {
  tasks.delete(task);
  answer(context, task.origin, response, task.refund);
}
