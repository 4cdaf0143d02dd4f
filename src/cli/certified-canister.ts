// What the network certifies about a canister without running it: its code's hash and its Candid
// interface, read from the state tree with the certificate checked.

import { Certificate, type HttpAgent, LookupPathStatus } from "@icp-sdk/core/agent";
import type { Principal } from "@icp-sdk/core/principal";
import { present, utf8Bytes, utf8TextLossy } from "gyrotron/base";

/** SHA-256 of the installed module; undefined if the canister is empty or does not exist. */
export async function readModuleHash(
  agent: HttpAgent,
  canister: Principal,
): Promise<Uint8Array | undefined> {
  return readPath(agent, canister, ["module_hash"]);
}

/** Whether the canister exists. */
export async function canisterExists(agent: HttpAgent, canister: Principal): Promise<boolean> {
  return (await readPath(agent, canister, ["controllers"])) !== undefined;
}

/** Its Candid interface; undefined if it publishes none. */
export async function readInterfaceText(
  agent: HttpAgent,
  canister: Principal,
): Promise<string | undefined> {
  const bytes = await readPath(agent, canister, ["metadata", "candid:service"]);
  return bytes === undefined ? undefined : utf8TextLossy(bytes);
}

async function readPath(
  agent: HttpAgent,
  canister: Principal,
  labels: readonly string[],
): Promise<Uint8Array | undefined> {
  const id = canister.toUint8Array();
  const path = [utf8Bytes("canister"), id, ...labels.map((label) => utf8Bytes(label))];
  const { certificate: encoded } = await agent.readState(
    { canisterId: canister },
    { paths: [path] },
  );
  const certificate = await Certificate.create({
    certificate: encoded,
    rootKey: present(agent.rootKey, "the agent has fetched the root key"),
    principal: { canisterId: canister },
    agent,
  });
  const found = certificate.lookup_path(path);
  return found.status === LookupPathStatus.Found ? found.value : undefined;
}
