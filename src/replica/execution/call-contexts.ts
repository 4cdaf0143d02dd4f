// The life of a call context: opened by a call, closed when it is answered and nothing that it waits
// for is outstanding. Also what hangs on the last one closing: stopping canisters become stopped.

import { assert, EMPTY_BYTES } from "gyrotron/base";
import { formatPrincipal } from "gyrotron/crypto";
import type { BlockContext } from "../block-context.ts";
import { DIDL_EMPTY } from "../management/candid-constants.ts";
import { answer } from "../messaging/answer.ts";
import { didNotReply, ErrorCode, reject } from "../reject.ts";
import type { CallContext, CanisterRecord, Response, StopWaiter } from "../state/records.ts";

/** A context for a system task: it may make calls but has nobody to answer. */
export function systemCallContext(): CallContext {
  return {
    origin: { kind: "system" },
    caller: EMPTY_BYTES,
    callerInfo: undefined,
    cyclesAvailable: 0n,
    deadlineNs: 0n,
    outstanding: 0,
    responded: true,
    instructions: 0n,
    deleted: false,
  };
}

/** Answers the call; what it brought and was not accepted goes back. */
export function respond(context: BlockContext, callContext: CallContext, response: Response): void {
  assert(!callContext.responded, "a call is answered once");
  answer(context, callContext.origin, response, callContext.cyclesAvailable);
  callContext.cyclesAvailable = 0n;
  callContext.responded = true;
}

/**
 * Saves the context if it still waits for something, else closes it: an unanswered call is rejected
 * now. `isNew`: it has not been saved before.
 */
export function settleContext(
  context: BlockContext,
  canister: CanisterRecord,
  number: bigint,
  callContext: CallContext,
  isNew: boolean,
): void {
  if (callContext.outstanding > 0) {
    if (isNew) canister.openContexts++;
    context.state.putCallContext(canister.id, number, callContext);
    return;
  }
  if (!callContext.responded) respond(context, callContext, didNotReply(canister.id));
  if (isNew) return;
  context.state.deleteCallContext(canister.id, number);
  canister.openContexts--;
  assert(canister.openContexts >= 0, "open contexts are not negative");
}

/** Turns a stopping canister without open contexts into a stopped one and answers those who wait. */
export function finishStopping(context: BlockContext, canister: CanisterRecord): void {
  if (canister.status !== "stopping" || canister.openContexts > 0) return;
  canister.status = "stopped";
  canister.version++;
  answerStopWaiters(context, canister, () => ({ kind: "reply", bytes: DIDL_EMPTY }));
}

/** Gives up on the stop calls whose deadline has passed, on all canisters. */
export function expireStopCalls(context: BlockContext): void {
  for (const id of context.state.takeDueStopDeadlines(context.timeNs)) {
    const canister = context.state.canister(id);
    if (canister === undefined) continue;
    expireStopWaiters(context, canister);
    context.state.putCanister(canister);
  }
}

function expireStopWaiters(context: BlockContext, canister: CanisterRecord): void {
  const expired = canister.stopWaiters.filter((waiter) => waiter.deadlineNs <= context.timeNs);
  if (expired.length === 0) return;
  canister.stopWaiters = canister.stopWaiters.filter(
    (waiter) => waiter.deadlineNs > context.timeNs,
  );
  for (const waiter of expired) {
    answer(
      context,
      waiter.origin,
      reject(ErrorCode.stopTimeout, "Stop canister request timed out"),
      waiter.cycles,
    );
  }
}

/** Rejects the stop calls that wait, because the canister is started again. */
export function cancelStopWaiters(context: BlockContext, canister: CanisterRecord): void {
  const text = `Canister ${formatPrincipal(canister.id)}'s stop request was cancelled.`;
  answerStopWaiters(context, canister, () => reject(ErrorCode.stoppingCancelled, text));
}

function answerStopWaiters(
  context: BlockContext,
  canister: CanisterRecord,
  response: (waiter: StopWaiter) => Response,
): void {
  const waiters = canister.stopWaiters;
  canister.stopWaiters = [];
  for (const waiter of waiters) answer(context, waiter.origin, response(waiter), waiter.cycles);
}
