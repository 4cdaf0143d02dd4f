// The ICP ledger: the token standards and the older interface with account identifiers. One ICP is
// 10^8 e8s; fees are burned. Differs from the network's ledger in the hash that links blocks
// (spec 12 §2).

import { parseHex } from "gyrotron/base";
import { IDL } from "gyrotron/candid";
import {
  ACCOUNT,
  accountIdentifier,
  accountOf,
  DEFAULT_SUBACCOUNT,
  type GivenAccount,
  readAccount,
  readAccountIdentifier,
} from "./account.ts";
import { indicesOf } from "./block-log.ts";
import { consentMethods } from "./consent-message.ts";
import { icrcMethods, transact } from "./icrc-methods.ts";
import { BLOB, ICRC_TYPE_NAMES, resultOf } from "./icrc-types.ts";
import { GOVERNANCE_CANISTER_ID, ICP_LEDGER_ID } from "./ids.ts";
import {
  Ledger,
  type LedgerError,
  type LedgerRules,
  PERMITTED_DRIFT_NS,
  TRANSACTION_WINDOW_NS,
} from "./ledger.ts";
import type { LedgerBlock, Operation } from "./ledger-record.ts";
import {
  badArgument,
  constant,
  type MethodTable,
  query,
  type SystemCall,
  type SystemCanister,
  update,
} from "./method.ts";
import type { BlockContext } from "../block-context.ts";

/** Fee of a transfer or an approval, e8s. */
export const ICP_FEE_E8S = 10_000n;

export const ICP_RULES: LedgerRules = {
  number: 0,
  canisterId: ICP_LEDGER_ID,
  name: "Internet Computer",
  symbol: "ICP",
  decimals: 8,
  fee: ICP_FEE_E8S,
  burnFee: 0n,
  amountMax: (1n << 64n) - 1n,
  mintingAccount: { owner: GOVERNANCE_CANISTER_ID, subaccount: DEFAULT_SUBACCOUNT },
  hasAccountIdentifiers: true,
  keyOf: accountIdentifier,
};

const { Nat32, Nat64, Null, Opt, Record, Text, Variant, Vec } = IDL;
const TOKENS = Record({ e8s: Nat64 });
const TIMESTAMP = Record({ timestamp_nanos: Nat64 });
const TRANSFER_ARGS = Record({
  memo: Nat64,
  amount: TOKENS,
  fee: TOKENS,
  from_subaccount: Opt(BLOB),
  to: BLOB,
  created_at_time: Opt(TIMESTAMP),
});
const SEND_ARGS = Record({
  memo: Nat64,
  amount: TOKENS,
  fee: TOKENS,
  from_subaccount: Opt(BLOB),
  to: Text,
  created_at_time: Opt(TIMESTAMP),
});
const LEGACY_ERROR = Variant({
  BadFee: Record({ expected_fee: TOKENS }),
  InsufficientFunds: Record({ balance: TOKENS }),
  TxTooOld: Record({ allowed_window_nanos: Nat64 }),
  TxCreatedInFuture: Null,
  TxDuplicate: Record({ duplicate_of: Nat64 }),
});
const OPERATION = Variant({
  Mint: Record({ to: BLOB, amount: TOKENS }),
  Burn: Record({ from: BLOB, spender: Opt(BLOB), amount: TOKENS }),
  Transfer: Record({ from: BLOB, to: BLOB, amount: TOKENS, fee: TOKENS, spender: Opt(BLOB) }),
  Approve: Record({
    from: BLOB,
    spender: BLOB,
    allowance_e8s: IDL.Int,
    allowance: TOKENS,
    fee: TOKENS,
    expires_at: Opt(TIMESTAMP),
    expected_allowance: Opt(TOKENS),
  }),
});
const BLOCK = Record({
  parent_hash: Opt(BLOB),
  transaction: Record({
    memo: Nat64,
    icrc1_memo: Opt(BLOB),
    operation: Opt(OPERATION),
    created_at_time: TIMESTAMP,
  }),
  timestamp: TIMESTAMP,
});
const TIP_OF_CHAIN = Record({ certification: Opt(BLOB), tip_index: Nat64 });
const GET_BLOCKS_ARGS = Record({ start: Nat64, length: Nat64 });
const ARCHIVE_ERROR = Variant({
  BadFirstBlockIndex: Record({ requested_index: Nat64, first_valid_index: Nat64 }),
  Other: Record({ error_code: Nat64, error_message: Text }),
});
const BLOCK_RANGE = Record({ blocks: Vec(BLOCK) });
const QUERY_BLOCKS_RESPONSE = Record({
  chain_length: Nat64,
  certificate: Opt(BLOB),
  blocks: Vec(BLOCK),
  first_block_index: Nat64,
  archived_blocks: Vec(
    Record({
      start: Nat64,
      length: Nat64,
      callback: IDL.Func([GET_BLOCKS_ARGS], [resultOf(BLOCK_RANGE, ARCHIVE_ERROR)], ["query"]),
    }),
  ),
});

