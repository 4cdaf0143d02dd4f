// Canisters that are part of the state machine itself and have no Wasm.

import { equalBytes } from "gyrotron/base";
import { isManagementCanister } from "gyrotron/crypto";
import { LLM_CANISTER_ID } from "./jobs/llm-interface.ts";
import { isSystemCanister } from "./system-canisters/ids.ts";

/** Whether calls to this canister are handled by the state machine. */
export function isNativeCanister(id: Uint8Array): boolean {
  return isManagementCanister(id) || equalBytes(id, LLM_CANISTER_ID) || isSystemCanister(id);
}
