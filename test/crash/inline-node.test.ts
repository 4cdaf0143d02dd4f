// The node's core in one thread: calls, duplicates, refusals, queries, certified reads, time, limits
// of waiting, and host failures.

import assert from "node:assert/strict";
import { test } from "node:test";
import { parsePublicKey, verifySignature } from "gyrotron/crypto";
import {
  createInlineNode,
  installNodeCrypto,
  type NodeCore,
  NodeError,
  nodeKeysFromEntropy,
} from "gyrotron/node";
import {
  callReplyPaths,
  decodeCertificate,
  ingressKey,
  lookupPath,
  querySignaturePayload,
  treePath,
  verifyCertificate,
} from "gyrotron/replica";
import { createFaultyStore, createMemoryStore } from "gyrotron/store";
import { callNumber, certifiedSum, contentOf } from "./counter-calls.ts";
import { COUNTER_ID, createCounterReplica, sumOf } from "./counter-replica.ts";
import { ManualHost, settle } from "./manual-host.ts";

await installNodeCrypto();
const keys = nodeKeysFromEntropy(new Uint8Array(80).fill(1));

async function startNode(
  store = createMemoryStore(),
): Promise<{ node: NodeCore; host: ManualHost }> {
  const host = new ManualHost();
  const node = createInlineNode({ keys, host, createReplica: createCounterReplica, store });
  await settle();
  return { node, host };
}

const sumOfCall = async (node: NodeCore, n: number): Promise<bigint> => {
  const call = callNumber(n);
  return certifiedSum(await node.submitCall(call), call.content.requestId, node.rootKeyDer);
};

test("calls are executed once each and answered with certificates", async () => {
  const { node } = await startNode();
  assert.equal(await sumOfCall(node, 1), 1n);
  assert.equal(await sumOfCall(node, 2), 2n);
  assert.equal(await sumOfCall(node, 1), 1n, "a known call is answered from state");
  const together = await Promise.all([3, 3, 4, 3, 4].map((n) => sumOfCall(node, n)));
  assert.deepEqual([...together].sort().join(), "3,3,3,4,4");
  await node.close();
});

test("a call that the pre-check refuses is in no block", async () => {
  const { node } = await startNode();
  const { requestId } = callNumber(1).content;
  const heightBefore = node.status().height;
  const outcome = await node.submitCall({
    envelope: requestId,
    content: contentOf(requestId, "refuse"),
  });
  assert.equal(outcome.kind, "refused");
  await settle();
  assert.equal(node.status().height, heightBefore);
  assert.equal(node.publicState.request(requestId), undefined);
  await node.close();
});

test("an asynchronous call is pending and can be read later", async () => {
  const { node } = await startNode();
  const call = callNumber(1);
  assert.equal((await node.submitCall({ ...call, waitMs: 0 })).kind, "pending");
  await settle();
  const { requestId } = call.content;
  assert.deepEqual(node.publicState.request(requestId)?.canisterId, COUNTER_ID);
  const outcome = await node.readState(() => ({ ok: true, paths: callReplyPaths(requestId) }));
  assert.equal(outcome.kind, "certificate");
  assert.equal(
    certifiedSum({ ...outcome, kind: "certified" } as never, requestId, node.rootKeyDer),
    1n,
  );
  await node.close();
});

test("a read is refused by the check on the certified state", async () => {
  const { node } = await startNode();
  await sumOfCall(node, 1);
  const refusal = { ok: false, text: "no" } as const;
  const outcome = await node.readState((state) => {
    assert.ok(state.view.get(ingressKey(callNumber(1).content.requestId)));
    return refusal;
  });
  assert.deepEqual(outcome, { kind: "refused", refusal });
  await node.close();
});

test("queries see what was answered before, and are signed by the node", async () => {
  const { node } = await startNode();
  for (let n = 1; n <= 5; n++) {
    await sumOfCall(node, n);
    const content = contentOf(callNumber(1000 + n).content.requestId, "get");
    const { result, timeNs, signature, nodeId } = await node.query(content);
    assert.ok(result.kind === "replied");
    assert.equal(sumOf(result.reply), BigInt(n));
    assert.deepEqual(nodeId, keys.nodeId);
    const payload = querySignaturePayload(result, content.requestId, timeNs);
    assert.ok(verifySignature(parsePublicKey(keys.nodeKeyDer), payload, signature));
  }
  await node.close();
});

