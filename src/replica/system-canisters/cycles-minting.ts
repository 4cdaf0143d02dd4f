// The cycles minting canister: turns ICP into cycles at the configured rate. A payment is a transfer to
// one of its subaccounts, named after whom it is for, with a memo that says what it is for; whoever
// notifies the canister of it gets what was paid for, once.

import { equalBytes } from "gyrotron/base";
import {
  encodeCandid,
  fromIdlPrincipal,
  IDL,
  type IdlPrincipal,
  toIdlPrincipal,
} from "gyrotron/candid";
import type { BlockContext } from "../block-context.ts";
import { encodeHashTree, treePath } from "../certification/hash-tree.ts";
import { createLeaf, createLevel, type Level, treeHash } from "../certification/label-trie.ts";
import { createWitness } from "../certification/witness.ts";
import type { NetworkConfig } from "../contract.ts";
import { deposit } from "../cycles/balance.ts";
import { settingsType } from "../management/interface.ts";
import { canisterReject, type Reject } from "../reject.ts";
import type { ReplicaState } from "../state/replica-state.ts";
import { accountIdentifier, accountOf, principalSubaccount } from "./account.ts";
import {
  createCanisterWith,
  CREATION_ARGS,
  type CreationArgs,
  SUBNET_SELECTION,
  SUBNET_TYPE,
} from "./canister-creation.ts";
import { LOCAL_TOKENS } from "./config.ts";
import { CYCLES_LEDGER_FEE, mintCycles } from "./cycles-ledger.ts";
import { ICP_FEE_E8S, ICP_RULES } from "./icp-ledger.ts";
import { BLOB, resultOf } from "./icrc-types.ts";
import { CYCLES_MINTING_CANISTER_ID } from "./ids.ts";
import { Ledger } from "./ledger.ts";
import * as records from "./ledger-record.ts";
import { checkMemo } from "./icrc-methods.ts";
import {
  constant,
  type MethodTable,
  type Outcome,
  type SystemCall,
  type SystemCanister,
  update,
} from "./method.ts";

const { Nat, Nat64, Null, Opt, Principal, Record, Text, Tuple, Variant, Vec } = IDL;
const NOTIFY_ERROR = Variant({
  Refunded: Record({ reason: Text, block_index: Opt(Nat64) }),
  Processing: Null,
  TransactionTooOld: Nat64,
  InvalidTransaction: Text,
  Other: Record({ error_code: Nat64, error_message: Text }),
});
const TOP_UP_ARG = Record({ block_index: Nat64, canister_id: Principal });
const NOTIFY_CREATE_ARG = Record({
  block_index: Nat64,
  controller: Principal,
  subnet_type: Opt(Text),
  subnet_selection: Opt(SUBNET_SELECTION),
  settings: Opt(settingsType),
});
const MINT_ARG = Record({ block_index: Nat64, to_subaccount: Opt(BLOB), deposit_memo: Opt(BLOB) });
const MINTED = Record({ block_index: Nat, minted: Nat, balance: Nat });
const CREATE_ERROR = Variant({
  Refunded: Record({ refund_amount: Nat, create_error: Text }),
  RefundFailed: Record({ create_error: Text, refund_error: Text }),
});
const RATE = Record({ timestamp_seconds: Nat64, xdr_permyriad_per_icp: Nat64 });
const RATE_RESPONSE = Record({ data: RATE, hash_tree: BLOB, certificate: BLOB });
const SUBNET_TYPES = Record({ data: Vec(Tuple(Text, Vec(Principal))) });

/** What a payment is for: the memo, and what comes off a refund. */
interface Purpose {
  readonly memo: bigint;
  readonly refundFeeE8s: bigint;
  readonly method: string;
  readonly result: IDL.Type;
}

const TOP_UP: Purpose = {
  memo: 0x5055_5054n,
  refundFeeE8s: 2n * ICP_FEE_E8S,
  method: "notify_top_up",
  result: resultOf(Nat, NOTIFY_ERROR),
};
const CREATE: Purpose = {
  memo: 0x4145_5243n,
  refundFeeE8s: 4n * ICP_FEE_E8S,
  method: "notify_create_canister",
  result: resultOf(Principal, NOTIFY_ERROR),
};
const MINT: Purpose = {
  memo: 0x544e_494dn,
  refundFeeE8s: 2n * ICP_FEE_E8S,
  method: "notify_mint_cycles",
  result: resultOf(MINTED, NOTIFY_ERROR),
};

const UNAUTHORIZED = 7n;

