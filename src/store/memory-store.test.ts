// The in-memory stores pass the compliance suite, and the faulty one loses exactly what was unflushed.

import { test } from "node:test";
import { assert, present, utf8Bytes } from "gyrotron/base";
import { createFaultyStore } from "./faulty-store.ts";
import { createMemoryStore } from "./memory-store.ts";
import { StoreError } from "./store-error.ts";
import { commitOf, storeSuite } from "./store-suite.ts";

const makers = {
  memory: { create: async () => createMemoryStore(), reopen: undefined },
  faulty: { create: async () => createFaultyStore(createMemoryStore()), reopen: undefined },
};

for (const [name, maker] of Object.entries(makers)) {
  for (const check of storeSuite(maker)) test(`${name} store: ${check.name}`, check.run);
}

for (const [moment, survivors] of [
  ["before-flush", 1n],
  ["after-flush", 2n],
] as const) {
  test(`a crash ${moment} leaves height ${survivors}`, () => {
    const disk = createMemoryStore();
    const store = createFaultyStore(disk, { commit: 2, moment });
    store.commit(commitOf(0n, []));
    store.commit(commitOf(1n, []));
    let error: unknown;
    try {
      store.commit(commitOf(2n, [{ key: utf8Bytes("k"), value: utf8Bytes("v") }]));
    } catch (caught) {
      error = caught;
    }
    assert(error instanceof StoreError && store.crashed);
    assert(present(disk.header()).height === survivors);
    assert((disk.view.get(utf8Bytes("k")) !== undefined) === (moment === "after-flush"));
  });
}
