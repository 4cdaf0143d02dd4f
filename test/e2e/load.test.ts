// Goal: the HTTP benchmark keeps working and finds every reply right. Method: its small size; times
// are not looked at.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { resolve } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { promisify } from "node:util";

const LOAD = resolve(import.meta.dirname, "../../bench/http/load.ts");

test("the load generator verifies samples and counts every call once", async () => {
  const args = ["--conditions=source", LOAD, "--small"];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  const result = JSON.parse(stdout) as { verified: number; digest: string };
  assert.equal(result.verified, 4);
  // The replies are the numbers 21 to 140, whoever called first.
  assert.equal(result.digest, "9bec981ab00290cd");
});
