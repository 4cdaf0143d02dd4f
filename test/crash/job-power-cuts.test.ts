// Goal: a power cut at any commit between asking and answering leaves a job that is answered, charged
// and recorded exactly once. Method: a node in one thread on a store that drops unflushed writes, an
// accelerator that makes its answers up, and every place of the cut in turn.

import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeWith, present, utf8Bytes } from "gyrotron/base";
import { decodeCandid, encodeCandid, IDL, toIdlPrincipal } from "gyrotron/candid";
import { encodeSelfDescribedCbor, MANAGEMENT_CANISTER, sha256 } from "gyrotron/crypto";
import { encodeJobResult, mountainRangeCodec } from "gyrotron/job";
import {
  type CallRequest,
  createInlineNode,
  installNodeCrypto,
  type JobAccelerator,
  type NodeCore,
  nodeKeysFromEntropy,
} from "gyrotron/node";
import {
  canisterCodec,
  canisterKey,
  createReplica,
  decodeEnvelope,
  ingressCodec,
  ingressKey,
  KEY_PREFIX,
  receiptsKey,
} from "gyrotron/replica";
import { createFaultyStore, createMemoryStore, type Store } from "gyrotron/store";
import { ANONYMOUS, INSTALL_CODE } from "../replica/harness.ts";
import { asker, MODEL, REQUEST } from "../replica/job-network.ts";
import { ManualHost, settle } from "./manual-host.ts";

const keys = nodeKeysFromEntropy(new Uint8Array(80).fill(3));
const COMMITS_MAX = 8;
await installNodeCrypto();

/** Answers each job with what was asked, backwards. */
function createAccelerator(): JobAccelerator {
  return {
    device: "made up",
    models: [MODEL],
    async run(job) {
      await settle();
      const text = [...present(job.messages[0]).content].reverse().join("");
      const counts = { promptTokens: 4, outputTokens: 6, logitsDigest: sha256(utf8Bytes(text)) };
      return encodeJobResult({ kind: "completed", text, finish: "stop", ...counts });
    },
    async close() {},
  };
}

function start(store: Store): NodeCore {
  return createInlineNode({
    keys,
    host: new ManualHost(),
    createReplica: (replicated) => createReplica({ replicated }),
    accelerator: createAccelerator(),
    store,
  });
}

/** A call by the anonymous user; the same arguments make the same request. */
function callOf(canisterId: Uint8Array, method: string, argument: Uint8Array): CallRequest {
  const content = {
    request_type: "call",
    canister_id: canisterId,
    method_name: method,
    arg: argument,
    sender: ANONYMOUS,
    ingress_expiry: new ManualHost().nowNs() + 240_000_000_000n,
  };
  const envelope = encodeSelfDescribedCbor({ content });
  const decoded = decodeEnvelope(envelope, "call");
  assert.ok(decoded.ok);
  const { requestId } = decoded;
  return { envelope, content: { ...decoded.content, requestId, senderInfo: undefined } };
}

async function call(node: NodeCore, request: CallRequest): Promise<Uint8Array> {
  const outcome = await node.submitCall(request);
  assert.equal(outcome.kind, "certified", JSON.stringify(outcome));
  const record = present(node.publicState.view.get(ingressKey(request.content.requestId)));
  const { status } = decodeWith(ingressCodec, record);
  assert.ok(status.kind === "replied", JSON.stringify(status));
  return status.reply;
}

/** A disk with a canister that asks the model, and its id. */
async function createDisk(): Promise<{ disk: Store; id: Uint8Array }> {
  const disk = createMemoryStore();
  const node = start(disk);
  const empty = encodeCandid([IDL.Record({})], [{}]);
  const method = "provisional_create_canister_with_cycles";
  const created = await call(node, callOf(MANAGEMENT_CANISTER, method, empty));
  const type = IDL.Record({ canister_id: IDL.Principal });
  const [{ canister_id }] = decodeCandid([type], created) as [
    { canister_id: { toUint8Array(): Uint8Array } },
  ];
  const id = canister_id.toUint8Array();
  const install = {
    mode: { install: null },
    canister_id: toIdlPrincipal(id),
    wasm_module: asker(0n),
    arg: new Uint8Array(),
  };
  await call(
    node,
    callOf(MANAGEMENT_CANISTER, "install_code", encodeCandid([INSTALL_CODE], [install])),
  );
  await node.close();
  return { disk, id };
}

/** What is left of the job on the disk. */
function booksOf(
  disk: Store,
  id: Uint8Array,
): { pending: number; receipts: bigint; charged: bigint } {
  const range = disk.view.get(receiptsKey);
  const canister = decodeWith(canisterCodec, present(disk.view.get(canisterKey(id))));
  const pending = [...disk.view.range(KEY_PREFIX.job)].length;
  assert.equal(canister.pendingJobs, pending);
  const receipts = range === undefined ? 0n : decodeWith(mountainRangeCodec, range).leafCount;
  return { pending, receipts, charged: canister.consumed.gpu };
}

async function askAndCut(commit: number, moment: "before-flush" | "after-flush"): Promise<boolean> {
  const { disk, id } = await createDisk();
  const question = { model: MODEL.name, messages: [{ role: { user: null }, content: "live" }] };
  const ask = callOf(id, "ask", encodeCandid([REQUEST], [question]));
  const store = createFaultyStore(disk, { commit, moment });
  try {
    const first = start(store);
    await first.submitCall(ask).catch(() => undefined);
    await first.close();
  } catch (error) {
    assert.ok(store.crashed, `only a power cut may fail a start: ${String(error)}`);
  }
  const between = booksOf(disk, id);
  assert.ok(between.receipts <= 1n && between.pending <= 1);

  const second = start(disk);
  assert.equal(decodeCandid([IDL.Text], await call(second, ask))[0], "evil");
  await second.close();
  const { requestId } = ask.content;
  const stored = decodeWith(ingressCodec, present(disk.view.get(ingressKey(requestId))));
  assert.equal(stored.status.kind, "replied");
  const after = booksOf(disk, id);
  assert.equal(after.pending, 0);
  assert.equal(after.receipts, 1n);
  if (between.receipts === 1n) assert.deepEqual(after, between, "nothing is charged again");
  assert.ok(after.charged > 0n);
  return store.crashed;
}

test("a power cut at any commit leaves a job that is answered, charged and recorded once", async () => {
  let cuts = 0;
  for (let commit = 0; commit < COMMITS_MAX; commit++) {
    for (const moment of ["before-flush", "after-flush"] as const) {
      if (await askAndCut(commit, moment)) cuts++;
    }
  }
  assert.ok(cuts >= 6, `${cuts} of the cuts fell between asking and answering`);
});
