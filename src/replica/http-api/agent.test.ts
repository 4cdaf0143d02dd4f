// Goal: the clients' own agent, with all its checks on, accepts what this area encodes. Method: an
// HttpAgent whose fetch is a tiny node made only of this area's functions (routes, envelopes,
// authorisation, certificates, replies) and a canister that answers with its argument.

import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { test } from "node:test";
import {
  AnonymousIdentity,
  CanisterStatus,
  HttpAgent,
  type Identity,
  polling,
} from "@icp-sdk/core/agent";
import {
  DelegationChain,
  DelegationIdentity,
  ECDSAKeyIdentity,
  Ed25519KeyIdentity,
} from "@icp-sdk/core/identity";
import { Secp256k1KeyIdentity } from "@icp-sdk/core/identity/secp256k1";
import { Principal } from "@icp-sdk/core/principal";
import { utf8Bytes } from "gyrotron/base";
import {
  blsPublicKeyDer,
  blsSecretKeyFromUniform,
  canisterIdFromU64,
  ed25519PublicKeyDer,
  selfAuthenticating,
  signBls,
  signEd25519,
} from "gyrotron/crypto";
import { CertifiedTree, certificateMessage, encodeCertificate } from "../certification/index.ts";
import type { QueryResult } from "../contract.ts";
import {
  authorizeReadState,
  callReplyPaths,
  decodeEnvelope,
  encodeCallReply,
  encodeCallRejectionV2,
  encodeNonReplicatedRejection,
  encodeQueryReply,
  encodeReadStateReply,
  encodeStatusReply,
  parseApiRoute,
  querySignaturePayload,
  type Refusal,
  type RequestOwner,
  validateEnvelope,
} from "./index.ts";

const secretKey = blsSecretKeyFromUniform(new Uint8Array(48).fill(7));
const rootKey = blsPublicKeyDer(secretKey);
const subnetId = selfAuthenticating(rootKey);
const nodeSeed = new Uint8Array(32).fill(1);
const nodeKey = ed25519PublicKeyDer(nodeSeed);
const nodeId = selfAuthenticating(nodeKey);
const canisterId = canisterIdFromU64(0x8000_0000_0000_0000n);
const controller = selfAuthenticating(Uint8Array.of(1));
const canister = Principal.fromUint8Array(canisterId);

interface Answer {
  status: number;
  body: Uint8Array | string;
}

/** The node: state is the certified tree and who sent what. */
class EchoNode {
  readonly tree = new CertifiedTree();
  readonly owners = new Map<string, RequestOwner>();
  readonly seen: string[] = [];
  /** Answers calls with 202 and no body, so that the agent polls. */
  isSlow = false;

  constructor() {
    const ranges = [[canisterIdFromU64(0n), canisterIdFromU64(2n ** 64n - 1n)]] as const;
    const nodes = [{ id: nodeId, publicKeyDer: nodeKey }];
    const metadata = [
      { name: "candid:service", visibility: "public" as const, content: utf8Bytes("service : {}") },
    ];
    const info = {
      controllers: [controller],
      moduleHash: new Uint8Array(32).fill(5),
      createdNs: 1n,
      installedNs: 2n,
      metadata,
    };
    this.tree.apply([
      {
        kind: "subnet",
        id: subnetId,
        info: { publicKeyDer: rootKey, type: "system", canisterRanges: ranges, nodes },
      },
      { kind: "canister", id: canisterId, info },
    ]);
  }

  readonly fetch = async (url: string | URL, init?: RequestInit): Promise<Response> => {
    const { pathname } = new URL(String(url));
    const body = new Uint8Array(await new Response(init?.body ?? null).arrayBuffer());
    const answer = this.answer(init?.method ?? "GET", pathname, body);
    this.seen.push(`${pathname.split("/")[2]} ${pathname.split("/").at(-1)} ${answer.status}`);
    return new Response(
      typeof answer.body === "string" ? answer.body : Uint8Array.from(answer.body),
      { status: answer.status },
    );
  };

