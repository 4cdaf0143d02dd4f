// Goal: a node killed while a model writes an answer delivers, once restarted, that same answer, once.
// Method: a real process, killed by SIGKILL when a piece of the preview has come; the certified reply
// must begin with what was seen, and its receipt must hold when the job is run again elsewhere.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join, resolve } from "node:path";
import process from "node:process";
import { StringDecoder } from "node:string_decoder";
import { after, test } from "node:test";
import { Cbor, HttpAgent, pollForResponse, QueryResponseStatus } from "@icp-sdk/core/agent";
import { IDL } from "@icp-sdk/core/candid";
import { Principal } from "@icp-sdk/core/principal";
import { decodeWith, formatHex, utf8Bytes } from "gyrotron/base";
import { decodeCbor } from "gyrotron/crypto";
import { receiptCodec, receiptHash } from "gyrotron/job";
import { blockLogOf, openLmdbStore, replayBlockLog } from "gyrotron/node";
import { createReplica } from "gyrotron/replica";

import { runCli, temporaryFolder } from "./running-node.ts";

const MAIN = resolve(import.meta.dirname, "../../src/cli/main.ts");
const STORYTELLER = resolve(import.meta.dirname, "../../examples/storyteller/main.mo");
/** A model may end an answer before the kill: then another one is asked for. */
const ATTEMPTS = 10;

interface Life {
  readonly url: string;
  readonly process: ChildProcess;
  readonly exited: Promise<unknown>;
}

const data = join(temporaryFolder(), "data");
let current: Life | undefined;

after(async () => {
  current?.process.kill("SIGKILL");
  await current?.exited;
});

test("an answer interrupted by SIGKILL is delivered once after the restart", async () => {
  const first = await start();
  const address = ["--port", new URL(first.url).port, "--data", data];
  const deployed = await runCli(["deploy", STORYTELLER, ...address]);
  assert.equal(deployed.status, 0, deployed.stderr);
  const [, id = ""] = / as ([a-z0-9-]+) /.exec(deployed.stdout) ?? [];
  const canister = Principal.fromText(id);

  const { requestId, seen, answered } = await dieMidway(first, canister);
  const second = await start();
  const agent = await createAgent(second.url);
  const text = await replyTo(agent, canister, requestId);
  assert.ok(text.startsWith(seen), "the answer goes on where the dead node's ended");
  assert.ok(text.length > seen.length, "it was interrupted");
  assert.equal(await storiesTold(agent, canister), answered + 1n);

  const [hash, ...others] = await receiptsOf(second.url, requestId);
  assert.ok(hash !== undefined && others.length === 0, "one job, one receipt");
  const verified = await runCli(["verify", hash, "--node", second.url]);
  assert.equal(verified.status, 0, verified.stdout + verified.stderr);

  await kill(second);
  const third = await start();
  const later = await createAgent(third.url);
  assert.equal(await replyTo(later, canister, requestId), text);
  assert.equal(await storiesTold(later, canister), answered + 1n);
  assert.deepEqual(await receiptsOf(third.url, requestId), [hash]);

  await kill(third);
  await replayWithoutModel();
});

/** The block log alone gives the same state: results travel in blocks, no model is at hand. */
async function replayWithoutModel(): Promise<void> {
  const store = openLmdbStore(join(data, "state"));
  const headers = [...replayBlockLog(blockLogOf(store), createReplica())];
  assert.deepEqual(headers.at(-1), store.header());
  await store.close();
}

/** The node itself, without the launcher, which would end it in good order. */
async function start(): Promise<Life> {
  const args = ["--conditions=source", MAIN, "start", "--port", "0", "--data", data];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(child, "exit");
  const { promise, resolve: ready, reject } = Promise.withResolvers<string>();
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString();
    const url = /ready at (\S+),/.exec(output)?.[1];
    if (url !== undefined) ready(url);
  });
  void exited.then(() => reject(new TypeError(`the node ended: ${output}`)));
  const url = await promise;
  current = { url, process: child, exited };
  return current;
}

async function kill(life: Life): Promise<void> {
  life.process.kill("SIGKILL");
  await life.exited;
}

/** Kills the node with an answer half written. `answered`: answers that were complete before. */
async function dieMidway(
  life: Life,
  canister: Principal,
): Promise<{ requestId: Uint8Array; seen: string; answered: bigint }> {
  const agent = await createAgent(life.url);
  for (let attempt = 0n; attempt < ATTEMPTS; attempt++) {
    const arg = IDL.encode([IDL.Text], ["Tell me a story about a fox and a crow"]);
    const submitted = await agent.call(canister, { methodName: "tell", arg, callSync: false });
    const { requestId } = submitted;
    const seen = await firstText(agent, life.url, requestId);
    if (seen !== undefined) {
      await kill(life);
      return { requestId, seen, answered: attempt };
    }
    await replyTo(agent, canister, requestId);
  }
  assert.fail("every answer was complete before a piece of it was seen");
}

/** The beginning of an answer that is being written; undefined if it was complete already. */
async function firstText(
  agent: HttpAgent,
  url: string,
  requestId: Uint8Array,
): Promise<string | undefined> {
  const paths = [[utf8Bytes("request_status"), requestId]];
  const { body } = (await agent.createReadStateRequest({ paths })) as { body: unknown };
  const abort = new AbortController();
  const response = await fetch(`${url}/gyrotron/v1/preview`, {
    method: "POST",
    headers: { "content-type": "application/cbor" },
    body: Cbor.encode(body),
    signal: abort.signal,
  });
  assert.equal(response.status, 200);
  let events = "";
  const decoder = new StringDecoder("utf8");
  for await (const chunk of response.body!) {
    events += decoder.write(chunk);
    const pieces = [...events.matchAll(/^event: text\ndata: (.+)\n\n/gm)];
    if (events.includes("event: end")) return undefined;
    if (pieces.length > 0) {
      return pieces.map(([, json = ""]) => (JSON.parse(json) as { delta: string }).delta).join("");
    }
  }
  assert.fail(`the preview broke off: ${events}`);
}

function createAgent(host: string): Promise<HttpAgent> {
  return HttpAgent.create({ host, shouldFetchRootKey: true });
}

async function replyTo(
  agent: HttpAgent,
  canister: Principal,
  requestId: Uint8Array,
): Promise<string> {
  // The type of request ids is a mark on plain bytes.
  const id = requestId as Parameters<typeof pollForResponse>[2];
  const { reply } = await pollForResponse(agent, { canisterId: canister }, id);
  return IDL.decode([IDL.Text], reply)[0] as unknown as string;
}

async function storiesTold(agent: HttpAgent, canister: Principal): Promise<bigint> {
  const arg = IDL.encode([], []);
  const answer = await agent.query(canister, { methodName: "stories", arg });
  assert.ok(answer.status === QueryResponseStatus.Replied);
  return IDL.decode([IDL.Nat], answer.reply.arg)[0] as unknown as bigint;
}

/** Hashes of the receipts that a request led to. */
async function receiptsOf(url: string, requestId: Uint8Array): Promise<string[]> {
  const response = await fetch(`${url}/gyrotron/v1/requests/${formatHex(requestId)}/receipts`);
  const answer = decodeCbor(new Uint8Array(await response.arrayBuffer()));
  assert.ok(answer instanceof Map);
  const receipts = answer.get("receipts");
  assert.ok(Array.isArray(receipts));
  return receipts.map((item) => {
    assert.ok(item instanceof Map);
    const bytes = item.get("receipt");
    assert.ok(bytes instanceof Uint8Array);
    return formatHex(receiptHash(decodeWith(receiptCodec, bytes)));
  });
}
