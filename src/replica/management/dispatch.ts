// The management canister: which methods there are, who may call them and how, and their dispatch.

import { DecodeError } from "gyrotron/base";
import { fromIdlPrincipal, type IdlPrincipal } from "gyrotron/candid";
import { formatPrincipal } from "gyrotron/crypto";
import type { BlockContext } from "../block-context.ts";
import type { ReadContext } from "../block-context.ts";
import { answer } from "../messaging/answer.ts";
import { recordTask } from "../messaging/external-tasks.ts";
import { httpRequest } from "../outside/outcall.ts";
import * as threshold from "../outside/threshold.ts";
import { ErrorCode, type Reject, reject } from "../reject.ts";
import type { CallOrigin, CanisterRecord, Message, Response } from "../state/records.ts";
import {
  badArgument,
  decodeArgument,
  isController,
  isSubnetAdmin,
  type ManagementCall,
  type MethodResult,
  notSubnetAdmin,
  onlyCanistersCall,
} from "./call.ts";
import * as chunkStore from "./chunk-store.ts";
import { canisterInfo } from "./history.ts";
import * as install from "./install.ts";
import type { ManagementMethod } from "./interface.ts";
import * as lifecycle from "./lifecycle.ts";
import * as transfer from "./snapshot-transfer.ts";
import * as snapshots from "./snapshots.ts";
import * as status from "./status.ts";
import { payStorage } from "./storage.ts";
import * as subnet from "./subnet.ts";
import { maySee, maySeeStatus } from "./visibility.ts";

/** The canister that most arguments name. */
interface Target {
  canister_id?: IdlPrincipal | [] | [IdlPrincipal];
  target_canister?: IdlPrincipal;
  sender_canister_version?: [] | [bigint];
}

/** Which users may call a method about a canister. */
type Access =
  /** Its controllers. */
  | "controllers"
  /** Controllers and administrators of the subnet. */
  | "managers"
  | "status"
  | "snapshots"
  | "anyone"
  /** Administrators of the subnet. */
  | "administrators"
  /** None: only canisters. */
  | "canisters";

interface Method {
  access: Access;
  run(context: BlockContext, call: ManagementCall, argument: never): MethodResult;
}

/** A method that a query may call too: it only reads. */
type QueryMethod = (context: ReadContext, sender: Uint8Array, argument: never) => Response;

const QUERY_METHODS = {
  canister_status: status.canisterStatus,
  canister_metrics: status.canisterMetrics,
  fetch_canister_logs: status.fetchCanisterLogs,
  list_canisters: subnet.listCanisters,
} as const satisfies Partial<Record<ManagementMethod, QueryMethod>>;

const METHODS: Readonly<Record<ManagementMethod, Method>> = {
  create_canister: { access: "administrators", run: lifecycle.createCanister },
  provisional_create_canister_with_cycles: {
    access: "anyone",
    run: lifecycle.provisionalCreateCanister,
  },
  provisional_top_up_canister: { access: "anyone", run: lifecycle.provisionalTopUp },
  update_settings: { access: "controllers", run: lifecycle.updateSettings },
  install_code: { access: "controllers", run: install.installCode },
  install_chunked_code: { access: "controllers", run: chunkStore.installChunkedCode },
  upload_chunk: { access: "controllers", run: chunkStore.uploadChunk },
  clear_chunk_store: { access: "controllers", run: chunkStore.clearChunkStore },
  stored_chunks: { access: "controllers", run: chunkStore.storedChunks },
  uninstall_code: { access: "managers", run: install.uninstallCode },
  start_canister: { access: "managers", run: lifecycle.startCanister },
  stop_canister: { access: "managers", run: lifecycle.stopCanister },
  delete_canister: { access: "managers", run: lifecycle.deleteCanister },
  canister_status: { access: "status", run: reading(status.canisterStatus) },
  canister_metrics: { access: "managers", run: reading(status.canisterMetrics) },
  canister_info: { access: "canisters", run: canisterInfo },
  canister_metadata: { access: "canisters", run: status.canisterMetadata },
  deposit_cycles: { access: "canisters", run: lifecycle.depositCycles },
  fetch_canister_logs: { access: "canisters", run: reading(status.fetchCanisterLogs) },
  list_canisters: { access: "canisters", run: reading(subnet.listCanisters) },
  node_metrics_history: { access: "canisters", run: subnet.nodeMetricsHistory },
  subnet_info: { access: "canisters", run: subnet.subnetInfo },
  raw_rand: {
    access: "canisters",
    run: (context, call) => recordTask(context, call, { kind: "rawRand" }),
  },
  http_request: { access: "canisters", run: httpRequest },
  ecdsa_public_key: { access: "canisters", run: threshold.ecdsaPublicKey },
  sign_with_ecdsa: { access: "canisters", run: threshold.signWithEcdsa },
  schnorr_public_key: { access: "canisters", run: threshold.schnorrPublicKey },
  sign_with_schnorr: { access: "canisters", run: threshold.signWithSchnorr },
  vetkd_public_key: { access: "canisters", run: threshold.vetkdPublicKey },
  vetkd_derive_key: { access: "canisters", run: threshold.vetkdDeriveKey },
  bitcoin_get_balance: { access: "canisters", run: noBitcoin },
  bitcoin_get_utxos: { access: "canisters", run: noBitcoin },
  bitcoin_send_transaction: { access: "canisters", run: noBitcoin },
  bitcoin_get_current_fee_percentiles: { access: "canisters", run: noBitcoin },
  bitcoin_get_block_headers: { access: "canisters", run: noBitcoin },
  take_canister_snapshot: { access: "controllers", run: snapshots.takeSnapshot },
  load_canister_snapshot: { access: "controllers", run: snapshots.loadSnapshot },
  list_canister_snapshots: { access: "snapshots", run: snapshots.listSnapshots },
  delete_canister_snapshot: { access: "controllers", run: snapshots.deleteCanisterSnapshot },
  read_canister_snapshot_metadata: { access: "snapshots", run: transfer.readSnapshotMetadata },
  read_canister_snapshot_data: { access: "snapshots", run: transfer.readSnapshotData },
  upload_canister_snapshot_metadata: {
    access: "controllers",
    run: transfer.uploadSnapshotMetadata,
  },
  upload_canister_snapshot_data: { access: "controllers", run: transfer.uploadSnapshotData },
};

