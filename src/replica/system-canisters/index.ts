// Tokens and cycles at their known ids: what the node, tests and tools need of them.
export { accountIdentifier, principalSubaccount } from "./account.ts";
export { type Endowment, LOCAL_TOKENS, type TokenConfig } from "./config.ts";
export { SYSTEM_CANISTERS } from "./dispatch.ts";
export { CYCLES_LEDGER_ID, CYCLES_MINTING_CANISTER_ID, ICP_LEDGER_ID } from "./ids.ts";
export { type LedgerTotals, totalsCodec, totalsKey } from "./ledger-record.ts";
export type { MethodTable, SystemCanister } from "./method.ts";
