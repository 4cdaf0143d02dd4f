// Creating, starting, stopping and deleting canisters, their settings and their cycles.

import { equalBytes, present } from "gyrotron/base";
import { fromIdlPrincipal, type IdlPrincipal, toIdlPrincipal } from "gyrotron/candid";
import {
  canisterIdFromU64,
  canisterIdToU64,
  formatPrincipal,
  isManagementCanister,
} from "gyrotron/crypto";
import type { BlockContext } from "../block-context.ts";
import type { NetworkConfig } from "../contract.ts";
import { charge, deposit } from "../cycles/balance.ts";
import { cancelStopWaiters, finishStopping } from "../execution/call-contexts.ts";
import { updateLowMemoryHook } from "../execution/low-memory.ts";
import { isNativeCanister } from "../native-canisters.ts";
import { NO_QUERIES } from "../outside/query-report.ts";
import { ErrorCode, type Reject, reject } from "../reject.ts";
import type { CanisterRecord } from "../state/records.ts";
import { DIDL_EMPTY } from "./candid-constants.ts";
import {
  findCanister,
  findControlled,
  findManaged,
  isReject,
  type ManagementCall,
  type MethodResult,
  replyWith,
} from "./call.ts";
import { creationOf, recordChange } from "./history.ts";
import { changeSettings, defaultSettings, type GivenSettings } from "./settings.ts";
import { deleteAllSnapshots } from "./snapshots.ts";

const DONE: MethodResult = { kind: "reply", bytes: DIDL_EMPTY };
const STOP_TIMEOUT_NS = 300_000_000_000n;
const PROVISIONAL_CYCLES = 100_000_000_000_000n;
/** At most so many from nowhere at a time: no number of such calls makes a sum of 2^128. */
const PROVISIONAL_CYCLES_MAX = 10n ** 24n;
const FIRST_USER_CANISTER = 0x8000_0000_0000_0000n;

/** The first number of the canisters that users create; everything below is for well-known and chosen ids. */
export function firstUserCanister({ firstCanister }: Pick<NetworkConfig, "firstCanister">): bigint {
  return firstCanister ?? FIRST_USER_CANISTER;
}

/** Creates a canister paid by the attached cycles. */
export function createCanister(
  context: BlockContext,
  call: ManagementCall,
  argument: { settings: [] | [GivenSettings] },
): MethodResult {
  const fee = context.prices.createCanister;
  if (call.cycles < fee) {
    const text =
      `Creating a canister requires a fee of ${fee} that is deducted from the canister's initial balance ` +
      `but only ${call.cycles} cycles were received with the create_canister request.`;
    return reject(ErrorCode.insufficientCyclesForCreate, text);
  }
  const settings = changeSettings(defaultSettings(call.sender), argument.settings[0]);
  if ("kind" in settings) return settings;
  const canister = addCanister(context, nextCanisterId(context), settings, call.cycles);
  call.cycles = 0n;
  charge(canister, "creation", fee);
  recordChange(context, canister, call, creationOf(canister));
  context.state.putCanister(canister);
  return replyWith("canisterId", { canister_id: toIdlPrincipal(canister.id) });
}

/** Creates a canister with cycles from nowhere: for development networks. */
export function provisionalCreateCanister(
  context: BlockContext,
  call: ManagementCall,
  argument: {
    amount: [] | [bigint];
    settings: [] | [GivenSettings];
    specified_id: [] | [IdlPrincipal];
  },
): MethodResult {
  if (!context.network.provisional)
    return notProvisional("provisional_create_canister_with_cycles");
  const settings = changeSettings(defaultSettings(call.sender), argument.settings[0]);
  if ("kind" in settings) return settings;
  const amount = argument.amount[0] ?? PROVISIONAL_CYCLES;
  if (amount > PROVISIONAL_CYCLES_MAX) return tooManyCycles(amount);
  const id = chooseCanisterId(context, argument.specified_id[0]);
  if ("kind" in id) return id;
  const canister = addCanister(context, id.bytes, settings, amount);
  recordChange(context, canister, call, creationOf(canister));
  context.state.putCanister(canister);
  return replyWith("canisterId", { canister_id: toIdlPrincipal(canister.id) });
}

