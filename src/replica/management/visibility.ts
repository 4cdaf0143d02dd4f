// Who may see what of a canister: its controllers, and whom the settings name.

import { equalBytes } from "gyrotron/base";
import type { CanisterRecord, Visibility } from "../state/records.ts";
import { isController } from "./call.ts";

/** Whether a setting lets somebody see what it is about. */
export function maySee(
  canister: CanisterRecord,
  visibility: Visibility,
  principal: Uint8Array,
): boolean {
  if (visibility.kind === "public" || isController(canister, principal)) return true;
  return (
    visibility.kind === "allowedViewers" &&
    visibility.viewers.some((viewer) => equalBytes(viewer, principal))
  );
}

/** Whether the status of a canister may be shown to somebody. */
export function maySeeStatus(canister: CanisterRecord, principal: Uint8Array): boolean {
  return (
    equalBytes(canister.id, principal) ||
    maySee(canister, canister.settings.statusVisibility, principal)
  );
}
