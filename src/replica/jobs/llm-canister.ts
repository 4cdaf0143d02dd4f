// The LLM canister: part of the state machine, with the interface canisters know. A call becomes a
// job: checked, quoted, paid for in advance, and answered when the nodes agree on its result.

import { DecodeError, readU64BigEndian, u64BigEndian, utf8Bytes } from "gyrotron/base";
import { decodeCandid } from "gyrotron/candid";
import { sha256 } from "gyrotron/crypto";
import type { BlockContext } from "../block-context.ts";
import { missingFor } from "../cycles/balance.ts";
import { answer } from "../messaging/answer.ts";
import { canisterReject, ErrorCode, type Reject, reject } from "../reject.ts";
import type { Callback, CallOrigin, CanisterRecord, Message } from "../state/records.ts";
import { type ChatMessage, promptTokensMax, type SamplingParameters } from "gyrotron/job";
import {
  LLM_MESSAGES_MAX,
  LLM_OUTPUT_TOKENS_MAX,
  LLM_PROMPT_BYTES_MAX,
  messagesOfV0,
  messagesOfV1,
  V0_REQUEST,
  type V0Request,
  V1_REQUEST,
  type V1Request,
} from "./llm-interface.ts";
import { quoteMaximum } from "./quote.ts";
import { JobState, type PendingJob } from "./pending-job.ts";

/** Jobs that may wait in all, and from one canister: the rest of the queue stays open to others. */
export const PENDING_JOBS_MAX = 1000;
export const PENDING_JOBS_PER_CANISTER_MAX = 20;
/** Block time that nodes have to agree on a result. */
export const JOB_DEADLINE_NS = 300_000_000_000n;

/** Calls above a job that are followed to find the user. */
const CALL_DEPTH_MAX = 20;
const TEMPERATURE = 32_768; // 0.5
const TOP_P = 58_982; // 0.9
const SEED_DOMAIN = utf8Bytes("gyrotron-job-seed");

type Request = Extract<Message, { kind: "request" }>;
type ChatMethod = PendingJob["interface"];

/** Takes a call to the LLM canister: records a job or rejects, charging nothing then. */
export function executeLlmCall(
  context: BlockContext,
  message: Extract<Message, { kind: "ingress" | "request" }>,
): void {
  if (message.kind === "ingress") {
    const { requestId, sender } = message;
    answer(context, { kind: "ingress", requestId, sender }, onlyCanisters(), 0n);
    return;
  }
  const refusal = recordJob(context, message);
  if (refusal === undefined) return;
  const origin = {
    kind: "canister",
    canisterId: message.sender,
    callback: message.callback,
  } as const;
  answer(context, origin, refusal, message.cycles);
}

/** The reject of users: they would have to pay. */
export function onlyCanisters(): Reject {
  return reject(
    ErrorCode.canisterRejected,
    "Only canisters can call the LLM canister: the calling canister pays for the job.",
  );
}

function recordJob(context: BlockContext, message: Request): Reject | undefined {
  const chat = readChat(message);
  if ("kind" in chat) return chat;
  const jobs = new JobState(context.state);
  const model = jobs.activeModel(chat.model);
  if (model === undefined) {
    const names = jobs.activeModelNames();
    const known =
      names.length === 0 ? "No model is registered yet." : `Available models: ${names.join(", ")}.`;
    return canisterReject(`Model '${chat.model}' is not available. ${known}`);
  }
  const caller = context.state.canister(message.sender);
  if (caller === undefined) return canisterReject("The calling canister no longer exists.");
  const full = queueRefusal(context, caller);
  if (full !== undefined) return full;

  const promptMax = promptTokensMax(model, chat.messages, (text) => utf8Bytes(text).length);
  const outputTokensMax = Math.min(LLM_OUTPUT_TOKENS_MAX, model.contextTokensMax);
  const maximum = quoteMaximum(context.prices, model, promptMax, outputTokensMax);
  const reservation = reserve(context, caller, maximum, message.cycles);
  if ("kind" in reservation) return reservation;

  const system = context.state.system();
  const number = system.nextJobNumber++;
  system.pendingJobs++;
  context.state.putSystem(system);
  caller.pendingJobs++;
  context.state.putCanister(caller);
  jobs.put({
    number,
    job: {
      modelHash: model.hash,
      messages: chat.messages,
      outputTokensMax,
      sampling: samplingOf(context, number),
    },
    origin: { kind: "canister", canisterId: message.sender, callback: message.callback },
    interface: chat.method,
    modelName: model.name,
    requestId: userRequest(context, message),
    quoteMaximum: maximum,
    ...reservation,
    deadlineNs: context.timeNs + JOB_DEADLINE_NS,
    attestations: [],
    agreed: undefined,
  });
  return undefined;
}

