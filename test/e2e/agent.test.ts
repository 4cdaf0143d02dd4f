// A client as anyone would write it, with the ICP's own agent library and all its checks on, against
// a node in another process: create, install, call, query, read state, delegate.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { resolve } from "node:path";
import { after, before, test } from "node:test";
import {
  AnonymousIdentity,
  Certificate,
  HttpAgent,
  type Identity,
  lookupResultToBuffer,
  LookupPathStatus,
  QueryResponseStatus,
  RejectError,
} from "@icp-sdk/core/agent";
import { IDL } from "@icp-sdk/core/candid";
import { DelegationChain, DelegationIdentity, Ed25519KeyIdentity } from "@icp-sdk/core/identity";
import { Secp256k1KeyIdentity } from "@icp-sdk/core/identity/secp256k1";
import { Principal } from "@icp-sdk/core/principal";
import { compileFile, type CompiledModule } from "gyrotron/node";
import { type RunningNode, startNode, temporaryFolder } from "./running-node.ts";

const MANAGEMENT = Principal.managementCanister();
const owner = Ed25519KeyIdentity.generate(new Uint8Array(32).fill(1));
const none = IDL.encode([], []);
let node: RunningNode;
let agent: HttpAgent;
let module: CompiledModule;
let canister: Principal;

before(async () => {
  const source = resolve(import.meta.dirname, "../../examples/counter/main.mo");
  [node, module] = await Promise.all([startNode(temporaryFolder()), compileFile(source)]);
  agent = await createAgent(owner);
  canister = await createAndInstall(agent);
});

after(() => node.stop());

test("an update is certified, and its certificate verifies under the root key alone", async () => {
  const { reply, rawCertificate, requestDetails } = await agent.update(canister, {
    methodName: "increment",
    arg: none,
  });
  const [value] = IDL.decode([IDL.Nat], reply);
  assert.equal(value, await counterValue(agent));
  assert.deepEqual(requestDetails?.sender, owner.getPrincipal());
  const certificate = await verify(rawCertificate);
  const time = lookupResultToBuffer(certificate.lookup_path(["time"]));
  assert.ok(time !== undefined && time.length >= 8);
});

test("a certificate that was changed does not verify", async () => {
  const { rawCertificate } = await agent.update(canister, { methodName: "increment", arg: none });
  for (const index of [rawCertificate.length - 20, Math.floor(rawCertificate.length / 2)]) {
    const changed = rawCertificate.slice();
    changed[index] = (changed[index] ?? 0) ^ 1;
    await assert.rejects(verify(changed));
  }
});

test("a query is signed by the node, and the signature is checked", async () => {
  const answer = await agent.query(canister, { methodName: "get", arg: none });
  assert.equal(answer.status, QueryResponseStatus.Replied);
  assert.equal(answer.signatures?.length, 1);
  const keys = await agent.fetchSubnetKeys({ canisterId: canister });
  assert.equal(keys.size, 1);
});

test("a trap is a certified rejection with its text, and changes nothing", async () => {
  const valueBefore = await counterValue(agent);
  await assert.rejects(agent.update(canister, { methodName: "fail", arg: none }), (error) => {
    assert.ok(error instanceof RejectError, String(error));
    assert.equal(error.isCertified, true);
    assert.match(error.message, /this method always fails/);
    return true;
  });
  assert.equal(await counterValue(agent), valueBefore);
});

