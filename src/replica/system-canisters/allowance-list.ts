// ICRC-103 over a ledger: the allowances that an account's owner has given, in pages. Whoever knows the
// accounts may ask for a single allowance, so the list is open to everyone too.

import { compareBytes, concatBytes } from "gyrotron/base";
import { IDL, toIdlPrincipal } from "gyrotron/candid";
import {
  ACCOUNT,
  type Account,
  accountFromKey,
  accountKey,
  DEFAULT_SUBACCOUNT,
  type GivenAccount,
  givenAccount,
  readAccount,
} from "./account.ts";
import { resultOf } from "./icrc-types.ts";
import { Ledger, type LedgerRules } from "./ledger.ts";
import { type MethodTable, query } from "./method.ts";

/** Allowances in one answer. */
export const ALLOWANCES_MAX = 500n;

const { Nat, Nat64, Opt, Record, Text, Variant, Vec } = IDL;

export const GET_ALLOWANCES_ARG: IDL.Type = Record({
  from_account: Opt(ACCOUNT),
  prev_spender: Opt(ACCOUNT),
  take: Opt(Nat),
});
export const LISTED_ALLOWANCES: IDL.Type = Vec(
  Record({
    from_account: ACCOUNT,
    to_spender: ACCOUNT,
    allowance: Nat,
    expires_at: Opt(Nat64),
  }),
);
export const GET_ALLOWANCES_ERROR: IDL.Type = Variant({
  AccessDenied: Record({ reason: Text }),
  GenericError: Record({ error_code: Nat, message: Text }),
});

interface GivenRange {
  from_account: [] | [GivenAccount];
  prev_spender: [] | [GivenAccount];
  take: [] | [bigint];
}

/** The method, for a ledger whose accounts have owners. */
export function allowanceListMethods(rules: LedgerRules): MethodTable {
  return {
    icrc103_get_allowances: query(
      GET_ALLOWANCES_ARG,
      resultOf(LISTED_ALLOWANCES, GET_ALLOWANCES_ERROR),
      ({ state, timeNs }, given: GivenRange, { caller }) => {
        const [account] = given.from_account;
        const own = { owner: toIdlPrincipal(caller), subaccount: [] } satisfies GivenAccount;
        const from = readAccount(account ?? own);
        const [previous] = given.prev_spender;
        const after = previous && accountKey(readAccount(previous));
        const [take = ALLOWANCES_MAX] = given.take;
        const countMax = Number(take < ALLOWANCES_MAX ? take : ALLOWANCES_MAX);
        const listed = new Ledger(state, rules).allowancesAfter(
          concatBytes(Uint8Array.of(from.owner.length), from.owner),
          (key) => isAfter(key, from, after),
          { nowNs: timeNs, countMax },
        );
        return {
          Ok: listed.map(({ key, amount, expiresAtNs }) => ({
            ...accountsOf(key),
            allowance: amount,
            expires_at: expiresAtNs === undefined ? [] : [expiresAtNs],
          })),
        };
      },
    ),
  };
}

/** Whether an allowance comes after what the asker has seen. */
function isAfter(key: Uint8Array, from: Account, after: Uint8Array | undefined): boolean {
  const fromKey = accountKey(from);
  const order = compareBytes(key.subarray(0, fromKey.length), fromKey);
  if (order !== 0 || after === undefined) return order >= 0;
  return compareBytes(key.subarray(fromKey.length), after) > 0;
}

function accountsOf(key: Uint8Array): { from_account: GivenAccount; to_spender: GivenAccount } {
  const length = key[0]! + 1 + DEFAULT_SUBACCOUNT.length;
  return {
    from_account: givenAccount(accountFromKey(key.slice(0, length))),
    to_spender: givenAccount(accountFromKey(key.slice(length))),
  };
}
