// Measures the node over raw HTTP: latency of updates one at a time, throughput of updates and of
// queries. Requests are signed beforehand; every reply is kept, 1 in 100 is verified with the ICP's
// own agent library after the clock has stopped, and all of them go into a digest.
//
//   node --conditions=source bench/http/load.ts [--small] [--query-workers 1] [--keep]
//
// --small runs the same code on little input (for the tests); only --keep appends the result.

import { createHash } from "node:crypto";
import process from "node:process";
import { parseArgs } from "node:util";
import { Certificate, HttpAgent, lookupResultToBuffer } from "@icp-sdk/core/agent";
import { IDL } from "@icp-sdk/core/candid";
import { Principal } from "@icp-sdk/core/principal";
import { assert, concatBytes, present, utf8Bytes } from "gyrotron/base";
import {
  type CborMap,
  decodeCbor,
  DOMAIN_RESPONSE,
  hashOfMap,
  parsePublicKey,
  verifySignature,
} from "gyrotron/crypto";
import {
  callFields,
  createRawIdentity,
  type RawIdentity,
  signRequest,
} from "../../test/e2e/envelope.ts";
import {
  runCli,
  type RunningNode,
  startNode,
  temporaryFolder,
} from "../../test/e2e/running-node.ts";
import { appendResult, describeRun, percentile } from "../record.ts";
import { processorMs, residentMiB } from "../resident.ts";
import { encodePost, RawConnection, type RawReply } from "./raw-connection.ts";

interface Prepared {
  readonly requestId: Uint8Array;
  readonly wire: Uint8Array;
}

interface Measured {
  readonly prepared: readonly Prepared[];
  readonly replies: readonly RawReply[];
  readonly latenciesMs: readonly number[];
  readonly seconds: number;
  /** Processor time of the node for each request, ms. */
  readonly nodeMs: number;
}

const UPDATE_CONCURRENCY = 32;
const QUERY_CONCURRENCY = 16;
const VERIFIED_SHARE = 100;

const { values: flags } = parseArgs({
  options: {
    small: { type: "boolean" },
    keep: { type: "boolean" },
    "query-workers": { type: "string" },
  },
});
const counts =
  flags.small === true
    ? { warmUp: 20, single: 20, updates: 100, queries: 200 }
    : { warmUp: 300, single: 300, updates: 5_000, queries: 20_000 };

await main();

async function main(): Promise<void> {
  const run = describeRun();
  const folder = temporaryFolder();
  const queryWorkers = flags["query-workers"];
  const node = await startNode(
    folder,
    queryWorkers === undefined ? [] : ["--query-workers", queryWorkers],
  );
  try {
    const canister = await deployCounter(node.port, folder);
    const identity = createRawIdentity(new Uint8Array(32).fill(7));
    const prepare = (type: "call" | "query", count: number): Prepared[] =>
      Array.from({ length: count }, () => prepareRequest(type, identity, canister));
    await measure(node, prepare("call", counts.warmUp), UPDATE_CONCURRENCY);
    await measure(node, prepare("query", counts.warmUp), QUERY_CONCURRENCY);
    const single = await measure(node, prepare("call", counts.single), 1);
    const updates = await measure(node, prepare("call", counts.updates), UPDATE_CONCURRENCY);
    const queries = await measure(node, prepare("query", counts.queries), QUERY_CONCURRENCY);
    const memory = residentMiB(present(node.child.pid));
    const agent = await HttpAgent.create({ host: node.url, shouldFetchRootKey: true });
    const numbers = [...readUpdates(single), ...readUpdates(updates)].toSorted((a, b) => a - b);
    numbers.forEach((value, index) =>
      assert(value === counts.warmUp + index + 1, "every call counted exactly once"),
    );
    const verified =
      (await verifyUpdates(agent, canister, single)) +
      (await verifyUpdates(agent, canister, updates)) +
      (await verifyQueries(agent, canister, queries));
    report({
      ...run,
      updateLatencyMs: latencySummary(single),
      updatesPerSecond: Math.round(counts.updates / updates.seconds),
      updateLatencyLoadedMs: latencySummary(updates),
      queriesPerSecond: Math.round(counts.queries / queries.seconds),
      queryLatencyMs: latencySummary(queries),
      nodeProcessorMs: { update: round(updates.nodeMs), query: round(queries.nodeMs) },
      queryWorkers: queryWorkers ?? "default",
      counts,
      verified,
      nodeResidentMiB: memory,
      digest: createHash("sha256").update(numbers.join(",")).digest("hex").slice(0, 16),
    });
  } finally {
    await node.stop();
  }
}

async function deployCounter(port: number, folder: string): Promise<Principal> {
  const file = new URL("counter.mo", import.meta.url).pathname;
  const result = await runCli([
    "deploy",
    file,
    "--port",
    String(port),
    "--data",
    folder,
    "--name",
    "bench",
  ]);
  const id = /as ([a-z0-9-]+)/.exec(result.stdout)?.[1];
  assert(result.status === 0 && id !== undefined, result.stderr);
  return Principal.fromText(id);
}

function prepareRequest(
  type: "call" | "query",
  identity: RawIdentity,
  canister: Principal,
): Prepared {
  const [method, version] = type === "call" ? ["increment", "v4"] : ["get", "v3"];
  const id = canister.toUint8Array();
  const fields = callFields(type, identity.sender, id, method, IDL.encode([], []));
  const { requestId, body } = signRequest(fields, identity);
  return {
    requestId,
    wire: encodePost(`/api/${version}/canister/${canister.toText()}/${type}`, body),
  };
}

