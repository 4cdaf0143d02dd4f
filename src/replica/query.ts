// Queries and the check before a call is accepted: read-only runs on a certified state. Nothing of
// them persists; they are not part of block execution.

import { INSPECT_INSTRUCTIONS_MAX } from "gyrotron/base";
import { isManagementCanister } from "gyrotron/crypto";
import type { StateView } from "gyrotron/store";
import {
  type ExecutionEngine,
  imageSource,
  installedModule,
  type ReadContext,
} from "./block-context.ts";
import type {
  ConsoleLine,
  IngressContent,
  NetworkConfig,
  QueryResult,
  QueryUsage,
} from "./contract.ts";
import { evaluateQuery } from "./composite-query.ts";
import { missingFor } from "./cycles/balance.ts";
import { systemCallContext } from "./execution/call-contexts.ts";
import { executionContext, type RunRequest } from "./execution/run.ts";
import { onlyCanisters } from "./jobs/llm-canister.ts";
import {
  inspectManagementIngress,
  isAllowed,
  notControllerOfIngress,
  queryManagement,
} from "./management/dispatch.ts";
import { subnetCallRejection } from "./management/subnet.ts";
import { isNativeCanister } from "./native-canisters.ts";
import {
  canisterNotFound,
  canisterStopped,
  canisterStopping,
  ErrorCode,
  executionReject,
  formatErrorCode,
  outOfCycles,
  type Reject,
  trapReject,
  wasmModuleNotFound,
} from "./reject.ts";
import type { CanisterRecord, Response } from "./state/records.ts";
import { ReplicaState } from "./state/replica-state.ts";
import { isSystemCanister } from "./system-canisters/ids.ts";

/** Runs a query method. */
export function runQuery(
  engine: ExecutionEngine,
  view: StateView,
  timeNs: bigint,
  content: IngressContent,
  certificate: Uint8Array | undefined,
): QueryResult & { console: ConsoleLine[]; usage: QueryUsage[] } {
  const context = readContext(engine, view, timeNs);
  const console: ConsoleLine[] = [];
  const usage: QueryUsage[] = [];
  const response = isManagementCanister(content.canisterId)
    ? queryManagement(context, content.sender, content.methodName, content.argument)
    : evaluateQuery(context, content, certificate, console, usage);
  return { ...resultOf(response), console, usage };
}

/** Why a call is refused before it enters a block; undefined: accept. */
export function precheckCall(
  engine: ExecutionEngine,
  view: StateView,
  timeNs: bigint,
  content: IngressContent,
): QueryResult | undefined {
  const context = readContext(engine, view, timeNs);
  const refusal = precheck(context, content);
  return refusal === undefined ? undefined : resultOf(refusal);
}

/** Why a call at the subnet's endpoint is refused before anything else is looked at; undefined: go on. */
export function precheckSubnetCall(
  network: NetworkConfig,
  { sender, methodName }: Pick<IngressContent, "sender" | "methodName">,
): Extract<QueryResult, { kind: "rejected" }> | undefined {
  const refusal = subnetCallRejection(network, sender, methodName);
  return refusal && rejectedResult(refusal);
}

function precheck(context: ReadContext, content: IngressContent): Response | undefined {
  if (isManagementCanister(content.canisterId)) return precheckManagement(context, content);
  if (isSystemCanister(content.canisterId)) return undefined;
  if (isNativeCanister(content.canisterId)) return onlyCanisters();
  return precheckCanister(context, content);
}

function precheckManagement(context: ReadContext, content: IngressContent): Reject | undefined {
  const { sender, methodName, argument } = content;
  const inspected = inspectManagementIngress(context, sender, methodName, argument);
  if ("kind" in inspected) return inspected;
  if (inspected.payer === undefined) return undefined;
  const canister = context.state.canister(inspected.payer);
  if (canister === undefined) return canisterNotFound(inspected.payer);
  if (isAllowed(context, inspected.access, canister, sender)) return undefined;
  return notControllerOfIngress(context, inspected.access, canister.id, methodName);
}

function precheckCanister(context: ReadContext, content: IngressContent): Response | undefined {
  const canister = context.state.canister(content.canisterId);
  if (canister === undefined) return canisterNotFound(content.canisterId);
  if (canister.status === "stopped") return canisterStopped(canister.id);
  if (canister.status === "stopping") return canisterStopping(canister.id);
  // The envelope is larger than what it says: what is asked here, induction asks for too.
  const price = context.prices.ingress(content.methodName.length + content.argument.length);
  const missing = missingFor(canister, price, context.prices);
  if (missing > 0n) return outOfCycles(canister.id, missing);
  if (canister.code === undefined) return wasmModuleNotFound(canister.id);
  const { exports } = installedModule(context, canister);
  if (!exports.has("canister_inspect_message")) return undefined;
  return inspectMessage(context, canister, content);
}

function inspectMessage(
  context: ReadContext,
  canister: CanisterRecord,
  content: IngressContent,
): Response | undefined {
  const request: RunRequest = {
    ...readRequest(content),
    entry: { kind: "export", name: "canister_inspect_message" },
    mode: "inspectMessage",
    instructionLimit: INSPECT_INSTRUCTIONS_MAX,
    methodName: content.methodName,
  };
  const session = context.engine.runtime.open(imageSource(context, canister));
  const result = session.run(request.entry, executionContext(context, canister, request));
  session.discard();
  if (result.kind === "trapped") return trapReject(canister.id, result.trap);
  if (result.changes.accepted) return undefined;
  return executionReject(canister.id, ErrorCode.canisterRejected, "Canister rejected the message");
}

function readContext(engine: ExecutionEngine, view: StateView, timeNs: bigint): ReadContext {
  return { state: new ReplicaState(view), ...engine.rules.of(view), engine, timeNs };
}

function readRequest(
  content: IngressContent,
): Pick<RunRequest, "argument" | "callContext" | "contextNumber"> {
  const callerInfo = content.senderInfo && {
    data: content.senderInfo.info,
    signer: content.senderInfo.signer,
  };
  const callContext = {
    ...systemCallContext(),
    caller: content.sender,
    callerInfo,
    responded: false,
  };
  return { argument: content.argument, callContext, contextNumber: 0n };
}

function resultOf(response: Response): QueryResult {
  if (response.kind === "reply") return { kind: "replied", reply: response.bytes };
  return rejectedResult(response);
}

function rejectedResult(refusal: Reject): Extract<QueryResult, { kind: "rejected" }> {
  const { rejectCode, message, errorCode } = refusal;
  return { kind: "rejected", rejectCode, message, errorCode: formatErrorCode(errorCode) };
}
