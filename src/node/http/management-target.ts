// Which canister a call to the management canister is about: the URL must name it, so that requests
// could be routed by their URL alone.

import { DecodeError } from "gyrotron/base";
import { decodeCandid, fromIdlPrincipal, IDL, type IdlPrincipal } from "gyrotron/candid";
import type { CallContent } from "gyrotron/replica";

/** Methods that are about no canister that exists yet. */
const ANY_CANISTER: ReadonlySet<string> = new Set([
  "create_canister",
  "provisional_create_canister_with_cycles",
  "list_canisters",
  "raw_rand",
]);
/** Methods that name their canister in another field. */
const FIELDS: Readonly<Record<string, string>> = { install_chunked_code: "target_canister" };

/** The canister in the argument; undefined if any URL will do or the argument does not decode. */
export function managementTarget(content: CallContent): Uint8Array | undefined {
  if (ANY_CANISTER.has(content.methodName)) return undefined;
  const field = FIELDS[content.methodName] ?? "canister_id";
  try {
    const [argument] = decodeCandid([IDL.Record({ [field]: IDL.Principal })], content.argument);
    return fromIdlPrincipal((argument as Record<string, IdlPrincipal>)[field] as IdlPrincipal);
  } catch (error) {
    if (error instanceof DecodeError) return undefined; // execution rejects it with a better reason
    throw error;
  }
}