/** Names of the implemented methods: those that are known only to be refused with a reason are left out. */
export const MANAGEMENT_METHODS: readonly string[] = Object.keys(METHODS).filter(
  (name) => METHODS[name as ManagementMethod].run !== noBitcoin,
);

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
  context: Pick<ReadContext, "network">,
  sender: Uint8Array,
  methodName: string,
  argument: Uint8Array,
): { payer: Uint8Array | undefined; access: Access } | Reject {
  if (!isMethod(methodName)) return unknownMethod(methodName);
  const { access } = METHODS[methodName];
  if (access === "canisters") return onlyCanistersCall(methodName);
  if (access === "administrators" && !isSubnetAdmin(context, sender))
    return notSubnetAdmin(context, sender, methodName);
  const decoded = decodeOrReject<Target>(methodName, argument);
  if ("kind" in decoded) return decoded;
  const id = targetOf(decoded.value);
  return { payer: id === undefined ? undefined : fromIdlPrincipal(id), access };
}

/** Whether a user may call a method of such access about a canister. */
export function isAllowed(
  context: Pick<ReadContext, "network">,
  access: Access,
  canister: CanisterRecord,
  sender: Uint8Array,
): boolean {
  switch (access) {
    case "anyone":
      return true;
    case "administrators":
      return isSubnetAdmin(context, sender);
    case "canisters":
      return false;
    case "controllers":
      return isController(canister, sender);
    case "managers":
      return isController(canister, sender) || isSubnetAdmin(context, sender);
    case "status":
      return maySeeStatus(canister, sender) || isSubnetAdmin(context, sender);
    case "snapshots":
      return maySee(canister, canister.settings.snapshotVisibility, sender);
  }
}

/** Answers a query to the management canister, from a user or a composite query. */
export function queryManagement(
  context: ReadContext,
  sender: Uint8Array,
  methodName: string,
  argument: Uint8Array,
): Response {
  if (!Object.hasOwn(QUERY_METHODS, methodName)) {
    const text = `Query method ${methodName} not found on the management canister.`;
    return reject(ErrorCode.methodNotFound, text);
  }
  const name = methodName as keyof typeof QUERY_METHODS;
  const decoded = decodeOrReject<never>(name, argument);
  if ("kind" in decoded) return decoded;
  return (QUERY_METHODS[name] as QueryMethod)(context, sender, decoded.value);
}

/** The reject of a user who does not control the canister. */
export function notControllerOfIngress(
  { network }: Pick<ReadContext, "network">,
  access: Access,
  id: Uint8Array,
  methodName: string,
): Reject {
  const hasOthers = access === "managers" && network.subnetAdmins.length > 0;
  const who = `controllers of canister ${formatPrincipal(id)}${hasOthers ? " or subnet admins" : ""}`;
  return reject(
    hasOthers ? ErrorCode.invalidControllerOrSubnetAdmin : ErrorCode.invalidController,
    `Only ${who} can call ic00 method ${methodName}`,
  );
}

function runMethod(context: BlockContext, call: ManagementCall): MethodResult {
  const decoded = decodeOrReject<never>(call.method, call.argument);
  if ("kind" in decoded) return decoded;
  payUntilNow(context, decoded.value);
  call.senderVersion = (decoded.value as Target | undefined)?.sender_canister_version?.[0];
  return METHODS[call.method].run(context, call, decoded.value);
}

/** Bitcoin methods: this network has no node of that one. */
function noBitcoin(_context: BlockContext, call: ManagementCall): MethodResult {
  const text = `${call.method} is not available: this network is not connected to Bitcoin.`;
  return reject(ErrorCode.canisterRejected, text);
}

/** The replicated form of a method that only reads. */
function reading(method: QueryMethod): Method["run"] {
  return (context, call, argument) => method(context, call.sender, argument);
}

/** Sizes, allocations and balances change from here on: what was due before is paid as it was. */
function payUntilNow(context: BlockContext, argument: Target | undefined): void {
  const id = targetOf(argument);
  const canister = id && context.state.canister(fromIdlPrincipal(id));
  if (canister === undefined) return;
  payStorage(context, canister);
  context.state.putCanister(canister);
}

/** The canister that a call is about; an optional id only says whose public key is meant. */
function targetOf(argument: Target | undefined): IdlPrincipal | undefined {
  const id = argument?.target_canister ?? argument?.canister_id;
  return Array.isArray(id) ? undefined : id;
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
