// What may be asked at a subnet's endpoint (IC interface, "effective subnet id"): canisters are created
// and listed there, by the subnet's administrators. Everything else goes to a canister's endpoint.

import { isManagementCanister } from "gyrotron/crypto";
import type { CallContent } from "./content.ts";
import type { Refusal } from "./refusal.ts";
import { refuse } from "./refusal.ts";

const METHODS = {
  call: ["create_canister", "provisional_create_canister_with_cycles"],
  query: ["list_canisters"],
} as const;

/** Why a request cannot be made at a subnet's endpoint; undefined: it can. */
export function subnetEndpointRefusal(
  kind: "call" | "query",
  { canisterId, methodName }: Pick<CallContent, "canisterId" | "methodName">,
): Refusal | undefined {
  const methods: readonly string[] = METHODS[kind];
  if (isManagementCanister(canisterId) && methods.includes(methodName)) return undefined;
  const which = methods.join(" and ");
  return refuse(
    400,
    `Only ${which} of the management canister can be asked at a subnet's endpoint.`,
  );
}
