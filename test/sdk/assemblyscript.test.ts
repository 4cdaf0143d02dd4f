// AssemblyScript canisters: the example by the command line, the kit's Candid against good and hostile
// arguments, projects with an asconfig.json, and what a program with mistakes is told.

import { deepEqual, equal, match, ok, rejects, throws } from "node:assert/strict";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { decodeCandid, encodeCandid, IDL } from "gyrotron/candid";
import { compileFile } from "gyrotron/node";
import { createTestNetwork, TestError, type TestNetwork } from "gyrotron/testing";
import { runCli, startNode, temporaryFolder } from "../e2e/running-node.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const EXAMPLE = join(ROOT, "examples/assemblyscript-sort/index.as.ts");
const { wasm } = await compileFile(EXAMPLE);
const FLOATS = IDL.Vec(IDL.Float64);

test("the example is deployed and called by the command line", async (context) => {
  const data = temporaryFolder();
  const node = await startNode(data);
  context.after(() => node.stop());
  const flags = ["--port", String(node.port), "--data", data];
  const deployed = await runCli(["deploy", EXAMPLE, ...flags]);
  equal(deployed.status, 0, deployed.stderr);
  match(deployed.stdout, /^assemblyscript-sort installed as /);
  match(deployed.stdout, /sort : \(vec float64\) -> \(vec float64, nat64\) query/);
  const args = ["assemblyscript-sort", "sort", "(vec { 3.5; -1.25; 2.0 })"];
  const sorted = await runCli(["canister", "call", ...args, ...flags]);
  match(
    sorted.stdout,
    /^\(vec \{ -1\.25 : float64; 2\.0 : float64; 3\.5 : float64 \}, [\d_]+ : nat64\)$/m,
  );
  match((await runCli(["deploy", EXAMPLE, ...flags])).stdout, /unchanged/);
});

test("numbers are kept in stable memory over an upgrade", () => {
  const network = createTestNetwork();
  const id = network.deploy(wasm);
  const append = (numbers: number[]): unknown =>
    decodeCandid([IDL.Nat], network.call(id, "append", encodeCandid([FLOATS], [numbers])))[0];
  equal(append([1.5, -2]), 2n);
  network.install(id, wasm, { mode: "upgrade" });
  equal(append(Array.from({ length: 10_000 }, () => 0.25)), 10_002n);
  const sum = network.query(id, "sum", encodeCandid([], []));
  deepEqual(decodeCandid([IDL.Nat, IDL.Float64], sum), [10_002n, 2499.5]);
  deepEqual(
    network.console.map(({ text }) => text),
    ["kept 2 numbers", "kept 10000 numbers"],
  );
  match(reasonOf(network, id, "append", encodeCandid([FLOATS], [[]])), /nothing to append/);
});

test("a failed assertion says where it is", () => {
  const network = createTestNetwork();
  const id = network.deploy(wasm);
  const reason = reasonOf(network, id, "fail", encodeCandid([IDL.Nat32], [3]));
  match(reason, /the number must be below three in index\.as\.ts:\d+:\d+/);
});

const ECHO = [IDL.Bool, IDL.Nat, IDL.Int, IDL.Text, IDL.Vec(IDL.Nat8)];

test("values come back as they were sent", () => {
  const network = createTestNetwork();
  const id = network.deploy(wasm);
  const numbers = [0n, 1n, 63n, 64n, 127n, 128n, 2n ** 32n, 2n ** 56n, 2n ** 62n, 2n ** 63n - 1n];
  for (const number of numbers) {
    for (const int of [number, -number - 1n]) {
      const text = `${number} é 𝄞`;
      const values = [
        number % 2n === 0n,
        number * 2n,
        int,
        text,
        new Uint8Array(Number(number % 300n)),
      ];
      const reply = network.query(id, "echo", encodeCandid(ECHO, values));
      deepEqual(decodeCandid(ECHO, reply), values);
    }
  }
});

