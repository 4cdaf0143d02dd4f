// One ledger: what a transaction needs, what it changes, and the chain of its blocks. Everything is
// checked before anything changes. Owns no interface: ICRC and legacy methods are built on it.

import { assert, encodeWith, equalBytes, present, readU64BigEndian } from "gyrotron/base";
import { sha256 } from "gyrotron/crypto";
import type { BlockContext } from "../block-context.ts";
import { rawBytes } from "../state/overlay.ts";
import type { ReplicaState } from "../state/replica-state.ts";
import type { Account } from "./account.ts";
import { hashOfBlock } from "./block-value.ts";
import * as records from "./ledger-record.ts";
import type { LedgerBlock, LedgerTotals, Operation, Transaction } from "./ledger-record.ts";

/** What sets one ledger apart from another. */
export interface LedgerRules {
  /** In keys of the state. */
  readonly number: number;
  readonly canisterId: Uint8Array;
  readonly name: string;
  readonly symbol: string;
  readonly decimals: number;
  /** Of a transfer or an approval. */
  readonly fee: bigint;
  /** Of a burn. */
  readonly burnFee: bigint;
  readonly amountMax: bigint;
  /** Tokens sent there are burned, tokens sent from there are new. */
  readonly mintingAccount: Account | undefined;
  /** Accounts are identifiers, not owner and subaccount. */
  readonly hasAccountIdentifiers: boolean;
  keyOf(account: Account): Uint8Array;
  /** Called with the chain's new end. */
  onBlock?(context: Pick<BlockContext, "state">, totals: LedgerTotals): void;
}

/** Why a transaction does not happen, as Candid shows it. */
export type LedgerError =
  | { BadFee: { expected_fee: bigint } }
  | { BadBurn: { min_burn_amount: bigint } }
  | { InsufficientFunds: { balance: bigint } }
  | { InsufficientAllowance: { allowance: bigint } }
  | { AllowanceChanged: { current_allowance: bigint } }
  | { Expired: { ledger_time: bigint } }
  | { TooOld: null }
  | { CreatedInFuture: { ledger_time: bigint } }
  | { Duplicate: { duplicate_of: bigint; canister_id: Uint8Array | undefined } }
  | { GenericError: { message: string; error_code: bigint } };

/** What happened to a transaction. */
export type LedgerOutcome = { block: bigint } | { error: LedgerError };

/** How far in the past a transaction may have been created, and how far a user's clock may be off. */
export const TRANSACTION_WINDOW_NS = 86_400_000_000_000n;
export const PERMITTED_DRIFT_NS = 60_000_000_000n;
/** Forgotten transactions that one new transaction clears away. */
const FORGET_MAX = 100;

/** A ledger in a state. */
export class Ledger {
  readonly rules: LedgerRules;
  readonly #state: ReplicaState;

  constructor(state: ReplicaState, rules: LedgerRules) {
    this.#state = state;
    this.rules = rules;
  }

