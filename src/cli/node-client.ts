// The command line as a client of a running node: the same agent and the same checks as any other
// client (certificates and query signatures are verified).

import { type HttpAgent as Agent, HttpAgent, QueryResponseStatus } from "@icp-sdk/core/agent";
import { Principal } from "@icp-sdk/core/principal";
import { CliError } from "./cli-error.ts";
import { Deployments } from "./deployments.ts";
import { DEFAULT_DATA, type Flags, formatUrl, readAddress } from "./flags.ts";
import { loadIdentity } from "./identity.ts";

/** A connection to a node and the names in its data folder. */
export interface NodeClient {
  readonly agent: Agent;
  readonly url: string;
  readonly deployments: Deployments;
}

/** Connects as the flags say. @throws CliError `cli/node-not-running` */
export async function connect(flags: Flags, usage: string): Promise<NodeClient> {
  const { host, port } = readAddress(flags, usage);
  const url = formatUrl(host, port);
  const identity = loadIdentity(flags.text("identity"));
  const deployments = new Deployments(flags.text("data") ?? DEFAULT_DATA);
  return { agent: await createAgent(url, identity), url, deployments };
}

/** An agent that trusts the root key of the node at `url`. @throws CliError `cli/node-not-running` */
export async function createAgent(
  url: string,
  identity: ReturnType<typeof loadIdentity>,
): Promise<Agent> {
  await assertReachable(url);
  return HttpAgent.create({ host: url, identity, shouldFetchRootKey: true, retryTimes: 0 });
}

/** A canister by name or id. @throws CliError `cli/unknown-canister` */
export function findCanister(client: NodeClient, name: string): Principal {
  const deployment = client.deployments.get(name);
  try {
    return Principal.fromText(deployment?.id ?? name);
  } catch (error) {
    const known = client.deployments.names();
    throw new CliError({ code: "cli/unknown-canister", name, known }, { cause: error });
  }
}

/** Sends an update call and waits for its certified reply. @throws AgentError */
export async function callCanister(
  agent: Agent,
  canister: Principal,
  call: { method: string; argument: Uint8Array; effectiveCanister?: Principal },
): Promise<Uint8Array> {
  const { reply } = await agent.update(canister, {
    methodName: call.method,
    arg: call.argument,
    effectiveTarget: { canisterId: call.effectiveCanister ?? canister },
  });
  return reply;
}

/** Sends a query whose signature the agent checks. @throws CliError `cli/rejected`, AgentError */
export async function queryCanister(
  agent: Agent,
  canister: Principal,
  query: { method: string; argument: Uint8Array; effectiveCanister?: Principal },
): Promise<Uint8Array> {
  const answer = await agent.query(canister, {
    methodName: query.method,
    arg: query.argument,
    effectiveTarget: { canisterId: query.effectiveCanister ?? canister },
  });
  if (answer.status === QueryResponseStatus.Replied) return answer.reply.arg;
  throw new CliError({
    code: "cli/rejected",
    action: "the query",
    rejectCode: answer.reject_code,
    errorCode: answer.error_code,
    message: answer.reject_message,
  });
}

async function assertReachable(url: string): Promise<void> {
  let status: number;
  try {
    const response = await fetch(`${url}/api/v2/status`);
    await response.arrayBuffer();
    status = response.status;
  } catch (error) {
    throw new CliError({ code: "cli/node-not-running", url }, { cause: error });
  }
  if (status !== 200) {
    const message = "it may still be starting";
    throw new CliError({ code: "cli/node-refused", status, message });
  }
}
