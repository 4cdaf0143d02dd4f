// Goal: what the subnet tells of itself, and what its administrators may do that others may not. Method:
// the proxy for what only canisters may ask, users' calls and queries for the rest.

import { deepEqual, equal, match, ok } from "node:assert/strict";
import { test } from "node:test";
import {
  decodeCandid,
  encodeCandid,
  IDL,
  type IdlPrincipal,
  toIdlPrincipal,
} from "gyrotron/candid";
import { MANAGEMENT_CANISTER } from "gyrotron/crypto";
import { createReplica, type IngressStatus, type QueryResult } from "gyrotron/replica";
import { ANONYMOUS, ONLY_ID, ReplicaHarness } from "./harness.ts";
import { forward, PROXY } from "./proxy.ts";

const ONE_BYTE = Uint8Array.of(1);
const DAY_NS = 86_400_000_000_000n;
const NODE_METRICS = IDL.Vec(
  IDL.Record({
    timestamp_nanos: IDL.Nat64,
    node_metrics: IDL.Vec(
      IDL.Record({
        node_id: IDL.Principal,
        num_blocks_proposed_total: IDL.Nat64,
        num_block_failures_total: IDL.Nat64,
      }),
    ),
  }),
);
interface NodeSample {
  timestamp_nanos: bigint;
  node_metrics: {
    node_id: IdlPrincipal;
    num_blocks_proposed_total: bigint;
    num_block_failures_total: bigint;
  }[];
}
const subnetArgument = (id: Uint8Array, startNs = 0n): Uint8Array =>
  encodeCandid(
    [IDL.Record({ subnet_id: IDL.Principal, start_at_timestamp_nanos: IDL.Nat64 })],
    [{ subnet_id: toIdlPrincipal(id), start_at_timestamp_nanos: startNs }],
  );
const onlyId = (id: Uint8Array): Uint8Array =>
  encodeCandid([ONLY_ID], [{ canister_id: toIdlPrincipal(id) }]);
const textOf = (bytes: Uint8Array): string => String.fromCharCode(...bytes);

function valueOf<T>(result: QueryResult, type: IDL.Type): T {
  ok(result.kind === "replied", JSON.stringify(result));
  return decodeCandid([type], result.reply)[0] as T;
}

/** Leaves a canister without controllers. */
function giveUp(network: ReplicaHarness, id: Uint8Array): void {
  const SETTINGS = IDL.Record({ controllers: IDL.Opt(IDL.Vec(IDL.Principal)) });
  const UPDATE = IDL.Record({ canister_id: IDL.Principal, settings: SETTINGS });
  const argument = { canister_id: toIdlPrincipal(id), settings: { controllers: [[]] } };
  equal(network.manage("update_settings", UPDATE, argument).kind, "replied");
}

test("list_canisters: ranges of ids, for the subnet's administrators", () => {
  const network = new ReplicaHarness(createReplica(), undefined, { subnetAdmins: [ANONYMOUS] });
  const ids = [network.create(), network.create(), network.create(), network.create()];
  const list = (): string[] =>
    valueOf<{ canisters: { start: IdlPrincipal; end: IdlPrincipal }[] }>(
      network.query(MANAGEMENT_CANISTER, "list_canisters"),
      IDL.Record({
        canisters: IDL.Vec(IDL.Record({ start: IDL.Principal, end: IDL.Principal })),
      }),
    ).canisters.map(({ start, end }) => `${start.toText()} ${end.toText()}`);
  const text = (id: Uint8Array | undefined): string => toIdlPrincipal(id!).toText();
  deepEqual(list(), [`${text(ids[0])} ${text(ids[3])}`]);
  // An administrator manages canisters of others.
  giveUp(network, ids[1]!);
  for (const method of ["stop_canister", "delete_canister"])
    equal(network.call(MANAGEMENT_CANISTER, method, onlyId(ids[1]!)).kind, "replied");
  deepEqual(list(), [`${text(ids[0])} ${text(ids[0])}`, `${text(ids[2])} ${text(ids[3])}`]);
  const other = new ReplicaHarness().query(MANAGEMENT_CANISTER, "list_canisters");
  ok(other.kind === "rejected" && other.errorCode === "IC0406");
});

