// What a ledger keeps in replicated state: totals, balances, allowances, blocks, and the transactions
// that may not be repeated. Keys of accounts are the ledger's own: an identifier on the ICP ledger,
// owner and subaccount on the cycles ledger.

import { type Codec, codec, concatBytes, u64BigEndian } from "gyrotron/base";
import { KEY_PREFIX } from "../state/keys.ts";

const { bytes, fixedBytes, option, record, u64, u128, variant } = codec;

/** Sums and the end of the chain of blocks. */
export interface LedgerTotals {
  supply: bigint;
  /** Cycles behind the tokens, fees included; 0 on a ledger of anything else. */
  held: bigint;
  blockCount: bigint;
  lastHash: Uint8Array | undefined;
}

export const totalsCodec: Codec<LedgerTotals> = record<{
  [K in keyof LedgerTotals]: LedgerTotals[K];
}>({
  supply: u128,
  held: u128,
  blockCount: u64,
  lastHash: option(fixedBytes(32)),
});

/** What a transaction does; amounts in the smallest unit. A fee is what the user stated. */
export type Operation =
  | { kind: "mint"; to: Uint8Array; amount: bigint; fee: bigint | undefined }
  | { kind: "burn"; from: Uint8Array; spender: Uint8Array | undefined; amount: bigint }
  | {
      kind: "transfer";
      from: Uint8Array;
      to: Uint8Array;
      spender: Uint8Array | undefined;
      amount: bigint;
      fee: bigint | undefined;
    }
  | {
      kind: "approve";
      from: Uint8Array;
      spender: Uint8Array;
      amount: bigint;
      expectedAllowance: bigint | undefined;
      expiresAtNs: bigint | undefined;
      fee: bigint | undefined;
    };

const operationCodec: Codec<Operation> = variant<Operation>({
  mint: record<{ to: Uint8Array; amount: bigint; fee: bigint | undefined }>({
    to: bytes,
    amount: u128,
    fee: option(u128),
  }),
  burn: record<{ from: Uint8Array; spender: Uint8Array | undefined; amount: bigint }>({
    from: bytes,
    spender: option(bytes),
    amount: u128,
  }),
  transfer: record<{
    from: Uint8Array;
    to: Uint8Array;
    spender: Uint8Array | undefined;
    amount: bigint;
    fee: bigint | undefined;
  }>({ from: bytes, to: bytes, spender: option(bytes), amount: u128, fee: option(u128) }),
  approve: record<{
    from: Uint8Array;
    spender: Uint8Array;
    amount: bigint;
    expectedAllowance: bigint | undefined;
    expiresAtNs: bigint | undefined;
    fee: bigint | undefined;
  }>({
    from: bytes,
    spender: bytes,
    amount: u128,
    expectedAllowance: option(u128),
    expiresAtNs: option(u64),
    fee: option(u128),
  }),
});

/** What a user asked for. */
export interface Transaction {
  operation: Operation;
  memo: Uint8Array | undefined;
  /** The ICP ledger's older memo, a number. */
  numericMemo: bigint;
  createdAtNs: bigint | undefined;
}

export const transactionCodec: Codec<Transaction> = record<{
  [K in keyof Transaction]: Transaction[K];
}>({
  operation: operationCodec,
  memo: option(bytes),
  numericMemo: u64,
  createdAtNs: option(u64),
});

/** A transaction that has happened. */
export interface LedgerBlock {
  transaction: Transaction;
  timeNs: bigint;
  /** The fee that was charged. */
  fee: bigint;
  parentHash: Uint8Array | undefined;
}

export const blockCodec: Codec<LedgerBlock> = record<{ [K in keyof LedgerBlock]: LedgerBlock[K] }>({
  transaction: transactionCodec,
  timeNs: u64,
  fee: u128,
  parentHash: option(fixedBytes(32)),
});

/** A balance; absent when zero. */
export const amountCodec: Codec<bigint> = u128;

/** What a spender may take. */
export interface Allowance {
  amount: bigint;
  expiresAtNs: bigint | undefined;
}

export const allowanceCodec: Codec<Allowance> = record<{ [K in keyof Allowance]: Allowance[K] }>({
  amount: u128,
  expiresAtNs: option(u64),
});

/** A transaction that is remembered so that it cannot happen twice. */
export interface SeenTransaction {
  block: bigint;
  /** The canister that it created. */
  canisterId: Uint8Array | undefined;
}

export const seenCodec: Codec<SeenTransaction> = record<{
  [K in keyof SeenTransaction]: SeenTransaction[K];
}>({ block: u64, canisterId: option(bytes) });

/** A payment that the cycles minting canister has dealt with, by block of the ICP ledger. */
export interface Notification {
  method: string;
  /** Encoded Candid. */
  reply: Uint8Array;
}

export const notificationCodec: Codec<Notification> = record<{ method: string; reply: Uint8Array }>(
  {
    method: codec.text,
    reply: bytes,
  },
);

const key = (kind: string, ...parts: readonly Uint8Array[]): Uint8Array =>
  concatBytes(KEY_PREFIX.token, Uint8Array.of(kind.charCodeAt(0)), ...parts);
const of = (ledger: number): Uint8Array => Uint8Array.of(ledger);

export const totalsKey = (ledger: number): Uint8Array => key("t", of(ledger));
export const balanceKey = (ledger: number, account: Uint8Array): Uint8Array =>
  key("b", of(ledger), account);
export const allowanceKey = (ledger: number, from: Uint8Array, spender: Uint8Array): Uint8Array =>
  key("a", of(ledger), from, spender);
export const blockKey = (ledger: number, index: bigint): Uint8Array =>
  key("l", of(ledger), u64BigEndian(index));
export const seenKey = (ledger: number, hash: Uint8Array): Uint8Array => key("s", of(ledger), hash);
/** Until when a transaction is remembered. */
export const seenUntilPrefix: Uint8Array = key("u");
export const seenUntilKey = (timeNs: bigint, ledger: number, hash: Uint8Array): Uint8Array =>
  key("u", u64BigEndian(timeNs), of(ledger), hash);
export const notificationKey = (block: bigint): Uint8Array => key("n", u64BigEndian(block));
/** All cycles that were ever made of ICP. */
export const mintedKey: Uint8Array = key("m");
