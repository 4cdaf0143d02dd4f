// Fetching a model's file as a user meets it: broken downloads go on, files that changed begin anew, hashes are
// checked, and every failure says what could not be had. Servers are local.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { fetchModel } from "gyrotron/node/models";

const FILE = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 31) ^ (i >> 9));
const HASH = sha256(FILE);
const HALF = FILE.length / 2;

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

let server: Server;
let url = "";
let folder = "";
let handle: Handler = serve({});
/** `Range` headers that were asked with. */
let ranges: (string | undefined)[] = [];

before(async () => {
  server = createServer((request, response) => {
    if (request.method === "GET") ranges.push(request.headers.range);
    handle(request, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

after(() => {
  server.closeAllConnections();
  server.close();
});

beforeEach((context) => {
  folder = mkdtempSync(join(tmpdir(), "gyrotron-fetch-"));
  const made = folder;
  ranges = [];
  handle = serve({});
  if ("after" in context) context.after(() => rmSync(made, { recursive: true, force: true }));
});

test("a file arrives once, and its hash is told", async () => {
  const progress: [number, number | undefined][] = [];
  const first = await fetchModel(`${url}/a.gguf`, {
    folder,
    onProgress: (done, total) => void progress.push([done, total]),
  });
  assert.equal(first.hash, HASH);
  assert.deepEqual(progress.at(-1), [FILE.length, FILE.length]);
  assert.deepEqual(await get(), first);
  assert.equal(ranges.length, 1);
});

test("a download that broke off goes on where it stopped", async () => {
  handle = serve({ breakAt: HALF });
  await refused(get(), /broke off after \d+ bytes; another attempt goes on from there/);
  const have = partSize();
  assert.ok(have > 0 && have <= HALF);
  handle = serve({});
  assert.equal((await get()).hash, HASH);
  assert.deepEqual(ranges, [undefined, `bytes=${have}-`]);
  assert.ok(readdirSync(folder, { recursive: true }).every((name) => !/part/.test(String(name))));
});

test("a download begins anew where the file has changed, or the server knows no ranges or versions", async () => {
  for (const broken of [{ tag: '"old"' }, { knowsRanges: false }, { tag: 'W/"weak"' }]) {
    handle = serve({ ...broken, breakAt: HALF });
    await refused(get(), /broke off/);
    handle = serve({ ...broken, tag: '"new"' });
    assert.equal((await get()).hash, HASH, JSON.stringify(broken));
    rmSync(folder, { recursive: true });
  }
});

test("a part that is whole already, or that a server answers wrongly, begins anew", async () => {
  handle = serve({ breakAt: HALF });
  await refused(get(), /broke off/);
  handle = serve({ shift: 7 });
  assert.equal((await get()).hash, HASH);
  rmSync(folder, { recursive: true });
  handle = serve({ breakAt: HALF });
  await refused(get(), /broke off/);
  handle = serve({ refusesRanges: true });
  assert.equal((await get()).hash, HASH);
});

test("a file of another hash is refused and does not stay", async () => {
  const wrong = "0".repeat(64);
  await refused(get({ sha256: wrong }), new RegExp(`its SHA-256 is ${HASH}, not ${wrong}`));
  assert.equal((await get({ sha256: HASH.toUpperCase() })).hash, HASH);
  assert.equal(ranges.length, 2);
});

test("files of one name at two places are two files", async () => {
  const other = Uint8Array.of(1, 2, 3);
  handle = (request, response) => {
    response.end(request.url?.startsWith("/one/") === true ? FILE : other);
  };
  const fetched = await Promise.all(["one", "two"].map((at) => get({}, `${url}/${at}/a.gguf`)));
  assert.deepEqual(
    fetched.map(({ hash }) => hash),
    [HASH, sha256(other)],
  );
});

test("a server that falls silent is given up", async () => {
  handle = (_request, response) => void response.writeHead(200, { "content-length": 9 }).write("a");
  await refused(get({ silenceMs: 200 }), /silence: broke off after 1 bytes/);
  handle = () => undefined;
  await refused(get({ silenceMs: 200 }), /nothing was heard for 0.2 s/);
});

test("what cannot be had is named", async () => {
  handle = (_request, response) => void response.writeHead(404).end();
  await refused(get(), /a\.gguf, reason: HTTP 404/);
  await refused(get({}, "http://127.0.0.1:1/a.gguf"), /127\.0\.0\.1:1\/a\.gguf, reason: .+/);
  await refused(get({}, "no such thing"), /no such file, and no URL, pypi:NAME or OWNER\/NAME/);
  await refused(
    get({ hub: url }, "owner/name"),
    /path: owner\/name, reason: config\.json: .*HTTP 404/,
  );
  const empty = join(folder, "empty");
  mkdirSync(empty, { recursive: true });
  await refused(get({}, empty), /the folder is empty/);
});

test("from the hub: the hash that it names is checked; a folder's optional file may lack", async () => {
  let linked = `"${HASH}"`;
  handle = (request, response) => {
    if (request.url?.startsWith("/owner/name/resolve/main/") !== true)
      return void response.writeHead(400).end();
    if (request.url.endsWith("tokenizer_config.json")) return void response.writeHead(404).end();
    response.writeHead(200, { "x-linked-etag": linked }).end(FILE);
  };
  const asked = "owner/name/q8/a.gguf";
  assert.equal((await get({ hub: url }, asked)).hash, HASH);
  linked = `"${"1".repeat(64)}"`;
  await refused(get({ hub: url }, asked), /its SHA-256 is/);
  const { path } = await get({ hub: url }, "owner/name");
  assert.deepEqual(readdirSync(path).toSorted(), [
    "config.json",
    "model.safetensors",
    "tokenizer.json",
  ]);
});

test("a path is taken as it is", async () => {
  const path = join(folder, "here.gguf");
  writeFileSync(path, FILE);
  assert.deepEqual(await get({}, path), { path, hash: HASH });
  await refused(get({ sha256: "ab" }, path), /not ab/);
  assert.ok(existsSync(path));
  assert.equal(readFileSync(path).length, FILE.length);
});

interface Behaviour {
  readonly tag?: string;
  readonly breakAt?: number;
  readonly knowsRanges?: boolean;
  readonly refusesRanges?: boolean;
  /** Bytes by which a range is answered too early. */
  readonly shift?: number;
}

/** A server of the file. */
function serve(behaviour: Behaviour): Handler {
  const { tag = '"one"', breakAt, knowsRanges = true, refusesRanges, shift = 0 } = behaviour;
  return (request, response) => {
    const asked = /^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1];
    const isSame = request.headers["if-range"] === tag;
    if (asked !== undefined && refusesRanges === true) return void response.writeHead(416).end();
    const from = asked !== undefined && isSame && knowsRanges ? Number(asked) - shift : 0;
    const rest = FILE.subarray(from);
    const headers = { etag: tag, "content-length": rest.length };
    if (from > 0) {
      const range = `bytes ${from}-${FILE.length - 1}/${FILE.length}`;
      response.writeHead(206, { ...headers, "content-range": range });
    } else response.writeHead(200, headers);
    if (breakAt === undefined) return void response.end(rest);
    response.write(rest.subarray(0, breakAt), () => setTimeout(() => response.destroy(), 50));
  };
}

type Extra = Partial<Parameters<typeof fetchModel>[1]>;

function get(extra: Extra = {}, source = `${url}/a.gguf`): ReturnType<typeof fetchModel> {
  return fetchModel(source, { folder, onProgress: () => undefined, ...extra });
}

async function refused(fetching: Promise<unknown>, why: RegExp): Promise<void> {
  await assert.rejects(fetching, (error) => {
    assert.ok(error instanceof Error && error.name === "NodeError", String(error));
    assert.match(error.message, why);
    return true;
  });
}

function partSize(): number {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" });
  const part = names.find((name) => name.endsWith(".part")) ?? "";
  return readFileSync(join(folder, part)).length;
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