test("the state tree certifies code, controllers, interface and what is absent", async () => {
  const id = canister.toUint8Array();
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
  const path = (...labels: (string | Uint8Array)[]): Uint8Array[] =>
    ["canister", id, ...labels].map((label) => (typeof label === "string" ? bytes(label) : label));
  const paths = [
    path("module_hash"),
    path("controllers"),
    path("metadata", "candid:service"),
    path("metadata", "no such section"),
  ];
  const { certificate: encoded } = await agent.readState({ canisterId: canister }, { paths });
  const certificate = await verify(encoded);
  const lookUp = (index: number) => certificate.lookup_path(paths[index] ?? []);
  const moduleHash = createHash("sha256").update(module.wasm).digest();
  assert.deepEqual(lookupResultToBuffer(lookUp(0)), new Uint8Array(moduleHash));
  assert.ok(
    Buffer.from(lookupResultToBuffer(lookUp(1)) ?? []).includes(
      owner.getPrincipal().toUint8Array(),
    ),
  );
  assert.equal(new TextDecoder().decode(lookupResultToBuffer(lookUp(2))), module.candid);
  assert.equal(lookUp(3).status, LookupPathStatus.Absent);
});

test("a private section is for controllers only", async () => {
  const stranger = await createAgent(Ed25519KeyIdentity.generate());
  const labels = ["canister", canister.toUint8Array(), "metadata", "motoko:stable-types"];
  const paths = [
    labels.map((label) => (typeof label === "string" ? new TextEncoder().encode(label) : label)),
  ];
  await agent.readState({ canisterId: canister }, { paths });
  await assert.rejects(
    stranger.readState({ canisterId: canister }, { paths }),
    /can only be requested by the controllers/,
  );
});

test("only controllers install code", async () => {
  const stranger = await createAgent(Ed25519KeyIdentity.generate());
  await assert.rejects(
    install(stranger, canister, module.wasm, "reinstall"),
    /Only controllers of canister/,
  );
});

for (const [name, identity] of [
  ["Ed25519", Ed25519KeyIdentity.generate()],
  ["secp256k1", Secp256k1KeyIdentity.generate()],
  ["nobody", new AnonymousIdentity()],
] as const) {
  test(`${name} signs calls and queries`, async () => {
    const other = await createAgent(identity);
    const { reply } = await other.update(canister, {
      methodName: "greet",
      arg: IDL.encode([IDL.Text], [name]),
    });
    assert.match(String(IDL.decode([IDL.Text], reply)[0]), new RegExp(`^Hello, ${name}!`));
    assert.equal(typeof (await counterValue(other)), "bigint");
  });
}

test("a delegation lets a session key sign, within its targets and until it ends", async () => {
  const session = Secp256k1KeyIdentity.generate();
  const inHours = (hours: number): Date => new Date(Date.now() + hours * 3_600_000);
  const key = session.getPublicKey();
  const open = await DelegationChain.create(owner, key, inHours(1));
  const right = await DelegationChain.create(owner, key, inHours(1), { targets: [canister] });
  const wrong = await DelegationChain.create(owner, key, inHours(1), {
    targets: [Principal.fromText("aaaaa-aa")],
  });
  const ended = await DelegationChain.create(owner, key, inHours(-1));
  const forged = DelegationChain.fromDelegations(
    (await DelegationChain.create(Ed25519KeyIdentity.generate(), key, inHours(1))).delegations,
    owner.getPublicKey().toDer(),
  );
  for (const chain of [open, right]) {
    const delegate = await createAgent(DelegationIdentity.fromDelegation(session, chain));
    assert.deepEqual(await delegate.getPrincipal(), owner.getPrincipal());
    const { reply } = await delegate.update(canister, { methodName: "increment", arg: none });
    assert.equal(IDL.decode([IDL.Nat], reply)[0], await counterValue(delegate));
  }
  const valueBefore = await counterValue(agent);
  for (const [chain, text] of [
    [wrong, /is not one of the delegation targets/],
    [ended, /delegation has expired|Invalid delegation/],
    [forged, /Invalid delegation/],
  ] as const) {
    const delegate = await createAgent(DelegationIdentity.fromDelegation(session, chain));
    await assert.rejects(delegate.update(canister, { methodName: "increment", arg: none }), text);
  }
  assert.equal(await counterValue(agent), valueBefore);
});

