// State archives: what goes in comes out in another folder, under the same root; every byte that is
// changed, missing or added is found; folders that hold something stay as they are.

import { deepEqual, equal, match, rejects, throws } from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { utf8Bytes } from "gyrotron/base";
import { rebuildStateTrie, StoreError } from "gyrotron/store";
import { openDataFolder } from "./data-folder.ts";
import { openLmdbReader, openLmdbStore } from "./lmdb-store.ts";
import { exportState, importState, verifyStateFile, verifyStateFolder } from "./state-archive.ts";

const root = mkdtempSync(join(tmpdir(), "gyrotron-archive-"));
after(() => rmSync(root, { recursive: true, force: true }));
let count = 0;
const newPath = (): string => join(root, `${(count += 1)}`);

/** A folder with three blocks, values up to 2 MiB, and keys. */
async function createState(): Promise<string> {
  const path = newPath();
  const folder = openDataFolder(path);
  const store = openLmdbStore(folder.statePath);
  const trie = rebuildStateTrie(store.view, new Set());
  for (let height = 0n; height < 3n; height++) {
    const writes = Array.from({ length: 40 }, (_, index) => ({
      key: utf8Bytes(`key ${height} ${10 + index}`),
      value: new Uint8Array(index === 7 ? 300_000 : index * 500).fill(index),
    }));
    const { root: stateRoot, derived } = trie.apply(writes);
    const archive = [{ key: utf8Bytes(`receipt ${height}`), value: utf8Bytes("body") }];
    const header = { height, timeNs: height + 5n, stateRoot };
    store.commit({ header, block: utf8Bytes(`block ${height}`), writes, derived, archive });
  }
  await store.close();
  writeFileSync(folder.keysPath, "keys");
  folder.writeFormat();
  folder.release();
  return path;
}

async function contentOf(path: string): Promise<unknown> {
  const reader = openLmdbReader(join(path, "state"));
  const all = new Uint8Array(0);
  const copy = ([key, value]: readonly [Uint8Array, Uint8Array]): string =>
    `${key.toHex()} ${value.toHex()}`;
  const content = {
    header: reader.header(),
    state: [...reader.view.range(all)].map(copy),
    archive: [...reader.archive.range(all)].map(copy),
    blocks: [0n, 1n, 2n, 3n].map((height) => reader.block(height)?.toHex()),
  };
  await reader.close();
  return content;
}

function damageOf(file: string): string {
  try {
    verifyStateFile(file);
    return "none";
  } catch (error) {
    if (error instanceof StoreError && error.info.code === "store/damaged") return error.info.what;
    throw error;
  }
}

test("a state goes through a file into another folder", async () => {
  const from = await createState();
  const file = newPath();
  const exported = await exportState(from, file, { withKeys: true });
  deepEqual(exported.entries, { state: 120, archive: 3, blocks: 3 });
  deepEqual(verifyStateFile(file), exported);
  const to = join(newPath(), "deeper");
  deepEqual(await importState(file, to), exported);
  deepEqual(await contentOf(to), await contentOf(from));
  equal(readFileSync(join(to, "keys.json"), "utf8"), "keys");
  deepEqual(await verifyStateFolder(to), exported);
  const again = newPath();
  await exportState(to, again, { withKeys: true });
  deepEqual(readFileSync(again), readFileSync(file), "the same state is the same file");
});

test("keys stay behind unless asked for", async () => {
  const from = await createState();
  const file = newPath();
  equal((await exportState(from, file, { withKeys: false })).hasKeys, false);
  const to = newPath();
  await importState(file, to);
  equal(existsSync(join(to, "keys.json")), false);
});

test("folders that hold something are left alone, and so are files", async () => {
  const from = await createState();
  const file = newPath();
  await exportState(from, file, { withKeys: false });
  await rejects(importState(file, from), /empty folder only/);
  await rejects(exportState(from, file, { withKeys: false }), StoreError, "the file exists");
  await rejects(exportState(newPath(), newPath(), { withKeys: false }), /no state in this folder/);
  const held = openDataFolder(from);
  await rejects(verifyStateFolder(from), (error: StoreError) => error.info.code === "store/in-use");
  held.release();
});

test("damage is found wherever it is, and leaves no state behind", async () => {
  const from = await createState();
  const file = newPath();
  await exportState(from, file, { withKeys: false });
  const good = new Uint8Array(readFileSync(file));
  const damaged = (change: (bytes: Uint8Array) => Uint8Array): string => {
    const path = newPath();
    writeFileSync(path, change(good.slice()));
    return path;
  };
  const flipped = (at: number): string =>
    damaged((bytes) => {
      bytes[at]! ^= 1;
      return bytes;
    });
  for (let step = 0; step < 40; step++) {
    const at = Math.floor((step / 40) * good.length);
    equal(damageOf(flipped(at)) === "none", false, `byte ${at}`);
  }
  match(damageOf(flipped(0)), /no state archive/);
  match(damageOf(damaged((bytes) => bytes.slice(0, -1))), /ends early/);
  match(damageOf(damaged((bytes) => bytes.slice(0, 40))), /ends early/);
  match(damageOf(damaged((bytes) => Uint8Array.of(...bytes.subarray(0, 10)))), /ends early/);
  const longer = damaged((bytes) => Buffer.concat([bytes, Uint8Array.of(0)]));
  match(damageOf(longer), /something follows the end/);
  const to = newPath();
  await rejects(importState(flipped(good.length - 2_000), to), StoreError);
  equal(existsSync(join(to, "state")), false);
  equal(existsSync(join(to, "format")), false);
  await importState(file, to);
  equal((await verifyStateFolder(to)).entries.state, 120);
});

test("a state that is not the one of its root is refused", async () => {
  const from = await createState();
  const folder = openDataFolder(from);
  const store = openLmdbStore(folder.statePath);
  const key = utf8Bytes("smuggled");
  const header = store.header()!;
  const next = { ...header, height: header.height + 1n, timeNs: header.timeNs + 1n };
  const writes = [{ key, value: key }];
  store.commit({ header: next, block: key, writes, derived: [], archive: [] });
  await store.close();
  folder.release();
  const notItsRoot = /the state is not the one that its root names/;
  await rejects(verifyStateFolder(from), notItsRoot);
  const file = newPath();
  await exportState(from, file, { withKeys: false });
  throws(() => verifyStateFile(file), notItsRoot);
  await rejects(importState(file, newPath()), notItsRoot);
});

test("a folder that cannot be made is an error at once", { timeout: 20_000 }, () => {
  throws(() => openDataFolder("/proc/gyrotron/data"), StoreError);
});
