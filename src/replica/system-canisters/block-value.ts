// Blocks of a ledger as ICRC-3 shows and hashes them: generic values under short names.

import { hashOfValue, type HashableValue } from "gyrotron/crypto";
import { IDL } from "gyrotron/candid";
import { accountFromKey, DEFAULT_SUBACCOUNT } from "./account.ts";
import { equalBytes } from "gyrotron/base";
import type { LedgerBlock, Operation, Transaction } from "./ledger-record.ts";

/** What of a ledger's rules matters for its blocks. */
interface BlockRules {
  /** Accounts are identifiers, not owner and subaccount. */
  readonly hasAccountIdentifiers: boolean;
  readonly fee: bigint;
}

/** A value of any kind. */
export const VALUE: IDL.RecClass = IDL.Rec();
VALUE.fill(
  IDL.Variant({
    Nat: IDL.Nat,
    Int: IDL.Int,
    Blob: IDL.Vec(IDL.Nat8),
    Text: IDL.Text,
    Array: IDL.Vec(VALUE),
    Map: IDL.Vec(IDL.Tuple(IDL.Text, VALUE)),
  }),
);

type Fields = Record<string, HashableValue | undefined>;

/** The block's hash, which the next block names. */
export function hashOfBlock(rules: BlockRules, block: LedgerBlock): Uint8Array {
  return hashOfValue(blockFields(rules, block));
}

/** The block as a Candid value of type VALUE. */
export function blockValue(rules: BlockRules, block: LedgerBlock): unknown {
  return candidValue(blockFields(rules, block));
}

function blockFields(rules: BlockRules, block: LedgerBlock): Fields {
  const { transaction, timeNs, parentHash } = block;
  const { operation } = transaction;
  const stated = operation.kind === "burn" ? undefined : operation.fee;
  return {
    phash: parentHash,
    ts: timeNs,
    // Absent where the transaction itself says what was charged.
    fee: stated === undefined || operation.kind === "mint" ? block.fee : undefined,
    tx: transactionFields(rules, transaction),
  };
}

function transactionFields(rules: BlockRules, transaction: Transaction): Fields {
  const { operation, memo, numericMemo, createdAtNs } = transaction;
  return {
    ...operationFields(rules, operation),
    memo,
    nmemo: numericMemo === 0n ? undefined : numericMemo,
    ts: createdAtNs,
  };
}

function operationFields(rules: BlockRules, operation: Operation): Fields {
  const account = (key: Uint8Array | undefined): HashableValue | undefined =>
    key && accountValue(rules, key);
  const { amount: amt } = operation;
  switch (operation.kind) {
    case "mint":
      return { op: "mint", to: account(operation.to), amt, fee: operation.fee };
    case "burn":
      return {
        op: "burn",
        from: account(operation.from),
        spender: account(operation.spender),
        amt,
      };
    case "transfer": {
      const { from, to, spender, fee } = operation;
      return {
        op: "xfer",
        from: account(from),
        to: account(to),
        spender: account(spender),
        amt,
        fee,
      };
    }
    case "approve": {
      const { from, spender, fee, expectedAllowance, expiresAtNs } = operation;
      const parties = { from: account(from), spender: account(spender) };
      const terms = { expected_allowance: expectedAllowance, expires_at: expiresAtNs };
      return { op: "approve", ...parties, amt, ...terms, fee };
    }
  }
}

function accountValue({ hasAccountIdentifiers }: BlockRules, key: Uint8Array): HashableValue {
  if (hasAccountIdentifiers) return key;
  const { owner, subaccount } = accountFromKey(key);
  return equalBytes(subaccount, DEFAULT_SUBACCOUNT) ? [owner] : [owner, subaccount];
}

function candidValue(value: HashableValue): unknown {
  if (typeof value === "bigint") return { Nat: value };
  if (typeof value === "string") return { Text: value };
  if (value instanceof Uint8Array) return { Blob: value };
  if (isList(value)) return { Array: value.map(candidValue) };
  const present = Object.entries(value as Fields).filter(([, field]) => field !== undefined);
  return { Map: present.map(([name, field]) => [name, candidValue(field as HashableValue)]) };
}

function isList(value: object): value is readonly HashableValue[] {
  return Array.isArray(value);
}
