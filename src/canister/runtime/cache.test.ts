// Caches: refresh from another thread's commit, eviction, staleness, and that none of it shows.

import { deepEqual, equal, throws } from "node:assert/strict";
import { describe, test } from "node:test";
import { AssertionError } from "gyrotron/base";
import { createCanisterRuntime } from "gyrotron/canister";
import {
  CANISTER_ID,
  ChunkStore,
  REPLY_WAT,
  TestCanister,
  context,
  importsOf,
  moduleFromWat,
  replyNumber,
} from "../../../test/canister/fixture.ts";

const MODULE = `(module ${importsOf("i32", "stable64_grow", "stable64_read", "stable64_write")} ${REPLY_WAT}
  (memory 1) (global $n (mut i32) (i32.const 0))
  (func (export "canister_update next")
    (global.set $n (i32.add (global.get $n) (i32.const 1)))
    (if (i32.eq (global.get $n) (i32.const 3)) (then (drop (memory.grow (i32.const 2)))))
    (drop (call $stable64_grow (i64.const 1)))
    (i32.store (i32.const 60000) (global.get $n))
    (i32.store (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 4)) (global.get $n))
    (call $stable64_write (i64.const 0) (i64.const 60000) (i64.const 4)))
  (func (export "canister_query sum")
    (call $stable64_read (i64.const 8) (i64.const 0) (i64.const 4))
    (call $reply32 (i32.add (i32.load (i32.const 8)) (i32.add (memory.size)
      (i32.add (global.get $n) (i32.add (i32.load (i32.const 60000))
        (i32.load (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 4)))))))))
  (func (export "canister_query grow") (drop (memory.grow (i32.const 5)))))`;

describe("a query runtime", () => {
  test("follows another thread's commits without reloading", () => {
    const writer = TestCanister.install(MODULE);
    const reader = createCanisterRuntime({ replicated: false });
    let reloads = 0;
    const chunks = new (class extends ChunkStore {
      override heapChunks(): Iterable<readonly [number, Uint8Array]> {
        reloads++;
        return super.heapChunks();
      }
    })();
    let generation = 0n;
    const query = (name: string): ReturnType<TestCanister["query"]> => {
      const source = {
        canisterId: CANISTER_ID,
        module: writer.module!,
        image: writer.image!,
        generation,
        chunks,
      };
      const session = reader.open(source);
      const entry = { kind: "export", name: `canister_query ${name}` } as const;
      const result = session.run(entry, context({ mode: "query" }));
      session.discard();
      return result;
    };
    query("sum");
    for (let n = 1; n <= 4; n++) {
      writer.update("next");
      chunks.apply(writer.lastDelta!);
      const heapChunks = [...writer.lastDelta!.heap.keys()];
      reader.refresh(CANISTER_ID, writer.image!, ++generation, heapChunks, chunks);
      const pages = n < 3 ? 1 : 3;
      equal(replyNumber(query("sum")), BigInt(4 * n + pages));
      query("grow");
      equal(replyNumber(query("sum")), BigInt(4 * n + pages));
    }
    equal(reloads, 1);
    reader.evict(CANISTER_ID);
    equal(reader.cachedBytes, 0);
    query("sum");
    equal(reloads, 2);
  });
});

describe("the image cache", () => {
  test("reloads what changed elsewhere", () => {
    const canister = TestCanister.install(MODULE);
    canister.update("next");
    const other = canister.freshCopy();
    other.update("next");
    canister.store.apply(other.lastDelta!);
    canister.image = other.image;
    equal(replyNumber(canister.query("sum")), 2n * 4n + 1n);
  });

  test("evicts the least recently used beyond its bounds, and it does not show", () => {
    const runtime = createCanisterRuntime({ cachedImagesMax: 2 });
    const canisters = [1, 2, 3].map((id) => {
      const store = new ChunkStore();
      const module = moduleFromWat(
        MODULE.replace("i32.const 60000", `i32.const ${60_000 + id * 4}`),
      );
      const session = runtime.create(Uint8Array.of(id), 0n);
      session.replaceModule(module, "fresh");
      const delta = session.commit();
      store.apply(delta);
      return { id, store, module, image: delta.image };
    });
    const runs: boolean[] = [];
    for (let round = 0; round < 3; round++) {
      for (const canister of canisters) {
        const canisterId = Uint8Array.of(canister.id);
        const session = runtime.open({
          ...canister,
          canisterId,
          generation: 0n,
          chunks: canister.store,
        });
        const entry = { kind: "export", name: "canister_update next" } as const;
        runs.push(session.run(entry, context()).kind === "finished");
        const delta = session.commit();
        canister.store.apply(delta);
        canister.image = delta.image;
      }
    }
    deepEqual(
      runs,
      Array.from({ length: 9 }, () => true),
    );
    deepEqual(
      canisters.map(({ image }) => image.globals[0]),
      [3, 3, 3],
    );
    equal(runtime.cachedBytes > 0, true);
  });

  test("one session at a time, none after its end", () => {
    const canister = TestCanister.install(MODULE);
    const session = canister.open();
    throws(() => canister.open(), AssertionError);
    session.discard();
    throws(() => session.run({ kind: "start" }, context()), AssertionError);
    throws(() => session.commit(), AssertionError);
    canister.open().discard();
  });

  test("several executions in one session end together", () => {
    const canister = TestCanister.install(MODULE);
    const entry = { kind: "export", name: "canister_update next" } as const;
    canister.update("next");
    const session = canister.open();
    session.run(entry, context());
    session.run(entry, context());
    session.discard();
    equal(replyNumber(canister.query("sum")), 5n);
    const again = canister.open();
    again.run(entry, context());
    again.run(entry, context());
    equal(
      again.run({ kind: "callback", tableIndex: 0n, environment: 0n }, context()).kind,
      "trapped",
    );
    const delta = again.commit();
    equal(delta.heap.size + delta.stable.size, 0);
    equal(delta.image.heapPagesPhysical, 3);
    canister.image = delta.image;
    equal(replyNumber(canister.query("sum")), 5n);
  });
});
