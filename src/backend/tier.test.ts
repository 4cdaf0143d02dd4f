// The kernels give the same bits in each of V8's compiler tiers: baseline only and optimizing only, in
// processes of their own, as flags hold for a whole process.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import test from "node:test";
import { promisify } from "node:util";
import { expectedDigest } from "./index.ts";

const root = join(import.meta.dirname, "../..");
const program = `
  import { createWasmBackend, runConformance } from "gyrotron/backend";
  const report = await runConformance(await createWasmBackend({ threads: 2 }), "quick");
  console.log(report.digest);
  process.exit(0);
`;

test("baseline and optimizing compilers agree with the oracle", async () => {
  const digest = await expectedDigest("quick");
  for (const flags of [["--liftoff-only"], ["--no-liftoff"]]) {
    const options = ["--conditions=source", ...flags, "--input-type=module", "-e", program];
    const { stdout } = await promisify(execFile)(process.execPath, options, { cwd: root });
    assert.equal(stdout.trim(), digest, flags.join());
  }
});
