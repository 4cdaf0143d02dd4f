// What can be wrong with models, flags and sources on the command line: each gives one line that says what, exit
// status 1, and takes nothing away.

import { equal, match, ok } from "node:assert/strict";
import { cpSync, existsSync, mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { bundledModelPath } from "gyrotron/node/models";
import { encoderFiles, encoderTokenizerFile } from "../encoder/encoder-files.ts";
import { encoderGgufFile } from "../encoder/encoder-gguf.ts";
import { runCli, temporaryFolder } from "../e2e/running-node.ts";

const folder = temporaryFolder();
const { config, tensors } = encoderFiles();
const gguf = encoderGgufFile({ config, tensors, tokenizer: encoderTokenizerFile() });
const HASH = "0".repeat(64);
let server: Server;
let url: string;
/** What the server has under /encoder.gguf. */
let served: Uint8Array = gguf;

before(async () => {
  write("encoder.gguf", gguf);
  write("cut.gguf", gguf.subarray(0, gguf.length - 100));
  write("head.gguf", gguf.subarray(0, 100));
  write("empty.gguf", new Uint8Array(0));
  write("page.gguf", new TextEncoder().encode("<html>"));
  write("notes.txt", new TextEncoder().encode("notes"));
  mkdirSync(join(folder, "nothing"));
  mkdirSync(join(folder, "strange", "config.json"), { recursive: true });
  cpSync(bundledModelPath(), join(folder, "cut"), { recursive: true });
  truncateSync(join(folder, "cut", "model.safetensors"), 50_000);
  server = createServer((request, response) => {
    if (request.url === "/encoder.gguf") response.end(served);
    else response.writeHead(404).end("no");
  });
  server.listen(0, "127.0.0.1");
  await new Promise((listening) => server.once("listening", listening));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
after(() => server.close());

const RUN = ["run", "storyteller", "hi"];
const mistakes: readonly [string, () => string[], RegExp][] = [
  ["no such file", () => ["run", "no.gguf", "hi"], /^there is no model `no\.gguf`: name a \.gguf/],
  ["a file cut in its tensors", () => ["run", "cut.gguf", "hi"], /cut\.gguf: .*at byte \d+\)$/],
  ["a file cut in its header", () => ["run", "head.gguf", "hi"], /cut off \(at byte 100\)$/],
  ["an empty file", () => ["run", "empty.gguf", "hi"], /cut off \(at byte 0\)$/],
  ["a page for a model", () => ["run", "page.gguf", "hi"], /no GGUF file \(at byte 0\)$/],
  ["a page for an encoder", () => ["embed", "page.gguf", "hi"], /no GGUF file \(at byte 0\)$/],
  ["a folder cut short", () => ["run", "cut", "hi"], /cut\/model\.safetensors: .*\(at byte \d+\)$/],
  [
    "no config.json",
    () => ["run", "nothing", "hi"],
    /nothing\/config\.json: there is no such file$/,
  ],
  ["a folder for a file", () => ["run", "strange", "hi"], /^strange: EISDIR/],
  ["a folder for an encoder's file", () => ["embed", "strange", "hi"], /config\.json: EISDIR/],
  ["an encoder that shall write", () => ["run", "encoder.gguf", "hi"], /bert .*`embed` runs it/],
  ["no model at all", () => ["run"], /^a model and a prompt are needed: use `gyrotron run/],
  ["a prompt without quotes", () => [...RUN, "there"], /^the prompt must be one text in quotes/],
  ["a precision", () => [...RUN, "--precision", "w4"], /^--precision takes w8a8, .*not w4: use/],
  [
    "a temperature",
    () => [...RUN, "--temperature", "-1"],
    /^--temperature takes 0 to 16, not -1: /,
  ],
  ["a seed", () => [...RUN, "--seed", "-1"], /^--seed takes 0 to 18446744073709551615, not -1: /],
  ["a share", () => [...RUN, "--top-p", "0"], /^--top-p takes more than 0, to 1, not 0: /],
  ["a length", () => [...RUN, "--max-tokens", "-5"], /^--max-tokens takes 1 to 1000000, not -5/],
  ["a schema", () => [...RUN, "--schema", "no.json"], /^no\.json: ENOENT/],
  ["an unknown flag", () => [...RUN, "--wat"], /^Unknown option '--wat': use `gyrotron run/],
  [
    "a long prompt",
    () => ["run", "storyteller", "word ".repeat(3000)],
    /^the prompt is too long: \d+ tokens, at most \d+ fit$/,
  ],
  [
    "a node's own device",
    () => ["chat", "hi", "--backend", "webgpu"],
    /^the node answers, with its own/,
  ],
  ["no source", () => ["model", "add"], /^it takes one argument: use `gyrotron model add/],
  ["no such source", () => ["model", "add", "no.gguf"], /no such file, and no URL, pypi:NAME/],
  ["a text for a model", () => ["model", "add", "notes.txt"], /notes\.txt: it is no \.gguf file/],
  ["a name for an encoder", () => ["embed", "smollm2", "hi"], /no such \.gguf file or folder of/],
  [
    "a URL for a host",
    () => ["canister", "logs", "x", "--host", url],
    /^--host takes a name or an/,
  ],
  ["an empty folder", () => ["model", "add", "nothing"], /nothing: the folder is empty$/],
  ["a strange folder", () => ["model", "add", "strange"], /strange.*: EISDIR/],
  ["a URL that is none", () => ["model", "add", "https://"], /^https:\/\/ is no URL of a \.gguf/],
  ["a URL of a page", () => ["model", "add", `${url}/`], /is no URL of a \.gguf file: use/],
  ["a URL with nothing", () => ["model", "add", `${url}/no.gguf`], /no\.gguf: HTTP 404$/],
  [
    "half a hash",
    () => ["model", "add", `${url}/encoder.gguf`, "--sha256", "00"],
    /^--sha256 takes 64 hexadecimal digits, not 00: use/,
  ],
  [
    "another hash",
    () => ["model", "add", `${url}/encoder.gguf`, "--sha256", HASH],
    /its SHA-256 is [0-9a-f]{64}, not 0{64}$/,
  ],
  ["an encoder to keep", () => ["model", "add", "encoder.gguf"], /bert .*`embed` runs it/],
  ["a name", () => ["model", "inspect", "no"], /there is no model of this name; `gyrotron model/],
  ["a name to remove", () => ["model", "remove", "no"], /there is no model of this name$/],
  ["a word too many", () => ["model", "list", "all"], /^it takes flags only: use `gyrotron model/],
];

for (const [name, args, expected] of mistakes) {
  test(`one line says what is wrong: ${name}`, async () => {
    const { status, stdout, stderr } = await runCli(args(), folder);
    equal(stdout, "");
    match(stderr.trimEnd(), expected);
    equal(stderr.trimEnd().split("\n").length, 1);
    equal(status, 1);
  });
}

test("a negative number may follow its flag", async () => {
  const { status, stderr } = await runCli([
    ...RUN,
    "--max-tokens",
    "1",
    "--presence-penalty",
    "-1.5",
  ]);
  equal(status, 0, stderr);
});

test("a damaged download does not stay in the way of the next", async () => {
  const source = `${url}/encoder.gguf`;
  const add = async (): Promise<string> => (await runCli(["model", "add", source], folder)).stderr;
  served = new TextEncoder().encode("<html>");
  match(await add(), /no GGUF file/);
  served = gguf;
  match(await add(), /bert .*`embed` runs it/);
});

test("a damaged model in the store is named, hides no other, and can be removed", async () => {
  const data = join(folder, "store");
  const kept = ["--data", data];
  const added = await runCli(["model", "add", bundledModelPath(), "--name", "tale", ...kept]);
  equal(added.status, 0, added.stderr);
  cpSync(join(data, "models", "tale"), join(data, "models", "other"), { recursive: true });
  truncateSync(join(data, "models", "tale", "prepared.bin"), 4000);
  writeFileSync(join(data, "models", "tale", "model.json"), "{}");
  for (const command of [
    ["run", "tale", "hi"],
    ["model", "inspect", "tale"],
  ]) {
    const { status, stderr } = await runCli([...command, ...kept]);
    equal(status, 1);
    match(stderr, /tale\/prepared\.bin: .*at byte \d+\)\n$/);
  }
  const well = await runCli(["run", "other", "hi", "--max-tokens", "1", ...kept]);
  equal(well.status, 0, well.stderr);
  const taken = await runCli(["model", "add", bundledModelPath(), "--name", "other", ...kept]);
  match(taken.stderr, /there is a model of this name already; remove it or take another --name\n$/);
  equal((await runCli(["model", "remove", "tale", ...kept])).status, 0);
  ok(!existsSync(join(data, "models", "tale")));
  match((await runCli(["model", "list", ...kept])).stdout, /^other /);
});

function write(name: string, bytes: Uint8Array): void {
  writeFileSync(join(folder, name), bytes);
}
