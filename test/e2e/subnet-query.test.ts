// Goal: queries to the management canister, the subnet's metrics and snapshots work over HTTP. Method: an
// inline node behind the real server, raw requests where agents have none, the ICP's agent elsewhere.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { HttpAgent } from "@icp-sdk/core/agent";
import { IDL } from "@icp-sdk/core/candid";
import { Principal } from "@icp-sdk/core/principal";
import { decode } from "cborg";
import {
  type CborMap,
  decodeCbor,
  encodeSelfDescribedCbor,
  formatPrincipal,
  MANAGEMENT_CANISTER,
} from "gyrotron/crypto";
import {
  createInlineNode,
  HttpServer,
  installNodeCrypto,
  type NodeCore,
  nodeKeysFromEntropy,
  systemHost,
} from "gyrotron/node";
import { createReplica, decodeCertificate, lookupPath, treePath } from "gyrotron/replica";
import { counterWasm } from "../crash/canister-client.ts";
import {
  ANONYMOUS,
  callFields,
  createRawIdentity,
  type RawIdentity,
  signRequest,
} from "./envelope.ts";

const MANAGEMENT = Principal.managementCanister();
const blob = IDL.Vec(IDL.Nat8);
const ONLY_ID = IDL.Record({ canister_id: IDL.Principal });
const SNAPSHOT = IDL.Record({ id: blob, total_size: IDL.Nat64 });
let node: NodeCore;
let server: HttpServer;
let agent: HttpAgent;
let url: string;
let canister: Principal;

before(async () => {
  await installNodeCrypto();
  node = createInlineNode({
    keys: nodeKeysFromEntropy(new Uint8Array(80).fill(5)),
    host: systemHost,
    createReplica: (replicated) => createReplica({ replicated }),
    subnetAdmins: [ANONYMOUS],
  });
  server = await HttpServer.listen({ host: "127.0.0.1", port: 0 });
  server.attach(node);
  url = `http://127.0.0.1:${server.port}`;
  agent = await HttpAgent.create({ host: url, shouldFetchRootKey: true });
  const CREATE = IDL.Record({ amount: IDL.Opt(IDL.Nat) });
  const created = await manage("provisional_create_canister_with_cycles", CREATE, { amount: [] });
  canister = (IDL.decode([ONLY_ID], created)[0] as unknown as { canister_id: Principal })
    .canister_id;
  const INSTALL = IDL.Record({
    mode: IDL.Variant({ install: IDL.Null }),
    canister_id: IDL.Principal,
    wasm_module: blob,
    arg: blob,
  });
  const wasm_module = await counterWasm();
  const mode = { install: null };
  await manage("install_code", INSTALL, { mode, canister_id: canister, wasm_module, arg: [] });
});

after(async () => {
  await server.close();
  await node.close();
});

async function manage(method: string, type: IDL.Type, value: unknown): Promise<Uint8Array> {
  const { canister_id = MANAGEMENT } = value as { canister_id?: Principal };
  const { reply } = await agent.update(MANAGEMENT, {
    methodName: method,
    arg: IDL.encode([type], [value]),
    effectiveCanisterId: canister_id,
  });
  return reply;
}

const NOT_OURS = createRawIdentity(new Uint8Array(32).fill(8));

/** Sends a creation to the subnet's endpoint. */
async function createAtSubnet(
  methodName: string,
  identity?: RawIdentity,
): Promise<{ answer: CborMap; requestId: Uint8Array }> {
  const CREATE = IDL.Record({ settings: IDL.Opt(IDL.Record({})) });
  const argument = new Uint8Array(IDL.encode([CREATE], [{ settings: [] }]));
  const sender = identity?.sender ?? ANONYMOUS;
  const fields = callFields("call", sender, MANAGEMENT_CANISTER, methodName, argument);
  const { body, requestId } = signRequest(fields, identity);
  const response = await send(`/api/v4/subnet/${formatPrincipal(node.subnetId)}/call`, body);
  assert.equal(response.status, 200, await response.clone().text());
  return { answer: decodeCbor(new Uint8Array(await response.arrayBuffer())) as CborMap, requestId };
}

function send(path: string, body: Uint8Array): Promise<Response> {
  const headers = { "content-type": "application/cbor" };
  return fetch(`${url}${path}`, { method: "POST", headers, body: new Uint8Array(body) });
}

async function post(path: string, content: Record<string, unknown>): Promise<CborMap> {
  const expiry = BigInt(Date.now()) * 1_000_000n + 120_000_000_000n;
  const response = await fetch(`${url}${path}`, {
    method: "POST",
    headers: { "content-type": "application/cbor" },
    body: new Uint8Array(
      encodeSelfDescribedCbor({
        content: { sender: ANONYMOUS, ingress_expiry: expiry, ...content },
      } as Parameters<typeof encodeSelfDescribedCbor>[0]),
    ),
  });
  assert.equal(response.status, 200, await response.clone().text());
  return decodeCbor(new Uint8Array(await response.arrayBuffer())) as CborMap;
}