test("a read of an old state waits for a fresh one, and only then", async () => {
  const { node, host } = await startNode();
  const { height } = node.status();
  await node.readState(() => ({ ok: true, paths: [] }));
  assert.equal(node.status().height, height);
  host.pass(1.5);
  const outcome = await node.readState(() => ({ ok: true, paths: [] }));
  assert.equal(node.status().height, height + 1n);
  assert.equal(node.status().timeNs, host.nowNs());
  assert.ok(outcome.kind === "certificate");
  const certificate = decodeCertificate(outcome.certificate);
  assert.ok(verifyCertificate(certificate, node.rootKeyDer));
  assert.equal(lookupPath(certificate.tree, treePath("time")).kind, "found");
  host.pass(2);
  const [{ timeNs }] = await Promise.all([
    node.query(contentOf(callNumber(9).content.requestId, "get")),
    node.query(contentOf(callNumber(8).content.requestId, "get")),
  ]);
  assert.equal(timeNs, host.nowNs());
  assert.equal(node.status().height, height + 2n, "one block for both");
  await node.close();
});

test("the certificate shows the subnet with key, ranges and node key, and the state root", async () => {
  const { node } = await startNode();
  const base = treePath("subnet", node.subnetId);
  const outcome = await node.readState(() => ({
    ok: true,
    paths: [base, treePath("gyrotron"), treePath("canister_ranges", node.subnetId)],
  }));
  assert.ok(outcome.kind === "certificate");
  const { tree } = decodeCertificate(outcome.certificate);
  const value = (path: Uint8Array[]): Uint8Array => {
    const found = lookupPath(tree, path);
    assert.ok(found.kind === "found");
    return found.value;
  };
  assert.deepEqual(value([...base, ...treePath("public_key")]), node.rootKeyDer);
  assert.deepEqual(
    value([...base, ...treePath("node", node.nodeId, "public_key")]),
    keys.nodeKeyDer,
  );
  assert.deepEqual(value(treePath("gyrotron")), node.status().stateRoot);
  assert.ok(value([...base, ...treePath("canister_ranges")]).length > 0);
  await node.close();
});

test("what canisters print is heard", async () => {
  const { node } = await startNode();
  const lines: string[] = [];
  const stop = node.onConsole(({ text }) => lines.push(text));
  await sumOfCall(node, 1);
  await settle();
  stop();
  await sumOfCall(node, 2);
  await settle();
  assert.deepEqual(lines, ["counted"]);
  await node.close();
});

test("a caller waits no longer than it wants to, and a closing node lets it go", async () => {
  const { node, host } = await startNode();
  const unknown = callNumber(5);
  // The transaction names another request, so no answer will come for this one.
  const lost = { ...unknown, envelope: callNumber(6).envelope };
  const waiting = node.submitCall({ ...lost, waitMs: 3_000 });
  await settle();
  host.pass(3);
  assert.equal((await waiting).kind, "pending");
  const longer = node.submitCall({ ...callNumber(7), envelope: callNumber(6).envelope });
  await settle();
  await node.close();
  assert.equal((await longer).kind, "pending");
  await assert.rejects(node.submitCall(callNumber(8)), isStopped);
  await assert.rejects(node.query(callNumber(8).content), isStopped);
  await node.close();
});

test("a store that fails stops the node, and nothing is answered any more", async () => {
  const disk = createMemoryStore();
  const store = createFaultyStore(disk, { commit: 3, moment: "before-flush" });
  const { node } = await startNode(store);
  let failure: unknown;
  node.onFailure((error) => (failure = error));
  assert.equal(await sumOfCall(node, 1), 1n);
  const outcome = await node.submitCall(callNumber(2)).catch((error: unknown) => error);
  assert.equal((outcome as { kind?: string }).kind, "pending");
  assert.ok(failure instanceof Error);
  assert.equal(node.status().healthy, false);
  await assert.rejects(
    node.query(callNumber(3).content),
    (error) => error instanceof NodeError && error.info.code === "node/host-failure",
  );
  assert.equal(disk.header()?.height, 2n);
  await node.close();
});

function isStopped(error: unknown): boolean {
  return error instanceof NodeError && error.info.code === "node/stopped";
}
