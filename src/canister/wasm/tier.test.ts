// Goal: both compilers of V8 give the same results. Method: the tests that execute code run again in
// processes that use one compiler alone.
import { equal } from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";

const FILES = ["differential", "canonical-nan", "metering", "fuzz"];

for (const flag of ["--liftoff-only", "--no-liftoff"]) {
  test(`the tests of executed code pass with ${flag}`, () => {
    const files = FILES.map((name) => `${import.meta.dirname}/${name}.test.ts`);
    const args = [flag, "--conditions=source", "--test", "--test-isolation=none", ...files];
    const env = { ...process.env };
    // The child is a run of its own, not a part of this one.
    delete env["NODE_TEST_CONTEXT"];
    const child = spawnSync(process.execPath, args, { env, encoding: "utf8", timeout: 120_000 });
    equal(child.status, 0, child.stdout.slice(-2000) + child.stderr.slice(-2000));
  });
}
