// The methods of ICRC-1, ICRC-2 and ICRC-10 over a ledger: reading arguments, building transactions,
// showing outcomes. Both token canisters have them.

import { IDL } from "gyrotron/candid";
import type { BlockContext } from "../block-context.ts";
import {
  ACCOUNT,
  type Account,
  accountOf,
  type GivenAccount,
  givenAccount,
  readAccount,
} from "./account.ts";
import * as types from "./icrc-types.ts";
import { Ledger, type LedgerError, type LedgerOutcome, type LedgerRules } from "./ledger.ts";
import type { Operation, Transaction } from "./ledger-record.ts";
import {
  badArgument,
  constant,
  type MethodTable,
  type Outcome,
  query,
  type SystemCall,
  update,
} from "./method.ts";

const U128_MAX = (1n << 128n) - 1n;
const MEMO_BYTES_MAX = 32;
const ICRC = "https://github.com/dfinity/ICRC-1/blob/main/standards";
const STANDARD_URLS: Readonly<Record<string, string>> = {
  "ICRC-1": `${ICRC}/ICRC-1/README.md`,
  "ICRC-2": `${ICRC}/ICRC-2/README.md`,
  "ICRC-3": `${ICRC}/ICRC-3/README.md`,
  "ICRC-21":
    "https://github.com/dfinity/wg-identity-authentication/blob/main/topics/ICRC-21/icrc_21_consent_msg.md",
  "ICRC-103": "https://github.com/dfinity/ICRC/blob/main/ICRCs/ICRC-103/ICRC-103.md",
  "ICRC-106": "https://github.com/dfinity/ICRC/blob/main/ICRCs/ICRC-106/ICRC-106.md",
  "ICRC-10": "https://github.com/dfinity/ICRC/blob/main/ICRCs/ICRC-10/ICRC-10.md",
};

/** The methods for a ledger that keeps these standards. */
export function icrcMethods(rules: LedgerRules, standards: readonly string[]): MethodTable {
  const supported = standards.map((name) => ({ name, url: STANDARD_URLS[name] }));
  const listStandards = constant(IDL.Vec(types.STANDARD), () => supported);
  return {
    icrc1_name: constant(IDL.Text, () => rules.name),
    icrc1_symbol: constant(IDL.Text, () => rules.symbol),
    icrc1_decimals: constant(IDL.Nat8, () => rules.decimals),
    icrc1_fee: constant(IDL.Nat, () => rules.fee),
    icrc1_metadata: constant(types.METADATA, () => metadataOf(rules)),
    icrc1_minting_account: constant(IDL.Opt(ACCOUNT), () =>
      rules.mintingAccount === undefined ? [] : [givenAccount(rules.mintingAccount)],
    ),
    icrc1_supported_standards: listStandards,
    icrc10_supported_standards: listStandards,
    // Nobody has set an index canister, and there is no method to set one.
    icrc106_get_index_principal: constant(
      types.resultOf(IDL.Principal, types.INDEX_PRINCIPAL_ERROR),
      () => ({ Err: { IndexPrincipalNotSet: null } }),
    ),
    icrc1_total_supply: constant(IDL.Nat, ({ state }) => new Ledger(state, rules).totals().supply),
    icrc1_balance_of: query(ACCOUNT, IDL.Nat, ({ state }, account: GivenAccount) =>
      new Ledger(state, rules).balance(rules.keyOf(readAccount(account))),
    ),
    icrc1_transfer: update(
      types.TRANSFER_ARG,
      types.resultOf(IDL.Nat, types.TRANSFER_ERROR),
      (context, call, given: types.GivenTransfer) =>
        outcome(transact(context, rules, transferOf(rules, call, given))),
    ),
    icrc2_approve: update(
      types.APPROVE_ARG,
      types.resultOf(IDL.Nat, types.APPROVE_ERROR),
      (context, call, given: types.GivenApproval) =>
        outcome(transact(context, rules, approvalOf(rules, call, given))),
    ),
    icrc2_transfer_from: update(
      types.TRANSFER_FROM_ARG,
      types.resultOf(IDL.Nat, types.TRANSFER_FROM_ERROR),
      (context, call, given: types.GivenTransferFrom) =>
        outcome(transact(context, rules, transferFromOf(rules, call, given))),
    ),
    icrc2_allowance: query(
      types.ALLOWANCE_ARG,
      types.ALLOWANCE,
      ({ state, timeNs }, given: { account: GivenAccount; spender: GivenAccount }) => {
        const from = rules.keyOf(readAccount(given.account));
        const spender = rules.keyOf(readAccount(given.spender));
        const { amount, expiresAtNs } = new Ledger(state, rules).allowance(from, spender, timeNs);
        return { allowance: amount, expires_at: expiresAtNs === undefined ? [] : [expiresAtNs] };
      },
    ),
  };
}

