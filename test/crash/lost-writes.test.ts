// Power cuts at random commits: a node on a store that drops unflushed writes, started again and
// again on what is left. No answered call may be lost and none counted twice, and replaying the
// blocks that survived gives the same root.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import {
  createInlineNode,
  installNodeCrypto,
  type NodeCore,
  nodeKeysFromEntropy,
} from "gyrotron/node";
import { ingressKey, systemKey } from "gyrotron/replica";
import { createFaultyStore, createMemoryStore, type Store } from "gyrotron/store";
import { callNumber, certifiedSum } from "./counter-calls.ts";
import { createCounterReplica, sumOf, sumOfRecord } from "./counter-replica.ts";
import { ManualHost, settle } from "./manual-host.ts";

const keys = nodeKeysFromEntropy(new Uint8Array(80).fill(2));
const CALLS = 12;
await installNodeCrypto();

/** What the clients of one history were told: the sum certified for each call. */
type Answers = Map<number, bigint>;

async function callUntilCrash(
  node: NodeCore,
  order: readonly number[],
  answers: Answers,
): Promise<void> {
  const callOnce = async (n: number): Promise<void> => {
    const call = callNumber(n);
    const outcome = await node.submitCall(call).catch(() => undefined);
    if (outcome?.kind !== "certified") return;
    const sum = certifiedSum(outcome, call.content.requestId);
    assert.equal(answers.get(n) ?? sum, sum, "a call keeps its answer");
    answers.set(n, sum);
  };
  // Some together, some one after the other.
  for (let i = 0; i < order.length; i += 3) await Promise.all(order.slice(i, i + 3).map(callOnce));
}

function checkDisk(disk: Store, answers: Answers): void {
  const count = sumOf(disk.view.get(systemKey)!);
  const stored = Array.from({ length: CALLS }, (_, n) =>
    disk.view.get(ingressKey(callNumber(n).content.requestId)),
  ).filter((value) => value !== undefined);
  const sums = new Set(stored.map((value) => sumOfRecord(value)));
  assert.equal(BigInt(stored.length), count, "each call in the state counted once");
  assert.equal(sums.size, stored.length, "no two calls got the same sum");
  for (const [n, sum] of answers) {
    const value = disk.view.get(ingressKey(callNumber(n).content.requestId));
    assert.ok(value !== undefined, `answered call ${n} is lost`);
    assert.equal(sumOfRecord(value), sum);
  }
}

const crash = fc.record({
  commit: fc.nat({ max: 5 }),
  moment: fc.constantFrom("before-flush" as const, "after-flush" as const),
});
const order = fc.shuffledSubarray(
  Array.from({ length: CALLS }, (_, n) => n),
  { minLength: 3 },
);

test("power cuts lose no answered call and double none", async () => {
  let crashCount = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(crash, order), { minLength: 2, maxLength: 5 }),
      async (lives) => {
        const disk = createMemoryStore();
        const answers: Answers = new Map();
        for (const [plan, calls] of lives) {
          const store = createFaultyStore(disk, plan);
          try {
            const node = createInlineNode({
              keys,
              host: new ManualHost(),
              createReplica: createCounterReplica,
              store,
            });
            await settle();
            await callUntilCrash(node, calls, answers);
            await node.close();
          } catch (error) {
            assert.ok(store.crashed, `only a power cut may fail a start: ${String(error)}`);
          }
          if (store.crashed) crashCount++;
          if (disk.header() !== undefined) checkDisk(disk, answers);
        }
        const node = createInlineNode({
          keys,
          host: new ManualHost(),
          createReplica: createCounterReplica,
          store: disk,
        });
        const all = Array.from({ length: CALLS }, (_, n) => n);
        await callUntilCrash(node, all, answers);
        await node.close();
        assert.equal(answers.size, CALLS, "after the last start every call is answered");
        checkDisk(disk, answers);
      },
    ),
    { seed: 7, numRuns: 40 },
  );
  assert.ok(crashCount > 40, `${crashCount} crashes happened`);
});