/** Adds cycles from nowhere: for development networks. */
export function provisionalTopUp(
  context: BlockContext,
  _call: ManagementCall,
  argument: { canister_id: IdlPrincipal; amount: bigint },
): MethodResult {
  if (!context.network.provisional) return notProvisional("provisional_top_up_canister");
  const canister = findCanister(context, argument.canister_id);
  if (isReject(canister)) return canister;
  if (argument.amount > PROVISIONAL_CYCLES_MAX) return tooManyCycles(argument.amount);
  deposit(canister, argument.amount);
  context.state.putCanister(canister);
  return DONE;
}

/** Moves the attached cycles to any canister. */
export function depositCycles(
  context: BlockContext,
  call: ManagementCall,
  argument: { canister_id: IdlPrincipal },
): MethodResult {
  const canister = findCanister(context, argument.canister_id);
  if (isReject(canister)) return canister;
  deposit(canister, call.cycles);
  call.cycles = 0n;
  context.state.putCanister(canister);
  return DONE;
}

export function updateSettings(
  context: BlockContext,
  call: ManagementCall,
  argument: { canister_id: IdlPrincipal; settings: GivenSettings },
): MethodResult {
  const canister = findControlled(context, call, argument.canister_id);
  if (isReject(canister)) return canister;
  const settings = changeSettings(canister.settings, argument.settings);
  if ("kind" in settings) return settings;
  canister.settings = settings;
  canister.version++;
  if (argument.settings.controllers.length > 0) {
    const { controllers } = settings;
    recordChange(context, canister, call, { kind: "controllersChange", controllers });
  }
  updateLowMemoryHook(context, canister);
  context.state.putCanister(canister);
  const info = present(context.state.publicInfo(canister.id), "a canister has public information");
  context.state.putPublicInfo(canister.id, { ...info, controllers: settings.controllers });
  return DONE;
}

export function startCanister(
  context: BlockContext,
  call: ManagementCall,
  argument: { canister_id: IdlPrincipal },
): MethodResult {
  const canister = findManaged(context, call, argument.canister_id);
  if (isReject(canister)) return canister;
  if (canister.status !== "running") {
    cancelStopWaiters(context, canister);
    canister.status = "running";
    context.state.resumeGlobalTimer(canister);
    canister.version++;
    context.state.putCanister(canister);
  }
  return DONE;
}

/** Stops now if nothing is open, else when the last call context closes. */
export function stopCanister(
  context: BlockContext,
  call: ManagementCall,
  argument: { canister_id: IdlPrincipal },
): MethodResult {
  const canister = findManaged(context, call, argument.canister_id);
  if (isReject(canister)) return canister;
  if (canister.status === "stopped") return DONE;
  if (canister.status === "running") canister.version++;
  canister.status = "stopping";
  const deadlineNs = context.timeNs + STOP_TIMEOUT_NS;
  canister.stopWaiters.push({ origin: call.origin, cycles: call.cycles, deadlineNs });
  finishStopping(context, canister);
  if (canister.stopWaiters.length > 0) context.state.putStopDeadline(deadlineNs, canister.id);
  context.state.putCanister(canister);
  return "later";
}

/** Deletes a stopped canister with everything that it holds; its cycles are lost. */
export function deleteCanister(
  context: BlockContext,
  call: ManagementCall,
  argument: { canister_id: IdlPrincipal },
): MethodResult {
  const canister = findManaged(context, call, argument.canister_id);
  if (isReject(canister)) return canister;
  const name = formatPrincipal(canister.id);
  if (equalBytes(canister.id, call.sender)) {
    return reject(ErrorCode.invalidController, `Canister ${name} cannot delete itself.`);
  }
  if (canister.status !== "stopped") {
    return reject(ErrorCode.notStopped, `Canister ${name} must be stopped before it is deleted.`);
  }
  // A job answers its caller even if the call has timed out before.
  if (context.state.inboxCount(canister.id) > 0 || canister.pendingJobs > 0) {
    const text = `Canister ${name} has messages in its queues and cannot be deleted now. Please retry after some time.`;
    return reject(ErrorCode.queueNotEmpty, text);
  }
  context.engine.runtime.evict(canister.id);
  context.state.setGlobalTimer(canister, 0n);
  context.state.setHeartbeat(canister.id, false);
  context.state.deleteMemories(canister.id);
  context.state.clearStoredChunks(canister.id);
  deleteAllSnapshots(context, canister);
  context.state.setSweep(canister, 0n);
  if (canister.code !== undefined) context.state.releaseModule(canister.code.moduleHash);
  context.state.deleteCanister(canister.id);
  if ((canisterIdToU64(canister.id) ?? 0n) < firstUserCanister(context.network))
    context.state.retireId(canister.id);
  return DONE;
}

