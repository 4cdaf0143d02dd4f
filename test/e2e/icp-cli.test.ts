// The icp command line as it comes from npm: projects, canisters, snapshots, tokens and cycles on a
// node of ours, and a network that it starts itself. Skipped by name where the binary is not installed.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join, resolve } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { concatBytes, encodeUleb128, utf8Bytes } from "gyrotron/base";
import { compileFile } from "gyrotron/node";
import { startNode, temporaryFolder } from "./running-node.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const ICP = join(ROOT, "bench/peers/node_modules/@icp-sdk/icp-cli-linux-x64/bin/icp");
const skip = existsSync(ICP) ? false : "run `npm ci` in bench/peers to test the icp command line";
const COMMAND_MS_MAX = 60_000;
const SOMEBODY = "rwlgt-iiaaa-aaaaa-aaaaa-cai";
/** More than an ingress message holds: the module goes through the chunk store. */
const PADDING_BYTES = 3_000_000;

/** A project folder with two canisters, and icp in it. */
class Project {
  readonly folder: string = temporaryFolder();
  readonly #home: string = temporaryFolder();
  readonly #environment: Readonly<Record<string, string>>;

  constructor(networks: string, environment: Readonly<Record<string, string>> = {}) {
    this.#environment = environment;
    const canister = (name: string): string =>
      `  - name: ${name}\n    build:\n      steps:\n        - type: pre-built\n          path: ${name}.wasm\n`;
    const text = `canisters:\n${canister("counter")}${canister("big")}${networks}`;
    writeFileSync(join(this.folder, "icp.yaml"), text);
  }

  async addModules(): Promise<void> {
    const { wasm } = await compileFile(join(ROOT, "examples/counter/main.mo"));
    writeFileSync(join(this.folder, "counter.wasm"), wasm);
    writeFileSync(join(this.folder, "big.wasm"), withPadding(wasm));
  }

  /** Runs a command that must succeed; what it printed. */
  async icp(...args: readonly string[]): Promise<string> {
    const { status, output } = await this.run(...args);
    assert.equal(status, 0, `icp ${args.join(" ")}: ${output}`);
    return output;
  }

  async run(...args: readonly string[]): Promise<{ status: number | null; output: string }> {
    const env = {
      ...process.env,
      ICP_HOME: this.#home,
      DO_NOT_TRACK: "1",
      ...this.#environment,
    };
    const child = spawn(ICP, args, { cwd: this.folder, env, stdio: ["ignore", "pipe", "pipe"] });
    const chunks: Buffer[] = [];
    child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
    child.stderr.on("data", (chunk: Buffer) => chunks.push(chunk));
    const { promise, resolve: ended } = Promise.withResolvers<number | null>();
    child.once("close", (status) => ended(status));
    const timer = setTimeout(() => child.kill("SIGKILL"), COMMAND_MS_MAX);
    const status = await promise;
    clearTimeout(timer);
    return { status, output: Buffer.concat(chunks).toString() };
  }
}

