// The cycles ledger: cycles as a token. What its accounts own is held by the ledger; deposits come
// from canisters or the cycles minting canister, withdrawals and new canisters take cycles out.

import { assert, concatBytes, equalBytes } from "gyrotron/base";
import { fromIdlPrincipal, IDL, type IdlPrincipal, toIdlPrincipal } from "gyrotron/candid";
import { formatPrincipal, isSelfAuthenticating } from "gyrotron/crypto";
import type { BlockContext } from "../block-context.ts";
import { deposit } from "../cycles/balance.ts";
import { canisterNotFound, canisterReject, type Reject } from "../reject.ts";
import {
  ACCOUNT,
  type Account,
  accountKey,
  accountOf,
  type GivenAccount,
  readAccount,
} from "./account.ts";
import { allowanceListMethods } from "./allowance-list.ts";
import { blockLogMethods, certifyTip } from "./block-log.ts";
import { consentMethods } from "./consent-message.ts";
import {
  CREATION_ARGS,
  type CreationArgs,
  createCanisterWith,
  SUBNET_SELECTION,
} from "./canister-creation.ts";
import { checkMemo, clampAmount, icrcMethods } from "./icrc-methods.ts";
import {
  BLOB,
  GET_BLOCKS_ARG,
  GET_BLOCKS_RESULT,
  ICRC_TYPE_NAMES,
  resultOf,
} from "./icrc-types.ts";
import { VALUE } from "./block-value.ts";
import { CYCLES_LEDGER_ID } from "./ids.ts";
import { Ledger, type LedgerError, type LedgerRules } from "./ledger.ts";
import type { Allowance, Transaction } from "./ledger-record.ts";
import {
  badArgument,
  type MethodTable,
  type Outcome,
  type SystemCall,
  type SystemCanister,
  update,
} from "./method.ts";

/** Fee of every block that a user causes, cycles. */
export const CYCLES_LEDGER_FEE = 100_000_000n;

export const CYCLES_RULES: LedgerRules = {
  number: 1,
  canisterId: CYCLES_LEDGER_ID,
  name: "Trillion Cycles",
  symbol: "TCYCLES",
  decimals: 12,
  fee: CYCLES_LEDGER_FEE,
  burnFee: CYCLES_LEDGER_FEE,
  amountMax: (1n << 128n) - 1n,
  mintingAccount: undefined,
  hasAccountIdentifiers: false,
  keyOf: accountKey,
  onBlock: (context, totals) => certifyTip(CYCLES_RULES, context, totals),
};

const { Nat, Nat64, Null, Opt, Principal, Record, Text, Variant } = IDL;
const DEPOSIT_ARGS = Record({ to: ACCOUNT, memo: Opt(BLOB) });
const DEPOSIT_RESULT = Record({ balance: Nat, block_index: Nat });
const REJECTION_CODE = Variant({
  NoError: Null,
  CanisterError: Null,
  SysTransient: Null,
  DestinationInvalid: Null,
  Unknown: Null,
  SysFatal: Null,
  CanisterReject: Null,
});
const errors = {
  GenericError: Record({ message: Text, error_code: Nat }),
  TemporarilyUnavailable: Null,
  CreatedInFuture: Record({ ledger_time: Nat64 }),
  TooOld: Null,
  InsufficientFunds: Record({ balance: Nat }),
};
const allowanceError = { InsufficientAllowance: Record({ allowance: Nat }) };
const rejection = { rejection_code: REJECTION_CODE, rejection_reason: Text };
const withdrawErrors = {
  ...errors,
  Duplicate: Record({ duplicate_of: Nat }),
  InvalidReceiver: Record({ receiver: Principal }),
};
const createErrors = {
  ...errors,
  Duplicate: Record({ duplicate_of: Nat, canister_id: Opt(Principal) }),
};
const WITHDRAW_ARGS = Record({
  amount: Nat,
  from_subaccount: Opt(BLOB),
  to: Principal,
  created_at_time: Opt(Nat64),
});
const WITHDRAW_ERROR = Variant({
  ...withdrawErrors,
  BadFee: Record({ expected_fee: Nat }),
  FailedToWithdraw: Record({ fee_block: Opt(Nat), ...rejection }),
});
const WITHDRAW_FROM_ARGS = Record({
  spender_subaccount: Opt(BLOB),
  from: ACCOUNT,
  to: Principal,
  amount: Nat,
  created_at_time: Opt(Nat64),
});
const WITHDRAW_FROM_ERROR = Variant({
  ...withdrawErrors,
  ...allowanceError,
  FailedToWithdrawFrom: Record({
    withdraw_from_block: Opt(Nat),
    refund_block: Opt(Nat),
    approval_refund_block: Opt(Nat),
    ...rejection,
  }),
});
const CREATE_ARGS = Record({
  from_subaccount: Opt(BLOB),
  created_at_time: Opt(Nat64),
  amount: Nat,
  creation_args: Opt(CREATION_ARGS),
});
const CREATE_SUCCESS = Record({ block_id: Nat, canister_id: Principal });
const CREATE_ERROR = Variant({
  ...createErrors,
  FailedToCreate: Record({ fee_block: Opt(Nat), refund_block: Opt(Nat), error: Text }),
});
const CREATE_FROM_ARGS = Record({
  from: ACCOUNT,
  spender_subaccount: Opt(BLOB),
  created_at_time: Opt(Nat64),
  amount: Nat,
  creation_args: Opt(CREATION_ARGS),
});
const CREATE_FROM_ERROR = Variant({
  ...createErrors,
  ...allowanceError,
  FailedToCreateFrom: Record({
    create_from_block: Opt(Nat),
    refund_block: Opt(Nat),
    approval_refund_block: Opt(Nat),
    ...rejection,
  }),
});

