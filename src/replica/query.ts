// Queries and the check before a call is accepted: read-only runs on a certified state. Nothing of
// them persists; they are not part of block execution.

import { INSPECT_INSTRUCTIONS_MAX, QUERY_INSTRUCTIONS_MAX } from "gyrotron/base";
import { decodeCandid, type IdlPrincipal } from "gyrotron/candid";
import { formatPrincipal, isManagementCanister } from "gyrotron/crypto";
import type { StateView } from "gyrotron/store";
import {
  type BlockContext,
  type ExecutionEngine,
  imageSource,
  installedModule,
} from "./block-context.ts";
import type { ConsoleLine, IngressContent, QueryResult } from "./contract.ts";
import { missingFor } from "./cycles/balance.ts";
import { PriceTable } from "./cycles/prices.ts";
import { systemCallContext } from "./execution/call-contexts.ts";
import { consoleLines } from "./execution/logs.ts";
import { executionContext, responseOf, type RunRequest } from "./execution/run.ts";
import { onlyCanisters } from "./jobs/llm-canister.ts";
import { inspectManagementIngress, notControllerOfIngress } from "./management/dispatch.ts";
import { isController } from "./management/call.ts";
import { ARGUMENT_TYPES } from "./management/interface.ts";
import { fetchCanisterLogs } from "./management/status.ts";
import { isNativeCanister } from "./native-canisters.ts";
import {
  canisterNotFound,
  canisterStopped,
  canisterStopping,
  ErrorCode,
  executionReject,
  formatErrorCode,
  methodNotFound,
  type Reject,
  reject,
  trapReject,
  wasmModuleNotFound,
} from "./reject.ts";
import type { CanisterRecord, Response } from "./state/records.ts";
import { ReplicaState } from "./state/replica-state.ts";

type ReadContext = Pick<BlockContext, "state" | "network" | "prices" | "engine" | "timeNs">;

/** Runs a query method. */
export function runQuery(
  engine: ExecutionEngine,
  view: StateView,
  timeNs: bigint,
  content: IngressContent,
  certificate: Uint8Array | undefined,
): QueryResult & { console: ConsoleLine[] } {
  const context = readContext(engine, view, timeNs);
  const console: ConsoleLine[] = [];
  const response = isManagementCanister(content.canisterId)
    ? managementQuery(context, content)
    : canisterQuery(context, content, certificate, console);
  return { ...resultOf(response), console };
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

function canisterQuery(
  context: ReadContext,
  content: IngressContent,
  certificate: Uint8Array | undefined,
  console: ConsoleLine[],
): Response {
  if (isNativeCanister(content.canisterId)) {
    return methodNotFound(content.canisterId, "query", content.methodName);
  }
  const canister = context.state.canister(content.canisterId);
  if (canister === undefined) return canisterNotFound(content.canisterId);
  const unavailable = statusRefusal(canister) ?? frozenRefusal(context, canister);
  if (unavailable !== undefined) return unavailable;
  if (canister.code === undefined) return wasmModuleNotFound(canister.id);
  const { exports } = installedModule(context, canister);
  const isQuery = exports.has(`canister_query ${content.methodName}`);
  if (!isQuery && !exports.has(`canister_composite_query ${content.methodName}`)) {
    return methodNotFound(canister.id, "query", content.methodName);
  }
  const request: RunRequest = {
    ...readRequest(content),
    entry: {
      kind: "export",
      name: `${isQuery ? "canister_query" : "canister_composite_query"} ${content.methodName}`,
    },
    mode: isQuery ? "query" : "compositeQuery",
    instructionLimit: QUERY_INSTRUCTIONS_MAX,
    dataCertificate: certificate,
  };
  const session = context.engine.runtime.open(imageSource(context, canister));
  const result = session.run(request.entry, executionContext(context, canister, request));
  session.discard();
  console.push(...consoleLines(canister.id, context.timeNs, result));
  if (result.kind === "trapped") return trapReject(canister.id, result.trap);
  if (result.changes.calls.length > 0) {
    const text = "Composite queries that call other canisters are not supported by this node yet.";
    return executionReject(canister.id, ErrorCode.contractViolation, text);
  }
  return (
    responseOf(result) ??
    executionReject(canister.id, ErrorCode.didNotReply, "Canister did not reply to the call")
  );
}

function managementQuery(context: ReadContext, content: IngressContent): Response {
  if (content.methodName !== "fetch_canister_logs") {
    const text = `Query method ${content.methodName} not found on the management canister.`;
    return reject(ErrorCode.methodNotFound, text);
  }
  const argument = decodeLogsArgument(content.argument);
  if ("kind" in argument) return argument;
  const result = fetchCanisterLogs(context, content.sender, argument);
  return result as Response;
}

function decodeLogsArgument(argument: Uint8Array): { canister_id: IdlPrincipal } | Reject {
  const type = ARGUMENT_TYPES.fetch_canister_logs;
  try {
    return decodeCandid(type === undefined ? [] : [type], argument)[0] as {
      canister_id: IdlPrincipal;
    };
  } catch (error) {
    return reject(
      ErrorCode.invalidManagementPayload,
      `Error decoding candid argument: ${String(error)}`,
    );
  }
}

function precheck(context: ReadContext, content: IngressContent): Response | undefined {
  if (isManagementCanister(content.canisterId)) return precheckManagement(context, content);
  if (isNativeCanister(content.canisterId)) return onlyCanisters();
  return precheckCanister(context, content);
}

function precheckManagement(context: ReadContext, content: IngressContent): Reject | undefined {
  const inspected = inspectManagementIngress(content.methodName, content.argument);
  if ("kind" in inspected) return inspected;
  if (inspected.payer === undefined) return undefined;
  const canister = context.state.canister(inspected.payer);
  if (canister === undefined) return canisterNotFound(inspected.payer);
  if (inspected.anyone || isController(canister, content.sender)) return undefined;
  return notControllerOfIngress(canister.id, content.methodName);
}

function precheckCanister(context: ReadContext, content: IngressContent): Response | undefined {
  const canister = context.state.canister(content.canisterId);
  if (canister === undefined) return canisterNotFound(content.canisterId);
  const unavailable = statusRefusal(canister) ?? frozenRefusal(context, canister);
  if (unavailable !== undefined) return unavailable;
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
  const state = new ReplicaState(view);
  const network = state.network();
  return { state, network, prices: new PriceTable(network.priceNodes), engine, timeNs };
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

function statusRefusal(canister: CanisterRecord): Reject | undefined {
  if (canister.status === "stopped") return canisterStopped(canister.id);
  if (canister.status === "stopping") return canisterStopping(canister.id);
  return undefined;
}

function frozenRefusal(context: ReadContext, canister: CanisterRecord): Reject | undefined {
  if (missingFor(canister, 0n, context.prices) === 0n) return undefined;
  const text =
    "is unable to process query calls because it's frozen. Please top up the canister with cycles and try again.";
  return reject(ErrorCode.outOfCycles, `Canister ${formatPrincipal(canister.id)} ${text}`);
}

function resultOf(response: Response): QueryResult {
  if (response.kind === "reply") return { kind: "replied", reply: response.bytes };
  const { rejectCode, message, errorCode } = response;
  return { kind: "rejected", rejectCode, message, errorCode: formatErrorCode(errorCode) };
}
