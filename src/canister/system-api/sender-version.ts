// The field sender_canister_version of calls to the management canister: what a canister says there of
// its own version must be true when it makes the call.

import { DecodeError } from "gyrotron/base";
import { decodeCandid, IDL } from "gyrotron/candid";
import { contractViolation, raise } from "../runtime/trap.ts";

const FIELD = IDL.Record({ sender_canister_version: IDL.Opt(IDL.Nat64) });
const METHODS: ReadonlySet<string> = new Set([
  "create_canister",
  "install_chunked_code",
  "install_code",
  "load_canister_snapshot",
  "provisional_create_canister_with_cycles",
  "take_canister_snapshot",
  "uninstall_code",
  "update_settings",
]);
/** Longer arguments, those with a module inside, are not looked into: skipping a module is slow (ours). */
const ARGUMENT_BYTES_MAX = 65_536;

/** Checks a call that is about to be made. @throws TrapSignal if it names another version */
export function checkSenderVersion(
  callee: Uint8Array,
  method: string,
  argument: Uint8Array,
  version: bigint,
): void {
  if (callee.length > 0 || !METHODS.has(method) || argument.length > ARGUMENT_BYTES_MAX) return;
  const said = readVersion(argument);
  if (said === undefined || said === version) return;
  const text = `Management canister call payload includes sender canister version ${said} that does not match the actual sender canister version ${version}.`;
  raise(contractViolation(text));
}

/** What the argument says; one that does not decode is the management canister's to refuse. */
function readVersion(argument: Uint8Array): bigint | undefined {
  try {
    const [value] = decodeCandid([FIELD], argument) as [{ sender_canister_version: [] | [bigint] }];
    return value.sender_canister_version[0];
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}
