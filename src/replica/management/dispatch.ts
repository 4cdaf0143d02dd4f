// The management canister: which methods there are, who may call them and how, and their dispatch.

import { DecodeError } from "gyrotron/base";
import { fromIdlPrincipal, type IdlPrincipal } from "gyrotron/candid";
import { formatPrincipal } from "gyrotron/crypto";
import type { BlockContext } from "../block-context.ts";
import { answer } from "../messaging/answer.ts";
import { recordTask } from "../messaging/external-tasks.ts";
import { ErrorCode, type Reject, reject } from "../reject.ts";
import type { CallOrigin, Message } from "../state/records.ts";
import { badArgument, decodeArgument, type ManagementCall, type MethodResult } from "./call.ts";
import * as chunkStore from "./chunk-store.ts";
import * as install from "./install.ts";
import type { ManagementMethod } from "./interface.ts";
import * as lifecycle from "./lifecycle.ts";
import * as status from "./status.ts";
import { payStorage } from "./storage.ts";

/** The canister that most arguments name. */
interface Target {
  canister_id?: IdlPrincipal;
  target_canister?: IdlPrincipal;
}

interface Method {
  /** Users may call it, not only canisters. */
  ingress: boolean;
  /** Users other than the canister's controllers may call it. */
  anyone?: boolean;
  run(context: BlockContext, call: ManagementCall, argument: never): MethodResult;
}

const METHODS: Readonly<Record<ManagementMethod, Method>> = {
  create_canister: { ingress: false, run: lifecycle.createCanister },
  provisional_create_canister_with_cycles: {
    ingress: true,
    anyone: true,
    run: lifecycle.provisionalCreateCanister,
  },
  provisional_top_up_canister: { ingress: true, anyone: true, run: lifecycle.provisionalTopUp },
  update_settings: { ingress: true, run: lifecycle.updateSettings },
  install_code: { ingress: true, run: install.installCode },
  install_chunked_code: { ingress: true, run: chunkStore.installChunkedCode },
  upload_chunk: { ingress: true, run: chunkStore.uploadChunk },
  clear_chunk_store: { ingress: true, run: chunkStore.clearChunkStore },
  stored_chunks: { ingress: true, run: chunkStore.storedChunks },
  uninstall_code: { ingress: true, run: install.uninstallCode },
  start_canister: { ingress: true, run: lifecycle.startCanister },
  stop_canister: { ingress: true, run: lifecycle.stopCanister },
  delete_canister: { ingress: true, run: lifecycle.deleteCanister },
  canister_status: { ingress: true, anyone: true, run: status.canisterStatus },
  canister_metadata: { ingress: false, run: status.canisterMetadata },
  deposit_cycles: { ingress: false, run: lifecycle.depositCycles },
  fetch_canister_logs: {
    ingress: false,
    run: (context, call, argument) => status.fetchCanisterLogs(context, call.sender, argument),
  },
  raw_rand: {
    ingress: false,
    run: (context, call) => recordTask(context, call, { kind: "rawRand" }),
  },
};

/** Names of the implemented methods. */
export const MANAGEMENT_METHODS: readonly string[] = Object.keys(METHODS);

/** Runs a message to the management canister. */
export function executeManagement(
  context: BlockContext,
  message: Extract<Message, { kind: "ingress" | "request" }>,
): void {
  const call = callOf(message);
  const result = isMethod(message.method)
    ? runMethod(context, call)
    : unknownMethod(message.method);
  if (result !== "later") answer(context, call.origin, result, call.cycles);
}

/**
 * Which canister an ingress message to the management canister concerns (and which pays for it), and
 * whether users may send it at all. `payer` is undefined for methods that create.
 */
export function inspectManagementIngress(
  methodName: string,
  argument: Uint8Array,
): { payer: Uint8Array | undefined; anyone: boolean } | Reject {
  if (!isMethod(methodName)) return unknownMethod(methodName);
  const method = METHODS[methodName];
  if (!method.ingress) {
    return reject(ErrorCode.canisterRejected, `Only canisters can call ic00 method ${methodName}`);
  }
  const decoded = decodeOrReject<Target>(methodName, argument);
  if ("kind" in decoded) return decoded;
  const id = decoded.value.target_canister ?? decoded.value.canister_id;
  return {
    payer: id === undefined ? undefined : fromIdlPrincipal(id),
    anyone: method.anyone ?? false,
  };
}

/** The reject of a user who does not control the canister. */
export function notControllerOfIngress(id: Uint8Array, methodName: string): Reject {
  const text = `Only controllers of canister ${formatPrincipal(id)} can call ic00 method ${methodName}`;
  return reject(ErrorCode.invalidController, text);
}

function runMethod(context: BlockContext, call: ManagementCall): MethodResult {
  const decoded = decodeOrReject<never>(call.method, call.argument);
  if ("kind" in decoded) return decoded;
  payUntilNow(context, decoded.value);
  return METHODS[call.method].run(context, call, decoded.value);
}

/** Sizes, allocations and balances change from here on: what was due before is paid as it was. */
function payUntilNow(context: BlockContext, argument: Target | undefined): void {
  const id = argument?.target_canister ?? argument?.canister_id;
  const canister = id && context.state.canister(fromIdlPrincipal(id));
  if (canister === undefined) return;
  payStorage(context, canister);
  context.state.putCanister(canister);
}

function decodeOrReject<T>(method: ManagementMethod, argument: Uint8Array): { value: T } | Reject {
  try {
    return { value: decodeArgument<T>(method, argument) };
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    return badArgument(method, error);
  }
}

function callOf(message: Extract<Message, { kind: "ingress" | "request" }>): ManagementCall {
  const method = message.method as ManagementMethod;
  const { sender, argument } = message;
  if (message.kind === "ingress") {
    const origin: CallOrigin = { kind: "ingress", requestId: message.requestId, sender };
    return { method, origin, sender, argument, cycles: 0n };
  }
  const origin: CallOrigin = { kind: "canister", canisterId: sender, callback: message.callback };
  return { method, origin, sender, argument, cycles: message.cycles };
}

function isMethod(name: string): name is ManagementMethod {
  return Object.hasOwn(METHODS, name);
}

function unknownMethod(name: string): Reject {
  return reject(ErrorCode.methodNotFound, `Management canister has no method '${name}'`);
}