/** What withdrawals and creations have in common: who pays how much, on whose word, and when. */
interface Payment {
  from: Account;
  /** undefined: the owner itself. */
  spender: Account | undefined;
  amount: bigint;
  createdAtNs: bigint | undefined;
}

/** Blocks and reject of a use of cycles that failed after they were burned. */
interface Failure {
  block: bigint;
  refundBlock: bigint | undefined;
  approvalBlock: bigint | undefined;
  reject: Reject;
}

type Spending =
  | { block: bigint; canisterId: Uint8Array | undefined }
  | { error: LedgerError }
  | { failure: Failure };

interface GivenPayment {
  amount: bigint;
  created_at_time: [] | [bigint];
}
type GivenOwn = GivenPayment & { from_subaccount: [] | [Uint8Array] };
type GivenFrom = GivenPayment & { from: GivenAccount; spender_subaccount: [] | [Uint8Array] };
type WithTarget = { to: IdlPrincipal };
type WithCreation = { creation_args: [] | [CreationArgs] };

const REFUND_MEMO = new Uint8Array(32).fill(0xfd);
const CREATION_MEMO = new Uint8Array(32).fill(0xfe);
const PENALTY_MEMO = new Uint8Array(32).fill(0xff);

const methods: MethodTable = {
  deposit: update(DEPOSIT_ARGS, DEPOSIT_RESULT, depositCycles),
  withdraw: update(
    WITHDRAW_ARGS,
    resultOf(Nat, WITHDRAW_ERROR),
    (context, call, given: GivenOwn & WithTarget) =>
      withdraw(context, ownPayment(call, given), given.to, ({ refundBlock, ...failure }) => ({
        FailedToWithdraw: { fee_block: optional(refundBlock), ...shown(failure) },
      })),
  ),
  withdraw_from: update(
    WITHDRAW_FROM_ARGS,
    resultOf(Nat, WITHDRAW_FROM_ERROR),
    (context, call, given: GivenFrom & WithTarget) =>
      withdraw(context, foreignPayment(call, given), given.to, (failure) => ({
        FailedToWithdrawFrom: {
          withdraw_from_block: [failure.block],
          refund_block: optional(failure.refundBlock),
          approval_refund_block: optional(failure.approvalBlock),
          ...shown(failure),
        },
      })),
  ),
  create_canister: update(
    CREATE_ARGS,
    resultOf(CREATE_SUCCESS, CREATE_ERROR),
    (context, call, given: GivenOwn & WithCreation) =>
      create(context, call, ownPayment(call, given), given.creation_args[0], (failure) => ({
        FailedToCreate: {
          fee_block: [failure.block],
          refund_block: optional(failure.refundBlock),
          error: failure.reject.message,
        },
      })),
  ),
  create_canister_from: update(
    CREATE_FROM_ARGS,
    resultOf(CREATE_SUCCESS, CREATE_FROM_ERROR),
    (context, call, given: GivenFrom & WithCreation) =>
      create(context, call, foreignPayment(call, given), given.creation_args[0], (failure) => ({
        FailedToCreateFrom: {
          create_from_block: [failure.block],
          refund_block: optional(failure.refundBlock),
          approval_refund_block: optional(failure.approvalBlock),
          ...shown(failure),
        },
      })),
  ),
};

