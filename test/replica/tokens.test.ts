// The ICP ledger, the cycles ledger and the cycles minting canister: what each method does, and what
// it answers when it does nothing.

import { deepEqual, equal, match, ok } from "node:assert/strict";
import { test } from "node:test";
import { decodeWith } from "gyrotron/base";
import { decodeCandid, encodeCandid, IDL, toIdlPrincipal } from "gyrotron/candid";
import {
  accountIdentifier,
  canisterKey,
  canisterPublicInfoCodec,
  CYCLES_LEDGER_ID,
  CYCLES_MINTING_CANISTER_ID,
  decodeHashTree,
  hashOfTree,
  ICP_LEDGER_ID,
  principalSubaccount,
  publicInfoKey,
  SYSTEM_CANISTERS,
} from "gyrotron/replica";
import { ANONYMOUS, wat } from "./harness.ts";
import {
  account,
  alice,
  bob,
  payment,
  TokenNetwork,
  transferTo,
  withAlice,
} from "./token-network.ts";

const FEE = 10_000n;
const CYCLES_FEE = 100_000_000n;
const TERA = 1_000_000_000_000n;
const DAY = 86_400_000_000_000n;
const MINUTE = 60_000_000_000n;
const RATE = 35_200n;
const ZEROS = new Uint8Array(32);

test("the anonymous user of a local network starts with tokens", () => {
  const network = new TokenNetwork();
  equal(network.icp(ANONYMOUS), 100_000_000_000_000_000n);
  equal(network.cycles(ANONYMOUS), 10n ** 30n);
  equal(network.look(ICP_LEDGER_ID, "icrc1_symbol"), "ICP");
  equal(network.look(CYCLES_LEDGER_ID, "icrc1_decimals"), 12);
});

test("a transfer moves the amount and burns the fee", () => {
  const network = withAlice();
  const before = network.totals(0).supply;
  deepEqual(
    network.ask(
      alice,
      ICP_LEDGER_ID,
      "icrc1_transfer",
      transferTo(bob.principal, 5n, { fee: [FEE] }),
    ),
    { Ok: 2n },
  );
  equal(network.icp(bob.principal), 5n);
  equal(network.icp(alice.principal), 10_000_000_000n - 5n - FEE);
  equal(network.totals(0).supply, before - FEE);
});

test("a transfer that cannot be says why and changes nothing", () => {
  const network = withAlice();
  const transfer = (more: object, amount = 1n): unknown =>
    network.ask(alice, ICP_LEDGER_ID, "icrc1_transfer", transferTo(bob.principal, amount, more));
  const before = [network.icp(alice.principal), network.icp(bob.principal)];
  deepEqual(transfer({ fee: [FEE - 1n] }), { Err: { BadFee: { expected_fee: FEE } } });
  deepEqual(transfer({}, 1n << 200n), { Err: { InsufficientFunds: { balance: before[0] } } });
  deepEqual(transfer({}, before[0]), { Err: { InsufficientFunds: { balance: before[0] } } });
  deepEqual(transfer({ created_at_time: [network.timeNs - DAY - MINUTE] }), {
    Err: { TooOld: null },
  });
  match(
    JSON.stringify(transfer({ created_at_time: [network.timeNs + 3n * MINUTE] }), bigints),
    /CreatedInFuture/,
  );
  match(String(transfer({ memo: [new Uint8Array(33)] })), /^IC0503: .*memo field size of 33 bytes/);
  match(
    String(transfer({ from_subaccount: [new Uint8Array(5)] })),
    /^IC0503: .*a subaccount has 32/,
  );
  deepEqual([network.icp(alice.principal), network.icp(bob.principal)], before);
  equal(network.totals(0).blockCount, 2n);
});

test("the same transaction happens once within a day and a minute", () => {
  const network = withAlice();
  const created_at_time = [network.timeNs];
  const memo = [Uint8Array.of(7)];
  const send = (more: object): unknown =>
    network.ask(alice, ICP_LEDGER_ID, "icrc1_transfer", transferTo(bob.principal, 1n, more));
  deepEqual(send({ created_at_time, memo }), { Ok: 2n });
  deepEqual(send({ created_at_time, memo }), { Err: { Duplicate: { duplicate_of: 2n } } });
  deepEqual(send({ created_at_time }), { Ok: 3n });
  deepEqual(send({}), { Ok: 4n });
  deepEqual(send({}), { Ok: 5n });
  network.timeNs += DAY;
  deepEqual(send({ created_at_time, memo }), { Err: { Duplicate: { duplicate_of: 2n } } });
  network.timeNs += 2n * MINUTE;
  deepEqual(send({ created_at_time, memo }), { Err: { TooOld: null } });
});

