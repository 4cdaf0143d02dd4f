// The LMDB store: the compliance suite, readers in step with whole blocks, and every way in which a
// data folder can be wrong.

import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { execFileSync } from "node:child_process";
import { assert, present, utf8Bytes } from "gyrotron/base";
import { sha256 } from "gyrotron/crypto";
import { commitOf, type Store, StoreError, storeSuite } from "gyrotron/store";
import { DATA_FORMAT, openDataFolder } from "./data-folder.ts";
import { openLmdbReader, openLmdbStore } from "./lmdb-store.ts";

const root = mkdtempSync(join(tmpdir(), "gyrotron-store-"));
test.after(() => rmSync(root, { recursive: true, force: true }));

let folderCount = 0;
const newPath = (): string => join(root, `folder${folderCount++}`);
const paths = new Map<Store, string>();

function createStore(): Store {
  const path = newPath();
  const store = openLmdbStore(path);
  paths.set(store, path);
  return store;
}

const maker = {
  create: async () => createStore(),
  async reopen(store: Store) {
    await store.close();
    return openLmdbStore(present(paths.get(store)));
  },
};
for (const check of storeSuite(maker)) test(`lmdb store: ${check.name}`, check.run);

test("a reader keeps its snapshot until it is renewed", async () => {
  const store = createStore();
  store.commit(commitOf(0n, [{ key: utf8Bytes("a"), value: utf8Bytes("0") }]));
  const reader = openLmdbReader(present(paths.get(store)));
  assert(present(reader.header()).height === 0n);
  store.commit(
    commitOf(1n, [
      { key: utf8Bytes("a"), value: utf8Bytes("1") },
      { key: utf8Bytes("b"), value: utf8Bytes("1") },
    ]),
  );
  assert(present(reader.header()).height === 0n);
  assert(present(reader.view.get(utf8Bytes("a")))[0] === 0x30);
  assert([...reader.view.range(new Uint8Array(0))].length === 1);
  reader.renew();
  assert(present(reader.header()).height === 1n);
  assert(present(reader.view.get(utf8Bytes("a")))[0] === 0x31);
  assert(present(reader.view.first(utf8Bytes("b")))[1][0] === 0x31);
  await reader.close();
  await store.close();
});

test("a module of 100 MB can be stored and read", async () => {
  const store = createStore();
  const large = new Uint8Array(100 * 2 ** 20).fill(7);
  store.commit(commitOf(0n, [{ key: utf8Bytes("m"), value: large }]));
  const read = present(store.view.get(utf8Bytes("m")));
  assert(read.length === large.length && read.at(-1) === 7);
  await store.close();
});

test("a large value that is not what its hash says is damage, found when it is read", async () => {
  const store = createStore();
  const key = utf8Bytes("h");
  const value = new Uint8Array(16_384).fill(1);
  store.commit(commitOf(0n, [{ key, value }], [{ key, value: sha256(value) }]));
  assert(present(store.view.get(key))[0] === 1);
  store.commit(commitOf(1n, [{ key, value: value.map((byte) => byte + 1) }]));
  assert(codeOf(() => store.view.get(key)) === "store/damaged");
  assert(codeOf(() => [...store.view.range(key)]) === "store/damaged");
  await store.close();
});

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    assert(error instanceof StoreError, `not a StoreError: ${String(error)}`);
    return error.info.code;
  }
  return "no error";
}

async function filledPath(): Promise<string> {
  const store = createStore();
  for (let height = 0n; height < 20n; height++) {
    store.commit(
      commitOf(height, [{ key: utf8Bytes(`k${height}`), value: new Uint8Array(5_000) }]),
    );
  }
  await store.close();
  return present(paths.get(store));
}

test("a file that is garbage, foreign, empty or cut short is called damaged", async () => {
  const path = await filledPath();
  const file = join(path, "data.mdb");
  const good = readFileSync(file);
  const damages: [string, Buffer][] = [
    ["garbage", Buffer.alloc(good.length, 0x5a)],
    [
      "garbage in the second meta page",
      Buffer.concat([good.subarray(0, 4096), Buffer.alloc(4096, 0x5a), good.subarray(8192)]),
    ],
    ["text", Buffer.from("this is no database")],
    ["empty", Buffer.alloc(0)],
    ["half", good.subarray(0, good.length >> 1)],
    ["one page short", good.subarray(0, good.length - 4096)],
  ];
  for (const [name, bytes] of damages) {
    writeFileSync(file, bytes);
    assert(codeOf(() => openLmdbStore(path)) === "store/damaged", name);
  }
  writeFileSync(file, good);
  await openLmdbStore(path).close();
});

test("pages of zeros are called damaged when they are read", async () => {
  const path = await filledPath();
  const file = join(path, "data.mdb");
  const bytes = readFileSync(file).fill(0, 2 * 4096);
  writeFileSync(file, bytes);
  const code = codeOf(() => openLmdbStore(path).view.get(utf8Bytes("k1")));
  assert(code === "store/damaged", code);
});

test("a folder of another version and one with a strange format file are refused", () => {
  const path = newPath();
  mkdirSync(path);
  writeFileSync(join(path, "format"), "gyrotron data 1\n");
  assert(codeOf(() => openDataFolder(path)) === "store/other-version");
  writeFileSync(join(path, "format"), "???");
  assert(codeOf(() => openDataFolder(path)) === "store/damaged");
  writeFileSync(join(path, "format"), DATA_FORMAT);
  const folder = openDataFolder(path);
  assert(folder.hasFormat);
  folder.release();
});

test("a folder has one holder at a time, in this process and in others", () => {
  const path = newPath();
  const folder = openDataFolder(path);
  assert(!folder.hasFormat);
  folder.writeFormat();
  assert(codeOf(() => openDataFolder(path)) === "store/in-use");
  const script = `import { openDataFolder } from ${JSON.stringify(join(import.meta.dirname, "data-folder.ts"))};
    try { openDataFolder(process.argv[1]); console.log("opened"); } catch (e) { console.log(e.info.code, e.info.holder); }`;
  const run = (): string =>
    execFileSync(
      process.execPath,
      ["--conditions=source", "--input-type=module", "-e", script, path],
      { encoding: "utf8" },
    );
  assert(run().trim() === `store/in-use process ${process.pid}`);
  folder.release();
  // The other process opens it and dies without releasing it; the lock dies with it.
  assert(run().trim() === "opened");
  openDataFolder(path).release();
});

test("a path that is a file, or below one, is not writable or fails by name", () => {
  const path = newPath();
  writeFileSync(path, "");
  assert(codeOf(() => openDataFolder(path)).startsWith("store/"));
  assert(codeOf(() => openDataFolder(join(path, "below"))).startsWith("store/"));
  truncateSync(path, 0);
});
