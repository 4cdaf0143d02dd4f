// Creating canisters for those who pay with tokens: the settings they ask for, the subnet they choose.
// The cycles minting canister is the creator, as on the network; the payer controls what it paid for.

import { equalBytes } from "gyrotron/base";
import {
  decodeCandid,
  fromIdlPrincipal,
  IDL,
  type IdlPrincipal,
  toIdlPrincipal,
} from "gyrotron/candid";
import { formatPrincipal } from "gyrotron/crypto";
import type { BlockContext } from "../block-context.ts";
import { settingsType } from "../management/interface.ts";
import { createCanister } from "../management/lifecycle.ts";
import type { GivenSettings } from "../management/settings.ts";
import { canisterReject, type Reject } from "../reject.ts";
import { CYCLES_MINTING_CANISTER_ID } from "./ids.ts";

const { Opt, Principal, Record, Text, Variant } = IDL;

export const SUBNET_SELECTION: IDL.Type = Variant({
  Subnet: Record({ subnet: Principal }),
  Filter: Record({ subnet_type: Opt(Text) }),
});
export const CREATION_ARGS: IDL.Type = Record({
  settings: Opt(settingsType),
  subnet_selection: Opt(SUBNET_SELECTION),
});

/** SUBNET_SELECTION as decoded. */
export type SubnetSelection =
  { Subnet: { subnet: IdlPrincipal } } | { Filter: { subnet_type: [] | [string] } };

/** CREATION_ARGS as decoded. */
export interface CreationArgs {
  settings: [] | [GivenSettings];
  subnet_selection: [] | [SubnetSelection];
}

const CREATED: IDL.Type = Record({ canister_id: Principal });

/** Creates a canister that starts with `cycles` less the network's fee. Nothing has changed on a reject. */
export function createCanisterWith(
  context: BlockContext,
  payer: Uint8Array,
  cycles: bigint,
  creation: CreationArgs | undefined,
): { canisterId: Uint8Array } | Reject {
  const wrongSubnet = refuseSubnet(context, creation?.subnet_selection[0]);
  if (wrongSubnet !== undefined) return wrongSubnet;
  const settings = { ...NO_SETTINGS, ...creation?.settings[0] };
  const controllers: GivenSettings["controllers"] =
    settings.controllers.length > 0 ? settings.controllers : [[toIdlPrincipal(payer)]];
  const call = {
    method: "create_canister",
    origin: { kind: "system" },
    sender: CYCLES_MINTING_CANISTER_ID,
    argument: new Uint8Array(),
    cycles,
  } as const;
  const argument = { settings: [{ ...settings, controllers }], sender_canister_version: [] };
  const result = createCanister(context, { ...call }, argument as never);
  if (result === "later" || result.kind !== "reply")
    return result === "later" ? canisterReject("The creation did not finish.") : result;
  const [{ canister_id }] = decodeCandid([CREATED], result.bytes) as [
    { canister_id: IdlPrincipal },
  ];
  return { canisterId: fromIdlPrincipal(canister_id) };
}

function refuseSubnet(
  { network }: BlockContext,
  selection: SubnetSelection | undefined,
): Reject | undefined {
  if (selection === undefined) return undefined;
  if ("Subnet" in selection) {
    const subnet = fromIdlPrincipal(selection.Subnet.subnet);
    if (equalBytes(subnet, network.subnetId)) return undefined;
    return canisterReject(`Subnet ${formatPrincipal(subnet)} does not exist.`);
  }
  const [type] = selection.Filter.subnet_type;
  if (type === undefined || type === SUBNET_TYPE) return undefined;
  return canisterReject(`Provided subnet type ${type} does not exist`);
}

/** The type by which the one subnet can be asked for. */
export const SUBNET_TYPE = "application";

const NO_SETTINGS: GivenSettings = {
  controllers: [],
  compute_allocation: [],
  memory_allocation: [],
  freezing_threshold: [],
  reserved_cycles_limit: [],
  minimum_incoming_canister_call_cycles: [],
  log_visibility: [],
  snapshot_visibility: [],
  status_visibility: [],
  wasm_memory_limit: [],
  wasm_memory_threshold: [],
  environment_variables: [],
  log_memory_limit: [],
};