async function measure(
  node: RunningNode,
  prepared: readonly Prepared[],
  concurrency: number,
): Promise<Measured> {
  const connections = await Promise.all(
    Array.from({ length: concurrency }, () => RawConnection.open(node.port)),
  );
  const replies: RawReply[] = [];
  const latenciesMs: number[] = [];
  let next = 0;
  const work = async (connection: RawConnection): Promise<void> => {
    for (let index = next++; index < prepared.length; index = next++) {
      const sentMs = performance.now();
      replies[index] = await connection.send(present(prepared[index]).wire);
      latenciesMs.push(performance.now() - sentMs);
    }
  };
  const pid = present(node.child.pid);
  const processorBeforeMs = processorMs(pid) ?? 0;
  const startedMs = performance.now();
  await Promise.all(connections.map(work));
  const seconds = (performance.now() - startedMs) / 1000;
  const nodeMs = ((processorMs(pid) ?? 0) - processorBeforeMs) / prepared.length;
  for (const connection of connections) connection.close();
  for (const { status, body } of replies)
    assert(status === 200, `HTTP ${status}: ${Buffer.from(body).toString()}`);
  return { prepared, replies, latenciesMs, seconds, nodeMs };
}

/** The number that each update replied with, from its certificate (not verified here). */
function readUpdates({ prepared, replies }: Measured): number[] {
  return replies.map((reply, index) => {
    const certificate = mapField(reply.body, "certificate");
    const { tree } = Object.fromEntries(decodeCbor(certificate) as CborMap);
    const path = [
      utf8Bytes("request_status"),
      present(prepared[index]).requestId,
      utf8Bytes("reply"),
    ];
    return decodeNat(present(findLeaf(tree as TreeNode, path), "the certificate holds the reply"));
  });
}

type TreeNode = [bigint, ...(Uint8Array | TreeNode)[]];

function findLeaf(node: TreeNode, path: readonly Uint8Array[]): Uint8Array | undefined {
  const [kind, first, second] = node;
  if (kind === 1n) return findLeaf(first as TreeNode, path) ?? findLeaf(second as TreeNode, path);
  if (kind === 3n) return path.length === 0 ? (first as Uint8Array) : undefined;
  const [label, ...rest] = path;
  const isOnPath =
    kind === 2n && label !== undefined && Buffer.compare(first as Uint8Array, label) === 0;
  return isOnPath ? findLeaf(second as TreeNode, rest) : undefined;
}

async function verifyUpdates(
  agent: HttpAgent,
  canister: Principal,
  measured: Measured,
): Promise<number> {
  let count = 0;
  for (let index = 0; index < measured.replies.length; index += VERIFIED_SHARE) {
    const certificate = await Certificate.create({
      certificate: mapField(present(measured.replies[index]).body, "certificate"),
      rootKey: present(agent.rootKey),
      principal: { canisterId: canister },
      agent,
    });
    const { requestId } = present(measured.prepared[index]);
    const path = [utf8Bytes("request_status"), requestId, utf8Bytes("status")];
    const status = lookupResultToBuffer(certificate.lookup_path(path));
    assert(Buffer.from(present(status)).toString() === "replied", "the certificate says replied");
    count += 1;
  }
  return count;
}

async function verifyQueries(
  agent: HttpAgent,
  canister: Principal,
  measured: Measured,
): Promise<number> {
  const keys = await agent.fetchSubnetKeys({ canisterId: canister });
  let count = 0;
  for (let index = 0; index < measured.replies.length; index += VERIFIED_SHARE) {
    const { requestId } = present(measured.prepared[index]);
    const fields = Object.fromEntries(decodeCbor(present(measured.replies[index]).body) as CborMap);
    const [signature] = fields["signatures"] as CborMap[];
    const {
      identity,
      signature: bytes,
      timestamp,
    } = Object.fromEntries(present(signature)) as {
      identity: Uint8Array;
      signature: Uint8Array;
      timestamp: bigint;
    };
    const reply = fields["reply"] as ReadonlyMap<string, Uint8Array>;
    const hash = hashOfMap({ status: "replied", reply, timestamp, request_id: requestId });
    const der = present(
      keys.get(Principal.fromUint8Array(identity).toText()),
      "the node's key is certified",
    );
    const isValid = verifySignature(parsePublicKey(der), concatBytes(DOMAIN_RESPONSE, hash), bytes);
    assert(isValid, "the node signed the answer");
    decodeNat(present(reply.get("arg")));
    count += 1;
  }
  return count;
}

function mapField(body: Uint8Array, name: string): Uint8Array<ArrayBuffer> {
  const value = (decodeCbor(body) as CborMap).get(name);
  assert(value instanceof Uint8Array, `the reply has no ${name}`);
  return new Uint8Array(value);
}

function decodeNat(bytes: Uint8Array): number {
  return Number(IDL.decode([IDL.Nat], bytes)[0]);
}

function latencySummary({ latenciesMs }: Measured): Record<"p50" | "p95" | "p99", number> {
  const sorted = latenciesMs.toSorted((a, b) => a - b);
  return {
    p50: percentile(sorted, 0.5),
    p95: percentile(sorted, 0.95),
    p99: percentile(sorted, 0.99),
  };
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}

function report(result: Record<string, unknown>): void {
  process.stdout.write(`${JSON.stringify(result, undefined, 2)}\n`);
  if (flags.keep === true) appendResult("http", result);
}
