// ICRC-21 over a ledger: what a person is told before they sign a transfer or an approval. As generic
// text (Markdown), in English, with all that the signature would allow.

import { DecodeError, equalBytes } from "gyrotron/base";
import { decodeCandid, IDL } from "gyrotron/candid";
import { formatPrincipal } from "gyrotron/crypto";
import { type Account, accountOf, DEFAULT_SUBACCOUNT, readAccount } from "./account.ts";
import * as types from "./icrc-types.ts";
import type { LedgerRules } from "./ledger.ts";
import { type MethodTable, type SystemCall, update } from "./method.ts";

const { Nat, Nat16, Null, Opt, Record, Text, Variant, Vec } = IDL;
const METADATA = Record({ language: Text, utc_offset_minutes: Opt(IDL.Int16) });
export const CONSENT_REQUEST: IDL.Type = Record({
  method: Text,
  arg: types.BLOB,
  user_preferences: Record({
    metadata: METADATA,
    device_spec: Opt(
      Variant({
        GenericDisplay: Null,
        LineDisplay: Record({ characters_per_line: Nat16, lines_per_page: Nat16 }),
        FieldsDisplay: Null,
      }),
    ),
  }),
});
const ERROR_INFO = Record({ description: Text });
export const CONSENT_INFO: IDL.Type = Record({
  metadata: METADATA,
  consent_message: Variant({
    GenericDisplayMessage: Text,
    LineDisplayMessage: Record({ pages: Vec(Record({ lines: Vec(Text) })) }),
  }),
});
export const CONSENT_ERROR: IDL.Type = Variant({
  UnsupportedCanisterCall: ERROR_INFO,
  ConsentMessageUnavailable: ERROR_INFO,
  InsufficientPayment: ERROR_INFO,
  GenericError: Record({ error_code: Nat, description: Text }),
});

interface GivenRequest {
  method: string;
  arg: Uint8Array;
  user_preferences: { metadata: { utc_offset_minutes: [] | [number] } };
}

/** What the text of one method is made of. */
interface Describer {
  readonly argument: IDL.Type;
  describe(rules: LedgerRules, call: SystemCall, argument: never): string[];
}

const DESCRIBERS: Readonly<Record<string, Describer>> = {
  icrc1_transfer: {
    argument: types.TRANSFER_ARG,
    describe: (rules, call, given: types.GivenTransfer) => [
      `# Send ${rules.symbol}`,
      ...field("From", shown(accountOf(call.caller, given.from_subaccount))),
      ...field("To", shown(readAccount(given.to))),
      ...field("Amount", amountText(rules, given.amount)),
      ...fee(rules, given),
      ...memo(given),
    ],
  },
  icrc2_approve: {
    argument: types.APPROVE_ARG,
    describe: (rules, call, given: types.GivenApproval) => [
      `# Approve spending of ${rules.symbol}`,
      ...field("Spender", shown(readAccount(given.spender))),
      ...field("From", shown(accountOf(call.caller, given.from_subaccount))),
      ...field("Allowance, fees included", amountText(rules, given.amount)),
      ...(given.expected_allowance[0] === undefined
        ? []
        : field("If it is now", amountText(rules, given.expected_allowance[0]))),
      ...field(
        "Expires",
        given.expires_at[0] === undefined
          ? "never"
          : `${given.expires_at[0] / 1_000_000_000n} seconds after the beginning of 1970 (UTC)`,
      ),
      ...fee(rules, given),
      ...memo(given),
    ],
  },
  icrc2_transfer_from: {
    argument: types.TRANSFER_FROM_ARG,
    describe: (rules, call, given: types.GivenTransferFrom) => [
      `# Spend approved ${rules.symbol}`,
      ...field("From", shown(readAccount(given.from))),
      ...field("To", shown(readAccount(given.to))),
      ...field("Spender", shown(accountOf(call.caller, given.spender_subaccount))),
      ...field("Amount", amountText(rules, given.amount)),
      ...fee(rules, given),
      ...memo(given),
    ],
  },
};

/** The method. */
export function consentMethods(rules: LedgerRules): MethodTable {
  return {
    icrc21_canister_call_consent_message: update(
      CONSENT_REQUEST,
      types.resultOf(CONSENT_INFO, CONSENT_ERROR),
      (_context, call, given: GivenRequest) => ({ value: consent(rules, call, given) }),
    ),
  };
}

function consent(rules: LedgerRules, call: SystemCall, given: GivenRequest): unknown {
  const { method, user_preferences } = given;
  const describer = Object.hasOwn(DESCRIBERS, method) ? DESCRIBERS[method] : undefined;
  if (describer === undefined) {
    const description = `There is no consent message for ${method.slice(0, 100)}.`;
    return { Err: { UnsupportedCanisterCall: { description } } };
  }
  let lines: string[];
  try {
    const [argument] = decodeCandid([describer.argument], given.arg);
    lines = describer.describe(rules, call, argument as never);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    const description = `The argument of ${method} does not decode: ${error.info.what}.`;
    return { Err: { UnsupportedCanisterCall: { description } } };
  }
  const { utc_offset_minutes } = user_preferences.metadata;
  return {
    Ok: {
      metadata: { language: "en", utc_offset_minutes },
      consent_message: { GenericDisplayMessage: lines.join("\n\n") },
    },
  };
}

function field(name: string, value: string): string[] {
  return [`**${name}:**\n\`${value}\``];
}

/** A fee that is not the ledger's is refused, but it is what would be signed. */
function fee(rules: LedgerRules, { fee: [given] }: { fee: [] | [bigint] }): string[] {
  return field("Fee", amountText(rules, given ?? rules.fee));
}

function memo({ memo: [given] }: { memo: [] | [Uint8Array] }): string[] {
  return given === undefined ? [] : field("Memo (hex)", Uint8Array.from(given).toHex());
}

/** `1.5 ICP`: without zeros at the end. */
function amountText({ symbol, decimals }: LedgerRules, amount: bigint): string {
  const unit = 10n ** BigInt(decimals);
  const places = String(amount % unit)
    .padStart(decimals, "0")
    .replace(/0+$/, "");
  return `${amount / unit}${places === "" ? "" : `.${places}`} ${symbol}`;
}

/** The owner, and the subaccount unless it is the default one. */
function shown({ owner, subaccount }: Account): string {
  const text = formatPrincipal(owner);
  return equalBytes(subaccount, DEFAULT_SUBACCOUNT) ? text : `${text}.${subaccount.toHex()}`;
}
