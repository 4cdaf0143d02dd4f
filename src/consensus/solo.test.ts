// The solo engine on a clock of its own: when it makes blocks, what is in them, and what it refuses.

import { test } from "node:test";
import { assert, equalBytes, present } from "gyrotron/base";
import type { Block } from "gyrotron/replica";
import type { AfterBlock, ConsensusEngine, Submission } from "./contract.ts";
import { BLOCK_TRANSACTIONS_MAX, MEMPOOL_COUNT_MAX } from "./mempool.ts";
import { createSoloEngine, SOLO_IDLE_NS } from "./solo.ts";

const SECOND_NS = 1_000_000_000n;
const START_NS = 1_000n * SECOND_NS;
const IDLE: AfterBlock = { moreWork: false, wakeupNs: undefined };

/** A host whose time passes only when told, and a state machine that answers as it is told. */
class World {
  nowNs: bigint = START_NS;
  readonly blocks: Block[] = [];
  failure: unknown;
  /** While true, blocks stay in flight until `finish`. */
  isSlow = false;
  finish: () => void = () => {};
  fail: (error: unknown) => void = () => {};
  readonly #timers = new Set<{ dueNs: bigint; callback: () => void }>();
  readonly #after: (block: Block) => AfterBlock;
  readonly engine: ConsensusEngine;

  constructor(after: (block: Block) => AfterBlock = () => IDLE) {
    this.#after = after;
    this.engine = createSoloEngine({
      nowNs: () => this.nowNs,
      schedule: (delayNs, callback) => {
        const timer = { dueNs: this.nowNs + delayNs, callback };
        this.#timers.add(timer);
        return () => this.#timers.delete(timer);
      },
      randomness: () => new Uint8Array(32).fill(this.blocks.length),
      nodeId: Uint8Array.of(1),
      onFailure: (error) => {
        this.failure = error;
      },
    });
  }

  start(wakeupNs?: bigint): void {
    const last = { height: 7n, timeNs: START_NS, moreWork: false, wakeupNs };
    this.engine.start(last, async (block) => {
      this.blocks.push(block);
      if (this.isSlow) {
        await new Promise<void>((resolve, reject) => {
          this.finish = resolve;
          this.fail = reject;
        });
      }
      return this.#after(block);
    });
  }

  /** Fails unless so many blocks have been decided. */
  expectBlocks(count: number): void {
    assert(this.blocks.length === count, `${this.blocks.length} blocks, not ${count}`);
  }

  submit(id: string, length = 1): Submission {
    return this.engine.submit({ id, bytes: new Uint8Array(length) });
  }

  /** Lets time pass, firing what falls due. */
  async pass(seconds: number): Promise<void> {
    const untilNs = this.nowNs + BigInt(Math.round(seconds * 1e9));
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      const next = [...this.#timers].toSorted((a, b) => Number(a.dueNs - b.dueNs))[0];
      if (next === undefined || next.dueNs > untilNs) break;
      this.#timers.delete(next);
      if (next.dueNs > this.nowNs) this.nowNs = next.dueNs;
      next.callback();
    }
    this.nowNs = untilNs;
  }
}

test("an idle network makes a block a minute", async () => {
  const world = new World();
  world.start();
  await world.pass(59.9);
  world.expectBlocks(0);
  await world.pass(0.2);
  world.expectBlocks(1);
  await world.pass(180);
  world.expectBlocks(4);
  assert(
    world.blocks.every(
      (block, i) => block.height === 8n + BigInt(i) && block.transactions.length === 0,
    ),
  );
});

test("a transaction makes a block at once, and time moves even when the clock does not", async () => {
  const world = new World();
  world.start();
  assert(world.submit("a") === "accepted");
  await world.pass(0);
  assert(world.submit("b") === "accepted");
  await world.pass(0);
  const [first, second] = world.blocks;
  world.expectBlocks(2);
  assert(present(first).timeNs === START_NS + 1n && present(second).timeNs === START_NS + 2n);
  assert(!equalBytes(present(first).randomness, present(second).randomness));
});

