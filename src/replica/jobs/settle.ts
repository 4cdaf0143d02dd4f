// From statements of nodes to answers: models become active and results are agreed on when more than
// two thirds of the nodes say the same; agreed bytes are delivered, paid and recorded; what finds no
// agreement by its deadline is rejected and refunded. A disagreement is only recorded here.

import { DecodeError, encodeWith, equalBytes, utf8Bytes } from "gyrotron/base";
import { encodeCandid, IDL } from "gyrotron/candid";
import { formatPrincipal, selfAuthenticating } from "gyrotron/crypto";
import type { BlockContext } from "../block-context.ts";
import { setCertifiedData } from "../execution/run.ts";
import { answer } from "../messaging/answer.ts";
import { canisterReject, reject } from "../reject.ts";
import { receiptsKey } from "../state/keys.ts";
import type { Response } from "../state/records.ts";
import {
  appendLeaf,
  decodeJobResult,
  JOB_RESULT_BYTES_MAX,
  type JobResult,
  jobHash,
  jobResultHash,
  type Receipt,
  receiptCodec,
  receiptHash,
  type ModelRecord,
  modelRecordCodec,
  mountainRangeCodec,
  rangeRoot,
} from "gyrotron/job";
import { LLM_CANISTER_ID, V1_RESPONSE } from "./llm-interface.ts";
import { jobPrice } from "./quote.ts";
import { decodeNodeMessage, type NodeStatement } from "./node-message.ts";
import { JobState, MODEL_NAME_BYTES_MAX, type PendingJob } from "./pending-job.ts";

/** Versions of a model that may be proposed under one name before older inactive ones are forgotten. */
const MODEL_VERSIONS_MAX = 8;

/** Takes a node's message in; one that is not valid or says nothing new leaves no trace. */
export function inductNodeMessage(context: BlockContext, transaction: Uint8Array): void {
  const message = decodeNodeMessage(transaction, context.network.nodeKeys);
  if (message === undefined) return;
  if (message.kind === "result") deliverResult(context, message.job, message.result);
  else if (message.statement.kind === "attest") attest(context, message.node, message.statement);
  else registerModel(context, message.node, message.statement.model);
}

/** Rejects and refunds the jobs whose deadline has passed. */
export function expireJobs(context: BlockContext): void {
  const jobs = new JobState(context.state);
  for (const number of jobs.due(context.timeNs)) {
    const job = jobs.job(number);
    if (job === undefined) continue;
    const text =
      "The job was not completed before its deadline: the nodes did not agree on a result.";
    finish(context, jobs, job, { ...reject(202, text), rejectCode: 2 }, 0n);
  }
}

/** Whether so many of the nodes decide. */
export function isQuorum(count: number, nodes: number): boolean {
  return count * 3 > nodes * 2;
}

function attest(
  context: BlockContext,
  node: number,
  statement: Extract<NodeStatement, { kind: "attest" }>,
): void {
  const jobs = new JobState(context.state);
  const job = jobs.job(statement.job);
  if (job === undefined || job.attestations.some((other) => other.node === node)) return;
  job.attestations.push({ node, resultHash: statement.resultHash });
  const same = job.attestations.filter(({ resultHash }) =>
    equalBytes(resultHash, statement.resultHash),
  );
  if (isQuorum(same.length, context.network.nodeKeys.length)) job.agreed = statement.resultHash;
  if (job.agreed !== undefined) reportDissent(context, job, job.agreed);
  jobs.put(job);
}

/** Names the nodes whose result differs from the agreed one, for the operators. */
function reportDissent(context: BlockContext, job: PendingJob, agreed: Uint8Array): void {
  for (const { node, resultHash } of job.attestations) {
    if (equalBytes(resultHash, agreed)) continue;
    const name = formatPrincipal(selfAuthenticating(context.network.nodeKeys[node]!));
    const text = `node ${name} attested another result (${resultHash.toHex()}) for job ${job.number} than was agreed on`;
    context.console.push({ canisterId: LLM_CANISTER_ID, timeNs: context.timeNs, text });
  }
}