/** Adds a canister record; the caller accounts for where its cycles come from. */
export function addCanister(
  context: Pick<BlockContext, "state" | "timeNs">,
  id: Uint8Array,
  settings: CanisterRecord["settings"],
  cycles: bigint,
): CanisterRecord {
  const canister: CanisterRecord = {
    id,
    status: "running",
    stopWaiters: [],
    settings,
    version: 0n,
    cycles,
    reservedCycles: 0n,
    code: undefined,
    image: { heapPages: 0, heapPagesPhysical: 0, stablePages: 0, globals: new Uint8Array(0) },
    generation: 0n,
    globalTimerNs: 0n,
    lowMemoryHook: "notSatisfied",
    nextContext: 0n,
    nextCallback: 0n,
    openContexts: 0,
    outstandingCalls: [],
    chargedUntilNs: context.timeNs,
    createdNs: context.timeNs,
    installedNs: undefined,
    consumed: {
      memory: 0n,
      computeAllocation: 0n,
      ingressInduction: 0n,
      instructions: 0n,
      transmission: 0n,
      uninstall: 0n,
      creation: 0n,
      httpOutcalls: 0n,
      signatures: 0n,
      gpu: 0n,
      burned: 0n,
    },
    storedChunks: 0,
    nextLogIndex: 0n,
    pendingJobs: 0,
    nextSnapshot: 0n,
    snapshotBytes: 0n,
    historyBytes: 0,
    sweepNs: 0n,
    queryStats: NO_QUERIES,
  };
  context.state.putCanister(canister);
  context.state.putPublicInfo(id, {
    controllers: settings.controllers,
    createdNs: context.timeNs,
    metadata: [],
  });
  return canister;
}

function chooseCanisterId(
  context: BlockContext,
  specified: IdlPrincipal | undefined,
): { bytes: Uint8Array } | Reject {
  if (specified === undefined) return { bytes: nextCanisterId(context) };
  const bytes = fromIdlPrincipal(specified);
  const number = canisterIdToU64(bytes);
  if (
    isManagementCanister(bytes) ||
    number === undefined ||
    number >= firstUserCanister(context.network)
  ) {
    const text = `The specified_id ${specified.toText()} is not in the range of ids that may be specified.`;
    return reject(ErrorCode.invalidManagementPayload, text);
  }
  const isTaken =
    isNativeCanister(bytes) ||
    context.state.isRetired(bytes) ||
    context.state.canister(bytes) !== undefined;
  if (!isTaken) return { bytes };
  return reject(
    ErrorCode.canisterIdAlreadyExists,
    `Canister ${specified.toText()} is already installed.`,
  );
}

function notProvisional(method: string): Reject {
  const text = `Management canister has no method '${method}' on this network: cycles cannot be made from nothing.`;
  return reject(ErrorCode.methodNotFound, text);
}

function tooManyCycles(amount: bigint): Reject {
  const text = `${amount} cycles are more than the ${PROVISIONAL_CYCLES_MAX} that can be had at a time.`;
  return reject(ErrorCode.invalidManagementPayload, text);
}

function nextCanisterId(context: BlockContext): Uint8Array {
  const system = context.state.system();
  const id = canisterIdFromU64(system.nextCanisterNumber++);
  context.state.putSystem(system);
  return id;
}
