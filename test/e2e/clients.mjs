// Two generations of the ICP's JavaScript clients against a node, from a folder of their own with
// their own installs, without a shim and with all checks on.
//
//   node clients.mjs FOLDER_WITH_NODE_MODULES URL MODULE.wasm
//
// The module is examples/counter. Prints one line for each client; any failure ends it with 1.

import { strictEqual } from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import process from "node:process";

const [folder, host, modulePath] = process.argv.slice(2);
const load = createRequire(join(folder, "package.json"));
const wasm = new Uint8Array(readFileSync(modulePath));

const CLIENTS = [
  [
    "@icp-sdk/core",
    "@icp-sdk/core/agent",
    "@icp-sdk/core/candid",
    "@icp-sdk/core/identity",
    "@icp-sdk/core/principal",
  ],
  [
    "@dfinity/agent",
    "@dfinity/agent",
    "@dfinity/candid",
    "@dfinity/identity",
    "@dfinity/principal",
  ],
];

for (const [name, agentName, candidName, identityName, principalName] of CLIENTS) {
  const agent = load(agentName);
  const { IDL } = load(candidName);
  const { DelegationChain, DelegationIdentity, Ed25519KeyIdentity } = load(identityName);
  const { Principal } = load(principalName);
  const version = JSON.parse(
    readFileSync(join(folder, "node_modules", name, "package.json"), "utf8"),
  ).version;
  await tryClient({
    ...agent,
    IDL,
    DelegationChain,
    DelegationIdentity,
    Ed25519KeyIdentity,
    Principal,
  });
  console.log(`${name} ${version}: created, installed, called, queried, read and verified`);
}

async function tryClient(library) {
  const {
    Actor,
    CanisterStatus,
    DelegationChain,
    DelegationIdentity,
    Ed25519KeyIdentity,
    HttpAgent,
    Principal,
  } = library;
  const owner = Ed25519KeyIdentity.generate();
  const agent = await HttpAgent.create({
    host,
    identity: owner,
    shouldFetchRootKey: true,
    verifyQuerySignatures: true,
  });
  const canisterId = await createCanister(library, agent);
  await installCode(library, agent, canisterId);
  const counter = ({ IDL }) =>
    IDL.Service({
      increment: IDL.Func([], [IDL.Nat], []),
      get: IDL.Func([], [IDL.Nat], ["query"]),
      greet: IDL.Func([IDL.Text], [IDL.Text], []),
      fail: IDL.Func([], [], []),
    });
  const actor = Actor.createActor(counter, { agent, canisterId });
  strictEqual(await actor.increment(), 1n);
  strictEqual(await actor.get(), 1n);
  strictEqual(await actor.greet("client"), "Hello, client! The counter stands at 1.");
  const failure = await actor.fail().then(
    () => "it did not fail",
    (error) => String(error.message),
  );
  if (!failure.includes("this method always fails")) throw new Error(failure);
  const session = Ed25519KeyIdentity.generate();
  const chain = await DelegationChain.create(
    owner,
    session.getPublicKey(),
    new Date(Date.now() + 3_600_000),
    {
      targets: [Principal.from(canisterId)],
    },
  );
  agent.replaceIdentity(DelegationIdentity.fromDelegation(session, chain));
  strictEqual(await actor.increment(), 2n);
  strictEqual(await actor.get(), 2n);
  agent.replaceIdentity(owner);
  const status = await CanisterStatus.request({
    agent,
    canisterId,
    paths: ["time", "controllers", "module_hash", "candid", "subnet"],
  });
  strictEqual(status.get("controllers")[0].toText(), owner.getPrincipal().toText());
  strictEqual(status.get("candid").includes("increment"), true);
  strictEqual(status.get("subnet").nodeKeys.size, 1);
}

async function createCanister({ IDL, Principal }, agent) {
  const argument = IDL.encode([IDL.Record({ amount: IDL.Opt(IDL.Nat) })], [{ amount: [] }]);
  const reply = await manage(
    { Principal },
    agent,
    "provisional_create_canister_with_cycles",
    argument,
    "aaaaa-aa",
  );
  return IDL.decode([IDL.Record({ canister_id: IDL.Principal })], reply)[0].canister_id;
}

async function installCode({ IDL, Principal }, agent, canisterId) {
  const type = IDL.Record({
    mode: IDL.Variant({ install: IDL.Null, reinstall: IDL.Null, upgrade: IDL.Null }),
    canister_id: IDL.Principal,
    wasm_module: IDL.Vec(IDL.Nat8),
    arg: IDL.Vec(IDL.Nat8),
  });
  const value = {
    mode: { install: null },
    canister_id: canisterId,
    wasm_module: wasm,
    arg: IDL.encode([], []),
  };
  await manage({ Principal }, agent, "install_code", IDL.encode([type], [value]), canisterId);
}

/** Both generations have `call`; the answer is in the certificate, or has to be polled for. */
async function manage({ Principal }, agent, methodName, arg, effectiveCanisterId) {
  const management = Principal.fromText("aaaaa-aa");
  const library = "update" in agent ? undefined : load("@dfinity/agent");
  if (library === undefined) {
    return (await agent.update(management, { methodName, arg, effectiveCanisterId })).reply;
  }
  const { polling } = library;
  const target = Principal.from(effectiveCanisterId);
  const { requestId } = await agent.call(management, {
    methodName,
    arg,
    effectiveCanisterId: target,
  });
  const { reply } = await polling.pollForResponse(agent, target, requestId);
  return reply;
}