  answer(method: string, pathname: string, body: Uint8Array): Answer {
    const route = parseApiRoute(method, pathname);
    if (route === undefined) return { status: 404, body: "not found" };
    if (!route.ok) return refused(route);
    const nowNs = BigInt(Date.now()) * 1_000_000n;
    if (route.kind === "status") {
      const status = {
        rootKeyDer: rootKey,
        implVersion: "test",
        implHash: "",
        healthStatus: "healthy" as const,
        certifiedHeight: 1n,
      };
      return { status: 200, body: encodeStatusReply(status) };
    }
    const { endpoint, kind, version } = route;
    if (kind === "read_state") return this.#readState(body, endpoint, version, nowNs);
    const envelope = decodeEnvelope(body, kind);
    if (!envelope.ok) return refused(envelope);
    const request = validateEnvelope(envelope, {
      nowNs,
      rootKeyDer: rootKey,
      urlCanisterId: endpoint.id,
    });
    if (!request.ok) return refused(request);
    const { content, requestId, sender } = request;
    const result = echo(content.methodName, content.argument);
    if (kind === "query") {
      const signature = signEd25519(nodeSeed, querySignaturePayload(result, requestId, nowNs));
      return {
        status: 200,
        body: encodeQueryReply(result, { timestampNs: nowNs, signature, nodeId }),
      };
    }
    if (content.methodName === "refused" && result.kind === "rejected") {
      return {
        status: 200,
        body: version === 2 ? encodeCallRejectionV2(result) : encodeNonReplicatedRejection(result),
      };
    }
    this.owners.set(requestId.toHex(), { sender, canisterId, effectiveCanisterId: endpoint.id });
    const status = result.kind === "replied" ? result : { ...result, kind: "rejected" as const };
    this.tree.apply([{ kind: "request", id: requestId, status }]);
    if (version === 2 || this.isSlow) return { status: 202, body: "" };
    return {
      status: 200,
      body: encodeCallReply(this.#certificate(callReplyPaths(requestId), nowNs)),
    };
  }

  #readState(
    body: Uint8Array,
    endpoint: { kind: "canister" | "subnet"; id: Uint8Array },
    version: 2 | 3,
    nowNs: bigint,
  ): Answer {
    const envelope = decodeEnvelope(body, "read_state");
    if (!envelope.ok) return refused(envelope);
    const request = validateEnvelope(envelope, { nowNs, rootKeyDer: rootKey });
    if (!request.ok) return refused(request);
    const granted = authorizeReadState(request.content.paths, {
      sender: request.sender,
      targets: request.authenticated.targets,
      endpoint,
      version,
      rootSubnetId: subnetId,
      subnetIds: [subnetId],
      request: (id) => this.owners.get(id.toHex()),
      canister: () => ({ controllers: [controller], metadata: [] }),
    });
    if (!granted.ok) return refused(granted);
    return { status: 200, body: encodeReadStateReply(this.#certificate(granted.paths, nowNs)) };
  }

  #certificate(paths: Uint8Array[][], nowNs: bigint): Uint8Array {
    const root = this.tree.root(nowNs, new Uint8Array(32));
    return encodeCertificate(
      this.tree.witness(paths),
      signBls(secretKey, certificateMessage(root)),
    );
  }
}

function echo(methodName: string, argument: Uint8Array): QueryResult {
  if (methodName === "echo") return { kind: "replied", reply: argument };
  return {
    kind: "rejected",
    rejectCode: 4,
    message: `no method ${methodName}`,
    errorCode: "IC0406",
  };
}

function refused(refusal: Refusal): Answer {
  return { status: refusal.status, body: refusal.text };
}

async function createAgent(node: EchoNode, identity: Identity): Promise<HttpAgent> {
  return HttpAgent.create({
    host: "http://node.test",
    fetch: node.fetch as unknown as typeof fetch,
    identity,
    shouldFetchRootKey: true,
    retryTimes: 0,
  });
}

async function identities(): Promise<[string, Identity][]> {
  const ed25519 = Ed25519KeyIdentity.generate(new Uint8Array(32).fill(3));
  const session = await ECDSAKeyIdentity.generate();
  const until = new Date(Date.now() + 600_000);
  const chain = await DelegationChain.create(ed25519, session.getPublicKey(), until, {
    targets: [canister],
  });
  return [
    ["anonymous", new AnonymousIdentity()],
    ["ed25519", ed25519],
    ["secp256k1", Secp256k1KeyIdentity.generate(new Uint8Array(32).fill(4))],
    ["p256", session],
    ["delegation with targets", DelegationIdentity.fromDelegation(session, chain)],
  ];
}

const arg = utf8Bytes("DIDL\0\0");

for (const [name, identity] of await identities()) {
  test(`the agent calls, polls, queries and reads as ${name}`, async () => {
    const node = new EchoNode();
    const agent = await createAgent(node, identity);
    const { response, requestId } = await agent.call(canister, {
      methodName: "echo",
      arg,
      effectiveCanisterId: canister,
    });
    equal(response.status, 200);
    const polled = await polling.pollForResponse(agent, { canisterId: canister }, requestId);
    deepEqual(new Uint8Array(polled.reply), arg);
    const query = await agent.query(canister, { methodName: "echo", arg });
    equal(query.status, "replied");
    deepEqual(query.status === "replied" && new Uint8Array(query.reply.arg), arg);
    const rejected = await agent.query(canister, { methodName: "nothing", arg });
    equal(rejected.status === "rejected" && rejected.error_code, "IC0406");
    deepEqual(
      node.seen.filter((line) => !line.endsWith(" 200")),
      [],
    );
  });
}

test("the agent polls after a 202, and decodes a certified reject and a refusal", async () => {
  const node = new EchoNode();
  node.isSlow = true;
  const agent = await createAgent(node, new AnonymousIdentity());
  const slow = await agent.call(canister, {
    methodName: "echo",
    arg,
    effectiveCanisterId: canister,
  });
  equal(slow.response.status, 202);
  const { reply } = await polling.pollForResponse(agent, { canisterId: canister }, slow.requestId);
  deepEqual(new Uint8Array(reply), arg);
  const failed = await agent.call(canister, {
    methodName: "nothing",
    arg,
    effectiveCanisterId: canister,
  });
  await rejects(
    polling.pollForResponse(agent, { canisterId: canister }, failed.requestId),
    /no method nothing/,
  );
  const refusal = await agent.call(canister, {
    methodName: "refused",
    arg,
    effectiveCanisterId: canister,
  });
  deepEqual((refusal.response.body as { error_code?: string }).error_code, "IC0406");
});

test("the agent reads a canister's public facts", async () => {
  const node = new EchoNode();
  const agent = await createAgent(node, new AnonymousIdentity());
  const facts = await CanisterStatus.request({
    agent,
    canisterId: canister,
    paths: ["time", "controllers", "module_hash", "candid", "subnet"],
  });
  deepEqual(
    (facts.get("controllers") as Principal[]).map((id) => id.toUint8Array()),
    [controller],
  );
  equal(facts.get("module_hash"), "05".repeat(32));
  equal(facts.get("candid"), "service : {}");
  ok(Math.abs((facts.get("time") as Date).getTime() - Date.now()) < 60_000);
  const subnet = facts.get("subnet") as { subnetId: string; nodeKeys: Map<string, Uint8Array> };
  equal(subnet.subnetId, Principal.fromUint8Array(subnetId).toText());
  deepEqual([...subnet.nodeKeys.keys()], [Principal.fromUint8Array(nodeId).toText()]);
});

test("the agent refuses an answer whose signature is for another request", async () => {
  const node = new EchoNode();
  const forged: typeof node.fetch = async (url, init) => {
    const response = await node.fetch(url, init);
    if (!String(url).endsWith("/query")) return response;
    const body = new Uint8Array(await response.arrayBuffer());
    const at = body.length - 40;
    body[at] = body[at]! ^ 1;
    return new Response(body, { status: response.status });
  };
  const honest = await createAgent(node, new AnonymousIdentity());
  await honest.query(canister, { methodName: "echo", arg });
  const agent = await HttpAgent.create({
    host: "http://node.test",
    fetch: forged as unknown as typeof fetch,
    shouldFetchRootKey: true,
    retryTimes: 0,
  });
  await rejects(agent.query(canister, { methodName: "echo", arg }));
});
