// The pre-check of calls, before they are in any block: each reason to refuse one, with its code and
// text, and calls that wait so long that their time runs out.

import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { encodeCandid, IDL, toIdlPrincipal } from "gyrotron/candid";
import { canisterIdFromU64, formatPrincipal, MANAGEMENT_CANISTER } from "gyrotron/crypto";
import { ONLY_ID, ReplicaHarness, wat } from "./harness.ts";
import { forwardArgument, PROXY } from "./proxy.ts";

const EMPTY = wat(`(module (memory 1) (func (export "canister_update go")))`);
const STRANGER = Uint8Array.of(1, 2, 2);

function precheck(
  network: ReplicaHarness,
  canisterId: Uint8Array,
  method: string,
  options: { argument?: Uint8Array; sender?: Uint8Array } = {},
): string {
  const content = network.content(canisterId, method, options.argument);
  const sender = options.sender ?? content.sender;
  const answer = network.replica.precheck(network.view, network.timeNs, { ...content, sender });
  if (answer === undefined) return "accepted";
  return answer.kind === "replied" ? "replied" : `${answer.errorCode} ${answer.message}`;
}

function onlyId(id: Uint8Array): Uint8Array {
  return encodeCandid([ONLY_ID], [{ canister_id: toIdlPrincipal(id) }]);
}

function startsWith(text: string, expected: string): void {
  equal(text.slice(0, expected.length), expected);
}

test("a canister that is absent, empty, frozen, stopping or stopped is refused by name", () => {
  const network = new ReplicaHarness();
  const absent = canisterIdFromU64(0x8000_0000_0000_ffffn);
  equal(precheck(network, absent, "go"), `IC0301 Canister ${formatPrincipal(absent)} not found`);
  const bare = network.create();
  startsWith(precheck(network, bare, "go"), `IC0537 Error from Canister ${formatPrincipal(bare)}`);
  const id = network.install(EMPTY);
  equal(precheck(network, id, "go"), "accepted");
  equal(precheck(network, id, "a method that it lacks"), "accepted", "execution rejects it");
  network.manage("stop_canister", ONLY_ID, { canister_id: toIdlPrincipal(id) });
  equal(precheck(network, id, "go"), `IC0508 Canister ${formatPrincipal(id)} is stopped`);
  const poor = network.create(1n);
  startsWith(
    precheck(network, poor, "go"),
    `IC0207 Canister ${formatPrincipal(poor)} is out of cycles: please top up the canister with at least `,
  );
});

test("a canister that still waits for an answer is stopping, and says so", () => {
  const network = new ReplicaHarness();
  const id = network.install(PROXY);
  const settings = IDL.Record({
    canister_id: IDL.Principal,
    settings: IDL.Record({ controllers: IDL.Opt(IDL.Vec(IDL.Principal)) }),
  });
  const own = toIdlPrincipal(id);
  network.manage("update_settings", settings, {
    canister_id: own,
    settings: { controllers: [[own]] },
  });
  // It stops itself, and so waits for an answer that waits for it.
  network.settle(network.envelope(id, "forward", forwardArgument("stop_canister", onlyId(id))));
  equal(network.canister(id).status, "stopping");
  equal(precheck(network, id, "say"), `IC0509 Canister ${formatPrincipal(id)} is stopping`);
});

test("a call that waits past its expiry is not started", () => {
  const network = new ReplicaHarness();
  const id = network.install(
    wat(`(module (memory 256) (func (export "canister_update fill") (local $count i32)
      (loop $again
        (memory.fill (i32.const 0) (i32.const 1) (i32.const 16777216))
        (br_if $again (i32.lt_u
          (local.tee $count (i32.add (local.get $count) (i32.const 1)))
          (i32.const 450))))))`),
  );
  // The first takes all of a round, so that the second waits for the next block.
  const calls = [0, 1].map(() => network.envelope(id, "fill", new Uint8Array()));
  network.block(...calls);
  network.timeNs += 300_000_000_000n;
  network.settle();
  const last = network.status(calls.at(-1)!);
  equal(
    last.kind === "rejected" && `${last.errorCode} ${last.message}`,
    "IC0202 Ingress message timed out waiting to start executing.",
  );
});

test("methods of the management canister are for canisters, or for controllers", () => {
  const network = new ReplicaHarness();
  const id = network.install(EMPTY);
  const argument = onlyId(id);
  equal(precheck(network, MANAGEMENT_CANISTER, "start_canister", { argument }), "accepted");
  equal(
    precheck(network, MANAGEMENT_CANISTER, "start_canister", { argument, sender: STRANGER }),
    `IC0512 Only controllers of canister ${formatPrincipal(id)} can call ic00 method start_canister`,
  );
  const none = encodeCandid([], []);
  equal(
    precheck(network, MANAGEMENT_CANISTER, "raw_rand", { argument: none }),
    "IC0406 Only canisters can call ic00 method raw_rand",
  );
  const amount = IDL.Record({ amount: IDL.Opt(IDL.Nat) });
  const creation = encodeCandid([amount], [{ amount: [] }]);
  const create = "provisional_create_canister_with_cycles";
  equal(precheck(network, MANAGEMENT_CANISTER, create, { argument: creation }), "accepted");
});

test("inspect_message decides: silence is a refusal", () => {
  const network = new ReplicaHarness();
  const inspected = (body: string): Uint8Array =>
    network.install(
      wat(`(module (import "ic0" "accept_message" (func $accept)) (memory 1)
        (func (export "canister_inspect_message") ${body})
        (func (export "canister_update go")))`),
    );
  equal(precheck(network, inspected("(call $accept)"), "go"), "accepted");
  const silent = inspected("");
  equal(
    precheck(network, silent, "go"),
    `IC0406 Error from Canister ${formatPrincipal(silent)}: Canister rejected the message`,
  );
  startsWith(precheck(network, inspected("unreachable"), "go"), "IC0502 ");
});

test("without inspect_message a missing method is found out by execution", () => {
  const network = new ReplicaHarness();
  const id = network.install(EMPTY);
  equal(precheck(network, id, "nowhere"), "accepted");
  const status = network.call(id, "nowhere");
  ok(status.kind === "rejected" && status.errorCode === "IC0536");
});

test("a canister's own reject of a query has reject code 4 and IC0406", () => {
  const network = new ReplicaHarness();
  const id = network.install(
    wat(`(module (import "ic0" "msg_reject" (func $reject (param i32 i32))) (memory 1)
      (data (i32.const 0) "not you")
      (func (export "canister_query go") (call $reject (i32.const 0) (i32.const 7))))`),
  );
  deepEqual(network.query(id, "go"), {
    kind: "rejected",
    rejectCode: 4,
    message: "not you",
    errorCode: "IC0406",
    console: [],
  });
});
