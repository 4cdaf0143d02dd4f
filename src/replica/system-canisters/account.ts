// Accounts of ledgers: a principal with a 32-byte subaccount (ICRC-1), and the account identifiers
// that the ICP ledger shows instead.

import { concatBytes, DecodeError, equalBytes, u32BigEndian, utf8Bytes } from "gyrotron/base";
import { fromIdlPrincipal, IDL, type IdlPrincipal, toIdlPrincipal } from "gyrotron/candid";
import { crc32, sha224 } from "gyrotron/crypto";

/** A holder of tokens. */
export interface Account {
  owner: Uint8Array;
  /** 32 bytes; zeros: the default one. */
  subaccount: Uint8Array;
}

/** An account as Candid decodes it. */
export interface GivenAccount {
  owner: IdlPrincipal;
  subaccount: [] | [Uint8Array];
}

export const SUBACCOUNT_BYTES = 32;
export const ACCOUNT_IDENTIFIER_BYTES = 32;
export const DEFAULT_SUBACCOUNT: Uint8Array = new Uint8Array(SUBACCOUNT_BYTES);
export const ACCOUNT: IDL.Type = IDL.Record({
  owner: IDL.Principal,
  subaccount: IDL.Opt(IDL.Vec(IDL.Nat8)),
});

const IDENTIFIER_DOMAIN = concatBytes(Uint8Array.of(0x0a), utf8Bytes("account-id"));

/** The account of `owner` under an optional subaccount. @throws DecodeError if that has not 32 bytes */
export function accountOf(owner: Uint8Array, subaccount: [] | [Uint8Array]): Account {
  const bytes = subaccount[0] ?? DEFAULT_SUBACCOUNT;
  if (bytes.length === SUBACCOUNT_BYTES) return { owner, subaccount: bytes };
  const what = `a subaccount has ${SUBACCOUNT_BYTES} bytes, not ${bytes.length}`;
  throw new DecodeError({ code: "candid/decode", what, offset: 0 });
}

/** @throws DecodeError */
export function readAccount(given: GivenAccount): Account {
  return accountOf(fromIdlPrincipal(given.owner), given.subaccount);
}

/** The account as Candid shows it: the default subaccount is absent. */
export function givenAccount(account: Account): GivenAccount {
  const isDefault = equalBytes(account.subaccount, DEFAULT_SUBACCOUNT);
  return {
    owner: toIdlPrincipal(account.owner),
    subaccount: isDefault ? [] : [account.subaccount],
  };
}

/** The account's name on the ICP ledger: CRC-32 of a hash, and the hash. */
export function accountIdentifier({ owner, subaccount }: Account): Uint8Array {
  const hash = sha224(IDENTIFIER_DOMAIN, owner, subaccount);
  return concatBytes(checksum(hash), hash);
}

/** An account identifier of a user's making. @throws DecodeError if its checksum is wrong */
export function readAccountIdentifier(bytes: Uint8Array): Uint8Array {
  const hash = bytes.slice(4);
  if (bytes.length === ACCOUNT_IDENTIFIER_BYTES && equalBytes(bytes.slice(0, 4), checksum(hash)))
    return bytes;
  const what = "this is no account identifier: 4 bytes CRC-32 of the 28 bytes that follow";
  throw new DecodeError({ code: "candid/decode", what, offset: 0 });
}

/** The subaccount that payments for a principal go to: its length, its bytes, zeros. */
export function principalSubaccount(principal: Uint8Array): Uint8Array {
  const subaccount = new Uint8Array(SUBACCOUNT_BYTES);
  subaccount[0] = principal.length;
  subaccount.set(principal, 1);
  return subaccount;
}

/** Reverse of `accountKey`. */
export function accountFromKey(key: Uint8Array): Account {
  const length = key[0]!;
  return { owner: key.slice(1, 1 + length), subaccount: key.slice(1 + length) };
}

/** The account as bytes: length of the owner, owner, subaccount. */
export function accountKey({ owner, subaccount }: Account): Uint8Array {
  return concatBytes(Uint8Array.of(owner.length), owner, subaccount);
}

function checksum(hash: Uint8Array): Uint8Array {
  return u32BigEndian(crc32(hash));
}
