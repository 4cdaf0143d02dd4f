// Reject and error codes and the texts that clients see (IC interface, reject codes and the
// replica's error codes). Owns wording; who rejects when is decided elsewhere.

import { REJECT_TEXT_BYTES_MAX, utf8Bytes, utf8TextLossy } from "gyrotron/base";
import type { Trap } from "gyrotron/canister";
import { formatPrincipal } from "gyrotron/crypto";
import type { Response } from "./state/records.ts";

/** Error codes by name; the hundreds digit is the reject code. */
export const ErrorCode = {
  queueFull: 201,
  ingressTimeout: 202,
  queueNotEmpty: 203,
  canisterIdAlreadyExists: 205,
  stopTimeout: 206,
  outOfCycles: 207,
  canisterNotFound: 301,
  snapshotNotFound: 305,
  insufficientCyclesForCreate: 403,
  subnetNotFound: 404,
  canisterRejected: 406,
  invalidManagementPayload: 408,
  calledTrap: 503,
  snapshotImmutable: 409,
  invalidSubnetAdmin: 410,
  contractViolation: 504,
  invalidWasm: 505,
  didNotReply: 506,
  outOfMemory: 507,
  stopped: 508,
  stopping: 509,
  notStopped: 510,
  stoppingCancelled: 511,
  invalidController: 512,
  nonEmpty: 514,
  insufficientCyclesForMemory: 532,
  methodNotFound: 536,
  wasmModuleNotFound: 537,
  wasmMemoryLimit: 539,
  queryTooDeep: 525,
  queryTotalInstructions: 526,
  compositeInReplicated: 527,
  invalidControllerOrSubnetAdmin: 541,
  accessDenied: 542,
  deadlineExpired: 601,
} as const;

/** A reject with an error code. */
export type Reject = Extract<Response, { kind: "reject" }>;

/** Builds a reject; the text is cut to the protocol's limit. */
export function reject(errorCode: number, message: string): Reject {
  const bytes = utf8Bytes(message);
  const text =
    bytes.length <= REJECT_TEXT_BYTES_MAX
      ? message
      : utf8TextLossy(bytes.subarray(0, REJECT_TEXT_BYTES_MAX));
  return {
    kind: "reject",
    rejectCode: Math.floor(errorCode / 100),
    errorCode,
    message: text,
    byCallee: false,
  };
}

/** A canister's own `msg_reject`. */
export function canisterReject(message: string): Reject {
  return { ...reject(ErrorCode.canisterRejected, message), byCallee: true };
}

/** `IC0503`. */
export function formatErrorCode(errorCode: number): string {
  return `IC${String(errorCode).padStart(4, "0")}`;
}

/**
 * The reject as a calling canister sees it: failures of the callee carry their code in the text,
 * the callee's own rejects do not.
 */
export function rejectForCanister(response: Reject): Reject {
  if (response.byCallee) return response;
  return { ...response, message: `${formatErrorCode(response.errorCode)}: ${response.message}` };
}

const DOCS =
  "See documentation: https://internetcomputer.org/docs/current/references/execution-errors";
const ADVICE: Readonly<Record<number, readonly [advice: string, anchor: string]>> = {
  503: [
    "Consider gracefully handling failures from this canister or altering the canister to handle exceptions.",
    "trapped-explicitly",
  ],
  536: [
    "Check that the method being called is exported by the target canister.",
    "method-not-found",
  ],
  537: ["Please install code to this canister before calling it.", "wasm-module-not-found"],
};

/** An error of an execution: `Error from Canister <id>: <text>` and what to do about it. */
export function executionReject(canisterId: Uint8Array, errorCode: number, text: string): Reject {
  const advice = ADVICE[errorCode];
  const help = advice === undefined ? "" : `.\n${advice[0]} ${DOCS}#${advice[1]}`;
  return reject(errorCode, `Error from Canister ${formatPrincipal(canisterId)}: ${text}${help}`);
}

/** The reject that a trap becomes; its text brings its own advice. */
export function trapReject(canisterId: Uint8Array, trap: Trap): Reject {
  return reject(
    trap.errorCode,
    `Error from Canister ${formatPrincipal(canisterId)}: ${trap.message}`,
  );
}

export const canisterNotFound = (id: Uint8Array): Reject =>
  reject(ErrorCode.canisterNotFound, `Canister ${formatPrincipal(id)} not found`);

/** What a calling canister is told of a canister that is stopping or stopped. */
export const canisterNotRunning = (canister: { id: Uint8Array; status: string }): Reject =>
  reject(
    canister.status === "stopped" ? ErrorCode.stopped : ErrorCode.stopping,
    `Canister ${formatPrincipal(canister.id)} is not running`,
  );

export const canisterStopped = (id: Uint8Array): Reject =>
  reject(ErrorCode.stopped, `Canister ${formatPrincipal(id)} is stopped`);

/** What a query of a stopped canister is told. */
export const canisterStoppedForQueries = (id: Uint8Array): Reject =>
  reject(
    ErrorCode.stopped,
    `Canister ${formatPrincipal(id)} is stopped and therefore does not have a CallContextManager`,
  );

export const canisterStopping = (id: Uint8Array): Reject =>
  reject(ErrorCode.stopping, `Canister ${formatPrincipal(id)} is stopping`);

export const canisterFrozen = (id: Uint8Array): Reject =>
  reject(
    ErrorCode.outOfCycles,
    `Canister ${formatPrincipal(id)} is unable to process query calls because it's frozen. Please top up the canister with cycles and try again.`,
  );

export const outOfCycles = (id: Uint8Array, missing: bigint): Reject =>
  reject(
    ErrorCode.outOfCycles,
    `Canister ${formatPrincipal(id)} is out of cycles: please top up the canister with at least ${missing} additional cycles`,
  );

export const wasmModuleNotFound = (id: Uint8Array): Reject =>
  executionReject(
    id,
    ErrorCode.wasmModuleNotFound,
    "Attempted to execute a message, but the canister contains no Wasm module.",
  );

/** A call that ended without an answer. */
export const didNotReply = (id: Uint8Array): Reject =>
  reject(ErrorCode.didNotReply, `Canister ${formatPrincipal(id)} did not reply to the call`);

export const methodNotFound = (
  id: Uint8Array,
  kind: "update" | "query" | "composite_query",
  name: string,
): Reject =>
  executionReject(id, ErrorCode.methodNotFound, `Canister has no ${kind} method '${name}'.`);

/** Rejects of the management canister to those who may not. */
export const notController = (
  id: Uint8Array,
  controllers: readonly Uint8Array[],
  sender: Uint8Array,
): Reject =>
  reject(
    ErrorCode.invalidController,
    `Only the controllers of the canister ${formatPrincipal(id)} can control it.\n` +
      `Canister's controllers: ${controllers.map(formatPrincipal).join(" ")}\nSender's ID: ${formatPrincipal(sender)}`,
  );
