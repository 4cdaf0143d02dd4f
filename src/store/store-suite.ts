// The compliance suite: what every store must do, run against each of them by its own test file.
// Owns no store and no test runner; a check throws when it does not hold.

import { assert, concatBytes, equalBytes, present, utf8Bytes } from "gyrotron/base";
import type { Commit, StateView, StateWrite, Store } from "./contract.ts";

/** How the suite makes stores; `reopen` closes one and opens what it left behind. */
export interface StoreMaker {
  create(): Promise<Store>;
  /** undefined for stores that live in memory only. */
  reopen: ((store: Store) => Promise<Store>) | undefined;
}

/** Named checks, each on a fresh store. */
export function storeSuite(maker: StoreMaker): { name: string; run: () => Promise<void> }[] {
  const onFreshStore =
    (check: (store: Store) => void | Promise<void>) => async (): Promise<void> => {
      const store = await maker.create();
      await check(store);
      await store.close();
    };
  const checks = [
    { name: "a new store is empty", run: onFreshStore(checkEmpty) },
    { name: "a commit is read back", run: onFreshStore(checkReadBack) },
    { name: "writes apply in order, deletes too", run: onFreshStore(checkOrder) },
    { name: "ranges are ordered and bounded by the prefix", run: onFreshStore(checkRanges) },
    { name: "values of 0 bytes and of 20 MB keep their bytes", run: onFreshStore(checkSizes) },
    { name: "a caller may reuse its buffers", run: onFreshStore(checkNoAlias) },
    { name: "commits out of order are refused", run: onFreshStore(checkHeights) },
  ];
  const { reopen } = maker;
  if (reopen === undefined) return checks;
  return [
    ...checks,
    {
      name: "everything survives a restart",
      run: async () => checkRestart(await maker.create(), reopen),
    },
  ];
}

/** A commit with a root that depends on the height only. */
export function commitOf(height: bigint, writes: StateWrite[], derived: StateWrite[] = []): Commit {
  const stateRoot = new Uint8Array(32).fill(Number(height % 251n));
  return {
    header: { height, timeNs: 1_000n + height, stateRoot },
    block: utf8Bytes(`block ${height}`),
    writes,
    derived,
    archive: [{ key: utf8Bytes(`receipt ${height}`), value: utf8Bytes(`body ${height}`) }],
  };
}

function put(key: string, value: string): StateWrite {
  return { key: utf8Bytes(key), value: utf8Bytes(value) };
}

function remove(key: string): StateWrite {
  return { key: utf8Bytes(key), value: undefined };
}

function checkEmpty(store: Store): void {
  assert(store.header() === undefined);
  assert(store.block(0n) === undefined);
  assert(store.view.get(utf8Bytes("a")) === undefined);
  assert([...store.view.range(new Uint8Array(0))].length === 0);
  assert(store.derived.first(new Uint8Array(0)) === undefined);
}

function checkReadBack(store: Store): void {
  store.commit(commitOf(0n, [put("a1", "one"), put("b1", "two")], [put("a1", "derived")]));
  assertText(store.view, "a1", "one");
  assertText(store.view, "b1", "two");
  assertText(store.derived, "a1", "derived");
  assertText(store.derived, "b1", undefined);
  const header = present(store.header());
  assert(
    header.height === 0n &&
      header.timeNs === 1_000n &&
      equalBytes(header.stateRoot, new Uint8Array(32)),
  );
  assert(equalBytes(present(store.block(0n)), utf8Bytes("block 0")));
  store.commit(commitOf(1n, []));
  assert(present(store.header()).height === 1n);
  assert(equalBytes(present(store.block(0n)), utf8Bytes("block 0")));
  assert(equalBytes(present(store.block(1n)), utf8Bytes("block 1")));
  assert(store.block(2n) === undefined);
}

function checkOrder(store: Store): void {
  store.commit(
    commitOf(0n, [
      put("a1", "first"),
      put("a1", "second"),
      put("a2", "x"),
      remove("a2"),
      remove("a9"),
    ]),
  );
  assertText(store.view, "a1", "second");
  assertText(store.view, "a2", undefined);
  store.commit(commitOf(1n, [remove("a1"), put("a1", "again"), put("a2", "y")], [remove("none")]));
  assertText(store.view, "a1", "again");
  assertText(store.view, "a2", "y");
}

