// A real node, killed by SIGKILL in the middle of calls and started again, thirty times. Clients
// repeat what was not answered. No answered call may be lost, none counted twice.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import {
  callEnvelope,
  certifiedReply,
  counterWasm,
  install,
  requestOf,
} from "./canister-client.ts";
import { NodeChild } from "./node-child.ts";

const KILLS = 30;
const CALLS_A_LIFE = 8;

interface Call {
  envelope: Uint8Array;
  /** The sum certified for it, once a client has seen one. */
  sum: bigint | undefined;
}

test("thirty kills lose no answered call and double none", { timeout: 240_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), "gyrotron-kill-"));
  try {
    const first = await startNode(folder);
    const counter = await install(first, await counterWasm());
    await first.kill();
    const calls: Call[] = [];
    let interruptedCount = 0;
    for (let life = 0; life < KILLS; life++) {
      interruptedCount += await liveAndDie(folder, counter, calls, life);
    }
    assert.ok(
      interruptedCount >= KILLS,
      `${interruptedCount} calls were in flight when their node died`,
    );
    await checkLast(folder, counter, calls);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

/** One life: repeats what is open, adds new calls, dies after some answers. Returns how many calls died with it. */
async function liveAndDie(
  folder: string,
  counter: Uint8Array,
  calls: Call[],
  life: number,
): Promise<number> {
  const node = await startNode(folder);
  for (let i = 0; i < CALLS_A_LIFE; i++) {
    calls.push({ envelope: callEnvelope(counter, "increment"), sum: undefined });
  }
  const open = calls.filter(({ sum }) => sum === undefined);
  // Every life dies after another number of answers, the shortest before the first.
  const answersUntilDeath = life % Math.min(open.length, CALLS_A_LIFE);
  let answerCount = 0;
  await new Promise<void>((resolve, reject) => {
    if (answersUntilDeath === 0) setTimeout(resolve, life % 7);
    for (const call of open) {
      void ask(node, call).then(() => {
        if (++answerCount === answersUntilDeath) resolve();
      }, reject);
    }
  });
  await node.kill();
  return open.filter(({ sum }) => sum === undefined).length;
}

function startNode(folder: string): Promise<NodeChild> {
  return NodeChild.start(join(folder, "node"), join(folder, "cache"));
}

async function ask(node: NodeChild, call: Call): Promise<void> {
  const { requestId } = requestOf(call.envelope).content;
  const sum = sumOf(certifiedReply(await node.submit(call.envelope), requestId));
  assert.equal(call.sum ?? sum, sum, "a call keeps its answer");
  call.sum = sum;
}

async function checkLast(folder: string, counter: Uint8Array, calls: Call[]): Promise<void> {
  const node = await startNode(folder);
  // All of them again: the answered ones must come back with the same sums.
  await Promise.all(calls.map((call) => ask(node, call)));
  const { result } = await node.query(callEnvelope(counter, "get"));
  assert.ok(result.kind === "replied");
  assert.equal(sumOf(result.reply), BigInt(calls.length), "the counter counted each call once");
  assert.equal(new Set(calls.map(({ sum }) => sum)).size, calls.length, "no two calls share a sum");
  await node.close();
}

function sumOf(reply: Uint8Array): bigint {
  return new DataView(reply.buffer, reply.byteOffset, reply.byteLength).getBigUint64(0, true);
}