function readChat(
  message: Request,
): { method: ChatMethod; model: string; messages: ChatMessage[] } | Reject {
  const { method, argument } = message;
  if (method !== "v0_chat" && method !== "v1_chat") {
    return reject(ErrorCode.methodNotFound, `The LLM canister has no update method '${method}'.`);
  }
  try {
    const [request] = decodeCandid([method === "v0_chat" ? V0_REQUEST : V1_REQUEST], argument);
    const messages =
      method === "v0_chat"
        ? messagesOfV0(request as V0Request)
        : messagesOfV1(request as V1Request);
    const { model } = request as { model: string };
    return checkMessages(messages) ?? { method, model, messages };
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    return canisterReject(`The argument of ${method} does not decode: ${error.message}`);
  }
}

function checkMessages(messages: readonly ChatMessage[]): Reject | undefined {
  if (messages.length === 0) return canisterReject("The request has no messages.");
  if (messages.length > LLM_MESSAGES_MAX) {
    return canisterReject(
      `The request has ${messages.length} messages, at most ${LLM_MESSAGES_MAX} are allowed.`,
    );
  }
  const bytes = messages.reduce((sum, { content }) => sum + utf8Bytes(content).length, 0);
  if (bytes <= LLM_PROMPT_BYTES_MAX) return undefined;
  return canisterReject(
    `The prompt has ${bytes} bytes, at most ${LLM_PROMPT_BYTES_MAX} are allowed.`,
  );
}

function queueRefusal(context: BlockContext, caller: CanisterRecord): Reject | undefined {
  if (caller.pendingJobs >= PENDING_JOBS_PER_CANISTER_MAX) {
    return queueFull(
      `${caller.pendingJobs} jobs of this canister are waiting, at most ${PENDING_JOBS_PER_CANISTER_MAX} may.`,
    );
  }
  const { pendingJobs } = context.state.system();
  return pendingJobs < PENDING_JOBS_MAX
    ? undefined
    : queueFull(`${pendingJobs} jobs are waiting, at most ${PENDING_JOBS_MAX} may.`);
}

function queueFull(what: string): Reject {
  return {
    ...reject(201, `The job queue is full: ${what} Please try again later.`),
    rejectCode: 2,
  };
}

/** Attached cycles pay first, the caller's own balance above its freezing limit the rest. */
function reserve(
  context: BlockContext,
  caller: CanisterRecord,
  maximum: bigint,
  attached: bigint,
): Pick<PendingJob, "reservedAttached" | "reservedBalance" | "refund"> | Reject {
  const reservedAttached = attached < maximum ? attached : maximum;
  const reservedBalance = maximum - reservedAttached;
  const missing = missingFor(caller, reservedBalance, context.prices);
  if (missing > 0n) {
    const text = `The job needs up to ${maximum} cycles: attach them or top up the canister with at least ${missing} cycles.`;
    return reject(ErrorCode.outOfCycles, text);
  }
  caller.cycles -= reservedBalance;
  return { reservedAttached, reservedBalance, refund: attached - reservedAttached };
}

/** The user's request at the root of a chain of calls. */
function userRequest(context: BlockContext, message: Request): Uint8Array | undefined {
  let origin: CallOrigin = {
    kind: "canister",
    canisterId: message.sender,
    callback: message.callback,
  };
  for (let depth = 0; depth < CALL_DEPTH_MAX && origin.kind === "canister"; depth++) {
    const callback: Callback | undefined = context.state.callback(
      origin.canisterId,
      origin.callback,
    );
    if (callback === undefined) return undefined;
    const caller = context.state.callContext(origin.canisterId, callback.context);
    if (caller === undefined) return undefined;
    origin = caller.origin;
  }
  return origin.kind === "ingress" ? origin.requestId : undefined;
}

/** The seed is fixed by the block that records the job: nobody can choose it. */
function samplingOf(context: BlockContext, number: bigint): SamplingParameters {
  const hash = sha256(SEED_DOMAIN, context.randomness, u64BigEndian(number));
  return { temperature: TEMPERATURE, topK: 0, topP: TOP_P, seed: readU64BigEndian(hash) };
}