/** Carries out a transfer; one from or to the minting account makes or burns tokens, without a fee. */
export function transact(
  context: BlockContext,
  rules: LedgerRules,
  transaction: Transaction,
): LedgerOutcome {
  const ledger = new Ledger(context.state, rules);
  const minting = rules.mintingAccount && rules.keyOf(rules.mintingAccount).toHex();
  const { operation } = transaction;
  if (operation.kind !== "transfer" || minting === undefined)
    return ledger.transact(transaction, context.timeNs);
  const { from, to, amount, spender, fee } = operation;
  const [isMint, isBurn] = [from.toHex() === minting, to.toHex() === minting];
  if (!isMint && !isBurn) return ledger.transact(transaction, context.timeNs);
  if (fee !== undefined && fee !== 0n) return { error: { BadFee: { expected_fee: 0n } } };
  if (isBurn && amount < rules.fee) {
    const balance = ledger.balance(from);
    const error = balance < rules.fee ? { InsufficientFunds: { balance } } : undefined;
    return { error: error ?? { BadBurn: { min_burn_amount: rules.fee } } };
  }
  const changed: Operation = isMint
    ? { kind: "mint", to, amount, fee: undefined }
    : { kind: "burn", from, spender, amount };
  return ledger.transact({ ...transaction, operation: changed }, context.timeNs);
}

/** `variant { Ok : block; Err }`. */
export function outcome(result: LedgerOutcome): Outcome {
  if ("block" in result) return { value: { Ok: result.block } };
  return { value: { Err: result.error satisfies LedgerError } };
}

/** An amount as records can hold it: more than there can be is as good as that. */
export function clampAmount(amount: bigint, max: bigint = U128_MAX): bigint {
  return amount < max ? amount : max;
}

function transferOf(rules: LedgerRules, call: SystemCall, given: types.GivenTransfer): Transaction {
  const operation = {
    kind: "transfer",
    from: rules.keyOf(accountOf(call.caller, given.from_subaccount)),
    to: rules.keyOf(readAccount(given.to)),
    spender: undefined,
    amount: clampAmount(given.amount),
    fee: feeOf(given),
  } as const;
  return { operation, ...circumstances(given) };
}

function transferFromOf(
  rules: LedgerRules,
  call: SystemCall,
  given: types.GivenTransferFrom,
): Transaction {
  const operation = {
    kind: "transfer",
    from: rules.keyOf(readAccount(given.from)),
    to: rules.keyOf(readAccount(given.to)),
    spender: rules.keyOf(accountOf(call.caller, given.spender_subaccount)),
    amount: clampAmount(given.amount),
    fee: feeOf(given),
  } as const;
  return { operation, ...circumstances(given) };
}

function approvalOf(rules: LedgerRules, call: SystemCall, given: types.GivenApproval): Transaction {
  const spender: Account = readAccount(given.spender);
  if (spender.owner.toHex() === call.caller.toHex())
    throw badArgument("self approval is not allowed");
  const expected = given.expected_allowance[0];
  const operation = {
    kind: "approve",
    from: rules.keyOf(accountOf(call.caller, given.from_subaccount)),
    spender: rules.keyOf(spender),
    amount: clampAmount(given.amount, rules.amountMax),
    expectedAllowance: expected === undefined ? undefined : clampAmount(expected),
    expiresAtNs: given.expires_at[0],
    fee: feeOf(given),
  } as const;
  return { operation, ...circumstances(given) };
}

function feeOf({ fee: [fee] }: { fee: [] | [bigint] }): bigint | undefined {
  return fee === undefined ? undefined : clampAmount(fee);
}

function circumstances(given: {
  memo: [] | [Uint8Array];
  created_at_time: [] | [bigint];
}): Pick<Transaction, "memo" | "numericMemo" | "createdAtNs"> {
  const [memo] = given.memo;
  return { memo: checkMemo(memo), numericMemo: 0n, createdAtNs: given.created_at_time[0] };
}

/** @throws DecodeError if it is too long */
export function checkMemo(memo: Uint8Array | undefined): Uint8Array | undefined {
  if (memo === undefined || memo.length <= MEMO_BYTES_MAX) return memo;
  throw badArgument(
    `the memo field size of ${memo.length} bytes is above the allowed limit of ${MEMO_BYTES_MAX}`,
  );
}

function metadataOf(rules: LedgerRules): unknown {
  return [
    ["icrc1:name", { Text: rules.name }],
    ["icrc1:symbol", { Text: rules.symbol }],
    ["icrc1:decimals", { Nat: BigInt(rules.decimals) }],
    ["icrc1:fee", { Nat: rules.fee }],
    ["icrc1:max_memo_length", { Nat: BigInt(MEMO_BYTES_MAX) }],
  ];
}