test("transfers from and to the minting account make and burn without a fee", () => {
  const network = withAlice();
  const [minting] = network.look(ICP_LEDGER_ID, "icrc1_minting_account") as [
    { owner: { toUint8Array(): Uint8Array } },
  ];
  const owner = minting.owner.toUint8Array();
  const burn = (amount: bigint): unknown =>
    network.ask(alice, ICP_LEDGER_ID, "icrc1_transfer", transferTo(owner, amount));
  deepEqual(burn(FEE - 1n), { Err: { BadBurn: { min_burn_amount: FEE } } });
  const before = network.totals(0).supply;
  deepEqual(burn(FEE), { Ok: 2n });
  equal(network.totals(0).supply, before - FEE);
  equal(network.icp(alice.principal), 10_000_000_000n - FEE);
});

test("a spender takes no more than was approved, fees included", () => {
  const network = withAlice();
  const approve = {
    ...transferTo(bob.principal, 0n),
    spender: account(bob.principal),
    amount: 1_000_000n,
    expected_allowance: [],
    expires_at: [network.timeNs + DAY],
  };
  const ask = (user: typeof alice, method: string, value: object): unknown =>
    network.ask(user, ICP_LEDGER_ID, method, value);
  deepEqual(ask(alice, "icrc2_approve", approve), { Ok: 2n });
  deepEqual(ask(alice, "icrc2_approve", { ...approve, expected_allowance: [5n] }), {
    Err: { AllowanceChanged: { current_allowance: 1_000_000n } },
  });
  const take = {
    ...transferTo(bob.principal, 600_000n),
    spender_subaccount: [],
    from: account(alice.principal),
  };
  deepEqual(ask(bob, "icrc2_transfer_from", take), { Ok: 3n });
  const allowance = { account: account(alice.principal), spender: account(bob.principal) };
  deepEqual(network.look(ICP_LEDGER_ID, "icrc2_allowance", allowance), {
    allowance: 390_000n,
    expires_at: approve.expires_at,
  });
  deepEqual(ask(bob, "icrc2_transfer_from", take), {
    Err: { InsufficientAllowance: { allowance: 390_000n } },
  });
  network.timeNs += DAY;
  deepEqual(ask(bob, "icrc2_transfer_from", { ...take, amount: 1n }), {
    Err: { InsufficientAllowance: { allowance: 0n } },
  });
  match(
    JSON.stringify(ask(alice, "icrc2_approve", approve), bigints),
    /\{"Err":\{"Expired":\{"ledger_time"/,
  );
  const self = { ...approve, spender: account(alice.principal), expires_at: [] };
  match(String(ask(alice, "icrc2_approve", self)), /IC0503: .*self approval is not allowed/);
});

test("the older interface knows account identifiers", () => {
  const network = withAlice();
  const id = accountIdentifier({ owner: bob.principal, subaccount: ZEROS });
  const transfer = payment(bob.principal, ZEROS, 12n, 99n);
  deepEqual(network.ask(alice, ICP_LEDGER_ID, "transfer", transfer), { Ok: 2n });
  deepEqual(network.look(ICP_LEDGER_ID, "account_balance", { account: id }), { e8s: 12n });
  deepEqual(network.look(ICP_LEDGER_ID, "account_balance_dfx", { account: id.toHex() }), {
    e8s: 12n,
  });
  deepEqual(network.look(ICP_LEDGER_ID, "account_identifier", account(bob.principal)), id);
  const wrong = Uint8Array.from(id, (byte, at) => (at === 0 ? byte ^ 1 : byte));
  match(
    String(network.ask(alice, ICP_LEDGER_ID, "transfer", { ...transfer, to: wrong })),
    /IC0503/,
  );
  deepEqual(network.ask(alice, ICP_LEDGER_ID, "transfer", { ...transfer, fee: { e8s: 1n } }), {
    Err: { BadFee: { expected_fee: { e8s: FEE } } },
  });
  const { blocks, chain_length } = network.look(ICP_LEDGER_ID, "query_blocks", {
    start: 1n,
    length: 10n,
  }) as { blocks: { transaction: { memo: bigint } }[]; chain_length: bigint };
  equal(chain_length, 3n);
  deepEqual(
    blocks.map(({ transaction }) => transaction.memo),
    [0n, 99n],
  );
});

// The identifier of the anonymous user, as every explorer of the network shows it.
test("account identifiers are those of the network", () => {
  const anonymous = accountIdentifier({ owner: ANONYMOUS, subaccount: ZEROS });
  equal(anonymous.toHex(), "1c7a48ba6a562aa9eaa2481a9049cdf0433b9738c992d698c31d8abf89cadc79");
});

test("cycles become canisters, and whoever pays controls them", () => {
  const network = withAlice();
  const created = create(network, 2n * TERA);
  ok("Ok" in created);
  const id = created.Ok.canister_id.toUint8Array();
  const canister = network.canister(id);
  deepEqual(canister.settings.controllers, [alice.principal]);
  equal(canister.cycles + canister.consumed.creation, 2n * TERA);
  equal(network.cycles(alice.principal), 98n * TERA - CYCLES_FEE);
});

test("a creation that fails gives the cycles back less a fee for each block", () => {
  const network = withAlice();
  const held = network.totals(1).held;
  const poor = create(network, TERA / 10n);
  ok("Err" in poor);
  match(JSON.stringify(poor, bigints), /FailedToCreate.*requires a fee/);
  equal(network.cycles(alice.principal), 100n * TERA - 2n * CYCLES_FEE);
  const elsewhere = create(network, TERA, {
    settings: [],
    subnet_selection: [{ Subnet: { subnet: toIdlPrincipal(ANONYMOUS) } }],
  });
  match(JSON.stringify(elsewhere, bigints), /Subnet 2vxsx-fae does not exist/);
  equal(network.totals(1).held, held);
});

test("a creation that is repeated names the canister of the first", () => {
  const network = withAlice();
  const time = network.timeNs;
  const first = create(network, TERA, undefined, time);
  const again = create(network, TERA, undefined, time);
  ok("Ok" in first && "Err" in again);
  const { Duplicate } = again.Err as { Duplicate: { canister_id: [{ toText(): string }] } };
  equal(Duplicate.canister_id[0].toText(), first.Ok.canister_id.toText());
});

test("withdrawals reach canisters and nobody else", () => {
  const network = withAlice();
  const id = network.create(TERA);
  const withdraw = (to: Uint8Array, amount: bigint): unknown =>
    network.ask(alice, CYCLES_LEDGER_ID, "withdraw", {
      amount,
      from_subaccount: [],
      to: toIdlPrincipal(to),
      created_at_time: [],
    });
  deepEqual(withdraw(id, 5n * TERA), { Ok: 2n });
  equal(network.canister(id).cycles, 6n * TERA);
  equal(network.cycles(alice.principal), 95n * TERA - CYCLES_FEE);
  match(JSON.stringify(withdraw(bob.principal, 1n), bigints), /InvalidReceiver/);
  match(JSON.stringify(withdraw(id, 0n), bigints), /GenericError/);
  match(
    JSON.stringify(withdraw(CYCLES_LEDGER_ID, TERA), bigints),
    /FailedToWithdraw.*"rejection_code":\{"DestinationInvalid":null\}.*not found/,
  );
  equal(network.cycles(alice.principal), 95n * TERA - 3n * CYCLES_FEE);
});

test("a spender withdraws and creates from what was approved, and gets the rest of a failure back", () => {
  const network = withAlice();
  const approval = {
    ...transferTo(bob.principal, 0n),
    spender: account(bob.principal),
    amount: 10n * TERA,
    expected_allowance: [],
    expires_at: [],
  };
  deepEqual(network.ask(alice, CYCLES_LEDGER_ID, "icrc2_approve", approval), { Ok: 2n });
  const id = network.create(0n);
  const from = { from: account(alice.principal), spender_subaccount: [], created_at_time: [] };
  const withdraw = { ...from, to: toIdlPrincipal(id), amount: 2n * TERA };
  deepEqual(network.ask(bob, CYCLES_LEDGER_ID, "withdraw_from", withdraw), { Ok: 3n });
  const creation = { ...from, amount: TERA, creation_args: [] };
  const created = network.ask(bob, CYCLES_LEDGER_ID, "create_canister_from", creation);
  match(JSON.stringify(created, bigints), /^\{"Ok"/);
  const failed = network.ask(bob, CYCLES_LEDGER_ID, "withdraw_from", {
    ...withdraw,
    to: toIdlPrincipal(CYCLES_LEDGER_ID),
  }) as { Err: { FailedToWithdrawFrom: { approval_refund_block: bigint[] } } };
  deepEqual(failed.Err.FailedToWithdrawFrom.approval_refund_block, [7n]);
  const allowance = { account: account(alice.principal), spender: account(bob.principal) };
  const left = network.look(CYCLES_LEDGER_ID, "icrc2_allowance", allowance);
  deepEqual(left, { allowance: 7n * TERA - 5n * CYCLES_FEE, expires_at: [] });
  deepEqual(
    network.ask(bob, CYCLES_LEDGER_ID, "withdraw_from", { ...withdraw, amount: 8n * TERA }),
    {
      Err: { InsufficientAllowance: { allowance: 7n * TERA - 5n * CYCLES_FEE } },
    },
  );
});

test("canisters deposit the cycles that they attach; users have none to deposit", () => {
  const network = withAlice();
  const deposit = { to: account(bob.principal), memo: [] };
  match(String(network.ask(alice, CYCLES_LEDGER_ID, "deposit", deposit)), /IC0503.*less than the/);
  const argument = encodeCandid(
    [IDL.Record({ to: IDL.Record({ owner: IDL.Principal }) })],
    [{ to: { owner: toIdlPrincipal(bob.principal) } }],
  );
  const id = network.install(caller(CYCLES_LEDGER_ID, "deposit", argument, 3n * TERA));
  const held = network.totals(1).held;
  const answer = network.call(id, "go");
  ok(answer.kind === "replied");
  const types = [IDL.Record({ balance: IDL.Nat, block_index: IDL.Nat })];
  deepEqual(decodeCandid(types, answer.reply), [
    { balance: 3n * TERA - CYCLES_FEE, block_index: 2n },
  ]);
  equal(network.cycles(bob.principal), 3n * TERA - CYCLES_FEE);
  equal(network.totals(1).held, held + 3n * TERA);
});

test("a canister's composite query reads a ledger", () => {
  const network = withAlice();
  const argument = encodeCandid(
    [IDL.Record({ owner: IDL.Principal })],
    [{ owner: toIdlPrincipal(alice.principal) }],
  );
  const id = network.install(caller(ICP_LEDGER_ID, "icrc1_balance_of", argument, 0n));
  const answer = network.query(id, "look");
  ok(answer.kind === "replied");
  deepEqual(decodeCandid([IDL.Nat], answer.reply), [10_000_000_000n]);
  const missing = network.install(caller(ICP_LEDGER_ID, "transfer", argument, 0n));
  const refused = network.query(missing, "look");
  equal(refused.kind, "rejected");
});

test("ICP buys cycles on the cycles ledger, once for each payment", () => {
  const network = withAlice();
  const block = pay(network, 200_000_000n, 0x544e_494dn, principalSubaccount(alice.principal));
  const mint = { block_index: block, to_subaccount: [], deposit_memo: [] };
  const minted = 200_000_000n * RATE;
  const answer = {
    Ok: { block_index: 2n, minted, balance: 100n * TERA + minted - CYCLES_FEE },
  };
  const supply = network.totals(0).supply;
  deepEqual(network.ask(alice, CYCLES_MINTING_CANISTER_ID, "notify_mint_cycles", mint), answer);
  deepEqual(network.ask(alice, CYCLES_MINTING_CANISTER_ID, "notify_mint_cycles", mint), answer);
  equal(network.cycles(alice.principal), 100n * TERA + minted - CYCLES_FEE);
  equal(network.totals(0).supply, supply - 200_000_000n);
  equal(network.look(CYCLES_MINTING_CANISTER_ID, "total_cycles_minted"), minted);
  match(
    JSON.stringify(
      network.ask(bob, CYCLES_MINTING_CANISTER_ID, "notify_mint_cycles", mint),
      bigints,
    ),
    /InvalidTransaction/,
  );
});

test("ICP tops canisters up and creates them", () => {
  const network = withAlice();
  const id = network.create(0n);
  const block = pay(network, 100_000_000n, 0x5055_5054n, principalSubaccount(id));
  const topUp = { block_index: block, canister_id: toIdlPrincipal(id) };
  deepEqual(network.ask(bob, CYCLES_MINTING_CANISTER_ID, "notify_top_up", topUp), {
    Ok: 100_000_000n * RATE,
  });
  equal(network.canister(id).cycles, 100_000_000n * RATE);

  const creation = {
    block_index: pay(network, 100_000_000n, 0x4145_5243n, principalSubaccount(alice.principal)),
    controller: toIdlPrincipal(alice.principal),
    subnet_type: [],
    subnet_selection: [],
    settings: [],
  };
  match(
    JSON.stringify(
      network.ask(bob, CYCLES_MINTING_CANISTER_ID, "notify_create_canister", creation),
      bigints,
    ),
    /not authorized/,
  );
  const created = network.ask(
    alice,
    CYCLES_MINTING_CANISTER_ID,
    "notify_create_canister",
    creation,
  );
  const made = (created as { Ok: { toUint8Array(): Uint8Array } }).Ok.toUint8Array();
  deepEqual(network.canister(made).settings.controllers, [alice.principal]);
});

test("a payment that buys nothing comes back, less the fees", () => {
  const network = withAlice();
  const gone = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 99, 1, 1);
  equal(network.view.get(canisterKey(gone)), undefined);
  const block = pay(network, 1_000_000n, 0x5055_5054n, principalSubaccount(gone));
  const topUp = { block_index: block, canister_id: toIdlPrincipal(gone) };
  const answer = network.ask(bob, CYCLES_MINTING_CANISTER_ID, "notify_top_up", topUp);
  match(JSON.stringify(answer, bigints), /"Refunded":.*"reason":"Canister .* not found\."/);
  equal(network.icp(alice.principal), 10_000_000_000n - 1_000_000n - FEE + 970_000n);
  const again = network.ask(bob, CYCLES_MINTING_CANISTER_ID, "notify_top_up", topUp);
  deepEqual(again, answer);
  equal(network.icp(CYCLES_MINTING_CANISTER_ID, principalSubaccount(gone)), 0n);
  match(
    JSON.stringify(
      network.ask(bob, CYCLES_MINTING_CANISTER_ID, "notify_top_up", {
        ...topUp,
        block_index: 999n,
      }),
      bigints,
    ),
    /InvalidTransaction.*Block 999 not found/,
  );
});

test("the blocks of the cycles ledger are a chain", () => {
  const network = withAlice();
  const { blocks, log_length } = network.look(CYCLES_LEDGER_ID, "icrc3_get_blocks", [
    { start: 0n, length: 1n << 60n },
  ]) as { blocks: { id: bigint; block: { Map: [string, unknown][] } }[]; log_length: bigint };
  equal(log_length, 2n);
  deepEqual(
    blocks.map(({ id }) => id),
    [0n, 1n],
  );
  const [mint, transfer] = blocks.map(({ block }) => new Map(block.Map));
  equal(mint!.has("phash"), false);
  equal((transfer!.get("phash") as { Blob: Uint8Array }).Blob.length, 32);
  deepEqual(transfer!.get("fee"), { Nat: CYCLES_FEE });
});

test("the newest block and the rate are certified", () => {
  const network = withAlice();
  const proof = Uint8Array.of(1, 2, 3);
  const cases: [Uint8Array, string, (value: never) => Proven][] = [
    [CYCLES_LEDGER_ID, "icrc3_get_tip_certificate", ([tip]: [Proven]) => tip],
    [CYCLES_MINTING_CANISTER_ID, "get_icp_xdr_conversion_rate", (rate: Proven) => rate],
  ];
  for (const [id, method, provenOf] of cases) {
    const content = network.content(id, method, encodeCandid([], []));
    const found = network.replica.query(network.view, network.timeNs, content, proof);
    ok(found.kind === "replied");
    const { result } = SYSTEM_CANISTERS.find((canister) => canister.id === id)!.methods[method]!;
    const { certificate, hash_tree } = provenOf(decodeCandid([result], found.reply)[0] as never);
    deepEqual(certificate, proof);
    const info = decodeWith(canisterPublicInfoCodec, network.view.get(publicInfoKey(id))!);
    deepEqual(info.certifiedData, hashOfTree(decodeHashTree(hash_tree)), method);
  }
  const { lastHash, blockCount } = network.totals(1);
  equal(blockCount, 2n);
  const tip = network.look(CYCLES_LEDGER_ID, "icrc3_get_tip_certificate");
  deepEqual(tip, [], "there is no certificate without the node's");
  equal(lastHash?.length, 32);
});

interface Proven {
  certificate: Uint8Array;
  hash_tree: Uint8Array;
}

test("queries cannot call updates, and unknown methods are named", () => {
  const network = new TokenNetwork();
  const empty = encodeCandid([], []);
  const update = network.query(ICP_LEDGER_ID, "transfer", empty);
  ok(update.kind === "rejected");
  match(update.message, /has no query method 'transfer'/);
  const unknown = network.call(CYCLES_LEDGER_ID, "toString", empty);
  ok(unknown.kind === "rejected" && unknown.errorCode === "IC0536");
});

type Created =
  { Ok: { canister_id: { toUint8Array(): Uint8Array; toText(): string } } } | { Err: unknown };

function create(network: TokenNetwork, amount: bigint, creation?: unknown, time?: bigint): Created {
  return network.ask(alice, CYCLES_LEDGER_ID, "create_canister", {
    from_subaccount: [],
    created_at_time: time === undefined ? [] : [time],
    amount,
    creation_args: creation === undefined ? [] : [creation],
  }) as Created;
}

/** Pays the cycles minting canister; gives the block. */
function pay(network: TokenNetwork, e8s: bigint, memo: bigint, subaccount: Uint8Array): bigint {
  const paid = network.ask(
    alice,
    ICP_LEDGER_ID,
    "transfer",
    payment(CYCLES_MINTING_CANISTER_ID, subaccount, e8s, memo),
  );
  return (paid as { Ok: bigint }).Ok;
}

/** A canister whose `go` and `look` pass one call on and answer with its reply. */
function caller(id: Uint8Array, method: string, argument: Uint8Array, cycles: bigint): Uint8Array {
  const data = (bytes: Uint8Array): string =>
    [...bytes].map((byte) => `\\${byte.toString(16).padStart(2, "0")}`).join("");
  const send = (attach: string): string => `
    (call $new (i32.const 0) (i32.const ${id.length}) (i32.const 32) (i32.const ${method.length})
      (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
    (call $append (i32.const 128) (i32.const ${argument.length}))
    ${attach}
    (drop (call $perform))`;
  return wat(`(module
    (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "ic0" "call_data_append" (func $append (param i32 i32)))
    (import "ic0" "call_cycles_add128" (func $add (param i64 i64)))
    (import "ic0" "call_perform" (func $perform (result i32)))
    (import "ic0" "msg_arg_data_size" (func $size (result i32)))
    (import "ic0" "msg_arg_data_copy" (func $copy (param i32 i32 i32)))
    (import "ic0" "msg_reply_data_append" (func $reply_append (param i32 i32)))
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "msg_reject_msg_size" (func $reject_size (result i32)))
    (import "ic0" "msg_reject_msg_copy" (func $reject_copy (param i32 i32 i32)))
    (import "ic0" "msg_reject" (func $reject (param i32 i32)))
    (memory 1)
    (table funcref (elem $on_reply $on_reject))
    (data (i32.const 0) "${data(id)}")
    (data (i32.const 32) "${method}")
    (data (i32.const 128) "${data(argument)}")
    (func $on_reply (param i32)
      (call $copy (i32.const 4096) (i32.const 0) (call $size))
      (call $reply_append (i32.const 4096) (call $size))
      (call $reply))
    (func $on_reject (param i32)
      (call $reject_copy (i32.const 4096) (i32.const 0) (call $reject_size))
      (call $reject (i32.const 4096) (call $reject_size)))
    (func (export "canister_update go") ${send(`(call $add (i64.const 0) (i64.const ${cycles}))`)})
    (func (export "canister_composite_query look") ${send("")}))`);
}

function bigints(_name: string, value: unknown): unknown {
  return typeof value === "bigint" ? String(value) : value;
}