function checkRanges(store: Store): void {
  const keys = [[0x61], [0x62, 0], [0x62, 0xff, 1], [0x62, 0xff, 0xff], [0x63, 5], [0xff, 0xff, 7]];
  const writes = keys
    .toReversed()
    .map((key) => ({ key: Uint8Array.from(key), value: Uint8Array.from(key) }));
  store.commit(commitOf(0n, writes));
  const found = (prefix: number[]): number[][] => {
    const entries = [...store.view.range(Uint8Array.from(prefix))];
    const inOrder = [...store.view.keys(Uint8Array.from(prefix))];
    assert(inOrder.length === entries.length);
    return entries.map(([key, value], index) => {
      assert(equalBytes(key, value));
      assert(equalBytes(key, present(inOrder[index])));
      assert(equalBytes(value, present(store.view.peek(key))));
      return [...key];
    });
  };
  assert(store.view.peek(Uint8Array.of(0x64)) === undefined);
  assertSame(found([]), keys);
  assertSame(found([0x62]), [
    [0x62, 0],
    [0x62, 0xff, 1],
    [0x62, 0xff, 0xff],
  ]);
  assertSame(found([0x62, 0xff]), [
    [0x62, 0xff, 1],
    [0x62, 0xff, 0xff],
  ]);
  assertSame(found([0xff]), [[0xff, 0xff, 7]]);
  assertSame(found([0x64]), []);
  const first = (prefix: number[], from?: number[]): number[] | undefined => {
    const entry = store.view.first(
      Uint8Array.from(prefix),
      from === undefined ? undefined : Uint8Array.from(from),
    );
    return entry === undefined ? undefined : [...entry[0]];
  };
  assertSame(first([0x62]), [0x62, 0]);
  assertSame(first([0x62], [0x61]), [0x62, 0]);
  assertSame(first([0x62], [0x62, 1]), [0x62, 0xff, 1]);
  assertSame(first([0x62], [0x62, 0xff, 1]), [0x62, 0xff, 1]);
  assertSame(first([0x62], [0x63]), undefined);
  assertSame(first([]), [0x61]);
}

function checkSizes(store: Store): void {
  const large = new Uint8Array(20_000_000);
  for (let i = 0; i < large.length; i += 4096) large[i] = (i >>> 12) & 255;
  store.commit(
    commitOf(0n, [
      { key: utf8Bytes("large"), value: large },
      { key: utf8Bytes("none"), value: new Uint8Array(0) },
    ]),
  );
  assert(equalBytes(present(store.view.get(utf8Bytes("large"))), large));
  assert(equalBytes(present(store.view.peek(utf8Bytes("large"))), large));
  assert(present(store.view.peek(utf8Bytes("none"))).length === 0);
  assert(present(store.view.get(utf8Bytes("none"))).length === 0);
  assert(present(store.view.first(utf8Bytes("none")))[1].length === 0);
}

function checkNoAlias(store: Store): void {
  const key = utf8Bytes("key");
  const value = utf8Bytes("value");
  const block = utf8Bytes("block");
  store.commit({ ...commitOf(0n, [{ key, value }]), block });
  key.fill(0);
  value.fill(0);
  block.fill(0);
  assertText(store.view, "key", "value");
  assert(equalBytes(present(store.block(0n)), utf8Bytes("block")));
  const read = present(store.view.get(utf8Bytes("key")));
  store.commit(commitOf(1n, [put("key", "other")]));
  assert(equalBytes(read, utf8Bytes("value")), "bytes once read stay as they are");
}

function checkHeights(store: Store): void {
  store.commit(commitOf(0n, [put("a", "x")]));
  for (const height of [0n, 2n])
    assertThrows(() => store.commit(commitOf(height, [put("a", "y")])));
  assertText(store.view, "a", "x");
}

async function checkRestart(store: Store, reopen: (store: Store) => Promise<Store>): Promise<void> {
  for (let height = 0n; height < 5n; height++) {
    store.commit(
      commitOf(
        height,
        [put(`a${height}`, `${height}`), remove(`a${height - 2n}`)],
        [put("h", `${height}`)],
      ),
    );
  }
  const before = concatBytes(...[...store.view.range(new Uint8Array(0))].flat());
  const again = await reopen(store);
  assert(equalBytes(concatBytes(...[...again.view.range(new Uint8Array(0))].flat()), before));
  assertText(again.view, "a4", "4");
  assertText(again.view, "a2", undefined);
  assertText(again.derived, "h", "4");
  assert(present(again.header()).height === 4n);
  for (let height = 0n; height < 5n; height++) {
    assert(equalBytes(present(again.block(height)), utf8Bytes(`block ${height}`)));
  }
  again.commit(commitOf(5n, [put("a5", "5")]));
  assertText(again.view, "a5", "5");
  await again.close();
}

function assertText(view: StateView, key: string, expected: string | undefined): void {
  const found = view.get(utf8Bytes(key));
  if (expected === undefined) assert(found === undefined, `${key} should be absent`);
  else
    assert(
      found !== undefined && equalBytes(found, utf8Bytes(expected)),
      `${key} should be ${expected}`,
    );
}

function assertSame(found: unknown, expected: unknown): void {
  assert(
    JSON.stringify(found) === JSON.stringify(expected),
    `found ${JSON.stringify(found)}, not ${JSON.stringify(expected)}`,
  );
}

function assertThrows(action: () => void): void {
  let hasThrown = false;
  try {
    action();
  } catch {
    hasThrown = true;
  }
  assert(hasThrown, "should have thrown");
}
