// The hook canister_on_low_wasm_memory: runs once when less Wasm memory is left than the setting
// wasm_memory_threshold says, ahead of anything but responses, and is armed again when there is more.

import { WASM32_MEMORY_BYTES_MAX, WASM64_MEMORY_BYTES_MAX, WASM_PAGE_BYTES } from "gyrotron/base";
import type { BlockContext } from "../block-context.ts";
import type { CanisterRecord } from "../state/records.ts";
import { isWasm64 } from "./run.ts";

/** Brings the hook's status up to date with memory and settings. The caller saves the record. */
export function updateLowMemoryHook(context: BlockContext, canister: CanisterRecord): void {
  if (!isLow(context, canister)) {
    canister.lowMemoryHook = "notSatisfied";
    return;
  }
  if (canister.lowMemoryHook !== "notSatisfied") return;
  canister.lowMemoryHook = "ready";
  // So that it has a turn even if nothing else is waiting.
  if (canister.code?.hasLowMemoryHook === true && canister.status === "running")
    context.state.pushMessage(canister.id, { kind: "task", task: "onLowWasmMemory" });
}

/** Whether the hook has to run before the next message that is no response. */
export function isHookDue(canister: CanisterRecord): boolean {
  return (
    canister.lowMemoryHook === "ready" &&
    canister.status === "running" &&
    canister.code?.hasLowMemoryHook === true
  );
}

function isLow(context: BlockContext, canister: CanisterRecord): boolean {
  const { wasmMemoryLimit, wasmMemoryThreshold } = canister.settings;
  if (canister.code === undefined || wasmMemoryThreshold === 0n) return false;
  const most = isWasm64(context, canister) ? WASM64_MEMORY_BYTES_MAX : WASM32_MEMORY_BYTES_MAX;
  const limit = wasmMemoryLimit === 0n ? BigInt(most) : wasmMemoryLimit;
  const used = BigInt(canister.image.heapPages) * BigInt(WASM_PAGE_BYTES);
  return limit < used + wasmMemoryThreshold;
}