/** TRANSFER_ARGS as decoded, and SEND_ARGS but for the receiver. */
interface GivenLegacyTransfer<To> {
  memo: bigint;
  amount: { e8s: bigint };
  fee: { e8s: bigint };
  from_subaccount: [] | [Uint8Array];
  to: To;
  created_at_time: [] | [{ timestamp_nanos: bigint }];
}

const legacyMethods: MethodTable = {
  name: constant(Record({ name: Text }), () => ({ name: ICP_RULES.name })),
  symbol: constant(Record({ symbol: Text }), () => ({ symbol: ICP_RULES.symbol })),
  decimals: constant(Record({ decimals: Nat32 }), () => ({ decimals: ICP_RULES.decimals })),
  transfer_fee: constant(Record({ transfer_fee: TOKENS }), () => ({
    transfer_fee: { e8s: ICP_FEE_E8S },
  })),
  archives: constant(Record({ archives: Vec(Record({ canister_id: IDL.Principal })) }), () => ({
    archives: [],
  })),
  account_identifier: query(ACCOUNT, BLOB, (_context, account: GivenAccount) =>
    accountIdentifier(readAccount(account)),
  ),
  account_balance: query(
    Record({ account: BLOB }),
    TOKENS,
    ({ state }, { account }: { account: Uint8Array }) => ({
      e8s: new Ledger(state, ICP_RULES).balance(readAccountIdentifier(account)),
    }),
  ),
  account_balance_dfx: query(
    Record({ account: Text }),
    TOKENS,
    ({ state }, { account }: { account: string }) => ({
      e8s: new Ledger(state, ICP_RULES).balance(parseAccountIdentifier(account)),
    }),
  ),
  transfer: update(
    TRANSFER_ARGS,
    resultOf(Nat64, LEGACY_ERROR),
    (context, call, given: GivenLegacyTransfer<Uint8Array>) => {
      const result = transferLegacy(context, call, given, readAccountIdentifier(given.to));
      return {
        value: "block" in result ? { Ok: result.block } : { Err: legacyError(result.error) },
      };
    },
  ),
  send_dfx: update(SEND_ARGS, Nat64, (context, call, given: GivenLegacyTransfer<string>) => {
    const result = transferLegacy(context, call, given, parseAccountIdentifier(given.to));
    if ("block" in result) return { value: result.block };
    throw badArgument(`the transfer failed: ${Object.keys(result.error).join()}`);
  }),
  is_ledger_ready: constant(IDL.Bool, () => true),
  tip_of_chain: constant(TIP_OF_CHAIN, ({ state }, call) => {
    const { blockCount } = new Ledger(state, ICP_RULES).totals();
    // A chain without blocks has no tip; the network's ledger traps then too.
    if (blockCount === 0n) throw badArgument("there are no blocks");
    return {
      certification: call.dataCertificate === undefined ? [] : [call.dataCertificate],
      tip_index: blockCount - 1n,
    };
  }),
  query_blocks: query(
    GET_BLOCKS_ARGS,
    QUERY_BLOCKS_RESPONSE,
    ({ state }, range: { start: bigint; length: bigint }, call) => {
      const ledger = new Ledger(state, ICP_RULES);
      const { blockCount } = ledger.totals();
      const indices = indicesOf([range], blockCount);
      const blocks = indices
        .map((index) => ledger.block(index))
        .filter((block) => block !== undefined);
      return {
        chain_length: blockCount,
        certificate: call.dataCertificate === undefined ? [] : [call.dataCertificate],
        blocks: blocks.map(legacyBlock),
        first_block_index: indices[0] ?? 0n,
        archived_blocks: [],
      };
    },
  ),
};