/** The cycles ledger. */
export const CYCLES_LEDGER: SystemCanister = {
  id: CYCLES_LEDGER_ID,
  methods: {
    ...methods,
    ...icrcMethods(CYCLES_RULES, [
      "ICRC-1",
      "ICRC-2",
      "ICRC-3",
      "ICRC-10",
      "ICRC-21",
      "ICRC-103",
      "ICRC-106",
    ]),
    ...allowanceListMethods(CYCLES_RULES),
    ...consentMethods(CYCLES_RULES),
    ...blockLogMethods(CYCLES_RULES),
  },
  typeNames: {
    ...ICRC_TYPE_NAMES,
    SubnetSelection: SUBNET_SELECTION,
    CmcCreateCanisterArgs: CREATION_ARGS,
    RejectionCode: REJECTION_CODE,
    WithdrawError: WITHDRAW_ERROR,
    WithdrawFromError: WITHDRAW_FROM_ERROR,
    CreateCanisterError: CREATE_ERROR,
    CreateCanisterFromError: CREATE_FROM_ERROR,
    Value: VALUE,
    GetBlocksArgs: GET_BLOCKS_ARG,
    GetBlocksResult: GET_BLOCKS_RESULT,
  },
};

/** Credits cycles that come from outside, less the fee. */
export function mintCycles(
  context: BlockContext,
  to: Account,
  cycles: bigint,
  memo: Uint8Array | undefined,
): { block: bigint; balance: bigint } | { error: LedgerError } {
  const ledger = new Ledger(context.state, CYCLES_RULES);
  const key = accountKey(to);
  const amount = cycles - CYCLES_LEDGER_FEE;
  const operation = { kind: "mint", to: key, amount, fee: CYCLES_LEDGER_FEE } as const;
  const transaction = { operation, memo, numericMemo: 0n, createdAtNs: undefined };
  const minted = ledger.transact(transaction, context.timeNs);
  if ("error" in minted) return minted;
  ledger.addHeld(cycles);
  return { block: minted.block, balance: ledger.balance(key) };
}

function depositCycles(
  context: BlockContext,
  call: SystemCall,
  given: { to: GivenAccount; memo: [] | [Uint8Array] },
): Outcome {
  const to = readAccount(given.to);
  const memo = checkMemo(given.memo[0]);
  if (call.cycles <= CYCLES_LEDGER_FEE) {
    throw badArgument(
      `The requested amount ${call.cycles} to be deposited is less than the cycles ledger fee: ${CYCLES_LEDGER_FEE}`,
    );
  }
  const minted = mintCycles(context, to, call.cycles, memo);
  if ("error" in minted) return canisterReject("The ledger cannot hold more cycles.");
  call.cycles = 0n;
  return { value: { balance: minted.balance, block_index: minted.block } };
}

function ownPayment(call: SystemCall, given: GivenOwn): Payment {
  const from = accountOf(call.caller, given.from_subaccount);
  const [createdAtNs] = given.created_at_time;
  return { from, spender: undefined, amount: clampAmount(given.amount), createdAtNs };
}

function foreignPayment(call: SystemCall, given: GivenFrom): Payment {
  const spender = accountOf(call.caller, given.spender_subaccount);
  const [createdAtNs] = given.created_at_time;
  return { from: readAccount(given.from), spender, amount: clampAmount(given.amount), createdAtNs };
}

function withdraw(
  context: BlockContext,
  payment: Payment,
  receiver: IdlPrincipal,
  showFailure: (failure: Failure) => unknown,
): Outcome {
  const to = fromIdlPrincipal(receiver);
  if (isSelfAuthenticating(to)) return { value: { Err: { InvalidReceiver: { receiver } } } };
  if (payment.amount === 0n) {
    const message = "The withdrawal amount must be greater than zero.";
    return { value: { Err: { GenericError: { message, error_code: 100_002n } } } };
  }
  // CBOR [receiver], as indexers of the ledger read it.
  const head = to.length < 24 ? [0x81, 0x40 + to.length] : [0x81, 0x58, to.length];
  const memo = concatBytes(Uint8Array.from(head), to);
  const paid = spend(context, payment, memo, PENALTY_MEMO, () => {
    const canister = context.state.canister(to);
    if (canister === undefined)
      return { ...canisterNotFound(to), message: `Canister ${formatPrincipal(to)} not found.` };
    deposit(canister, payment.amount);
    context.state.putCanister(canister);
    return { canisterId: undefined };
  });
  if ("failure" in paid) return { value: { Err: showFailure(paid.failure) } };
  if ("error" in paid) return { value: { Err: paid.error } };
  return { value: { Ok: paid.block } };
}