test("the icp command line manages canisters, tokens and cycles", { skip }, async (context) => {
  const node = await startNode(temporaryFolder());
  context.after(() => node.stop());
  const project = new Project(
    `networks:\n  - name: here\n    mode: connected\n    url: ${node.url}\n    root-key: fetch\n` +
      "environments:\n  - name: test\n    network: here\n",
    { ICP_ENVIRONMENT: "test" },
  );
  await project.addModules();
  const icp = (...args: readonly string[]): Promise<string> => project.icp(...args);

  await context.test("network: it answers", async () => {
    assert.match(await icp("network", "ping", "here"), /"replica_health_status": "healthy"/);
  });

  await context.test("deploy: creates and installs, a large module in chunks", async () => {
    const output = await icp("deploy");
    assert.match(output, /Created canister counter/);
    assert.match(output, /Created canister big/);
    assert.match(await icp("canister", "list"), /counter\nbig/);
    assert.match(await icp("canister", "call", "big", "increment", "()"), /\(1 : nat\)/);
  });

  await context.test("call and query: with the types of the interface", async () => {
    assert.match(await icp("canister", "call", "counter", "increment", "()"), /\(1 : nat\)/);
    assert.match(await icp("canister", "call", "--query", "counter", "get", "()"), /\(1 : nat\)/);
    const failed = await project.run("canister", "call", "counter", "fail", "()");
    assert.notEqual(failed.status, 0);
    assert.match(failed.output, /this method always fails/);
    assert.match(await icp("canister", "metadata", "counter", "candid:service"), /increment/);
  });

  await context.test("deploy again: an upgrade that keeps the memory", async () => {
    await icp("deploy", "counter");
    assert.match(await icp("canister", "call", "--query", "counter", "get", "()"), /\(1 : nat\)/);
  });

  await context.test("status, settings and logs", async () => {
    const status = await icp("canister", "status", "counter");
    assert.match(status, /Status: Running/);
    assert.match(status, /Name: PUBLIC_CANISTER_ID:big/);
    await icp("canister", "settings", "update", "counter", "--freezing-threshold", "1d");
    assert.match(await icp("canister", "settings", "show", "counter"), /threshold: 86_400/);
    assert.match(await icp("canister", "logs", "counter"), /counted to 1/);
  });

  await context.test("snapshots: made, restored, carried away and back", async () => {
    await icp("canister", "stop", "counter");
    assert.match(await icp("canister", "status", "counter"), /Status: Stopped/);
    const created = await icp("canister", "snapshot", "create", "counter");
    const [, id = ""] = /Created snapshot ([0-9a-f]+)/.exec(created) ?? [];
    assert.match(await icp("canister", "snapshot", "list", "counter"), new RegExp(id));
    await icp("canister", "start", "counter");
    await icp("canister", "call", "counter", "increment", "()");
    await icp("canister", "stop", "counter");
    await icp("canister", "snapshot", "restore", "counter", id);
    const folder = join(project.folder, "snapshot");
    await icp("canister", "snapshot", "download", "counter", id, "-o", folder);
    assert.match(
      await icp("canister", "snapshot", "upload", "counter", "-i", folder),
      /uploaded successfully/,
    );
    await icp("canister", "snapshot", "delete", "counter", id);
    await icp("canister", "start", "counter");
    assert.match(await icp("canister", "call", "--query", "counter", "get", "()"), /\(1 : nat\)/);
  });

  await context.test("token: balance, transfer, approval", async () => {
    assert.match(await icp("token", "balance"), /Balance: 1000000000\.00000000 ICP/);
    assert.match(await icp("token", "transfer", "1.5", SOMEBODY), /Transferred 1\.50000000 ICP/);
    assert.match(await icp("token", "approve", "2", SOMEBODY), /up to 2\.00000000 ICP/);
    assert.match(await icp("token", "allowance", SOMEBODY), /2\.00000000 ICP/);
    // 1.5 and two fees are gone.
    assert.match(await icp("token", "balance"), /Balance: 999999998\.49980000 ICP/);
    const ledger = await icp("token", "um5iw-rqaaa-aaaaq-qaaba-cai", "balance");
    assert.match(ledger, /Balance: \d+\.\d{12} TCYCLES/);
  });

  await context.test("cycles: mint, transfer, top up", async () => {
    assert.match(await icp("cycles", "mint", "--icp", "1"), /Minted 3_519_900_000_000 cycles/);
    assert.match(await icp("cycles", "mint", "--cycles", "5t"), /Minted 5_000_0\d\d_\d{3}_\d{3}/);
    assert.match(await icp("cycles", "transfer", "1t", SOMEBODY), /Transferred 1_000_000_000_000/);
    const before = await cyclesOf(icp);
    await icp("canister", "top-up", "counter", "--amount", "1t");
    assert.equal(before - (await cyclesOf(icp)), 1_000_100_000_000n);
  });

  await context.test("canister create: paid with cycles, and with ICP", async () => {
    assert.match(await icp("canister", "create", "--detached"), /Created canister with ID/);
    const withIcp = await icp("canister", "create", "--detached", "--with-icp", "1");
    assert.match(withIcp, /Created canister with ID/);
  });

  await context.test("delete: with its cycles recovered, and without", async () => {
    const before = await cyclesOf(icp);
    assert.match(await icp("canister", "delete", "counter"), /Recovered \d+ cycles/);
    assert.ok((await cyclesOf(icp)) > before + 1_000_000_000_000n);
    await icp("canister", "install", "big", "--mode", "reinstall", "-y");
    await icp("canister", "delete", "big", "--no-recover-cycles");
    assert.equal(await icp("canister", "list"), "counter\nbig\n");
    assert.notEqual((await project.run("canister", "status", "big")).status, 0);
  });
});

test("the icp command line starts a network of ours", { skip }, async (context) => {
  const port = await freePort();
  const project = new Project(
    `networks:\n  - name: local\n    mode: managed\n    gateway:\n      port: ${port}\n`,
    { ICP_CLI_NETWORK_LAUNCHER_PATH: join(ROOT, "bin/gyrotron.js") },
  );
  await project.addModules();
  await project.icp("identity", "new", "alice", "--storage", "plaintext");
  context.after(() => project.run("network", "stop"));

  const started = await project.icp("network", "start", "--background");
  assert.match(started, new RegExp(`Network started on port ${port}`));
  const balance = await project.icp("cycles", "balance", "--identity", "alice");
  assert.match(balance, /Balance: 1_000_000_000_000_000 cycles/);
  const icp = await project.icp("token", "balance", "--identity", "alice");
  assert.match(icp, /Balance: 1000000\.00000000 ICP/);
  await project.icp("deploy", "counter", "--identity", "alice");
  const answer = await project.icp("canister", "call", "counter", "increment", "()");
  assert.match(answer, /\(1 : nat\)/);
  assert.match(await project.icp("network", "stop"), /stopped/);
  await assert.rejects(fetch(`http://127.0.0.1:${port}/api/v2/status`));
});

/** Cycles of the anonymous user. */
async function cyclesOf(icp: (...args: readonly string[]) => Promise<string>): Promise<bigint> {
  const [, digits = ""] = /Balance: ([\d_]+) cycles/.exec(await icp("cycles", "balance")) ?? [];
  return BigInt(digits.replaceAll("_", ""));
}

/** The module with a custom section that does not compress. */
function withPadding(wasm: Uint8Array): Uint8Array {
  const padding = new Uint8Array(PADDING_BYTES);
  let state = 1;
  for (let at = 0; at < padding.length; at++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    padding[at] = state >>> 16;
  }
  const name = utf8Bytes("padding");
  const content = concatBytes(encodeUleb128(name.length), name, padding);
  return concatBytes(wasm, Uint8Array.of(0), encodeUleb128(content.length), content);
}

/** A port that nobody listens on. */
async function freePort(): Promise<number> {
  const server = createServer();
  const { promise, resolve: listening } = Promise.withResolvers<void>();
  server.listen(0, "127.0.0.1", () => listening());
  await promise;
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  const { promise: closed, resolve: close } = Promise.withResolvers<void>();
  server.close(() => close());
  await closed;
  return address.port;
}
