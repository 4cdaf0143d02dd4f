// `gyrotron drun` runs scripts as Motoko's own tests use them and compares what they print.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { runCli, temporaryFolder } from "../e2e/running-node.ts";

const HERE = import.meta.dirname;

test("a source's calls print what its .ok file says", async () => {
  const { status, stderr } = await runCli([
    "drun",
    join(HERE, "counter.mo"),
    "--check",
    join(HERE, "counter.drun-run.ok"),
  ]);
  assert.equal(status, 0, stderr);
});

test("canisters that a canister creates have the ids that Motoko's runner gives", async () => {
  const expected = join(HERE, "parent.drun-run.ok");
  const { status, stderr } = await runCli(["drun", join(HERE, "parent.mo"), "--check", expected]);
  assert.equal(status, 0, stderr);
});

test("a script prints what its .ok file says", async () => {
  const { status, stdout, stderr } = await runCli([
    "drun",
    join(HERE, "counter.drun"),
    "--check",
    join(HERE, "counter.drun.ok"),
  ]);
  assert.equal(status, 0, stderr);
  assert.match(stdout, /^debug\.print: count 1$/m);
});

test("what differs is shown, and the status says so", async () => {
  const expected = join(temporaryFolder(), "wrong.ok");
  writeFileSync(expected, "ingress Completed: something else\n");
  const { status, stderr } = await runCli([
    "drun",
    join(HERE, "counter.drun"),
    "--check",
    expected,
  ]);
  assert.equal(status, 1);
  assert.match(
    stderr,
    /line 1:\n {2}expected: ingress Completed: something else\n {2}found: {4}ingress/,
  );
});

test("on an application subnet a canister pays, under another id", async () => {
  const script = join(temporaryFolder(), "application.drun");
  writeFileSync(script, 'query $ID get "DIDL"\n');
  const { status, stdout } = await runCli(["drun", script, "--subnet-type", "application"]);
  assert.equal(status, 0);
  assert.match(stdout, /^Err: IC0301: Canister 22ajg-aqaaa-aaaap-adukq-cai not found$/m);
});

test("what is no script ends with what the runner says", async () => {
  const script = join(temporaryFolder(), "broken.drun");
  writeFileSync(script, "heartbeat\n");
  const { status, stderr } = await runCli(["drun", script]);
  assert.equal(status, 1);
  assert.equal(stderr, "Error: Unknown command: heartbeat\n");
});