/** The ICP ledger. */
export const ICP_LEDGER: SystemCanister = {
  id: ICP_LEDGER_ID,
  methods: {
    ...legacyMethods,
    ...icrcMethods(ICP_RULES, ["ICRC-1", "ICRC-2", "ICRC-10", "ICRC-21", "ICRC-106"]),
    ...consentMethods(ICP_RULES),
  },
  typeNames: {
    ...ICRC_TYPE_NAMES,
    Tokens: TOKENS,
    TimeStamp: TIMESTAMP,
    TransferArgs: TRANSFER_ARGS,
    LegacyTransferError: LEGACY_ERROR,
    SendArgs: SEND_ARGS,
    GetBlocksArgs: GET_BLOCKS_ARGS,
    Operation: OPERATION,
    Block: BLOCK,
    BlockRange: BLOCK_RANGE,
    QueryArchiveError: ARCHIVE_ERROR,
    QueryBlocksResponse: QUERY_BLOCKS_RESPONSE,
  },
};

function transferLegacy(
  context: BlockContext,
  call: SystemCall,
  given: GivenLegacyTransfer<unknown>,
  to: Uint8Array,
): ReturnType<typeof transact> {
  const from = accountIdentifier(accountOf(call.caller, given.from_subaccount));
  const operation = {
    kind: "transfer",
    from,
    to,
    spender: undefined,
    amount: given.amount.e8s,
    fee: given.fee.e8s,
  } as const;
  const createdAtNs = given.created_at_time[0]?.timestamp_nanos;
  const transaction = { operation, memo: undefined, numericMemo: given.memo, createdAtNs };
  return transact(context, ICP_RULES, transaction);
}

/** @throws DecodeError */
function parseAccountIdentifier(text: string): Uint8Array {
  return readAccountIdentifier(parseHex(text) ?? new Uint8Array());
}

function legacyError(error: LedgerError): unknown {
  if ("BadFee" in error) return { BadFee: { expected_fee: { e8s: error.BadFee.expected_fee } } };
  if ("InsufficientFunds" in error)
    return { InsufficientFunds: { balance: { e8s: error.InsufficientFunds.balance } } };
  if ("TooOld" in error) {
    return { TxTooOld: { allowed_window_nanos: TRANSACTION_WINDOW_NS + PERMITTED_DRIFT_NS } };
  }
  if ("CreatedInFuture" in error) return { TxCreatedInFuture: null };
  if ("Duplicate" in error) return { TxDuplicate: { duplicate_of: error.Duplicate.duplicate_of } };
  // The older interface has no name for the rest: the call traps, as on the network.
  throw badArgument(`the transfer failed: ${Object.keys(error).join()}`);
}

function legacyBlock({ transaction, timeNs, parentHash, fee }: LedgerBlock): unknown {
  const { operation, memo, numericMemo, createdAtNs } = transaction;
  return {
    parent_hash: parentHash === undefined ? [] : [parentHash],
    timestamp: { timestamp_nanos: timeNs },
    transaction: {
      memo: numericMemo,
      icrc1_memo: memo === undefined ? [] : [memo],
      operation: [legacyOperation(operation, fee)],
      created_at_time: { timestamp_nanos: createdAtNs ?? timeNs },
    },
  };
}

function legacyOperation(operation: Operation, feeE8s: bigint): unknown {
  const amount = { e8s: operation.amount };
  const fee = { e8s: feeE8s };
  const optional = <T>(value: T | undefined): [] | [T] => (value === undefined ? [] : [value]);
  switch (operation.kind) {
    case "mint":
      return { Mint: { to: operation.to, amount } };
    case "burn":
      return { Burn: { from: operation.from, spender: optional(operation.spender), amount } };
    case "transfer": {
      const { from, to, spender } = operation;
      return { Transfer: { from, to, amount, fee, spender: optional(spender) } };
    }
    case "approve": {
      const { from, spender, expiresAtNs, expectedAllowance } = operation;
      return {
        Approve: {
          from,
          spender,
          allowance_e8s: operation.amount,
          allowance: amount,
          fee,
          expires_at: expiresAtNs === undefined ? [] : [{ timestamp_nanos: expiresAtNs }],
          expected_allowance: expectedAllowance === undefined ? [] : [{ e8s: expectedAllowance }],
        },
      };
    }
  }
}
