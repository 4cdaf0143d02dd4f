// The command line as a user meets it: the demo, deploying, calling, and one clear line with a
// non-zero exit status for everything that goes wrong.

import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  readFileSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join, resolve } from "node:path";
import process from "node:process";
import { after, before, test } from "node:test";
import { runCli, type RunningNode, startNode, temporaryFolder } from "./running-node.ts";

const COUNTER = resolve(import.meta.dirname, "../../examples/counter/main.mo");
const folder = temporaryFolder();
const data = join(folder, "data");
let node: RunningNode;
let flags: string[];

before(async () => {
  node = await startNode(data);
  flags = ["--port", String(node.port), "--data", data];
});

after(async () => {
  if (node.child.exitCode !== null)
    process.stderr.write(`the node ended early: ${node.output()}\n`);
  await node.stop();
});

test("the demo deploys, asks a model, verifies and ends; a second time it finds its state", async () => {
  const demo = ["demo", "--once", "--port", "0", "--data", join(folder, "demo")];
  const first = await runCli(demo);
  assert.equal(first.status, 0, first.stderr);
  assert.match(first.stdout, /installed in \d+ ms/);
  assertStory(first.stdout);
  const second = await runCli(demo);
  assert.equal(second.status, 0, second.stderr);
  assert.match(second.stdout, /as it was/);
  assertStory(second.stdout);
  const receipts = [first, second].map(({ stdout }) => /^receipt +(\w+)/m.exec(stdout)?.[1]);
  assert.notEqual(receipts[0], receipts[1]);
});

/** Preview compared, certificate and receipt checked, price within the quote. */
function assertStory(output: string): void {
  for (const line of [
    /^Tell me a story about a fox and a crow\n\n.+/m,
    /^reply +(equal to|begins as) the preview/m,
    /^certified +certificate verified by @icp-sdk\/core \(\d+ bytes\)$/m,
    /^canister +[a-z0-9-]+$/m,
    /^model +storyteller [0-9a-f]{64}$/m,
    /^backend +wasm: /m,
    /^tokens +\d+ prompt, \d+ output/m,
    /^cycles +[\d_]+ charged of [\d_]+ quoted$/m,
    /^receipt +[0-9a-f]{64} {2}proof and certificate verified$/m,
  ]) {
    assert.match(output, line);
  }
}

