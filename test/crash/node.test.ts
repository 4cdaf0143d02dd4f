// A real node with its worker threads on a folder: starts, restarts, and every start that must fail
// with a specific error and leave the folder as it was.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, suite, test } from "node:test";
import { open } from "lmdb";
import { createNode, type NodeCore, verifyStateFolder } from "gyrotron/node";
import {
  callEnvelope,
  certifiedReply,
  counterWasm,
  install,
  requestOf,
} from "./canister-client.ts";

const root = mkdtempSync(join(tmpdir(), "gyrotron-node-"));
after(() => rmSync(root, { recursive: true, force: true }));

let folderCount = 0;
const newFolder = (): string => join(root, `folder${folderCount++}`);

async function countOnce(node: NodeCore, counter: Uint8Array): Promise<number> {
  const envelope = callEnvelope(counter, "increment");
  const outcome = await node.submitCall(requestOf(envelope));
  return certifiedReply(outcome, requestOf(envelope).content.requestId, node.rootKeyDer)[0]!;
}

async function valueOf(node: NodeCore, counter: Uint8Array): Promise<number> {
  const { result } = await node.query(requestOf(callEnvelope(counter, "get")).content);
  assert.ok(result.kind === "replied");
  return result.reply[0]!;
}

/** A folder with a counter that stands at 3. */
async function filledFolder(): Promise<{ dataDir: string; counter: Uint8Array; rootKey: string }> {
  const dataDir = newFolder();
  const node = await createNode({ dataDir });
  const submit = (envelope: Uint8Array) => node.submitCall(requestOf(envelope));
  const counter = await install({ submit }, await counterWasm());
  for (let value = 1; value <= 3; value++) {
    assert.equal(await countOnce(node, counter), value);
    assert.equal(await valueOf(node, counter), value);
  }
  const rootKey = node.rootKeyDer.toHex();
  await node.close();
  return { dataDir, counter, rootKey };
}

async function errorOf(dataDir: string): Promise<{ code: string; path?: string }> {
  try {
    const node = await createNode({ dataDir });
    await node.close();
  } catch (error) {
    return (error as { info: { code: string; path?: string } }).info;
  }
  return { code: "started" };
}

