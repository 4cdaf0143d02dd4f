// Goal: what only canisters may ask of the management canister, and what is read back of a canister.
// Method: a proxy canister that forwards method, cycles and argument, and passes on what comes back.

import { deepEqual, equal, match, notDeepEqual, ok } from "node:assert/strict";
import { test } from "node:test";
import { concatBytes, utf8Bytes } from "gyrotron/base";
import { decodeCandid, encodeCandid, IDL, toIdlPrincipal } from "gyrotron/candid";
import { MANAGEMENT_CANISTER, sha256 } from "gyrotron/crypto";
import { ONLY_ID, ReplicaHarness, wat } from "./harness.ts";
import { forward, PROXY } from "./proxy.ts";

const TRILLION = 1_000_000_000_000n;

const onlyId = (id: Uint8Array): Uint8Array =>
  encodeCandid([ONLY_ID], [{ canister_id: toIdlPrincipal(id) }]);
const textOf = (bytes: Uint8Array): string => String.fromCharCode(...bytes);

const WITH_ID = IDL.Record({ canister_id: IDL.Principal });
const CREATE = IDL.Record({ settings: IDL.Opt(IDL.Record({})) });
const CREATE_ARGUMENT = encodeCandid([CREATE], [{ settings: [] }]);

test("create_canister: the fee comes from the attached cycles, the creator controls", () => {
  const network = new ReplicaHarness();
  const proxy = network.install(PROXY);
  const poor = forward(network, proxy, "create_canister", CREATE_ARGUMENT, TRILLION / 10n);
  match(textOf(poor), /IC0403.*requires a fee of 500_?000_?000_?000/);
  const reply = forward(network, proxy, "create_canister", CREATE_ARGUMENT, 2n * TRILLION);
  const [{ canister_id }] = decodeCandid([WITH_ID], reply) as [
    { canister_id: { toUint8Array(): Uint8Array } },
  ];
  const created = network.canister(canister_id.toUint8Array());
  deepEqual(created.settings.controllers, [proxy]);
  ok(created.cycles <= 2n * TRILLION - TRILLION / 2n && created.cycles > TRILLION);
});

test("deposit_cycles: the attached cycles arrive, on a canister of anyone", () => {
  const network = new ReplicaHarness();
  const proxy = network.install(PROXY);
  const other = network.create(3n * TRILLION);
  const before = network.worthOf(other);
  forward(network, proxy, "deposit_cycles", onlyId(other), TRILLION);
  equal(network.worthOf(other) - before, TRILLION);
  match(
    textOf(forward(network, proxy, "deposit_cycles", onlyId(Uint8Array.of(9, 1, 1)))),
    /IC0301/,
  );
});

test("raw_rand: 32 bytes, from the randomness of a later block, new each time", () => {
  const network = new ReplicaHarness();
  const proxy = network.install(PROXY);
  const draw = (): Uint8Array => {
    const reply = forward(network, proxy, "raw_rand", encodeCandid([], []));
    return Uint8Array.from(decodeCandid([IDL.Vec(IDL.Nat8)], reply)[0] as Uint8Array);
  };
  const [first, second] = [draw(), draw()];
  deepEqual([first.length, second.length], [32, 32]);
  notDeepEqual(first, second);
});

test("canister_metadata: public sections for all, private ones for controllers, or a reject", () => {
  const network = new ReplicaHarness();
  const proxy = network.install(PROXY);
  const section = (name: string, content: string): Uint8Array => {
    const body = concatBytes(Uint8Array.of(name.length), utf8Bytes(name), utf8Bytes(content));
    return concatBytes(Uint8Array.of(0, body.length), body);
  };
  const other = network.install(
    concatBytes(
      wat("(module)"),
      section("icp:public greeting", "good day"),
      section("icp:private secret", "hush"),
    ),
  );
  const type = IDL.Record({ canister_id: IDL.Principal, name: IDL.Text });
  const read = (name: string): Uint8Array => {
    const argument = encodeCandid([type], [{ canister_id: toIdlPrincipal(other), name }]);
    return forward(network, proxy, "canister_metadata", argument);
  };
  const [{ value }] = decodeCandid(
    [IDL.Record({ value: IDL.Vec(IDL.Nat8) })],
    read("greeting"),
  ) as [{ value: Uint8Array }];
  equal(textOf(value), "good day");
  match(textOf(read("secret")), /The caller is not authorized/);
  match(textOf(read("nothing")), /no metadata section with the name nothing/);
});

test("stored_chunks lists what upload_chunk stored, clear_chunk_store forgets it", () => {
  const network = new ReplicaHarness();
  const id = network.create();
  const upload = IDL.Record({ canister_id: IDL.Principal, chunk: IDL.Vec(IDL.Nat8) });
  const chunks = [Uint8Array.of(1, 2, 3), Uint8Array.of(4)];
  for (const chunk of chunks) {
    network.manage("upload_chunk", upload, { canister_id: toIdlPrincipal(id), chunk });
  }
  const stored = (): string[] => {
    const status = network.call(MANAGEMENT_CANISTER, "stored_chunks", onlyId(id));
    ok(status.kind === "replied");
    const type = IDL.Vec(IDL.Record({ hash: IDL.Vec(IDL.Nat8) }));
    const [list] = decodeCandid([type], status.reply) as [{ hash: Uint8Array }[]];
    return list.map(({ hash }) => Uint8Array.from(hash).toHex());
  };
  const hashes = chunks.map((chunk) => sha256(chunk).toHex());
  deepEqual(new Set(stored()), new Set(hashes));
  equal(network.call(MANAGEMENT_CANISTER, "clear_chunk_store", onlyId(id)).kind, "replied");
  deepEqual(stored(), []);
});

test("fetch_canister_logs: a controller's query shows what was printed, with its time", () => {
  const network = new ReplicaHarness();
  const proxy = network.install(PROXY);
  network.call(proxy, "say");
  const printedAt = network.timeNs;
  const result = network.query(MANAGEMENT_CANISTER, "fetch_canister_logs", onlyId(proxy));
  ok(result.kind === "replied", JSON.stringify(result));
  const entry = IDL.Record({
    idx: IDL.Nat64,
    timestamp_nanos: IDL.Nat64,
    content: IDL.Vec(IDL.Nat8),
  });
  const type = IDL.Record({ canister_log_records: IDL.Vec(entry) });
  const [{ canister_log_records: log }] = decodeCandid([type], result.reply) as [
    { canister_log_records: { timestamp_nanos: bigint; content: Uint8Array }[] },
  ];
  equal(log.length, 1);
  equal(textOf(log[0]!.content), "hello log");
  ok(log[0]!.timestamp_nanos <= printedAt && log[0]!.timestamp_nanos > printedAt - 60_000_000_000n);
});

test("provisional_create_canister_with_cycles: amount, and a specified id below the users' range", () => {
  const network = new ReplicaHarness();
  const type = IDL.Record({ amount: IDL.Opt(IDL.Nat), specified_id: IDL.Opt(IDL.Principal) });
  const wanted = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 77, 1, 1);
  const create = (): ReturnType<ReplicaHarness["manage"]> =>
    network.manage("provisional_create_canister_with_cycles", type, {
      amount: [5n * TRILLION],
      specified_id: [toIdlPrincipal(wanted)],
    });
  equal(create().kind, "replied");
  equal(network.worthOf(wanted), 5n * TRILLION);
  const again = create();
  ok(again.kind === "rejected");
  equal(again.errorCode, "IC0205");
  equal(network.create().at(0), 0x80);
});
