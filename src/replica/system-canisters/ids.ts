// The canisters that every IC network has at known ids and that are part of the state machine here:
// tokens, cycles and their conversion. Owns the ids only.

import { equalBytes } from "gyrotron/base";
import { parsePrincipal } from "gyrotron/crypto";

export const GOVERNANCE_CANISTER_ID: Uint8Array = parsePrincipal("rrkah-fqaaa-aaaaa-aaaaq-cai");
export const ICP_LEDGER_ID: Uint8Array = parsePrincipal("ryjl3-tyaaa-aaaaa-aaaba-cai");
export const CYCLES_MINTING_CANISTER_ID: Uint8Array = parsePrincipal("rkp4c-7iaaa-aaaaa-aaaca-cai");
export const CYCLES_LEDGER_ID: Uint8Array = parsePrincipal("um5iw-rqaaa-aaaaq-qaaba-cai");

const SYSTEM_CANISTERS = [ICP_LEDGER_ID, CYCLES_MINTING_CANISTER_ID, CYCLES_LEDGER_ID];

/** Whether this is one of the system canisters that the state machine runs itself. */
export function isSystemCanister(id: Uint8Array): boolean {
  return SYSTEM_CANISTERS.some((other) => equalBytes(id, other));
}
