// What every management method works with: the call, its decoded argument, access checks.

import { equalBytes } from "gyrotron/base";
import { decodeCandid, encodeCandid, fromIdlPrincipal, type IdlPrincipal } from "gyrotron/candid";
import { formatPrincipal } from "gyrotron/crypto";
import type { BlockContext } from "../block-context.ts";
import { canisterNotFound, ErrorCode, notController, type Reject, reject } from "../reject.ts";
import type { CallOrigin, CanisterRecord, Response } from "../state/records.ts";
import { ARGUMENT_TYPES, type ManagementMethod, RESULT_TYPES } from "./interface.ts";

/** A call to the management canister. `cycles` is what is left of the attached ones; the rest is refunded. */
export interface ManagementCall {
  method: ManagementMethod;
  origin: CallOrigin;
  sender: Uint8Array;
  argument: Uint8Array;
  cycles: bigint;
  /** The caller's version, where the argument says it; the runtime has checked it. */
  senderVersion?: bigint | undefined;
}

/** What a method returns: an answer now, or later by someone who kept the origin. */
export type MethodResult = Response | "later";

/** The argument of a method, decoded. @throws DecodeError `candid/decode` */
export function decodeArgument<T>(method: ManagementMethod, argument: Uint8Array): T {
  const type = ARGUMENT_TYPES[method];
  return (type === undefined ? undefined : decodeCandid([type], argument)[0]) as T;
}

/** A reply of one value. */
export function replyWith(type: keyof typeof RESULT_TYPES, value: unknown): Response {
  return { kind: "reply", bytes: encodeCandid([RESULT_TYPES[type]], [value]) };
}

/** A canister that must exist. */
export function findCanister(
  context: Pick<BlockContext, "state">,
  id: IdlPrincipal,
): CanisterRecord | Reject {
  const bytes = fromIdlPrincipal(id);
  const canister = context.state.canister(bytes);
  return (
    canister ?? {
      ...canisterNotFound(bytes),
      message: `Canister ${formatPrincipal(bytes)} not found.`,
    }
  );
}

/** A canister that must exist and be controlled by the caller. */
export function findControlled(
  context: Pick<BlockContext, "state">,
  call: Pick<ManagementCall, "sender">,
  id: IdlPrincipal,
): CanisterRecord | Reject {
  const canister = findCanister(context, id);
  if (isReject(canister) || isController(canister, call.sender)) return canister;
  return notController(canister.id, canister.settings.controllers, call.sender);
}

/** A canister that must exist, for its controllers and the subnet's administrators. */
export function findManaged(
  context: Pick<BlockContext, "state" | "network">,
  call: Pick<ManagementCall, "sender">,
  id: IdlPrincipal,
): CanisterRecord | Reject {
  if (isSubnetAdmin(context, call.sender)) return findCanister(context, id);
  const found = findControlled(context, call, id);
  const { subnetAdmins } = context.network;
  if (!isReject(found) || found.errorCode !== ErrorCode.invalidController) return found;
  if (subnetAdmins.length === 0) return found;
  const text = `${found.message}\nSubnet admins: ${subnetAdmins.map(formatPrincipal).join(" ")}`;
  return reject(ErrorCode.invalidControllerOrSubnetAdmin, text);
}

/** Whether `principal` administers the subnet. */
export function isSubnetAdmin(
  { network }: Pick<BlockContext, "network">,
  principal: Uint8Array,
): boolean {
  return network.subnetAdmins.some((admin) => equalBytes(admin, principal));
}

/** The reject of a user who calls what is for canisters. */
export function onlyCanistersCall(methodName: string): Reject {
  return reject(ErrorCode.canisterRejected, `Only canisters can call ic00 method ${methodName}`);
}

/** The reject of a user who calls what is for the subnet's administrators, if it has any. */
export function notSubnetAdmin(
  { network }: Pick<BlockContext, "network">,
  sender: Uint8Array,
  methodName: string,
): Reject {
  if (network.subnetAdmins.length === 0) return onlyCanistersCall(methodName);
  const text =
    `Only subnet admins can call ic00 method ${methodName}.\n` +
    `Subnet admins: ${network.subnetAdmins.map(formatPrincipal).join(" ")}\n` +
    `Sender's ID: ${formatPrincipal(sender)}`;
  return reject(ErrorCode.invalidSubnetAdmin, text);
}

/** Whether `principal` is one of the controllers. */
export function isController(canister: CanisterRecord, principal: Uint8Array): boolean {
  return canister.settings.controllers.some((controller) => equalBytes(controller, principal));
}

/** Whether a look-up failed. */
export function isReject(value: CanisterRecord | Reject): value is Reject {
  return "kind" in value;
}

/** A candid argument that does not decode. */
export function badArgument(method: string, error: Error): Reject {
  return reject(
    ErrorCode.invalidManagementPayload,
    `Error decoding candid argument of ${method}: ${error.message}`,
  );
}
