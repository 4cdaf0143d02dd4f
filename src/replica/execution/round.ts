// The order of work in a block (spec 06): what has come due, then the transactions, then messages
// round-robin over the canisters until nothing is left or the round's instructions are spent.

import { assert } from "gyrotron/base";
import { isManagementCanister } from "gyrotron/crypto";
import type { BlockContext } from "../block-context.ts";
import { payStorage } from "../management/storage.ts";
import { executeManagement } from "../management/dispatch.ts";
import { answer } from "../messaging/answer.ts";
import { executeLlmCall } from "../jobs/llm-canister.ts";
import { isNativeCanister } from "../native-canisters.ts";
import { canisterNotFound, ErrorCode, reject } from "../reject.ts";
import type { Message } from "../state/records.ts";
import { executeSystemCall } from "../system-canisters/dispatch.ts";
import { isSystemCanister } from "../system-canisters/ids.ts";
import { executeCall } from "./call.ts";
import { isHookDue, updateLowMemoryHook } from "./low-memory.ts";
import { executeResponse } from "./response.ts";
import { executeTask } from "./task.ts";

/** No new execution starts in a block after this many instructions; one message may still exceed it. */
export const ROUND_INSTRUCTIONS_MAX = 7_000_000_000n;
/** Each message counts for at least this much, so that a block of trivial messages ends too. */
const MESSAGE_INSTRUCTIONS_MIN = 200_000n;

/** Runs waiting messages. Returns whether some are left. */
export function runMessages(context: BlockContext): boolean {
  while (context.instructionsUsed < ROUND_INSTRUCTIONS_MAX) {
    const id = context.state.nextInRunQueue();
    if (id === undefined) return false;
    const message = context.state.shiftMessage(id);
    if (message !== undefined) runMessage(context, id, message);
    context.state.requeue(id);
    context.instructionsUsed += MESSAGE_INSTRUCTIONS_MIN;
  }
  return context.state.system().runQueue.length > 0;
}

function runMessage(context: BlockContext, id: Uint8Array, message: Message): void {
  if (hasExpired(context, message)) return;
  if (isNativeCanister(id)) {
    assert(
      message.kind === "ingress" || message.kind === "request",
      "native canisters take calls only",
    );
    if (isManagementCanister(id)) executeManagement(context, message);
    else if (isSystemCanister(id)) executeSystemCall(context, id, message);
    else executeLlmCall(context, message);
    return;
  }
  const canister = context.state.canister(id);
  if (canister === undefined) {
    rejectForMissing(context, id, message);
    return;
  }
  payStorage(context, canister);
  if (message.kind !== "response" && isHookDue(canister))
    executeTask(context, canister, { kind: "task", task: "onLowWasmMemory" });
  switch (message.kind) {
    case "ingress":
    case "request":
      executeCall(context, canister, message);
      break;
    case "response":
      executeResponse(context, canister, message);
      break;
    case "task":
      executeTask(context, canister, message);
      break;
  }
  updateLowMemoryHook(context, canister);
  context.state.putCanister(canister);
}

/** An ingress message that waited past its expiry is not started. */
function hasExpired(context: BlockContext, message: Message): boolean {
  if (message.kind !== "ingress" || message.expiryNs >= context.timeNs) return false;
  const { requestId, sender } = message;
  const text = "Ingress message timed out waiting to start executing.";
  answer(
    context,
    { kind: "ingress", requestId, sender },
    reject(ErrorCode.ingressTimeout, text),
    0n,
  );
  return true;
}

/** The canister was deleted after the message was queued. */
function rejectForMissing(context: BlockContext, id: Uint8Array, message: Message): void {
  const rejection = canisterNotFound(id);
  if (message.kind === "ingress") {
    answer(
      context,
      { kind: "ingress", requestId: message.requestId, sender: message.sender },
      rejection,
      0n,
    );
  } else if (message.kind === "request") {
    const origin = {
      kind: "canister",
      canisterId: message.sender,
      callback: message.callback,
    } as const;
    answer(context, origin, rejection, message.cycles);
  }
}