suite("a node on a folder", () => {
  test("goes on where it stopped, with the same keys", async () => {
    const { dataDir, counter, rootKey } = await filledFolder();
    assert.equal(statSync(join(dataDir, "keys.json")).mode & 0o777, 0o600);
    const node = await createNode({ dataDir });
    assert.equal(node.rootKeyDer.toHex(), rootKey);
    assert.equal(await valueOf(node, counter), 3);
    assert.equal(await countOnce(node, counter), 4);
    assert.equal((await errorOf(dataDir)).code, "store/in-use");
    assert.equal(await countOnce(node, counter), 5);
    await node.close();
  });

  test("many calls and queries at once, each query at least as new as the last answer", async () => {
    const { dataDir, counter } = await filledFolder();
    const node = await createNode({ dataDir });
    const seen: Promise<void>[] = [];
    for (let i = 0; i < 40; i++) {
      const counted = countOnce(node, counter).then(async (value) => {
        assert.ok((await valueOf(node, counter)) >= value);
      });
      seen.push(counted);
    }
    await Promise.all(seen);
    assert.equal(await valueOf(node, counter), 43);
    await node.close();
  });

  test("missing, damaged and foreign keys are refused", async () => {
    const { dataDir } = await filledFolder();
    const other = await filledFolder();
    const path = join(dataDir, "keys.json");
    const good = readFileSync(path);
    rmSync(path);
    assert.deepEqual(await codeAndPath(dataDir), ["node/keys", path]);
    writeFileSync(path, "{}");
    assert.deepEqual(await codeAndPath(dataDir), ["node/keys", path]);
    writeFileSync(path, readFileSync(join(other.dataDir, "keys.json")));
    assert.deepEqual(await codeAndPath(dataDir), ["node/keys", path]);
    writeFileSync(path, good);
    assert.equal((await errorOf(dataDir)).code, "started");
  });

  test("a damaged or missing state is refused, and the folder can be mended", async () => {
    const { dataDir } = await filledFolder();
    const file = join(dataDir, "state", "data.mdb");
    const good = readFileSync(file);
    for (const bytes of [good.subarray(0, good.length >> 1), Buffer.alloc(good.length, 7)]) {
      writeFileSync(file, bytes);
      const { code, path } = await errorOf(dataDir);
      assert.equal(code, "store/damaged");
      assert.ok(path?.startsWith(join(dataDir, "state")), `about ${path}`);
    }
    renameSync(join(dataDir, "state"), join(dataDir, "aside"));
    assert.deepEqual(await codeAndPath(dataDir), ["store/damaged", join(dataDir, "state")]);
    rmSync(join(dataDir, "state"), { recursive: true });
    renameSync(join(dataDir, "aside"), join(dataDir, "state"));
    writeFileSync(file, good);
    assert.equal((await errorOf(dataDir)).code, "started");
  });

  test("lost hashes are computed again, a changed value is found out", async () => {
    const { dataDir, counter } = await filledFolder();
    await alter(dataDir, "derived", (database) => database.clearSync());
    const node = await createNode({ dataDir });
    assert.equal(await countOnce(node, counter), 4);
    await node.close();
    assert.equal((await errorOf(dataDir)).code, "started");
    await alter(dataDir, "derived", (database) => database.clearSync());
    await alter(dataDir, "state", (database) =>
      database.putSync(Buffer.from("s"), Buffer.from("x")),
    );
    assert.deepEqual(await codeAndPath(dataDir), ["store/damaged", join(dataDir, "state")]);
  });

  test("lost and changed hashes of memory chunks are found when the memory is written", async () => {
    const { dataDir, counter } = await filledFolder();
    let chunk: Buffer | undefined;
    await alter(dataDir, "derived", (database) => {
      for (const { key } of database.getRange())
        if (key[0] === "h".charCodeAt(0)) chunk = Buffer.from(key);
      assert.ok(chunk !== undefined, "the counter has a memory");
      database.removeSync(chunk);
    });
    const healed = await createNode({ dataDir });
    assert.equal(await countOnce(healed, counter), 4);
    await healed.close();
    assert.equal((await verifyStateFolder(dataDir)).header.height, 8n);

    const wrong = Buffer.alloc(32, 1);
    await alter(dataDir, "derived", (database) => database.putSync(chunk!, wrong));
    await assert.rejects(verifyStateFolder(dataDir), { name: "StoreError", message: /damaged/ });
    const node = await createNode({ dataDir });
    const failed = new Promise((resolve) => node.onFailure(resolve));
    await node.submitCall(requestOf(callEnvelope(counter, "increment")));
    await node.close();
    assert.match(String(await failed), /store.damaged/);
  });

  test("a folder of another version is refused", async () => {
    const { dataDir } = await filledFolder();
    writeFileSync(join(dataDir, "format"), "gyrotron data 999\n");
    assert.deepEqual(await codeAndPath(dataDir), ["store/other-version", dataDir]);
  });
});

async function codeAndPath(dataDir: string): Promise<[string, string | undefined]> {
  const { code, path } = await errorOf(dataDir);
  return [code, path];
}

interface Writable {
  getRange(): Iterable<{ key: Buffer }>;
  removeSync(key: Buffer): void;
  clearSync(): void;
  putSync(key: Buffer, value: Buffer): void;
}

async function alter(
  dataDir: string,
  name: string,
  change: (database: Writable) => void,
): Promise<void> {
  const environment = open({ path: join(dataDir, "state"), maxDbs: 8 });
  change(environment.openDB({ name, keyEncoding: "binary", encoding: "binary" }));
  await environment.close();
}
