// A replica with users who have keys, for tests of the token canisters: calls by name with Candid
// values, decoded answers, balances.

import { equal, ok } from "node:assert/strict";
import { concatBytes, decodeWith, u64BigEndian, utf8Bytes } from "gyrotron/base";
import { decodeCandid, encodeCandid, toIdlPrincipal } from "gyrotron/candid";
import {
  DOMAIN_REQUEST,
  ed25519PublicKeyDer,
  encodeSelfDescribedCbor,
  hashOfMap,
  selfAuthenticating,
  sha256,
  signEd25519,
} from "gyrotron/crypto";
import {
  accountIdentifier,
  CYCLES_LEDGER_ID,
  ICP_LEDGER_ID,
  type IngressStatus,
  type LedgerTotals,
  type QueryResult,
  SYSTEM_CANISTERS,
  totalsCodec,
  totalsKey,
} from "gyrotron/replica";
import { ANONYMOUS, ReplicaHarness } from "./harness.ts";

const SECOND = 1_000_000_000n;

/** Somebody who can sign. */
export interface User {
  readonly principal: Uint8Array;
  readonly seed: Uint8Array | undefined;
}

export const ANYONE: User = { principal: ANONYMOUS, seed: undefined };

/** A user of a name. */
export function createUser(name: string): User {
  const seed = sha256(utf8Bytes(name));
  return { principal: selfAuthenticating(ed25519PublicKeyDer(seed)), seed };
}

/** A default account as Candid has it. */
export function account(owner: Uint8Array, subaccount?: Uint8Array): unknown {
  return { owner: toIdlPrincipal(owner), subaccount: subaccount === undefined ? [] : [subaccount] };
}

/** A state machine with tokens. */
export class TokenNetwork extends ReplicaHarness {
  #calls = 0n;

  /** Calls a method of a system canister; the decoded answer, or the text of a reject. */
  ask(user: User, canisterId: Uint8Array, method: string, value?: unknown): unknown {
    const { argument, result } = typesOf(canisterId, method);
    const bytes = encodeCandid(argument === undefined ? [] : [argument], argument ? [value] : []);
    const status = this.callAs(user, canisterId, method, bytes);
    if (status.kind === "replied") return decodeCandid([result], status.reply)[0];
    return status.kind === "rejected" ? `${status.errorCode}: ${status.message}` : status.kind;
  }

  callAs(user: User, canisterId: Uint8Array, method: string, argument: Uint8Array): IngressStatus {
    const content = {
      request_type: "call",
      canister_id: canisterId,
      method_name: method,
      arg: argument,
      sender: user.principal,
      ingress_expiry: this.timeNs + 240n * SECOND,
      nonce: u64BigEndian(this.#calls++),
    };
    const proof =
      user.seed === undefined
        ? {}
        : {
            sender_pubkey: ed25519PublicKeyDer(user.seed),
            sender_sig: signEd25519(user.seed, concatBytes(DOMAIN_REQUEST, hashOfMap(content))),
          };
    const envelope = encodeSelfDescribedCbor({ content, ...proof });
    this.settle(envelope);
    return this.status(envelope);
  }

  /** Queries a method of a system canister. */
  look(canisterId: Uint8Array, method: string, value?: unknown): unknown {
    const { argument, result } = typesOf(canisterId, method);
    const bytes = encodeCandid(argument === undefined ? [] : [argument], argument ? [value] : []);
    const found: QueryResult = this.query(canisterId, method, bytes);
    equal(found.kind, "replied", method);
    return found.kind === "replied" ? decodeCandid([result], found.reply)[0] : undefined;
  }

  icp(owner: Uint8Array, subaccount?: Uint8Array): bigint {
    return this.look(ICP_LEDGER_ID, "icrc1_balance_of", account(owner, subaccount)) as bigint;
  }

  cycles(owner: Uint8Array, subaccount?: Uint8Array): bigint {
    return this.look(CYCLES_LEDGER_ID, "icrc1_balance_of", account(owner, subaccount)) as bigint;
  }

  /** The sums that a ledger keeps; 0 is ICP, 1 cycles. */
  totals(ledger: 0 | 1): LedgerTotals {
    return decodeWith(totalsCodec, this.view.get(totalsKey(ledger))!);
  }
}

/** A transfer with nothing but receiver and amount. */
export function transferTo(to: Uint8Array, amount: bigint, more: object = {}): object {
  const nothing = { from_subaccount: [], fee: [], memo: [], created_at_time: [] };
  return { ...nothing, to: account(to), amount, ...more };
}

/** A payment by the older interface of the ICP ledger. */
export function payment(
  owner: Uint8Array,
  subaccount: Uint8Array,
  e8s: bigint,
  memo: bigint,
): object {
  return {
    memo,
    amount: { e8s },
    fee: { e8s: 10_000n },
    from_subaccount: [],
    to: accountIdentifier({ owner, subaccount }),
    created_at_time: [],
  };
}

function typesOf(canisterId: Uint8Array, name: string): { argument: never; result: never } {
  const found = SYSTEM_CANISTERS.find(({ id }) => id.toHex() === canisterId.toHex());
  return found!.methods[name] as unknown as { argument: never; result: never };
}

export const alice: User = createUser("alice");
export const bob: User = createUser("bob");

/** A network where Alice has 100 ICP and 100 T cycles. */
export function withAlice(): TokenNetwork {
  const network = new TokenNetwork();
  const icp = network.ask(
    ANYONE,
    ICP_LEDGER_ID,
    "icrc1_transfer",
    transferTo(alice.principal, 10_000_000_000n),
  );
  ok(icp !== null && typeof icp === "object" && "Ok" in icp);
  network.ask(
    ANYONE,
    CYCLES_LEDGER_ID,
    "icrc1_transfer",
    transferTo(alice.principal, 100n * 10n ** 12n),
  );
  return network;
}
