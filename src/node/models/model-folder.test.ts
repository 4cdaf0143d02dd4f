// Folders with tensors in shards: loaded as those with one file, fetched from a hub, and every mistake said
// with the file that it is in.

import { deepEqual, ok, rejects, throws } from "node:assert/strict";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fetchModel } from "./fetch-model.ts";
import { bundledModelPath, loadModel } from "./model-folder.ts";

const folder = mkdtempSync(join(tmpdir(), "gyrotron-shards-"));
const INDEX = "model.safetensors.index.json";
const SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"] as const;

after(() => rmSync(folder, { recursive: true }));

interface Entry {
  readonly data_offsets: [number, number];
}

/** The bundled model with every other tensor in a second file. */
function writeShards(path: string): void {
  mkdirSync(path);
  for (const name of ["config.json", "tokenizer.bin"])
    copyFileSync(join(bundledModelPath(), name), join(path, name));
  const file = readFileSync(join(bundledModelPath(), "model.safetensors"));
  const length = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString("utf8", 8, 8 + length)) as Record<string, Entry>;
  const data = file.subarray(8 + length);
  const names = Object.keys(header).filter((name) => name !== "__metadata__");
  const weightMap = Object.fromEntries(names.map((name, i) => [name, SHARDS[i % 2]]));
  for (const shard of SHARDS) {
    let end = 0;
    const parts: Uint8Array[] = [];
    const entries = names
      .filter((name) => weightMap[name] === shard)
      .map((name) => {
        const part = data.subarray(...header[name]!.data_offsets);
        parts.push(part);
        return [name, { ...header[name], data_offsets: [end, (end += part.length)] }];
      });
    const text = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
    const prefix = Buffer.alloc(8);
    prefix.writeBigUInt64LE(BigInt(text.length));
    writeFileSync(join(path, shard), Buffer.concat([prefix, text, ...parts]));
  }
  writeFileSync(join(path, INDEX), JSON.stringify({ weight_map: weightMap }));
}

test("a folder of shards is the model of the folder with one file", () => {
  const path = join(folder, "sharded");
  writeShards(path);
  deepEqual(loadModel(path).record.hash, loadModel(bundledModelPath()).record.hash);
});

test("what is wrong names the index, or the shard", () => {
  const path = join(folder, "damaged");
  writeShards(path);
  const first = join(path, SHARDS[0]);
  const good = readFileSync(first);
  writeFileSync(first, good.subarray(0, -1));
  throws(() => loadModel(path), { message: /damaged.*model-00001-of-00002.*past the end/ });
  rmSync(first);
  throws(() => loadModel(path), { message: /model-00001-of-00002.*there is no such file/ });
  writeFileSync(first, good);
  writeFileSync(join(path, INDEX), '{"weight_map":{"a":"../../secret"}}');
  throws(() => loadModel(path), { message: /index\.json.*no name of a file beside the index/ });
});

test("a repository with an index is fetched shard by shard, and one without any tensors is an error", async () => {
  const path = join(folder, "hub");
  writeShards(path);
  writeFileSync(join(path, "tokenizer.json"), "{}");
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const name = request.url?.split("/").at(-1) ?? "";
    asked.push(name);
    const isThere = /^[\w.-]+$/.test(name) && request.url?.startsWith("/some/model/resolve/main/");
    try {
      response.end(isThere ? readFileSync(join(path, name)) : undefined);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const hub = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const options = { folder: join(folder, "downloads"), onProgress: () => {}, hub };
  const fetched = await fetchModel("some/model", options);
  for (const name of [INDEX, ...SHARDS]) ok(asked.includes(name), name);
  rmSync(join(fetched.path, "tokenizer.json"));
  copyFileSync(join(path, "tokenizer.bin"), join(fetched.path, "tokenizer.bin"));
  deepEqual(loadModel(fetched.path).record.hash, loadModel(bundledModelPath()).record.hash);
  rmSync(join(path, INDEX));
  const elsewhere = { ...options, folder: join(folder, "elsewhere") };
  await rejects(fetchModel("some/model", elsewhere), { message: /index\.json.*HTTP 404/ });
  server.close();
  server.closeAllConnections();
});
