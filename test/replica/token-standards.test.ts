// Standards of ledgers besides transfers and approvals: what wallets and explorers ask for.

import { deepEqual, equal, match, ok } from "node:assert/strict";
import { test } from "node:test";
import { encodeCandid, type IDL, toIdlPrincipal } from "gyrotron/candid";
import { CYCLES_LEDGER_ID, ICP_LEDGER_ID, SYSTEM_CANISTERS } from "gyrotron/replica";
import { account, alice, ANYONE, bob, transferTo, withAlice } from "./token-network.ts";

const TERA = 1_000_000_000_000n;
const MINUTE = 60_000_000_000n;

test("ICRC-103 lists an owner's allowances in pages, without those that have expired", () => {
  const network = withAlice();
  const spenders = [1, 2, 3, 4, 5].map((n) => Uint8Array.of(n, 2));
  const approve = (spender: Uint8Array, subaccount: [] | [Uint8Array], expires: [] | [bigint]) =>
    network.ask(alice, CYCLES_LEDGER_ID, "icrc2_approve", {
      ...transferTo(spender, 0n),
      from_subaccount: subaccount,
      spender: account(spender),
      amount: 1_000n,
      expected_allowance: [],
      expires_at: expires,
    });
  for (const spender of spenders) ok("Ok" in (approve(spender, [], []) as object));
  ok("Ok" in (approve(Uint8Array.of(6, 2), [], [network.timeNs + MINUTE]) as object));
  // Bob's are not listed among Alice's.
  network.ask(ANYONE, CYCLES_LEDGER_ID, "icrc1_transfer", transferTo(bob.principal, TERA));
  const list = (user: typeof alice, request: object): string[] => {
    const given = { from_account: [], prev_spender: [], take: [], ...request };
    const answer = network.ask(user, CYCLES_LEDGER_ID, "icrc103_get_allowances", given) as {
      Ok: { to_spender: { owner: { toUint8Array(): Uint8Array } }; allowance: bigint }[];
    };
    return answer.Ok.map(
      ({ to_spender, allowance }) => `${to_spender.owner.toUint8Array().toHex()} ${allowance}`,
    );
  };
  const all = [1, 2, 3, 4, 5].map((n) => `0${n}02 1000`);
  equal(list(alice, {}).length, 6);
  network.timeNs += 2n * MINUTE;
  deepEqual(list(alice, {}), all);
  deepEqual(list(bob, { from_account: [account(alice.principal)] }), all);
  deepEqual(list(alice, { take: [2n] }), all.slice(0, 2));
  deepEqual(list(alice, { prev_spender: [account(spenders[1]!)], take: [2n] }), all.slice(2, 4));
  deepEqual(list(bob, {}), []);
  const later = new Uint8Array(32).fill(9);
  deepEqual(list(alice, { from_account: [account(alice.principal, later)] }), []);
});

test("ICRC-21 says before a signature what would happen", () => {
  const network = withAlice();
  const consent = (ledger: Uint8Array, method: string, arg: Uint8Array): unknown =>
    network.ask(alice, ledger, "icrc21_canister_call_consent_message", {
      method,
      arg,
      user_preferences: {
        metadata: { language: "de", utc_offset_minutes: [60] },
        device_spec: [{ GenericDisplay: null }],
      },
    });
  const types = (ledger: Uint8Array, method: string): IDL.Type =>
    SYSTEM_CANISTERS.find(({ id }) => id === ledger)!.methods[method]!.argument!;
  const encoded = (ledger: Uint8Array, method: string, value: object): Uint8Array =>
    encodeCandid([types(ledger, method)], [value]);
  const transfer = transferTo(bob.principal, 150_000_000n, { memo: [Uint8Array.of(1, 255)] });
  const name = (user: typeof alice): string => toIdlPrincipal(user.principal).toText();
  deepEqual(
    consent(ICP_LEDGER_ID, "icrc1_transfer", encoded(ICP_LEDGER_ID, "icrc1_transfer", transfer)),
    {
      Ok: {
        metadata: { language: "en", utc_offset_minutes: [60] },
        consent_message: {
          GenericDisplayMessage: [
            "# Send ICP",
            `**From:**\n\`${name(alice)}\``,
            `**To:**\n\`${name(bob)}\``,
            "**Amount:**\n`1.5 ICP`",
            "**Fee:**\n`0.0001 ICP`",
            "**Memo (hex):**\n`01ff`",
          ].join("\n\n"),
        },
      },
    },
  );
  const approval = {
    ...transferTo(bob.principal, 0n),
    spender: account(bob.principal, new Uint8Array(32).fill(1)),
    amount: 2n * TERA,
    expected_allowance: [0n],
    expires_at: [],
  };
  const shown = JSON.stringify(
    consent(
      CYCLES_LEDGER_ID,
      "icrc2_approve",
      encoded(CYCLES_LEDGER_ID, "icrc2_approve", approval),
    ),
  );
  match(shown, /Approve spending of TCYCLES.*\.0101.*`2 TCYCLES`.*`0 TCYCLES`.*never/);
  for (const [method, arg] of [
    ["icrc1_transfer", Uint8Array.of(1, 2)],
    ["withdraw", encodeCandid([], [])],
    ["toString", encodeCandid([], [])],
  ] as const)
    match(JSON.stringify(consent(CYCLES_LEDGER_ID, method, arg)), /UnsupportedCanisterCall/);
});

test("the tip of the chain of the ICP ledger, and that no index is set", () => {
  const network = withAlice();
  deepEqual(network.look(ICP_LEDGER_ID, "tip_of_chain"), { certification: [], tip_index: 1n });
  equal(network.look(ICP_LEDGER_ID, "is_ledger_ready"), true);
  for (const ledger of [ICP_LEDGER_ID, CYCLES_LEDGER_ID])
    deepEqual(network.look(ledger, "icrc106_get_index_principal"), {
      Err: { IndexPrincipalNotSet: null },
    });
});