function registerModel(context: BlockContext, node: number, model: ModelRecord): void {
  if (utf8Bytes(model.name).length > MODEL_NAME_BYTES_MAX || model.contextTokensMax === 0) return;
  const jobs = new JobState(context.state);
  const models = jobs.models(model.name);
  const proposed = encodeWith(modelRecordCodec, model);
  const isSame = (other: ModelRecord): boolean =>
    equalBytes(encodeWith(modelRecordCodec, other), proposed);
  const known = models.find((other) => isSame(other.model));
  if (known?.proposers.includes(node) === true) return;
  const registered = known ?? { model, proposers: [], active: false };
  registered.proposers.push(node);
  const others = models.filter((other) => other !== registered).slice(-(MODEL_VERSIONS_MAX - 1));
  if (isQuorum(registered.proposers.length, context.network.nodeKeys.length)) {
    for (const other of others) other.active = false;
    registered.active = true;
  }
  jobs.putModels(model.name, [...others, registered]);
}

function deliverResult(context: BlockContext, number: bigint, bytes: Uint8Array): void {
  const jobs = new JobState(context.state);
  const job = jobs.job(number);
  if (job?.agreed === undefined || bytes.length > JOB_RESULT_BYTES_MAX) return;
  if (!equalBytes(jobResultHash(bytes), job.agreed)) return;
  const result = readResult(bytes);
  const charged = chargeFor(context, jobs, job, result);
  recordReceipt(context, job, bytes, charged);
  finish(context, jobs, job, responseOf(job, result), charged);
}

/** What two thirds agreed on may still not be a result: that is a failed job, not a failed network. */
function readResult(bytes: Uint8Array): JobResult {
  try {
    return decodeJobResult(bytes);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    return {
      kind: "failed",
      reason: "arithmetic",
      detail: `the result does not decode: ${error.message}`,
    };
  }
}

/** The formula over what was counted; never above what was reserved. */
function chargeFor(
  context: BlockContext,
  jobs: JobState,
  job: PendingJob,
  result: JobResult,
): bigint {
  // A failed job is charged nothing beyond the call.
  if (result.kind === "failed") return 0n;
  const model = jobs
    .models(job.modelName)
    .find(({ model }) => equalBytes(model.hash, job.job.modelHash))?.model;
  if (model === undefined) return 0n;
  const price = jobPrice(context.prices, model, result.promptTokens, result.outputTokens);
  return price < job.quoteMaximum ? price : job.quoteMaximum;
}

/** Charges, returns what is left of the reservation, answers, forgets. */
function finish(
  context: BlockContext,
  jobs: JobState,
  job: PendingJob,
  response: Response,
  charged: bigint,
): void {
  const fromAttached = charged < job.reservedAttached ? charged : job.reservedAttached;
  const fromBalance = charged - fromAttached;
  const caller = context.state.canister(job.origin.canisterId);
  if (caller !== undefined) {
    caller.cycles += job.reservedBalance - fromBalance;
    caller.consumed.gpu += charged;
    caller.pendingJobs--;
    context.state.putCanister(caller);
  }
  const system = context.state.system();
  system.pendingJobs--;
  context.state.putSystem(system);
  jobs.delete(job);
  answer(context, job.origin, response, job.refund + job.reservedAttached - fromAttached);
}

function recordReceipt(
  context: BlockContext,
  job: PendingJob,
  result: Uint8Array,
  charged: bigint,
): void {
  const receipt: Receipt = {
    job: job.job,
    jobHash: jobHash(job.job),
    resultHash: jobResultHash(result),
    result,
    caller: job.origin.canisterId,
    quoteMaximum: job.quoteMaximum,
    charged,
    timeNs: context.timeNs,
  };
  const { overlay } = context.state;
  const before = overlay.get(mountainRangeCodec, receiptsKey) ?? { leafCount: 0n, peaks: [] };
  const { range, nodes } = appendLeaf(before, receiptHash(receipt));
  overlay.put(mountainRangeCodec, receiptsKey, range);
  setCertifiedData(context, LLM_CANISTER_ID, rangeRoot(range));
  context.receipts.push({
    job: job.number,
    requestId: job.requestId,
    leafIndex: before.leafCount,
    receipt: encodeWith(receiptCodec, receipt),
    nodes,
  });
}

function responseOf(job: PendingJob, result: JobResult): Response {
  if (result.kind === "failed") {
    const texts = {
      promptTooLong: `The prompt is too long for model '${job.modelName}': ${result.detail}`,
      promptRefused: `Model '${job.modelName}' refuses this conversation: ${result.detail}`,
      arithmetic: `The model's arithmetic failed: ${result.detail}`,
    };
    return canisterReject(texts[result.reason]);
  }
  const bytes =
    job.interface === "v0_chat"
      ? encodeCandid([IDL.Text], [result.text])
      : encodeCandid([V1_RESPONSE], [{ message: { content: [result.text], tool_calls: [] } }]);
  return { kind: "reply", bytes };
}
