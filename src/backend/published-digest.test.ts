// The digests in the code are those of the specification. That they are also what the oracle computes
// is tested in backend.test.ts (quick) and by `gyrotron conform` (full).

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { PUBLISHED_CONFORMANCE } from "./published-digest.ts";

test("the published digests are those of the op table", () => {
  const path = join(import.meta.dirname, "../../docs/spec/03-op-table.md");
  const rows = readFileSync(path, "utf8").matchAll(
    /^\| (quick|full)\s*\| (\d+)\s*\| `([0-9a-f]{64})` \|$/gm,
  );
  const table = [...rows].map(([, set = "", cases, digest]) => [
    set,
    { cases: Number(cases), digest },
  ]);
  assert.deepEqual(Object.fromEntries(table), PUBLISHED_CONFORMANCE);
});
