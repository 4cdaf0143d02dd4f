// Other WebGPU stacks than Dawn under Node give the same bits: wgpu under Deno on lavapipe, and a browser. Skipped
// by name where they are not installed.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { resolve } from "node:path";
import process from "node:process";
import test from "node:test";
import { promisify } from "node:util";
import { NO_CHROMIUM, NO_DENO } from "./hosts-fixture.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const SCRIPT = resolve(ROOT, "scripts/conform-everywhere.ts");

const HOSTS = [
  { name: "deno", what: "wgpu under Deno on lavapipe", skip: NO_DENO },
  { name: "chromium", what: "headless Chromium on SwiftShader", skip: NO_CHROMIUM },
];

for (const { name, what, skip } of HOSTS) {
  test(`${what} computes the published digest`, { skip: skip ?? false }, async () => {
    const flags = ["--conditions=source", "--disable-warning=ExperimentalWarning", SCRIPT];
    const command = promisify(execFile)(process.execPath, [...flags, "quick", name], { cwd: ROOT });
    const { stdout } = await command;
    assert.match(stdout, new RegExp(`^${name} +conforms [0-9a-f]{64} `, "m"));
  });
}
