// Operational errors of the canister runtime: failures of this machine, never of a canister. A node
// that meets one must stop: another node may have got further with the same message.

import { GyrotronError } from "gyrotron/base";

/** What this host could not do. */
export type CanisterErrorInfo =
  /** V8 refused memory that the limits allow. */
  | { code: "canister/host-memory"; what: string; pages: number }
  /** V8 stopped an execution for a reason outside the closed table of traps. */
  | { code: "canister/host-failure"; what: string };

/** A failure of the host while it ran a canister. The state it worked on is undefined afterwards. */
export class CanisterError extends GyrotronError<CanisterErrorInfo> {}
