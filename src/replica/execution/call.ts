// A call (from a user or a canister) starting on a canister: checks, execution, answer.

import { equalBytes, UPDATE_INSTRUCTIONS_MAX } from "gyrotron/base";
import type { ExecutionMode } from "gyrotron/canister";
import { formatPrincipal } from "gyrotron/crypto";
import { type BlockContext, installedModule } from "../block-context.ts";
import { answer, setIngressStatus } from "../messaging/answer.ts";
import {
  canisterNotRunning,
  canisterStopped,
  canisterStopping,
  ErrorCode,
  methodNotFound,
  type Reject,
  reject,
  wasmModuleNotFound,
} from "../reject.ts";
import type { CallContext, CallOrigin, CanisterRecord, Message } from "../state/records.ts";
import { finishStopping, respond, settleContext } from "./call-contexts.ts";
import {
  applyFinished,
  discardImage,
  moveCycles,
  prepayExecution,
  rejectOf,
  responseOf,
  runCode,
  settleExecution,
} from "./run.ts";

type CallMessage = Extract<Message, { kind: "ingress" | "request" }>;

/** Runs a call, or rejects it. */
export function executeCall(
  context: BlockContext,
  canister: CanisterRecord,
  message: CallMessage,
): void {
  const { origin, cycles } = originOf(message);
  const found =
    refuseForCycles(canister, message) ??
    findMethod(context, canister, message.method, message.kind === "request");
  if ("kind" in found) {
    answer(context, origin, found, cycles);
    return;
  }
  const paid = prepayExecution(context, canister, UPDATE_INSTRUCTIONS_MAX);
  if ("kind" in paid) {
    answer(context, origin, paid, cycles);
    return;
  }
  const callContext = openContext(message, origin, cycles);
  const contextNumber = canister.nextContext++;
  const request = {
    entry: { kind: "export", name: found.exportName } as const,
    mode: found.mode,
    argument: message.argument,
    instructionLimit: UPDATE_INSTRUCTIONS_MAX,
    callContext,
    contextNumber,
  };
  const { result, session } = runCode(context, canister, request);
  settleExecution(context, canister, paid.prepaid, result.instructionsUsed);
  if (result.kind === "trapped") {
    discardImage(canister, session);
    respond(context, callContext, rejectOf(canister, result));
  } else if (found.mode === "replicatedQuery") {
    // A query's changes are dropped, whatever it did, but for the cycles that it moved.
    discardImage(canister, session);
    moveCycles(canister, callContext, result.changes);
    canister.version++;
    const response = responseOf(result);
    if (response !== undefined) respond(context, callContext, response);
  } else {
    const response = applyFinished(context, canister, request, result, session);
    if (response !== undefined) respond(context, callContext, response);
  }
  settleContext(context, canister, contextNumber, callContext, true);
  if (!callContext.responded && message.kind === "ingress") {
    setIngressStatus(context, message.requestId, { kind: "processing" });
  }
  finishStopping(context, canister);
}

/** Which export a method name means in a replicated call, or why there is none. */
export function findMethod(
  context: BlockContext,
  canister: CanisterRecord,
  name: string,
  isFromCanister: boolean,
): { exportName: string; mode: ExecutionMode } | Reject {
  if (canister.status !== "running" && isFromCanister) return canisterNotRunning(canister);
  if (canister.status === "stopped") return canisterStopped(canister.id);
  if (canister.status === "stopping") return canisterStopping(canister.id);
  if (canister.code === undefined) return wasmModuleNotFound(canister.id);
  const { exports } = installedModule(context, canister);
  if (exports.has(`canister_update ${name}`))
    return { exportName: `canister_update ${name}`, mode: "update" };
  if (exports.has(`canister_query ${name}`))
    return { exportName: `canister_query ${name}`, mode: "replicatedQuery" };
  if (exports.has(`canister_composite_query ${name}`)) {
    const text = "Composite query cannot be called in replicated mode";
    return reject(ErrorCode.compositeInReplicated, text);
  }
  return methodNotFound(canister.id, "update", name);
}

/** The setting minimum_incoming_canister_call_cycles; what a canister asks of itself is exempt. */
function refuseForCycles(canister: CanisterRecord, message: CallMessage): Reject | undefined {
  const { minimumIncomingCycles } = canister.settings;
  if (message.kind === "ingress" || message.cycles >= minimumIncomingCycles) return undefined;
  if (equalBytes(message.sender, canister.id)) return undefined;
  const text = `Canister ${formatPrincipal(canister.id)} takes calls of canisters only with at least ${minimumIncomingCycles} cycles, but ${message.cycles} cycles were attached.`;
  return reject(ErrorCode.canisterRejected, text);
}

function originOf(message: CallMessage): { origin: CallOrigin; cycles: bigint } {
  if (message.kind === "ingress") {
    return {
      origin: { kind: "ingress", requestId: message.requestId, sender: message.sender },
      cycles: 0n,
    };
  }
  return {
    origin: { kind: "canister", canisterId: message.sender, callback: message.callback },
    cycles: message.cycles,
  };
}

function openContext(message: CallMessage, origin: CallOrigin, cycles: bigint): CallContext {
  return {
    origin,
    caller: message.sender,
    callerInfo: message.kind === "ingress" ? message.senderInfo : undefined,
    cyclesAvailable: cycles,
    deadlineNs: message.kind === "request" ? message.deadlineNs : 0n,
    outstanding: 0,
    responded: false,
    instructions: 0n,
    deleted: false,
  };
}