test("a program is deployed, called and upgraded with its memory kept", async () => {
  const source = join(folder, "greeter");
  mkdirSync(source);
  const main = join(source, "main.mo");
  copyFileSync(COUNTER, main);
  const deployed = await cli("deploy", main);
  assert.match(deployed.stdout, /^greeter installed as [a-z0-9-]+ \(\d+ KiB/);
  assert.match(deployed.stdout, /greet : \(text\) -> \(text\)/);
  assert.equal((await cli("canister", "call", "greeter", "increment")).stdout, "(1 : nat)\n");
  assert.match((await cli("deploy", main)).stdout, /^greeter unchanged/);
  writeFileSync(
    main,
    readFileSync(main, "utf8").replace("value += 1;\n    Debug", "value += 10;\n    Debug"),
  );
  assert.match((await cli("deploy", main)).stdout, /^greeter upgraded/);
  assert.equal((await cli("canister", "call", "greeter", "increment")).stdout, "(11 : nat)\n");
  assert.equal((await cli("canister", "call", "greeter", "get", "--query")).stdout, "(11 : nat)\n");
  const greeting = await cli("canister", "call", "greeter", "greet", '("J\\u{f6}rg")');
  assert.equal(greeting.stdout, '("Hello, Jörg! The counter stands at 11.")\n');
  assert.equal(
    (await cli("canister", "call", "greeter", "greeted", "--query")).stdout,
    '(vec { "Jörg" })\n',
  );
  assert.match(
    (await cli("canister", "status", "greeter")).stdout,
    /status +running[^]*module +sha256 [0-9a-f]{64}/,
  );
  assert.match(
    (await cli("canister", "interface", "greeter")).stdout,
    /increment: \(\) -> \(nat\)/,
  );
  assert.match((await cli("canister", "list")).stdout, /^greeter +[a-z0-9-]+/m);
  await node.waitFor(/greeter greeted Jörg/);
});

test("a trap shows in the node's terminal with the names of the functions, and in the log", async () => {
  const failed = await runCli(["canister", "call", "greeter", "fail", ...flags]);
  assertFailure(failed, /^the call was rejected \(code 5, IC0503\): .*this method always fails/);
  await node.waitFor(/greeter \[TRAP\]: this method always fails/);
  await node.waitFor(/^ +fail$/m);
  assert.match(
    (await cli("canister", "logs", "greeter")).stdout,
    /\[TRAP\]: this method always fails/,
  );
  assert.equal((await cli("canister", "call", "greeter", "get", "--query")).stdout, "(11 : nat)\n");
});

test("a canister belongs to the identity that deployed it", async () => {
  const ed25519 = join(folder, "ed25519.pem");
  const secp256k1 = join(folder, "secp256k1.pem");
  const pkcs8 = { type: "pkcs8", format: "pem" } as const;
  const sec1 = { type: "sec1", format: "pem" } as const;
  writeFileSync(ed25519, generateKeyPairSync("ed25519").privateKey.export(pkcs8));
  writeFileSync(
    secp256k1,
    generateKeyPairSync("ec", { namedCurve: "secp256k1" }).privateKey.export(sec1),
  );
  await cli("deploy", wasm("owned"), "--identity", ed25519);
  assert.match(
    (await cli("canister", "status", "owned", "--identity", ed25519)).stdout,
    /status +running/,
  );
  const stranger = await runCli(["canister", "status", "owned", "--identity", secp256k1, ...flags]);
  assertFailure(stranger, /^the call was rejected \(code 5, IC0512\)/);
  const anonymous = await runCli(["canister", "stop", "owned", ...flags]);
  assertFailure(anonymous, /^the call was rejected \(code 5, IC0512\)/);
});

test("a canister stops, starts and is deleted", async () => {
  await cli("deploy", wasm("short"));
  assert.equal((await cli("canister", "stop", "short")).stdout, "short is stopped.\n");
  assert.match((await cli("canister", "status", "short")).stdout, /status +stopped/);
  assert.equal((await cli("canister", "start", "short")).stdout, "short runs.\n");
  assertFailure(await runCli(["canister", "delete", "short", ...flags]), /IC0510/);
  await cli("canister", "stop", "short");
  await cli("canister", "delete", "short");
  assert.doesNotMatch((await cli("canister", "list")).stdout, /short/);
});

for (const [args, problem] of [
  [["depoly"], "unknown command `depoly`: did you mean `deploy`?"],
  [["canister", "cal"], "unknown command `canister cal`: did you mean `canister call`?"],
  [["status"], "unknown command `status`: did you mean `canister status`?"],
  [["model"], "unknown command `model`: did you mean `model add|list|inspect|remove`?"],
  [["xyzzy"], "unknown command `xyzzy`: see `gyrotron help`"],
  [["start", "--prot", "1"], "Unknown option '--prot': use `gyrotron start [--port PORT]"],
  [["start", "--port", "70000"], "--port takes 0 to 65535, not 70000: use `gyrotron start"],
  [["deploy"], "one file is needed: use `gyrotron deploy"],
  [
    ["deploy", "a.mo", "--mode", "up"],
    "--mode takes auto, install, reinstall, upgrade, not up: use",
  ],
  [["canister", "call", "x"], "a canister and a method are needed: use `gyrotron canister call"],
  [["canister", "call", "x", "y", "1", "2"], "the arguments must be one text in quotes: use"],
  [
    ["canister", "list", "--port", "1", "--identity"],
    "Option '--identity <value>' argument missing: use",
  ],
  [
    ["canister", "call", "x", "y", "--port", "1"],
    "no node answers at http://127.0.0.1:1: start one with `gyrotron start`",
  ],
] as const) {
  test(`a mistake gets one line: gyrotron ${args.join(" ")}`, async () => {
    const result = await runCli(args, folder);
    assertFailure(result, new RegExp(`^${problem.replaceAll(/[[\]().?'*]/g, "\\$&")}`));
  });
}

test("a mistake about a canister gets one line", async () => {
  for (const [args, problem] of [
    [["canister", "call", "nobody", "get"], /^no canister is called `nobody`: known are greeter/],
    [
      ["canister", "call", "greeter", "gret"],
      /^canister greeter has no method `gret`: it has .*greet/,
    ],
    [
      ["canister", "call", "greeter", "greet", "(5)"],
      /^wrong argument for greet: the argument must be text but is 5 at column 2$/,
    ],
    [
      ["canister", "call", "greeter", "greet", '("a"'],
      /^wrong argument for greet: expected , or \), found the end at column 5$/,
    ],
    [
      ["canister", "call", "greeter", "greet"],
      /^wrong argument for greet: the method takes 1 argument but 0 were given$/,
    ],
    [
      ["canister", "call", "un4fu-tqaaa-aaaab-qadjq-cai", "x"],
      /^the call was rejected \(code 3, IC0301\)/,
    ],
    [
      ["canister", "status", "greeter", "--identity", "nowhere.pem"],
      /^cannot use the identity in nowhere\.pem: ENOENT/,
    ],
    [["deploy", "nowhere.mo"], /^cannot read .*nowhere\.mo: ENOENT/],
    [["deploy", "notes.txt"], /^notes\.txt is no Motoko/],
    [
      ["deploy", wasmFile("junk.wasm", Buffer.from("no module"))],
      /junk\.wasm is not a Wasm module: it does not begin with \\0asm$/,
    ],
    [
      ["deploy", wasmFile("bad.wasm.gz", Buffer.from([0x1f, 0x8b, 8, 0, 1, 2, 3]))],
      /bad\.wasm\.gz is not a Wasm module: gzip: /,
    ],
    [
      ["deploy", wasmFile("bad.wasm", Buffer.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 99]))],
      /^the call was rejected \(code 5, IC0505\): .*Wasm module is not valid/,
    ],
    [
      ["deploy", wasm("init"), "--arg", "(1,"],
      /^wrong argument for the installation \(--arg\): expected a value, found the end at column 4$/,
    ],
  ] as const) {
    assertFailure(await runCli([...args, ...flags]), problem);
  }
});