test("list_canisters at the subnet's endpoint", async () => {
  const answer = await post(`/api/v3/subnet/${formatPrincipal(node.subnetId)}/query`, {
    request_type: "query",
    canister_id: MANAGEMENT_CANISTER,
    method_name: "list_canisters",
    arg: new Uint8Array(IDL.encode([], [])),
  });
  assert.equal(answer.get("status"), "replied");
  const { arg } = Object.fromEntries(answer.get("reply") as CborMap);
  const LIST = IDL.Record({
    canisters: IDL.Vec(IDL.Record({ start: IDL.Principal, end: IDL.Principal })),
  });
  const [{ canisters }] = IDL.decode([LIST], arg as Uint8Array) as unknown as [
    { canisters: { start: Principal; end: Principal }[] },
  ];
  assert.deepEqual(
    canisters.map(({ start, end }) => [start.toText(), end.toText()]),
    [[canister.toText(), canister.toText()]],
  );
});

test("an administrator creates a canister at the subnet's endpoint, and reads there what became of it", async () => {
  const { answer, requestId } = await createAtSubnet("create_canister");
  assert.equal(answer.get("status"), "replied");
  const path = treePath("request_status", requestId);
  const read = await post(`/api/v3/subnet/${formatPrincipal(node.subnetId)}/read_state`, {
    request_type: "read_state",
    paths: [path],
  });
  for (const certificate of [answer.get("certificate"), read.get("certificate")]) {
    const { tree } = decodeCertificate(certificate as Uint8Array);
    const reply = lookupPath(tree, [...path, ...treePath("reply")]);
    assert.ok(reply.kind === "found");
    const [created] = IDL.decode([ONLY_ID], reply.value) as unknown as [{ canister_id: Principal }];
    assert.notEqual(created.canister_id.toText(), canister.toText());
  }
});

test("nobody else creates at the subnet's endpoint, and nothing else is called there", async () => {
  for (const method of ["create_canister", "provisional_create_canister_with_cycles"]) {
    const { answer } = await createAtSubnet(method, NOT_OURS);
    assert.equal(answer.get("status"), "non_replicated_rejection");
    assert.equal(answer.get("error_code"), "IC0410");
  }
  const argument = new Uint8Array(IDL.encode([ONLY_ID], [{ canister_id: canister }]));
  const subnet = `/api/v4/subnet/${formatPrincipal(node.subnetId)}`;
  for (const [target, method] of [
    [MANAGEMENT_CANISTER, "stop_canister"],
    [canister.toUint8Array(), "create_canister"],
  ] as const) {
    const fields = callFields("call", ANONYMOUS, target, method, argument);
    const response = await send(`${subnet}/call`, signRequest(fields, undefined).body);
    assert.equal(response.status, 400);
    assert.match(await response.text(), /^Only create_canister and provisional_create/);
  }
  const fields = callFields("query", ANONYMOUS, MANAGEMENT_CANISTER, "canister_status", argument);
  const query = await send(
    subnet.replace("v4", "v3") + "/query",
    signRequest(fields, undefined).body,
  );
  assert.equal(query.status, 400);
  assert.match(await query.text(), /^Only list_canisters /);
});

test("canister_status as a query of the agent, node signature checked", async () => {
  const answer = await agent.query(MANAGEMENT, {
    methodName: "canister_status",
    arg: IDL.encode([ONLY_ID], [{ canister_id: canister }]),
    effectiveCanisterId: canister,
  });
  assert.ok("reply" in answer, "reject_message" in answer ? answer.reject_message : "");
  const STATUS = IDL.Record({ module_hash: IDL.Opt(blob), cycles: IDL.Nat });
  const [status] = IDL.decode([STATUS], answer.reply.arg) as unknown as [
    { module_hash: [Uint8Array]; cycles: bigint },
  ];
  assert.equal(status.module_hash[0].length, 32);
});

test("the subnet's metrics are certified at its endpoint", async () => {
  const path = treePath("subnet", node.subnetId, "metrics");
  const answer = await post(`/api/v3/subnet/${formatPrincipal(node.subnetId)}/read_state`, {
    request_type: "read_state",
    paths: [path],
  });
  const { tree } = decodeCertificate(answer.get("certificate") as Uint8Array);
  const found = lookupPath(tree, path);
  assert.ok(found.kind === "found");
  // Cycles are a map with numbers as keys, which requests never have: cborg reads them.
  const metrics = decode(found.value, { useMaps: true }) as Map<string, unknown>;
  assert.equal(metrics.get("num_canisters"), 2);
  assert.ok(Number(metrics.get("canister_state_bytes")) > 0);
});

test("a snapshot is taken, listed and loaded by an agent's calls", async () => {
  const TAKE = IDL.Record({ canister_id: IDL.Principal, replace_snapshot: IDL.Opt(blob) });
  const argument = { canister_id: canister, replace_snapshot: [] };
  const [taken] = IDL.decode(
    [SNAPSHOT],
    await manage("take_canister_snapshot", TAKE, argument),
  ) as unknown as [{ id: Uint8Array }];
  const count = async (): Promise<number> => {
    const { reply } = await agent.update(canister, { methodName: "increment", arg: none });
    return reply[0]!;
  };
  const none = new Uint8Array();
  const before = await count();
  const LOAD = IDL.Record({ canister_id: IDL.Principal, snapshot_id: blob });
  await manage("load_canister_snapshot", LOAD, { canister_id: canister, snapshot_id: taken.id });
  assert.equal(await count(), before, "counted from the snapshot again");
  const listed = await manage("list_canister_snapshots", ONLY_ID, { canister_id: canister });
  assert.equal((IDL.decode([IDL.Vec(SNAPSHOT)], listed)[0] as unknown[]).length, 1);
});