test("what arrives during a block shares the next one, and a duplicate joins none", async () => {
  const world = new World();
  world.isSlow = true;
  world.start();
  world.submit("a");
  await world.pass(0);
  for (const id of ["b", "cc", "b"]) world.submit(id);
  assert(world.submit("a") === "known", "in flight");
  assert(world.submit("b") === "known", "in the mempool");
  assert(world.engine.status().state === "executing" && world.engine.status().mempoolCount === 2);
  await world.pass(5);
  world.expectBlocks(1);
  world.isSlow = false;
  world.finish();
  await world.pass(0);
  world.expectBlocks(2);
  assert(present(world.blocks[1]).transactions.length === 2);
  assert(world.engine.status().height === 9n && world.engine.status().mempoolCount === 0);
});

test("work left makes blocks until there is none", async () => {
  const world = new World((block) => ({ moreWork: block.height < 11n, wakeupNs: undefined }));
  world.start();
  world.submit("a");
  await world.pass(1);
  world.expectBlocks(4);
});

test("a wake-up makes a block when it is due, also one set in the past", async () => {
  const world = new World((block) => ({
    moreWork: false,
    wakeupNs: block.height === 8n ? START_NS + 10n * SECOND_NS : undefined,
  }));
  world.start(START_NS - SECOND_NS);
  await world.pass(1);
  world.expectBlocks(1);
  await world.pass(8.9);
  world.expectBlocks(1);
  await world.pass(0.2);
  world.expectBlocks(2);
  assert(present(world.blocks[1]).timeNs === START_NS + 10n * SECOND_NS);
});

test("a touch makes one block", async () => {
  const world = new World();
  world.start();
  await world.pass(5);
  world.engine.touch();
  world.engine.touch();
  await world.pass(1);
  world.expectBlocks(1);
});

test("a clock set back an hour delays no block by more than a minute", async () => {
  const world = new World();
  world.start();
  world.nowNs -= 3600n * SECOND_NS;
  await world.pass(0);
  world.submit("a");
  await world.pass(1);
  world.expectBlocks(1);
  assert(present(world.blocks[0]).timeNs === START_NS + 1n);
  await world.pass(Number(SOLO_IDLE_NS / SECOND_NS) + 1);
  world.expectBlocks(2);
  assert(present(world.blocks[1]).timeNs === START_NS + 2n);
});

test("limits of a block and of the mempool hold", async () => {
  const world = new World();
  world.isSlow = true;
  world.start();
  world.submit("first");
  await world.pass(0);
  for (let i = 0; i < MEMPOOL_COUNT_MAX; i++) assert(world.submit(`t${i}`) === "accepted");
  assert(world.submit("one more") === "full");
  world.isSlow = false;
  world.finish();
  await world.pass(0);
  world.expectBlocks(1 + MEMPOOL_COUNT_MAX / BLOCK_TRANSACTIONS_MAX);
  assert(
    world.blocks.slice(1).every((block) => block.transactions.length === BLOCK_TRANSACTIONS_MAX),
  );
  const large = 2 * 2 ** 20;
  world.isSlow = true;
  world.submit("again");
  await world.pass(0);
  for (let i = 0; i < 32; i++) assert(world.submit(`L${i}`, large) === "accepted");
  assert(world.submit("L32", large) === "full");
  world.isSlow = false;
  world.finish();
  await world.pass(0);
  assert(present(world.blocks.at(-1)).transactions.length === 2);
});

test("a failing state machine stops the engine for good", async () => {
  const world = new World();
  world.isSlow = true;
  world.start();
  world.submit("a");
  await world.pass(0);
  const error = new RangeError("host failure");
  world.fail(error);
  await world.pass(0);
  assert(world.failure === error && world.engine.status().state === "failed");
  world.submit("b");
  world.engine.touch();
  await world.pass(200);
  world.expectBlocks(1);
  assert(world.engine.status().height === 7n);
});

test("stop waits for the block in flight and makes no other", async () => {
  const world = new World();
  world.isSlow = true;
  world.start();
  world.submit("a");
  await world.pass(0);
  world.submit("b");
  let hasStopped = false;
  const stopping = world.engine.stop().then(() => (hasStopped = true));
  await world.pass(1);
  assert(!hasStopped);
  world.finish();
  await stopping;
  await world.pass(200);
  world.expectBlocks(1);
  assert(world.engine.status().state === "stopped");
});