function create(
  context: BlockContext,
  call: SystemCall,
  payment: Payment,
  creation: CreationArgs | undefined,
  showFailure: (failure: Failure) => unknown,
): Outcome {
  const created = spend(context, payment, CREATION_MEMO, REFUND_MEMO, () =>
    createCanisterWith(context, call.caller, payment.amount, creation),
  );
  if ("failure" in created) return { value: { Err: showFailure(created.failure) } };
  if ("error" in created) return { value: { Err: showCreateError(created.error) } };
  const { block, canisterId } = created;
  return { value: { Ok: { block_id: block, canister_id: toIdlPrincipal(canisterId!) } } };
}

function showCreateError(error: LedgerError): unknown {
  if (!("Duplicate" in error)) return error;
  const { duplicate_of, canister_id } = error.Duplicate;
  const id = canister_id === undefined ? [] : [toIdlPrincipal(canister_id)];
  return { Duplicate: { duplicate_of, canister_id: id } };
}

/** Burns a payment and puts its cycles to use; if that fails, gives them back less a fee. */
function spend(
  context: BlockContext,
  payment: Payment,
  memo: Uint8Array,
  refundMemo: Uint8Array,
  use: () => { canisterId: Uint8Array | undefined } | Reject,
): Spending {
  const { from, spender, amount, createdAtNs } = payment;
  const ledger = new Ledger(context.state, CYCLES_RULES);
  const fromKey = accountKey(from);
  const spenderKey = spender && accountKey(spender);
  const operation = { kind: "burn", from: fromKey, spender: spenderKey, amount } as const;
  const transaction: Transaction = { operation, memo, numericMemo: 0n, createdAtNs };
  const before = spenderKey && ledger.allowance(fromKey, spenderKey, context.timeNs);
  const burned = ledger.transact(transaction, context.timeNs);
  if ("error" in burned) return burned;
  const used = use();
  if (!("kind" in used)) {
    ledger.addHeld(-amount);
    if (used.canisterId !== undefined) ledger.noteCanister(transaction, used.canisterId);
    return { block: burned.block, canisterId: used.canisterId };
  }
  return { failure: refundFailed(context, transaction, refundMemo, before, burned.block, used) };
}

/** Gives back what was burned for nothing; every block of the attempt costs its fee. */
function refundFailed(
  context: BlockContext,
  { operation }: Transaction,
  memo: Uint8Array,
  before: Allowance | undefined,
  block: bigint,
  reject: Reject,
): Failure {
  const failure: Failure = { block, refundBlock: undefined, approvalBlock: undefined, reject };
  assert(operation.kind === "burn", "only what was burned is given back");
  const { from, spender } = operation;
  const ledger = new Ledger(context.state, CYCLES_RULES);
  const circumstances = { memo, numericMemo: 0n, createdAtNs: undefined };
  const refund = operation.amount - CYCLES_LEDGER_FEE;
  if (refund <= 0n) return failure;
  const giveBack = { kind: "mint", to: from, amount: refund, fee: 0n } as const;
  const refunded = ledger.transact({ operation: giveBack, ...circumstances }, context.timeNs);
  assert("block" in refunded, "what was burned can be made again");
  failure.refundBlock = refunded.block;
  const isForeign = spender !== undefined && !equalBytes(spender, from);
  if (!isForeign || refund <= CYCLES_LEDGER_FEE) return failure;
  const left = ledger.allowance(from, spender, context.timeNs).amount;
  const approval = {
    kind: "approve",
    from,
    spender,
    amount: clampAmount(left + refund - CYCLES_LEDGER_FEE),
    expectedAllowance: undefined,
    expiresAtNs: before?.expiresAtNs,
    fee: undefined,
  } as const;
  const approved = ledger.transact(
    { operation: approval, ...circumstances, memo: PENALTY_MEMO },
    context.timeNs,
  );
  if ("block" in approved) failure.approvalBlock = approved.block;
  return failure;
}

function optional<T>(value: T | undefined): [] | [T] {
  return value === undefined ? [] : [value];
}

const CODE_NAMES: Readonly<Record<number, string>> = {
  1: "SysFatal",
  2: "SysTransient",
  3: "DestinationInvalid",
  4: "CanisterReject",
  5: "CanisterError",
};

function shown({ reject }: Pick<Failure, "reject">): object {
  const name = CODE_NAMES[reject.rejectCode] ?? "Unknown";
  return { rejection_code: { [name]: null }, rejection_reason: reject.message };
}
