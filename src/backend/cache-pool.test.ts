// Caches keep apart from each other in one memory, whatever their sizes, and copies bring whole positions.

import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { TensorError } from "gyrotron/tensor";
import { CachePool, DeviceCache } from "./cache-pool.ts";

const SHAPE = { layers: 2, kvHeads: 2, unitBytes: 8 };

/** A pool over plain bytes, each cache of which is filled with a mark of its own. */
function open(context: number): {
  pool: CachePool;
  create: (capacity: number) => DeviceCache;
  bytesOf: (cache: DeviceCache) => Uint8Array;
} {
  const bytes = new Uint8Array(2 ** 16);
  const { layers, kvHeads, unitBytes } = SHAPE;
  const sizeOf = (slots: number): number => layers * kvHeads * slots * (2 * unitBytes + 8);
  let used = 0;
  const pool = new CachePool({
    ...SHAPE,
    context,
    place: (slots) => {
      const address = used;
      used += sizeOf(slots);
      return address;
    },
    clear: () => (used = 0),
    copy: (from, to, ranges) => {
      for (const r of ranges) bytes.copyWithin(to + r.to, from + r.from, from + r.from + r.bytes);
    },
  });
  const bytesOf = ({ address, slots }: DeviceCache): Uint8Array =>
    bytes.subarray(address, address + sizeOf(slots));
  let marks = 0;
  const create = (capacity: number): DeviceCache => {
    const cache = pool.create(capacity);
    const mark = ++marks * 41;
    bytesOf(cache).forEach((_, i, own) => (own[i] = mark + i));
    return cache;
  };
  return { pool, create, bytesOf };
}

/** The bytes of each run of a cache's slots: K and V mantissas and exponents of each layer and head. */
function runsOf(bytes: Uint8Array, { slots }: DeviceCache): { bytes: Uint8Array; unit: number }[] {
  const { layers, kvHeads, unitBytes } = SHAPE;
  const units = Array.from({ length: layers }, () => [unitBytes, unitBytes, 4, 4]).flat();
  let at = 0;
  return units.flatMap((unit) =>
    Array.from({ length: kvHeads }, () => {
      const start = at;
      at += slots * unit;
      return { bytes: bytes.subarray(start, at), unit };
    }),
  );
}

test("a fork has the positions of its source and touches no other cache", () => {
  const sizes = fc.integer({ min: 1, max: 75 }).chain((context) =>
    fc.record({
      context: fc.constant(context),
      capacity: fc.integer({ min: 1, max: context }),
      forked: fc.integer({ min: 1, max: context }),
      share: fc.integer({ min: 0, max: 4 }),
    }),
  );
  fc.assert(
    fc.property(sizes, ({ context, capacity, forked, share }) => {
      const { pool, create, bytesOf } = open(context);
      const source = create(capacity);
      // Gives its memory to the fork, so that the one behind it is there already.
      const freed = create(forked);
      const behind = create(capacity);
      const before = [source, behind].map((cache) => bytesOf(cache).slice());
      freed.free();
      source.length = Math.floor((Math.min(capacity, forked) * share) / 4);
      const fork = source.fork(source.length, forked);
      assert.ok(fork instanceof DeviceCache && fork.pool === pool);
      assert.equal(fork.address, freed.address);
      assert.equal(fork.length, source.length);
      assert.deepEqual(
        [source, behind].map((cache) => bytesOf(cache)),
        before,
      );
      const copied = runsOf(bytesOf(fork), fork);
      runsOf(bytesOf(source), source).forEach(({ bytes, unit }, i) => {
        const length = source.length * unit;
        assert.deepEqual(copied[i]!.bytes.subarray(0, length), bytes.subarray(0, length));
      });
    }),
  );
});

test("a cache has room for what it was made for, and no more positions than the context", () => {
  const { pool } = open(45);
  for (const [capacity, slots] of [
    [1, 32],
    [32, 32],
    [33, 46],
    [45, 46],
  ] as const) {
    assert.equal(pool.create(capacity).slots, slots);
  }
  for (const capacity of [0, 46, NaN]) {
    assert.throws(
      () => pool.create(capacity),
      (error) => error instanceof TensorError && error.info.code === "tensor/limit",
    );
  }
});
