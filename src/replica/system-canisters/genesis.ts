// What a network begins with: the interfaces of the system canisters and what their configuration
// gives to whom. The first blocks of the ledgers are the mints of these endowments.

import { assert } from "gyrotron/base";
import type { NetworkConfig } from "../contract.ts";
import type { ReplicaState } from "../state/replica-state.ts";
import { DEFAULT_SUBACCOUNT } from "./account.ts";
import { LOCAL_TOKENS } from "./config.ts";
import { CYCLES_RULES } from "./cycles-ledger.ts";
import { rateRoot } from "./cycles-minting.ts";
import { systemInterfaces } from "./dispatch.ts";
import { ICP_RULES } from "./icp-ledger.ts";
import { CYCLES_MINTING_CANISTER_ID } from "./ids.ts";
import { Ledger, type LedgerRules } from "./ledger.ts";

/** Adds the system canisters to an empty state. */
export function createSystemCanisters(
  state: ReplicaState,
  network: NetworkConfig,
  timeNs: bigint,
): void {
  for (const { id, service } of systemInterfaces())
    state.putPublicInfo(id, { controllers: [], createdNs: timeNs, metadata: [service] });
  const rate = state.publicInfo(CYCLES_MINTING_CANISTER_ID);
  assert(rate !== undefined, "the cycles minting canister has an interface");
  state.putPublicInfo(CYCLES_MINTING_CANISTER_ID, { ...rate, certifiedData: rateRoot(network) });
  for (const { owner, icpE8s, cycles } of (network.tokens ?? LOCAL_TOKENS).endowments) {
    endow(state, ICP_RULES, owner, icpE8s, timeNs);
    endow(state, CYCLES_RULES, owner, cycles, timeNs);
    new Ledger(state, CYCLES_RULES).addHeld(cycles);
  }
}

function endow(
  state: ReplicaState,
  rules: LedgerRules,
  owner: Uint8Array,
  amount: bigint,
  timeNs: bigint,
): void {
  if (amount === 0n) return;
  const to = rules.keyOf({ owner, subaccount: DEFAULT_SUBACCOUNT });
  const operation = { kind: "mint", to, amount, fee: undefined } as const;
  const transaction = { operation, memo: undefined, numericMemo: 0n, createdAtNs: undefined };
  const outcome = new Ledger(state, rules).transact(transaction, timeNs);
  assert("block" in outcome, "the configured endowments fit the ledgers");
}
