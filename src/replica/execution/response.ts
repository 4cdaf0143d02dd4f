// A response arriving at the canister that made the call: refunds, the reply or reject callback, and
// cleanup when that traps. Responses run even when the canister is stopping or frozen: their
// execution was paid for when the call was made.

import { assert, EMPTY_BYTES, UPDATE_INSTRUCTIONS_MAX, utf8Bytes } from "gyrotron/base";
import type { BlockContext } from "../block-context.ts";
import { deposit, refundCharge } from "../cycles/balance.ts";
import { countOutstanding } from "../messaging/send.ts";
import { type Reject, reject, trapReject } from "../reject.ts";
import type { CallContext, Callback, CanisterRecord, Closure, Message } from "../state/records.ts";
import { finishStopping, respond, settleContext } from "./call-contexts.ts";
import { applyFinished, discardImage, type RunRequest, runCode, settleExecution } from "./run.ts";

/** Most that a callback may use: the rest is kept for its cleanup, which must run even if the callback ran out. */
const CALLBACK_INSTRUCTIONS_MAX = (UPDATE_INSTRUCTIONS_MAX * 95n) / 100n;

type ResponseMessage = Extract<Message, { kind: "response" }>;

/** Delivers a response to the canister that waits for it. */
export function executeResponse(
  context: BlockContext,
  canister: CanisterRecord,
  message: ResponseMessage,
): void {
  const callback = context.state.callback(canister.id, message.callback);
  // A best-effort call that has timed out: the late answer is dropped, its refund is lost.
  if (callback === undefined) return;
  context.state.deleteCallback(canister.id, message.callback, callback);
  countOutstanding(canister, callback.callee, -1);
  deposit(canister, message.refund);
  refundTransmission(context, canister, callback, message);

  const callContext = context.state.callContext(canister.id, callback.context);
  assert(callContext !== undefined, "a callback belongs to an open context");
  callContext.outstanding--;
  if (callContext.deleted || canister.code === undefined) {
    refundCharge(canister, "instructions", callback.callbackReserved);
  } else {
    runCallback(context, canister, callback, callContext, message);
  }
  settleContext(context, canister, callback.context, callContext, false);
  finishStopping(context, canister);
}

/** Ends best-effort calls whose deadline has passed. */
export function expireCalls(context: BlockContext): void {
  for (const { canisterId, callback } of context.state.dueCallDeadlines(context.timeNs)) {
    const found = context.state.callback(canisterId, callback);
    if (found === undefined) continue;
    // The record stays for the response that is queued now; only its deadline is over.
    context.state.deleteCallback(canisterId, callback, found);
    context.state.putCallback(canisterId, callback, { ...found, deadlineNs: 0n });
    const response = { ...reject(601, "Call has timed out."), rejectCode: 6 };
    context.state.pushMessage(canisterId, { kind: "response", callback, response, refund: 0n });
  }
}

function runCallback(
  context: BlockContext,
  canister: CanisterRecord,
  callback: Callback,
  callContext: CallContext,
  message: ResponseMessage,
): void {
  const { response } = message;
  const isReply = response.kind === "reply";
  const request: RunRequest = {
    entry: callEntry(isReply ? callback.onReply : callback.onReject),
    mode: isReply ? "replyCallback" : "rejectCallback",
    argument: isReply ? response.bytes : EMPTY_BYTES,
    instructionLimit: CALLBACK_INSTRUCTIONS_MAX,
    callContext,
    contextNumber: callback.context,
    rejected: isReply ? undefined : { code: response.rejectCode, message: response.message },
    cyclesRefunded: message.refund,
  };
  const { result, session } = runCode(context, canister, request);
  let used = result.instructionsUsed;
  if (result.kind === "finished") {
    const answer = applyFinished(context, canister, request, result, session);
    if (answer !== undefined) respond(context, callContext, answer);
  } else {
    discardImage(canister, session);
    let failure = trapReject(canister.id, result.trap);
    if (callback.onCleanup !== undefined) {
      const cleanup = runCleanup(
        context,
        canister,
        request,
        callback.onCleanup,
        UPDATE_INSTRUCTIONS_MAX - used,
      );
      used += cleanup.used;
      if (cleanup.failure !== undefined) {
        const message = `${failure.message}\n\ncall_on_cleanup also failed:\n\n${cleanup.failure.message}`;
        failure = reject(failure.errorCode, message);
      }
    }
    // The caller learns of the trap once nothing else can still answer.
    if (callContext.outstanding === 0 && !callContext.responded)
      respond(context, callContext, failure);
  }
  settleExecution(context, canister, callback.callbackReserved, used);
}

/** Cleanup has what the trapped callback left of the limit of both. */
function runCleanup(
  context: BlockContext,
  canister: CanisterRecord,
  trapped: RunRequest,
  cleanup: Closure,
  instructionLimit: bigint,
): { used: bigint; failure: Reject | undefined } {
  const request: RunRequest = {
    ...trapped,
    entry: callEntry(cleanup),
    mode: "cleanup",
    argument: EMPTY_BYTES,
    instructionLimit,
  };
  const { result, session } = runCode(context, canister, request);
  const used = result.instructionsUsed;
  if (result.kind === "trapped") {
    discardImage(canister, session);
    return { used, failure: trapReject(canister.id, result.trap) };
  }
  applyFinished(context, canister, request, result, session);
  return { used, failure: undefined };
}

function refundTransmission(
  context: BlockContext,
  canister: CanisterRecord,
  callback: Callback,
  message: ResponseMessage,
): void {
  const { response } = message;
  const bytes =
    response.kind === "reply" ? response.bytes.length : utf8Bytes(response.message).length;
  const price = context.prices.transmission(bytes);
  const kept = price < callback.responseReserved ? price : callback.responseReserved;
  refundCharge(canister, "transmission", callback.responseReserved - kept);
}

function callEntry(closure: Closure): RunRequest["entry"] {
  return { kind: "callback", tableIndex: closure.tableIndex, environment: closure.environment };
}
