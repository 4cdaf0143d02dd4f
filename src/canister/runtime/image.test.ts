// Heap and stable images against plain byte arrays: random writes, growth, commits and roll-backs.

import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { CHUNK_BYTES, OS_PAGE_BYTES, WASM_PAGE_BYTES } from "gyrotron/base";
import { CanisterError } from "./error.ts";
import { HeapImage } from "./heap-image.ts";
import { PageUndo } from "./page-undo.ts";
import { SideMemory } from "./side-memory.ts";
import { StableImage } from "./stable-image.ts";
import { TrapSignal } from "./trap.ts";

const DIRTY_PAGES_MAX = 1_000_000;

type Step =
  | { kind: "write"; at: number; length: number; value: number }
  | { kind: "grow"; pages: number }
  | { kind: "commit" }
  | { kind: "rollback" };

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant("write" as const),
        at: fc.nat(6 * WASM_PAGE_BYTES),
        length: fc.oneof(fc.nat(16), fc.nat(40_000)),
        value: fc.nat(2),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("grow" as const), pages: fc.nat(2) }) },
    { weight: 2, arbitrary: fc.constant({ kind: "commit" as const }) },
    { weight: 2, arbitrary: fc.constant({ kind: "rollback" as const }) },
  ),
  { maxLength: 25 },
);

interface Image {
  readonly size: () => number;
  write(at: number, bytes: Uint8Array): void;
  grow(pages: number): void;
  commit(): Map<number, Uint8Array | null>;
  rollback(): void;
  content(): Uint8Array;
}

/** Runs the steps on an image, on an array, and on the chunks that commits gave. */
function check(image: Image, list: readonly Step[]): void {
  let model = new Uint8Array(image.size());
  let committed = model.slice();
  const stored = new Map<number, Uint8Array>();
  for (const step of [...list, { kind: "commit" } as const]) {
    switch (step.kind) {
      case "write": {
        const length = Math.min(step.length, model.length - step.at);
        if (length <= 0) break;
        model.fill(step.value, step.at, step.at + length);
        image.write(step.at, new Uint8Array(length).fill(step.value));
        break;
      }
      case "grow": {
        const grown = new Uint8Array(model.length + step.pages * WASM_PAGE_BYTES);
        grown.set(model);
        model = grown;
        image.grow(step.pages);
        break;
      }
      case "commit":
        for (const [index, bytes] of image.commit()) {
          if (bytes === null) stored.delete(index);
          else stored.set(index, bytes.slice());
        }
        committed = model.slice();
        break;
      case "rollback":
        image.rollback();
        model = committed.slice();
    }
    equal(image.size(), model.length);
    equal(Buffer.compare(image.content(), model), 0);
  }
  const fromChunks = new Uint8Array(model.length);
  for (const [index, bytes] of stored) {
    equal(
      bytes.some((byte) => byte !== 0),
      true,
      "a zero chunk is stored",
    );
    fromChunks.set(bytes, index * CHUNK_BYTES);
  }
  equal(Buffer.compare(fromChunks, model), 0);
}

const SEED = 20_260_822;

describe("images", () => {
  test("the heap", () => {
    const side = new SideMemory();
    const tracking = { side, undo: new PageUndo(), dirtyPagesMax: DIRTY_PAGES_MAX };
    fc.assert(
      fc.property(steps, fc.boolean(), (list, wide) => {
        const heap = new HeapImage(tracking, wide, 2, 2);
        heap.begin();
        check(
          {
            size: () => heap.logicalBytes,
            write: (at, bytes) => {
              heap.markRange(at, bytes.length);
              heap.bytes.set(bytes, at);
            },
            grow: (pages) => heap.growTo(heap.logicalPages + pages),
            commit: () => heap.commit(),
            rollback: () => heap.rollback(),
            content: () => heap.bytes.subarray(0, heap.logicalBytes),
          },
          list,
        );
        equal(
          heap.bytes.subarray(heap.logicalBytes).some((byte) => byte !== 0),
          false,
        );
        deepEqual([heap.dirtyCount, side.dirtyMap.indexOf(1)], [0, -1]);
      }),
      { seed: SEED, numRuns: 60 },
    );
  });

  test("a session may change so many pages and no more; what it changed can be undone", () => {
    const tracking = { side: new SideMemory(), undo: new PageUndo(), dirtyPagesMax: 3 };
    const heap = new HeapImage(tracking, false, 1, 1);
    heap.begin();
    heap.markStore(0, 1);
    heap.markRange(3 * OS_PAGE_BYTES, 10);
    heap.bytes.fill(7, 0, 10);
    throws(
      () => heap.markRange(8 * OS_PAGE_BYTES, 10),
      (error) =>
        error instanceof TrapSignal &&
        error.reason.errorCode === 524 &&
        error.message.startsWith(
          "Canister exceeded memory access limits: Exceeded the limit for the number of modified " +
            "pages in the Wasm memory in a single message execution: limit: 12 KB",
        ),
    );
    heap.rollback();
    ok(heap.bytes.every((byte) => byte === 0));
    heap.begin();
    heap.markRange(8 * OS_PAGE_BYTES, 10);
    heap.rollback();
  });

  test("memory that V8 refuses is a failure of the host", () => {
    const heap = new HeapImage(
      { side: new SideMemory(), undo: new PageUndo(), dirtyPagesMax: DIRTY_PAGES_MAX },
      false,
      1,
      1,
    );
    const isHostMemory = (error: unknown): boolean =>
      error instanceof CanisterError && error.info.code === "canister/host-memory";
    throws(() => heap.growTo(70_000), isHostMemory);
    equal(heap.logicalPages, 1);
    throws(
      () =>
        new HeapImage(
          { side: new SideMemory(), undo: new PageUndo(), dirtyPagesMax: DIRTY_PAGES_MAX },
          false,
          0,
          70_000,
        ),
      isHostMemory,
    );
  });

  test("stable memory", () => {
    fc.assert(
      fc.property(steps, (list) => {
        const stable = new StableImage(2, () => undefined);
        check(
          {
            size: () => stable.bytes,
            write: (at, bytes) => {
              const expected = stable.writtenBytes(at, bytes.length);
              stable.write(at, bytes);
              equal(stable.writtenBytes(at, bytes.length), expected);
              equal(stable.writtenBytes(0, 0), expected);
              ok(expected >= stable.dirtyCount * 4096 && expected % 16_384 === 0);
            },
            grow: (pages) => (stable.pages += pages),
            commit: () => stable.commit(),
            rollback: () => stable.rollback(),
            content: () => {
              const bytes = new Uint8Array(stable.bytes);
              stable.read(0, bytes);
              return bytes;
            },
          },
          list,
        );
      }),
      { seed: SEED, numRuns: 60 },
    );
  });
});
