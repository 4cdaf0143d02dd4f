// Goal: not one e8s and not one cycle is made or lost by the token canisters.
// Method: random histories of transfers, approvals, payments, withdrawals and creations by users and
// canisters; after each step the balances add up to the supply, and every cycle that the ledger took
// in or made is with the ledger or with a canister. Replaying the blocks gives the same bytes.

import { equal, ok } from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { codec, decodeWith } from "gyrotron/base";
import { toIdlPrincipal } from "gyrotron/candid";
import {
  CYCLES_LEDGER_ID,
  CYCLES_MINTING_CANISTER_ID,
  ICP_LEDGER_ID,
  KEY_PREFIX,
  principalSubaccount,
} from "gyrotron/replica";
import { account, ANYONE, createUser, payment, TokenNetwork, transferTo } from "./token-network.ts";

const USERS = [ANYONE, createUser("one"), createUser("two")];
const LEDGERS = [ICP_LEDGER_ID, CYCLES_LEDGER_ID];
const CREATED = 5_000_000_000_000n;
const MEMOS = [0x5055_5054n, 0x4145_5243n, 0x544e_494dn, 0n];

interface Step {
  action:
    | "transfer"
    | "approve"
    | "transferFrom"
    | "withdraw"
    | "withdrawFrom"
    | "create"
    | "pay"
    | "notify";
  ledger: 0 | 1;
  user: number;
  other: number;
  amount: bigint;
  memo: number;
  method: number;
  repeats: boolean;
}

const step: fc.Arbitrary<Step> = fc.record({
  action: fc.constantFrom(
    "transfer",
    "approve",
    "transferFrom",
    "withdraw",
    "withdrawFrom",
    "create",
    "pay",
    "notify",
    "notify",
  ),
  ledger: fc.constantFrom(0, 1),
  user: fc.nat(2),
  other: fc.nat(2),
  amount: fc.oneof(fc.bigInt(0n, 1n << 20n), fc.bigInt(0n, 1n << 44n), fc.bigInt(0n, 1n << 130n)),
  memo: fc.nat(3),
  method: fc.nat(2),
  repeats: fc.boolean(),
});

/** A history with the sums that must hold. */
class Books {
  readonly network = new TokenNetwork();
  readonly #canister: Uint8Array;
  readonly #cyclesBefore: bigint;
  #payments = 0n;

  constructor() {
    this.#canister = this.network.create(CREATED);
    const { network } = this;
    for (const user of USERS.slice(1)) {
      network.ask(ANYONE, ICP_LEDGER_ID, "icrc1_transfer", transferTo(user.principal, 1n << 40n));
      network.ask(
        ANYONE,
        CYCLES_LEDGER_ID,
        "icrc1_transfer",
        transferTo(user.principal, 1n << 45n),
      );
    }
    this.#cyclesBefore = this.#cycles();
  }

  take(now: Step): void {
    const { network } = this;
    const user = USERS[now.user]!;
    const other = USERS[now.other]!;
    const ledger = LEDGERS[now.ledger]!;
    const created_at_time = now.repeats ? [1_700_000_000_000_000_000n] : [];
    const transfer = transferTo(other.principal, now.amount, { created_at_time });
    const from = { spender_subaccount: [], from: account(other.principal) };
    const canister = toIdlPrincipal(now.method === 0 ? CYCLES_LEDGER_ID : this.#canister);
    const creation = {
      from_subaccount: [],
      created_at_time,
      creation_args: [],
      amount: now.amount,
    };
    switch (now.action) {
      case "transfer":
        network.ask(user, ledger, "icrc1_transfer", transfer);
        break;
      case "approve":
        network.ask(user, ledger, "icrc2_approve", {
          ...transfer,
          spender: account(other.principal),
          expected_allowance: [],
          expires_at: [],
        });
        break;
      case "transferFrom":
        network.ask(user, ledger, "icrc2_transfer_from", { ...transfer, ...from });
        break;
      case "withdraw":
        network.ask(user, CYCLES_LEDGER_ID, "withdraw", { ...creation, to: canister });
        break;
      case "withdrawFrom":
        network.ask(user, CYCLES_LEDGER_ID, "withdraw_from", {
          ...creation,
          ...from,
          to: canister,
        });
        break;
      case "create":
        network.ask(user, CYCLES_LEDGER_ID, "create_canister", creation);
        break;
      case "pay":
        this.#pay(now);
        break;
      case "notify":
        this.#notify(now);
        break;
    }
  }

  check(after: string): void {
    const { network } = this;
    for (const number of [0, 1] as const) {
      const sum = this.#balances(number);
      equal(sum, network.totals(number).supply, `supply of ledger ${number} after ${after}`);
    }
    const minted = network.look(CYCLES_MINTING_CANISTER_ID, "total_cycles_minted") as bigint;
    equal(this.#cycles(), this.#cyclesBefore + minted, `cycles after ${after}`);
    const { held, supply } = network.totals(1);
    ok(held >= supply, `cycles behind the tokens after ${after}`);
  }

  #pay({ user, memo, amount, method }: Step): void {
    const beneficiary = method === 0 ? this.#canister : USERS[user]!.principal;
    const subaccount = principalSubaccount(beneficiary);
    const e8s = BigInt.asUintN(40, amount);
    const paid = payment(CYCLES_MINTING_CANISTER_ID, subaccount, e8s, MEMOS[memo]!);
    const result = this.network.ask(USERS[user]!, ICP_LEDGER_ID, "transfer", paid) as object;
    if ("Ok" in result) this.#payments = result.Ok as bigint;
  }

  #notify({ user, method }: Step): void {
    const block_index = this.#payments;
    const principal = toIdlPrincipal(USERS[user]!.principal);
    const none = { subnet_type: [], subnet_selection: [], settings: [], to_subaccount: [] };
    const argument = {
      ...none,
      block_index,
      deposit_memo: [],
      controller: principal,
      canister_id: toIdlPrincipal(this.#canister),
    };
    const methods = ["notify_top_up", "notify_create_canister", "notify_mint_cycles"];
    this.network.ask(USERS[user]!, CYCLES_MINTING_CANISTER_ID, methods[method]!, argument);
  }

  /** What all accounts of a ledger hold: the state's records themselves. */
  #balances(ledger: number): bigint {
    let sum = 0n;
    const prefix = Uint8Array.of(KEY_PREFIX.token[0]!, "b".charCodeAt(0), ledger);
    for (const [, bytes] of this.network.view.range(prefix)) sum += decodeWith(codec.u128, bytes);
    return sum;
  }

  #cycles(): bigint {
    return this.network.cyclesTotal() + this.network.totals(1).held;
  }
}

/** The same blocks on a fresh replica. */
function replayed(network: TokenNetwork): TokenNetwork {
  const again = new TokenNetwork();
  for (const { timeNs, transactions } of network.blocks) {
    again.timeNs = timeNs - 1_000_000_000n;
    again.block(...transactions);
  }
  return again;
}

test("random histories of tokens conserve every e8s and every cycle, and replay to the same state", () => {
  let done = 0;
  fc.assert(
    fc.property(fc.array(step, { minLength: 10, maxLength: 40 }), (history) => {
      const books = new Books();
      for (const now of history) {
        books.take(now);
        books.check(now.action);
      }
      equal(replayed(books.network).digest(), books.network.digest(), "replayed");
      done += Number(books.network.totals(0).blockCount + books.network.totals(1).blockCount) - 6;
    }),
    { numRuns: Number(process.env["GYROTRON_PROPERTY_RUNS"] ?? 40), seed: 20_261_122 },
  );
  ok(done > 100, `only ${done} transactions happened`);
});