const methods: MethodTable = {
  get_default_subnets: constant(Vec(Principal), ({ network }) => [
    toIdlPrincipal(network.subnetId),
  ]),
  get_subnet_types_to_subnets: constant(SUBNET_TYPES, ({ network }) => ({
    data: [[SUBNET_TYPE, [toIdlPrincipal(network.subnetId)]]],
  })),
  get_icp_xdr_conversion_rate: constant(RATE_RESPONSE, ({ network }, { dataCertificate }) => {
    const tree = rateTree(network);
    return {
      data: rateOf(network),
      hash_tree: encodeHashTree(createWitness(tree, [RATE_PATH])),
      certificate: dataCertificate ?? new Uint8Array(),
    };
  }),
  total_cycles_minted: constant(Nat, ({ state }) => totalMinted(state)),
  notify_top_up: update(
    TOP_UP_ARG,
    TOP_UP.result,
    (context, _call, given: { block_index: bigint; canister_id: IdlPrincipal }) => {
      const id = fromIdlPrincipal(given.canister_id);
      return settle(context, TOP_UP, given.block_index, id, (cycles) => topUp(context, id, cycles));
    },
  ),
  notify_create_canister: update(NOTIFY_CREATE_ARG, CREATE.result, notifyCreate),
  notify_mint_cycles: update(
    MINT_ARG,
    MINT.result,
    (
      context,
      call,
      given: {
        block_index: bigint;
        to_subaccount: [] | [Uint8Array];
        deposit_memo: [] | [Uint8Array];
      },
    ) => {
      const to = accountOf(call.caller, given.to_subaccount);
      const memo = checkMemo(given.deposit_memo[0]);
      return settle(context, MINT, given.block_index, call.caller, (cycles) => {
        if (cycles <= CYCLES_LEDGER_FEE)
          return canisterReject("The payment buys no more cycles than the fee of the deposit.");
        const minted = mintCycles(context, to, cycles, memo);
        if ("error" in minted) return canisterReject("The cycles ledger cannot hold more cycles.");
        return { value: { block_index: minted.block, minted: cycles, balance: minted.balance } };
      });
    },
  ),
  create_canister: update(
    CREATION_ARGS,
    resultOf(Principal, CREATE_ERROR),
    (context, call, given: CreationArgs) => {
      const created = createCanisterWith(context, call.caller, call.cycles, given);
      if ("kind" in created) {
        const refused = { refund_amount: call.cycles, create_error: created.message };
        return { value: { Err: { Refunded: refused } } };
      }
      call.cycles = 0n;
      return { value: { Ok: toIdlPrincipal(created.canisterId) } };
    },
  ),
};

/** The cycles minting canister. */
export const CYCLES_MINTING_CANISTER: SystemCanister = {
  id: CYCLES_MINTING_CANISTER_ID,
  methods,
  typeNames: {
    NotifyError: NOTIFY_ERROR,
    SubnetSelection: SUBNET_SELECTION,
    CreateCanisterArg: CREATION_ARGS,
    CreateCanisterError: CREATE_ERROR,
    IcpXdrConversionRate: RATE,
    IcpXdrConversionRateResponse: RATE_RESPONSE,
  },
};

/** What certificates show of the rate. */
export function rateRoot(network: NetworkConfig): Uint8Array {
  return treeHash(rateTree(network));
}

/** All cycles that were made of ICP. */
export function totalMinted(state: ReplicaState): bigint {
  return state.overlay.get(records.amountCodec, records.mintedKey) ?? 0n;
}

const RATE_PATH = treePath("ICP_XDR_CONVERSION_RATE");

/** The rate is a constant of the network: it was set at the beginning of time. */
function rateOf(network: NetworkConfig): unknown {
  return { timestamp_seconds: 0n, xdr_permyriad_per_icp: permyriad(network) };
}

function permyriad({ tokens = LOCAL_TOKENS }: NetworkConfig): bigint {
  return tokens.xdrPermyriadPerIcp;
}

function rateTree(network: NetworkConfig): Level {
  const [label] = RATE_PATH;
  return createLevel([[label!, createLeaf(encodeCandid([RATE], [rateOf(network)]))]]);
}

/** Deals with the payment in a block of the ICP ledger; a second time it only repeats the answer. */
function settle(
  context: BlockContext,
  purpose: Purpose,
  index: bigint,
  beneficiary: Uint8Array,
  use: (cycles: bigint) => { value: unknown } | Reject,
): Outcome {
  const account = paymentAccount(beneficiary);
  const payment = findPayment(context, purpose, index, account);
  if ("invalid" in payment) return { value: { Err: { InvalidTransaction: payment.invalid } } };
  const { overlay } = context.state;
  const key = records.notificationKey(index);
  const known = overlay.get(records.notificationCodec, key);
  if (known !== undefined) return { encoded: known.reply };
  const cycles = payment.amountE8s * permyriad(context.network);
  const used = use(cycles);
  const answer =
    "kind" in used
      ? { Err: { Refunded: refund(context, purpose, account, payment, used.message) } }
      : { Ok: used.value };
  if (!("kind" in used)) {
    burn(context, account, payment.amountE8s);
    overlay.put(records.amountCodec, records.mintedKey, totalMinted(context.state) + cycles);
  }
  const reply = encodeCandid([purpose.result], [answer]);
  overlay.put(records.notificationCodec, key, { method: purpose.method, reply });
  return { encoded: reply };
}

