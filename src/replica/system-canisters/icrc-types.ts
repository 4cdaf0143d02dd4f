// Candid types of the token standards ICRC-1, ICRC-2, ICRC-3, ICRC-10 and ICRC-103 as both ledgers
// have them, and the decoded forms of their arguments. Owns no behaviour.

import { IDL, type IdlPrincipal } from "gyrotron/candid";
import { ACCOUNT, type GivenAccount } from "./account.ts";
import { VALUE } from "./block-value.ts";

const { Nat, Nat64, Null, Opt, Principal, Record, Text, Tuple, Variant, Vec } = IDL;
export const BLOB: IDL.Type = Vec(IDL.Nat8);

export const METADATA_VALUE: IDL.Type = Variant({ Nat, Int: IDL.Int, Text, Blob: BLOB });
export const STANDARD: IDL.Type = Record({ name: Text, url: Text });

export const TRANSFER_ARG: IDL.Type = Record({
  from_subaccount: Opt(BLOB),
  to: ACCOUNT,
  amount: Nat,
  fee: Opt(Nat),
  memo: Opt(BLOB),
  created_at_time: Opt(Nat64),
});
export const APPROVE_ARG: IDL.Type = Record({
  from_subaccount: Opt(BLOB),
  spender: ACCOUNT,
  amount: Nat,
  expected_allowance: Opt(Nat),
  expires_at: Opt(Nat64),
  fee: Opt(Nat),
  memo: Opt(BLOB),
  created_at_time: Opt(Nat64),
});
export const TRANSFER_FROM_ARG: IDL.Type = Record({
  spender_subaccount: Opt(BLOB),
  from: ACCOUNT,
  to: ACCOUNT,
  amount: Nat,
  fee: Opt(Nat),
  memo: Opt(BLOB),
  created_at_time: Opt(Nat64),
});
export const ALLOWANCE_ARG: IDL.Type = Record({ account: ACCOUNT, spender: ACCOUNT });
export const ALLOWANCE: IDL.Type = Record({ allowance: Nat, expires_at: Opt(Nat64) });

const commonErrors = {
  BadFee: Record({ expected_fee: Nat }),
  InsufficientFunds: Record({ balance: Nat }),
  TooOld: Null,
  CreatedInFuture: Record({ ledger_time: Nat64 }),
  Duplicate: Record({ duplicate_of: Nat }),
  TemporarilyUnavailable: Null,
  GenericError: Record({ error_code: Nat, message: Text }),
};
const allowanceError = { InsufficientAllowance: Record({ allowance: Nat }) };
const burnError = { BadBurn: Record({ min_burn_amount: Nat }) };
export const TRANSFER_ERROR: IDL.Type = Variant({ ...commonErrors, ...burnError });
export const APPROVE_ERROR: IDL.Type = Variant({
  ...commonErrors,
  AllowanceChanged: Record({ current_allowance: Nat }),
  Expired: Record({ ledger_time: Nat64 }),
});
export const TRANSFER_FROM_ERROR: IDL.Type = Variant({
  ...commonErrors,
  ...burnError,
  ...allowanceError,
});

/** `variant { Ok; Err }`. */
export function resultOf(ok: IDL.Type, error: IDL.Type): IDL.Type {
  return Variant({ Ok: ok, Err: error });
}

export const GET_BLOCKS_ARG: IDL.Type = Vec(Record({ start: Nat, length: Nat }));
export const GET_BLOCKS_RESULT: IDL.RecClass = IDL.Rec();
GET_BLOCKS_RESULT.fill(
  Record({
    log_length: Nat,
    blocks: Vec(Record({ id: Nat, block: VALUE })),
    archived_blocks: Vec(
      Record({
        args: GET_BLOCKS_ARG,
        callback: IDL.Func([GET_BLOCKS_ARG], [GET_BLOCKS_RESULT], ["query"]),
      }),
    ),
  }),
);
export const GET_ARCHIVES_ARG: IDL.Type = Record({ from: Opt(Principal) });
export const GET_ARCHIVES_RESULT: IDL.Type = Vec(
  Record({ canister_id: Principal, start: Nat, end: Nat }),
);
export const TIP_CERTIFICATE: IDL.Type = Opt(Record({ certificate: BLOB, hash_tree: BLOB }));
export const BLOCK_TYPES: IDL.Type = Vec(Record({ block_type: Text, url: Text }));
export const INDEX_PRINCIPAL_ERROR: IDL.Type = Variant({
  IndexPrincipalNotSet: Null,
  GenericError: Record({ error_code: Nat, description: Text }),
});
export const METADATA: IDL.Type = Vec(Tuple(Text, METADATA_VALUE));

/** Fields that most transactions have. */
interface GivenTransaction {
  amount: bigint;
  fee: [] | [bigint];
  memo: [] | [Uint8Array];
  created_at_time: [] | [bigint];
}

/** TRANSFER_ARG as decoded. */
export interface GivenTransfer extends GivenTransaction {
  from_subaccount: [] | [Uint8Array];
  to: GivenAccount;
}

/** APPROVE_ARG as decoded. */
export interface GivenApproval extends GivenTransaction {
  from_subaccount: [] | [Uint8Array];
  spender: GivenAccount;
  expected_allowance: [] | [bigint];
  expires_at: [] | [bigint];
}

/** TRANSFER_FROM_ARG as decoded. */
export interface GivenTransferFrom extends GivenTransaction {
  spender_subaccount: [] | [Uint8Array];
  from: GivenAccount;
  to: GivenAccount;
}

/** GET_BLOCKS_ARG as decoded. */
export type GivenRanges = { start: bigint; length: bigint }[];

/** GET_ARCHIVES_ARG as decoded. */
export interface GivenArchives {
  from: [] | [IdlPrincipal];
}

/** Names of the types in interface texts. */
export const ICRC_TYPE_NAMES: Readonly<Record<string, IDL.Type>> = {
  Account: ACCOUNT,
  TransferArg: TRANSFER_ARG,
  TransferError: TRANSFER_ERROR,
  ApproveArgs: APPROVE_ARG,
  ApproveError: APPROVE_ERROR,
  TransferFromArgs: TRANSFER_FROM_ARG,
  TransferFromError: TRANSFER_FROM_ERROR,
  AllowanceArgs: ALLOWANCE_ARG,
  Allowance: ALLOWANCE,
  MetadataValue: METADATA_VALUE,
  SupportedStandard: STANDARD,
};
