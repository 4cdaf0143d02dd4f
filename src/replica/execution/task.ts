// System tasks: global timers and heartbeats on block time, and the hook for low memory. They are
// queued like messages so that they take turns with them. A frozen canister skips them; a timer waits until its canister is started.

import { UPDATE_INSTRUCTIONS_MAX } from "gyrotron/base";
import { type BlockContext, installedModule } from "../block-context.ts";
import type { CanisterRecord, Message, SystemTask } from "../state/records.ts";
import { isHookDue } from "./low-memory.ts";
import { finishStopping, settleContext, systemCallContext } from "./call-contexts.ts";
import {
  applyFinished,
  discardImage,
  NO_ARGUMENT,
  prepayExecution,
  runCode,
  settleExecution,
} from "./run.ts";

const HEARTBEAT_INTERVAL_NS = 1_000_000_000n;
const ENTRIES: Readonly<Record<SystemTask, string>> = {
  heartbeat: "canister_heartbeat",
  globalTimer: "canister_global_timer",
  onLowWasmMemory: "canister_on_low_wasm_memory",
};

/** Queues what is due: each timer once (it is cleared before it runs), heartbeats once a second. */
export function queueDueTasks(context: BlockContext): void {
  const { state } = context;
  for (const id of state.dueTimers(context.timeNs)) {
    const canister = state.canister(id);
    if (canister === undefined) continue;
    if (canister.status !== "running") {
      state.parkGlobalTimer(canister);
      continue;
    }
    state.setGlobalTimer(canister, 0n);
    state.putCanister(canister);
    if (canRun(context, canister, "globalTimer"))
      state.pushMessage(id, { kind: "task", task: "globalTimer" });
  }
  const system = state.system();
  if (
    system.heartbeats.length === 0 ||
    context.timeNs < system.lastHeartbeatNs + HEARTBEAT_INTERVAL_NS
  )
    return;
  system.lastHeartbeatNs = context.timeNs;
  state.putSystem(system);
  for (const id of system.heartbeats) {
    const canister = state.canister(id);
    if (canister === undefined || !canRun(context, canister, "heartbeat")) continue;
    // One that still waits is enough: else canisters that cannot keep up fill the state.
    const last = state.lastMessage(id);
    if (last?.kind === "task" && last.task === "heartbeat") continue;
    state.pushMessage(id, { kind: "task", task: "heartbeat" });
  }
}

/** When the next heartbeat is due, if any canister has one. */
export function nextHeartbeatNs(context: Pick<BlockContext, "state">): bigint | undefined {
  const system = context.state.system();
  return system.heartbeats.length === 0
    ? undefined
    : system.lastHeartbeatNs + HEARTBEAT_INTERVAL_NS;
}

/** Runs a queued task. */
export function executeTask(
  context: BlockContext,
  canister: CanisterRecord,
  message: Extract<Message, { kind: "task" }>,
): void {
  if (!canRun(context, canister, message.task)) return;
  const paid = prepayExecution(context, canister, UPDATE_INSTRUCTIONS_MAX);
  if ("kind" in paid) return;
  const callContext = systemCallContext();
  const contextNumber = canister.nextContext++;
  if (message.task === "onLowWasmMemory") canister.lowMemoryHook = "executed";
  const request = {
    entry: { kind: "export", name: ENTRIES[message.task] } as const,
    mode: message.task,
    argument: NO_ARGUMENT,
    instructionLimit: UPDATE_INSTRUCTIONS_MAX,
    callContext,
    contextNumber,
  };
  const { result, session } = runCode(context, canister, request);
  settleExecution(context, canister, paid.prepaid, result.instructionsUsed);
  if (result.kind === "trapped") discardImage(canister, session);
  else applyFinished(context, canister, request, result, session);
  settleContext(context, canister, contextNumber, callContext, true);
  finishStopping(context, canister);
}

/** Asked again when the task's turn comes: the code may have changed since it was queued. */
function canRun(context: BlockContext, canister: CanisterRecord, task: SystemTask): boolean {
  if (canister.status !== "running" || canister.code === undefined) return false;
  if (task === "onLowWasmMemory") return isHookDue(canister);
  if (task === "globalTimer") return canister.code.hasGlobalTimer;
  return installedModule(context, canister).exports.has("canister_heartbeat");
}
