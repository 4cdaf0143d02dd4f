// One execution of canister code with everything around it: prepayment, the context the system API
// sees, the settling of what it did. Callers decide which code runs and who is answered.

import { EMPTY_BYTES, MIB } from "gyrotron/base";
import type {
  Entry,
  ExecutionChanges,
  ExecutionContext,
  ExecutionMode,
  ExecutionResult,
  ImageSession,
} from "gyrotron/canister";
import { type BlockContext, imageSource, installedModule } from "../block-context.ts";
import { charge, deposit, freezingLimit, missingFor, refundCharge } from "../cycles/balance.ts";
import { queueCapacity, sendCall } from "../messaging/send.ts";
import { canisterReject, outOfCycles, type Reject, trapReject } from "../reject.ts";
import type { CallContext, CanisterRecord, Response } from "../state/records.ts";
import { appendLogs } from "./logs.ts";

/** What a page that changed counts towards the instructions of a round: its bytes stay in memory until its end. */
const ROUND_INSTRUCTIONS_PER_PAGE = 10_000n;
/** Bytes by which a canister's memories may grow on this subnet (2 TiB in all; one canister cannot reach it). */
const GROWABLE_BYTES = 600n * 1024n * BigInt(MIB);

/** Which code runs with what. */
export interface RunRequest {
  entry: Entry;
  mode: ExecutionMode;
  argument: Uint8Array;
  instructionLimit: bigint;
  callContext: CallContext;
  /** Number under which the context is or will be saved. */
  contextNumber: bigint;
  rejected?: { code: number; message: string } | undefined;
  cyclesRefunded?: bigint;
  methodName?: string;
  dataCertificate?: Uint8Array | undefined;
}

/** Takes the price of an execution of `limit` instructions before it runs. */
export function prepayExecution(
  context: BlockContext,
  canister: CanisterRecord,
  limit: bigint,
): { prepaid: bigint } | Reject {
  const prepaid = context.prices.execution(limit, isWasm64(context, canister));
  const missing = missingFor(canister, prepaid, context.prices);
  if (missing > 0n) return outOfCycles(canister.id, missing);
  charge(canister, "instructions", prepaid);
  return { prepaid };
}

/**
 * Returns what an execution did not use of its prepayment. The price never exceeds that, although an
 * upgrade between a call and its callback may have made instructions dearer.
 */
export function settleExecution(
  context: BlockContext,
  canister: CanisterRecord,
  prepaid: bigint,
  used: bigint,
): void {
  context.instructionsUsed += used;
  const price = context.prices.execution(used, isWasm64(context, canister));
  refundCharge(canister, "instructions", price < prepaid ? prepaid - price : 0n);
}

/** Runs code in a session of its own or in one already open. A trap has been logged and its memory undone. */
export function runCode(
  context: BlockContext,
  canister: CanisterRecord,
  request: RunRequest,
  open?: ImageSession,
): { result: ExecutionResult; session: ImageSession } {
  const session = open ?? context.engine.runtime.open(imageSource(context, canister));
  const result = session.run(request.entry, executionContext(context, canister, request));
  request.callContext.instructions += result.instructionsUsed;
  appendLogs(context, canister, result);
  return { result, session };
}

/** Keeps a finished execution's memory and carries out what it asked for; the response is returned, not sent. */
export function applyFinished(
  context: BlockContext,
  canister: CanisterRecord,
  request: RunRequest,
  result: Extract<ExecutionResult, { kind: "finished" }>,
  session: ImageSession,
): Response | undefined {
  commitImage(context, canister, session);
  applyChanges(context, canister, request, result);
  canister.version++;
  return responseOf(result);
}

/** Cycles, timer, certified data and calls of a finished execution. */
export function applyChanges(
  context: BlockContext,
  canister: CanisterRecord,
  request: RunRequest,
  result: Extract<ExecutionResult, { kind: "finished" }>,
): void {
  const { changes } = result;
  moveCycles(canister, request.callContext, changes);
  if (changes.globalTimerNs !== undefined)
    context.state.setGlobalTimer(canister, changes.globalTimerNs);
  if (changes.certifiedData !== undefined)
    setCertifiedData(context, canister.id, changes.certifiedData);
  for (const call of changes.calls) {
    request.callContext.outstanding++;
    sendCall(context, canister, request.contextNumber, call);
  }
}