test("an asynchronous call is answered by polling the state", async () => {
  const { reply } = await agent.update(canister, {
    methodName: "increment",
    arg: none,
    callSync: false,
  });
  assert.equal(IDL.decode([IDL.Nat], reply)[0], await counterValue(agent));
});

test("an invalid module, a wrong argument and a missing method leave everything as it was", async () => {
  const valueBefore = await counterValue(agent);
  const junk = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 200, 1, 2, 3);
  await assert.rejects(install(agent, canister, junk, "reinstall"), /Wasm module is not valid/);
  const wrong = IDL.encode([IDL.Nat], [1n]);
  await assert.rejects(agent.update(canister, { methodName: "greet", arg: wrong }), RejectError);
  await assert.rejects(agent.update(canister, { methodName: "nowhere", arg: none }), /nowhere/);
  assert.equal(await counterValue(agent), valueBefore);
});

test("an upgrade keeps the heap", async () => {
  const valueBefore = await counterValue(agent);
  assert.ok(module.keepsHeap);
  await install(agent, canister, module.wasm, "upgrade");
  assert.equal(await counterValue(agent), valueBefore);
});

test("a node under another root key is not believed", async () => {
  const rootKey = new Uint8Array(agent.rootKey ?? []);
  rootKey[100] = (rootKey[100] ?? 0) ^ 1;
  const deceived = await HttpAgent.create({
    host: node.url,
    identity: owner,
    rootKey,
    retryTimes: 0,
  });
  await assert.rejects(deceived.update(canister, { methodName: "increment", arg: none }));
});

function createAgent(identity: Identity): Promise<HttpAgent> {
  const options = {
    host: node.url,
    identity,
    shouldFetchRootKey: true,
    verifyQuerySignatures: true,
  };
  return HttpAgent.create({ ...options, retryTimes: 0 });
}

function verify(certificate: Uint8Array): Promise<Certificate> {
  const rootKey = agent.rootKey as Uint8Array;
  return Certificate.create({ certificate, rootKey, principal: { canisterId: canister } });
}

async function counterValue(client: HttpAgent): Promise<bigint> {
  const answer = await client.query(canister, { methodName: "get", arg: none });
  assert.equal(answer.status, QueryResponseStatus.Replied);
  return IDL.decode([IDL.Nat], answer.reply.arg)[0] as unknown as bigint;
}

async function createAndInstall(client: HttpAgent): Promise<Principal> {
  const argument = IDL.encode([IDL.Record({ amount: IDL.Opt(IDL.Nat) })], [{ amount: [] }]);
  const methodName = "provisional_create_canister_with_cycles";
  const { reply } = await client.update(MANAGEMENT, { methodName, arg: argument });
  const [created] = IDL.decode([IDL.Record({ canister_id: IDL.Principal })], reply) as unknown as [
    { canister_id: Principal },
  ];
  await install(client, created.canister_id, module.wasm, "install");
  return created.canister_id;
}

async function install(
  client: HttpAgent,
  target: Principal,
  wasm: Uint8Array,
  mode: "install" | "reinstall" | "upgrade",
): Promise<void> {
  const keep = IDL.Record({
    wasm_memory_persistence: IDL.Opt(IDL.Variant({ keep: IDL.Null, replace: IDL.Null })),
  });
  const type = IDL.Record({
    mode: IDL.Variant({ install: IDL.Null, reinstall: IDL.Null, upgrade: IDL.Opt(keep) }),
    canister_id: IDL.Principal,
    wasm_module: IDL.Vec(IDL.Nat8),
    arg: IDL.Vec(IDL.Nat8),
  });
  const value =
    mode === "upgrade"
      ? { upgrade: [{ wasm_memory_persistence: [{ keep: null }] }] }
      : { [mode]: null };
  const arg = IDL.encode(
    [type],
    [{ mode: value, canister_id: target, wasm_module: wasm, arg: none }],
  );
  await client.update(MANAGEMENT, {
    methodName: "install_code",
    arg,
    effectiveTarget: { canisterId: target },
  });
}