test("administrators create canisters without cycles; nobody else does by an ingress message", () => {
  const CREATE = IDL.Record({ settings: IDL.Opt(IDL.Record({})) });
  const create = (network: ReplicaHarness): IngressStatus =>
    network.manage("create_canister", CREATE, { settings: [] });
  const administered = new ReplicaHarness(createReplica(), undefined, {
    subnetAdmins: [ANONYMOUS],
  });
  const created = create(administered);
  ok(created.kind === "replied");
  const [{ canister_id }] = decodeCandid([ONLY_ID], created.reply) as [
    { canister_id: IdlPrincipal },
  ];
  const canister = administered.canister(canister_id.toUint8Array());
  equal(canister.cycles, 0n);
  deepEqual(canister.settings.controllers, [ANONYMOUS]);

  const none = create(new ReplicaHarness());
  ok(none.kind === "rejected" && none.errorCode === "IC0406");
  equal(none.message, "Only canisters can call ic00 method create_canister");

  // Of a network that others administer.
  const foreign = new ReplicaHarness(createReplica(), undefined, {
    subnetAdmins: [Uint8Array.of(9, 2)],
  });
  const refused = create(foreign);
  ok(refused.kind === "rejected" && refused.errorCode === "IC0410");
  match(refused.message, /^Only subnet admins can call ic00 method create_canister\./);
  const content = foreign.content(
    MANAGEMENT_CANISTER,
    "create_canister",
    encodeCandid([CREATE], [{ settings: [] }]),
  );
  const before = foreign.replica.precheck(foreign.view, foreign.timeNs, content);
  ok(before?.kind === "rejected" && before.errorCode === "IC0410");
  const list = foreign.query(MANAGEMENT_CANISTER, "list_canisters");
  ok(list.kind === "rejected" && list.errorCode === "IC0410");
  // Neither controller nor administrator.
  const id = foreign.create();
  giveUp(foreign, id);
  const stopped = foreign.call(MANAGEMENT_CANISTER, "stop_canister", onlyId(id));
  ok(stopped.kind === "rejected" && stopped.errorCode === "IC0541");
  const early = foreign.replica.precheck(
    foreign.view,
    foreign.timeNs,
    foreign.content(MANAGEMENT_CANISTER, "stop_canister", onlyId(id)),
  );
  ok(early?.kind === "rejected" && early.errorCode === "IC0541");
});

test("subnet_info knows this subnet and no other", () => {
  const network = new ReplicaHarness();
  const proxy = network.install(PROXY);
  const ask = (method: string, id: Uint8Array): Uint8Array =>
    forward(network, proxy, method, subnetArgument(id));
  const own = Uint8Array.of(1, 2);
  const [info] = decodeCandid(
    [IDL.Record({ replica_version: IDL.Text })],
    ask("subnet_info", own),
  ) as [{ replica_version: string }];
  match(info.replica_version, /^gyrotron-\d+$/);
  match(textOf(ask("subnet_info", Uint8Array.of(9))), /^IC0404/);
  match(textOf(ask("node_metrics_history", Uint8Array.of(9))), /^IC0404/);
});

test("node_metrics_history: blocks of each node, a sample a day", () => {
  const network = new ReplicaHarness();
  const proxy = network.install(PROXY);
  const history = (startNs: bigint): [day: bigint, ...counts: string[]][] => {
    const reply = forward(
      network,
      proxy,
      "node_metrics_history",
      subnetArgument(Uint8Array.of(1, 2), startNs),
    );
    const [samples] = decodeCandid([NODE_METRICS], reply) as [NodeSample[]];
    return samples.map(({ timestamp_nanos, node_metrics }) => [
      timestamp_nanos / DAY_NS,
      ...node_metrics.map((node) => {
        equal(node.num_block_failures_total, 0n);
        return `${node.node_id.toText()} ${node.num_blocks_proposed_total}`;
      }),
    ]);
  };
  const [one, two] = [Uint8Array.of(1, 2), Uint8Array.of(2, 2)];
  const named = (id: Uint8Array): string => toIdlPrincipal(id).toText();
  const days = (network.timeNs / DAY_NS + 1n) * DAY_NS;
  const propose = (proposer: Uint8Array, dayIndex: bigint, count: number): void => {
    network.proposer = proposer;
    if (network.timeNs < days + dayIndex * DAY_NS) network.timeNs = days + dayIndex * DAY_NS;
    for (let i = 0; i < count; i++) network.block(network.envelope(proxy, "say", ONE_BYTE));
  };
  const digest = network.digest();
  network.proposer = one;
  network.block();
  equal(network.digest(), digest, "a block without transactions is not counted");
  propose(one, 0n, 2);
  propose(two, 0n, 1);
  propose(two, 1n, 3);
  propose(two, 2n, 1);
  propose(one, 2n, 1); // its totals restart: on the day before it did nothing
  const day = days / DAY_NS;
  const expected = [
    [day, `${named(one)} 2`, `${named(two)} 1`],
    [day + 1n, `${named(two)} 4`],
    // The proxy's call, which is two blocks, is counted up to the one that asks.
    [day + 2n, `${named(two)} 5`, `${named(one)} 1`],
  ];
  network.proposer = Uint8Array.of(3, 2);
  deepEqual(
    history(days).map((sample) => sample.slice(0, 3)),
    expected,
  );
  deepEqual(
    history(days + DAY_NS).map(([first]) => first),
    [day + 1n, day + 2n],
  );
  // Sixty days are kept.
  for (let later = 3n; later < 80n; later++) propose(one, later, 1);
  const kept = history(0n).map(([first]) => first);
  equal(kept.length, 60);
  equal(kept[0], day + 20n);
});