/** What an execution accepted and burned: all that is left of a query in a replicated call. */
export function moveCycles(
  canister: CanisterRecord,
  callContext: CallContext,
  changes: ExecutionChanges,
): void {
  callContext.cyclesAvailable -= changes.cyclesAccepted;
  deposit(canister, changes.cyclesAccepted);
  charge(canister, "burned", changes.cyclesBurned);
}

/** The response that an execution produced, if any. */
export function responseOf(
  result: Extract<ExecutionResult, { kind: "finished" }>,
): Response | undefined {
  const { response } = result.changes;
  if (response === undefined || response.kind === "reply") return response;
  return canisterReject(response.message);
}

/** The reject that a trapped execution becomes. */
export function rejectOf(
  canister: CanisterRecord,
  result: Extract<ExecutionResult, { kind: "trapped" }>,
): Reject {
  return trapReject(canister.id, result.trap);
}

/** Drops what an execution did to memory. How large the memory has ever been stays known: it cannot shrink. */
export function discardImage(canister: CanisterRecord, session: ImageSession): void {
  canister.image = session.discard() ?? canister.image;
}

/** Writes a session's memory changes to state. */
export function commitImage(
  context: BlockContext,
  canister: CanisterRecord,
  session: ImageSession,
): void {
  const delta = session.commit();
  context.instructionsUsed += BigInt(delta.dirtyPages) * ROUND_INSTRUCTIONS_PER_PAGE;
  canister.image = delta.image;
  context.state.applyImage(canister.id, delta);
}

/** Whether the canister's code counts instructions twice. */
export function isWasm64(
  context: Pick<BlockContext, "state" | "engine">,
  canister: CanisterRecord,
): boolean {
  return canister.code !== undefined && installedModule(context, canister).addressType === "i64";
}

/** Replaces the certified data; empty data is absent. */
export function setCertifiedData(
  context: Pick<BlockContext, "state">,
  id: Uint8Array,
  data: Uint8Array | undefined,
): void {
  const info = context.state.publicInfo(id);
  if (info === undefined) return;
  const { certifiedData: _before, ...rest } = info;
  context.state.putPublicInfo(id, data === undefined ? rest : { ...rest, certifiedData: data });
}

/** What the system API sees. */
export function executionContext(
  context: Pick<BlockContext, "network" | "prices" | "timeNs" | "state" | "engine">,
  canister: CanisterRecord,
  request: RunRequest,
): ExecutionContext {
  const { callContext } = request;
  return {
    mode: request.mode,
    canisterId: canister.id,
    subnetId: context.network.subnetId,
    rootKey: context.network.rootKeyDer,
    caller: callContext.caller,
    callerInfo: callContext.callerInfo,
    argument: request.argument,
    methodName: request.methodName,
    reject: request.rejected,
    timeNs: context.timeNs,
    deadlineNs: callContext.deadlineNs,
    status: canister.status,
    version: canister.version,
    controllers: canister.settings.controllers,
    environment: canister.settings.environment,
    cyclesBalance: canister.cycles,
    freezingLimit: freezingLimit(canister, context.prices),
    cyclesAvailable: callContext.cyclesAvailable,
    cyclesRefunded: request.cyclesRefunded ?? 0n,
    responded: callContext.responded,
    globalTimerNs: canister.globalTimerNs,
    dataCertificate: request.dataCertificate,
    instructionLimit: request.instructionLimit,
    contextInstructions: callContext.instructions,
    prices: context.prices.forExecution(isWasm64(context, canister)),
    wasmMemoryLimitBytes: limitsMemory(request.mode) ? canister.settings.wasmMemoryLimit : 0n,
    growableBytes: GROWABLE_BYTES,
    queueCapacity: (callee) => queueCapacity(canister, callee),
  };
}

/** The empty argument. */
export const NO_ARGUMENT: Uint8Array = EMPTY_BYTES;

// The setting binds code that a caller starts, never what must be able to clean up.
function limitsMemory(mode: ExecutionMode): boolean {
  return mode === "update" || mode === "init" || mode === "postUpgrade" || mode === "start";
}