test("what does not fit is refused with a reason", () => {
  const network = createTestNetwork();
  const id = network.deploy(wasm);
  const good = encodeCandid(ECHO, [true, 1n, 1n, "text", Uint8Array.of(1, 2, 3)]);
  const queries: [Uint8Array, RegExp][] = [
    [new Uint8Array(), /is not Candid/],
    [encodeCandid([], []), /an argument is missing/],
    [encodeCandid([IDL.Text], ["x"]), /argument 1 has another type/],
    [encodeCandid([IDL.Record({})], [{}]), /type that is not read here/],
    [encodeCandid(ECHO, [true, 2n ** 64n, 1n, "", new Uint8Array()]), /more than 64 bits/],
    [encodeCandid(ECHO, [true, 1n, 2n ** 63n, "", new Uint8Array()]), /more than 64 bits/],
    [encodeCandid(ECHO, [true, 1n, -(2n ** 63n) - 1n, "", new Uint8Array()]), /more than 64 bits/],
    // A vector of 2^32-1 bytes, of which there are none.
    [Uint8Array.fromHex("4449444c016d7b057e7d7c710001010100ffffffff0f"), /ends early/],
  ];
  for (const [bytes, reason] of queries) match(queryReason(network, id, "echo", bytes), reason);
  for (let length = 0; length < good.length; length++) {
    match(
      queryReason(network, id, "echo", good.subarray(0, length)),
      /not Candid|ends early|missing/,
    );
  }
});

test("a project with an asconfig.json", async () => {
  const folder = project(
    "import { Reply } from 'gyrotron/sdk/assemblyscript';\nexport function canister_query_one(): void { new Reply().nat(1).send(); }\n",
  );
  writeFileSync(
    join(folder, "asconfig.json"),
    '{ "entries": ["main.as.ts"], "options": { "runtime": "stub" } }',
  );
  const { wasm: module, candid } = await compileFile(folder);
  equal(candid, undefined);
  const network = createTestNetwork();
  const reply = network.query(network.deploy(module), "one", encodeCandid([], []));
  deepEqual(decodeCandid([IDL.Nat], reply), [1n]);
});

test("mistakes come with the compiler's message, and a missing compiler with the command", async () => {
  const folder = project("export function canister_query_one(): i32 { return 'x'; }\n");
  await rejects(compileFile(join(folder, "main.as.ts")), (error: Error & { info?: object }) => {
    match(JSON.stringify(error.info), /compiler\/refused.*TS2322.*main\.as\.ts\(1,\d+\)/s);
    return true;
  });
  const bare = join(temporaryFolder(), "main.as.ts");
  writeFileSync(bare, "export function canister_init(): void {}\n");
  const { status, stderr } = await runCli(["deploy", bare, "--port", "1"]);
  ok(status !== 0 && !stderr.includes("bug in gyrotron"), stderr);
  await rejects(
    compileFile(bare),
    (error: Error & { info?: { code: string; install: string } }) => {
      equal(error.info?.code, "compiler/not-installed");
      match(error.info.install, /^npm install --save-dev assemblyscript@\d/);
      return true;
    },
  );
});

/** A folder with a program and this repository's compiler. */
function project(text: string): string {
  const folder = temporaryFolder();
  mkdirSync(join(folder, "node_modules"));
  symlinkSync(
    join(ROOT, "node_modules/assemblyscript"),
    join(folder, "node_modules/assemblyscript"),
  );
  writeFileSync(join(folder, "main.as.ts"), text);
  return folder;
}

type Id = ReturnType<TestNetwork["deploy"]>;

function reasonOf(network: TestNetwork, id: Id, method: string, bytes: Uint8Array): string {
  return reasonThrown(() => network.call(id, method, bytes));
}

function queryReason(network: TestNetwork, id: Id, method: string, bytes: Uint8Array): string {
  return reasonThrown(() => network.query(id, method, bytes));
}

function reasonThrown(run: () => unknown): string {
  let reason = "";
  throws(run, (error) => {
    reason = error instanceof TestError ? JSON.stringify(error.info) : String(error);
    return error instanceof TestError;
  });
  return reason;
}