test("a program with mistakes is refused with file, line and column", async () => {
  const file = join(folder, "wrong.mo");
  writeFileSync(
    file,
    'import Nothing "mo:base/Nat";\npersistent actor {\n  public func f() : async Nat { "x" };\n};\n',
  );
  const missing = await runCli(["deploy", file, ...flags]);
  assertFailure(
    missing,
    /wrong\.mo:1:1: error\[M0010\]: package "base" not defined .*mo:core is built in/,
  );
  writeFileSync(file, 'persistent actor {\n  public func f() : async Nat { "x" };\n};\n');
  const wrong = await runCli(["deploy", file, ...flags]);
  assert.equal(wrong.status, 1);
  assert.match(wrong.stderr, /wrong\.mo:2:33: error\[M0050\]: literal of type/);
  assert.doesNotMatch((await cli("canister", "list")).stdout, /wrong/);
});

test("a second node on the same port or folder is refused and disturbs nothing", async () => {
  const port = await runCli([
    "start",
    "--port",
    String(node.port),
    "--data",
    join(folder, "other"),
  ]);
  assertFailure(port, new RegExp(`^port ${node.port} on 127\\.0\\.0\\.1 is in use`));
  const inUse = await runCli(["start", "--port", "0", "--data", data]);
  assertFailure(
    inUse,
    /^the data folder .+ is in use by process \d+: stop it, or use another folder/,
  );
  assert.equal((await cli("canister", "call", "greeter", "get", "--query")).stdout, "(11 : nat)\n");
});

test("a folder of another version, or damaged, is refused and left as it is", async () => {
  const whole = join(folder, "whole");
  const first = await startNode(whole);
  assert.equal(await first.stop(), 0);
  for (const [name, spoil, problem] of [
    [
      "newer",
      (path: string) => writeFileSync(join(path, "format"), "gyrotron data 99\n"),
      /was written by another version \(gyrotron data 99, this one reads gyrotron data \d+\)/,
    ],
    [
      "format",
      (path: string) => writeFileSync(join(path, "format"), "hello\n"),
      /format is damaged: /,
    ],
    ["keys", (path: string) => writeFileSync(join(path, "keys.json"), "{}"), /keys\.json: /],
    [
      "cut",
      (path: string) => truncateSync(stateFile(path), 6_000),
      /is damaged: |could not|data\.mdb/,
    ],
    [
      "names",
      (path: string) => writeFileSync(join(path, "deployments.json"), "[1"),
      /deployments\.json: it is damaged/,
    ],
  ] as const) {
    const path = join(folder, `spoilt-${name}`);
    cpSync(whole, path, { recursive: true });
    spoil(path);
    const before = readFileSync(stateFile(path));
    assertFailure(await runCli(["start", "--port", "0", "--data", path]), problem);
    assert.deepEqual(readFileSync(stateFile(path)), before, `${name}: the state was touched`);
  }
});

test("help and version", async () => {
  const help = await runCli([]);
  assert.equal(help.status, 0);
  for (const name of ["start", "demo", "deploy", "canister call"])
    assert.ok(help.stdout.includes(`  ${name} `), name);
  assert.match((await runCli(["help", "deploy"])).stdout, /^gyrotron deploy FILE/);
  assert.match((await runCli(["deploy", "--help"])).stdout, /^gyrotron deploy FILE/);
  assert.match((await runCli(["--version"])).stdout, /^gyrotron \d+\.\d+\.\d+ \(Node v\d+/);
});

/** Runs a command on the node, which must succeed. */
async function cli(...args: string[]): Promise<{ stdout: string }> {
  const result = await runCli([...args, ...flags]);
  assert.equal(result.status, 0, `gyrotron ${args.join(" ")}: ${result.stderr}`);
  return result;
}

/** One clear line on standard error and a non-zero exit status. */
function assertFailure(result: { status: number | null; stderr: string }, problem: RegExp): void {
  const message = result.stderr.trimEnd();
  assert.equal(result.status, 1, message);
  assert.match(message, problem);
  assert.equal(message.split("\n").length, 1, message);
}

/** The smallest module there is, under a name of its own. */
function wasm(name: string): string {
  return wasmFile(`${name}.wasm`, Buffer.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]));
}

function wasmFile(name: string, bytes: Buffer): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

function stateFile(path: string): string {
  return join(path, "state", "data.mdb");
}