  totals(): LedgerTotals {
    return (
      this.#state.overlay.get(records.totalsCodec, records.totalsKey(this.rules.number)) ?? {
        supply: 0n,
        held: 0n,
        blockCount: 0n,
        lastHash: undefined,
      }
    );
  }

  balance(account: Uint8Array): bigint {
    const key = records.balanceKey(this.rules.number, account);
    return this.#state.overlay.get(records.amountCodec, key) ?? 0n;
  }

  /** What the spender may take now. */
  allowance(from: Uint8Array, spender: Uint8Array, nowNs: bigint): records.Allowance {
    const key = records.allowanceKey(this.rules.number, from, spender);
    const found = this.#state.overlay.get(records.allowanceCodec, key);
    const isLive = found !== undefined && (found.expiresAtNs ?? nowNs + 1n) > nowNs;
    return isLive ? found : { amount: 0n, expiresAtNs: undefined };
  }

  /** Live allowances whose key (account and spender) begins with `prefix` and is included, in order of keys. */
  allowancesAfter(
    prefix: Uint8Array,
    isIncluded: (key: Uint8Array) => boolean,
    { nowNs, countMax }: { nowNs: bigint; countMax: number },
  ): (records.Allowance & { key: Uint8Array })[] {
    const { overlay } = this.#state;
    const start = records.allowanceKey(this.rules.number, prefix, new Uint8Array());
    const headBytes = start.length - prefix.length;
    const found: (records.Allowance & { key: Uint8Array })[] = [];
    for (const stateKey of overlay.keys(start)) {
      if (found.length === countMax) break;
      const key = stateKey.slice(headBytes);
      if (!isIncluded(key)) continue;
      const allowance = present(overlay.get(records.allowanceCodec, stateKey));
      if ((allowance.expiresAtNs ?? nowNs + 1n) > nowNs) found.push({ ...allowance, key });
    }
    return found;
  }

  block(index: bigint): LedgerBlock | undefined {
    return this.#state.overlay.get(records.blockCodec, records.blockKey(this.rules.number, index));
  }

  /** Adds to the cycles behind the tokens; negative takes away. */
  addHeld(amount: bigint): void {
    const totals = this.totals();
    this.#putTotals({ ...totals, held: totals.held + amount });
  }

  /** Notes which canister a remembered transaction has created. */
  noteCanister(transaction: Transaction, canisterId: Uint8Array): void {
    const key = records.seenKey(this.rules.number, hashOf(transaction));
    const seen = this.#state.overlay.get(records.seenCodec, key);
    if (seen !== undefined)
      this.#state.overlay.put(records.seenCodec, key, { ...seen, canisterId });
  }

  /** Carries out a transaction, or says why not and changes nothing. */
  transact(
    transaction: Transaction,
    nowNs: bigint,
    fee: bigint = this.#feeOf(transaction.operation),
  ): LedgerOutcome {
    const { operation } = transaction;
    const error =
      this.#checkTime(transaction, nowNs) ??
      this.#checkRepeated(transaction) ??
      this.#checkFee(operation, fee) ??
      this.#checkAllowance(operation, fee, nowNs) ??
      this.#checkFunds(operation, fee);
    if (error !== undefined) return { error };
    this.#apply(operation, fee, nowNs);
    return { block: this.#append(transaction, fee, nowNs) };
  }

  #feeOf(operation: Operation): bigint {
    if (operation.kind === "mint") return 0n;
    return operation.kind === "burn" ? this.rules.burnFee : this.rules.fee;
  }

  #checkTime({ createdAtNs }: Transaction, nowNs: bigint): LedgerError | undefined {
    if (createdAtNs === undefined) return undefined;
    if (createdAtNs + TRANSACTION_WINDOW_NS + PERMITTED_DRIFT_NS < nowNs) return { TooOld: null };
    if (createdAtNs > nowNs + PERMITTED_DRIFT_NS)
      return { CreatedInFuture: { ledger_time: nowNs } };
    return undefined;
  }

  #checkRepeated(transaction: Transaction): LedgerError | undefined {
    if (transaction.createdAtNs === undefined) return undefined;
    const key = records.seenKey(this.rules.number, hashOf(transaction));
    const seen = this.#state.overlay.get(records.seenCodec, key);
    if (seen === undefined) return undefined;
    return { Duplicate: { duplicate_of: seen.block, canister_id: seen.canisterId } };
  }

  #checkFee(operation: Operation, fee: bigint): LedgerError | undefined {
    if (operation.kind === "mint" || operation.kind === "burn") return undefined;
    if (operation.fee === undefined || operation.fee === fee) return undefined;
    return { BadFee: { expected_fee: fee } };
  }

  #checkAllowance(operation: Operation, fee: bigint, nowNs: bigint): LedgerError | undefined {
    if (operation.kind === "mint") return undefined;
    const { from, spender } = operation;
    if (spender === undefined) return undefined;
    const { amount } = this.allowance(from, spender, nowNs);
    if (operation.kind !== "approve") {
      if (equalBytes(from, spender) || amount >= operation.amount + fee) return undefined;
      return { InsufficientAllowance: { allowance: amount } };
    }
    const { expectedAllowance, expiresAtNs } = operation;
    if (expectedAllowance !== undefined && expectedAllowance !== amount)
      return { AllowanceChanged: { current_allowance: amount } };
    if (expiresAtNs !== undefined && expiresAtNs <= nowNs)
      return { Expired: { ledger_time: nowNs } };
    return undefined;
  }

  #checkFunds(operation: Operation, fee: bigint): LedgerError | undefined {
    if (operation.kind === "mint") {
      if (this.totals().supply + operation.amount <= this.rules.amountMax) return undefined;
      const message = "The total supply would exceed what the ledger can count.";
      return { GenericError: { message, error_code: 100_000n } };
    }
    const balance = this.balance(operation.from);
    const needed = fee + (operation.kind === "approve" ? 0n : operation.amount);
    return needed <= balance ? undefined : { InsufficientFunds: { balance } };
  }

  #apply(operation: Operation, fee: bigint, nowNs: bigint): void {
    if (operation.kind === "mint") {
      this.#credit(operation.to, operation.amount);
      this.#changeSupply(operation.amount);
      return;
    }
    const { from, amount } = operation;
    if (operation.kind === "approve") {
      const { spender, expiresAtNs } = operation;
      this.#putAllowance(from, spender, { amount, expiresAtNs });
      this.#debit(from, fee);
      this.#changeSupply(-fee);
      return;
    }
    const { spender } = operation;
    if (spender !== undefined && !equalBytes(from, spender)) {
      const allowance = this.allowance(from, spender, nowNs);
      const left = allowance.amount - amount - fee;
      this.#putAllowance(from, spender, { ...allowance, amount: left });
    }
    this.#debit(from, amount + fee);
    if (operation.kind === "transfer") this.#credit(operation.to, amount);
    this.#changeSupply(operation.kind === "transfer" ? -fee : -amount - fee);
  }

  #append(transaction: Transaction, fee: bigint, timeNs: bigint): bigint {
    const totals = this.totals();
    const block: LedgerBlock = { transaction, timeNs, fee, parentHash: totals.lastHash };
    const index = totals.blockCount;
    this.#state.overlay.put(records.blockCodec, records.blockKey(this.rules.number, index), block);
    const changed = { ...totals, blockCount: index + 1n, lastHash: hashOfBlock(this.rules, block) };
    this.#putTotals(changed);
    this.#remember(transaction, index, timeNs);
    this.rules.onBlock?.({ state: this.#state }, changed);
    return index;
  }

  #remember(transaction: Transaction, block: bigint, nowNs: bigint): void {
    if (transaction.createdAtNs === undefined) return;
    const { overlay } = this.#state;
    const { number } = this.rules;
    let left = FORGET_MAX;
    const due = overlay.keys(
      records.seenUntilPrefix,
      (key) => left-- > 0 && readU64BigEndian(key, 2) < nowNs,
    );
    for (const key of due) {
      overlay.delete(key);
      overlay.delete(records.seenKey(key[10]!, key.slice(11)));
    }
    const hash = hashOf(transaction);
    overlay.put(records.seenCodec, records.seenKey(number, hash), { block, canisterId: undefined });
    const untilNs = transaction.createdAtNs + TRANSACTION_WINDOW_NS + PERMITTED_DRIFT_NS;
    overlay.put(rawBytes, records.seenUntilKey(untilNs, number, hash), Uint8Array.of());
  }

  #putTotals(totals: LedgerTotals): void {
    this.#state.overlay.put(records.totalsCodec, records.totalsKey(this.rules.number), totals);
  }

  #changeSupply(change: bigint): void {
    const totals = this.totals();
    const supply = totals.supply + change;
    assert(supply >= 0n, "the supply covers every balance");
    this.#putTotals({ ...totals, supply });
  }

  #putAllowance(from: Uint8Array, spender: Uint8Array, allowance: records.Allowance): void {
    const key = records.allowanceKey(this.rules.number, from, spender);
    if (allowance.amount === 0n) this.#state.overlay.delete(key);
    else this.#state.overlay.put(records.allowanceCodec, key, allowance);
  }

  #credit(account: Uint8Array, amount: bigint): void {
    this.#putBalance(account, this.balance(account) + amount);
  }

  #debit(account: Uint8Array, amount: bigint): void {
    const balance = this.balance(account);
    assert(amount <= balance, "funds were checked");
    this.#putBalance(account, balance - amount);
  }

  #putBalance(account: Uint8Array, balance: bigint): void {
    const key = records.balanceKey(this.rules.number, account);
    if (balance === 0n) this.#state.overlay.delete(key);
    else this.#state.overlay.put(records.amountCodec, key, balance);
  }
}

function hashOf(transaction: Transaction): Uint8Array {
  return sha256(encodeWith(records.transactionCodec, transaction));
}