function findPayment(
  { state }: BlockContext,
  { memo }: Purpose,
  index: bigint,
  account: Uint8Array,
): { amountE8s: bigint; from: Uint8Array } | { invalid: string } {
  const block = new Ledger(state, ICP_RULES).block(index);
  if (block === undefined) return { invalid: `Block ${index} not found` };
  const { operation, memo: bytes, numericMemo } = block.transaction;
  if (operation.kind !== "transfer")
    return { invalid: "Notification transaction must be of type Transfer" };
  if (!equalBytes(operation.to, account)) {
    return { invalid: "Destination account in the block is not the expected one for the payment" };
  }
  const found = bytes?.length === 8 ? readMemo(bytes) : numericMemo;
  if (found === memo) return { amountE8s: operation.amount, from: operation.from };
  return {
    invalid: `Intention in the block (${found}) does not match the expected one (${memo})`,
  };
}

/** An ICRC-1 memo of 8 bytes is the same number, little endian. */
function readMemo(bytes: Uint8Array): bigint {
  return bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

function paymentAccount(beneficiary: Uint8Array): Uint8Array {
  const subaccount = principalSubaccount(beneficiary);
  return accountIdentifier({ owner: CYCLES_MINTING_CANISTER_ID, subaccount });
}

function burn(context: BlockContext, from: Uint8Array, amount: bigint): void {
  if (amount === 0n) return;
  const operation = { kind: "burn", from, spender: undefined, amount } as const;
  const transaction = { operation, memo: undefined, numericMemo: 0n, createdAtNs: undefined };
  new Ledger(context.state, ICP_RULES).transact(transaction, context.timeNs);
}

/** Sends the payment back, less the fee of the transfer and what keeps people from trying for fun. */
function refund(
  context: BlockContext,
  { refundFeeE8s }: Purpose,
  account: Uint8Array,
  { amountE8s, from }: { amountE8s: bigint; from: Uint8Array },
  reason: string,
): { reason: string; block_index: [] | [bigint] } {
  const amount = amountE8s - refundFeeE8s - ICP_FEE_E8S;
  if (amount <= 0n) {
    burn(context, account, amountE8s);
    return { reason, block_index: [] };
  }
  burn(context, account, refundFeeE8s);
  const operation = {
    kind: "transfer",
    from: account,
    to: from,
    spender: undefined,
    amount,
    fee: undefined,
  } as const;
  const transaction = { operation, memo: undefined, numericMemo: 0n, createdAtNs: undefined };
  const sent = new Ledger(context.state, ICP_RULES).transact(transaction, context.timeNs);
  return { reason, block_index: "block" in sent ? [sent.block] : [] };
}

function topUp(context: BlockContext, id: Uint8Array, cycles: bigint): { value: unknown } | Reject {
  const canister = context.state.canister(id);
  if (canister === undefined)
    return canisterReject(`Canister ${toIdlPrincipal(id).toText()} not found.`);
  deposit(canister, cycles);
  context.state.putCanister(canister);
  return { value: cycles };
}

function notifyCreate(
  context: BlockContext,
  call: SystemCall,
  given: {
    block_index: bigint;
    controller: IdlPrincipal;
    subnet_type: [] | [string];
    subnet_selection: CreationArgs["subnet_selection"];
    settings: CreationArgs["settings"];
  },
): Outcome {
  const controller = fromIdlPrincipal(given.controller);
  if (!equalBytes(controller, call.caller)) {
    const error_message = `${toIdlPrincipal(call.caller).toText()} is not authorized to call notify_create_canister on behalf of ${given.controller.toText()}`;
    return { value: { Err: { Other: { error_code: UNAUTHORIZED, error_message } } } };
  }
  const [type] = given.subnet_type;
  const selection: CreationArgs["subnet_selection"] =
    type === undefined ? given.subnet_selection : [{ Filter: { subnet_type: [type] } }];
  const creation = { settings: given.settings, subnet_selection: selection };
  return settle(context, CREATE, given.block_index, controller, (cycles) => {
    const created = createCanisterWith(context, controller, cycles, creation);
    return "kind" in created ? created : { value: toIdlPrincipal(created.canisterId) };
  });
}
